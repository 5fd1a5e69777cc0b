#!/usr/bin/env bash
# Validates OpenAPI documents with openapi-spec-validator, a third party's, from PyPI.
# usage: validate_openapi.sh DIRECTORY DOCUMENT...
#   DIRECTORY  where the virtual environment is made, once
set -euo pipefail

directory=$1
shift
version=0.9.0
environment=$directory/openapi-spec-validator-$version

fail() {
    echo "cannot validate OpenAPI documents: $1" >&2
    echo "needed: python3 with venv, and PyPI or a mirror of it, for openapi-spec-validator==$version" >&2
    exit 3
}

exec 9>"$directory/openapi-spec-validator.lock"
flock 9
if [ ! -e "$environment/ready" ]; then
    rm -rf "$environment"
    python3 -m venv "$environment" || fail "python3 -m venv failed"
    "$environment/bin/pip" install --quiet --disable-pip-version-check \
        "openapi-spec-validator==$version" || fail "pip install failed"
    touch "$environment/ready"
fi
flock -u 9

"$environment/bin/openapi-spec-validator" --schema 3.1 "$@"
