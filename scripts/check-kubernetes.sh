#!/usr/bin/env bash
# Validates deploy/kubernetes without a cluster: every overlay builds, every object is valid for the oldest and the newest Kubernetes that we
# name, and what no schema knows holds (deploy/tests/kubernetes.py: selectors, arrows, probes, hardening).

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# 1.29 has native sidecars switched on, which overlays/single uses.
VERSIONS=(1.29 1.37)

python="$("$PARTS_SCRIPTS/python.sh")"
kubectl="$("$PARTS_SCRIPTS/kubectl.sh")"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

for directory in deploy/kubernetes/base deploy/kubernetes/overlays/*/; do
  name="$(basename "$directory")"
  "$kubectl" kustomize "$directory" >"$work/$name.yaml" || die "kustomize cannot build $directory"
  for version in "${VERSIONS[@]}"; do
    "$python/kubernetes-validate" --strict --quiet -k "$version" "$work/$name.yaml" || die "$directory is not valid for Kubernetes $version"
  done
  "$python/python" deploy/tests/kubernetes.py "$work/$name.yaml" || die "$directory breaks a rule of ours"
done
