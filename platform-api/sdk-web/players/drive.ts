// Plays scenarios in Chromium, a few pages at a time, and brings back what was seen of each.
import { existsSync } from 'node:fs';
import { type Browser, type Page, type Request, chromium } from 'playwright-core';
import type { Observed } from './observer';
import type { Setup } from './page';
import { PLAYER_FILES } from './pages';
import { PLAYERS, SCENARIOS, type Scenario } from './scenarios';
import { type Held, Run, type StreamServer } from './server';

const CHROMIUM = process.env['CHROMIUM'] ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync);

/** More, and pictures come late on two cores. */
const PAGES_AT_ONCE = 6;

/** The longest scenario takes 20 s. */
const RUN_TIMEOUT_MS = 40_000;

/** A collector on busy cores answers within so long. */
const LAST_WORDS_MS = 10_000;

/** What CMCD players are asked to report, as docs/cmcd.md asks integrators to. */
export const EVENTS = ['ps', 'e', 't', 'b', 'bc', 'pr', 'as', 'ae', 'abs', 'abe', 'm', 'um', 'pe', 'pc', 'c', 'sk', 'ce'];

export interface Outcome {
  run: Run;
  observed: Observed | null;
  /** From the play request to the closed tab, if the tab was closed (ms). */
  leftAfterMs: number | null;
  held: Held[];
  sdkSession: string;
  cmcdSession: string;
  complaints: string[];
}

export interface Plan {
  streams: StreamServer;
  collectorUrl: string;
  /** Only those whose `player/scenario` contains it. */
  filter?: string;
  /** Learns each player's version. */
  onVersion?: (player: string, version: string) => void;
  /** Which events a scenario's CMCD reports, and how many go together. */
  cmcd?: (scenario: string) => { events: string[]; batchSize: number };
}

export async function playAll(plan: Plan): Promise<Outcome[]> {
  if (!CHROMIUM) throw new Error('Chromium is missing: apt-get install chromium, or set CHROMIUM');
  const runs = SCENARIOS.flatMap((scenario) => PLAYERS.filter((player) => player !== 'shaka.min' || scenario.withMinified).map((player) => new Run(`${player}-${scenario.name}`, player, scenario)))
    .filter(({ id }) => id.includes(plan.filter ?? ''))
    .sort((a, b) => lengthOf(b) - lengthOf(a));
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--mute-audio', '--autoplay-policy=no-user-gesture-required'],
  });
  const waiting = [...runs];
  const outcomes: Outcome[] = [];
  // A page that loads its player costs others their pictures: they start one after the other.
  let lastStart: Promise<void> = Promise.resolve();
  const inTurn = (start: () => Promise<void>): Promise<void> => {
    const next = lastStart.then(start);
    lastStart = next.catch(() => undefined);
    return next;
  };
  const work = async (): Promise<void> => {
    for (let run = waiting.shift(); run; run = waiting.shift()) outcomes.push(await playOne(browser, run, plan, inTurn));
  };
  try {
    await Promise.all(Array.from({ length: PAGES_AT_ONCE }, work));
  } finally {
    await browser.close();
  }
  return runs.map((run) => outcomes.find((outcome) => outcome.run === run)).filter((outcome) => outcome !== undefined);
}

/** The long ones come first, so that none of them is left alone at the end; before them those whose tab closes, because
 *  their browser context has to stay until their last words are out. */
const lengthOf = ({ scenario }: Run): number =>
  leaves(scenario) ? Number.POSITIVE_INFINITY : Math.max(0, ...scenario.steps.map(({ at, afterMs }) => at ?? (afterMs ?? 0) / 1000)) + scenario.rules.length;

const leaves = ({ steps }: Scenario): boolean => steps.some(({ does }) => does === 'leave');

