// As much of a browser as the package looks at: an element that does what a test says, a page, a collector that answers.
import { vi } from 'vitest';
import { type Handle, type TrackOptions, kindOf, track } from '../src';
import type { Batch, ViewEvent } from '../src/wire';

export const START_MS = 1_800_000_000_000;

type FrameCallback = (now: number, frame: { presentationTime: number }) => void;

export class FakeVideo extends EventTarget {
  currentTime = 0;
  paused = true;
  seeking = false;
  ended = false;
  readyState = 0;
  networkState = 2;
  playbackRate = 1;
  videoWidth = 0;
  videoHeight = 0;
  clientWidth = 640;
  clientHeight = 360;
  dropped = 0;
  error: { code: number } | null = null;
  buffered = { length: 1, start: () => 0, end: () => this.currentTime + 7.25 };
  /** Left out by default: then the element's own word is the first frame. */
  requestVideoFrameCallback?: (callback: FrameCallback) => number;
  private frameCallbacks: FrameCallback[] = [];

  getVideoPlaybackQuality = (): { droppedVideoFrames: number } => ({ droppedVideoFrames: this.dropped });

  does(...names: string[]): void {
    for (const name of names) this.dispatchEvent(new Event(name));
  }

  play(): void {
    this.paused = false;
    this.does('play');
  }

  pause(): void {
    this.paused = true;
    this.does('pause');
  }

  /** Data is there, and it goes on. */
  plays(): void {
    this.readyState = 4;
    this.does('playing');
  }

  /** The buffer is empty. */
  waits(): void {
    this.readyState = 2;
    this.does('timeupdate', 'waiting');
  }

  seek(to: number, isBuffered: boolean): void {
    this.currentTime = to;
    this.seeking = true;
    this.readyState = isBuffered ? 4 : 1;
    this.does('seeking');
    if (!isBuffered) this.does('waiting');
  }

  /** The target's data is there: a picture, and `readyState` of what follows it. */
  seeked(readyState = 4): void {
    this.seeking = false;
    this.readyState = readyState;
    this.does('timeupdate', 'seeked');
  }

  showsFrames(): void {
    this.requestVideoFrameCallback = (callback) => this.frameCallbacks.push(callback);
  }

  /** A frame is on the screen, and has been for so long when the page is told. */
  frame(sinceMs = 0): void {
    const now = performance.now();
    for (const callback of this.frameCallbacks.splice(0)) callback(now, { presentationTime: now - sinceMs });
  }
}

export interface FakePage {
  document: EventTarget & { hidden: boolean };
  window: EventTarget & { devicePixelRatio: number };
  resized: () => void;
  /** What the collector says next; afterwards 202. `'silence'` is no answer. */
  answers: (Response | 'no network' | 'silence')[];
  bodies: Batch[];
  requests: RequestInit[];
}

/** Stands in for the browser until `vi.unstubAllGlobals`. */
export function fakePage(): FakePage {
  vi.useFakeTimers({ now: START_MS });
  const page: FakePage = {
    document: Object.assign(new EventTarget(), { hidden: false }),
    window: Object.assign(new EventTarget(), { devicePixelRatio: 2 }),
    resized: () => undefined,
    answers: [],
    bodies: [],
    requests: [],
  };
  vi.stubGlobal('document', page.document);
  vi.stubGlobal('window', page.window);
  vi.stubGlobal('ResizeObserver', class {
    constructor(callback: () => void) {
      page.resized = callback;
    }
    observe(): void {}
    disconnect(): void {}
  });
  vi.stubGlobal('fetch', async (_url: string, init: RequestInit) => {
    const body = JSON.parse(String(init.body)) as Batch;
    page.bodies.push(body);
    page.requests.push(init);
    const answer = page.answers.shift();
    if (answer === 'no network') throw new TypeError('Failed to fetch');
    if (answer === 'silence') {
      return new Promise((_resolve, reject) => init.signal?.addEventListener('abort', () => reject(new Error('aborted'))));
    }
    return answer ?? new Response(JSON.stringify({ accepted: body.events.length }), { status: 202 });
  });
  return page;
}

export function restorePage(): void {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
}

export function follow(video: FakeVideo, options: Partial<TrackOptions> = {}): Handle {
  return track(video as unknown as HTMLVideoElement, { endpoint: 'http://collector', ...options });
}

export { kindOf };

/** Every event that has been sent, each once, as the collector tells them apart. */
export function sent(page: FakePage): ViewEvent[] {
  const found = new Map<string, ViewEvent>();
  for (const { context, events } of page.bodies) {
    for (const event of events) found.set(`${context.session_id} ${context.player_instance} ${event.sequence}`, event);
  }
  return [...found.values()];
}

/** The kinds of all events, without what nobody asked about. */
export async function told(page: FakePage, ...leaveOut: string[]): Promise<string[]> {
  await vi.advanceTimersByTimeAsync(0);
  return sent(page).map(kindOf).filter((kind) => kind !== 'viewport' && !leaveOut.includes(kind));
}
