# shellcheck shell=bash
# Sourced by the other scripts: a numbered list of stages, each with its elapsed time.
# A stage's command runs with `set -e` off if it is a shell function (a rule of bash), so give it a program instead.

stage_number=0
stage_total=${STAGE_TOTAL:-0} # a script that continues another's list gets its length from it
stage_report=()

now_ms() {
  local now=${EPOCHREALTIME/[.,]/} # the locale chooses the point
  printf '%s' "${now%???}"
}

# seconds_since START_MS: "12.3 s"
seconds_since() {
  local elapsed_ms=$(($(now_ms) - $1))
  printf '%d.%d s' $((elapsed_ms / 1000)) $((elapsed_ms % 1000 / 100))
}

# CI is a machine nobody watches: nothing may ask, and nothing may be left out quietly.
in_ci() { [[ -n ${CI:-} && $CI != false && $CI != 0 ]]; }

# stage TITLE COMMAND…: runs the command; ends the script with its exit code when it fails.
stage() {
  local title=$1 started_ms code=0
  shift
  stage_number=$((stage_number + 1))
  started_ms=$(now_ms)
  printf '[%d/%d] %s\n' "$stage_number" "$stage_total" "$title" >&2
  "$@" || code=$?
  local seconds outcome=ok
  seconds=$(seconds_since "$started_ms")
  ((code == 0)) || outcome="FAILED, exit code $code"
  printf '[%d/%d] %s … %s (%s)\n' "$stage_number" "$stage_total" "$title" "$outcome" "$seconds" >&2
  stage_report+=("$(printf '%10s  %s … %s' "$seconds" "$title" "$outcome")")
  ((code == 0)) || exit "$code"
}

# leave_out TITLE REASON: says plainly that a stage does not run, now and in the list at the end.
leave_out() {
  stage_number=$((stage_number + 1))
  printf '[%d/%d] %s\n        left out: %s\n' "$stage_number" "$stage_total" "$1" "$2" >&2
  stage_report+=("$(printf '%10s  %s … left out: %s' - "$1" "$2")")
}
