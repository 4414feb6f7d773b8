// Turns what a <video> element does into view events (docs/events.md) and posts them to the collector. It knows no
// framework and no player library: whoever plays tells it of renditions, throughput and errors.
//
// The one thing to know before changing it: the events must be what the session fold expects. A stall is `waiting` after
// the first frame and outside of a seek; sequence numbers have no gaps; `sent_at_ms` is stamped anew for each try.
import { type Outcome, Outbox, randomId } from './outbox';

/** Between two heartbeats (ms): a third of what silences a viewer, so that one may be lost. */
export const HEARTBEAT_MS = 5_000;

export interface ViewContext {
  session_id: string;
  player_instance?: string;
  profile_id?: string;
  title_id?: string;
  device_type?: string;
  os?: string;
  player?: string;
  player_version?: string;
  app_version?: string;
  country?: string;
  region?: string;
  isp?: string;
  cdn?: string;
  protocol?: string;
  asset_id?: string;
}

export interface Rendition {
  representation_id: string;
  bitrate_bps: number;
  width: number;
  height: number;
  codec: string;
}

type Empty = Record<string, never>;

export type Payload =
  | { play_requested: Empty }
  | { first_frame: Empty }
  | { rebuffer_start: Empty }
  | { rebuffer_end: Empty }
  | { pause: Empty }
  | { resume: Empty }
  | { seek_start: Empty }
  | { seek_end: Empty }
  | { rendition: Rendition }
  | { error: { code: string; fatal: boolean; business: boolean } }
  | { heartbeat: { buffer_ms: number; throughput_bps: number; dropped_frames: number } }
  | { background: Empty }
  | { foreground: Empty }
  | { session_end: { reason: string } };

export type ViewEvent = {
  event_id: string;
  sequence: number;
  event_time_ms: number;
  media_time_ms?: number;
} & Payload;

export interface ReporterOptions {
  /** Such as `http://127.0.0.1:8080`. */
  collectorUrl: string;
  context: ViewContext;
  /** Milliseconds since the epoch. */
  now: () => number;
  onEvent?: (event: ViewEvent) => void;
  onSettled?: (events: ViewEvent[], outcome: Outcome) => void;
  fetch?: typeof fetch;
}

/** Reports one session of one player. */
export class ViewReporter {
  private readonly outbox: Outbox<ViewEvent>;
  private readonly stopListening = new AbortController();
  private video: HTMLVideoElement | null = null;
  private heartbeat: ReturnType<typeof setInterval> | undefined;
  private sequence = 0;
  private started = false;
  private paused = false;
  private seeking = false;
  private stalled = false;
  private ended = false;
  private throughputBps = 0;
  private droppedFrames = 0;

  constructor(private readonly options: ReporterOptions) {
    this.outbox = new Outbox<ViewEvent>({
      url: `${options.collectorUrl}/v1/events`,
      envelope: (events) => ({ context: options.context, sent_at_ms: options.now(), events }),
      ...(options.onSettled ? { onSettled: options.onSettled } : {}),
      ...(options.fetch ? { fetch: options.fetch } : {}),
    });
  }

  /** The viewer asked to play: startup begins. From here on the element is watched. */
  playRequested(video: HTMLVideoElement): void {
    this.video = video;
    const on = (name: string, listener: () => void, target: EventTarget = video) =>
      target.addEventListener(name, listener, { signal: this.stopListening.signal });
    on('playing', () => this.onPlaying());
    on('waiting', () => this.onWaiting());
    on('seeking', () => this.onSeeking());
    on('seeked', () => this.onSeeked());
    on('pause', () => this.onPause());
    on('play', () => this.onPlay());
    on('ended', () => this.end('finished'));
    on('visibilitychange', () => this.say(document.hidden ? { background: {} } : { foreground: {} }), document);
    on('pagehide', () => this.end('page_closed', true), window);
    this.heartbeat = setInterval(() => this.beat(), HEARTBEAT_MS);
    this.say({ play_requested: {} });
    this.outbox.flush();
  }

  /** From now on this representation plays. */
  rendition(rendition: Rendition): void {
    this.say({ rendition });
  }

  /** As the player measured it (bit/s); goes with the next heartbeat. */
  throughput(bps: number): void {
    this.throughputBps = Math.max(0, Math.round(bps));
  }

  /** A fatal error ends the session. */
  error(code: string, fatal: boolean, business = false): void {
    this.say({ error: { code, fatal, business } });
    if (fatal) this.close();
  }

  /** The viewer is done; later calls do nothing. */
  end(reason: string, pageCloses = false): void {
    if (this.ended || !this.video) return;
    this.say({ session_end: { reason } });
    this.close(pageCloses);
  }

  private close(pageCloses = false): void {
    this.ended = true;
    clearInterval(this.heartbeat);
    this.stopListening.abort();
    if (pageCloses) this.outbox.farewell();
    else this.outbox.flush();
  }

  private onPlaying(): void {
    if (!this.started) {
      this.started = true;
      this.say({ first_frame: {} });
      this.outbox.flush();
    } else if (this.stalled && !this.seeking) {
      this.stalled = false;
      this.say({ rebuffer_end: {} });
    }
  }

  private onWaiting(): void {
    if (!this.started || this.stalled || this.seeking || this.paused || this.video?.seeking) return;
    this.stalled = true;
    this.say({ rebuffer_start: {} });
  }

  private onSeeking(): void {
    if (this.seeking) return;
    this.seeking = true;
    this.stalled = false; // the fold ends a stall with the seek that interrupts it
    this.say({ seek_start: {} });
  }

  private onSeeked(): void {
    if (!this.seeking) return;
    this.seeking = false;
    this.say({ seek_end: {} });
  }

  private onPause(): void {
    // At its end an element pauses before it says `ended`.
    if (this.paused || this.video?.ended) return;
    this.paused = true;
    this.say({ pause: {} });
  }

  private onPlay(): void {
    if (!this.paused) return;
    this.paused = false;
    this.say({ resume: {} });
  }

  private beat(): void {
    const video = this.video;
    if (!video) return;
    const dropped = video.getVideoPlaybackQuality?.().droppedVideoFrames ?? 0;
    const dropped_frames = Math.max(0, dropped - this.droppedFrames);
    this.droppedFrames = dropped;
    this.say({ heartbeat: { buffer_ms: bufferMs(video), throughput_bps: this.throughputBps, dropped_frames } });
  }

  private say(payload: Payload): void {
    if (this.ended) return;
    const media = this.video ? Math.round(this.video.currentTime * 1000) : 0;
    const event: ViewEvent = {
      event_id: randomId(),
      sequence: this.sequence,
      event_time_ms: this.options.now(),
      media_time_ms: media,
      ...payload,
    };
    this.sequence += 1;
    this.outbox.add(event);
    this.options.onEvent?.(event);
  }
}

/** The name of an event's payload. */
export function kindOf(event: ViewEvent): string {
  const common = new Set(['event_id', 'sequence', 'event_time_ms', 'media_time_ms']);
  return Object.keys(event).find((key) => !common.has(key)) ?? 'unknown';
}

/** Media buffered ahead of the playhead (ms). */
function bufferMs(video: HTMLVideoElement): number {
  const { buffered, currentTime } = video;
  for (let index = 0; index < buffered.length; index += 1) {
    if (buffered.start(index) <= currentTime && currentTime <= buffered.end(index)) {
      return Math.round((buffered.end(index) - currentTime) * 1000);
    }
  }
  return 0;
}
