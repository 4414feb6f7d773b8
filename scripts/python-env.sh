#!/usr/bin/env bash
# Makes .venv, the Python environment of the test oracles and the notebooks. Only a changed requirement or Python makes
# it anew.
# The stamp is written last, so an environment whose making was interrupted is never used.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

requirements=(tests/oracle/requirements.txt tests/oracle/requirements-dev.txt notebooks/requirements.txt
  tests/test-servers/requirements.txt)
stamp=.venv/requirements.sha256

python=$(scripts/find-python.sh) || {
  echo "error: Python 3.11 or newer with venv is missing: scripts/system-packages.sh test installs it" >&2
  exit 1
}
wanted=$({
  "$python" --version
  pwd # the programs in an environment know its path
  cat "${requirements[@]}"
} | sha256sum)

if [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && .venv/bin/python -c '' 2>/dev/null; then
  echo "        .venv is up to date"
  exit 0
fi
echo "        making .venv with $("$python" --version)"
"$python" -m venv --clear .venv
.venv/bin/python -m pip install --quiet --no-input --disable-pip-version-check "${requirements[@]/#/--requirement=}"
printf '%s\n' "$wanted" >"$stamp"
