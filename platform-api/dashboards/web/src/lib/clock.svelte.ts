// The server's clock. With `demo --speed` it runs faster than life, and players must stamp their events by it.
import { type Config, ask } from './api';

class ServerClock {
  config = $state<Config | null>(null);
  problem = $state('');
  private offsetMs = 0;
  private readAt = 0;

  /** Asks the server once; later calls ask again only if that failed. */
  async load(): Promise<void> {
    if (this.config) return;
    try {
      const before = performance.now();
      const config = await ask<Config>('/api/config');
      this.readAt = (before + performance.now()) / 2;
      this.offsetMs = config.now_ms;
      this.config = config;
      this.problem = '';
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
    }
  }

  /** Milliseconds since the epoch, as the server counts them. */
  now(): number {
    if (!this.config) return Date.now();
    return Math.round(this.offsetMs + (performance.now() - this.readAt) * this.config.clock_speed);
  }
}

export const clock = new ServerClock();
