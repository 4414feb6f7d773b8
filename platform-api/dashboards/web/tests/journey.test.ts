// The loop with the real binary and a real browser: someone watches, their page changes and keeps what it learnt, the
// session is told as it was, and Live says what the lake says.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type LiveMessage, type LiveWindow, type SessionDetail, type SessionList, type SqlWindow, resolvedAttempts } from '../src/lib/api';
import { count, percent } from '../src/lib/format';
import { checkAccess, checkCompared, openTables, openWindow, playhead, seenBy, startBrowser, until, watchVideos } from './browser';
import { Demo } from './demo';

/** An adult; children's pages have fewer titles to change to. */
const PROFILE = 'p-0004';

/** What the test adds to the startup: the playlist comes so much later (ms). */
const SLOW_START_MS = 1_500;

/** What the test makes of the stall: the segment at 6 s comes so long after the element has run out of media (ms). */
const STALL_MS = 2_500;

/** A busy machine needs so much for the rest of a startup or a stall: scripts, playlists, decoding (ms). */
const SLACK_MS = 2_500;

/** Between what the element said to this test and what the session holds (ms): two listeners of one event. */
const TOLERANCE_MS = 150;

/** From ten seconds of watching to the change (ms), by the promise of the page. */
const CHANGE_MS = 5_000;

/** The second run's clock: the sessions of its first minutes are over within two minutes of the test's time. */
const SPEED = 20;

const MINUTE_MS = 60_000;

const folder = mkdtempSync(join(tmpdir(), 'marquee-journey-'));
const home = join(folder, 'home');
let demo: Demo;
let browser: Browser;
/** What the page recommends after something was watched. */
let learnt = new Map<string, string[]>();
let watched = '';
let session = '';

