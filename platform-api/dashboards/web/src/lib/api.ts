// What the server says, as types, and how it is asked. The names are the server's (platform-api/dashboards/src/routes).

export interface Config {
  version: string;
  collector_url: string;
  now_ms: number;
  clock_speed: number;
  media: { manifest: string | null; problem: string | null };
}

export interface Figures {
  /** Those that have no outcome yet included: no ratio divides by them. */
  attempts: number;
  starts: number;
  startups: number;
  startup_ms: number;
  startup_average_ms: number | null;
  startup_p50_ms: number | null;
  startup_p95_ms: number | null;
  start_failures: number;
  start_failures_business: number;
  start_failure_ratio: number | null;
  exits_before_start: number;
  exit_before_start_ratio: number | null;
  playback_failures: number;
  playback_failures_business: number;
  playing_ms: number;
  rebuffer_ms: number;
  rebuffering_ratio: number | null;
  viewers_peak: number;
  viewer_slots: number;
}

/** Attempts with an outcome: what rates divide by (docs/qoe.md, section 4). */
export function resolvedAttempts(figures: Figures): number {
  return figures.starts + figures.start_failures + figures.start_failures_business + figures.exits_before_start;
}

export interface LiveMinute {
  from_ms: number;
  figures: Figures;
  viewers: number[];
}

export interface LiveMessage {
  reset: boolean;
  now_ms: number;
  as_of_ms: number | null;
  complete_from_ms: number;
  epochs: { topic: string; partition: number; epoch: number }[];
  viewers: { at_ms: number; count: number };
  recent: { from_ms: number; to_ms: number; figures: Figures };
  minutes: LiveMinute[];
}

export interface WindowSpan {
  from_ms: number;
  to_ms: number;
}

export interface LiveWindow {
  window: WindowSpan;
  figures: Figures;
  as_of_ms: number | null;
}

export interface SqlWindow {
  window: WindowSpan;
  sessions: number;
  open_sessions: number;
  figures: Figures;
  sql: string;
}

export type Outcome =
  | 'played'
  | 'start_failure'
  | 'exit_before_start'
  | 'playback_failure'
  | 'pending'
  | 'unknown';

export interface SessionRow {
  session_id: string;
  player_instance: string;
  profile_id?: string;
  title_id?: string;
  device_type?: string;
  country?: string;
  cdn?: string;
  outcome: Outcome;
  is_final: boolean;
  started_at_ms: number;
  ended_at_ms: number;
  startup_ms?: number;
  playing_ms: number;
  rebuffer_ms: number;
  rebuffer_count: number;
  avg_bitrate_kbps?: number;
  error_code?: string;
}

export interface Facet {
  value: string | null;
  sessions: number;
}

export interface SessionList {
  sessions: SessionRow[];
  next: string | null;
  facets: Record<'outcome' | 'device_type' | 'country' | 'cdn', Facet[]>;
  title_names: Record<string, string>;
}

export interface Span {
  state: string;
  from_ms: number;
  to_ms: number;
}

/** A raw event; the fields of its kind are there, others are not. */
export interface RawEvent {
  sequence: number;
  type: string;
  time_ms: number;
  received_at_ms: number;
  clock_shift_ms: number;
  partition: number;
  offset: number;
  index: number;
  is_late: boolean;
  media_time_ms?: number;
  representation_id?: string;
  bitrate_bps?: number;
  height_px?: number;
  buffer_ms?: number;
  throughput_bps?: number;
  dropped_frames?: number;
  detail?: string;
  fatal?: boolean;
  business?: boolean;
}

export interface SessionDetail {
  session: SessionRow & Record<string, string | number | boolean | undefined>;
  player_instances: string[];
  events: RawEvent[];
  truncated: boolean;
  states: Span[];
  title_names: Record<string, string>;
}

export interface Profile {
  profile_id: string;
  display_name: string;
  max_age: number;
  country: string;
}

export interface Item {
  title_id: string;
  name: string;
  year: number;
  genres: string[];
  score: number;
  reason: { source: string; because_title_id: string; text: string };
  tracking_token: string;
  watched_fraction?: number;
}

export interface Row {
  row_id: string;
  kind: string;
  heading: string;
  items: Item[];
}

export interface HomePage {
  served: {
    request_id: string;
    profile_id: string;
    model_version: string;
    as_of_ms: number;
    degraded: string[];
    experiment_arms: Record<string, string>;
  };
  rows: Row[];
}

/** Why a request was not answered, in the server's words. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** Asks the server. Throws an {@link ApiError}; an aborted request throws what `fetch` throws. */
export async function ask<T>(path: string, signal?: AbortSignal): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { signal: signal ?? null, headers: { accept: 'application/json' } });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, 'Marquee does not answer. Is it still running?');
  }
  if (response.ok) return (await response.json()) as T;
  const body = (await response.json().catch(() => null)) as { error?: { problem?: string } } | null;
  throw new ApiError(response.status, body?.error?.problem ?? `the server answered ${response.status}`);
}

/** A query string of what is not empty, with its `?`. */
export function queryOf(values: Record<string, string | number | boolean | null | undefined>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== '' && value !== null && value !== undefined && value !== false) query.set(name, String(value));
  }
  const text = query.toString();
  return text ? `?${text}` : '';
}

export function problemOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
