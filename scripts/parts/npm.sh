#!/usr/bin/env bash
# What the tests take from npm (npm/package.json, pinned by its lock file): buf, the TypeScript client's libraries and
# generator, and aimock, an upstream that speaks the wire formats of LLM providers.
#
#   npm.sh          prints its node_modules directory; the same place is always at $CORTEX_PARTS_DIR/npm/node_modules

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SOURCES="$PARTS_SCRIPTS/npm"

build() {
  say "installing the npm packages of the tests"
  rm -rf "$1.new"
  mkdir -p "$1.new"
  cp "$SOURCES/package.json" "$SOURCES/package-lock.json" "$SOURCES/.npmrc" "$1.new/"
  local log="$CORTEX_PARTS_DIR/npm.log"
  # No package needs its install script: buf's executable comes in a package per platform.
  if ! (cd "$1.new" && npm ci --ignore-scripts >"$log" 2>&1); then
    tail -n 10 "$log" >&2
    die "npm could not install $SOURCES/package-lock.json (whole log: $log)" "a registry that npm reaches, or npm_config_registry naming one"
  fi
  rm -rf "$1"
  mv "$1.new" "$1"
}

PATH="$("$PARTS_SCRIPTS/node.sh"):$PATH"
target="$CORTEX_PARTS_DIR/npm-$(digest "$SOURCES/package.json" "$SOURCES/package-lock.json")"
if [ ! -x "$target/node_modules/.bin/buf" ]; then
  lock npm
  [ -x "$target/node_modules/.bin/buf" ] || build "$target"
fi
ln -sfn "$target" "$CORTEX_PARTS_DIR/npm"
printf '%s\n' "$target/node_modules"
