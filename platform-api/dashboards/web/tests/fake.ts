// The dashboards with made-up viewers and rows (`examples/fake`) and a Chromium to look at them.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Browser, type BrowserContext, type Page, chromium } from 'playwright-core';

const ROOT = join(import.meta.dirname ?? '.', '../../../..');
const CHROMIUM = process.env['CHROMIUM'] ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync);

/** A first build takes minutes; starting takes seconds. */
const START_TIMEOUT_MS = 110_000;

export interface Fake {
  url: string;
  stop: () => void;
}

/** Starts `examples/fake`, built before by `scripts/web.sh test` (or named by MARQUEE_FAKE). */
export async function startFake(): Promise<Fake> {
  const folder = mkdtempSync(join(tmpdir(), 'marquee-clip-'));
  const clip = process.env['MARQUEE_CLIP'] ?? join(folder, 'clip');
  await run(join(ROOT, 'scripts/make-clip.sh'), [clip]);
  const binary = process.env['MARQUEE_FAKE'];
  if (!binary) throw new Error('MARQUEE_FAKE is not set: run scripts/web.sh test');
  const child = spawn(binary, ['0', clip], { stdio: ['ignore', 'pipe', 'inherit'] });
  const url = await readyUrl(child);
  const stop = () => {
    child.kill('SIGINT');
    rmSync(folder, { recursive: true, force: true });
  };
  return { url, stop };
}

function readyUrl(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the fake did not start')), START_TIMEOUT_MS);
    child.once('exit', (code) => reject(new Error(`the fake ended with ${code}`)));
    if (!child.stdout) return reject(new Error('the fake has no output'));
    createInterface(child.stdout).on('line', (line) => {
      if (!line.startsWith('ready ')) return;
      clearTimeout(timer);
      resolve(line.slice('ready '.length));
    });
  });
}

function run(command: string, args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'inherit' });
    child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${command} ended with ${code}`))));
    child.once('error', reject);
  });
}

export function startBrowser(): Promise<Browser> {
  if (!CHROMIUM) throw new Error('Chromium is missing: apt-get install chromium, or set CHROMIUM');
  return chromium.launch({
    executablePath: CHROMIUM,
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--mute-audio'],
  });
}

export interface Window {
  context: BrowserContext;
  page: Page;
  /** What the console and the page complained about; the content security policy speaks here, too. */
  complaints: string[];
}

export async function openWindow(browser: Browser, url: string, colorScheme: 'light' | 'dark' = 'light'): Promise<Window> {
  const context = await browser.newContext({ baseURL: url, colorScheme, viewport: { width: 1360, height: 900 }, timezoneId: 'Europe/Berlin' });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  return { context, page, complaints };
}
