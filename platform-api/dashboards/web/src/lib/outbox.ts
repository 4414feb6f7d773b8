// Sends what people do to the collector in batches, in order, until it has them; view events go by @marquee/view-events.
// A page must never wait for it, and one that closes still gets its last words out.

/** Waiting things beyond this are dropped, oldest first: an hour without network, at one event a second. */
const MAX_WAITING = 3_600;

/** Things of one request. */
const MAX_BATCH = 200;

/** Between two requests (ms), so that a busy second is one of them. */
const LINGER_MS = 500;

/** Requests up to this size (bytes) outlive their page; browsers let 64 KiB of them be under way. */
const KEEPALIVE_BYTES = 16 << 10;

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 8_000;

export interface Outcome {
  /** As the collector counts. */
  accepted: number;
  status: number;
  problem: string;
}

export interface OutboxOptions<T> {
  url: string;
  /** The request's body; called anew for each try, so that it can stamp the time of sending. */
  envelope: (things: T[]) => unknown;
  /** A batch has been accepted, or given up because the collector refused it. */
  onSettled?: (things: T[], outcome: Outcome) => void;
  fetch?: typeof fetch;
}

export class Outbox<T> {
  /** Dropped because the queue was full. */
  dropped = 0;
  private readonly waiting: T[] = [];
  private sending = false;
  private stopped = false;
  /** The collector asked for patience, or does not answer: only the timer sends. */
  private backingOff = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private retryMs = FIRST_RETRY_MS;

  constructor(private readonly options: OutboxOptions<T>) {}

  add(thing: T): void {
    if (this.stopped) return;
    this.waiting.push(thing);
    if (this.waiting.length > MAX_WAITING) {
      this.waiting.shift();
      this.dropped += 1;
    }
    this.schedule(LINGER_MS);
  }

  /** Sends what waits now, unless an earlier try has to be waited for. */
  flush(): void {
    if (!this.backingOff) this.fire();
  }

  /** The page is going: one last request that outlives it, whatever else is under way. Repeats are dropped there. */
  farewell(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    void this.send(true);
  }

  private schedule(afterMs: number): void {
    if (this.timer !== undefined || this.sending) return;
    this.timer = setTimeout(() => this.fire(), afterMs);
  }

  private fire(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.backingOff = false;
    void this.send(false);
  }

  private async send(isLast: boolean): Promise<void> {
    if ((this.sending && !isLast) || this.waiting.length === 0 || this.stopped) return;
    const things = this.waiting.slice(0, MAX_BATCH);
    this.sending = true;
    let answer: { outcome: Outcome; again: boolean; afterMs: number };
    try {
      answer = await this.post(things, isLast);
    } finally {
      this.sending = false;
    }
    if (answer.again) {
      this.backingOff = true;
      this.schedule(Math.max(answer.afterMs, this.retryMs));
      this.retryMs = Math.min(2 * this.retryMs, LAST_RETRY_MS);
      return;
    }
    this.retryMs = FIRST_RETRY_MS;
    // What was dropped meanwhile is no longer at the front.
    for (const thing of things) if (this.waiting[0] === thing) this.waiting.shift();
    this.options.onSettled?.(things, answer.outcome);
    // CTA-5004-B: 410 silences a target for the rest of the session.
    if (answer.outcome.status === 410) this.stopped = true;
    if (this.waiting.length > 0) this.schedule(0);
  }

  private async post(things: T[], isLast: boolean): Promise<{ outcome: Outcome; again: boolean; afterMs: number }> {
    const outcome: Outcome = { accepted: 0, status: 0, problem: '' };
    const body = JSON.stringify(this.options.envelope(things));
    try {
      const response = await (this.options.fetch ?? fetch)(this.options.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
        credentials: 'omit',
        keepalive: isLast || body.length <= KEEPALIVE_BYTES,
      });
      outcome.status = response.status;
      const afterMs = 1000 * Number(response.headers.get('retry-after') ?? 0);
      if (response.ok) {
        const answer = (await response.json().catch(() => ({}))) as { accepted?: number };
        outcome.accepted = answer.accepted ?? things.length;
        return { outcome, again: false, afterMs: 0 };
      }
      const again = response.status === 429 || response.status === 408 || response.status >= 500;
      outcome.problem = again ? '' : await response.text().catch(() => '');
      return { outcome, again, afterMs: Number.isFinite(afterMs) ? afterMs : 0 };
    } catch {
      return { outcome, again: true, afterMs: 0 };
    }
  }
}

/** 128 random bits; `crypto.randomUUID` is missing on pages without https. */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
