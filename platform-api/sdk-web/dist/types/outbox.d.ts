import { type Tell } from './guard';
import type { ViewContext, ViewEvent } from './wire';
/** What becomes of an event: it waits; the collector has it; it was refused, or dropped because the queue was full. */
export type Fate = 'waiting' | 'stored' | 'lost';
export interface OutboxOptions {
    /** `{endpoint}/v1/events`. */
    url: string;
    now: () => number;
    tell: Tell;
    onFate?: (event: ViewEvent, fate: Fate) => void;
}
export declare class Outbox {
    private readonly options;
    private waiting;
    private dropped;
    private isSending;
    /** The collector asked for patience, or does not answer: only the timer sends. */
    private isBackingOff;
    private isSilenced;
    /** Something urgent waits. */
    private isDue;
    private timer;
    private retryMs;
    constructor(options: OutboxOptions);
    /** Takes an event of the session that has this context; events of one session share the object. */
    add(context: ViewContext, event: ViewEvent, isUrgent: boolean): void;
    /** Sends now, unless an earlier try has to be waited for. */
    flush(): void;
    /** The page may be going: everything that waits, in requests that outlive it. What is under way goes once more (its
     *  request may die with the page); repeats are dropped by sequence. */
    farewell(): void;
    private keepBound;
    /** Events of one session, so of one context. */
    private batchFrom;
    private schedule;
    private send;
    private goOn;
    /** What the answer means for a batch: how long to wait before it goes again (ms); nothing when it is done. */
    private waitAfter;
    /** Longer each time; half of it by lot, so that players that failed together do not come back together. */
    private backOffMs;
    private forget;
    private post;
}
