#!/usr/bin/env bash
# Formats Rust and the contracts in place.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$PARTS_SCRIPTS/npm.sh" >/dev/null
cargo fmt --all
buf format --write
