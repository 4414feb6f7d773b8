// Follows `/api/live/stream`: the minutes of the range, the tiles, and how old all of it is.
import type { LiveMessage, LiveMinute } from './api';

export type Connection = 'connecting' | 'live' | 'reconnecting';

export class LiveFeed {
  connection = $state<Connection>('connecting');
  latest = $state<LiveMessage | null>(null);
  /** In order of time. */
  minutes = $state.raw<LiveMinute[]>([]);
  private source: EventSource | null = null;
  private byStart = new Map<number, LiveMinute>();

  follow(rangeMinutes: number): void {
    this.stop();
    this.byStart.clear();
    this.connection = 'connecting';
    const source = new EventSource(`/api/live/stream?minutes=${rangeMinutes}`);
    source.addEventListener('live', (event) => this.take(JSON.parse(event.data) as LiveMessage, rangeMinutes));
    source.addEventListener('error', () => (this.connection = 'reconnecting'));
    this.source = source;
  }

  stop(): void {
    this.source?.close();
    this.source = null;
  }

  private take(message: LiveMessage, rangeMinutes: number): void {
    if (message.reset) this.byStart.clear();
    for (const minute of message.minutes) this.byStart.set(minute.from_ms, minute);
    const oldest = (Math.floor(message.now_ms / 60_000) + 1 - rangeMinutes) * 60_000;
    for (const start of this.byStart.keys()) if (start < oldest) this.byStart.delete(start);
    if (message.reset || message.minutes.length > 0 || this.minutes.length !== this.byStart.size) {
      this.minutes = [...this.byStart.values()].sort((a, b) => a.from_ms - b.from_ms);
    }
    this.latest = message;
    this.connection = 'live';
  }
}
