#!/usr/bin/env bash
# The long proofs: tests that are ignored in `make test` because they take minutes to an hour (crashes by the thousand, soaks). They are marked
# `#[ignore = "make prove"]`. Arguments go to nextest.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$PARTS_SCRIPTS/all.sh" test
say "building the workspace and its tests"
build_all
cargo nextest run --locked --workspace --profile prove --run-ignored only --no-tests=fail "$@"
