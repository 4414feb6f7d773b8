#!/usr/bin/env bash
# Makes the stream that the players play, in a folder: 40 s of a test picture with a tone, three renditions, segments of 2 s
# in fragmented MP4, as DASH and as HLS over the same segments. Small pictures, so that two cores decode six at a time.
# The tone ends 0.1 s early: rounded up to whole frames it would need a segment of its own, of 15 ms, which hls.js waits for.
# A stream that is there is left alone. Messages go to stderr.
set -euo pipefail

folder=${1:?usage: make-stream.sh FOLDER}
seconds=40 rate=15

[[ ! -s $folder/main.m3u8 ]] || exit 0
command -v ffmpeg >/dev/null || {
  echo "error: ffmpeg is missing (Debian: apt-get install ffmpeg): without it the players have nothing to play" >&2
  exit 4
}

# Written beside its place and moved as a whole: a stream whose making was interrupted is never served.
mkdir -p "$(dirname "$folder")"
making=$(mktemp -d "$(dirname "$folder")/.stream.XXXXXX")
trap 'rm -rf "$making"' EXIT

video=(-c:v libx264 -profile:v main -preset veryfast -tune stillimage -pix_fmt yuv420p
  -g $((2 * rate)) -keyint_min $((2 * rate)) -sc_threshold 0 -bf 0)
ffmpeg -nostdin -loglevel error -y \
  -f lavfi -i "testsrc2=s=480x270:r=$rate:d=$seconds" -f lavfi -i "sine=frequency=220:sample_rate=44100:duration=39.9" \
  -filter_complex "split=3[a][b][c];[a]scale=160:90[low];[b]scale=320:180[middle];[c]copy[high]" \
  -map "[low]" -map "[middle]" -map "[high]" -map 1:a "${video[@]}" -b:v:0 60k -b:v:1 140k -b:v:2 300k \
  -c:a aac -b:a 32k -ac 1 -af volume=0.1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -map_metadata -1 \
  -f dash -seg_duration 2 -frag_type none -use_template 1 -use_timeline 0 -adaptation_sets "id=0,streams=v id=1,streams=a" \
  -init_seg_name 'init-$RepresentationID$.m4s' -media_seg_name '$RepresentationID$-$Number%03d$.m4s' \
  -hls_playlist 1 -hls_master_name main.m3u8 "$making/main.mpd"

chmod 755 "$making"
rm -rf "$folder"
mv "$making" "$folder"
trap - EXIT
