#!/usr/bin/env bash
# Runs `marquee bench stream` for both record formats with the arguments given: one JSON document each on stdout.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

binary=$(STAGE_TOTAL=4 scripts/build.sh)
number=2
for format in json protobuf; do
  number=$((number + 1))
  printf '[%d/4] run: %s\n' "$number" "marquee bench stream --format $format --json $*" >&2
  "$binary" bench stream --format "$format" --json "$@"
done
