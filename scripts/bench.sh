#!/usr/bin/env bash
# The figures of docs/performance.md, measured on this machine with optimised binaries. Arguments go to the benchmarks.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A busy machine gives figures of the load, not of the program.
load="$(cut -d' ' -f1 /proc/loadavg)"
if python3 -c "import os, sys; sys.exit(float('$load') < 0.5 * os.cpu_count())"; then
  say "the load is $load on $(nproc) cores: figures will be worse than the program is"
fi
say "building with optimisation"
cargo build --locked --release -p cortex -p cortex-toolbox
cargo bench --locked --workspace -- "$@"
