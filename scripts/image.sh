#!/usr/bin/env bash
# The image cortex-prime:dev from the very binaries that the tests run: FROM scratch, nothing is pulled, the classic builder is enough.
#
#   image.sh [--tag NAME:TAG] [--binaries DIR]
#
# --binaries: a directory with cortex and cortex-toolbox, both static; default: the dev profile's, built if stale. Prints the tag.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

tag="${CORTEX_IMAGE:-cortex-prime:dev}"
binaries=""
while [ "$#" -gt 0 ]; do
  case "$1" in
    --tag) tag="$2"; shift 2 ;;
    --binaries) binaries="$2"; shift 2 ;;
    *) die "image.sh does not know '$1'" "image.sh [--tag NAME:TAG] [--binaries DIR]" ;;
  esac
done

"$PARTS_SCRIPTS/docker.sh" start
if [ -z "$binaries" ]; then
  say "building cortex and cortex-toolbox"
  build_binaries
  binaries="$(binary_dir)"
fi

context="$(mktemp -d)"
trap 'rm -rf "$context"' EXIT
scripts/rootfs.sh "$binaries" "$context/rootfs"
# Owners come from here and not from who builds; fixed times and order make an unchanged tree a cache hit. Two archives in one:
# /data alone belongs to the image's user.
tar --sort=name --mtime=@0 --numeric-owner --owner=0 --group=0 -C "$context/rootfs" --exclude=./data -cf "$context/rootfs.tar" .
tar --sort=name --mtime=@0 --numeric-owner --owner=65532 --group=65532 -C "$context/rootfs" -rf "$context/rootfs.tar" ./data
rm -rf "$context/rootfs"

say "building $tag"
log="$context/build.log"
docker build --quiet --target prebuilt -f deploy/Dockerfile -t "$tag" "$context" >"$log" 2>&1 || {
  cat "$log" >&2
  die "docker build failed"
}
printf '%s\n' "$tag"
