// Puts the pages' files together: page.ts as one module, and the players as their packages bring them.
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const PLAYER_FILES = {
  'hls.js': 'hls.js/dist/hls.min.js',
  'dash.js': 'dashjs/dist/modern/umd/dash.all.min.js',
  // The release builds rename `sta` (Closure Compiler), and so never report a state: 5.2.12, docs/cmcd.md.
  'shaka.js': 'shaka-player/dist/shaka-player.compiled.debug.js',
};

export async function makePages(root: string, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const [name, file] of Object.entries(PLAYER_FILES)) copyFileSync(join(root, 'node_modules', file), join(folder, name));
  copyFileSync(join(root, 'players/page.html'), join(folder, 'page.html'));
  await build({ entryPoints: [join(root, 'players/page.ts')], outfile: join(folder, 'page.js'), bundle: true, format: 'esm', target: 'es2022' });
}
