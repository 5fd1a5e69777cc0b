#!/usr/bin/env bash
# The long proofs: tests that `make test` leaves out or runs in a short form, because they take minutes to an hour (crashes by the thousand,
# soaks). Left out are those marked `#[ignore = "make prove"]`; the short forms are lengthened by the variables below. Arguments go to nextest.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$PARTS_SCRIPTS/all.sh" test
say "building the workspace and its tests"
build_all

# How long the long forms are: kills of a writer, and cases of the model (a sixth of them on each form of PostgreSQL).
export CORTEX_STORAGE_KILLS="${CORTEX_STORAGE_KILLS:-1000}"
export CORTEX_STORAGE_RESTARTS="${CORTEX_STORAGE_RESTARTS:-100}"
export CORTEX_STORAGE_CASES="${CORTEX_STORAGE_CASES:-2000}"
say "$CORTEX_STORAGE_KILLS kills of a writer, $CORTEX_STORAGE_RESTARTS restarts of its server, $CORTEX_STORAGE_CASES cases of the model, and what make test leaves out"
# Tests named child_ are the other half of a test that starts them.
cargo nextest run --locked --workspace --profile prove --run-ignored all --no-tests=fail \
  -E '(binary(crash) or binary(artifact_crash) or test(many_kills)) and not test(child_)' "$@"
# These compute for hours without optimisation, and wait for no disk: what they try is decisions.
TMPDIR="$(mktemp -d /dev/shm/cortex-prove.XXXXXX)"
export TMPDIR
# PostgreSQL, which is there too, runs as another user.
chmod 711 "$TMPDIR"
trap 'rm -rf "$TMPDIR"' EXIT
cargo nextest run --locked --cargo-profile prove -p cortex-storage --profile prove --no-tests=fail \
  --test-threads "$(nproc)" -E 'binary(model)' "$@"
