// A Marquee of its own for the players: `marquee up` on a fresh home, which lets the page's origin post; and what its lake
// says afterwards.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const START_TIMEOUT_MS = 90_000;

/** Everything taken in is written to the lake first. */
const STOP_TIMEOUT_MS = 60_000;

/** What is compared; names are those of view `sessions`. */
export interface SessionRow {
  session_id: string;
  player_instance: string;
  outcome: string;
  startup_ms: number | null;
  rebuffer_count: number;
  rebuffer_ms: number;
  seek_count: number;
  rendition_switch_count: number;
  background_ms: number;
  error_code: string | null;
  error_fatal: boolean | null;
  inferred_count: number;
  lost_events: number;
  event_count: number;
}

const COLUMNS: (keyof SessionRow)[] = [
  'session_id', 'player_instance', 'outcome', 'startup_ms', 'rebuffer_count', 'rebuffer_ms', 'seek_count', 'rendition_switch_count',
  'background_ms', 'error_code', 'error_fatal', 'inferred_count', 'lost_events', 'event_count',
];

export class Marquee {
  private constructor(
    readonly collectorUrl: string,
    private readonly child: ChildProcess,
    private readonly binary: string,
    private readonly home: string,
  ) {}

  static async start(binary: string, home: string, origin: string): Promise<Marquee> {
    const env = cleanEnvironment();
    for (const section of ['COLLECTOR', 'DASHBOARDS', 'ROWS']) env[`MARQUEE_${section}__LISTEN`] = '127.0.0.1:0';
    env['MARQUEE_COLLECTOR__ALLOWED_ORIGINS'] = JSON.stringify([origin]);
    const child = spawn(binary, ['up', '--home', home], { env, stdio: ['ignore', 'ignore', 'pipe'] });
    try {
      return new Marquee(await collectorOf(child), child, binary, home);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** Ends it; its lake has everything then. */
  async stop(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    this.child.kill('SIGTERM');
    const [code] = (await once(this.child, 'exit')) as [number | null];
    clearTimeout(timer);
    if (code !== 0) throw new Error(`marquee up ended with ${code ?? 'SIGKILL'}`);
  }

  /** Ends it, whatever becomes of its lake. */
  kill(): void {
    this.child.kill('SIGKILL');
  }

  async sessions(): Promise<SessionRow[]> {
    return this.query<SessionRow>(`SELECT ${COLUMNS.join(', ')} FROM sessions`);
  }

  /** Reasons of dead letters, with how many events each. */
  async deadLetters(): Promise<{ reason: string; events: number }[]> {
    return this.query('SELECT reason, sum(event_count) AS events FROM dead_letters GROUP BY reason ORDER BY reason');
  }

  private async query<T>(sql: string): Promise<T[]> {
    const { stdout } = await promisify(execFile)(this.binary, ['lake', 'sql', sql, '--format', 'json', '--home', this.home], { env: cleanEnvironment(), maxBuffer: 64 << 20 });
    return JSON.parse(stdout || '[]') as T[];
  }
}

/** Without settings of whoever runs this; Marquee takes every `MARQUEE_…` for one. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MARQUEE_')));
}

/** The collector's address, from what `up` prints. */
function collectorOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const lines: string[] = [];
    const timer = setTimeout(() => reject(new Error(`marquee up is not ready: ${lines.join('\n')}`)), START_TIMEOUT_MS);
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`marquee up ended with ${code}: ${lines.join('\n')}`)));
    createInterface(child.stderr as NodeJS.ReadableStream).on('line', (line) => {
      lines.push(line);
      if (lines.length > 50) lines.shift();
      const url = /^collector +(http:\S+)/.exec(line)?.[1];
      if (url === undefined) return;
      clearTimeout(timer);
      resolve(url);
    });
  });
}
