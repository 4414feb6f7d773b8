// Builds the package: one minified ES module and its types. `node build.mjs [FOLDER]`; fails when the module outgrows what
// a page should pay for being measured.
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** A page's budget (bytes, gzip -9). */
const MAX_GZIP_BYTES = 6_000;

const folder = process.argv[2] ?? 'dist';
const bundle = join(folder, 'view-events.js');

rmSync(folder, { recursive: true, force: true });
await build({
  entryPoints: ['src/index.ts'],
  outfile: bundle,
  bundle: true,
  format: 'esm',
  minify: true,
  target: 'es2020',
  legalComments: 'none',
  banner: { js: '// @marquee/view-events, Apache-2.0. Written by build.mjs.' },
});
execFileSync('npx', ['tsc', '--project', 'tsconfig.build.json', '--outDir', join(folder, 'types')], { stdio: 'inherit' });

const bytes = gzipSync(readFileSync(bundle), { level: 9 }).length;
console.error(`${bundle}: ${bytes} bytes gzipped, at most ${MAX_GZIP_BYTES}`);
if (bytes > MAX_GZIP_BYTES) process.exit(1);
