#!/usr/bin/env bash
# Prints the Python that the test environment is made from; exits 1 if there is none.
# 3.11 is the oldest for which the pinned packages exist; Ubuntu 22.04 has it beside its own python3.
set -euo pipefail

for python in python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
  # Debian's python3 imports venv but cannot fill an environment before python3-venv brings ensurepip.
  if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    command -v "$python"
    exit 0
  fi
done
exit 1
