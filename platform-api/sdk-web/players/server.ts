// Serves the page and the stream of each run, and holds or refuses requests as its scenario says. Keeps what it did and
// when, on one clock: that is half of the truth (the other half is observer.ts).
import { createReadStream } from 'node:fs';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import type { PlayerName, Rule, Scenario } from './scenarios';

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.m3u8': 'application/vnd.apple.mpegurl',
  '.mpd': 'application/dash+xml',
  '.m4s': 'video/iso.segment',
};

export interface Held {
  segment: Rule['segment'];
  fromMs: number;
  toMs: number | null;
}

interface RuleState {
  rule: Rule;
  requests: number;
  /** Set once it lets go; later requests pass. */
  isReleased: boolean;
  waiting: { release: () => void; held: Held }[];
}

/** One scenario with one player in one page. */
export class Run {
  readonly held: Held[] = [];
  readonly refused: { segment: Rule['segment']; status: number; atMs: number }[] = [];
  /** What the page told, by name, in order (ms of this process). */
  readonly notes: { what: string; atMs: number }[] = [];
  private readonly rules: RuleState[];
  private readonly waiters = new Map<string, () => void>();

  constructor(
    readonly id: string,
    readonly player: PlayerName,
    readonly scenario: Scenario,
  ) {
    this.rules = scenario.rules.map((rule) => ({ rule, requests: 0, isReleased: false, waiting: [] }));
  }

  /** The page says that something has happened, so long ago. */
  note(what: string, agoMs: number): void {
    this.notes.push({ what, atMs: performance.now() - agoMs });
    const nth = this.notes.filter((note) => note.what === what).length;
    for (const state of this.rules) {
      const hold = state.rule.hold;
      if (hold?.after !== what || (hold.nth ?? 1) !== nth) continue;
      setTimeout(() => this.release(state), Math.max(0, hold.ms - agoMs));
    }
    this.waiters.get(what)?.();
  }

  /** Resolves when the page has told this. */
  async told(what: string, timeoutMs: number): Promise<void> {
    if (this.notes.some((note) => note.what === what)) return;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${this.id}: the page never said ${what}`)), timeoutMs);
      this.waiters.set(what, () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Resolves with a status when a request for this file may be answered. */
  async gate(file: string): Promise<number> {
    const segment = /^main\.(m3u8|mpd)$/.test(file) ? 'manifest' : Number(/^[0-2]-(\d+)\.m4s$/.exec(file)?.[1] ?? 0);
    const state = this.rules.find(({ rule }) => rule.segment === segment);
    if (!state) return 200;
    const { rule } = state;
    state.requests += 1;
    if (state.requests > (rule.times ?? Number.POSITIVE_INFINITY)) return 200;
    if (rule.hold && !state.isReleased) await this.hold(segment, state, rule.hold);
    if (rule.status === undefined) return 200;
    this.refused.push({ segment, status: rule.status, atMs: performance.now() });
    return rule.status;
  }

  private async hold(segment: Rule['segment'], state: RuleState, { after, ms }: NonNullable<Rule['hold']>): Promise<void> {
    const held: Held = { segment, fromMs: performance.now(), toMs: null };
    this.held.push(held);
    await new Promise<void>((release) => {
      state.waiting.push({ release, held });
      if (after === 'request' && state.waiting.length === 1) setTimeout(() => this.release(state), ms);
    });
  }

  private release(state: RuleState): void {
    state.isReleased = true;
    for (const { release, held } of state.waiting.splice(0)) {
      held.toMs = performance.now();
      release();
    }
  }
}

export interface StreamServer {
  url: string;
  add(run: Run): void;
  close(): void;
}

/** `folders`: where files are looked for, by the first part of the path. */
export async function serveStreams(folders: { stream: string; pages: string }): Promise<StreamServer> {
  const runs = new Map<string, Run>();
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    const [, kind = '', id = '', ...rest] = pathname.split('/');
    const run = runs.get(id);
    if (kind === 'note' && run) {
      run.note(rest[0] ?? '', Number(searchParams.get('ago_ms') ?? 0));
      response.writeHead(204).end();
    } else if (kind === 'stream' && run) {
      const file = rest.join('/');
      const status = await run.gate(file);
      if (status === 200) send(response, folders.stream, file);
      else response.writeHead(status).end();
    } else if (kind === 'page' && run) {
      send(response, folders.pages, rest.join('/'));
    } else {
      response.writeHead(404).end();
    }
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    add: (run) => void runs.set(run.id, run),
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

function send(response: ServerResponse, folder: string, file: string): void {
  const stream = createReadStream(join(folder, normalize(`/${file}`)));
  stream.once('error', () => response.writeHead(404).end());
  stream.once('open', () => {
    response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream', 'cache-control': 'no-store' });
    stream.pipe(response);
  });
}
