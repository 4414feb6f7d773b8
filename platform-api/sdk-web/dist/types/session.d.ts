import type { Heartbeat, PlayerError, Rendition, ViewContext, ViewEvent } from './wire';
export declare class Session {
    private readonly video;
    readonly context: ViewContext;
    private readonly now;
    private readonly emit;
    isRequested: boolean;
    isStarted: boolean;
    isEnded: boolean;
    private isPaused;
    private isSeeking;
    private isStalled;
    private isInBreak;
    private isInAd;
    private isHidden;
    /** The source has had a picture to seek from; with startup going on. */
    private hasPicture;
    private sequence;
    private errors;
    private ratePerMille;
    private saidAtMs;
    private viewportSaid;
    private renditionSaid;
    /** Where the playhead was last seen to stand by rights, and when (s, ms of the clock). */
    private playhead;
    private playheadAtMs;
    constructor(video: HTMLVideoElement, context: ViewContext, now: () => number, emit: (context: ViewContext, event: ViewEvent, isUrgent: boolean) => void);
    /** Whether there is anything to tell: nothing is before the play request and after the end. */
    get isOpen(): boolean;
    request(autoplay: boolean): void;
    /** `play` */
    play(): void;
    /** `pause` */
    pause(): void;
    /** The first picture of the content is on the screen, and has been for so long (ms). */
    firstFrame(sinceMs?: number): void;
    /** `waiting`: a stall, unless the viewer has seen nothing yet, or waits for what he asked for by seeking. */
    waiting(): void;
    /** `seeking` */
    seeking(): void;
    /** `seeked`, `playing`: what was waited for may be there. */
    settle(): void;
    /** `timeupdate`: a playhead that moves says more than an event that a browser has left out. */
    moved(): void;
    /** `ratechange`: a rate of 0 is no wish of the viewer's but Shaka filling its buffer. */
    rate(): void;
    /** `loadeddata` */
    loaded(): void;
    /** `emptied`: the source is gone. A player that replaces it while it plays keeps its viewer waiting. */
    emptied(): void;
    visibility(isHidden: boolean): void;
    adBreakStart(): void;
    adStart(id: string): void;
    adEnd(): void;
    adBreakEnd(): void;
    rendition(rendition: Rendition): void;
    /** Device pixels. */
    viewport(width: number, height: number): void;
    error({ code, fatal, business }: PlayerError): void;
    heartbeat(heartbeat: Heartbeat): void;
    /** `ended`; the end of an ad in the same element is none of the content. */
    ended(): void;
    end(reason: string): void;
    private get plays();
    private notePlayhead;
    /** Where playback came to before the element's time jumped: it was noted up to a quarter of a second ago. */
    private playheadBefore;
    private say;
}
