#!/usr/bin/env bash
# Makes sure that this machine can build (`build`) or build and test (`test`) Marquee; installs what is missing through apt.
# It tries each tool rather than asking dpkg, so that a machine that has them from elsewhere is left alone.
# Root installs at once; a person is shown the command and asked; anyone else gets one line that names what is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/stages.sh
exec >&2 # stdout belongs to what `make` was asked for

purpose=${1:?usage: system-packages.sh build|test}

compile_and_link() {
  local binary code=0
  binary=$(mktemp)
  cc -x c - -o "$binary" <<<'int main(void) { return 0; }' || code=$?
  rm -f "$binary"
  return "$code"
}

has_pkg_config() { command -v pkg-config; }
has_maven() { command -v mvn; }
# Where Debian, Red Hat and Alpine keep them; cargo and pip need one.
has_certificates() {
  local file
  for file in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
    [[ ! -s $file ]] || return 0
  done
  return 1
}

# Ubuntu's package only fetches a snap, which starts, too.
has_chromium() {
  local found
  found=$(command -v "${CHROMIUM:-chromium}" || command -v chromium-browser) && "$found" --version
}

has_ffmpeg() {
  local encoders
  encoders=$(ffmpeg -hide_banner -encoders) && [[ $encoders == *libx264* && $encoders == *' aac '* ]]
}

# What Kafka's brokers need; `java -version` writes to stderr.
has_java() {
  local version
  version=$(java -version 2>&1) && [[ $version =~ version\ \"([0-9]+) ]] && ((BASH_REMATCH[1] >= 17))
}

# The oldest that will do; newer systems have only newer ones.
java_package() {
  if apt-cache show openjdk-17-jre-headless >/dev/null 2>&1; then
    echo openjdk-17-jre-headless
  else
    echo default-jre-headless
  fi
}

# Where the system's own Python is too old (Ubuntu 22.04), a newer one goes beside it.
python_packages() {
  if /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info >= (3, 11))' 2>/dev/null; then
    echo python3.11 python3.11-venv
  else
    echo python3 python3-venv
  fi
}

# Sets `missing` to the Debian packages that would bring what is not there.
probe() {
  missing=()
  check "C compiler and linker" compile_and_link build-essential
  check "pkg-config" has_pkg_config pkg-config
  check "certificates" has_certificates ca-certificates
  if [[ $purpose == test ]]; then
    # shellcheck disable=SC2046 # one word for each package
    check "Python 3.11 or newer with venv" scripts/find-python.sh $(python_packages)
    check "Chromium" has_chromium chromium
    check "FFmpeg with H.264 and AAC" has_ffmpeg ffmpeg
    check "Java 17 or newer" has_java "$(java_package)"
    check "Maven" has_maven maven
  fi
}

# check TITLE COMMAND PACKAGE…
check() {
  local title=$1 command=$2 started_ms outcome=ok
  shift 2
  started_ms=$(now_ms)
  if ! "$command" >/dev/null 2>&1; then
    outcome=missing
    missing+=("$@")
  fi
  printf '        %s … %s (%s)\n' "$title" "$outcome" "$(seconds_since "$started_ms")"
}

fail() {
  printf 'error: %s\n' "$1"
  exit 1
}

install_missing() {
  local as_root=()
  local command="apt-get install --yes --no-install-recommends ${missing[*]}"
  command -v apt-get >/dev/null ||
    fail "missing ${missing[*]} (Debian's names), and there is no apt-get here: install them and run this again"
  if ((EUID != 0)); then
    if in_ci || [[ ! -t 0 || ! -t 2 ]] || ! command -v sudo >/dev/null; then
      fail "missing system packages: ${missing[*]}; as root: apt-get update && $command"
    fi
    printf '        Missing system packages. This would run:\n          sudo apt-get update\n          sudo %s\n' "$command"
    local answer
    read -r -p '        Run it? [y/N] ' answer || answer=n
    [[ $answer == [yY]* ]] || fail "missing system packages: ${missing[*]}"
    as_root=(sudo)
  fi
  # `env` because sudo drops the variable otherwise; without it a package may ask questions.
  as_root+=(env DEBIAN_FRONTEND=noninteractive)
  "${as_root[@]}" apt-get update -qq </dev/null ||
    printf '        apt-get update failed; trying with the lists that are there\n'
  # shellcheck disable=SC2086 # the command's words
  "${as_root[@]}" $command -qq </dev/null || fail "apt-get could not install: ${missing[*]}"
}

probe
if ((${#missing[@]} > 0)); then
  install_missing
  probe
  ((${#missing[@]} == 0)) || fail "still missing after apt-get: ${missing[*]}"
fi

if ! command -v rustup >/dev/null || ! command -v cargo >/dev/null; then
  fail "rustup is missing: install it as https://rustup.rs says, then run this again"
fi
started_ms=$(now_ms)
# Asking for the version makes rustup fetch the toolchain that rust-toolchain.toml pins.
rust_version=$(cargo --version) || fail "rustup could not provide the toolchain of rust-toolchain.toml"
printf '        %s … ok (%s)\n' "$rust_version" "$(seconds_since "$started_ms")"
