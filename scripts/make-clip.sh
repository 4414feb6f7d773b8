#!/usr/bin/env bash
# Makes the demo's clip in a folder: 20 s of drifting colours with a bar that shows the time and a quiet tone, H.264 and
# AAC in three renditions, as HLS with fragmented MP4. Nothing is fetched: FFmpeg draws it, so nobody's rights are in it.
# A clip that is there is left alone. Messages go to stderr.
set -euo pipefail

folder=${1:?usage: make-clip.sh FOLDER}
seconds=20
# name:width:height:video bit/s; low enough for a few hundred KB, far enough apart for a player to switch.
renditions=(low:320:180:60000 middle:640:360:140000 high:960:540:300000)

if [[ -s $folder/main.m3u8 ]]; then
  echo "        the clip is in $folder" >&2
  exit 0
fi
command -v ffmpeg >/dev/null || {
  echo "error: ffmpeg is missing (Debian: apt-get install ffmpeg): without it the Viewer has nothing to play" >&2
  exit 4
}

# Written beside its place and moved as a whole: a clip whose making was interrupted is never served.
mkdir -p "$(dirname "$folder")"
making=$(mktemp -d "$(dirname "$folder")/.clip.XXXXXX")
trap 'rm -rf "$making"' EXIT

maps=() videos=() streams=() pads=''
for index in "${!renditions[@]}"; do
  IFS=: read -r name width height bitrate <<<"${renditions[index]}"
  maps+=(-map "[p$index]" -map 3:a)
  pads+="[p$index]"
  videos+=("-s:v:$index" "${width}x$height" "-b:v:$index" "$bitrate" "-maxrate:v:$index" "$bitrate" "-bufsize:v:$index" "$bitrate")
  streams+=("v:$index,a:$index,name:$name")
done

# A key frame every 2 s, at segment boundaries; one sound rate for all, so that switching is not heard.
ffmpeg -nostdin -loglevel error -y \
  -f lavfi -i "gradients=s=960x540:r=24:d=$seconds:n=4:c0=0x1b2a49:c1=0xc8553d:c2=0xf2c14e:c3=0x4d9078:seed=7:speed=0.02" \
  -f lavfi -i "color=white@0.75:s=960x8:r=24:d=$seconds,format=rgba" \
  -f lavfi -i "testsrc2=s=192x108:r=24:d=$seconds" \
  -f lavfi -i "sine=frequency=220:sample_rate=44100:duration=$seconds" \
  -filter_complex "[0:v][1:v]overlay=x='-w+w*t/$seconds':y=H-h[bar];[bar][2:v]overlay=x=W-w-24:y=24,split=${#renditions[@]}$pads" \
  "${maps[@]}" "${videos[@]}" \
  -c:v libx264 -profile:v main -preset veryfast -pix_fmt yuv420p -g 48 -keyint_min 48 -sc_threshold 0 \
  -c:a aac -b:a 32k -ac 1 -af volume=0.15 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -map_metadata -1 \
  -f hls -hls_time 2 -hls_playlist_type vod -hls_segment_type fmp4 -hls_flags independent_segments \
  -hls_fmp4_init_filename init.mp4 -hls_segment_filename "$making/%v/segment_%03d.m4s" \
  -master_pl_name main.m3u8 -var_stream_map "${streams[*]}" "$making/%v/index.m3u8"

chmod 755 "$making"
rm -rf "$folder"
mv "$making" "$folder"
trap - EXIT
echo "        the clip is in $folder ($(du -sk "$folder" | cut -f1) KB)" >&2
