// The unit tests need no browser; the players' scenarios (players/) have a runner of their own.
import { defineConfig } from 'vitest/config';

export default defineConfig({ test: { include: ['tests/**/*.test.ts'], testTimeout: 20_000 } });
