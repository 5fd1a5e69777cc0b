#!/usr/bin/env bash
# Renews proto/baseline.binpb, the image that `buf breaking` compares the contracts with, and the golden wire surface. Only
# after a decision: from then on the contracts as they are now are what clients rely on. Shows first what it breaks.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$PARTS_SCRIPTS/npm.sh" >/dev/null

buf lint
if [ -f proto/baseline.binpb ] && ! buf breaking --against proto/baseline.binpb; then
  say "the above breaks clients of the former baseline"
fi
# Without source info: comments and line numbers are no part of the promise.
buf build --exclude-source-info -o proto/baseline.binpb
CORTEX_UPDATE_WIRE_SURFACE=1 cargo test --quiet --locked -p cortex-proto --test wire_surface >/dev/null
say "proto/baseline.binpb and crates/cortex-proto/tests/wire_surface.txt show the contracts of this tree"
