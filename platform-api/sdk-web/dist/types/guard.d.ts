export type Tell = (problem: string) => void;
/** Runs it; what it throws is told, and telling may fail, too. */
export declare function quietly(tell: Tell, work: () => void): void;
