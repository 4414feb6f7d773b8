// Batches, retries, patience, the bound of the queue, the last words of a page.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Outbox } from '../src/outbox';
import type { ViewEvent } from '../src/wire';
import { type FakePage, FakeVideo, fakePage, follow, kindOf, restorePage } from './fakes';

let page: FakePage;
let problems: string[];
let box: Outbox;
const context = { session_id: 's' };

beforeEach(() => {
  page = fakePage();
  problems = [];
  box = new Outbox({ url: 'http://collector/v1/events', now: () => Date.now(), tell: (problem) => problems.push(problem) });
});
afterEach(restorePage);

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

function event(sequence: number, payload: object = { pause: {} }): ViewEvent {
  return { sequence, event_time_ms: Date.now(), ...payload } as ViewEvent;
}

const sequences = (): number[][] => page.bodies.map((body) => body.events.map(({ sequence }) => sequence));

test('an event waits ten seconds, twenty of them do not wait, urgent ones take the others with them', async () => {
  box.add(context, event(0), false);
  await pass(9_999);
  expect(sequences()).toEqual([]);
  await pass(1);
  expect(sequences()).toEqual([[0]]);
  for (let sequence = 1; sequence <= 20; sequence += 1) box.add(context, event(sequence), false);
  await pass(0);
  box.add(context, event(21), false);
  box.add(context, event(22), true);
  await pass(0);
  expect(sequences().map((batch) => batch.length)).toEqual([1, 20, 2]);
  expect(page.requests[0]).toMatchObject({ method: 'POST', credentials: 'omit', keepalive: true, headers: { 'content-type': 'application/json' } });
});

test('whoever looks sees each event wait, and what has become of it', async () => {
  const seen: string[] = [];
  const handle = follow(new FakeVideo(), { now: () => 5_000.4, onEvent: (event, fate) => void seen.push(`${kindOf(event)} ${event.event_time_ms} ${fate}`) });
  page.answers = [new Response('', { status: 503 })];
  handle.playRequested();
  await pass(2_000);
  expect(seen.filter((line) => line.startsWith('play_requested'))).toEqual(['play_requested 5000 waiting', 'play_requested 5000 stored']);
  page.answers = [new Response('', { status: 400 })];
  handle.end();
  await pass(2_000);
  expect(seen.slice(-2).map((line) => line.replace(/ \d+ /, ' '))).toEqual(['session_end waiting', 'session_end lost']);
});

test('what the queue drops is lost', () => {
  const lost: number[] = [];
  const full = new Outbox({ url: 'x', now: () => 0, tell: () => undefined, onFate: ({ sequence }, fate) => void (fate === 'lost' && lost.push(sequence)) });
  page.answers = ['silence'];
  for (let sequence = 0; sequence <= 300; sequence += 1) full.add(context, event(sequence, sequence === 7 ? { heartbeat: {} } : undefined), false);
  expect(lost).toEqual([7]);
});

test('one batch is of one session', async () => {
  box.add(context, event(0), false);
  box.add({ session_id: 't' }, event(0), false);
  box.add({ session_id: 't' }, event(1), true);
  await pass(100);
  expect(page.bodies.map((body) => body.context.session_id)).toEqual(['s', 't', 't']);
});

test('429 with Retry-After is obeyed, and sent_at_ms is stamped anew', async () => {
  page.answers = [new Response('', { status: 429, headers: { 'retry-after': '7' } })];
  const start = Date.now();
  box.add(context, event(0), true);
  await pass(1_000);
  box.add(context, event(1), true); // urgent, but the collector asked for patience
  await pass(5_999);
  expect(sequences()).toEqual([[0]]);
  await pass(1);
  expect(sequences()).toEqual([[0], [0, 1]]);
  expect(page.bodies.map((body) => body.sent_at_ms - start)).toEqual([0, 7_000]);
  expect(page.bodies.map((body) => body.events[0]?.event_time_ms)).toEqual([start, start]);
});

test('Retry-After may be a date', async () => {
  page.answers = [new Response('', { status: 503, headers: { 'retry-after': new Date(Date.now() + 20_000).toUTCString() } })];
  box.add(context, event(0), true);
  await pass(18_999);
  expect(sequences()).toHaveLength(1);
  await pass(1_001);
  expect(sequences()).toHaveLength(2);
});

