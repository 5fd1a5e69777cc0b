#!/usr/bin/env bash
# Every test of the workspace against real parts.
#
#   test.sh [nextest arguments]     e.g. test.sh -p cortex-rpc, test.sh --no-fail-fast, test.sh -E 'test(watch)'
#
# The last line is `tests: N passed, N failed`.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Seconds since the start, so that a slow step shows.
step() { say "[$((SECONDS / 60))m$((SECONDS % 60))s] $*"; }

step "parts"
"$PARTS_SCRIPTS/all.sh" test
cargo nextest --version >/dev/null 2>&1 || die "cargo-nextest is missing" "cargo install --locked cargo-nextest"

step "building the workspace and its tests"
build_all

# Examples in documentation: nextest does not run them.
examples=0
if [ "$#" = 0 ]; then
  step "examples in the documentation"
  log="$CORTEX_PARTS_DIR/doctest.log"
  cargo test --locked --workspace --doc --quiet >"$log" 2>&1 || {
    cat "$log" >&2
    die "an example in the documentation fails"
  }
  examples="$(awk '/^test result: ok/ { n += $4 } END { print n + 0 }' "$log")"
fi

step "tests"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
status=0
cargo nextest run --locked --workspace --no-tests=fail "$@" 2>&1 | tee "$log" || status=$?

# nextest's own closing line: `Summary [ 12.3s] 200 tests run: 198 passed (1 slow), 2 failed, 3 skipped`.
count() { sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -a 'Summary \[' | tail -n 1 | grep -oE "[0-9]+ $1" | head -n 1 | cut -d' ' -f1; }
passed="$(count passed || true)"
failed="$(count failed || true)"
timed_out="$(count 'timed out' || true)"
step "done"
printf 'tests: %d passed, %d failed\n' "$((${passed:-0} + examples))" "$((${failed:-0} + ${timed_out:-0}))"
exit "$status"
