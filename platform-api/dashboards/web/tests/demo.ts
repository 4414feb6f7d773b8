// The real binary: `marquee demo` on a home of its own, on ports that nobody else has.
import { type ChildProcess, spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import type { HomePage } from '../src/lib/api';
import { lineOf, makeClip, until } from './browser';

/** A debug build makes its world in half a minute when the machine is busy. */
const START_TIMEOUT_MS = 90_000;

/** Everything taken in is written to the lake first. */
const STOP_TIMEOUT_MS = 60_000;

/** The model is trained beside everything else. */
const TRAINING_TIMEOUT_MS = 240_000;

export class Demo {
  private constructor(
    readonly url: string,
    private readonly child: ChildProcess,
  ) {}

  /** Starts it (MARQUEE_BINARY, which `scripts/web.sh` has built) with a clip to play; its viewers are watching when this
   *  returns. */
  static async start(home: string, ...args: string[]): Promise<Demo> {
    const binary = process.env['MARQUEE_BINARY'];
    if (!binary) throw new Error('MARQUEE_BINARY is not set: run scripts/web.sh journey');
    await makeClip(join(home, 'media'));
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MARQUEE_')));
    for (const section of ['COLLECTOR', 'DASHBOARDS', 'ROWS']) env[`MARQUEE_${section}__LISTEN`] = '127.0.0.1:0';
    const child = spawn(binary, ['demo', '--home', home, '--seed', '7', ...args], { cwd: dirname(home), env, stdio: ['ignore', 'ignore', 'pipe'] });
    try {
      const url = lineOf(child, 'stderr', /^pages +(http:\S+)/, START_TIMEOUT_MS);
      await Promise.all([url, lineOf(child, 'stderr', /^(Ctrl-C stops)/, START_TIMEOUT_MS)]);
      return new Demo(await url, child);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** Ends it; its exit code, `null` when the signal killed it. */
  stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return Promise.resolve(this.child.exitCode);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.child.kill('SIGKILL');
        reject(new Error(`${signal} does not stop it within ${STOP_TIMEOUT_MS} ms`));
      }, STOP_TIMEOUT_MS);
      this.child.once('exit', (code) => {
        clearTimeout(timer);
        resolve(code);
      });
      this.child.kill(signal);
    });
  }

  /** An answer of the dashboards. */
  async ask<T>(path: string): Promise<T> {
    const response = await fetch(this.url + path);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  }

  /** Row id → title ids, for those rows that are chosen for this profile; what it was watching and what is popular,
   *  new or drawn by lot is left out. */
  async recommended(profile: string): Promise<Map<string, string[]>> {
    const page = await this.ask<HomePage>(`/api/profiles/${profile}/home`);
    return recommendations(page);
  }

  /** Waits until a model is in service. */
  async trained(profile: string): Promise<void> {
    await until('a model is in service', async () => {
      const { served } = await this.ask<HomePage>(`/api/profiles/${profile}/home`);
      return served.model_version !== '' && served.degraded.length === 0;
    }, TRAINING_TIMEOUT_MS);
  }
}

export function recommendations(page: HomePage): Map<string, string[]> {
  const rows = page.rows.filter((row) => row.kind === 'top_picks' || row.kind === 'because_you_watched');
  return new Map(rows.map((row) => [row.row_id, row.items.map((item) => item.title_id)]));
}
