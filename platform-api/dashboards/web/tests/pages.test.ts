// The pages in a real browser over a real lake: accessible in both themes and right in their numbers.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkAccess, checkCompared, openTables, openWindow, startBrowser, until } from './browser';
import { type Fake, startFake } from './fake';

let fake: Fake;
let browser: Browser;

beforeAll(async () => {
  [fake, browser] = await Promise.all([startFake(), startBrowser()]);
});
afterAll(async () => {
  await browser?.close();
  fake?.stop();
});

/** Runs `body` in a window of its own, which must have had nothing to complain about but what is expected. */
async function inWindow(body: (page: Page) => Promise<void>, colorScheme: 'light' | 'dark' = 'light', expected?: RegExp): Promise<void> {
  const { context, page, complaints } = await openWindow(browser, fake.url, colorScheme);
  try {
    await body(page);
    expect(complaints.filter((complaint) => !expected?.test(complaint))).toEqual([]);
  } finally {
    await context.close();
  }
}

const openRow = async (page: Page): Promise<void> => {
  await page.goto('/sessions?stalled=true&outcome=played');
  await page.locator('tbody a').first().click();
  await page.locator('[data-event]').first().waitFor();
};

describe.each(['light', 'dark'] as const)('%s', (theme) => {
  test('axe finds nothing on any page', async () => {
    await inWindow(async (page) => {
      await page.goto('/live');
      await page.locator('canvas').first().waitFor();
      await page.locator('details summary').first().click();
      await page.getByRole('button', { name: 'Compare' }).click();
      await page.locator('[data-compare]').first().waitFor();
      await checkAccess(page, 'live');

      await page.goto('/sessions');
      await page.locator('[data-session]').first().waitFor();
      await checkAccess(page, 'sessions');
      await openRow(page);
      await page.locator('details summary').first().click();
      await checkAccess(page, 'session');

      await page.goto('/viewer');
      await page.locator('[data-profile]').first().waitFor();
      await checkAccess(page, 'profiles');
      await page.goto('/viewer?profile=profile-0002');
      await page.locator('[data-degraded]').waitFor();
      await page.locator('[data-title]').first().waitFor();
      await checkAccess(page, 'viewer, degraded');
      await page.locator('[data-row=trending_now] [data-title] button').first().click();
      await page.locator('[data-said=first_frame]').waitFor();
      await checkAccess(page, 'player');
      await page.keyboard.press('Escape');

      await page.keyboard.press('?');
      await page.getByRole('heading', { name: 'How to read these pages' }).waitFor();
      await checkAccess(page, 'help');
    }, theme);
  });
});

test('the theme can be chosen and stays', async () => {
  await inWindow(async (page) => {
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.goto('/sessions');
    const light = await ground();
    await page.locator('[data-theme-toggle]').click(); // light
    await page.locator('[data-theme-toggle]').click(); // dark
    const dark = await ground();
    expect(dark).not.toBe(light);
    await page.reload();
    expect(await ground()).toBe(dark);
  });
});

test('every figure on Live equals SQL over the lake for a closed window', async () => {
  await inWindow(async (page) => {
    await page.goto('/live?window=20');
    const live = await checkCompared(page);
    expect(Number(live.get('attempts'))).toBeGreaterThan(100);
  });
});

test('Live moves, says how old it is, and has a table behind each chart', async () => {
  await inWindow(async (page) => {
    await page.goto('/live');
    const asOf = async () => Number(await page.locator('[data-as-of]').getAttribute('data-as-of'));
    const first = await until('the first data', async () => (await asOf()) || null);
    await until('newer data', async () => (await asOf()) > first || null);
    await expectText(page, '[data-figure=viewers] .value', /^[1-9]\d*$/);
    await expectText(page, '[data-figure=startup] .value', /^\d+\.\d\d s$/);
    await expectText(page, '[data-figure=rebuffering] .value', /^\d+\.\d\d %$/);
    expect(await page.locator('canvas').count()).toBe(5);
    await openTables(page);
    expect(await page.locator('.charts table').count()).toBe(5);
    const points = await page.locator('.charts table').first().locator('tbody tr').count();
    expect(points, 'a point every 5 s for half an hour').toBeGreaterThan(300);
    await page.getByRole('button', { name: '15 min' }).click();
    expect(new URL(page.url()).search).toBe('?range=15');
  });
});

