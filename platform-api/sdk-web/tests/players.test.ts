// The adapters, against what hls.js, dash.js and Shaka Player emit.
import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { dashJs, hlsJs, shakaPlayer } from '../src';
import { type FakePage, FakeVideo, fakePage, follow, restorePage, sent } from './fakes';

let page: FakePage;
let video: FakeVideo;
beforeEach(() => {
  page = fakePage();
  video = new FakeVideo();
});
afterEach(restorePage);

const payloads = async (kind: string): Promise<unknown[]> => {
  await vi.advanceTimersByTimeAsync(10_000);
  return sent(page).flatMap((event) => (kind in event ? [(event as unknown as Record<string, unknown>)[kind]] : []));
};

test('hls.js', async () => {
  class Hls extends EventEmitter {
    static readonly version = '1.7.4';
    bandwidthEstimate = 5_000_000.4;
    levels = [
      { bitrate: 300_000, width: 320, height: 180, videoCodec: 'avc1', attrs: {}, pathwayId: '.' },
      { bitrate: 900_000, width: 640, height: 360, videoCodec: 'avc1', attrs: { 'STABLE-VARIANT-ID': 'mid' }, pathwayId: 'east' },
    ];
  }
  const hls = new Hls();
  const handle = follow(video, { player: hlsJs(hls) });
  hls.emit('hlsLevelSwitched', 'hlsLevelSwitched', { level: 0 }); // preloaded: told when play is asked for
  handle.playRequested();
  hls.emit('hlsFragLoaded', 'hlsFragLoaded', { frag: { type: 'main', url: 'https://cdn.example.com/1.m4s' } });
  hls.emit('hlsLevelSwitched', 'hlsLevelSwitched', { level: 1 });
  hls.emit('hlsError', 'hlsError', { details: 'bufferStalledError', fatal: false });
  hls.emit('hlsError', 'hlsError', { details: 'fragLoadError', fatal: false, response: { code: 404 } });
  hls.emit('hlsError', 'hlsError', { type: 'x', details: 'fragLoadError', fatal: true, response: { code: 404 } });
  expect(await payloads('rendition')).toEqual([
    { representation_id: '180p_300000', bitrate_bps: 300_000, width: 320, height: 180, codec: 'avc1', cdn: '' },
    { representation_id: 'mid', bitrate_bps: 900_000, width: 640, height: 360, codec: 'avc1', cdn: 'east' },
  ]);
  expect(await payloads('error')).toEqual([
    { code: 'fragLoadError_404', fatal: false, business: false },
    { code: 'fragLoadError_404', fatal: true, business: false },
  ]);
  expect(page.bodies[0]?.context).toMatchObject({ player: 'hls.js', player_version: '1.7.4', protocol: 'hls' });
  handle.detach();
  expect(hls.eventNames()).toEqual([]);
});

test('a player may come after the play request, and another in its place', async () => {
  class Hls extends EventEmitter {
    bandwidthEstimate = 0;
    levels = [{ bitrate: 300_000, width: 320, height: 180, attrs: {} }];
  }
  const [first, second] = [new Hls(), new Hls()];
  const handle = follow(video);
  handle.playRequested();
  handle.attachPlayer(hlsJs(first));
  first.emit('hlsLevelSwitched', 'hlsLevelSwitched', { level: 0 });
  handle.attachPlayer(hlsJs(second));
  expect(first.eventNames()).toEqual([]);
  second.emit('hlsError', 'hlsError', { details: 'fragLoadError', fatal: false });
  expect(await payloads('rendition')).toHaveLength(1);
  expect(await payloads('error')).toHaveLength(1);
  handle.detach();
  expect(second.eventNames()).toEqual([]);
});

test('a page that recovers from what hls.js calls fatal says so', async () => {
  class Hls extends EventEmitter {
    bandwidthEstimate = 5_000_000.4;
    levels = [];
  }
  const hls = new Hls();
  follow(video, { player: hlsJs(hls), classifyError: (error) => ({ ...error, fatal: false }) });
  video.play();
  hls.emit('hlsError', 'hlsError', { details: 'bufferAppendError', fatal: true });
  expect(await payloads('error')).toEqual([{ code: 'bufferAppendError', fatal: false, business: false }]);
  expect(await payloads('heartbeat')).toContainEqual(expect.objectContaining({ throughput_bps: 5_000_000 }));
});

test('dash.js', async () => {
  class Dash extends EventEmitter {
    getVersion = () => '5.2.1';
    getAverageThroughput = () => 4_000;
  }
  const player = new Dash();
  const handle = follow(video, { player: dashJs(player) });
  video.play();
  const newRepresentation = { id: 'v1', bandwidth: 900_000, width: 640, height: 360, codecs: 'avc1' };
  player.emit('fragmentLoadingCompleted', { request: { mediaType: 'video', serviceLocation: 'https://cdn.example.com/a/', url: 'https://cdn.example.com/a/1.m4s' } });
  player.emit('qualityChangeRendered', { mediaType: 'audio', newRepresentation: { id: 'a1' } });
  player.emit('qualityChangeRendered', { mediaType: 'video', newRepresentation });
  player.emit('error', { error: { code: 27, data: { response: { status: 404 } } } });
  player.emit('error', { error: { code: 25 } });
  expect(await payloads('rendition')).toEqual([
    { representation_id: 'v1', bitrate_bps: 900_000, width: 640, height: 360, codec: 'avc1', cdn: 'cdn.example.com' },
  ]);
  expect(await payloads('error')).toEqual([
    { code: 'dash_27_404', fatal: false, business: false },
    { code: 'dash_25', fatal: true, business: false },
  ]);
  handle.detach();
  expect(player.eventNames()).toEqual([]);
});

test('Shaka Player', async () => {
  class Shaka extends EventTarget {
    static readonly version = 'v5.2.12';
    tracks = [{ active: true, originalVideoId: 'v1', bandwidth: 900_000, width: 640, height: 360, videoCodec: 'avc1' }];
    getVariantTracks = () => this.tracks;
    getAssetUri = () => 'https://east.example.com/main.mpd';
    getStats = () => ({ estimatedBandwidth: 4_000_000 });
  }
  const player = new Shaka();
  const handle = follow(video, { player: shakaPlayer(player) });
  const says = (name: string, detail: unknown = undefined) => player.dispatchEvent(Object.assign(new Event(name), { detail }));
  video.play();
  says('adaptation');
  says('variantchanged'); // the same again
  says('error', { severity: 1, code: 1001, data: ['http://x', 404] });
  says('error', { severity: 2, code: 3016, data: [] });
  expect(await payloads('rendition')).toEqual([
    { representation_id: 'v1', bitrate_bps: 900_000, width: 640, height: 360, codec: 'avc1', cdn: 'east.example.com' },
  ]);
  expect(await payloads('error')).toEqual([
    { code: 'shaka_1001_404', fatal: false, business: false },
    { code: 'shaka_3016', fatal: true, business: false },
  ]);
  expect(page.bodies[0]?.context).toMatchObject({ player: 'shaka', player_version: 'v5.2.12' });
  handle.detach();
});
