// Looks at the playhead itself, every few milliseconds, and at nothing that the SDK or a player says: when it first moved,
// when it stood still. The element's events are only written down beside, for whoever looks into a difference.

/** A playhead that has not moved for so long (ms) stands still; on busy cores samples come late. */
const FROZEN_MS = 200;
const SAMPLE_MS = 10;

export interface Freeze {
  fromMs: number;
  toMs: number | null;
}

export interface Observed {
  requestedMs: number;
  firstMoveMs: number | null;
  /** How long before its first move the playhead was last looked at (ms): so much earlier it may have been. */
  firstMoveUnseenMs: number;
  /** After the first move, outside of seeks. */
  stalls: Freeze[];
  /** From the seek until the playhead moves on. */
  seeks: Freeze[];
  /** Times (ms) of element events. */
  events: { name: string; atMs: number }[];
  endedMs: number | null;
  hiddenMs: number;
  /** The viewer was done. */
  overMs: number | null;
  playheadS: number;
}

export class Observer {
  readonly seen: Observed;
  private lastPlayhead = -1;
  private lastMoveMs = 0;
  private lastSampleMs = performance.now();
  private hiddenSinceMs: number | null = null;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly startAt: number,
    /** Told when the playhead stands still, with how long it has (ms). */
    private readonly onFrozen: (sinceMs: number) => void,
    private readonly onSample: (playhead: number) => void,
    /** Told when the playhead moves for the first time. */
    private readonly onStarted: () => void,
  ) {
    this.seen = {
      requestedMs: performance.now(), firstMoveMs: null, firstMoveUnseenMs: 0, stalls: [], seeks: [], events: [], endedMs: null, hiddenMs: 0, overMs: null, playheadS: 0,
    };
    for (const name of ['play', 'loadeddata', 'playing', 'waiting', 'seeking', 'seeked', 'pause', 'ended', 'error', 'ratechange', 'emptied']) {
      video.addEventListener(name, () => this.event(name));
    }
    document.addEventListener('visibilitychange', () => this.visibility());
    setInterval(() => this.sample(), SAMPLE_MS);
  }

  private event(name: string): void {
    const atMs = performance.now();
    this.seen.events.push({ name, atMs });
    if (name === 'ended') this.seen.endedMs = atMs;
  }

  private visibility(): void {
    const now = performance.now();
    this.seen.events.push({ name: document.hidden ? 'hidden' : 'visible', atMs: now });
    if (document.hidden) this.hiddenSinceMs = now;
    else if (this.hiddenSinceMs !== null) {
      this.seen.hiddenMs += now - this.hiddenSinceMs;
      this.hiddenSinceMs = null;
    }
  }

  /** The viewer seeks now. */
  sought(): void {
    this.seen.seeks.push({ fromMs: performance.now(), toMs: null });
  }

  over(): void {
    this.seen.overMs = performance.now();
  }

  private sample(): void {
    if (this.seen.overMs !== null) return;
    const { currentTime: playhead, seeking, paused, ended } = this.video;
    const now = performance.now();
    this.seen.playheadS = playhead;
    const last = this.lastPlayhead;
    const hasMoved = last >= 0 && playhead !== last && !seeking;
    this.lastPlayhead = playhead;
    if (hasMoved) this.moved(playhead, last, now);
    else if (this.seen.firstMoveMs !== null && !paused && !ended) this.stands(now);
    this.lastSampleMs = now;
    this.onSample(playhead);
  }

  private moved(playhead: number, last: number, now: number): void {
    const seek = this.seen.seeks.at(-1);
    // A jump to where the title begins, or to a seek's target, is no playing.
    if (Math.abs(playhead - last) > 0.5 + (now - this.lastSampleMs) / 1_000) return;
    if (this.seen.firstMoveMs === null) {
      if (playhead < this.startAt - 0.5) return;
      this.seen.firstMoveMs = now;
      this.seen.firstMoveUnseenMs = now - this.lastSampleMs;
      this.onStarted();
    }
    if (seek && seek.toMs === null) seek.toMs = now;
    const stall = this.seen.stalls.at(-1);
    if (stall && stall.toMs === null) stall.toMs = now;
    this.lastMoveMs = now;
  }

  private stands(now: number): void {
    const isSeeking = this.seen.seeks.at(-1)?.toMs === null;
    const isKnown = this.seen.stalls.at(-1)?.toMs === null;
    if (isSeeking || isKnown || now - this.lastMoveMs < FROZEN_MS) return;
    this.seen.stalls.push({ fromMs: this.lastMoveMs, toMs: null });
    this.onFrozen(now - this.lastMoveMs);
  }
}
