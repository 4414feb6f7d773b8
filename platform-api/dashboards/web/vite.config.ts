// The build: names without hashes, so that a rebuild changes only what changed (the server tells browsers by ETag), and
// nothing inline, because the content security policy refuses it.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

const FOLDER = import.meta.dirname ?? dirname(new URL(import.meta.url).pathname);

/** The package for web players, from its sources: nothing of it has to be built or installed first. */
const SDK = join(FOLDER, '../../sdk-web/src');

/** What ends up in the bundle, each with the file that holds its licence. */
const BUNDLED = [
  ['svelte', 'LICENSE.md'],
  ['uplot', 'LICENSE'],
  ['hls.js', 'LICENSE'],
  ['@fontsource-variable/inter', 'LICENSE'],
  ['@fontsource-variable/source-serif-4', 'LICENSE'],
] as const;

/** Writes the licences of what is bundled beside it. */
function licences(): Plugin {
  const require = createRequire(import.meta.url);
  return {
    name: 'licences',
    generateBundle() {
      const texts = BUNDLED.map(([name, file]) => {
        const folder = join(FOLDER, 'node_modules', name);
        const { version } = require(join(folder, 'package.json')) as { version: string };
        return `${name} ${version}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`;
      });
      this.emitFile({ type: 'asset', fileName: 'licences.txt', source: texts.join(`\n${'-'.repeat(80)}\n\n`) });
    },
  };
}

export default defineConfig({
  resolve: { alias: { '@marquee/view-events': join(SDK, 'index.ts') } },
  plugins: [svelte(), licences()],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    rollupOptions: {
      output: {
        entryFileNames: 'assets/app.js',
        chunkFileNames: 'assets/[name].js',
        assetFileNames: 'assets/[name][extname]',
        manualChunks: { hls: ['hls.js/light'] },
      },
    },
  },
  server: { fs: { allow: [FOLDER, SDK] }, proxy: { '/api': 'http://127.0.0.1:8090', '/media': 'http://127.0.0.1:8090' } },
  test: {
    include: ['tests/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    fileParallelism: false,
  },
});
