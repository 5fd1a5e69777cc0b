#!/usr/bin/env bash
# Every real part that the tests use, in one go. Safe to run again: what is there is left alone.
#
#   all.sh          everything that `make test` needs
#   all.sh lint     what `make lint` needs: no Docker
#   all.sh demo     what `make demo` needs: Docker alone
#
# Where things are afterwards (CORTEX_PARTS_DIR defaults to ~/.cache/cortex-parts):
#   $CORTEX_PARTS_DIR/npm/node_modules/.bin   buf, protoc-gen-es, llmock, tsc
#   $CORTEX_PARTS_DIR/npm/node_modules        @connectrpc/*, @bufbuild/protobuf
#   $CORTEX_PARTS_DIR/node/bin                node, npm
#   $CORTEX_PARTS_DIR/python/bin              python (grpc, grpc_tools), openapi-spec-validator, kubernetes-validate, ...

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

run() { "$PARTS_SCRIPTS/$1.sh" "${@:2}" >/dev/null; }

case "${1:-test}" in
  lint)
    run python
    run npm
    ;;
  demo)
    run docker
    ;;
  test)
    run python
    run npm
    run docker
    run postgres
    run compose
    run base-images
    ;;
  *) die "usage: all.sh [test|lint|demo]" ;;
esac
