#!/usr/bin/env bash
# Base images for tests and examples, made on this machine: an engine that cannot pull has none.
#
#   base-images.sh [busybox] [python]     both when none is named
#
#   cortex-base-busybox:bookworm   busybox, static, FROM scratch (2 MB)
#   cortex-base-python:bookworm    Debian with python3 (150 MB)
#
# The names are our own: a public name on a local image would quietly replace the real one for everybody on this machine.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SUITE=bookworm
BUSYBOX_IMAGE=cortex-base-busybox:$SUITE
PYTHON_IMAGE=cortex-base-python:$SUITE
PYTHON_PACKAGES=python3,ca-certificates

WORK=""
cleanup() { if [ -n "$WORK" ]; then as_root rm -rf "$WORK"; fi; }
trap cleanup EXIT

is_there() { docker image inspect "$1" >/dev/null 2>&1; }

make_busybox() {
  if is_there "$BUSYBOX_IMAGE"; then return 0; fi
  apt_install busybox-static
  say "making $BUSYBOX_IMAGE"
  local root="$WORK/busybox" applet
  mkdir -p "$root/bin" "$root/etc" "$root/tmp"
  chmod 1777 "$root/tmp"
  # Debian's busybox-static is /bin/busybox.
  cp /bin/busybox "$root/bin/busybox"
  for applet in $("$root/bin/busybox" --list); do [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"; done
  printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
  tar -C "$root" --owner=0 --group=0 -c . | docker import -c 'ENV PATH=/bin' -c 'CMD ["/bin/sh"]' - "$BUSYBOX_IMAGE" >/dev/null
}

# The tree is kept as a tar file beside the other parts: an engine that lost its images gets them back without a download.
build_python_tar() {
  apt_install debootstrap
  local root="$WORK/python" log="$CORTEX_PARTS_DIR/debootstrap.log" mirror
  mirror="$(debian_mirror)"
  say "making a Debian $SUITE with python3 (about a minute and a half)"
  if ! as_root debootstrap --variant=minbase --include="$PYTHON_PACKAGES" "$SUITE" "$root" "$mirror" >"$log" 2>&1; then
    tail -n 10 "$log" >&2
    die "debootstrap could not make a $SUITE tree (whole log: $log)" "CORTEX_DEBIAN_MIRROR=<URL of a Debian mirror> in the environment"
  fi
  # What only an installation needs is left out: package archives and lists, documentation, and the mirror's name.
  as_root sh -c "cd '$root' && rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/* usr/share/doc/* usr/share/man/* usr/share/locale/* etc/apt/sources.list"
  as_root tar -C "$root" -c . >"$1.new"
  mv "$1.new" "$1"
}

make_python() {
  if is_there "$PYTHON_IMAGE"; then return 0; fi
  local tarball="$CORTEX_PARTS_DIR/base-python-$SUITE.tar"
  [ -s "$tarball" ] || build_python_tar "$tarball"
  say "importing $PYTHON_IMAGE"
  docker import -c 'ENV PATH=/usr/local/bin:/usr/bin:/bin' -c 'ENV LANG=C.UTF-8' -c 'ENV PYTHONUNBUFFERED=1' -c 'CMD ["python3"]' \
    "$tarball" "$PYTHON_IMAGE" >/dev/null
}

"$PARTS_SCRIPTS/docker.sh" start
[ "$#" -gt 0 ] || set -- busybox python
lock base-images 1200
WORK="$(mktemp -d "$CORTEX_PARTS_DIR/base.XXXXXX")"
for image in "$@"; do
  case "$image" in
    busybox) make_busybox ;;
    python) make_python ;;
    *) die "no base image is called '$image'" "base-images.sh [busybox] [python]" ;;
  esac
done
