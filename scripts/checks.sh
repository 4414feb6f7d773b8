#!/usr/bin/env bash
# Everything that says whether a change is good, as stages: `make test` runs them all, other targets name a few.
# The first failure ends the run and gives the exit code; the list at the end shows each stage with its seconds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/stages.sh
exec 2>&1 # one stream, in order: a log of the run reads like the screen

# Cheap and decisive first. `players` is run by name (`make players`): it holds figures to what a screen showed, to tens
# of milliseconds, which takes a machine with nothing else to do. So is `tls` (`make kafka-tls`): it builds OpenSSL and
# what depends on it, eight minutes on two busy cores.
all=(data packages python format buf clippy web sdk kafka tests soak udf fuzz pages journey oracle deny)
declare -A titles=(
  [data]="real data"
  [packages]="system packages"
  [python]="Python environment"
  [format]="cargo fmt --check"
  [buf]="buf lint"
  [clippy]="cargo clippy"
  [web]="web app: types, units, dist/ is what the sources make"
  [sdk]="package for web players: types, units, size, dist/ is what the sources make"
  [kafka]="Apache Kafka for the tests"
  [tests]="cargo test"
  [soak]="ten minutes of random worlds: processes, faults, power cuts"
  [tls]="Kafka over TLS and SCRAM"
  [udf]="Arroyo: the fold as its function, through the C interface"
  [fuzz]="a minute of fuzzing: decoders, CMCD, a shard of each job"
  [pages]="pages in Chromium, over made-up viewers"
  [journey]="the loop in Chromium, from marquee demo"
  [players]="hls.js, dash.js and Shaka in Chromium, against what really happened"
  [oracle]="tests of the oracles and of the comparison with the peers"
  [deny]="cargo deny check"
)

check_data() {
  local needed="set MARQUEE_DATA to a folder with waterloo-sqoe4/ and ml-latest-small/" missing=() name
  if [[ -z ${MARQUEE_DATA:-} ]] && in_ci; then
    stage "${titles[data]}" complain "MARQUEE_DATA is not set, and CI leaves out no test: $needed"
  elif [[ -z ${MARQUEE_DATA:-} ]]; then
    leave_out "${titles[data]}" "tests on real data ($needed)"
    return
  fi
  for name in waterloo-sqoe4 ml-latest-small; do
    [[ -d $MARQUEE_DATA/$name ]] || missing+=("$name/")
  done
  if ((${#missing[@]} > 0)); then
    stage "${titles[data]}" complain "there is no ${missing[*]} in $MARQUEE_DATA: $needed"
  else
    stage "${titles[data]}" true
  fi
}

complain() {
  echo "error: $1"
  return 1
}

# with_node NAME COMMAND…: what apt has is too old on most systems, so a machine without Node does the rest.
with_node() {
  local title=${titles[$1]} needed="Node 20 or newer with npm is missing (https://nodejs.org)"
  shift
  if scripts/has-node.sh; then
    stage "$title" "$@"
  elif in_ci; then
    stage "$title" complain "$needed, and CI leaves out no test"
  else
    leave_out "$title" "$needed"
  fi
}

# The same seeds each time, as far as the time allows, and it says how many; `make soak` plays others.
check_soak() {
  if in_ci; then
    stage "${titles[soak]}" env MARQUEE_SOAK_SECONDS=600 cargo test --workspace --locked --test soak -- --nocapture
  else
    leave_out "${titles[soak]}" "cargo test has played some seconds of it; more: make soak"
  fi
}

check_fuzz() {
  if c++ --version >/dev/null 2>&1 || in_ci; then
    stage "${titles[fuzz]}" env FUZZ_SEED=1 scripts/fuzz.sh
  else
    leave_out "${titles[fuzz]}" "libFuzzer needs a C++ compiler (c++), which is not there"
  fi
}

check_deny() {
  if ! cargo deny --version >/dev/null 2>&1; then
    leave_out "${titles[deny]}" "cargo-deny is not installed (cargo install cargo-deny --locked)"
  elif cargo deny --locked fetch db >/dev/null 2>&1; then
    stage "${titles[deny]}" cargo deny --locked check
  else
    stage "${titles[deny]} (no advisories: their database cannot be fetched)" cargo deny --locked check bans licenses sources
  fi
}

run() {
  local title=${titles[$1]:-}
  case $1 in
    data) check_data ;;
    packages) stage "$title" scripts/system-packages.sh test ;;
    python) stage "$title" scripts/python-env.sh ;;
    format) stage "$title" cargo fmt --all --check ;;
    clippy) stage "$title" cargo clippy --workspace --all-targets --locked -- -D warnings ;;
    buf) with_node buf npx --yes @bufbuild/buf@1.75.0 lint ;;
    web) with_node web scripts/web.sh check ;;
    sdk) with_node sdk scripts/sdk.sh check ;;
    pages) with_node pages scripts/web.sh test ;;
    journey) with_node journey scripts/web.sh journey ;;
    players) with_node players scripts/players.sh check ;;
    kafka) stage "$title" scripts/kafka.sh ;;
    tests) stage "$title" cargo test --workspace --locked ;;
    soak) check_soak ;;
    tls) stage "$title" cargo test -p marquee-log-kafka --features tls --locked ;;
    udf) stage "$title" scripts/udf.sh ;;
    fuzz) check_fuzz ;;
    # No __pycache__ beside the sources; pytest's own cache goes where git does not look.
    oracle) stage "$title" env PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -m pytest -q -o cache_dir=.cache/pytest tests/oracle tests/peers ;;
    deny) check_deny ;;
  esac
}

summary() {
  local code=$? name
  printf '\n'
  ((${#stage_report[@]} == 0)) || printf '%s\n' "${stage_report[@]}"
  for name in "${plan[@]:stage_number}"; do
    printf '%10s  %s … not run\n' - "${titles[$name]}"
  done
  if ((code == 0)); then
    printf 'passed in %s\n' "$(seconds_since "$started_ms")"
  elif ((stage_number > 0)); then
    printf 'FAILED at [%d/%d] %s after %s\n' \
      "$stage_number" "$stage_total" "${titles[${plan[stage_number - 1]}]}" "$(seconds_since "$started_ms")"
  fi
}

plan=("$@")
(($# > 0)) || plan=("${all[@]}")
for name in "${plan[@]}"; do
  [[ -n ${titles[$name]:-} ]] || {
    echo "error: there is no check \"$name\"; there are: ${all[*]}"
    exit 2
  }
done
stage_total=${#plan[@]}
started_ms=$(now_ms)
trap summary EXIT
# Without these a run that is stopped from outside ends with the last stage's code, which is 0.
trap 'exit 130' INT
trap 'exit 143' TERM
[[ -n ${MARQUEE_DATA:-} ]] || unset MARQUEE_DATA # set but empty means the same
# cargo runs each test in its crate's folder: a relative path would point elsewhere.
if [[ -d ${MARQUEE_DATA:-} ]]; then
  MARQUEE_DATA=$(cd "$MARQUEE_DATA" && pwd)
  export MARQUEE_DATA
fi
for name in "${plan[@]}"; do
  run "$name"
done
