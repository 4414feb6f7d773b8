#!/usr/bin/env bash
# Everything about pipelines/arroyo-udf, a workspace of its own: format, lints, tests, licences.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../pipelines/arroyo-udf"
# Beside the engine's target folder, as a target folder belongs to one workspace.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/marquee/target}-udf

cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
cargo test --workspace --locked
# No advisories: arrow 51, which Arroyo's plugin crate pins, has some, and none of it is in the engine.
if cargo deny --version >/dev/null 2>&1; then
  cargo deny --config ../../deny.toml --locked check bans licenses sources
fi
