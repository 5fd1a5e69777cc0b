#!/usr/bin/env bash
# Known vulnerabilities, yanked and unmaintained crates. Apart from `make lint`: it fetches the advisory database, and a
# commit that was good yesterday can fail today.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$PARTS_SCRIPTS/python.sh" >/dev/null
cargo deny --locked check advisories \
  || die "advisories were found, or the database could not be fetched (the log above says which)" "a network that reaches the advisory database's git repository"
