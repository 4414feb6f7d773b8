// Nothing is ever thrown into a page, whatever of the browser is missing or broken.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { dashJs, hlsJs, shakaPlayer, track } from '../src';
import { fakePage, restorePage } from './fakes';

const broken = (): never => {
  throw new Error('broken');
};

/** Every property throws when it is read or called. */
const brokenObject = (): object => new Proxy({}, { get: broken, has: broken, set: broken, ownKeys: broken });

let unhandled: unknown[];
const note = (reason: unknown): void => void unhandled.push(reason);

beforeEach(() => {
  unhandled = [];
  process.on('unhandledRejection', note);
  fakePage();
});
afterEach(() => {
  process.off('unhandledRejection', note);
  restorePage();
});

/** Everything that a page can do to a handle. */
function useAll(handle: ReturnType<typeof track>): void {
  handle.playRequested();
  handle.newTitle({ title_id: 'x' });
  handle.error({ code: 'x', fatal: true });
  handle.adBreakStart();
  handle.adStart('x');
  handle.adEnd();
  handle.adBreakEnd();
  handle.end();
  handle.detach();
}

/** An element that passes its listeners on, and throws at anything else. */
function brokenVideo(): { video: HTMLVideoElement; listeners: Map<string, () => void> } {
  const listeners = new Map<string, () => void>();
  const video = new Proxy({}, {
    get: (_target, name) => (name === 'addEventListener' ? (event: string, listener: () => void) => listeners.set(event, listener) : broken()),
  }) as HTMLVideoElement;
  return { video, listeners };
}

const GLOBALS = ['document', 'window', 'performance', 'crypto', 'fetch', 'setTimeout', 'setInterval', 'clearTimeout', 'clearInterval', 'ResizeObserver', 'AbortController', 'Date'];

test.each(GLOBALS)('%s is broken', async (name) => {
  const { video, listeners } = brokenVideo();
  const original = (globalThis as Record<string, unknown>)[name];
  const failing = typeof original === 'function' ? Object.assign(broken, { now: broken, parse: broken }) : brokenObject();
  vi.stubGlobal(name, failing);
  const handle = track(video, { endpoint: 'http://collector', onProblem: broken });
  for (const listener of listeners.values()) expect(listener).not.toThrow();
  expect(() => useAll(handle)).not.toThrow();
  vi.unstubAllGlobals();
  vi.useRealTimers();
  await new Promise((resolve) => setImmediate(resolve));
  expect(unhandled).toEqual([]);
});

test('each global is broken, the element works', async () => {
  for (const name of GLOBALS) {
    vi.unstubAllGlobals();
    fakePage();
    const video = Object.assign(new EventTarget(), { paused: false, readyState: 4, playbackRate: 1, currentTime: 1, buffered: { length: 0 } });
    vi.stubGlobal(name, Object.assign(broken, { now: broken, parse: broken }));
    const handle = track(video as unknown as HTMLVideoElement, { endpoint: 'http://collector' });
    for (const event of ['play', 'playing', 'waiting', 'seeking', 'seeked', 'timeupdate', 'ratechange', 'emptied', 'ended', 'error', 'pause', 'resize']) {
      video.dispatchEvent(new Event(event)); // a listener that throws would be an uncaught exception
    }
    useAll(handle);
  }
  vi.unstubAllGlobals();
  vi.useRealTimers();
  await new Promise((resolve) => setImmediate(resolve));
  expect(unhandled).toEqual([]);
});

test('everything is broken at once, the options too', async () => {
  const handle = track(brokenObject() as HTMLVideoElement, brokenObject() as never);
  useAll(handle);
  useAll(track(undefined as never, undefined as never));
  for (const adapter of [hlsJs, dashJs, shakaPlayer]) {
    const { video } = brokenVideo();
    useAll(track(video, { endpoint: 'http://collector', player: adapter(new Proxy({}, { get: () => broken }) as never), classifyError: broken, onProblem: broken }));
  }
  await vi.advanceTimersByTimeAsync(60_000);
  expect(unhandled).toEqual([]);
});

test('problems are told to the page that asks', () => {
  const problems: string[] = [];
  vi.stubGlobal('ResizeObserver', broken);
  track(new EventTarget() as never, { endpoint: 'http://collector', onProblem: (problem) => problems.push(problem) });
  expect(problems).toEqual(['TypeError: ResizeObserver is not a constructor']);
});
