// Numbers and times as people read them. What is unknown is a dash, never a zero.

export const UNKNOWN = '–';

const integers = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? UNKNOWN : integers.format(value);
}

/** A ratio from 0 to 1 as a percentage. */
export function percent(ratio: number | null | undefined, digits = 2): string {
  return ratio === null || ratio === undefined ? UNKNOWN : `${(100 * ratio).toFixed(digits)} %`;
}

/** A short time, such as a startup. */
export function seconds(ms: number | null | undefined): string {
  return ms === null || ms === undefined ? UNKNOWN : `${(ms / 1000).toFixed(2)} s`;
}

/** A time of any length. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return UNKNOWN;
  if (Math.abs(ms) < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const total = Math.round(ms / 1000);
  const [hours, minutes, rest] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  const two = (value: number) => String(value).padStart(2, '0');
  return hours > 0 ? `${hours} h ${two(minutes)} min` : `${minutes} min ${two(rest)} s`;
}

export function bitrate(kbps: number | null | undefined): string {
  if (kbps === null || kbps === undefined) return UNKNOWN;
  return kbps >= 1000 ? `${(kbps / 1000).toFixed(1)} Mbit/s` : `${Math.round(kbps)} kbit/s`;
}

const clockTimes = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const minuteTimes = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const days = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });

export const clockTime = (ms: number): string => clockTimes.format(ms);
export const minuteTime = (ms: number): string => minuteTimes.format(ms);
export const day = (ms: number): string => days.format(ms);

/** A day only when it is not today's. */
export function when(ms: number, nowMs: number): string {
  return day(ms) === day(nowMs) ? clockTime(ms) : `${day(ms)}, ${clockTime(ms)}`;
}

/** For whom a children's profile's titles are made. */
export const ages = (maxAge: number): string => (maxAge === 0 ? 'for all ages' : `up to ${maxAge}`);

/** A wire name as words: `exit_before_start` → `exit before start`. */
export const words = (name: string): string => name.replaceAll('_', ' ');

export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
