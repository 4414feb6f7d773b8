#!/usr/bin/env bash
# Builds Marquee and runs `marquee demo` with the arguments given; Ctrl-C goes to the demo itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

binary=$(STAGE_TOTAL=3 scripts/build.sh)
printf '[3/3] run: %s\n' "marquee demo $*" >&2
exec "$binary" demo "$@"
