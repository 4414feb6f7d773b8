#!/usr/bin/env bash
# Real players in Chromium, against scripted streams: what Marquee says of their sessions, by the SDK and by the players' own
# CMCD, against what happened (platform-api/sdk-web/players):
#   players.sh write [ARGS]        compares, and writes the tables of docs/cmcd.md anew
#   players.sh check [ARGS]        compares
#   players.sh raw FOLDER [TEXT]   writes down what each player posts; no Marquee is needed
# ARGS: --only sdk|cmcd, --filter TEXT (runs whose `player-scenario` contains it), --keep FILE (all that was seen, as JSON).
# MARQUEE_BINARY is the binary to try; a debug build by default.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../platform-api/sdk-web"

fail() {
  echo "error: $1" >&2
  exit 4
}

source ../../scripts/npm-install.sh
command -v "${CHROMIUM:-chromium}" >/dev/null || command -v chromium-browser >/dev/null ||
  fail "Chromium is missing: apt-get install chromium, or set CHROMIUM"

# The stream's name has its recipe in it: another recipe, another stream.
recipe=$(sha256sum players/make-stream.sh)
stream=${XDG_CACHE_HOME:-$HOME/.cache}/marquee/players-stream-${recipe:0:12}
players/make-stream.sh "$stream"

# bundle NAME: an entry of players/, for Node.
bundle() {
  npx esbuild "players/$1.ts" --bundle --platform=node --format=esm --packages=external --log-level=error \
    --outfile="node_modules/.players/$1.mjs"
}

compare() {
  if [[ -z ${MARQUEE_BINARY:-} ]]; then
    : "${CARGO_TARGET_DIR:?is set by the Makefile: run this through make, or set MARQUEE_BINARY}"
    # With the features of `cargo test`, which has built nearly all of it.
    (cd ../.. && cargo build --workspace --locked --tests --bin marquee >&2)
    MARQUEE_BINARY=$CARGO_TARGET_DIR/debug/marquee
  fi
  bundle run
  node node_modules/.players/run.mjs . "$stream" "$MARQUEE_BINARY" "$@"
}

mode=${1:?usage: players.sh write|check|raw}
shift
case $mode in
  write) compare --write ../../docs/cmcd.md "$@" ;;
  check) compare "$@" ;;
  raw)
    folder=$(realpath -m "${1:?usage: players.sh raw FOLDER [TEXT]}")
    bundle raw
    node node_modules/.players/raw.mjs . "$stream" "$folder" "${2:-}"
    ;;
  *) fail "usage: players.sh write|check|raw" ;;
esac
