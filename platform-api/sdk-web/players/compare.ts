// What Marquee says of each session against what happened, with the tolerances and the known differences as tables.
//
// The truth has two sources that know nothing of the SDK and of CMCD: the script (seeks, switches, outcomes, the least
// length of a stall) and the playhead (startup, stalls, background), as observer.ts saw it.
import type { Outcome } from './drive';
import type { SessionRow } from './marquee';
import { type Expected, PLAYERS, type PlayerName, SCENARIOS } from './scenarios';

export type Source = 'sdk' | 'cmcd';

export const SOURCES: Source[] = ['sdk', 'cmcd'];

export type Metric = 'startup_ms' | 'rebuffer_count' | 'rebuffer_ms' | 'seek_count' | 'rendition_switch_count' | 'background_ms' | 'outcome' | 'error';

export const METRICS: Metric[] = ['outcome', 'startup_ms', 'rebuffer_count', 'rebuffer_ms', 'seek_count', 'rendition_switch_count', 'background_ms', 'error'];

export type Value = number | string | null;

type Timed = 'startup_ms' | 'rebuffer_ms' | 'background_ms';

/** How far a time may be off (ms): `startup_ms` and `background_ms` once, `rebuffer_ms` for each stall; startup also by the
 *  time for which nobody looked at the playhead. Counts and texts have to be equal. Measured in 100 sessions of each player,
 *  on two cores with a load of 15, and then about one and a half times that; docs/cmcd.md prints it. */
export const TOLERANCE_MS: Record<Source, Record<PlayerName, Record<Timed, number>>> = {
  // A picture is seen to be there when the compositor says so; dash.js shows its first one before it plays, so that it is the
  // second one that counts, 67 ms later in this stream.
  sdk: {
    'hls.js': { startup_ms: 150, rebuffer_ms: 75, background_ms: 50 },
    'dash.js': { startup_ms: 200, rebuffer_ms: 75, background_ms: 50 },
    shaka: { startup_ms: 150, rebuffer_ms: 75, background_ms: 50 },
    'shaka.min': { startup_ms: 150, rebuffer_ms: 75, background_ms: 50 },
  },
  // Startup begins with what the player says first, not with what the viewer asked for: hls.js waits for the element's
  // `play`, dash.js for its own initialisation, both behind whatever else the page has to do then. Of Shaka it is never known.
  cmcd: {
    'hls.js': { startup_ms: 400, rebuffer_ms: 75, background_ms: 50 },
    'dash.js': { startup_ms: 400, rebuffer_ms: 75, background_ms: 50 },
    shaka: { startup_ms: 0, rebuffer_ms: 75, background_ms: 50 },
    'shaka.min': { startup_ms: 0, rebuffer_ms: 75, background_ms: 50 },
  },
};

/** A stall that a script makes so long may last longer by what it takes to load, append and decode (ms); loaded cores. */
const SCRIPT_SLACK_MS = 2_000;

interface Known {
  source: Source;
  players: PlayerName[];
  scenarios: string[];
  metric: Metric;
  /** What has to come out instead of the truth; nothing: anything may. */
  instead?: Value[];
  /** Not in every run. */
  sometimes?: boolean;
  why: string;
}

const SHAKA_PLAYS = SCENARIOS.filter(({ expected }) => expected.outcome === 'played').map(({ name }) => name);
const MINIFIED_IN = SCENARIOS.filter(({ withMinified }) => withMinified).map(({ name }) => name);
const NO_START = 'it never says that it starts (`s`): nothing is known to have been asked for until it plays (rule 33)';
const MINIFIED = 'the compiler has renamed `sta`: no state is told, and without `pt` rule 16 infers none';

