#!/usr/bin/env bash
# The package for web players (platform-api/sdk-web), which is built into dist/ and committed:
#   sdk.sh build   builds it anew
#   sdk.sh check   types, unit tests, the size limit, and that the committed build is the one that the sources make
# scripts/players.sh tries it with real players.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../platform-api/sdk-web"
source ../../scripts/npm-install.sh

case ${1:?usage: sdk.sh build|check} in
  build)
    node build.mjs
    ;;
  check)
    npm run --silent check
    npx vitest run tests
    fresh=$(mktemp -d)
    trap 'rm -rf "$fresh"' EXIT
    node build.mjs "$fresh"
    diff --recursive --brief "$fresh" dist || {
      echo "error: sdk-web/dist is not what the sources make: run scripts/sdk.sh build and commit it" >&2
      exit 4
    }
    ;;
  *)
    echo "error: usage: sdk.sh build|check" >&2
    exit 4
    ;;
esac
