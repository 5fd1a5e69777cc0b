#!/usr/bin/env bash
# Everything that can be judged without running a test. Every check runs, so that one run shows every finding; fails if one failed.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$PARTS_SCRIPTS/all.sh" lint

failed=()
check() {
  local name="$1"
  shift
  say "lint: $name"
  "$@" || failed+=("$name")
}

# A baseline is compared with the working tree: against HEAD of a clean clone nothing would be compared.
breaking() { buf breaking --against proto/baseline.binpb; }

# Our own scripts, by name or by their first line.
shell_scripts() {
  git ls-files --cached --others --exclude-standard .ci scripts deploy tests \
    | while read -r file; do
      if [[ "$file" == *.sh ]] || head -c 64 "$file" 2>/dev/null | head -n 1 | grep -q '^#!.*bash'; then printf '%s\n' "$file"; fi
    done
}
shell() { shell_scripts | xargs shellcheck --external-sources --source-path=SCRIPTDIR; }

check "rustfmt" cargo fmt --all --check
check "clippy" cargo clippy --locked --workspace --all-targets --keep-going --quiet -- -D warnings
check "buf lint" buf lint
check "buf format" buf format --diff --exit-code
check "buf breaking" breaking
check "cargo deny" cargo deny --locked check --hide-inclusion-graph licenses bans sources
check "shellcheck" shell
check "kubernetes" scripts/check-kubernetes.sh

if [ "${#failed[@]}" -gt 0 ]; then die "lint failed: $(printf '%s; ' "${failed[@]}")" "make fmt mends the formats; the rest is above"; fi
say "lint: all checks passed"
