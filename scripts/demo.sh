#!/usr/bin/env bash
# Builds Marquee, makes the clip that the Viewer plays, and runs `marquee demo` with the arguments given; Ctrl-C goes to
# the demo itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

binary=$(STAGE_TOTAL=4 scripts/build.sh)

# Where the demo will look for it, whatever sets it: the binary knows.
home=() previous=
for argument in "$@"; do
  [[ $previous != --home ]] || home=(--home "$argument")
  [[ $argument != --home=* ]] || home=("$argument")
  previous=$argument
done
# setting KEY: its value; empty when it is not set or the settings are wrong, which the demo then says.
setting() {
  "$binary" "${home[@]}" config 2>/dev/null | sed -n "s/^$1 *= *\"\(.*\)\".*/\1/p" || true
}
printf '[3/4] the clip that the Viewer plays\n' >&2
if [[ " $* " == *' --once '* ]]; then
  printf '        left out: nobody watches a --once round\n' >&2
else
  clip=$(setting 'dashboards\.media_folder')
  [[ -n $clip ]] || clip=$(setting home)/media
  scripts/make-clip.sh "$clip" || printf '        the demo runs without it; everything but playing works\n' >&2
fi

printf '[4/4] run: %s\n' "marquee demo $*" >&2
exec "$binary" demo "$@"
