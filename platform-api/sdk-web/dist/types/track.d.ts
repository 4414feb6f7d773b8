import { type Fate } from './outbox';
import type { PlayerAdapter } from './players';
import type { PlayerError, ViewContext, ViewEvent } from './wire';
/** Between two heartbeats (ms): a third of what silences a viewer. Hidden pages get timers once a minute only. */
export declare const HEARTBEAT_MS = 10000;
export interface TrackOptions {
    /** The collector, such as `https://collector.example.com`; its `allowed_origins` must name the page's. */
    endpoint: string;
    /** Who watches what, where; ids that are missing are drawn. */
    context?: ViewContext;
    /** `hlsJs(hls)`, `dashJs(player)` or `shakaPlayer(player)`. */
    player?: PlayerAdapter;
    /** This title started by itself after another one. Not the element's attribute. */
    autoplay?: boolean;
    /** Has the last word on an error of the player, when the page recovers from what the player calls fatal. */
    classifyError?: (error: PlayerError) => PlayerError;
    /** Milliseconds since the epoch, for a page that knows the time better than its browser; it should never step back. */
    now?: () => number;
    /** Sees each event when it is told, and again when it is clear what has become of it. */
    onEvent?: (event: ViewEvent, fate: Fate) => void;
    /** Learns what went wrong in here; the page never does otherwise. */
    onProblem?: (problem: string) => void;
}
export interface Handle {
    /** The viewer asked to play, if before the element is told so: while a manifest is fetched, say. */
    playRequested(): void;
    /** The player, when it comes later than the element or in place of another; sessions that begin from here on name it. */
    attachPlayer(player: PlayerAdapter): void;
    /** The page has another title for the same element; what was is over. */
    newTitle(context: ViewContext, options?: {
        autoplay?: boolean;
        reason?: string;
    }): void;
    /** An error that the player does not tell, such as a missing entitlement. */
    error(error: {
        code: string;
        fatal?: boolean;
        business?: boolean;
    }): void;
    adBreakStart(): void;
    adStart(id: string): void;
    adEnd(): void;
    adBreakEnd(): void;
    /** The viewer is done; a later `play` of the element is a new session. */
    end(reason?: string): void;
    /** Ends, and leaves the element alone. */
    detach(): void;
}
/** Follows an element until it is detached. Never throws, whatever the page or the browser does. */
export declare function track(video: HTMLVideoElement, options: TrackOptions): Handle;
