// What an element does, against the events that the session fold expects (docs/qoe.md).
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Handle } from '../src';
import { type FakePage, FakeVideo, START_MS, fakePage, follow, kindOf, restorePage, sent, told } from './fakes';

let page: FakePage;
let video: FakeVideo;
let handle: Handle;

beforeEach(() => {
  page = fakePage();
  video = new FakeVideo();
  handle = follow(video);
});
afterEach(restorePage);

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

/** All of it on the wire, then its kinds. */
async function kinds(...leaveOut: string[]): Promise<string[]> {
  handle.end('test');
  const all = await told(page, 'heartbeat', ...leaveOut);
  return all.at(-1) === 'session_end' ? all.slice(0, -1) : all;
}

test('startup, a stall, a pause, the end', async () => {
  video.play();
  video.waits(); // before the first frame it is startup
  video.plays();
  video.waits();
  video.does('waiting');
  video.plays();
  video.pause();
  video.play();
  video.plays();
  video.ended = true;
  video.pause(); // browsers pause at the end
  video.does('ended', 'playing');
  await pass(60_000);
  expect(await told(page)).toEqual([
    'play_requested', 'first_frame', 'rebuffer_start', 'rebuffer_end', 'pause', 'resume', 'session_end',
  ]);
  expect(sent(page).map((event) => event.sequence)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(sent(page).at(-1)).toMatchObject({ session_end: { reason: 'ended' } });
});

test('waiting in a seek is no stall, and a seek ends one', async () => {
  video.play();
  video.plays();
  video.seek(30, false);
  video.does('seeking'); // the viewer drags on
  video.seeked();
  video.waits();
  video.seek(5, true);
  video.seeked();
  expect((await kinds()).slice(2)).toEqual(['seek_start', 'seek_end', 'rebuffer_start', 'seek_start', 'seek_end']);
});

test('a seek whose target has one picture only lasts until it plays', async () => {
  video.play();
  video.plays();
  video.seek(30, false);
  await pass(1_000);
  video.seeked(2);
  await pass(2_000);
  video.plays();
  handle.end();
  await pass(0);
  const end = sent(page).find((event) => 'seek_end' in event);
  expect(end?.event_time_ms).toBe(START_MS + 3_000);
});

test('a seek of a paused element ends with its picture', async () => {
  video.play();
  video.plays();
  video.pause();
  video.seek(30, false);
  video.seeked(2);
  expect((await kinds()).slice(2)).toEqual(['pause', 'seek_start', 'seek_end']);
});

test('a seek starts where media was played to, and ends at its target', async () => {
  video.play();
  video.plays();
  video.currentTime = 4;
  video.does('timeupdate');
  await pass(100);
  video.seek(30, true);
  video.seeked();
  handle.end();
  await pass(0);
  const at = (kind: string) => sent(page).find((event) => kindOf(event) === kind)?.media_time_ms;
  expect([at('seek_start'), at('seek_end')]).toEqual([4_100, 30_000]);
});

test('a player that jumps over a hole in a stall does not seek', async () => {
  video.play();
  video.plays();
  video.currentTime = 10;
  video.waits();
  video.currentTime = 10.3;
  video.seeking = true;
  video.does('seeking');
  video.seeked(2);
  video.plays();
  expect((await kinds()).slice(2)).toEqual(['rebuffer_start', 'rebuffer_end']);
});

test('a jump that no viewer makes is no seek', async () => {
  video.play();
  video.plays();
  await pass(100);
  video.seek(0.16, true);
  video.seeked();
  expect((await kinds()).slice(2)).toEqual([]);
});

test('going to where the title begins is no seek; a seek before the first frame is one', async () => {
  video.play();
  video.seek(600, false);
  video.seeked(2);
  video.does('loadeddata');
  expect(await told(page)).toEqual(['play_requested']);
  video.seek(600.2, true); // Shaka goes to where the media begins
  video.seeked(2);
  expect(await told(page)).toEqual(['play_requested']);
  video.seek(700, false);
  video.seeked(4);
  video.plays();
  expect((await kinds()).slice(1)).toEqual(['seek_start', 'seek_end', 'first_frame']);
});

test('a stall ends when the playhead moves, even if the browser forgets to say so', async () => {
  video.play();
  video.plays();
  video.currentTime = 10;
  video.waits();
  video.readyState = 4;
  video.currentTime = 10.02;
  video.does('timeupdate');
  await pass(10_000);
  expect(await told(page, 'heartbeat')).toEqual(['play_requested', 'first_frame', 'rebuffer_start']);
  video.currentTime = 10.3;
  video.does('timeupdate');
  expect((await kinds()).slice(2)).toEqual(['rebuffer_start', 'rebuffer_end']);
});

test('a pause inside a stall starts no second one', async () => {
  video.play();
  video.plays();
  video.waits();
  video.pause();
  video.play();
  video.does('waiting');
  video.plays();
  expect((await kinds()).slice(2)).toEqual(['rebuffer_start', 'pause', 'resume', 'rebuffer_end']);
});

test('a rate of 0 is a player that fills its buffer, other rates are the viewer’s', async () => {
  video.play();
  video.playbackRate = 0;
  video.does('ratechange');
  video.plays();
  expect(await told(page)).toEqual(['play_requested']);
  video.playbackRate = 1;
  video.does('ratechange', 'playing');
  video.playbackRate = 0;
  video.does('ratechange', 'waiting', 'playing');
  video.playbackRate = 1.5;
  video.does('ratechange');
  expect((await kinds()).slice(1)).toEqual(['first_frame', 'rebuffer_start', 'rebuffer_end', 'playback_rate']);
  expect(sent(page).find((event) => 'playback_rate' in event)).toMatchObject({ playback_rate: { rate_per_mille: 1500 } });
});

test('the first frame is the one on the screen, and no picture of preloading', async () => {
  handle.detach();
  video.showsFrames();
  video.videoWidth = 640;
  handle = follow(video);
  handle.playRequested();
  video.readyState = 2;
  video.frame();
  expect(await told(page)).toEqual(['play_requested']);
  video.play();
  video.plays();
  expect(await told(page)).toEqual(['play_requested']);
  await pass(40);
  video.frame();
  handle.end();
  await pass(0);
  expect(sent(page).find((event) => 'first_frame' in event)?.event_time_ms).toBe(START_MS + 40);
});

test('a page that is told late of its first frame has not waited for it, but never goes back in time', async () => {
  for (const [lateMs, expectedMs] of [[70, 130], [500, 100]] as const) {
    handle.detach();
    video = new FakeVideo();
    video.showsFrames();
    video.videoWidth = 640;
    const startMs = Date.now();
    handle = follow(video, { context: { session_id: `late-${lateMs}` } });
    video.play();
    await pass(100);
    handle.error({ code: 'x' });
    video.plays();
    await pass(100);
    video.frame(lateMs);
    handle.end();
    await pass(0);
    const events = page.bodies.filter(({ context }) => context.session_id === `late-${lateMs}`).flatMap((body) => body.events);
    expect(events.find((event) => 'first_frame' in event)?.event_time_ms).toBe(startMs + expectedMs);
  }
});

test('a hidden page shows no frames: the element’s word must do', async () => {
  handle.detach();
  video.showsFrames();
  video.videoWidth = 640;
  page.document.hidden = true;
  handle = follow(video);
  video.play();
  video.plays();
  expect(await kinds()).toEqual(['play_requested', 'background', 'first_frame']);
});

test('without a frame or a word the playhead tells that it began', async () => {
  handle.detach();
  video.showsFrames();
  video.videoWidth = 640;
  handle = follow(video);
  video.play();
  video.plays();
  video.currentTime = 0.3;
  video.does('timeupdate');
  expect(await kinds()).toEqual(['play_requested', 'first_frame']);
});

test('an element that plays already is followed from now on, with autoplay if the page says so', async () => {
  handle.detach();
  video.paused = false;
  handle = follow(video, { autoplay: true });
  await pass(0);
  expect(sent(page)[0]).toMatchObject({ sequence: 0, play_requested: { autoplay: true } });
});

test('ads: nothing of theirs is the content’s', async () => {
  handle.playRequested();
  handle.adStart('pre');
  video.play();
  video.plays(); // the ad, in the same element
  video.waits();
  video.plays();
  video.ended = true;
  video.does('pause', 'ended');
  video.ended = false;
  handle.adEnd();
  handle.adBreakEnd();
  video.plays();
  video.pause(); // for an ad elsewhere, if it were in a break
  expect(await kinds()).toEqual([
    'play_requested', 'ad_break_start', 'ad_start', 'rebuffer_start', 'rebuffer_end', 'ad_end', 'ad_break_end', 'first_frame', 'pause',
  ]);
});

test('the content that stands for an ad elsewhere is not paused', async () => {
  video.play();
  video.plays();
  handle.adBreakStart();
  video.pause();
  handle.adStart('mid');
  handle.adBreakEnd();
  video.play();
  expect((await kinds()).slice(2)).toEqual(['ad_break_start', 'ad_start', 'ad_break_end']);
});

test('background and foreground, once each', async () => {
  video.play();
  page.document.hidden = true;
  page.document.dispatchEvent(new Event('visibilitychange'));
  page.document.dispatchEvent(new Event('visibilitychange'));
  page.document.hidden = false;
  page.document.dispatchEvent(new Event('visibilitychange'));
  expect((await kinds()).slice(1)).toEqual(['background', 'foreground']);
});

test('heartbeats from the play request on, with the frames dropped since the last one', async () => {
  await pass(10_000);
  video.play();
  video.dropped = 3;
  await pass(10_000);
  video.dropped = 4;
  await pass(10_000);
  video.dropped = 2; // another source
  await pass(10_000);
  handle.end();
  await pass(0);
  const beats = sent(page).flatMap((event) => ('heartbeat' in event ? [event.heartbeat] : []));
  expect(beats.map((beat) => beat.dropped_frames)).toEqual([3, 1, 2]);
  expect(beats[0]).toEqual({ buffer_ms: 7_250, throughput_bps: 0, dropped_frames: 3 });
});

test('the viewport in device pixels, after the window stands still', async () => {
  video.play();
  for (let width = 640; width <= 1280; width += 64) {
    video.clientWidth = width;
    page.resized();
    await pass(100);
  }
  await pass(600);
  handle.end();
  await pass(0);
  const viewports = sent(page).flatMap((event) => ('viewport' in event ? [event.viewport] : []));
  expect(viewports).toEqual([{ width: 1280, height: 720 }, { width: 2560, height: 720 }]);
});

test('the next title and a replay are sessions of their own, with sequences from 0', async () => {
  handle.detach();
  handle = follow(video, { context: { title_id: 'one' } });
  video.play();
  video.plays();
  handle.newTitle({ title_id: 'two' }, { autoplay: true });
  video.play();
  video.plays();
  video.does('ended');
  video.play();
  await pass(10);
  const starts = page.bodies.flatMap(({ context, events }) => events.filter((event) => 'play_requested' in event).map((event) => ({ ...context, ...event })));
  expect(starts.map(({ title_id, sequence, play_requested }) => ({ title_id, sequence, play_requested }))).toEqual([
    { title_id: 'one', sequence: 0, play_requested: {} },
    { title_id: 'two', sequence: 0, play_requested: { autoplay: true } },
    { title_id: 'two', sequence: 0, play_requested: { autoplay: true } },
  ]);
  expect(new Set(starts.map(({ session_id, player_instance }) => `${session_id} ${player_instance}`)).size).toBe(3);
});

test('a source that is replaced keeps its viewer waiting; one that is gone ends the session', async () => {
  video.play();
  video.plays();
  video.readyState = 0;
  video.does('emptied');
  video.plays();
  video.networkState = 0;
  video.does('emptied');
  await pass(0);
  expect(await told(page)).toEqual(['play_requested', 'first_frame', 'rebuffer_start', 'rebuffer_end', 'session_end']);
});

test('a fatal error ends the session without another word; others do not, and are bounded', async () => {
  video.play();
  for (let count = 0; count < 200; count += 1) handle.error({ code: 'é'.repeat(300) });
  handle.error({ code: 'entitlement', fatal: true, business: true });
  handle.end();
  await pass(60_000);
  const errors = sent(page).flatMap((event) => ('error' in event ? [event.error] : []));
  expect(errors).toHaveLength(101);
  expect(new TextEncoder().encode(errors[0]?.code).length).toBeLessThanOrEqual(256);
  expect(errors.at(-1)).toEqual({ code: 'entitlement', fatal: true, business: true });
  expect(kindOf(sent(page).at(-1)!)).toBe('error');
});

test('an element without a player fails for good; what was aborted did not fail', async () => {
  video.play();
  video.error = { code: 1 };
  video.does('error');
  video.error = { code: 4 };
  video.does('error');
  await pass(0);
  expect(sent(page).filter((event) => 'error' in event)).toMatchObject([{ error: { code: 'media_4', fatal: true } }]);
});

test('after detach nothing is heard', async () => {
  video.play();
  handle.detach();
  video.plays();
  video.play();
  await pass(60_000);
  expect(await told(page)).toEqual(['play_requested', 'session_end']);
});
