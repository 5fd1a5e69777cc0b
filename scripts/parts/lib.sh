# shellcheck shell=bash
# What every script of this directory shares: where parts live, how they speak, and what they may do to the machine.
# Sourced, never run.

set -euo pipefail

# Parts are kept outside the tree: a clean clone finds what an earlier one fetched, and `git clean` never costs a download.
CORTEX_PARTS_DIR="${CORTEX_PARTS_DIR:-${HOME:?HOME is not set}/.cache/cortex-parts}"
export CORTEX_PARTS_DIR

PARTS_SCRIPTS="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
REPOSITORY="$(cd "$PARTS_SCRIPTS/../.." && pwd)"
export PARTS_SCRIPTS REPOSITORY

# Progress goes to standard error: standard output belongs to answers that other scripts read.
say() { printf '==> %s\n' "$*" >&2; }

# One line that says what is wrong and one that says how to get it.
die() {
  printf 'error: %s\n' "$1" >&2
  if [ "$#" -gt 1 ]; then printf '  how to get it: %s\n' "$2" >&2; fi
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Two checkouts, or `make test` beside `make demo`, may want the same part at once: the second waits for the first.
# The lock is released when the calling script ends. Children that outlive it must not inherit descriptor 9.
lock() {
  mkdir -p "$CORTEX_PARTS_DIR"
  exec 9>"$CORTEX_PARTS_DIR/$1.lock"
  flock -w "${2:-900}" 9 || die "another process has held $CORTEX_PARTS_DIR/$1.lock for too long" "wait for it, or end it"
}

# The machine itself is changed (packages, a daemon) only on a disposable one or with its owner's word.
consent() {
  local what="$1"
  if [ "${CI:-}" = true ] || [ "${CORTEX_INSTALL_PARTS:-}" = yes ]; then return 0; fi
  if [ -t 0 ] && [ -t 2 ]; then
    local answer
    printf 'This machine needs %s. Install it now? [y/N] ' "$what" >&2
    read -r answer
    case "$answer" in y | Y | yes) return 0 ;; esac
  fi
  die "$what is missing, and nothing is installed on a machine that may not be disposable without consent" \
    "CORTEX_INSTALL_PARTS=yes in the environment, or install it yourself"
}

# Runs a command as root: directly, or through sudo where a person can answer it.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif have sudo; then sudo "$@"; else
    die "'$1' needs root" "run as root, or install sudo"
  fi
}

# apt_install PACKAGE...: Debian packages by name, each only if it is not there.
apt_install() {
  local missing=() package
  for package in "$@"; do
    if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$'; then missing+=("$package"); fi
  done
  if [ "${#missing[@]}" = 0 ]; then return 0; fi
  have apt-get || die "the Debian packages ${missing[*]} are missing and this machine has no apt-get" "its own package manager"
  consent "the Debian packages ${missing[*]}"
  say "installing ${missing[*]}"
  local log="$CORTEX_PARTS_DIR/apt.log"
  mkdir -p "$CORTEX_PARTS_DIR"
  apt_update
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    die "apt-get could not install ${missing[*]} (whole log: $log)" "apt-get update && apt-get install ${missing[*]}"
  fi
}

# Package lists older than an hour are asked for again; a mirror that answers late is asked three times.
apt_update() {
  local stamp="$CORTEX_PARTS_DIR/apt-updated" attempt
  if [ -n "$(find "$stamp" -mmin -60 2>/dev/null)" ]; then return 0; fi
  for attempt in 1 2 3; do
    if as_root apt-get -o DPkg::Lock::Timeout=300 update >"$CORTEX_PARTS_DIR/apt-update.log" 2>&1; then
      touch "$stamp"
      return 0
    fi
    sleep $((attempt * 2))
  done
  # A third-party source that fails must not stop an install that does not need it: apt-get install decides.
  say "apt-get update did not succeed wholly; going on with the lists at hand"
}

# The Debian mirror that this machine already uses, as URL: read from apt, so that none is written here.
debian_mirror() {
  if [ -n "${CORTEX_DEBIAN_MIRROR:-}" ]; then printf '%s\n' "$CORTEX_DEBIAN_MIRROR"; return 0; fi
  local mirror
  # apt expands these placeholders, not the shell.
  # shellcheck disable=SC2016
  mirror="$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null \
    | awk '$1 == "Debian" && $2 == "Debian" && $3 == "main" { print $4; exit }')"
  [ -n "$mirror" ] || die "no Debian mirror among this machine's apt sources" "CORTEX_DEBIAN_MIRROR=<URL of one> in the environment"
  printf '%s\n' "${mirror%/}"
}

# unpack_from_debian SUITE DIRECTORY PACKAGE...: leaves the packages' files in DIRECTORY/tree without installing anything. For
# what this Debian has too old and a later one has as a static binary. apt fetches and checks it, in an apt of its own that
# leaves the machine's sources and lists alone.
unpack_from_debian() {
  local suite="$1" root="$2" mirror package
  shift 2
  mirror="$(debian_mirror)"
  mkdir -p "$root/lists/partial" "$root/cache/archives/partial"
  printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$mirror" "$suite" >"$root/sources.list"
  local options=(
    -o "Dir::Etc::sourcelist=$root/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$root/lists" -o "Dir::Cache=$root/cache" -o APT::Sandbox::User=root
    -o Dir::State::status=/dev/null -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::Retries=3
  )
  if ! (cd "$root" && apt-get "${options[@]}" update && apt-get "${options[@]}" download "$@") >"$root/apt.log" 2>&1; then
    tail -n 5 "$root/apt.log" >&2
    return 1
  fi
  for package in "$root"/*.deb; do dpkg-deb -x "$package" "$root/tree"; done
}

# digest FILE...: names a cache entry by what it was made from.
digest() { cat "$@" | sha256sum | cut -c1-16; }
