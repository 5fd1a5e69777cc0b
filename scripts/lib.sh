# shellcheck shell=bash
# What the scripts behind the Makefile share. Sourced, never run.

source "$(dirname "${BASH_SOURCE[0]}")/parts/lib.sh"

cd "$REPOSITORY"

# Parts first found on the machine itself, then ours: an installed cargo-nextest of the right age is as good.
PATH="$PATH:$CORTEX_PARTS_DIR/python/bin:$CORTEX_PARTS_DIR/npm/node_modules/.bin:$CORTEX_PARTS_DIR/node/bin"
export PATH

have cargo || die "the Rust toolchain is missing" "rustup, the version in Cargo.toml's rust-version or later"

# Tests and the binaries that they start are built by one command with one set of features, so that nothing is built twice
# and what was tested is what runs.
build_all() { cargo build --locked --workspace --bins --tests; }

# The binaries alone, with the features that the tests' build has: chosen by package, 40 dependencies would be built a second time.
build_binaries() { cargo build --locked --workspace --bins; }

# The directory of dev-profile executables: .cargo/config.toml names a target, so it is target/<triple>/debug.
binary_dir() {
  local target
  target="$(cargo metadata --format-version 1 --no-deps --locked | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')"
  printf '%s/x86_64-unknown-linux-gnu/debug\n' "$target"
}

# free_port_offset: an offset at which every port of the mesh is free on loopback right now.
free_port_offset() {
  python3 - <<'PYTHON'
import random, socket, sys
for _ in range(200):
    offset = random.randrange(10000, 40000, 10)
    sockets = []
    try:
        for port in [3000, *range(8080, 8087)]:
            s = socket.socket()
            sockets.append(s)
            s.bind(("127.0.0.1", port + offset))
    except OSError:
        continue
    finally:
        for s in sockets:
            s.close()
    print(offset)
    sys.exit(0)
sys.exit("no free range of ports")
PYTHON
}

# wait_for SECONDS COMMAND...: runs the command every 0.2 s until it succeeds.
wait_for() {
  local until=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.2
  done
}
