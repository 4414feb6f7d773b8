#!/usr/bin/env bash
# Whether this machine has Node 20 or newer with npm.
node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' 2>/dev/null && command -v npm >/dev/null
