// The clock of every event: the wall clock is read once and `performance.now` counts from there, so that a wall clock that
// is set during a session moves no event.
//
// The one exception: `performance.now` stands still while the machine sleeps (Chromium on Linux, macOS and Android). A wall
// clock that is more than MAX_BEHIND_MS ahead is taken for such a sleep, and the clock catches up. A step forward of the
// wall clock by more than that looks the same, and is followed, too; the collector corrects it, because `sent_at_ms` is of
// the same clock. Nothing ever moves it back.

/** What the collector takes for network delay, too (docs/events.md). */
const MAX_BEHIND_MS = 2_000;

export class SteadyClock {
  private readonly origin = Date.now() - performance.now();
  private behindMs = 0;

  constructor(private readonly tell: (problem: string) => void) {}

  /** Milliseconds since the epoch; never less than before. */
  now(): number {
    const steady = this.origin + this.behindMs + performance.now();
    const ahead = Date.now() - steady;
    if (ahead <= MAX_BEHIND_MS) return Math.round(steady);
    this.behindMs += ahead;
    this.tell(`the clock stood still for ${Math.round(ahead)} ms`);
    return Math.round(steady + ahead);
  }
}
