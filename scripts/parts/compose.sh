#!/usr/bin/env bash
# Docker's compose v2 and buildx plugins, where the Docker client has none.
#
# Debian 12 carries neither (its docker-compose is v1), so the two files are taken out of Debian 13's packages: static Go
# binaries that run against the older engine. The packages are fetched and checked by apt.
#
#   compose.sh      `docker compose` and `docker buildx` work when this returns 0

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SUITE=trixie
CACHE="$CORTEX_PARTS_DIR/docker-plugins"

plugin_dir() {
  # Root's plugins serve every user of the machine; without root they serve this one.
  if [ "$(id -u)" = 0 ]; then printf '/usr/local/lib/docker/cli-plugins\n'; else printf '%s/.docker/cli-plugins\n' "$HOME"; fi
}

build_cache() {
  say "fetching the compose and buildx plugins from Debian's $SUITE"
  mkdir -p "$CACHE"
  local work
  work="$(mktemp -d "$CACHE/work.XXXXXX")"
  # shellcheck disable=SC2064  # the directory of now
  trap "rm -rf '$work'" EXIT
  unpack_from_debian "$SUITE" "$work" docker-compose docker-buildx \
    || die "the compose and buildx plugins could not be fetched" "install Docker's compose v2 and buildx plugins by hand"
  local plugin
  for plugin in docker-compose docker-buildx; do
    install -m 0755 "$work/tree/usr/libexec/docker/cli-plugins/$plugin" "$CACHE/$plugin.new"
    mv "$CACHE/$plugin.new" "$CACHE/$plugin"
  done
  rm -rf "$work"
}

works() { docker "$1" version >/dev/null 2>&1; }

have docker || die "the Docker client is missing" "$PARTS_SCRIPTS/docker.sh"
if works compose && works buildx; then exit 0; fi
consent "Docker's compose and buildx plugins (in $(plugin_dir))"
lock compose
[ -x "$CACHE/docker-compose" ] && [ -x "$CACHE/docker-buildx" ] || build_cache
directory="$(plugin_dir)"
mkdir -p "$directory"
for plugin in compose buildx; do
  works "$plugin" || install -m 0755 "$CACHE/docker-$plugin" "$directory/docker-$plugin"
  works "$plugin" || die "docker $plugin does not run from $directory" "remove $CACHE and try again"
done
