#!/usr/bin/env bash
# Builds and runs every service in one process with the example manifests; ctrl-c drains and stops it. Arguments go to `cortex up`.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Tools need an engine; without one everything else works, and `cortex up` says so.
"$PARTS_SCRIPTS/all.sh" demo || say "going on without Docker: agents answer, their tools do not"
build_binaries
exec "$(binary_dir)/cortex" up --manifests manifests "$@"
