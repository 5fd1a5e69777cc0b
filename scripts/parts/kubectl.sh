#!/usr/bin/env bash
# kubectl with a kustomize that is new enough, for validating deploy/kubernetes without a cluster: the machine's own, otherwise the file
# from Debian 13's package (Debian 12's is from 2021).
#
#   kubectl.sh      prints its path

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SUITE=trixie
TARGET="$CORTEX_PARTS_DIR/kubectl"

new_enough() { have "$1" && [ "$("$1" version --client -o json 2>/dev/null | sed -n 's/.*"minor": "\([0-9]*\).*/\1/p' | head -n 1)" -ge 27 ]; }

build() {
  say "fetching kubectl from Debian's $SUITE"
  local work
  work="$(mktemp -d "$CORTEX_PARTS_DIR/kubectl.XXXXXX")"
  # shellcheck disable=SC2064  # the directory of now
  trap "rm -rf '$work'" EXIT
  unpack_from_debian "$SUITE" "$work" kubectl || die "kubectl could not be fetched" "install kubectl 1.27 or later"
  install -m 0755 "$work/tree/usr/bin/kubectl" "$TARGET.new"
  mv "$TARGET.new" "$TARGET"
}

if new_enough kubectl 2>/dev/null; then
  command -v kubectl
  exit 0
fi
if ! [ -x "$TARGET" ]; then
  lock kubectl
  [ -x "$TARGET" ] || build
fi
printf '%s\n' "$TARGET"
