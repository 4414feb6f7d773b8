#!/usr/bin/env bash
# Removes ./marquee-data, the default home of `marquee`, after asking.
# It refuses while a marquee runs on it: that one holds the lock file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

home=marquee-data
fail() {
  echo "error: $1" >&2
  exit 1
}

[[ -e $home ]] || {
  echo "there is no $home/"
  exit 0
}
[[ ! -e $home/lock ]] || flock --nonblock "$home/lock" true || fail "a marquee is running on $home/: stop it first"
[[ -t 0 ]] || fail "$home/ stays: there is no terminal to ask on"
read -r -p "Remove $PWD/$home ($(du -sh "$home" | cut -f1))? [y/N] " answer || answer=n
[[ $answer == [yY]* ]] || fail "$home/ stays"
rm -rf -- "$home"