async function expectText(page: Page, selector: string, pattern: RegExp): Promise<void> {
  await until(`${selector} like ${pattern}`, async () => pattern.test((await page.locator(selector).textContent()) ?? '') || null);
}

test('filters are the URL, keys search and help', async () => {
  await inWindow(async (page) => {
    await page.goto('/sessions');
    await page.getByRole('button', { name: /^start failure/ }).click();
    expect(new URL(page.url()).searchParams.get('outcome')).toBe('start_failure');
    await until('only failures', async () => {
      const outcomes = await page.locator('.outcome').allTextContents();
      return outcomes.length > 0 && outcomes.every((outcome) => outcome.includes('start failure'));
    });
    await page.reload();
    expect(await page.getByRole('button', { name: /^start failure/ }).getAttribute('aria-pressed')).toBe('true');

    await page.goto('/live');
    await page.keyboard.press('/');
    await page.locator('[data-search]:focus').waitFor();
    await page.keyboard.type('profile-0007');
    await until('only this profile', async () => {
      const who = await page.locator('tbody td:nth-child(3) div:first-child').allTextContents();
      return who.length > 0 && who.every((profile) => profile === 'profile-0007');
    });
    expect(new URL(page.url()).searchParams.get('search')).toBe('profile-0007');
    await page.getByRole('button', { name: 'Clear' }).click();
    await page.getByRole('button', { name: 'Older sessions' }).click();
    await until('more sessions', async () => (await page.locator('[data-session]').count()) > 60);
  });
});

test('a session shows its states and raw events', async () => {
  await inWindow(async (page) => {
    await openRow(page);
    const shown = Number(await page.locator('[data-figure=rebuffer_ms]').getAttribute('data-value'));
    expect(shown).toBeGreaterThan(0);
    expect(await page.locator('[data-state=rebuffer]').count()).toBeGreaterThan(0);
    // Made-up players either say what happens or, as CMCD has it, report their states.
    const reports = await page.locator('[data-event=player_state]').count();
    expect(await page.locator('[data-event=play_requested]').count()).toBe(reports > 0 ? 0 : 1);
    expect(await page.locator('[data-event=heartbeat]').count()).toBe(0);
    await page.getByLabel('with heartbeats').check();
    expect(await page.locator('[data-event=heartbeat]').count()).toBeGreaterThan(3);
    await page.goto('/sessions/nobody');
    await page.getByText('Not here yet').waitFor();
  }, 'light', /status of 404/); // the browser itself reports the one that is meant here
});

test('a profile is found; degraded and children\'s pages say so', async () => {
  await inWindow(async (page) => {
    await page.goto('/viewer');
    await page.locator('[data-profile]').first().waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('degraded');
    await page.locator('[data-profile=profile-0002]').click();
    await page.getByText('No model is in service').waitFor();
    await page.goto('/viewer?profile=profile-0001');
    await page.getByText('titles up to 7').waitFor();
    const genres = await page.locator('[data-title] > p:last-child').allTextContents();
    expect(genres.length).toBeGreaterThan(5);
    for (const genre of genres) expect(genre).toContain('Animation');
  });
});

test('without a clip the Viewer says how to make one', async () => {
  await inWindow(async (page) => {
    await page.route('**/api/config', async (route) => {
      const config = await (await route.fetch()).json();
      await route.fulfill({ json: { ...config, media: { manifest: null, problem: 'there is no clip: run scripts/make-clip.sh X' } } });
    });
    await page.goto('/viewer?profile=profile-0003');
    await page.getByText('run scripts/make-clip.sh X').waitFor();
  });
});