/** What a source cannot tell, or tells otherwise: docs/cmcd.md prints it. An entry that no run needs is a problem, too. */
export const KNOWN: Known[] = [
  {
    source: 'cmcd', players: ['hls.js', 'dash.js'], scenarios: ['closed_early'], metric: 'outcome', instead: ['pending'],
    why: 'no player says `q`: the session is pending until its gap (5 min) has passed',
  },
  {
    source: 'cmcd', players: ['dash.js'], scenarios: ['missing_manifest'], metric: 'outcome', instead: ['pending'],
    why: 'a start that fails is no `f`: after its gap the session is an exit before the start',
  },
  {
    source: 'cmcd', players: ['shaka'], scenarios: ['closed_early', 'missing_manifest'], metric: 'outcome', instead: ['unknown'],
    why: NO_START,
  },
  {
    source: 'cmcd', players: ['shaka'], scenarios: SHAKA_PLAYS, metric: 'startup_ms', instead: [null],
    why: NO_START,
  },
  {
    source: 'cmcd', players: ['shaka'], scenarios: ['to_the_end'], metric: 'seek_count', instead: [1],
    why: 'it goes to where the title begins by a seek that it tells of',
  },
  {
    source: 'cmcd', players: ['shaka'], scenarios: ['renditions'], metric: 'seek_count', sometimes: true, instead: [1, 2],
    why: 'at times it seeks by itself when the page chooses a rendition',
  },
  {
    source: 'cmcd', players: ['shaka'], scenarios: ['hidden'], metric: 'seek_count', sometimes: true, instead: [1],
    why: 'in one run of twelve it said that it seeks, and nobody did',
  },
  {
    source: 'cmcd', players: ['hls.js', 'dash.js'], scenarios: ['missing_segment'], metric: 'rebuffer_ms',
    why: 'no player says that it is gone: the stall lasts until the last line',
  },
  {
    source: 'cmcd', players: ['hls.js'], scenarios: ['missing_segment'], metric: 'rendition_switch_count',
    why: '`bc` tells of every rendition that is tried, played or not',
  },
  {
    source: 'cmcd', players: ['dash.js', 'shaka'], scenarios: ['renditions'], metric: 'rendition_switch_count', instead: [0],
    why: 'dash.js has no event `bc`; Shaka sends none for a rendition that the page chooses',
  },
  {
    source: 'cmcd', players: ['hls.js', 'dash.js'], scenarios: ['hidden'], metric: 'background_ms', instead: [0],
    why: 'no event `b`',
  },
  {
    source: 'cmcd', players: ['hls.js'], scenarios: ['missing_segment', 'recovered_segment'], metric: 'error', instead: [null],
    why: 'errors that hls.js gets over are not reported',
  },
  {
    source: 'cmcd', players: ['hls.js'], scenarios: ['missing_manifest'], metric: 'error', instead: ['manifestLoadError'],
    why: 'the code has no HTTP status',
  },
  {
    source: 'cmcd', players: ['dash.js'], scenarios: ['missing_segment', 'missing_manifest'], metric: 'error', instead: ['27', '25'],
    why: 'the code is dash.js’s number alone',
  },
  {
    source: 'cmcd', players: ['shaka'], scenarios: ['missing_segment', 'missing_manifest'], metric: 'error', instead: [null],
    why: 'errors have no `ec`, and a `load` that fails is none',
  },
  {
    source: 'cmcd', players: ['shaka.min'], scenarios: MINIFIED_IN, metric: 'outcome', instead: ['unknown'],
    why: MINIFIED,
  },
  {
    source: 'cmcd', players: ['shaka.min'], scenarios: ['clean', 'two_stalls'], metric: 'startup_ms', instead: [null],
    why: MINIFIED,
  },
  {
    source: 'cmcd', players: ['shaka.min'], scenarios: ['two_stalls'], metric: 'rebuffer_count', instead: [0],
    why: MINIFIED,
  },
  {
    source: 'cmcd', players: ['shaka.min'], scenarios: ['two_stalls'], metric: 'rebuffer_ms', instead: [0],
    why: MINIFIED,
  },
  {
    source: 'cmcd', players: ['shaka.min'], scenarios: ['missing_manifest'], metric: 'error', instead: [null],
    why: 'errors have no `ec`, and a `load` that fails is none',
  },
];

