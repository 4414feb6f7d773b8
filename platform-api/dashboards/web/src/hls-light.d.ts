// hls.js ships types for its full build only; the light one (no DRM, no subtitles) has the same names.
declare module 'hls.js/light' {
  export * from 'hls.js';
  export { default } from 'hls.js';
}
