// `track`: follows one <video> element. Here are its listeners, timers and observers; what they mean is in session.ts,
// how it gets out in outbox.ts.
import { SteadyClock } from './clock';
import { quietly } from './guard';
import { type Fate, Outbox } from './outbox';
import type { PlayerAdapter } from './players';
import { Session } from './session';
import type { PlayerError, Rendition, ViewContext, ViewEvent } from './wire';

/** Between two heartbeats (ms): a third of what silences a viewer. Hidden pages get timers once a minute only. */
export const HEARTBEAT_MS = 10_000;

/** A window that is dragged larger is one change. */
const VIEWPORT_MS = 500;

export interface TrackOptions {
  /** The collector, such as `https://collector.example.com`; its `allowed_origins` must name the page's. */
  endpoint: string;
  /** Who watches what, where; ids that are missing are drawn. */
  context?: ViewContext;
  /** `hlsJs(hls)`, `dashJs(player)` or `shakaPlayer(player)`. */
  player?: PlayerAdapter;
  /** This title started by itself after another one. Not the element's attribute. */
  autoplay?: boolean;
  /** Has the last word on an error of the player, when the page recovers from what the player calls fatal. */
  classifyError?: (error: PlayerError) => PlayerError;
  /** Milliseconds since the epoch, for a page that knows the time better than its browser; it should never step back. */
  now?: () => number;
  /** Sees each event when it is told, and again when it is clear what has become of it. */
  onEvent?: (event: ViewEvent, fate: Fate) => void;
  /** Learns what went wrong in here; the page never does otherwise. */
  onProblem?: (problem: string) => void;
}

export interface Handle {
  /** The viewer asked to play, if before the element is told so: while a manifest is fetched, say. */
  playRequested(): void;
  /** The player, when it comes later than the element or in place of another; sessions that begin from here on name it. */
  attachPlayer(player: PlayerAdapter): void;
  /** The page has another title for the same element; what was is over. */
  newTitle(context: ViewContext, options?: { autoplay?: boolean; reason?: string }): void;
  /** An error that the player does not tell, such as a missing entitlement. */
  error(error: { code: string; fatal?: boolean; business?: boolean }): void;
  adBreakStart(): void;
  adStart(id: string): void;
  adEnd(): void;
  adBreakEnd(): void;
  /** The viewer is done; a later `play` of the element is a new session. */
  end(reason?: string): void;
  /** Ends, and leaves the element alone. */
  detach(): void;
}

/** Follows an element until it is detached. Never throws, whatever the page or the browser does. */
export function track(video: HTMLVideoElement, options: TrackOptions): Handle {
  let tracker: Tracker | undefined;
  const tell = (problem: string): void => options?.onProblem?.(problem);
  quietly(tell, () => {
    tracker = new Tracker(video, options, (problem) => quietly(() => undefined, () => tell(problem)));
    tracker.start();
  });
  const safely = (work: (tracker: Tracker) => void): void => quietly(tell, () => tracker && work(tracker));
  return {
    playRequested: () => safely((tracker) => tracker.request()),
    attachPlayer: (player) => safely((tracker) => tracker.attachPlayer(player)),
    newTitle: (context, next) => safely((tracker) => tracker.newTitle(context, next?.autoplay ?? false, next?.reason ?? 'next_title')),
    error: (error) => safely(({ session }) => session.error({ fatal: false, business: false, ...error })),
    adBreakStart: () => safely(({ session }) => session.adBreakStart()),
    adStart: (id) => safely(({ session }) => session.adStart(id)),
    adEnd: () => safely(({ session }) => session.adEnd()),
    adBreakEnd: () => safely((tracker) => tracker.adBreakEnd()),
    end: (reason = 'closed') => safely(({ session }) => session.end(reason)),
    detach: () => safely((tracker) => tracker.detach()),
  };
}

