// Writes what each player posts as CMCD, word for word, to a folder: `<player>-<scenario>.txt`. A recorder stands in for the
// collector. For whoever works on the CMCD decoder: run through `scripts/players.sh raw FOLDER [FILTER]`.
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EVENTS, playAll } from './drive';
import { makePages } from './pages';
import { record } from './recorder';
import { serveStreams } from './server';

const [root = '.', stream = '', folder = '', filter = ''] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const pages = mkdtempSync(join(tmpdir(), 'players-pages-'));
await makePages(root, pages);
const streams = await serveStreams({ stream, pages });
const recorder = await record();
const outcomes = await playAll({
  streams,
  collectorUrl: recorder.url,
  filter,
  // One scenario with everything that can be asked for, one with batches.
  cmcd: (scenario) => ({ events: scenario === 'clean' ? [...EVENTS, 'rr'] : EVENTS, batchSize: scenario === 'two_stalls' ? 4 : 1 }),
});
for (const { run, observed, held, complaints, leftAfterMs } of outcomes) {
  const cmcd = recorder.posted.filter(({ path, body }) => path === '/v1/cmcd' && body.includes(`sid="${run.id}-cmcd"`));
  const sdk = recorder.posted.filter(({ path, body }) => path === '/v1/events' && body.includes(`"${run.id}-sdk"`));
  const lines = cmcd.map(({ contentType, query, body }) => `# POST /v1/cmcd?${query} ${contentType}\n${body}`);
  writeFileSync(join(folder, `${run.id}.txt`), lines.join(''));
  writeFileSync(join(folder, `${run.id}.sdk.json`), sdk.map(({ body }) => body).join('\n'));
  writeFileSync(join(folder, `${run.id}.truth.json`), JSON.stringify({ observed, held, refused: run.refused, notes: run.notes, leftAfterMs, complaints }, null, 1));
  console.log(run.id, cmcd.length, sdk.length, complaints.join(' | '));
}
streams.close();
recorder.close();
