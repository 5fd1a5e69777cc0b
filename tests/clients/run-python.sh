#!/usr/bin/env bash
# Generates the Python client from the contracts and holds a conversation with it:
#
#   run-python.sh 127.0.0.1:8085
#
# What is generated stays outside the tree and is made again when a contract changes.

source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/parts/lib.sh"

[ "$#" = 1 ] || die "usage: run-python.sh ADDRESS, for example 127.0.0.1:8085"

CLIENT="$REPOSITORY/tests/clients/python/client.py"

mapfile -t contracts < <(cd "$REPOSITORY/proto" && find cortex -name '*.proto' | LC_ALL=C sort)
python="$("$PARTS_SCRIPTS/python.sh")/python"
generated="$CORTEX_PARTS_DIR/clients/python-$( (cd "$REPOSITORY/proto" && digest "${contracts[@]}" "$PARTS_SCRIPTS/python/requirements.txt"))"

generate() {
  say "generating the Python client"
  rm -rf "$1.new"
  mkdir -p "$1.new"
  # google/api and google/rpc come as a package (googleapis-common-protos), as in any Python program.
  "$python" -m grpc_tools.protoc -I "$REPOSITORY/proto" --python_out="$1.new" --grpc_python_out="$1.new" "${contracts[@]}"
  mv "$1.new" "$1"
}

if [ ! -d "$generated" ]; then
  lock clients-python
  [ -d "$generated" ] || generate "$generated"
  exec 9>&-
fi
PYTHONPATH="$generated" PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 exec timeout 420 "$python" "$CLIENT" "$1"
