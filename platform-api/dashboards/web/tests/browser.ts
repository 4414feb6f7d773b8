// A Chromium to look at the pages with, and what every test of pages needs.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import AxeBuilder from '@axe-core/playwright';
import { type Browser, type BrowserContext, type Page, chromium } from 'playwright-core';
import { expect } from 'vitest';

const ROOT = join(import.meta.dirname ?? '.', '../../../..');
const CHROMIUM = process.env['CHROMIUM'] ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync);

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

export async function openWindow(browser: Browser, url: string, colorScheme: 'light' | 'dark' = 'light', viewport = { width: 1360, height: 900 }): Promise<Window> {
  const context = await browser.newContext({ baseURL: url, colorScheme, viewport, timezoneId: 'Europe/Berlin' });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  return { context, page, complaints };
}

/** Waits until something is there: asks again and again, and fails when the time is over. */
export async function until<T>(what: string, ask: () => Promise<T | null | false>, timeoutMs = 20_000): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await ask();
    if (found !== null && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** No rule of axe is broken, whatever its impact. */
export async function checkAccess(page: Page, what: string): Promise<void> {
  // Nothing may move while colours are measured.
  await page.waitForTimeout(700);
  const { violations } = await new AxeBuilder({ page }).analyze();
  const found = violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map((node) => node.target.join(' ')).join(', ')}`);
  expect(found, what).toEqual([]);
}

/** Opens the table behind each chart of Live; a table comes just after its click. */
export async function openTables(page: Page): Promise<void> {
  for (const details of await page.locator('.charts details').all()) {
    await details.locator('summary').click();
    await details.locator('table').waitFor();
  }
}

/** Has Live compare its figures with SQL, which must find them equal; figure → value as Live shows it. */
export async function checkCompared(page: Page): Promise<Map<string, string | null>> {
  await page.getByRole('button', { name: 'Compare' }).click();
  await page.locator('[data-compared]').waitFor();
  const rows = await page.locator('[data-compare]').evaluateAll((rows) =>
    rows.map((row) => ({ id: row.getAttribute('data-compare'), live: row.getAttribute('data-live'), sql: row.getAttribute('data-sql') })),
  );
  expect(rows.length).toBeGreaterThanOrEqual(15);
  for (const row of rows) expect(row.live, row.id ?? '').toBe(row.sql);
  expect(await page.locator('[data-compared]').getAttribute('data-compared')).toBe('0');
  return new Map(rows.map((row) => [row.id ?? '', row.live]));
}

/** Makes the demo's clip in a folder. */
export function makeClip(folder: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(join(ROOT, 'scripts/make-clip.sh'), [folder], { stdio: 'inherit' });
    child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`make-clip.sh ended with ${code}`))));
    child.once('error', reject);
  });
}

/** The first group of the first line that looks so; fails when the process ends before or takes too long. */
export function lineOf(child: ChildProcess, stream: 'stdout' | 'stderr', pattern: RegExp, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const lines: string[] = [];
    const timer = setTimeout(() => reject(new Error(`no line like ${pattern}: ${lines.join('\n')}`)), timeoutMs);
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`it ended with ${code}: ${lines.join('\n')}`)));
    const input = child[stream];
    if (!input) return reject(new Error(`its ${stream} is not read`));
    createInterface(input).on('line', (line) => {
      lines.push(line);
      if (lines.length > 50) lines.shift();
      const found = pattern.exec(line)?.[1];
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(found);
    });
  });
}

/** What the <video> element itself says, by other means than the reporter (ms of `performance.now`). */
export interface Seen {
  clicked: number;
  firstFrame: number;
  stalls: number[];
  waiting: number;
}

/** Watches every <video> of the page from its first line on. */
export async function watchVideos(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const seen = { clicked: 0, firstFrame: 0, stalls: [] as number[], waiting: 0 };
    Object.assign(window, { seen });
    addEventListener('click', (event) => { if ((event.target as Element).closest('[data-title]')) seen.clicked = performance.now(); }, true);
    // The first picture that went to the screen while it played; on a busy machine `playing` comes 150 ms before it.
    const awaitFrame = (video: HTMLVideoElement): number => video.requestVideoFrameCallback((_now, frame) => {
      if (video.paused || video.readyState < 3) awaitFrame(video);
      else seen.firstFrame = frame.presentationTime;
    });
    document.addEventListener('loadstart', (event) => awaitFrame(event.target as HTMLVideoElement), { capture: true, once: true });
    document.addEventListener('playing', () => {
      if (seen.waiting) seen.stalls.push(performance.now() - seen.waiting);
      seen.waiting = 0;
    }, true);
    document.addEventListener('waiting', (event) => {
      if (seen.firstFrame && !(event.target as HTMLVideoElement).seeking && !seen.waiting) seen.waiting = performance.now();
    }, true);
  });
}

export const seenBy = (page: Page): Promise<Seen> => page.evaluate(() => (window as unknown as { seen: Seen }).seen);

export const playhead = (page: Page): Promise<number> => page.locator('video').evaluate((video: HTMLVideoElement) => video.currentTime);
