// One session: what a <video> element does, as the events that the session fold expects (docs/qoe.md).
//
// The one thing to know before changing it: an element's events are not the viewer's experience. Browsers pause before
// they end, wait while they seek, and players seek by themselves to get over holes and set the rate to 0 to fill their
// buffer; each method says which of it counts.
import type { Heartbeat, Payload, PlayerError, Rendition, ViewContext, ViewEvent } from './wire';

/** A jump by less than this (s) of a player that waits, in startup or a stall, is how hls.js, dash.js and Shaka get over a
 *  hole or to where the media begins: no seek of the viewer's. */
const NUDGE_S = 1;

/** A jump by less than this (s) is none that a viewer would make, whatever the state: Shaka goes to the first frame so. */
const TINY_S = 0.1;

/** A playhead that is this far (s) from where it stood is moving; less than that browsers report of a standing one. */
const MOVED_S = 0.1;

/** Errors that end nothing, of one session: a player that fails in a loop must not fill the queue. */
const MAX_ERRORS = 100;

/** A code of so many UTF-16 units has at most 256 bytes, the most that the collector takes. */
const MAX_CODE = 85;

/** `HTMLMediaElement.HAVE_CURRENT_DATA` and `HAVE_FUTURE_DATA`. */
const HAVE_PICTURE = 2;
const CAN_PLAY = 3;

export class Session {
  isRequested = false;
  isStarted = false;
  isEnded = false;
  private isPaused = false;
  private isSeeking = false;
  private isStalled = false;
  private isInBreak = false;
  private isInAd = false;
  private isHidden = false;
  /** The source has had a picture to seek from; with startup going on. */
  private hasPicture = false;
  private sequence = 0;
  private errors = 0;
  private ratePerMille = 1000;
  private saidAtMs = 0;
  private viewportSaid = '';
  private renditionSaid = '';
  /** Where the playhead was last seen to stand by rights, and when (s, ms of the clock). */
  private playhead = 0;
  private playheadAtMs = 0;

  constructor(
    private readonly video: HTMLVideoElement,
    readonly context: ViewContext,
    private readonly now: () => number,
    private readonly emit: (context: ViewContext, event: ViewEvent, isUrgent: boolean) => void,
  ) {}

  /** Whether there is anything to tell: nothing is before the play request and after the end. */
  get isOpen(): boolean {
    return this.isRequested && !this.isEnded;
  }

  request(autoplay: boolean): void {
    if (this.isRequested) return;
    this.isRequested = true;
    this.hasPicture = this.video.readyState >= HAVE_PICTURE;
    this.notePlayhead();
    // Told at once: a viewer who leaves before the first frame may leave no time for it later.
    this.say({ play_requested: autoplay ? { autoplay } : {} }, undefined, true);
  }

  /** `play` */
  play(): void {
    if (!this.isOpen || !this.isPaused || this.isInBreak) return;
    this.isPaused = false;
    this.say({ resume: {} });
  }

  /** `pause` */
  pause(): void {
    // At its end an element pauses before it says `ended`. In a break it stands because an ad plays elsewhere.
    if (!this.isOpen || this.isPaused || this.isInBreak || this.video.ended) return;
    this.isPaused = true;
    this.say({ pause: {} });
  }

  /** The first picture of the content is on the screen, and has been for so long (ms). */
  firstFrame(sinceMs = 0): void {
    if (!this.isOpen || this.isStarted || this.isInBreak || this.video.seeking || !this.plays) return;
    this.settle();
    this.isStarted = true;
    this.say({ first_frame: {} }, undefined, true, sinceMs);
  }

  /** `waiting`: a stall, unless the viewer has seen nothing yet, or waits for what he asked for by seeking. */
  waiting(): void {
    const counts = this.isInBreak || (this.isStarted && !this.isSeeking && !this.video.seeking);
    if (!this.isOpen || !counts || this.isStalled || this.isPaused) return;
    this.isStalled = true;
    this.notePlayhead();
    this.say({ rebuffer_start: {} });
  }

  /** `seeking` */
  seeking(): void {
    if (!this.isOpen || this.isInBreak || this.isSeeking) return;
    // Before there is a picture, it is the player that goes to where the title begins.
    if (!this.isStarted && !this.hasPicture) return this.notePlayhead();
    const before = this.playheadBefore();
    const waits = this.isStalled || !this.isStarted;
    if (Math.abs(this.video.currentTime - before) < (waits ? NUDGE_S : TINY_S)) return this.notePlayhead();
    this.isSeeking = true;
    this.isStalled = false; // the fold ends a stall with the seek
    // The element's time is the target's already; media was played up to here.
    this.say({ seek_start: {} }, before);
  }

  /** `seeked`, `playing`: what was waited for may be there. */
  settle(): void {
    if (!this.isOpen || this.video.seeking) return;
    const { plays } = this;
    if (plays) this.play();
    if (this.isSeeking && (plays || this.video.paused)) {
      this.isSeeking = false;
      this.say({ seek_end: {} });
    }
    if (this.isStalled && plays) {
      this.isStalled = false;
      this.say({ rebuffer_end: {} });
    }
    this.notePlayhead();
  }

