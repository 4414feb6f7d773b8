// The wire: what one batch to `POST /v1/events` looks like (docs/events.md, docs/decisions/0007). Names are the contract's.

/** What is true of a whole session; what is unknown is left out. */
export interface ViewContext {
  session_id?: string;
  player_instance?: string;
  profile_id?: string;
  title_id?: string;
  device_type?: string;
  os?: string;
  player?: string;
  player_version?: string;
  app_version?: string;
  country?: string;
  region?: string;
  isp?: string;
  cdn?: string;
  protocol?: string;
  asset_id?: string;
  series_id?: string;
  city?: string;
  asn?: string;
  edge?: string;
  codec?: string;
  drm?: string;
  plan?: string;
  experiment_arm?: string;
  stream_type?: 'vod' | 'live' | 'low_latency_live';
}

export interface Rendition {
  representation_id: string;
  /** 0 when unknown. */
  bitrate_bps: number;
  /** Pixels; 0 when unknown. */
  width: number;
  height: number;
  codec?: string;
  cdn?: string;
}

export interface PlayerError {
  code: string;
  /** It ends playback. */
  fatal: boolean;
  /** No fault of the technology: no entitlement, too many streams. */
  business: boolean;
}

export interface Heartbeat {
  buffer_ms: number;
  throughput_bps: number;
  /** Since the last heartbeat. */
  dropped_frames: number;
  bitrate_bps?: number;
}

type Empty = Record<string, never>;

export type Payload =
  | { play_requested: { autoplay?: true } }
  | { first_frame: Empty }
  | { rebuffer_start: Empty }
  | { rebuffer_end: Empty }
  | { pause: Empty }
  | { resume: Empty }
  | { seek_start: Empty }
  | { seek_end: Empty }
  | { rendition: Rendition }
  | { ad_break_start: Empty }
  | { ad_start: { ad_id: string } }
  | { ad_end: Empty }
  | { ad_break_end: Empty }
  | { error: PlayerError }
  | { heartbeat: Heartbeat }
  | { background: Empty }
  | { foreground: Empty }
  | { playback_rate: { rate_per_mille: number } }
  | { viewport: { width: number; height: number } }
  | { session_end: { reason: string } };

/** `event_id` is left out: the sequence number is identity enough. */
export type ViewEvent = { sequence: number; event_time_ms: number; media_time_ms?: number } & Payload;

export interface Batch {
  context: ViewContext;
  sent_at_ms: number;
  events: ViewEvent[];
}

/** The name of an event's payload. */
export function kindOf(event: ViewEvent): string {
  return Object.keys(event).find((key) => !/^(sequence|(event|media)_time_ms)$/.test(key)) ?? '';
}