async function playOne(browser: Browser, run: Run, plan: Plan, inTurn: (start: () => Promise<void>) => Promise<void>): Promise<Outcome> {
  const { scenario } = run;
  plan.streams.add(run);
  const context = await browser.newContext({ viewport: { width: 500, height: 300 } });
  const complaints: string[] = [];
  const page = await context.newPage();
  const posts = new Posts(page, plan.collectorUrl);
  page.on('console', (message) => {
    if (message.text().startsWith('sdk: ')) complaints.push(message.text());
  });
  page.on('crash', () => complaints.push('the page has crashed'));
  page.on('pageerror', (error) => complaints.push(String(error)));
  try {
    const names = { sdkSession: `${run.id}-sdk`, cmcdSession: `${run.id}-cmcd` };
    // One that does not come to its end is a finding, and the others go on.
    await inTurn(() => startOne(page, run, plan, names)).catch((error: unknown) => void complaints.push(String(error)));
    let leftAfterMs: number | null = null;
    if (leaves(scenario)) {
      await run.told('leave', RUN_TIMEOUT_MS);
      const observed = await page.evaluate(() => window.observed() ?? null);
      leftAfterMs = await page.evaluate((from) => performance.now() - from, observed?.requestedMs ?? 0);
      await page.close({ runBeforeUnload: true });
      return { run, observed, leftAfterMs, held: run.held, ...names, complaints };
    }
    if (scenario.steps.some(({ does }) => does === 'hide')) await hide(page, run);
    await run.told('over', RUN_TIMEOUT_MS).catch((error: unknown) => void complaints.push(String(error)));
    const observed = await page.evaluate(() => window.observed() ?? null).catch((error: unknown) => {
      complaints.push(String(error));
      return null;
    });
    await posts.areDone(LAST_WORDS_MS).catch((error: unknown) => void complaints.push(String(error)));
    return { run, observed, leftAfterMs, held: run.held, ...names, complaints };
  } finally {
    if (!leaves(scenario)) await context.close();
  }
}

/** Loads the page and its player, and plays until startup is over. */
async function startOne(page: Page, run: Run, plan: Plan, names: { sdkSession: string; cmcdSession: string }): Promise<void> {
  const { scenario, player } = run;
  const folder = `${plan.streams.url}/page/${run.id}`;
  await page.goto(`${folder}/page.html`);
  await page.addScriptTag({ url: `${folder}/${PLAYER_FILES[player].name}` });
  const version = await page.evaluate((name) => {
    const all = globalThis as unknown as { Hls: { version: string }; dashjs: { Version: string }; shaka: { Player: { version: string } } };
    return name === 'hls.js' ? all.Hls.version : name === 'dash.js' ? all.dashjs.Version : all.shaka.Player.version;
  }, player);
  plan.onVersion?.(player, version);
  const query = new URLSearchParams({
    player, player_version: version, device_type: 'desktop', title_id: scenario.name, profile_id: 'p1', app_version: '1.0',
  });
  const { events, batchSize } = plan.cmcd?.(scenario.name) ?? { events: EVENTS, batchSize: 1 };
  const setup: Setup = { runId: run.id, player, scenario, endpoint: plan.collectorUrl, cmcdUrl: `${plan.collectorUrl}/v1/cmcd?${query}`, batchSize, events, ...names };
  await page.evaluate((given) => window.start(given), setup);
  // Where nothing is to be seen nobody has to keep still.
  if (scenario.expected.outcome === 'played') await run.told('settled', RUN_TIMEOUT_MS);
}

/** What a page posts to the collector. Its browser context may not go before the SDK's last event and what the player has
 *  under way have been answered: with it go its connections. */
class Posts {
  private readonly underWay = new Set<Request>();
  private hasLastEvent = false;
  private whenDone = (): void => undefined;

  constructor(page: Page, collectorUrl: string) {
    page.on('request', (request) => void (request.url().startsWith(collectorUrl) && this.underWay.add(request)));
    for (const name of ['requestfinished', 'requestfailed'] as const) {
      page.on(name as 'requestfinished', (request) => {
        if (!this.underWay.delete(request)) return;
        if (name === 'requestfinished' && /"session_end"|"fatal":true/.test(request.postData() ?? '')) this.hasLastEvent = true;
        this.whenDone();
      });
    }
  }

  areDone(timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the last words have no answer: ${this.underWay.size} requests under way`)), timeoutMs);
      this.whenDone = () => {
        if (!this.hasLastEvent || this.underWay.size > 0) return;
        clearTimeout(timer);
        resolve();
      };
      this.whenDone();
    });
  }
}

/** Has the page hidden and shown when its scenario says. */
async function hide(page: Page, run: Run): Promise<void> {
  await run.told('hide', RUN_TIMEOUT_MS);
  await setHidden(page, true);
  await run.told('show', RUN_TIMEOUT_MS);
  await setHidden(page, false);
}

/** Headless Chromium has no window that could be covered, and Playwright keeps every page in focus: the page is told by
 *  the two properties and the event that players and the SDK look at. */
async function setHidden(page: Page, isHidden: boolean): Promise<void> {
  await page.evaluate((hidden) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
    Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => (hidden ? 'hidden' : 'visible') });
    document.dispatchEvent(new Event('visibilitychange'));
  }, isHidden);
}
