import type { PlayerError, Rendition, ViewContext } from './wire';
/** What an adapter tells. */
export interface PlayerSink {
    rendition(rendition: Rendition): void;
    error(error: PlayerError): void;
}
export interface PlayerAdapter {
    /** What is known of the player itself. */
    context(): ViewContext;
    /** Bit/s as the player measured it; 0 when it has not. */
    throughputBps(): number;
    /** Begins to tell; the result ends it. */
    attach(sink: PlayerSink): () => void;
}
type Any = any;
interface Emitter {
    on(name: string, listener: (...data: Any[]) => void): void;
    off(name: string, listener: (...data: Any[]) => void): void;
}
export interface HlsLike extends Emitter {
    readonly levels: Any[];
    readonly bandwidthEstimate: number;
}
/** hls.js 1.x. */
export declare function hlsJs(hls: HlsLike): PlayerAdapter;
export interface DashLike extends Emitter {
    getVersion(): string;
    getAverageThroughput(type: 'video'): number;
}
/** dash.js 5.x. */
export declare function dashJs(player: DashLike): PlayerAdapter;
export interface ShakaLike {
    addEventListener(name: string, listener: (event: Any) => void): void;
    removeEventListener(name: string, listener: (event: Any) => void): void;
    getVariantTracks(): Any[];
    getAssetUri(): string | null;
    getStats(): {
        estimatedBandwidth: number;
    };
}
/** Shaka Player 4 and 5. A `load` that fails tells only its caller: `player.load(url).catch((e) => handle.error(…))`. */
export declare function shakaPlayer(player: ShakaLike): PlayerAdapter;
/** For an error that `player.load` rejects with, too. */
export declare function shakaError(error: {
    severity?: number;
    code?: number;
    data?: unknown[];
}): PlayerError;
export {};
