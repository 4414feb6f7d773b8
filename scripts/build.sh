#!/usr/bin/env bash
# Builds the binary with cargo's profile `demo` (see Cargo.toml) and prints its path, the only line on stdout.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export STAGE_TOTAL=${STAGE_TOTAL:-2}
source scripts/stages.sh

: "${CARGO_TARGET_DIR:?is set by the Makefile: run this through make}"

stage "system packages" scripts/system-packages.sh build
stage "build (first time 15–40 minutes on 2 cores, later seconds)" cargo build --profile demo -p marquee --locked >&2
realpath "$CARGO_TARGET_DIR/demo/marquee"
