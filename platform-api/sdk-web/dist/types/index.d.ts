export { dashJs, hlsJs, shakaError, shakaPlayer, type PlayerAdapter, type PlayerSink } from './players';
export { track, type Handle, type TrackOptions } from './track';
export type { Fate } from './outbox';
export { kindOf, type PlayerError, type Rendition, type ViewContext, type ViewEvent } from './wire';
