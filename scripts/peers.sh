#!/usr/bin/env bash
# Marquee beside Apache Flink and DuckDB, on the same file and two cores: runs tests/peers/peers.py with the arguments given.
# MARQUEE_BINARY is the binary to measure; the one of `make build` by default. The peers come from PyPI, into the cache.
set -euo pipefail
[[ -z ${MARQUEE_BINARY:-} ]] || MARQUEE_BINARY=$(realpath -m "$MARQUEE_BINARY")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/stages.sh

fail() {
  echo "error: $1" >&2
  exit 4
}

# Flink runs on Java 11, 17 and 21; `java -version` writes to stderr.
java_version=$(java -version 2>&1) || fail "Java is missing, Flink runs on it: apt-get install openjdk-17-jre-headless"
[[ $java_version =~ version\ \"([0-9]+) ]] && ((BASH_REMATCH[1] >= 11)) ||
  fail "Flink needs Java 11 or newer: apt-get install openjdk-17-jre-headless"
python=$(scripts/find-python.sh 3.12) ||
  fail "PyFlink needs Python 3.11 or 3.12 with venv: apt-get install python3.11-venv, or python3.12-venv"

stage_total=2
if [[ -z ${MARQUEE_BINARY:-} ]]; then
  stage_total=4
  MARQUEE_BINARY=$(STAGE_TOTAL=$stage_total scripts/build.sh)
  stage_number=2
fi

# Another requirement or Python, another environment; the stamp is written last.
wanted=$({
  "$python" --version
  cat tests/peers/requirements.txt
} | sha256sum)
environment=${XDG_CACHE_HOME:-$HOME/.cache}/marquee/peers-${wanted:0:16}
make_environment() {
  [[ ! -f $environment/complete ]] || return 0
  # One chain: `set -e` is off in here.
  "$python" -m venv --clear "$environment" &&
    "$environment/bin/python" -m pip install --quiet --no-input --disable-pip-version-check --no-deps \
      --requirement tests/peers/requirements.txt &&
    touch "$environment/complete"
}
stage "the peers from PyPI (first time 1–3 minutes, 600 MB)" make_environment
printf '[%d/%d] run: peers.py %s\n' "$stage_total" "$stage_total" "$*" >&2
# The binary takes what begins with MARQUEE_ for its settings, and refuses those that it does not know.
exec env --unset MARQUEE_BINARY PYTHONDONTWRITEBYTECODE=1 \
  "$environment/bin/python" tests/peers/peers.py --binary "$MARQUEE_BINARY" "$@"
