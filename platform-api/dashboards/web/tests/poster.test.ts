// Posters are the same for ever and their names can be read.
import { expect, test } from 'vitest';
import { posterArt, wrap } from '../src/lib/poster';

/** Relative luminance of `#rrggbb` (WCAG 2.2). */
function luminance(color: string): number {
  const channel = (at: number) => {
    const value = Number.parseInt(color.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5);
}

test('white stands out from every ground', () => {
  for (let number = 0; number < 3_000; number += 1) {
    const art = posterArt(`title-${number}`);
    for (const ground of [art.from, art.to]) expect(1.05 / (luminance(ground) + 0.05), ground).toBeGreaterThan(4.5);
  }
});

test('a title keeps its poster, and neighbours differ', () => {
  expect(posterArt('ml-1')).toEqual(posterArt('ml-1'));
  const motifs = new Set(Array.from({ length: 80 }, (_, number) => posterArt(`ml-${number}`).motif));
  expect(motifs.size).toBe(8);
});

test('names are wrapped at words and cut at last', () => {
  expect(wrap('The Quiet Harbour', 11, 4)).toEqual(['The Quiet', 'Harbour']);
  expect(wrap('a b c d e f', 3, 2)).toEqual(['a b', 'c d…']);
  expect(wrap('Donaudampfschifffahrt', 11, 4)).toEqual(['Donaudampfs…']);
});
