#!/usr/bin/env bash
# Prints the Python that an environment is made from, 3.11 or newer; exits 1 if there is none.
# usage: find-python.sh [NEWEST], for packages that do not exist for the newest Python yet: find-python.sh 3.12
# 3.11 is the oldest for which the pinned packages exist; Ubuntu 22.04 has it beside its own python3.
set -euo pipefail

newest=${1:-3.99}
for python in python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
  # Debian's python3 imports venv but cannot fill an environment before python3-venv brings ensurepip.
  if "$python" -c "import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, ${newest#3.}))" 2>/dev/null; then
    command -v "$python"
    exit 0
  fi
done
exit 1