class Tracker {
  session: Session;
  private readonly now: () => number;
  private readonly outbox: Outbox;
  private readonly undo: (() => void)[] = [];
  private titleContext: ViewContext;
  private autoplay: boolean;
  private player: PlayerAdapter | undefined;
  private detachPlayer: (() => void) | undefined;
  private current: Rendition | undefined;
  private droppedFrames = 0;
  private viewportTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly options: TrackOptions,
    private readonly tell: (problem: string) => void,
  ) {
    const clock = new SteadyClock(tell);
    const now = (this.now = () => (options.now ? Math.round(options.now()) : clock.now()));
    const onFate = (event: ViewEvent, fate: Fate): void => this.attempt(() => options.onEvent?.(event, fate));
    this.outbox = new Outbox({ url: `${options.endpoint.replace(/\/$/, '')}/v1/events`, now, tell, onFate });
    this.player = options.player;
    this.titleContext = options.context ?? {};
    this.autoplay = options.autoplay ?? false;
    this.session = this.newSession();
  }

  start(): void {
    const on: Record<string, () => void> = {
      play: () => this.request(),
      pause: () => this.session.pause(),
      playing: () => this.playing(),
      waiting: () => this.session.waiting(),
      seeking: () => this.session.seeking(),
      seeked: () => this.session.settle(),
      timeupdate: () => this.session.moved(),
      ratechange: () => this.session.rate(),
      loadeddata: () => this.session.loaded(),
      emptied: () => this.session.emptied(),
      ended: () => this.session.ended(),
      error: () => this.elementError(),
      resize: () => this.pictureSize(),
    };
    for (const [name, work] of Object.entries(on)) this.listen(this.video, name, work);
    this.listen(document, 'visibilitychange', () => this.session.visibility(document.hidden));
    this.listen(window, 'pagehide', () => {
      this.session.end('page_closed');
      this.outbox.farewell();
    });
    this.attempt(() => {
      const heartbeat = setInterval(() => this.attempt(() => this.beat()), HEARTBEAT_MS);
      this.undo.push(() => clearInterval(heartbeat));
    });
    this.attempt(() => this.watchSize());
    this.attempt(() => this.player && this.attachPlayer(this.player));
    // It plays already, or has been told to.
    this.attempt(() => {
      if (!this.video.paused) this.request();
    });
  }

  /** The viewer wants to watch; after an end that is another session. */
  request(): void {
    if (this.session.isEnded) this.session = this.newSession();
    if (this.session.isRequested) return this.session.play();
    this.session.request(this.autoplay);
    this.attempt(() => this.session.visibility(document.hidden));
    this.attempt(() => this.tellViewport());
    this.attempt(() => {
      if (this.current) this.session.rendition(this.current);
    });
    this.attempt(() => this.session.rate());
    this.awaitFrame();
  }

  newTitle(context: ViewContext, autoplay: boolean, reason: string): void {
    this.session.end(reason);
    this.titleContext = context;
    this.autoplay = autoplay;
    this.current = undefined;
    this.session = this.newSession();
  }

  adBreakEnd(): void {
    this.session.adBreakEnd();
    if (!this.session.isStarted) this.awaitFrame();
  }

  detach(): void {
    this.session.end('detached');
    clearTimeout(this.viewportTimer);
    for (const work of this.undo.splice(0)) this.attempt(work);
    this.attempt(() => this.detachPlayer?.());
    // Without its listeners nobody would ask again.
    this.session.isEnded = true;
    this.outbox.flush();
  }

  private newSession(): Session {
    const context = {
      ...this.playerContext(),
      ...this.titleContext,
      session_id: this.titleContext.session_id ?? randomId(),
      // Sequences count within it, so that two sessions of one id never mix.
      player_instance: this.titleContext.player_instance ?? randomId().slice(0, 16),
    };
    return new Session(this.video, context, this.now, (...event) => this.outbox.add(...event));
  }

  private playerContext(): ViewContext {
    let context: ViewContext = {};
    this.attempt(() => {
      context = this.player?.context() ?? {};
    });
    return context;
  }

  private attempt(work: () => void): void {
    quietly(this.tell, work);
  }

  private listen(target: EventTarget, name: string, work: () => void): void {
    const listener = (): void => this.attempt(work);
    this.attempt(() => {
      target.addEventListener(name, listener);
      this.undo.push(() => target.removeEventListener(name, listener));
    });
  }

  attachPlayer(player: PlayerAdapter): void {
    this.player = player;
    this.detachPlayer?.();
    this.detachPlayer = player.attach({
      rendition: (rendition) => this.attempt(() => {
        this.current = rendition;
        this.session.rendition(rendition);
      }),
      error: (error) => this.attempt(() => this.session.error(this.options.classifyError?.(error) ?? error)),
    });
  }

  private playing(): void {
    this.session.settle();
    // Without pictures (sound only, a hidden page, an old browser) the element's word must do.
    if (!this.video.requestVideoFrameCallback || document.hidden || this.video.videoWidth === 0) this.session.firstFrame();
  }

  /** Asks for the first picture that is shown while the element plays; until then a picture may be one of preloading. */
  private awaitFrame(): void {
    const { session } = this;
    const ask = (): void => {
      this.video.requestVideoFrameCallback?.((_now, frame) => this.attempt(() => {
        // The callback waits for whatever the page has to do then; the frame tells when it went to the screen.
        session.firstFrame(performance.now() - frame.presentationTime);
        if (!session.isStarted && session.isOpen) ask();
      }));
    };
    this.attempt(ask);
  }

  private beat(): void {
    if (!this.session.isOpen) return;
    const dropped = this.video.getVideoPlaybackQuality?.().droppedVideoFrames ?? 0;
    const bitrate_bps = this.current?.bitrate_bps ?? 0;
    let throughputBps = 0;
    this.attempt(() => {
      throughputBps = this.player?.throughputBps() ?? 0;
    });
    this.session.heartbeat({
      buffer_ms: bufferMs(this.video),
      throughput_bps: Math.max(0, Math.round(throughputBps) || 0),
      // A new source counts from 0 again.
      dropped_frames: dropped < this.droppedFrames ? dropped : dropped - this.droppedFrames,
      ...(bitrate_bps > 0 ? { bitrate_bps } : {}),
    });
    this.droppedFrames = dropped;
  }

  private elementError(): void {
    const { error } = this.video;
    // 1 is MEDIA_ERR_ABORTED: somebody wanted it so. With a player it is the player that decides what to do about it.
    if (!error || error.code === 1) return;
    const found = { code: `media_${error.code}`, fatal: !this.player, business: false };
    this.session.error(this.options.classifyError?.(found) ?? found);
  }

  /** Without a player the picture's size is all that is known of a rendition. */
  private pictureSize(): void {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (this.player || !height) return;
    this.current = { representation_id: `${width}x${height}`, bitrate_bps: 0, width, height };
    this.session.rendition(this.current);
  }

  private watchSize(): void {
    const observer = new ResizeObserver(() => this.attempt(() => {
      clearTimeout(this.viewportTimer);
      this.viewportTimer = setTimeout(() => this.attempt(() => this.tellViewport()), VIEWPORT_MS);
    }));
    observer.observe(this.video);
    this.undo.push(() => observer.disconnect());
  }

  private tellViewport(): void {
    const scale = window.devicePixelRatio || 1;
    this.session.viewport(Math.round(this.video.clientWidth * scale), Math.round(this.video.clientHeight * scale));
  }
}

/** Media buffered ahead of the playhead (ms). */
function bufferMs({ buffered, currentTime }: HTMLVideoElement): number {
  for (let index = 0; index < buffered.length; index += 1) {
    if (buffered.start(index) <= currentTime && currentTime <= buffered.end(index)) {
      return Math.round((buffered.end(index) - currentTime) * 1000);
    }
  }
  return 0;
}

/** 128 bits by lot; not for secrets, so a browser without `crypto` may do it badly. */
function randomId(): string {
  let bytes = Array.from({ length: 16 }, () => Math.floor(256 * Math.random()));
  quietly(() => undefined, () => {
    bytes = [...crypto.getRandomValues(new Uint8Array(16))];
  });
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
