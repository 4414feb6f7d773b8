// One small adapter for each player: what the <video> element cannot tell, that is which rendition plays, from which CDN,
// at what throughput, and what went wrong. The types say only what is used, so that no player is a dependency.
import type { PlayerError, Rendition, ViewContext } from './wire';

/** What an adapter tells. */
export interface PlayerSink {
  rendition(rendition: Rendition): void;
  error(error: PlayerError): void;
}

export interface PlayerAdapter {
  /** What is known of the player itself. */
  context(): ViewContext;
  /** Bit/s as the player measured it; 0 when it has not. */
  throughputBps(): number;
  /** Begins to tell; the result ends it. */
  attach(sink: PlayerSink): () => void;
}

// biome-ignore lint: the events of three players have no type in common
type Any = any;

interface Emitter {
  on(name: string, listener: (...data: Any[]) => void): void;
  off(name: string, listener: (...data: Any[]) => void): void;
}

/** Listens to several events of an emitter; the result ends it. */
function listen(add: Emitter['on'], remove: Emitter['off'], listeners: Record<string, (...data: Any[]) => void>): () => void {
  const all = Object.entries(listeners);
  for (const [name, listener] of all) add(name, listener);
  return () => {
    for (const [name, listener] of all) remove(name, listener);
  };
}

/** What hls.js calls errors but are its answers to a stall that the element tells of anyway, or its own changes of mind. */
const HLS_HARMLESS = /^(buffer(StalledError|NudgeOnStall|SeekOverHole)|aborted)$/;

export interface HlsLike extends Emitter {
  readonly levels: Any[];
  readonly bandwidthEstimate: number;
}

/** hls.js 1.x. */
export function hlsJs(hls: HlsLike): PlayerAdapter {
  let cdn = '';
  return {
    context: () => known({ player: 'hls.js', player_version: (hls.constructor as Any).version, protocol: 'hls' }),
    throughputBps: () => hls.bandwidthEstimate,
    attach: (sink) =>
      listen(hls.on.bind(hls), hls.off.bind(hls), {
        hlsFragLoaded: (_name, { frag }) => {
          if (frag.type === 'main') cdn = hostOf(frag.url);
        },
        // When the first picture of a level is on the screen, not when the level is loaded.
        hlsLevelSwitched: (_name, { level: index }) => {
          const level = hls.levels[index];
          sink.rendition({
            representation_id: level.attrs?.['STABLE-VARIANT-ID'] ?? representationId(level.height, level.bitrate),
            bitrate_bps: level.bitrate,
            width: level.width,
            height: level.height,
            codec: level.videoCodec ?? '',
            cdn: level.pathwayId && level.pathwayId !== '.' ? level.pathwayId : cdn,
          });
        },
        hlsError: (_name, { details, fatal, response }) => {
          if (HLS_HARMLESS.test(details)) return;
          sink.error({ code: withStatus(details, response?.code), fatal, business: false });
        },
      }),
  };
}

/** What dash.js 5 calls errors without giving up: a segment that is missing is skipped or loaded from elsewhere, a clock
 *  that is not synchronised and a subtitle that cannot be read cost no picture. */
const DASH_HARMLESS = new Set([16, 26, 27, 28, 31, 33]);

export interface DashLike extends Emitter {
  getVersion(): string;
  getAverageThroughput(type: 'video'): number;
}

/** dash.js 5.x. */
export function dashJs(player: DashLike): PlayerAdapter {
  let cdn = '';
  return {
    context: () => known({ player: 'dash.js', player_version: player.getVersion(), protocol: 'dash' }),
    throughputBps: () => 1000 * player.getAverageThroughput('video'),
    attach: (sink) =>
      listen(player.on.bind(player), player.off.bind(player), {
        fragmentLoadingCompleted: ({ request }) => {
          if (request?.mediaType === 'video') cdn = cdnOf(request);
        },
        qualityChangeRendered: ({ mediaType, newRepresentation: representation }) => {
          if (mediaType !== 'video' || !representation) return;
          sink.rendition({
            representation_id: representation.id,
            bitrate_bps: representation.bandwidth,
            width: representation.width,
            height: representation.height,
            codec: representation.codecs ?? '',
            cdn,
          });
        },
        error: ({ error }) => {
          const { code, data } = error ?? {};
          sink.error({ code: withStatus(`dash_${code}`, data?.response?.status), fatal: !DASH_HARMLESS.has(code), business: false });
        },
      }),
  };
}

export interface ShakaLike {
  addEventListener(name: string, listener: (event: Any) => void): void;
  removeEventListener(name: string, listener: (event: Any) => void): void;
  getVariantTracks(): Any[];
  getAssetUri(): string | null;
  getStats(): { estimatedBandwidth: number };
}

/** Shaka Player 4 and 5. A `load` that fails tells only its caller: `player.load(url).catch((e) => handle.error(…))`. */
export function shakaPlayer(player: ShakaLike): PlayerAdapter {
  return {
    context: () => known({ player: 'shaka', player_version: (player.constructor as Any).version }),
    throughputBps: () => player.getStats().estimatedBandwidth,
    attach: (sink) => {
      const tell = () => {
        const track = player.getVariantTracks().find(({ active }) => active);
        if (!track) return;
        sink.rendition({
          representation_id: track.originalVideoId ?? representationId(track.height, track.bandwidth),
          bitrate_bps: track.bandwidth,
          width: track.width ?? 0,
          height: track.height ?? 0,
          codec: track.videoCodec ?? '',
          cdn: hostOf(player.getAssetUri() ?? ''),
        });
      };
      return listen(player.addEventListener.bind(player), player.removeEventListener.bind(player), {
        loaded: tell,
        adaptation: tell,
        variantchanged: tell,
        error: ({ detail }) => sink.error(shakaError(detail)),
      });
    },
  };
}

/** For an error that `player.load` rejects with, too. */
export function shakaError(error: { severity?: number; code?: number; data?: unknown[] }): PlayerError {
  // 1001 is BAD_HTTP_STATUS, whose data are the URL and the status; severity 2 is CRITICAL.
  const status = error.code === 1001 ? Number(error.data?.[1]) : undefined;
  return { code: withStatus(`shaka_${error.code}`, status), fatal: error.severity === 2, business: false };
}

/** Without a name in the manifest dash.js calls a location by its URL. */
function cdnOf({ serviceLocation = '', url }: { serviceLocation?: string; url: string }): string {
  return serviceLocation && !serviceLocation.includes('/') ? serviceLocation : hostOf(url);
}

const withStatus = (code: string, status?: number): string => (status ? `${code}_${status}` : code);

/** The same for every viewer of a title, unlike an index into what this device can play. */
const representationId = (height: number, bitrateBps: number): string => `${height || 0}p_${bitrateBps}`;

function hostOf(url: string): string {
  try {
    return new URL(url).host;
  } catch {
    return '';
  }
}

/** Without what is unknown. */
function known(context: ViewContext): ViewContext {
  return Object.fromEntries(Object.entries(context).filter(([, value]) => value)) as ViewContext;
}
