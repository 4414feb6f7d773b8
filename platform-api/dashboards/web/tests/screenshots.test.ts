// The pictures of the README: `scripts/web.sh screenshots` writes them to docs/images (SCREENSHOTS), from the real binary
// with simulated viewers. Half an hour passes in minutes, so that the charts have something to show.
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openWindow, playhead, startBrowser, until } from './browser';
import { Demo } from './demo';

const TARGET = process.env['SCREENSHOTS'] ?? '';
const PROFILE = 'p-0007';
const SPEED = 8;
const SIZE = { width: 1280, height: 800 };

/** Of the server's clock; the audience has gathered by then. */
const FILLED_MS = 26 * 60_000;

/** A README is read on slow lines, too. */
const LARGEST_BYTES = 300_000;

describe.runIf(TARGET)('screenshots', () => {
  const folder = mkdtempSync(join(tmpdir(), 'marquee-pictures-'));
  const home = join(folder, 'home');
  let demo: Demo;
  let browser: Browser;

  beforeAll(async () => {
    mkdirSync(TARGET, { recursive: true });
    [demo, browser] = await Promise.all([Demo.start(home), startBrowser()]);
  }, 150_000);
  afterAll(async () => {
    await browser?.close();
    await demo?.stop('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  test('of each page in both themes', async () => {
    await demo.trained(PROFILE);
    await inBothThemes(viewer);
    await demo.stop('SIGTERM');
    demo = await Demo.start(home, '--speed', String(SPEED));
    const now = async () => (await demo.ask<{ now_ms: number }>('/api/config')).now_ms;
    const startMs = await now();
    await until('half an hour has passed', async () => (await now()) > startMs + FILLED_MS, (2 * FILLED_MS) / SPEED);
    await inBothThemes(operator);
  }, 900_000);

  type Shoot = (name: string) => Promise<void>;

  async function inBothThemes(pictures: (page: Page, shoot: Shoot) => Promise<void>): Promise<void> {
    for (const theme of ['light', 'dark'] as const) {
      const { context, page } = await openWindow(browser, demo.url, theme, SIZE);
      // A debug build reads half an hour of small files.
      page.setDefaultTimeout(120_000);
      await pictures(page, async (name) => {
        const raw = join(folder, `${name}-${theme}.png`);
        await page.screenshot({ path: raw });
        await shrink(raw, join(TARGET, `${name}-${theme}.png`));
      });
      await context.close();
    }
  }

  async function viewer(page: Page, shoot: Shoot): Promise<void> {
    await page.goto(`/viewer?profile=${PROFILE}`);
    await page.locator('[data-row=top_picks] [data-title] button').nth(2).click();
    await until('some of it is watched', async () => (await playhead(page)) >= 8, 60_000);
    await page.getByText('The page has changed').waitFor();
    await shoot('player');
    await page.getByRole('button', { name: 'Close' }).click();
    await page.waitForTimeout(2_000);
    await page.mouse.move(0, 0);
    await page.evaluate(() => window.scrollTo(0, 0));
    await shoot('viewer');
  }

  async function operator(page: Page, shoot: Shoot): Promise<void> {
    await page.goto('/live');
    await until('the first data', async () => Boolean(await page.locator('[data-as-of]').getAttribute('data-as-of')));
    await page.waitForTimeout(1_500);
    await shoot('live');
    await page.goto('/sessions?stalled=true');
    await page.locator('[data-session]').first().waitFor();
    await page.waitForTimeout(500);
    await shoot('sessions');
    await page.goto('/sessions?stalled=true&outcome=played');
    await page.locator('tbody tr', { hasNot: page.getByText('open', { exact: false }) }).locator('a').first().click();
    await page.locator('[data-event]').first().waitFor();
    await shoot('session');
  }
});

/** Flat colours need no more than a palette. */
async function shrink(from: string, to: string): Promise<void> {
  const palette = 'split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=dither=sierra2_4a';
  await promisify(execFile)('ffmpeg', ['-nostdin', '-loglevel', 'error', '-y', '-i', from, '-vf', palette, to]);
  expect(statSync(to).size, to).toBeLessThan(LARGEST_BYTES);
}
