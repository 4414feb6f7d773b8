// Nothing of this package may throw into a page: whatever the page or the browser calls goes through here.

export type Tell = (problem: string) => void;

/** Runs it; what it throws is told, and telling may fail, too. */
export function quietly(tell: Tell, work: () => void): void {
  try {
    work();
  } catch (error) {
    try {
      tell(String(error));
    } catch {
      // The page's own callback is broken: there is nobody left to tell.
    }
  }
}
