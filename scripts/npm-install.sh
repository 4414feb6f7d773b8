# shellcheck shell=bash
# Sourced in a folder with a package-lock.json: installs what it names, unless that has been done.

"$(dirname "${BASH_SOURCE[0]}")/has-node.sh" || {
  echo "error: Node 20 or newer is missing (https://nodejs.org)" >&2
  exit 4
}

# The stamp is written last: an installation that was interrupted is made anew.
stamp=node_modules/.lock.sha256
wanted=$(sha256sum package-lock.json)
if [[ ! -f $stamp || $(<"$stamp") != "$wanted" ]]; then
  npm ci --no-audit --no-fund --loglevel=error >&2
  printf '%s\n' "$wanted" >"$stamp"
fi
