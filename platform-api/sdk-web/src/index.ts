// What a page imports.
export { dashJs, hlsJs, shakaError, shakaPlayer, type PlayerAdapter, type PlayerSink } from './players';
export { track, type Handle, type TrackOptions } from './track';
export type { PlayerError, Rendition, ViewContext } from './wire';
