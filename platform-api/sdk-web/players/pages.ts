// Puts the pages' files together: page.ts as one module, and the players as their packages bring them.
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import type { PlayerName } from './scenarios';

/** What a page of each player loads, and where it is in node_modules. */
export const PLAYER_FILES: Record<PlayerName, { name: string; path: string }> = {
  'hls.js': { name: 'hls.js', path: 'hls.js/dist/hls.min.js' },
  'dash.js': { name: 'dash.js', path: 'dashjs/dist/modern/umd/dash.all.min.js' },
  shaka: { name: 'shaka.js', path: 'shaka-player/dist/shaka-player.compiled.debug.js' },
  'shaka.min': { name: 'shaka.min.js', path: 'shaka-player/dist/shaka-player.compiled.js' },
};

export async function makePages(root: string, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const { name, path } of Object.values(PLAYER_FILES)) copyFileSync(join(root, 'node_modules', path), join(folder, name));
  copyFileSync(join(root, 'players/page.html'), join(folder, 'page.html'));
  await build({ entryPoints: [join(root, 'players/page.ts')], outfile: join(folder, 'page.js'), bundle: true, format: 'esm', target: 'es2022' });
}