export interface Checked {
  outcome: Outcome;
  source: Source;
  metric: Metric;
  truth: Value;
  found: Value;
  problem: string | null;
  known: Known | null;
}

/** Every metric of every session, from both sources; and what is wrong with the truth itself. */
export function compare(outcomes: Outcome[], rows: SessionRow[], sources: Source[]): { checked: Checked[]; problems: string[] } {
  const problems = outcomes.flatMap(doubts);
  const checked: Checked[] = [];
  for (const outcome of outcomes) {
    for (const source of sources) {
      const id = source === 'sdk' ? outcome.sdkSession : outcome.cmcdSession;
      const row = rows.find(({ session_id }) => session_id === id);
      if (row) checked.push(...METRICS.map((metric) => check(outcome, source, metric, row)));
      else problems.push(`${id}: no such session in the lake`);
    }
  }
  problems.push(...checked.flatMap(({ outcome, source, metric, problem }) => (problem === null ? [] : [`${outcome.run.id} ${source} ${metric}: ${problem}`])));
  return { checked, problems };
}

export function expectedOf({ run: { scenario, player } }: Outcome): Expected {
  return { ...scenario.expected, ...scenario.except?.[player] };
}

/** The stalls that the playhead had (ms). */
function stallsOf({ observed }: Outcome): number[] {
  return (observed?.stalls ?? []).map(({ fromMs, toMs }) => (toMs ?? observed?.overMs ?? fromMs) - fromMs);
}

/** Where the playhead disagrees with the script, there is no truth to compare with. */
function doubts(outcome: Outcome): string[] {
  const { run, observed, complaints } = outcome;
  const expected = expectedOf(outcome);
  const found = complaints.map((complaint) => `${run.id}: ${complaint}`);
  if (!observed) return [...found, `${run.id}: the page was not seen`];
  // A fatal error ends the session; the buffer plays on beside it.
  if (expected.outcome === 'playback_failure') return found;
  const stalls = stallsOf(outcome);
  const scripted = expected.endsStalled ? [...expected.stalls, 0] : expected.stalls;
  const isRight = stalls.length === scripted.length && scripted.every((ms, index) => {
    const stall = stalls[index] ?? 0;
    return ms === 0 || (stall >= ms - 50 && stall <= ms + SCRIPT_SLACK_MS);
  });
  if (!isRight) found.push(`${run.id}: the playhead stood still for ${stalls.map(Math.round).join(', ') || 'no'} ms, not ${scripted.join(', ') || 'never'}`);
  const startup = startupOf(outcome);
  if (expected.startupAtLeastMs && (startup ?? 0) < expected.startupAtLeastMs) found.push(`${run.id}: startup ${startup} ms is shorter than what was held`);
  return found;
}

function startupOf({ observed }: Outcome): number | null {
  return observed?.firstMoveMs == null ? null : Math.round(observed.firstMoveMs - observed.requestedMs);
}

export function truthOf(outcome: Outcome, metric: Metric): Value {
  const expected = expectedOf(outcome);
  const stalls = expected.outcome === 'playback_failure' ? [] : stallsOf(outcome);
  switch (metric) {
    case 'outcome': return expected.outcome;
    case 'startup_ms': return startupOf(outcome);
    case 'rebuffer_count': return stalls.length;
    case 'rebuffer_ms': return Math.round(stalls.reduce((sum, ms) => sum + ms, 0));
    case 'seek_count': return expected.seeks;
    case 'rendition_switch_count': return expected.switches ?? null;
    case 'background_ms': return Math.round(outcome.observed?.hiddenMs ?? 0);
    case 'error': return expected.error ?? null;
  }
}

