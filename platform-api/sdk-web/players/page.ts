// What runs in the page of one run: a player with CMCD, the SDK beside it, the observer, and the viewer of the scenario.
import { dashJs, hlsJs, shakaError, shakaPlayer, track, type Handle } from '../src';
import { Observer, type Observed } from './observer';
import type { PlayerName, Scenario, Step } from './scenarios';

// biome-ignore lint: three players from script tags
type Any = any;
declare const Hls: Any;
declare const dashjs: Any;
declare const shaka: Any;

export interface Setup {
  runId: string;
  player: PlayerName;
  scenario: Scenario;
  /** The SDK's. */
  endpoint: string;
  /** CMCD's, with the integrator's context in its query. */
  cmcdUrl: string;
  cmcdSession: string;
  sdkSession: string;
  batchSize: number;
  events: string[];
}

interface Driven {
  play(): void;
  rendition(index: number): void;
  destroy(): void;
}

const video = document.querySelector('video') as HTMLVideoElement;
/** After the end; the player gets to see it, too. */
const VIEWER_LEAVES_MS = 500;

const HLS_URL = 'main.m3u8';
const DASH_URL = 'main.mpd';

/** dash.js sends lines with nothing but what is named here; the others send everything when nothing is named. */
const DASH_KEYS = (
  'v sid cid e ts sn sta st sf br ab lb tb tab lab pb tpb bl tbl bs bsa bsd bsda mtp msd ec pr pt bg dfa df ltc cen cdn rc ttfb ttfbb ttlb url su nr h'
).split(' ');

/** As an integrator would write it, but for what makes a run repeatable: one rendition, unless the scenario says. */
function hls(setup: Setup, stream: string): { driven: Driven; adapter: ReturnType<typeof hlsJs> } {
  const { scenario } = setup;
  const player = new Hls({
    startPosition: scenario.startAt ?? -1,
    startLevel: 0,
    abrEwmaDefaultEstimate: 100_000,
    ...(scenario.adapts ? { autoLevelCapping: 0 } : {}),
    cmcd: {
      version: 2,
      sessionId: setup.cmcdSession,
      contentId: scenario.name,
      eventTargets: [{ url: setup.cmcdUrl, events: setup.events, interval: 10, batchSize: setup.batchSize }],
    },
  });
  return {
    adapter: hlsJs(player),
    driven: {
      play() {
        player.once(Hls.Events.MANIFEST_PARSED, () => {
          if (!scenario.adapts) player.loadLevel = 0;
        });
        player.loadSource(stream + HLS_URL);
        player.attachMedia(video);
        video.play().catch(() => undefined);
      },
      rendition: (index) => void (player.nextLevel = index),
      destroy: () => player.destroy(),
    },
  };
}

function dash(setup: Setup, stream: string): { driven: Driven; adapter: ReturnType<typeof dashJs> } {
  const { scenario } = setup;
  const player = dashjs.MediaPlayer().create();
  player.updateSettings({
    debug: { logLevel: 0 },
    streaming: {
      abr: { autoSwitchBitrate: { video: false, audio: false }, initialBitrate: { video: 10 } },
      buffer: { fastSwitchEnabled: true },
      cmcd: {
        enabled: true,
        version: 2,
        sid: setup.cmcdSession,
        cid: scenario.name,
        eventTargets: [{ enabled: true, url: setup.cmcdUrl, events: setup.events, interval: 10, batchSize: setup.batchSize, enabledKeys: DASH_KEYS }],
      },
    },
  });
  return {
    adapter: dashJs(player),
    driven: {
      play: () => player.initialize(video, stream + DASH_URL, true, scenario.startAt),
      rendition: (index) => player.setRepresentationForTypeByIndex('video', index, true),
      destroy: () => player.destroy(),
    },
  };
}

