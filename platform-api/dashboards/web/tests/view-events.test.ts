// What a <video> element does, against the events that the session fold expects.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type ViewEvent, ViewReporter, kindOf } from '../src/lib/view-events';

/** As much of an element as the reporter looks at. */
class FakeVideo extends EventTarget {
  currentTime = 0;
  seeking = false;
  ended = false;
  buffered = { length: 1, start: () => 0, end: () => this.currentTime + 7.25 };
  dropped = 0;
  getVideoPlaybackQuality = () => ({ droppedVideoFrames: this.dropped });
  does(...names: string[]): void {
    for (const name of names) this.dispatchEvent(new Event(name));
  }
}

let said: ViewEvent[];
let bodies: { context: { session_id: string }; sent_at_ms: number; events: ViewEvent[] }[];
let video: FakeVideo;
let reporter: ViewReporter;
let page: EventTarget & { hidden: boolean };

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 });
  page = Object.assign(new EventTarget(), { hidden: false });
  vi.stubGlobal('document', page);
  vi.stubGlobal('window', new EventTarget());
  [said, bodies, video] = [[], [], new FakeVideo()];
  reporter = new ViewReporter({
    collectorUrl: 'http://collector',
    context: { session_id: 's' },
    now: () => Date.now(),
    onEvent: (event) => said.push(event),
    fetch: (async (_url, init) => {
      const body = JSON.parse(String(init?.body)) as (typeof bodies)[number];
      bodies.push(body);
      return new Response(JSON.stringify({ accepted: body.events.length }), { status: 202 });
    }) as typeof fetch,
  });
  reporter.playRequested(video as unknown as HTMLVideoElement);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const kinds = (): string[] => said.map(kindOf);

test('startup, a stall, a pause, the end', async () => {
  video.does('play', 'waiting', 'playing'); // `waiting` before the first frame is startup
  video.does('waiting', 'waiting', 'playing');
  video.does('pause', 'play', 'playing');
  video.ended = true;
  video.does('pause', 'ended', 'playing');
  expect(kinds()).toEqual(['play_requested', 'first_frame', 'rebuffer_start', 'rebuffer_end', 'pause', 'resume', 'session_end']);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(kinds(), 'nothing comes after the end').toHaveLength(7);
  expect(bodies.flatMap((body) => body.events.map((event) => event.sequence))).toEqual([0, 1, 2, 3, 4, 5, 6]);
});

test('waiting in a seek is no stall, and a seek ends one', () => {
  video.does('playing', 'seeking', 'waiting', 'seeking', 'seeked', 'playing');
  video.does('waiting', 'seeking', 'seeked', 'playing');
  expect(kinds().slice(2)).toEqual(['seek_start', 'seek_end', 'rebuffer_start', 'seek_start', 'seek_end']);
});

test('heartbeats tell buffer, throughput and the frames since the last one', async () => {
  video.does('playing');
  reporter.throughput(4_999_999.6);
  video.dropped = 3;
  await vi.advanceTimersByTimeAsync(5_000);
  video.dropped = 4;
  await vi.advanceTimersByTimeAsync(5_000);
  const beats = said.filter((event) => 'heartbeat' in event).map((event) => 'heartbeat' in event && event.heartbeat);
  expect(beats).toEqual([
    { buffer_ms: 7_250, throughput_bps: 5_000_000, dropped_frames: 3 },
    { buffer_ms: 7_250, throughput_bps: 5_000_000, dropped_frames: 1 },
  ]);
});

test('a fatal error ends the session without another word; other errors do not', () => {
  reporter.error('hiccup', false);
  video.does('playing');
  reporter.error('decode', true);
  reporter.end('closed');
  video.does('pause');
  expect(kinds()).toEqual(['play_requested', 'error', 'first_frame', 'error']);
});

test('a hidden page is the background; a closed page says so at once', async () => {
  video.does('playing');
  page.hidden = true;
  page.dispatchEvent(new Event('visibilitychange'));
  page.hidden = false;
  page.dispatchEvent(new Event('visibilitychange'));
  window.dispatchEvent(new Event('pagehide'));
  expect(kinds().slice(2)).toEqual(['background', 'foreground', 'session_end']);
  await vi.advanceTimersByTimeAsync(0);
  expect(bodies.flatMap((body) => body.events.map(kindOf))).toContain('session_end');
  expect(bodies[0]?.context).toEqual({ session_id: 's' });
});