function check(outcome: Outcome, source: Source, metric: Metric, row: SessionRow): Checked {
  const { player, scenario } = outcome.run;
  const truth = truthOf(outcome, metric);
  const found = metric === 'error' ? (row.error_code || null) : row[metric];
  const known = KNOWN.find((entry) =>
    entry.source === source && entry.metric === metric && entry.players.includes(player) && entry.scenarios.includes(scenario.name)) ?? null;
  const allowed = differenceAllowed(outcome, source, metric);
  const isSame = (metric === 'rendition_switch_count' && truth === null) || agrees(truth, found, allowed);
  let problem: string | null = null;
  if (!isSame && !known) problem = `${found}, not ${truth}${allowed > 0 ? ` ± ${allowed}` : ''}`;
  if (!isSame && known?.instead && !known.instead.includes(found)) problem = `${found}, not ${known.instead.join(' or ')} (${known.why})`;
  return { outcome, source, metric, truth, found, problem, known: isSame ? null : known };
}

function differenceAllowed(outcome: Outcome, source: Source, metric: Metric): number {
  const tolerance = TOLERANCE_MS[source][outcome.run.player];
  if (metric === 'rebuffer_ms') return tolerance.rebuffer_ms * Math.max(1, stallsOf(outcome).length);
  if (metric === 'startup_ms') return tolerance.startup_ms + Math.round(outcome.observed?.firstMoveUnseenMs ?? 0);
  return metric === 'background_ms' ? tolerance.background_ms : 0;
}

function agrees(truth: Value, found: Value, allowed: number): boolean {
  return typeof truth === 'number' && typeof found === 'number' ? Math.abs(truth - found) <= allowed : truth === found;
}

/** Sessions that a known difference speaks of and that do not show it: a player has learnt something, and the table should,
 *  too. */
export function outlived(checked: Checked[]): string[] {
  return KNOWN.filter(({ sometimes }) => !sometimes).flatMap((entry) =>
    checked
      .filter(({ source, metric, known, outcome: { run } }) =>
        source === entry.source && metric === entry.metric && entry.players.includes(run.player) && entry.scenarios.includes(run.scenario.name) && known !== entry)
      .map(({ outcome: { run } }) => `${run.id} ${entry.source} ${entry.metric}: no longer so: ${entry.why}`),
  );
}

/** The largest differences of each source and player (ms), as `found - truth`, for whoever sets the tolerances. */
export function largestDifferences(checked: Checked[]): string[] {
  const timed: Timed[] = ['startup_ms', 'rebuffer_ms', 'background_ms'];
  return SOURCES.flatMap((source) =>
    PLAYERS.flatMap((player) => {
      const figures = timed.flatMap((metric) => {
        const differences = checked
          .filter((one) => one.source === source && one.metric === metric && one.outcome.run.player === player && !one.known)
          .flatMap(({ truth, found }) => (typeof truth === 'number' && typeof found === 'number' ? [found - truth] : []));
        return differences.length > 0 ? [`${metric} ${Math.min(...differences)} … ${Math.max(...differences)}`] : [];
      });
      return figures.length > 0 ? [`${source} ${player}: ${figures.join(', ')}`] : [];
    }),
  );
}

/** CMCD and SDK watched the same element: they may be no further apart than the worse of them may be from the truth. */
export function disagreements(checked: Checked[]): string[] {
  const found: string[] = [];
  for (const sdk of checked.filter(({ source }) => source === 'sdk')) {
    const cmcd = checked.find(({ source, outcome, metric }) => source === 'cmcd' && outcome === sdk.outcome && metric === sdk.metric);
    if (!cmcd || cmcd.known || sdk.known || typeof sdk.found !== 'number' || typeof cmcd.found !== 'number') continue;
    if (sdk.metric === 'rendition_switch_count' && sdk.truth === null) continue;
    const allowed = Math.max(...SOURCES.map((source) => differenceAllowed(sdk.outcome, source, sdk.metric)));
    if (Math.abs(sdk.found - cmcd.found) > allowed) found.push(`${sdk.outcome.run.id} ${sdk.metric}: SDK ${sdk.found}, CMCD ${cmcd.found}, at most ${allowed} apart`);
  }
  return found;
}
