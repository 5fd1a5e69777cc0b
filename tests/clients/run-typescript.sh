#!/usr/bin/env bash
# Generates the TypeScript client from the contracts, compiles it and holds a conversation with it:
#
#   run-typescript.sh 127.0.0.1:8085
#
# What is generated and compiled stays outside the tree and is made again when a contract or the client changes.

source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/parts/lib.sh"

[ "$#" = 1 ] || die "usage: run-typescript.sh ADDRESS, for example 127.0.0.1:8085"

CLIENT="$REPOSITORY/tests/clients/typescript"

PATH="$("$PARTS_SCRIPTS/node.sh"):$PATH"
modules="$("$PARTS_SCRIPTS/npm.sh")"
PATH="$modules/.bin:$PATH"
mapfile -t sources < <(find "$REPOSITORY/proto" "$CLIENT" -type f ! -name '*.binpb' | LC_ALL=C sort)
built="$CORTEX_PARTS_DIR/clients/typescript-$(digest "${sources[@]}" "$PARTS_SCRIPTS/npm/package-lock.json")"

build() {
  say "generating and compiling the TypeScript client"
  rm -rf "$1.new"
  mkdir -p "$1.new"
  cp -r "$CLIENT/." "$1.new/"
  ln -s "$modules" "$1.new/node_modules"
  (cd "$REPOSITORY" && buf generate --template "$CLIENT/buf.gen.yaml" --output "$1.new/src/gen")
  (cd "$1.new" && tsc)
  mv "$1.new" "$1"
}

if [ ! -d "$built" ]; then
  lock clients-typescript
  [ -d "$built" ] || build "$built"
  exec 9>&-
fi
exec timeout 420 node "$built/dist/client.js" "$1"
