#!/usr/bin/env bash
# The figures of docs/performance.md, measured on this machine with optimised binaries. Fails when one misses its limit.
#
#   bench.sh [--quick] [calls|start|memory|relay|load|storage-append|storage-fanout|storage-http|storage-bytes|storage-read ...]
#
# The figures go to standard output as a table and to target/bench.json.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A busy machine gives figures of the load, not of the program.
busy() { python3 -c "import os, sys; sys.exit(0 if os.getloadavg()[0] > 0.5 * os.cpu_count() else 1)"; }
if busy; then
  say "the load is $(cut -d' ' -f1 /proc/loadavg) on $(nproc) cores: figures will be worse than the program is"
fi

say "building with optimisation"
cargo build --locked --release -p cortex -p cortex-bench
release="$(dirname "$(binary_dir)")/release"
"$release/cortex-bench" --cortex "$release/cortex" --manifests manifests --json "$(dirname "$(dirname "$release")")/bench.json" "$@"
