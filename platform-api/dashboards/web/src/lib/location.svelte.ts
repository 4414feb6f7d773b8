// Where the app is: path and query of the URL as state. Pages keep their filters in the query, so that a link shows what
// its sender saw and the browser's back button works.

class AppLocation {
  path = $state(window.location.pathname);
  query = $state(new URLSearchParams(window.location.search));

  constructor() {
    window.addEventListener('popstate', () => this.read());
  }

  /** The value of a parameter; empty when it is not there. */
  get(name: string): string {
    return this.query.get(name) ?? '';
  }

  /** To another page. */
  go(url: string): void {
    history.pushState(null, '', url);
    this.read();
    window.scrollTo(0, 0);
  }

  /** The same page with other parameters; empty ones are dropped. */
  set(changes: Record<string, string>, how: 'replace' | 'push' = 'replace'): void {
    const query = new URLSearchParams(window.location.search);
    for (const [name, value] of Object.entries(changes)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    const text = query.toString();
    const url = window.location.pathname + (text ? `?${text}` : '');
    if (how === 'push') history.pushState(null, '', url);
    else history.replaceState(null, '', url);
    this.read();
  }

  private read(): void {
    this.path = window.location.pathname;
    this.query = new URLSearchParams(window.location.search);
  }
}

export const location = new AppLocation();

/** Lets plain links move within the app; modified clicks stay the browser's. */
export function followLinks(event: MouseEvent): void {
  const link = event.target instanceof Element ? event.target.closest('a') : null;
  if (!link || event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const url = new URL(link.href);
  if (url.origin !== window.location.origin || link.target || link.hasAttribute('download')) return;
  if (url.hash && url.pathname === window.location.pathname) return;
  event.preventDefault();
  location.go(url.pathname + url.search);
}