function shakaOf(setup: Setup, stream: string, handle: () => Handle): { driven: Driven; adapter: ReturnType<typeof shakaPlayer> } {
  const { scenario } = setup;
  shaka.polyfill.installAll();
  const player = new shaka.Player();
  player.configure({
    abr: { enabled: false, useNetworkInformation: false, defaultBandwidthEstimate: 10_000 },
    cmcd: {
      enabled: true,
      version: 2,
      sessionId: setup.cmcdSession,
      contentId: scenario.name,
      eventTargets: [{ enabled: true, url: setup.cmcdUrl, events: setup.events, interval: 10, batchSize: setup.batchSize, mode: 'event', useHeaders: false, includeKeys: [] }],
    },
  });
  return {
    adapter: shakaPlayer(player),
    driven: {
      play() {
        video.play().catch(() => undefined);
        player
          .attach(video)
          .then(() => player.load(stream + DASH_URL, scenario.startAt))
          .then(() => video.play())
          .catch((error: Any) => error?.code && handle().error(shakaError(error)));
      },
      rendition(index) {
        const tracks = [...player.getVariantTracks()].sort((a: Any, b: Any) => a.bandwidth - b.bandwidth);
        player.selectVariantTrack(tracks[index], true, 1);
      },
      destroy: () => void player.destroy(),
    },
  };
}

let observer: Observer | undefined;

/** Begins; the runner calls it. */
function start(setup: Setup): void {
  const { scenario, runId } = setup;
  const stream = `${location.origin}/stream/${runId}/`;
  const tell = (what: string, agoMs = 0): void => {
    void fetch(`/note/${runId}/${what}?ago_ms=${agoMs}`, { method: 'POST', keepalive: true });
  };
  let handle: Handle;
  const { driven, adapter } =
    setup.player === 'hls.js' ? hls(setup, stream) : setup.player === 'dash.js' ? dash(setup, stream) : shakaOf(setup, stream, () => handle);
  handle = track(video, {
    endpoint: setup.endpoint,
    context: { session_id: setup.sdkSession, player_instance: 'sdk', title_id: scenario.name, profile_id: 'p1', device_type: 'desktop', app_version: '1.0' },
    player: adapter,
    onProblem: (problem) => console.warn(`sdk: ${problem}`),
  });

  const steps = [...scenario.steps];
  let isOver = false;
  let isSettled = false;
  /** Startup is over, one way or the other. */
  const settled = (): void => {
    if (!isSettled) tell('settled');
    isSettled = true;
  };
  const finish = (reason: string): void => {
    if (isOver) return;
    isOver = true;
    observer?.over();
    handle.end(reason);
    // As a page does that goes on to something else; the element is left to it.
    driven.destroy();
    settled();
    tell('over');
  };
  const act = (step: Step): void => {
    if (step.does === 'seek') {
      observer?.sought();
      video.currentTime = step.to ?? 0;
      tell('seek');
    } else if (step.does === 'rendition') driven.rendition(step.to ?? 0);
    else if (step.does === 'close') finish('closed');
    else tell(step.does); // the runner hides, shows and leaves
  };
  const sample = (playhead: number): void => {
    const now = performance.now();
    const due = steps.filter((step) =>
      step.at !== undefined ? playhead >= step.at && !video.seeking : now - (observer?.seen.requestedMs ?? now) >= (step.afterMs ?? 0),
    );
    // By playhead they come in order; those by time are ways out.
    const next = due.find((step) => step.afterMs !== undefined || step === steps.find(({ at }) => at !== undefined));
    if (!next || isOver) return;
    steps.splice(steps.indexOf(next), 1);
    act(next);
  };

  handle.playRequested();
  observer = new Observer(video, scenario.startAt ?? 0, (sinceMs) => tell('frozen', sinceMs), sample, settled);
  video.addEventListener('ended', () => setTimeout(() => finish('ended'), VIEWER_LEAVES_MS));
  driven.play();
}

declare global {
  interface Window {
    start: typeof start;
    observed: () => Observed | undefined;
  }
}
window.start = start;
window.observed = () => observer?.seen;
