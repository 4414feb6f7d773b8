// Sends events to the collector in batches, in order, until it has them: the one place with a queue and retries.
//
// The last words of a page go by `fetch` with `keepalive`, not by `sendBeacon`: a beacon always carries credentials, the
// collector's CORS answers allow none, so Chromium drops a beacon of type application/json at its preflight. A keepalive
// request without credentials passes, and its preflight has usually been answered for an earlier batch.
import { type Tell, quietly } from './guard';
import type { Batch, ViewContext, ViewEvent } from './wire';

/** An event is told at most this much later (ms), unless it is urgent. */
const FLUSH_MS = 10_000;

/** As many are sent without waiting. */
const FLUSH_EVENTS = 20;

/** Events of one request: browsers let 64 KiB of keepalive bodies be under way, and an event has about 150 bytes. */
const MAX_BATCH = 100;

/** A batch of the usual size survives a navigation that cuts off its request; larger ones would use the 64 KiB up. */
const KEEPALIVE_EVENTS = 40;

/** Waiting events: 50 min of heartbeats without network, and all of them still fit into keepalive requests. */
const MAX_WAITING = 300;

/** Longer than the collector waits for its log (20 s): no answer by then will never come. */
const ANSWER_TIMEOUT_MS = 30_000;

const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 60_000;

/** A collector that asks for more patience (ms) gets this much. */
const MAX_RETRY_AFTER_MS = 600_000;

/** What becomes of an event: it waits; the collector has it; it was refused, or dropped because the queue was full. */
export type Fate = 'waiting' | 'stored' | 'lost';

interface Waiting {
  context: ViewContext;
  event: ViewEvent;
}

export interface OutboxOptions {
  /** `{endpoint}/v1/events`. */
  url: string;
  now: () => number;
  tell: Tell;
  onFate?: (event: ViewEvent, fate: Fate) => void;
}

export class Outbox {
  private waiting: Waiting[] = [];
  private dropped = 0;
  private isSending = false;
  /** The collector asked for patience, or does not answer: only the timer sends. */
  private isBackingOff = false;
  private isSilenced = false;
  /** Something urgent waits. */
  private isDue = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private retryMs = FIRST_RETRY_MS;

  constructor(private readonly options: OutboxOptions) {}

  /** Takes an event of the session that has this context; events of one session share the object. */
  add(context: ViewContext, event: ViewEvent, isUrgent: boolean): void {
    if (this.isSilenced) return;
    this.waiting.push({ context, event });
    this.options.onFate?.(event, 'waiting');
    this.keepBound();
    if (isUrgent || this.waiting.length >= FLUSH_EVENTS) this.flush();
    else this.schedule(FLUSH_MS);
  }

  /** Sends now, unless an earlier try has to be waited for. */
  flush(): void {
    this.isDue = true;
    if (!this.isBackingOff) this.send();
  }

  /** The page may be going: everything that waits, in requests that outlive it. What is under way goes once more (its
   *  request may die with the page); repeats are dropped by sequence. */
  farewell(): void {
    for (let from = 0; from < this.waiting.length; ) {
      const batch = this.batchFrom(from);
      from += batch.length;
      this.post(batch, true).then(
        (response) => response.ok && this.forget(batch, 'stored'),
        () => undefined,
      );
    }
  }

  private keepBound(): void {
    if (this.waiting.length <= MAX_WAITING) return;
    // A heartbeat tells least; its sequence number stays unused, so that the fold counts it as lost.
    const heartbeat = this.waiting.findIndex(({ event }) => 'heartbeat' in event);
    this.forget([this.waiting[Math.max(heartbeat, 0)]!], 'lost');
    this.dropped += 1;
    this.options.tell(`the queue is full: ${this.dropped} events dropped`);
  }

  /** Events of one session, so of one context. */
  private batchFrom(from: number): Waiting[] {
    const context = this.waiting[from]?.context;
    const batch = this.waiting.slice(from, from + MAX_BATCH);
    const other = batch.findIndex((waiting) => waiting.context !== context);
    return other < 0 ? batch : batch.slice(0, other);
  }

  private schedule(afterMs: number): void {
    if (this.timer !== undefined || this.isSending) return;
    this.timer = setTimeout(() => quietly(this.options.tell, () => {
      this.isBackingOff = false;
      this.send();
    }), afterMs);
  }

  private send(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.isSending || this.isSilenced || this.waiting.length === 0) return;
    const batch = this.batchFrom(0);
    if (batch.length === this.waiting.length) this.isDue = false;
    this.isSending = true;
    this.post(batch, batch.length <= KEEPALIVE_EVENTS)
      .then((response) => this.waitAfter(batch, response), () => this.backOffMs())
      .then((waitMs) => quietly(this.options.tell, () => this.goOn(waitMs)));
  }

  private goOn(waitMs: number | undefined): void {
    this.isSending = false;
    this.isBackingOff = waitMs !== undefined;
    if (waitMs === undefined) this.retryMs = FIRST_RETRY_MS;
    if (this.waiting.length === 0) return;
    this.schedule(waitMs ?? (this.isDue || this.waiting.length >= FLUSH_EVENTS ? 0 : FLUSH_MS));
  }

  /** What the answer means for a batch: how long to wait before it goes again (ms); nothing when it is done. */
  private waitAfter(batch: Waiting[], response: Response): number | undefined {
    const { status } = response;
    if (status === 408 || status === 429 || status >= 500) return Math.max(retryAfterMs(response), this.backOffMs());
    this.forget(batch, response.ok ? 'stored' : 'lost');
    if (response.ok) return undefined;
    // Sent again it would be refused again. 410 is meant for ever, as for targets of CMCD (CTA-5004-B).
    this.options.tell(`the collector refused ${batch.length} events: ${status}`);
    if (status === 410) {
      this.isSilenced = true;
      this.forget(this.waiting, 'lost');
    }
    return undefined;
  }

  /** Longer each time; half of it by lot, so that players that failed together do not come back together. */
  private backOffMs(): number {
    const waitMs = this.retryMs * (0.5 + Math.random() / 2);
    this.retryMs = Math.min(2 * this.retryMs, LAST_RETRY_MS);
    return waitMs;
  }

  private forget(batch: Waiting[], fate: Fate): void {
    const done = new Set(batch);
    this.waiting = this.waiting.filter((waiting) => !done.has(waiting));
    for (const { event } of batch) this.options.onFate?.(event, fate);
  }

  private async post(batch: Waiting[], keepalive: boolean): Promise<Response> {
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), ANSWER_TIMEOUT_MS);
    const body: Batch = {
      context: batch[0]?.context ?? {},
      sent_at_ms: this.options.now(),
      events: batch.map(({ event }) => event),
    };
    try {
      return await fetch(this.options.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        credentials: 'omit',
        keepalive,
        signal: patience.signal,
      });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** `Retry-After` in seconds or as a date; 0 when there is none. */
function retryAfterMs(response: Response): number {
  const value = response.headers.get('retry-after') ?? '';
  const waitMs = /^\d+$/.test(value) ? 1000 * Number(value) : Date.parse(value) - Date.now();
  return Math.min(Math.max(waitMs || 0, 0), MAX_RETRY_AFTER_MS);
}
