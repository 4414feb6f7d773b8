export declare class SteadyClock {
    private readonly tell;
    private readonly origin;
    private behindMs;
    constructor(tell: (problem: string) => void);
    /** Milliseconds since the epoch; never less than before. */
    now(): number;
}
