#!/usr/bin/env bash
# Fuzzes what reads bytes from outside: scripts/fuzz.sh [SECONDS [TARGET…]], 10 s for each of the targets by default.
# It needs neither nightly nor cargo-fuzz, only a C++ compiler: coverage is a pass of the pinned compiler, and there is no
# unsafe code for a sanitizer to look at. Inputs that were found to lead somewhere are kept beside the target folder.
# With FUZZ_SEED=N it begins anew with that seed and keeps nothing: `make test` takes the same way each time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../pipelines/fuzz"
# Beside the engine's target folder, as a target folder belongs to one workspace.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/marquee/target}-fuzz
seconds=${1:-10}
targets=("${@:2}")
((${#targets[@]} > 0)) || targets=(json protobuf interactions cmcd playback features)
# Given, so that the flags are not those of build scripts, too.
platform=$(rustc -vV | sed -n 's/^host: //p')

c++ --version >/dev/null 2>&1 || {
  echo "error: libFuzzer needs a C++ compiler (c++): on Debian and Ubuntu, apt-get install build-essential"
  exit 1
}
cargo fmt --all --check
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares" \
  cargo build --release --locked --target "$platform"

for target in "${targets[@]}"; do
  corpus=$CARGO_TARGET_DIR/corpus/$target
  if [[ -n ${FUZZ_SEED:-} ]]; then
    corpus=$CARGO_TARGET_DIR/fresh/$target
    rm -rf "$corpus"
  fi
  found=$CARGO_TARGET_DIR/found/
  log=$CARGO_TARGET_DIR/$target.log
  mkdir -p "$corpus" "$found"
  arguments=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=4096 -artifact_prefix="$found" -seed="${FUZZ_SEED:-0}")
  [[ ! -f dictionaries/$target.dict ]] || arguments+=(-dict="dictionaries/$target.dict")
  if FUZZ_SEEDS=$corpus "$CARGO_TARGET_DIR/$platform/release/$target" "${arguments[@]}" "$corpus" >"$log" 2>&1; then
    printf '%-12s  %s, %d inputs kept\n' "$target" "$(tail -n 1 "$log")" "$(find "$corpus" -type f | wc -l)"
  else
    tail -n 40 "$log"
    echo "error: target $target fails on the input above; again: $CARGO_TARGET_DIR/$platform/release/$target FILE"
    exit 1
  fi
done
