// What happens to a player, scenario by scenario. A scenario is a script for the server (which requests it holds or
// refuses) and one for the page (what the viewer does, by playhead), so that what has to come out is known beforehand.
// To add one: one more entry here.

/** The stream's (make-stream.sh). */
export const SEGMENT_S = 2;

/** `shaka` is the debug build; the minified one, `shaka.min`, has another name for `sta`, and so never tells a state. */
export type PlayerName = 'hls.js' | 'dash.js' | 'shaka' | 'shaka.min';

export const PLAYERS: PlayerName[] = ['hls.js', 'dash.js', 'shaka', 'shaka.min'];

/** What the server does with requests for one video segment, of any rendition, or for the manifest. */
export interface Rule {
  /** From 1; its media is `[2 (segment - 1), 2 segment)` s. */
  segment: number | 'manifest';
  /** Held until so long after: `request` it came, startup was `settled`, `frozen` the playhead stood still for the nth time,
   *  `seek` the viewer sought. Nothing: not held. */
  hold?: { after: 'request' | 'settled' | 'frozen' | 'seek' | 'never'; nth?: number; ms: number };
  /** Refused with this status, then. */
  status?: number;
  /** Only the first so many requests; all by default. */
  times?: number;
}

/** What the viewer does when the playhead comes to `at` (s of media; of the time since the play request for `afterMs`). */
export interface Step {
  at?: number;
  afterMs?: number;
  does: 'seek' | 'rendition' | 'hide' | 'show' | 'close' | 'leave';
  /** `seek`: s of media; `rendition`: index, the lowest first. */
  to?: number;
}

export interface Expected {
  outcome: 'played' | 'exit_before_start' | 'start_failure' | 'playback_failure';
  /** Each stall's length as scripted (ms): what is held is held so long after the playhead stood still. */
  stalls: number[];
  /** A stall that lasts until the viewer gives up. */
  endsStalled?: boolean;
  seeks: number;
  /** Of rendition; nothing when the player may choose. */
  switches?: number;
  /** The code of the error that the session shows, a fatal one before others. */
  error?: string;
  /** The least that startup takes because of held requests (ms). */
  startupAtLeastMs?: number;
  /** By playhead (ms). */
  backgroundMs?: number;
}

export interface Scenario {
  name: string;
  /** What it shows, for the table. */
  title: string;
  rules: Rule[];
  steps: Step[];
  /** Where the title begins (s). */
  startAt?: number;
  /** For `shaka.min`, too, which differs from `shaka` in its CMCD alone. */
  withMinified?: boolean;
  /** The player may choose renditions by itself. */
  adapts?: boolean;
  expected: Expected;
  /** Where players differ. */
  except?: Partial<Record<PlayerName, Partial<Expected>>>;
}

/** An error during startup leaves it without a time (rule 2 of docs/qoe.md), and whether segment 3 is asked for by then is
 *  the machine's choice. Pictures may be 100 ms later than the playhead; the buffer has 3 s more. */
const AFTER_STARTUP: Rule['hold'] = { after: 'settled', ms: 1_000 };

const PLAYED: Expected = { outcome: 'played', stalls: [], seeks: 0, switches: 0 };

export const SCENARIOS: Scenario[] = [
  { name: 'clean', title: 'clean start', withMinified: true, rules: [], steps: [{ at: 6, does: 'close' }], expected: PLAYED },
  {
    name: 'to_the_end',
    title: 'starts at 34 s, plays to the end',
    startAt: 34,
    rules: [],
    steps: [],
    expected: PLAYED,
  },
  {
    name: 'slow_start',
    title: 'first segment held for 3 s',
    rules: [{ segment: 1, hold: { after: 'request', ms: 3_000 } }],
    steps: [{ at: 4, does: 'close' }],
    expected: { ...PLAYED, startupAtLeastMs: 3_000 },
  },
  {
    name: 'two_stalls',
    title: 'stalls of 1.5 s and 2.5 s',
    withMinified: true,
    rules: [
      { segment: 3, hold: { after: 'frozen', nth: 1, ms: 1_500 } },
      { segment: 5, hold: { after: 'frozen', nth: 2, ms: 2_500 } },
    ],
    steps: [{ at: 14, does: 'close' }],
    expected: { ...PLAYED, stalls: [1_500, 2_500] },
  },
  {
    name: 'seek_buffered',
    title: 'seek to what is buffered',
    rules: [],
    steps: [
      { at: 3, does: 'seek', to: 7 },
      { at: 10, does: 'close' },
    ],
    expected: { ...PLAYED, seeks: 1 },
  },
  {
    name: 'seek_held',
    title: 'seek to what is held for 2 s',
    rules: [{ segment: 16, hold: { after: 'seek', ms: 2_000 } }],
    steps: [
      { at: 3, does: 'seek', to: 30.5 },
      { at: 33, does: 'close' },
    ],
    expected: { ...PLAYED, seeks: 1 },
  },
  {
    name: 'missing_segment',
    title: 'segment 3 missing in every rendition',
    rules: [{ segment: 3, hold: AFTER_STARTUP, status: 404 }],
    steps: [
      { at: 8, does: 'close' },
      { afterMs: 20_000, does: 'close' },
    ],
    expected: PLAYED,
    except: {
      // Tries every rendition again and again, and never gives up.
      'hls.js': { endsStalled: true, error: 'fragLoadError_404' },
      // Gives up without saying that it does.
      'dash.js': { endsStalled: true, error: 'dash_27_404' },
      // Gives up at once, with seconds of media in its buffer.
      shaka: { outcome: 'playback_failure', error: 'shaka_1001_404' },
    },
  },
  {
    name: 'recovered_segment',
    title: 'segment 3 missing once',
    adapts: true,
    rules: [{ segment: 3, hold: AFTER_STARTUP, status: 404, times: 1 }],
    steps: [
      { at: 8, does: 'close' },
      { afterMs: 20_000, does: 'close' },
    ],
    expected: { outcome: 'played', stalls: [], seeks: 0 },
    // Takes the segment from another rendition, and says so; the others ask again, and do not.
    except: { 'hls.js': { error: 'fragLoadError_404' } },
  },
  {
    name: 'missing_manifest',
    title: 'manifest missing',
    withMinified: true,
    rules: [{ segment: 'manifest', status: 404 }],
    // dash.js asks four times before it gives up.
    steps: [{ afterMs: 5_000, does: 'close' }],
    expected: { ...PLAYED, outcome: 'start_failure' },
    except: {
      'hls.js': { error: 'manifestLoadError_404' },
      'dash.js': { error: 'dash_25_404' },
      shaka: { error: 'shaka_1001_404' },
      'shaka.min': { error: 'shaka_1001_404' },
    },
  },
  {
    name: 'closed_early',
    title: 'tab closed 2 s into startup',
    rules: [{ segment: 1, hold: { after: 'never', ms: 0 } }],
    steps: [{ afterMs: 2_000, does: 'leave' }],
    expected: { ...PLAYED, outcome: 'exit_before_start' },
  },
  {
    name: 'hidden',
    title: 'tab hidden for 3 s',
    rules: [],
    steps: [
      { at: 3, does: 'hide' },
      { at: 6, does: 'show' },
      { at: 8, does: 'close' },
    ],
    expected: { ...PLAYED, backgroundMs: 3_000 },
  },
  {
    name: 'renditions',
    title: 'lowest → highest → middle',
    rules: [],
    steps: [
      { at: 2, does: 'rendition', to: 2 },
      { at: 8, does: 'rendition', to: 1 },
      { at: 14, does: 'close' },
    ],
    expected: { ...PLAYED, switches: 2 },
  },
];