  /** `timeupdate`: a playhead that moves says more than an event that a browser has left out. */
  moved(): void {
    if (!this.isOpen || this.video.seeking) return;
    const isMoving = !this.isSeeking && Math.abs(this.video.currentTime - this.playhead) > MOVED_S;
    if (isMoving || !this.isStalled) this.settle();
    if (isMoving) this.firstFrame();
  }

  /** `ratechange`: a rate of 0 is no wish of the viewer's but Shaka filling its buffer. */
  rate(): void {
    const { playbackRate } = this.video;
    if (playbackRate === 0) return this.waiting();
    this.settle();
    const ratePerMille = Math.round(1000 * Math.abs(playbackRate));
    if (!this.isOpen || ratePerMille === this.ratePerMille) return;
    this.ratePerMille = ratePerMille;
    this.say({ playback_rate: { rate_per_mille: ratePerMille } });
  }

  /** `loadeddata` */
  loaded(): void {
    this.hasPicture = true;
  }

  /** `emptied`: the source is gone. A player that replaces it while it plays keeps its viewer waiting. */
  emptied(): void {
    this.hasPicture = false;
    if (!this.isStarted || this.isInBreak) return;
    if (this.video.networkState === 0) this.end('unloaded');
    else this.waiting();
  }

  visibility(isHidden: boolean): void {
    if (!this.isOpen || isHidden === this.isHidden) return;
    this.isHidden = isHidden;
    // Hidden pages of phones are closed without a word.
    this.say(isHidden ? { background: {} } : { foreground: {} }, undefined, isHidden);
  }

  adBreakStart(): void {
    if (!this.isOpen || this.isInBreak) return;
    this.isInBreak = true;
    this.isStalled = false;
    this.say({ ad_break_start: {} });
  }

  adStart(id: string): void {
    if (!this.isOpen) return;
    this.adBreakStart();
    this.isInAd = true;
    this.isStalled = false;
    this.say({ ad_start: { ad_id: id } });
  }

  adEnd(): void {
    if (!this.isOpen || !this.isInAd) return;
    this.isInAd = false;
    this.say({ ad_end: {} });
  }

  adBreakEnd(): void {
    if (!this.isOpen || !this.isInBreak) return;
    this.isInBreak = this.isInAd = this.isStalled = false;
    this.notePlayhead();
    this.say({ ad_break_end: {} });
  }

  rendition(rendition: Rendition): void {
    const said = JSON.stringify(rendition);
    if (!this.isOpen || said === this.renditionSaid) return;
    this.renditionSaid = said;
    this.say({ rendition });
  }

  /** Device pixels. */
  viewport(width: number, height: number): void {
    const said = `${width}x${height}`;
    if (!this.isOpen || said === this.viewportSaid || !(width > 0 && height > 0)) return;
    this.viewportSaid = said;
    this.say({ viewport: { width, height } });
  }

  error({ code, fatal, business }: PlayerError): void {
    if (!this.isOpen || (!fatal && this.errors >= MAX_ERRORS)) return;
    this.errors += 1;
    this.say({ error: { code: String(code).slice(0, MAX_CODE), fatal, business } }, undefined, true);
    this.isEnded = fatal;
  }

  heartbeat(heartbeat: Heartbeat): void {
    if (this.isOpen) this.say({ heartbeat });
  }

  /** `ended`; the end of an ad in the same element is none of the content. */
  ended(): void {
    if (!this.isInBreak) this.end('ended');
  }

  end(reason: string): void {
    if (!this.isOpen) return;
    this.say({ session_end: { reason: String(reason).slice(0, MAX_CODE) } }, undefined, true);
    this.isEnded = true;
  }

  private get plays(): boolean {
    const { paused, readyState, playbackRate } = this.video;
    return !paused && readyState >= CAN_PLAY && playbackRate !== 0;
  }

  private notePlayhead(): void {
    // A source that is being replaced stands at 0.
    if (this.isStarted && this.video.readyState === 0) return;
    this.playhead = this.video.currentTime;
    this.playheadAtMs = this.now();
  }

  /** Where playback came to before the element's time jumped: it was noted up to a quarter of a second ago. */
  private playheadBefore(): number {
    const sinceMs = this.isPaused || this.isStalled || !this.isStarted ? 0 : Math.min(this.now() - this.playheadAtMs, 250);
    return this.playhead + (sinceMs / 1000) * this.video.playbackRate;
  }

  private say(payload: Payload, playhead: number = this.video.currentTime, isUrgent = false, sinceMs = 0): void {
    // Not before what has been said: time would step back.
    if (sinceMs > 0) this.saidAtMs = Math.max(this.saidAtMs, this.now() - Math.round(sinceMs));
    else this.saidAtMs = this.now();
    const event: ViewEvent = {
      sequence: this.sequence,
      event_time_ms: this.saidAtMs,
      media_time_ms: Math.max(0, Math.round(1000 * playhead)) || 0,
      ...payload,
    };
    this.sequence += 1;
    this.emit(this.context, event, isUrgent);
  }
}
