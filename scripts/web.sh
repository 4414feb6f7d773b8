#!/usr/bin/env bash
# The web app of the dashboards (platform-api/dashboards/web), which is built into web/dist and committed:
#   web.sh build   builds it anew
#   web.sh check   types, unit tests, and that the committed build is the one that the sources make
#   web.sh test    everything in Chromium, against examples/fake: real lake, made-up viewers
# Nobody needs Node to build or run Marquee; who changes the app needs Node 20 or newer, and `test` needs Chromium and
# FFmpeg, too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../platform-api/dashboards/web"

fail() {
  echo "error: $1" >&2
  exit 4
}

node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' 2>/dev/null ||
  fail "Node 20 or newer is missing (https://nodejs.org): only changes of the web app need it"

# The stamp is written last: an installation that was interrupted is made anew.
stamp=node_modules/.lock.sha256
wanted=$(sha256sum package-lock.json)
if [[ ! -f $stamp || $(<"$stamp") != "$wanted" ]]; then
  npm ci --no-audit --no-fund --loglevel=error >&2
  printf '%s\n' "$wanted" >"$stamp"
fi

case ${1:?usage: web.sh build|check|test} in
  build)
    npm run --silent build
    ;;
  check)
    npm run --silent check
    npx vitest run tests/outbox.test.ts tests/poster.test.ts tests/view-events.test.ts
    fresh=$(mktemp -d)
    trap 'rm -rf "$fresh"' EXIT
    npx vite build --logLevel error --outDir "$fresh" --emptyOutDir
    diff --recursive --brief --exclude .gitkeep "$fresh" dist ||
      fail "web/dist is not what the sources make: run scripts/web.sh build and commit it"
    ;;
  test)
    command -v ffmpeg >/dev/null || fail "ffmpeg is missing: apt-get install ffmpeg"
    if [[ -z ${MARQUEE_FAKE:-} ]]; then
      : "${CARGO_TARGET_DIR:?is set by the Makefile: run this through make}"
      (cd ../../.. && cargo build -p marquee-dashboards --example fake --locked)
      export MARQUEE_FAKE=$CARGO_TARGET_DIR/debug/examples/fake
    fi
    npx vitest run
    ;;
  *)
    fail "usage: web.sh build|check|test"
    ;;
esac
