// The comparison of the players' scenarios can fail: each way in which a session may be wrong is found.
import { expect, test } from 'vitest';
import { compare, disagreements, outlived } from '../players/compare';
import type { Outcome } from '../players/drive';
import type { SessionRow } from '../players/marquee';
import { type PlayerName, SCENARIOS } from '../players/scenarios';
import { Run } from '../players/server';

function played(player: PlayerName, name: string, stalls: number[] = []): Outcome {
  const scenario = SCENARIOS.find((one) => one.name === name);
  if (!scenario) throw new Error(`there is no scenario ${name}`);
  const run = new Run(`${player}-${name}`, player, scenario);
  return {
    run,
    observed: {
      requestedMs: 1_000, firstMoveMs: 1_500, firstMoveUnseenMs: 10, stalls: stalls.map((ms, index) => ({ fromMs: 9_000 * (index + 1), toMs: 9_000 * (index + 1) + ms })),
      seeks: [], events: [], endedMs: null, hiddenMs: 0, overMs: 60_000, playheadS: 0,
    },
    leftAfterMs: null, held: [], sdkSession: `${run.id}-sdk`, cmcdSession: `${run.id}-cmcd`, complaints: [],
  };
}

const row = (session_id: string, changed: Partial<SessionRow> = {}): SessionRow => ({
  session_id, player_instance: 'x', outcome: 'played', startup_ms: 520, rebuffer_count: 0, rebuffer_ms: 0, seek_count: 0,
  rendition_switch_count: 0, background_ms: 0, error_code: null, error_fatal: null, inferred_count: 0, lost_events: 0, event_count: 9, ...changed,
});

function problemsOf(outcome: Outcome, sdk: Partial<SessionRow>, cmcd: Partial<SessionRow> = {}): string[] {
  const { checked, problems } = compare([outcome], [row(outcome.sdkSession, sdk), row(outcome.cmcdSession, cmcd)], ['sdk', 'cmcd']);
  return [...problems, ...disagreements(checked)];
}

test('what is right is right', () => {
  expect(problemsOf(played('hls.js', 'clean'), {})).toEqual([]);
  expect(problemsOf(played('hls.js', 'two_stalls', [1_600, 2_600]), { rebuffer_count: 2, rebuffer_ms: 4_250 }, { rebuffer_count: 2, rebuffer_ms: 4_100 })).toEqual([]);
});

test.each<[Partial<SessionRow>, string]>([
  [{ startup_ms: 900 }, 'startup_ms: 900, not 500 ± 160'],
  [{ startup_ms: null }, 'startup_ms: null, not 500 ± 160'],
  [{ seek_count: 1 }, 'seek_count: 1, not 0'],
  [{ rebuffer_count: 1 }, 'rebuffer_count: 1, not 0'],
  [{ rebuffer_ms: 400 }, 'rebuffer_ms: 400, not 0 ± 75'],
  [{ background_ms: 400 }, 'background_ms: 400, not 0 ± 50'],
  [{ rendition_switch_count: 2 }, 'rendition_switch_count: 2, not 0'],
  [{ outcome: 'unknown' }, 'outcome: unknown, not played'],
  [{ error_code: 'x' }, 'error: x, not null'],
])('%o is found', (changed, problem) => {
  expect(problemsOf(played('hls.js', 'clean'), changed)).toContain(`hls.js-clean sdk ${problem}`);
});

test('a session that is missing is found', () => {
  expect(compare([played('shaka', 'clean')], [row('shaka-clean-sdk')], ['sdk', 'cmcd']).problems).toEqual(['shaka-clean-cmcd: no such session in the lake']);
});

test('a script that did not do what it says is no truth', () => {
  const right = { rebuffer_count: 1, rebuffer_ms: 1_600 };
  expect(problemsOf(played('hls.js', 'two_stalls', [1_600]), right, right)).toEqual(['hls.js-two_stalls: the playhead stood still for 1600 ms, not 1500, 2500']);
  expect(problemsOf(played('hls.js', 'slow_start'), {})).toEqual(['hls.js-slow_start: startup 500 ms is shorter than what was held']);
});

test('known differences are allowed as they are, and no further', () => {
  const hidden = played('hls.js', 'hidden');
  if (hidden.observed) hidden.observed.hiddenMs = 3_000;
  expect(problemsOf(hidden, { background_ms: 3_010 })).toEqual([]);
  expect(problemsOf(hidden, { background_ms: 3_010 }, { background_ms: 1_000 })).toEqual(['hls.js-hidden cmcd background_ms: 1000, not 0 (no event `b`)']);
});

test('known differences that are gone are found', () => {
  const { checked } = compare([played('dash.js', 'hidden')], [row('dash.js-hidden-cmcd')], ['cmcd']);
  expect(outlived(checked)).toEqual(['dash.js-hidden cmcd background_ms: no longer so: no event `b`']);
});

test('SDK and CMCD may both be near enough to the truth and yet too far apart', () => {
  expect(problemsOf(played('dash.js', 'clean'), { startup_ms: 690 }, { startup_ms: 110 })).toEqual([
    'dash.js-clean startup_ms: SDK 690, CMCD 110, at most 410 apart',
  ]);
});
