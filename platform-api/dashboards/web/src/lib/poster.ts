// A poster out of a title's id: the same id always gives the same picture, and no picture is ever fetched.

export interface PosterArt {
  /** Ground, from top to bottom; dark enough for white text (contrast ≥ 4.5 : 1). */
  from: string;
  to: string;
  /** Of the motif. */
  light: string;
  motif: 'sun' | 'hills' | 'bars' | 'rings' | 'window' | 'road' | 'moon' | 'leaves';
  /** From 0 to 1, for sizes and places of the motif. */
  a: number;
  b: number;
}

const MOTIFS: PosterArt['motif'][] = ['sun', 'hills', 'bars', 'rings', 'window', 'road', 'moon', 'leaves'];

/** From, to, light: chosen by eye, checked by a test. */
const PALETTES = [
  ['#1b2a49', '#3d5a80', '#f2c14e'],
  ['#2d1e2f', '#7a3b4e', '#f4a259'],
  ['#0f3d3e', '#2a6f6b', '#f0e5c9'],
  ['#3a2618', '#8a4b2a', '#f6d186'],
  ['#22223b', '#4a4e69', '#e0b9b0'],
  ['#1d3557', '#3f7291', '#f1d9a7'],
  ['#2b2d42', '#8d3b4a', '#edf2f4'],
  ['#14281d', '#355834', '#d8e2a0'],
  ['#31263e', '#6b4e8a', '#f2b5d4'],
  ['#1a1423', '#684756', '#f7c59f'],
  ['#0b3954', '#2a6f97', '#ff9f7c'],
  ['#402218', '#865439', '#ffd7a8'],
] as const;

export function posterArt(titleId: string): PosterArt {
  const hash = fnv1a(titleId);
  const roll = (number: number): number => scramble(hash ^ Math.imul(number, 0x9e3779b9));
  const part = (number: number): number => (roll(number) % 1000) / 1000;
  const [from, to, light] = PALETTES[roll(1) % PALETTES.length] ?? PALETTES[0];
  return { from, to, light, motif: MOTIFS[roll(2) % MOTIFS.length] ?? 'sun', a: part(3), b: part(4) };
}

/** A title in lines of at most `width` characters; what does not fit into `most` lines ends in an ellipsis. */
export function wrap(text: string, width: number, most: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/)) {
    const longer = line ? `${line} ${word}` : word;
    if (longer.length <= width || !line) {
      line = longer;
      continue;
    }
    lines.push(line);
    line = word;
  }
  if (line) lines.push(line);
  const shown = lines.slice(0, most).map((text) => (text.length > width + 2 ? `${text.slice(0, width)}…` : text));
  if (lines.length > most) shown[most - 1] = `${shown[most - 1]?.replace(/…$/, '')}…`;
  return shown;
}

/** FNV-1a, 32 bits. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const char of text) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  return hash;
}

/** The finaliser of MurmurHash3: neighbours get far apart. */
function scramble(value: number): number {
  let hash = value >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35) >>> 0;
  return (hash ^ (hash >>> 16)) >>> 0;
}
