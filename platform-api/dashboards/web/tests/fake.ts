// The dashboards with made-up viewers and rows (`examples/fake`): a real lake, and pages that do what a test needs.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lineOf, makeClip } from './browser';

const START_TIMEOUT_MS = 60_000;

export interface Fake {
  url: string;
  stop: () => void;
}

/** Starts `examples/fake`, which `scripts/web.sh test` has built (or MARQUEE_FAKE names). */
export async function startFake(): Promise<Fake> {
  const folder = mkdtempSync(join(tmpdir(), 'marquee-clip-'));
  const clip = process.env['MARQUEE_CLIP'] ?? join(folder, 'clip');
  await makeClip(clip);
  const binary = process.env['MARQUEE_FAKE'];
  if (!binary) throw new Error('MARQUEE_FAKE is not set: run scripts/web.sh test');
  const child = spawn(binary, ['0', clip], { stdio: ['ignore', 'pipe', 'inherit'] });
  const url = await lineOf(child, 'stdout', /^ready (.*)/, START_TIMEOUT_MS);
  const stop = () => {
    child.kill('SIGINT');
    rmSync(folder, { recursive: true, force: true });
  };
  return { url, stop };
}
