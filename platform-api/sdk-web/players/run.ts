// Plays every scenario with every player against a real Marquee, and compares its sessions with what happened:
//   run.mjs ROOT STREAM BINARY [--write FILE] [--keep FILE] [--only sdk|cmcd] [--filter TEXT]
// Run it through scripts/players.sh, which makes the stream and builds the binary. Exits with 1 when anything differs.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { SOURCES, compare, disagreements, largestDifferences, outlived } from './compare';
import { writeDocument } from './document';
import { playAll } from './drive';
import { Marquee } from './marquee';
import { makePages } from './pages';
import { serveStreams } from './server';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { write: { type: 'string' }, keep: { type: 'string' }, only: { type: 'string' }, filter: { type: 'string', default: '' } },
});
const [root = '.', stream = '', binary = ''] = positionals;
const sources = SOURCES.filter((source) => (values.only ?? source) === source);

const folder = mkdtempSync(join(tmpdir(), 'players-'));
let exitCode = 1;
let marquee: Marquee | undefined;
try {
  const pages = join(folder, 'pages');
  await makePages(root, pages);
  const streams = await serveStreams({ stream, pages });
  marquee = await Marquee.start(binary, join(folder, 'home'), streams.url);
  const versions = new Map<string, string>();
  const outcomes = await playAll({ streams, collectorUrl: marquee.collectorUrl, filter: values.filter, onVersion: (player, version) => versions.set(player, version) });
  streams.close();
  await marquee.stop();
  const sessions = await marquee.sessions();
  const { checked, problems } = compare(outcomes, sessions, sources);
  problems.push(...disagreements(checked), ...outlived(checked));
  const dead = await marquee.deadLetters();
  problems.push(...dead.map(({ reason, events }) => `${events} dead letters: ${reason}`));
  for (const line of largestDifferences(checked)) console.error(`        ${line}`);
  for (const problem of problems) console.error(`        ${problem}`);
  console.error(`        ${outcomes.length} runs, ${checked.length} values compared, ${problems.length} problems`);
  if (values.keep) writeFileSync(values.keep, JSON.stringify({ outcomes, sessions }, null, 1));
  if (values.write) writeDocument(values.write, checked, versions);
  exitCode = problems.length > 0 ? 1 : 0;
} finally {
  marquee?.kill();
  rmSync(folder, { recursive: true, force: true });
}
process.exit(exitCode);
