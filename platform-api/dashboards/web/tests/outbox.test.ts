// The outbox against a collector that misbehaves: nothing is lost, nothing waits for ever, order is kept.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Outbox } from '../src/lib/outbox';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

type Body = { at: number; things: number[] };

/** Answers in turn; the last answer stays. */
function collector(answers: (Response | 'no answer')[]) {
  const bodies: Body[] = [];
  const fetch = (async (_url: unknown, init?: RequestInit) => {
    bodies.push(JSON.parse(String(init?.body)) as Body);
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (!answer || answer === 'no answer') throw new TypeError('network');
    return answer.clone();
  }) as typeof globalThis.fetch;
  return { bodies, fetch };
}

const accepted = (count: number) => new Response(JSON.stringify({ accepted: count }), { status: 202 });
let clock = 0;
function outbox(answers: (Response | 'no answer')[]) {
  const { bodies, fetch } = collector(answers);
  const settled: { things: number[]; status: number; problem: string }[] = [];
  const box = new Outbox<number>({
    url: 'http://collector/v1/things',
    envelope: (things) => ({ at: (clock += 1), things }),
    onSettled: (things, { status, problem }) => settled.push({ things, status, problem }),
    fetch,
  });
  return { box, bodies, settled };
}

test('what comes within half a second goes together', async () => {
  const { box, bodies, settled } = outbox([accepted(3)]);
  for (const thing of [1, 2, 3]) box.add(thing);
  await vi.advanceTimersByTimeAsync(499);
  expect(bodies).toHaveLength(0);
  await vi.advanceTimersByTimeAsync(2);
  expect(bodies.map((body) => body.things)).toEqual([[1, 2, 3]]);
  expect(settled).toEqual([{ things: [1, 2, 3], status: 202, problem: '' }]);
});

test('no answer, 503 and 429 are tried again with a fresh time, in order', async () => {
  const busy = new Response('', { status: 429, headers: { 'retry-after': '3' } });
  const { box, bodies, settled } = outbox(['no answer', new Response('', { status: 503 }), busy, accepted(2)]);
  box.add(1);
  box.flush();
  await vi.advanceTimersByTimeAsync(600);
  box.add(2);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(bodies).toHaveLength(3);
  box.flush();
  await vi.advanceTimersByTimeAsync(1_800);
  expect(bodies, 'not before the collector asked for it').toHaveLength(3);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(bodies.at(-1)?.things).toEqual([1, 2]);
  expect(new Set(bodies.map((body) => body.at)).size).toBe(4);
  expect(settled).toEqual([{ things: [1, 2], status: 202, problem: '' }]);
});

test('what is refused is told and not sent again; what follows still goes', async () => {
  const { box, bodies, settled } = outbox([new Response('{"error":{"field":"x"}}', { status: 400 }), accepted(1)]);
  box.add(1);
  box.flush();
  await vi.advanceTimersByTimeAsync(10);
  box.add(2);
  await vi.advanceTimersByTimeAsync(600);
  expect(bodies.map((body) => body.things)).toEqual([[1], [2]]);
  expect(settled[0]).toEqual({ things: [1], status: 400, problem: '{"error":{"field":"x"}}' });
});

test('410 silences it', async () => {
  const { box, bodies } = outbox([new Response('', { status: 410 })]);
  box.add(1);
  box.flush();
  await vi.advanceTimersByTimeAsync(10);
  box.add(2);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(bodies).toHaveLength(1);
});

test('an hour without network keeps the newest and counts the rest', async () => {
  const answers: (Response | 'no answer')[] = ['no answer'];
  const { box, bodies, settled } = outbox(answers);
  for (let thing = 0; thing < 4_000; thing += 1) box.add(thing);
  expect(box.dropped).toBe(400);
  await vi.advanceTimersByTimeAsync(30_000);
  const tries = bodies.length;
  expect(tries, 'it waits longer each time').toBeLessThan(9);
  answers[0] = accepted(200);
  await vi.advanceTimersByTimeAsync(30_000);
  const sent = settled.flatMap((batch) => batch.things);
  expect(sent).toEqual(Array.from({ length: 3_600 }, (_, index) => 400 + index));
});

test('things dropped while a request is under way do not take others with them', async () => {
  let release: (response: Response) => void = () => undefined;
  const settled: number[] = [];
  let first = true;
  const box = new Outbox<number>({
    url: 'x',
    envelope: (things) => things,
    onSettled: (things) => settled.push(...things),
    fetch: (() => {
      if (!first) return Promise.resolve(accepted(1));
      first = false;
      return new Promise<Response>((resolve) => (release = resolve));
    }) as typeof fetch,
  });
  box.add(0);
  box.flush();
  for (let thing = 1; thing <= 3_605; thing += 1) box.add(thing);
  release(accepted(1));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(settled[0]).toBe(0);
  expect(settled.slice(1)).toEqual(Array.from({ length: 3_600 }, (_, index) => 6 + index));
});
