// Steps of the wall clock never reach event times; sleep does.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SteadyClock } from '../src/clock';

let wall: number;
let steady: number;
let problems: string[];
let clock: SteadyClock;

beforeEach(() => {
  [wall, steady, problems] = [1_800_000_000_000, 5_000, []];
  vi.spyOn(Date, 'now').mockImplementation(() => wall);
  vi.spyOn(performance, 'now').mockImplementation(() => steady);
  clock = new SteadyClock((problem) => problems.push(problem));
});
afterEach(() => vi.restoreAllMocks());

/** Time passes: `ms` for everybody, and the wall clock is set by `step` beside. */
function passes(ms: number, step = 0): number {
  steady += ms;
  wall += ms + step;
  return clock.now() - 1_800_000_000_000;
}

test('a wall clock that is set back, or a little forward, moves no event', () => {
  expect([passes(1_000), passes(1_000, -3_600_000), passes(1_000), passes(1_000, 1_500)]).toEqual([1_000, 2_000, 3_000, 4_000]);
  expect(problems).toEqual([]);
});

test('after a sleep, in which performance.now stood still, it catches up once', () => {
  passes(1_000);
  expect(passes(0, 60_000)).toBe(61_000);
  expect(passes(1_000)).toBe(62_000);
  expect(problems).toEqual(['the clock stood still for 60000 ms']);
});

test('it never goes back', () => {
  let last = 0;
  for (const step of [3_000, -10_000, 2_500, -2_500, 12_000, 0]) {
    const now = passes(100, step);
    expect(now).toBeGreaterThan(last);
    last = now;
  }
});
