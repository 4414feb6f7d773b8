// Writes the comparison into docs/cmcd.md, between its two markers; what is around them is others'.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { type Checked, KNOWN, METRICS, SOURCES, type Source, TOLERANCE_MS, type Value } from './compare';
import { PLAYERS, SCENARIOS } from './scenarios';

const START = '<!-- players:start -->';
const END = '<!-- players:end -->';

const SOURCE_NAMES: Record<Source, string> = { sdk: 'SDK', cmcd: 'CMCD' };

export function writeDocument(file: string, checked: Checked[], versions: Map<string, string>): void {
  const old = existsSync(file) ? readFileSync(file, 'utf8') : `# CMCD\n\n${START}\n${END}\n`;
  const [from, to] = [old.indexOf(START), old.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`${file} has no markers ${START} and ${END}`);
  writeFileSync(file, `${old.slice(0, from)}${START}\n${tables(checked, versions)}${old.slice(to)}`);
}

function tables(checked: Checked[], versions: Map<string, string>): string {
  const parts = [
    '<!-- Written by `make players`: change platform-api/sdk-web/players instead. -->\n',
    `Each cell: what happened / what the SDK told / what the player's own CMCD told, of the same element at the same time; one value where all are equal. Times are ms, of one run on two busy cores. ¹ and so on: known differences, below.\n`,
  ];
  const notes = KNOWN.map(({ why }) => why).filter((why, index, all) => all.indexOf(why) === index);
  for (const player of PLAYERS) {
    const rows = SCENARIOS.filter(({ withMinified }) => player !== 'shaka.min' || withMinified).map(({ name, title }) => {
      const cells = METRICS.map((metric) => cell(checked.filter(({ outcome, metric: of }) => outcome.run.player === player && outcome.run.scenario.name === name && of === metric), notes));
      return `| ${title} | ${cells.join(' | ')} |`;
    });
    parts.push(
      `**${player} ${(versions.get(player) ?? '').replace(/^v/, '')}**\n`,
      [`| scenario | ${METRICS.map((metric) => `\`${metric}\``).join(' | ')} |`, `|---|${METRICS.map(() => '---').join('|')}|`, ...rows].join('\n') + '\n',
    );
  }
  const tolerances = PLAYERS.map((player) => {
    const cells = (['startup_ms', 'rebuffer_ms', 'background_ms'] as const).map((metric) => SOURCES.map((source) => TOLERANCE_MS[source][player][metric]).map((ms) => (ms > 0 ? `± ${ms}` : '–')).join(' / '));
    return `| ${player} | ${cells.join(' | ')} |`;
  });
  parts.push(
    'How far from what happened a time may be (ms, SDK / CMCD) before the check fails; counts, outcomes and codes have to be equal:\n',
    ['| | `startup_ms` | `rebuffer_ms`, each stall | `background_ms` |', '|---|---|---|---|', ...tolerances].join('\n') + '\n',
  );
  const list = notes.map((why, index) => {
    const entries = KNOWN.filter((known) => known.why === why);
    const who = [...new Set(entries.flatMap(({ players }) => players))].join(', ');
    const what = [...new Set(entries.map(({ metric }) => `\`${metric}\``))].join(', ');
    return `${index + 1}. ${SOURCE_NAMES[entries[0]?.source ?? 'cmcd']} of ${who}, ${what}: ${why}.`;
  });
  return `${[...parts, 'Known differences:\n', `${list.join('\n')}\n`].join('\n')}`;
}

function cell(checked: Checked[], notes: string[]): string {
  const [sdk, cmcd] = SOURCES.map((source) => checked.find((one) => one.source === source));
  if (!sdk && !cmcd) return '–';
  const told = [sdk, cmcd].filter((one) => one !== undefined);
  const values = [told[0]?.truth ?? null, ...told.map(({ found }) => found)];
  if (new Set(values).size === 1) return show(values[0] ?? null);
  const shown = told.map(({ found, known }) => `${show(found)}${known ? superscript(notes.indexOf(known.why) + 1) : ''}`);
  return [show(told[0]?.truth ?? null), ...shown].join(' / ');
}

const show = (value: Value): string => (value === null ? '–' : String(value));

const superscript = (number: number): string => [...String(number)].map((digit) => '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(digit)]).join('');