test('without an answer it waits longer each time, by lot, and never more than a minute', async () => {
  page.answers = Array.from({ length: 30 }, () => 'no network' as const);
  const tries: number[] = [];
  const start = Date.now();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  box.add(context, event(0), true);
  for (let second = 0; second < 300; second += 1) {
    while (tries.length < page.bodies.length) tries.push(Date.now() - start);
    await pass(1_000);
  }
  const waits = tries.slice(1).map((at, index) => at - (tries[index] ?? 0));
  expect(waits.slice(0, 8)).toEqual([1_000, 2_000, 3_000, 6_000, 12_000, 24_000, 45_000, 45_000]);
});

test('a collector that never answers is given up after half a minute, and asked again', async () => {
  page.answers = ['silence'];
  box.add(context, event(0), true);
  await pass(29_999);
  expect(sequences()).toHaveLength(1);
  await pass(1_002);
  expect(sequences()).toEqual([[0], [0]]);
});

test('what is refused is told and not sent again; what follows still goes', async () => {
  page.answers = [new Response('', { status: 400 })];
  box.add(context, event(0), true);
  await pass(100_000);
  box.add(context, event(1), true);
  await pass(0);
  expect(sequences()).toEqual([[0], [1]]);
  expect(problems).toEqual(['the collector refused 1 events: 400']);
});

test('410 silences it', async () => {
  page.answers = [new Response('', { status: 410 })];
  box.add(context, event(0), true);
  await pass(0);
  box.add(context, event(1), true);
  await pass(100_000);
  expect(sequences()).toEqual([[0]]);
});

test('a full queue loses its oldest heartbeats first, says so, and keeps the holes', async () => {
  page.answers = Array.from({ length: 1_000 }, () => 'no network' as const);
  for (let sequence = 0; sequence < 320; sequence += 1) {
    box.add(context, event(sequence, sequence % 2 ? { heartbeat: {} } : { pause: {} }), false);
  }
  page.answers = [];
  await pass(60_000);
  const arrived = sequences().flat().slice(-300);
  const lost = Array.from({ length: 320 }, (_, sequence) => sequence).filter((sequence) => !arrived.includes(sequence));
  expect(lost).toEqual(Array.from({ length: 20 }, (_, index) => 2 * index + 1));
  expect(problems.filter((problem) => problem.includes('dropped'))).toHaveLength(20);
});

test('without heartbeats a full queue loses its oldest', async () => {
  page.answers = Array.from({ length: 1_000 }, () => 'no network' as const);
  for (let sequence = 0; sequence < 310; sequence += 1) box.add(context, event(sequence), false);
  page.answers = [];
  await pass(60_000);
  expect(sequences().flat().slice(-300)).toEqual(Array.from({ length: 300 }, (_, index) => index + 10));
});

test('events dropped while their request is under way do not take others with them', async () => {
  page.answers = ['silence', ...Array.from({ length: 3 }, () => 'no network' as const)];
  box.add(context, event(0, { heartbeat: {} }), true);
  for (let sequence = 1; sequence <= 300; sequence += 1) box.add(context, event(sequence), false);
  await pass(120_000);
  expect(new Set(sequences().flat())).toEqual(new Set(Array.from({ length: 301 }, (_, index) => index)));
});

test('a page that closes sends everything in requests that outlive it, whatever is under way', async () => {
  const video = new FakeVideo();
  page.answers = ['silence'];
  follow(video);
  video.play();
  video.plays();
  video.waits(); // the play request is under way still
  page.window.dispatchEvent(new Event('pagehide'));
  const last = page.bodies.at(-1);
  expect(last?.events.map(kindOf)).toEqual(['play_requested', 'viewport', 'first_frame', 'rebuffer_start', 'session_end']);
  expect(last?.events.at(-1)).toMatchObject({ session_end: { reason: 'page_closed' } });
  expect(page.requests.at(-1)?.keepalive).toBe(true);
});

test('a full queue of long events fits into what keepalive allows', () => {
  for (let sequence = 0; sequence < 400; sequence += 1) {
    box.add(context, event(sequence + 1e6, { media_time_ms: 12_345_678, heartbeat: { buffer_ms: 123_456, throughput_bps: 123_456_789, dropped_frames: 12, bitrate_bps: 12_345_678 } }), false);
  }
  const before = page.requests.length;
  box.farewell();
  const bytes = page.requests.slice(before).reduce((sum, { body }) => sum + String(body).length, 0);
  expect(bytes).toBeLessThan(64 << 10);
});
