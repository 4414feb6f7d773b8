// Light, dark, or as the system has it. The choice is kept in this browser.

export type Theme = 'system' | 'light' | 'dark';

const KEY = 'marquee.theme';
const ORDER: Theme[] = ['system', 'light', 'dark'];

class ThemeChoice {
  choice = $state<Theme>('system');
  /** Grows with every change of what is seen: charts draw themselves anew. */
  changes = $state(0);

  restore(): void {
    const kept = read();
    this.apply(ORDER.find((theme) => theme === kept) ?? 'system');
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => (this.changes += 1));
  }

  next(): void {
    const theme = ORDER[(ORDER.indexOf(this.choice) + 1) % ORDER.length] ?? 'system';
    this.apply(theme);
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // A browser that keeps nothing still shows what was chosen.
    }
  }

  private apply(theme: Theme): void {
    this.choice = theme;
    if (theme === 'system') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = theme;
    this.changes += 1;
  }
}

function read(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

export const theme = new ThemeChoice();
