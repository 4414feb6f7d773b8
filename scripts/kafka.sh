#!/usr/bin/env bash
# Apache Kafka for tests: fetches what tests/test-servers/kafka/pom.xml names, once for each version of that file, and prints
# the folder with it. Needs Java and Maven (scripts/system-packages.sh test). crate marquee-test-servers knows the folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../tests/test-servers/kafka"

read -r hash _ < <(sha256sum pom.xml)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/marquee/kafka-${hash:0:16}
if [[ ! -d $folder ]]; then
  # Beside it and then renamed, so that a folder that is there is complete.
  mkdir -p "${folder%/*}"
  fetched=$(mktemp -d "$folder.XXXXXX")
  trap 'rm -rf "$fetched"' EXIT
  mvn --batch-mode --quiet dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$fetched" >&2
  chmod 755 "$fetched"
  # Another run may have been faster.
  [[ -d $folder ]] || mv --no-target-directory "$fetched" "$folder"
fi
echo "$folder"
