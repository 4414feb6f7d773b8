#!/usr/bin/env bash
# The web app of the dashboards (platform-api/dashboards/web), which is built into web/dist and committed:
#   web.sh build        builds it anew
#   web.sh check        types, unit tests, and that the committed build is the one that the sources make
#   web.sh test         the pages in Chromium, against examples/fake: real lake, made-up viewers
#   web.sh journey      the whole loop in Chromium, against `marquee demo`
#   web.sh screenshots  writes the pictures of the README to docs/images
# Nobody needs Node to build or run Marquee; who changes the app needs Node 20 or newer, and all but `build` and `check`
# need Chromium and FFmpeg, too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../platform-api/dashboards/web"

fail() {
  echo "error: $1" >&2
  exit 4
}

source ../../../scripts/npm-install.sh

# A debug build of what a browser looks at, with the features of `cargo test`, which has built nearly all of it.
build_rust() {
  : "${CARGO_TARGET_DIR:?is set by the Makefile: run this through make}"
  (cd ../../.. && cargo build --workspace --locked --tests --bin marquee --example fake >&2)
  export MARQUEE_FAKE=${MARQUEE_FAKE:-$CARGO_TARGET_DIR/debug/examples/fake}
  export MARQUEE_BINARY=${MARQUEE_BINARY:-$CARGO_TARGET_DIR/debug/marquee}
}

need_browser() {
  command -v ffmpeg >/dev/null || fail "ffmpeg is missing: apt-get install ffmpeg"
  command -v "${CHROMIUM:-chromium}" >/dev/null || command -v chromium-browser >/dev/null ||
    fail "Chromium is missing: apt-get install chromium, or set CHROMIUM"
  [[ -n ${MARQUEE_FAKE:-} && -n ${MARQUEE_BINARY:-} ]] || build_rust
}

case ${1:?usage: web.sh build|check|test|journey|screenshots} in
  build)
    npm run --silent build
    ;;
  check)
    npm run --silent check
    npx vitest run tests/outbox.test.ts tests/poster.test.ts
    fresh=$(mktemp -d)
    trap 'rm -rf "$fresh"' EXIT
    npx vite build --logLevel error --outDir "$fresh" --emptyOutDir
    diff --recursive --brief --exclude .gitkeep "$fresh" dist ||
      fail "web/dist is not what the sources make: run scripts/web.sh build and commit it"
    ;;
  test)
    need_browser
    npx vitest run tests/pages.test.ts
    ;;
  journey)
    need_browser
    npx vitest run tests/journey.test.ts
    ;;
  screenshots)
    need_browser
    SCREENSHOTS=$(cd ../../.. && pwd)/docs/images npx vitest run tests/screenshots.test.ts
    ;;
  *)
    fail "usage: web.sh build|check|test|journey|screenshots"
    ;;
esac