beforeAll(async () => {
  [demo, browser] = await Promise.all([Demo.start(home), startBrowser()]);
}, 150_000);
afterAll(async () => {
  await browser?.close();
  await demo?.stop('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

/** Runs `body` in a window of its own, which must have had nothing to complain about. */
async function inWindow(body: (page: Page) => Promise<void>, colorScheme: 'light' | 'dark' = 'light'): Promise<void> {
  const { context, page, complaints } = await openWindow(browser, demo.url, colorScheme);
  // A debug build on a busy machine.
  page.setDefaultTimeout(60_000);
  try {
    await body(page);
    expect(complaints).toEqual([]);
  } finally {
    await context.close();
  }
}

/** Row id → title ids as the page shows them, for the rows that are chosen for the profile. */
async function shown(page: Page): Promise<Map<string, string[]>> {
  const rows = await page.locator('[data-row=top_picks], [data-row^=because_you_watched]').evaluateAll((rows) =>
    rows.map((row) => [row.getAttribute('data-row') ?? '', [...row.querySelectorAll('[data-title]')].map((card) => card.getAttribute('data-title') ?? '')] as const),
  );
  return new Map(rows.map(([row, titles]) => [row, [...titles]]));
}

/** Titles that a row has and did not have; a row that was not there before counts as a whole. */
function arrivals(before: Map<string, string[]>, after: Map<string, string[]>): string[] {
  return [...after].flatMap(([row, titles]) => titles.filter((title) => !before.get(row)?.includes(title)).map((title) => `${row}: ${title}`));
}

const figure = async (page: Page, name: string): Promise<number> =>
  Number(await page.locator(`[data-figure=${name}]`).getAttribute('data-value'));

// While the model is trained: nothing here needs it.
describe.each(['light', 'dark'] as const)('%s', (theme) => {
  test('axe finds nothing on any page', async () => {
    await inWindow(async (page) => {
      await page.goto('/live');
      await page.locator('canvas').first().waitFor();
      await until('the first data', async () => Boolean(await page.locator('[data-as-of]').getAttribute('data-as-of')));
      await openTables(page);
      await checkAccess(page, 'live');
      await page.goto('/sessions');
      await page.locator('[data-session]').first().waitFor();
      await checkAccess(page, 'sessions');
      await page.locator('tbody a').first().click();
      await page.locator('[data-event]').first().waitFor();
      await page.getByText('Table of states').click();
      await checkAccess(page, 'session');
      await page.goto('/viewer');
      await page.locator('[data-profile]').first().waitFor();
      await checkAccess(page, 'profiles');
      await page.goto('/viewer?profile=p-0006');
      await page.locator('[data-row=trending_now] [data-title]').first().waitFor();
      await checkAccess(page, 'viewer');
      await page.locator('[data-row=trending_now] [data-title] button').first().click();
      await page.locator('[data-said=first_frame]').waitFor();
      await checkAccess(page, 'player');
    }, theme);
  }, 120_000);
});

test('ten seconds of watching change the recommendations, and the session has the startup and the stall that were caused', async () => {
  await demo.trained(PROFILE);
  // Left alone, these rows stay as they are: what changes them below is what is watched.
  const alone = await demo.recommended(PROFILE);
  for (let second = 0; second < 4; second += 1) {
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(await demo.recommended(PROFILE)).toEqual(alone);
  }

  await inWindow(async (page) => {
    await watchVideos(page);
    await page.route('**/media/demo/main.m3u8', async (route) => {
      await new Promise((resolve) => setTimeout(resolve, SLOW_START_MS));
      await route.continue();
    });
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    await page.route('**/segment_003.m4s', async (route) => {
      await released;
      await route.continue();
    });

    await page.goto('/viewer');
    await page.locator('[data-search]').fill(PROFILE);
    await page.locator(`[data-profile=${PROFILE}]`).click();
    const choice = page.locator('[data-row=exploration] [data-title]').first();
    await choice.waitFor();
    const before = await shown(page);
    expect(before).toEqual(alone);
    expect(before.get('top_picks')?.length).toBeGreaterThan(5);
    watched = (await choice.getAttribute('data-title')) ?? '';
    await choice.getByRole('button').click();

    await until('the element runs out of media', async () => (await seenBy(page)).waiting > 0, 40_000);
    await page.waitForTimeout(STALL_MS);
    release();
    await until('ten seconds are watched', async () => (await playhead(page)) >= 10, 40_000);
    const changed = await until('a recommendation row has other titles', async () => {
      const found = arrivals(before, await shown(page));
      return found.length > 0 && found;
    }, CHANGE_MS);
    expect(changed.length).toBeGreaterThan(0);
    await page.getByText('The page has changed').waitFor();

    session = (await page.locator('video').getAttribute('data-session')) ?? '';
    await page.getByRole('button', { name: 'Close' }).click();
    await page.locator(`[data-row=continue_watching] [data-title=${watched}]`).waitFor();
    const seen = await seenBy(page);

    // Its row, too: events come into the lake before what is made of them.
    await until('the session is over', async () => {
      const { sessions } = await demo.ask<SessionList>(`/api/sessions?search=${session}`);
      if (sessions.length === 0) return false;
      return (await demo.ask<SessionDetail>(`/api/sessions/${session}`)).session['end_reason'] === 'closed';
    });
    await page.goto(`/sessions?search=${session}`);
    await page.locator(`[data-session="${session}"] a`).click();
    await page.locator('[data-event=session_end]').waitFor();
    const startup = seen.firstFrame - seen.clicked;
    const stalls = seen.stalls.reduce((sum, stall) => sum + stall, 0);
    // What was caused is what the element felt …
    expect(startup).toBeGreaterThanOrEqual(SLOW_START_MS);
    expect(startup).toBeLessThan(SLOW_START_MS + SLACK_MS);
    expect(stalls).toBeGreaterThanOrEqual(STALL_MS);
    expect(stalls).toBeLessThan(STALL_MS + SLACK_MS);
    // … and what the session says.
    expect(Math.abs((await figure(page, 'startup_ms')) - startup)).toBeLessThan(TOLERANCE_MS);
    expect(Math.abs((await figure(page, 'rebuffer_ms')) - stalls)).toBeLessThan(TOLERANCE_MS * seen.stalls.length);
    const { session: row, states } = await demo.ask<SessionDetail>(`/api/sessions/${session}`);
    expect(row.rebuffer_count).toBe(seen.stalls.length);
    expect(states.map(({ state }) => state).slice(0, 3)).toEqual(['startup_waiting', 'playing', 'rebuffer']);
    expect([row.title_id, row.profile_id, row.outcome]).toEqual([watched, PROFILE, 'played']);
  });

  // The end of the view is learnt from, too: this is what has to stay.
  learnt = await until('the page has taken in everything', async () => {
    const [first] = [await demo.recommended(PROFILE), await new Promise((resolve) => setTimeout(resolve, 2_000))];
    return arrivals(first, await demo.recommended(PROFILE)).length === 0 && first;
  });
  expect(arrivals(alone, learnt).length).toBeGreaterThan(0);
}, 420_000);

test('what was learnt survives a kill and a stop', async () => {
  await demo.stop('SIGKILL');
  demo = await Demo.start(home);
  await until('the page is as it was before the kill', async () => arrivals(await demo.recommended(PROFILE), learnt).length === 0);
  expect(await demo.stop('SIGTERM'), 'its exit code').toBe(0);
  demo = await Demo.start(home, '--speed', String(SPEED));
  await inWindow(async (page) => {
    await page.goto(`/viewer?profile=${PROFILE}`);
    await page.locator(`[data-row=continue_watching] [data-title=${watched}]`).waitFor();
    expect(await shown(page)).toEqual(learnt);
    await page.goto(`/sessions/${session}`);
    await page.locator('[data-event=session_end]').waitFor();
  });
}, 180_000);

/** The first message of a stream: all minutes of the last hour. */
const followLive = (page: Page): Promise<LiveMessage> =>
  page.evaluate(
    () =>
      new Promise<LiveMessage>((resolve, reject) => {
        const source = new EventSource('/api/live/stream?minutes=60');
        source.addEventListener('error', () => reject(new Error('the stream ends')));
        source.addEventListener('live', (event) => {
          source.close();
          resolve(JSON.parse(event.data) as LiveMessage);
        });
      }),
  );

test('every figure on Live equals SQL over the lake for a closed window', async () => {
  await inWindow(async (page) => {
    await page.goto('/live?range=60&window=5&ended=20');
    // Closed: the five minutes that ended twenty minutes ago, and nobody who watched then still does. The first minutes
    // are passed over: hardly anybody has come.
    const closed = async (): Promise<SqlWindow | null> => {
      const { now_ms, complete_from_ms, minutes } = await followLive(page);
      const to = Math.floor(now_ms / MINUTE_MS - 20) * MINUTE_MS;
      const from = to - 5 * MINUTE_MS;
      const busy = minutes.filter((minute) => minute.from_ms >= from && minute.from_ms < to && minute.figures.attempts > 0);
      if (from < complete_from_ms || busy.length < 5) return null;
      const sql = await demo.ask<SqlWindow>(`/api/sql/window?from=${from}&to=${to}`);
      return sql.open_sessions === 0 ? sql : null;
    };
    const { window } = await until('a window is closed', closed, 150_000);

    // One minute after the other, as the charts have them: the message, the tables on the page and SQL.
    const live = await followLive(page);
    await openTables(page);
    const tables = await page.locator('.charts table').evaluateAll((tables) =>
      tables.map((table) => [...table.querySelectorAll('tbody tr')].map((row) => [...row.children].map((cell) => cell.textContent ?? ''))),
    );
    expect(tables.length).toBe(5);
    let attempts = 0;
    for (let from = window.from_ms; from < window.to_ms; from += MINUTE_MS) {
      const { figures } = await demo.ask<SqlWindow>(`/api/sql/window?from=${from}&to=${from + MINUTE_MS}`);
      const minute = live.minutes.find((minute) => minute.from_ms === from);
      if (!minute) throw new Error(`Live has nothing at ${new Date(from).toISOString()}, SQL has ${JSON.stringify(figures)}`);
      expect(minute.figures, new Date(from).toISOString()).toEqual(figures);
      expect(minute.viewers.reduce((sum, viewers) => sum + viewers, 0)).toBe(figures.viewer_slots);
      expect(Math.max(...minute.viewers)).toBe(figures.viewers_peak);
      attempts += figures.attempts;
      const time = await page.evaluate((ms) => new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' }).format(ms), from);
      const cells = tables.slice(1).map((rows) => rows.find(([at]) => at === time)?.slice(1));
      const short = (ms: number | null) => (ms === null ? '–' : `${(ms / 1000).toFixed(1)} s`);
      const share = (value: number | null) => (value === null ? '–' : percent(value, value < 0.1 ? 1 : 0));
      const resolved = resolvedAttempts(figures);
      expect(cells).toEqual([
        [short(figures.startup_p50_ms), short(figures.startup_p95_ms)],
        [share(figures.rebuffering_ratio)],
        [share(figures.start_failure_ratio), share(resolved > 0 ? (figures.playback_failures + figures.playback_failures_business) / resolved : null)],
        [share(figures.exit_before_start_ratio)],
      ]);
      const slots = (tables[0] ?? []).filter(([at]) => at?.startsWith(`${time}:`)).map(([, viewers]) => viewers);
      expect(slots).toEqual([...minute.viewers].reverse().map(count));
    }
    expect(attempts).toBeGreaterThan(20);

    // And as a whole, as the page compares it.
    const whole = await demo.ask<LiveWindow>(`/api/live/window?from=${window.from_ms}&to=${window.to_ms}`);
    const sql = await demo.ask<SqlWindow>(`/api/sql/window?from=${window.from_ms}&to=${window.to_ms}`);
    expect(whole.figures).toEqual(sql.figures);
    await checkCompared(page);
    await checkAccess(page, 'live, compared');
  });
}, 300_000);
