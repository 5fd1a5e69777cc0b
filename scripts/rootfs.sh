#!/usr/bin/env bash
# Lays out what the image holds. Used by scripts/image.sh and inside deploy/Dockerfile, so that both ways give the same image.
#
#   rootfs.sh BINARIES DIRECTORY      BINARIES holds cortex and cortex-toolbox
#
# CORTEX_CA_BUNDLE names the certificate authorities to ship; default: this machine's.

set -euo pipefail

binaries="$1"
root="$2"
sources="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
ca_bundle="${CORTEX_CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}"

for needed in "$binaries/cortex" "$binaries/cortex-toolbox" "$ca_bundle" /usr/share/zoneinfo/UTC; do
  if [ ! -e "$needed" ]; then
    printf 'error: %s is missing\n  how to get it: cargo build --workspace --bins; apt-get install ca-certificates tzdata\n' "$needed" >&2
    exit 1
  fi
done

# FROM scratch there is no loader: a dynamic binary would fail with a puzzling "no such file or directory".
for binary in cortex cortex-toolbox; do
  if LC_ALL=C grep -q -a -m 1 '/ld-linux' <(head -c 4096 "$binaries/$binary"); then
    printf 'error: %s is not static\n  how to get it: build with the .cargo/config.toml of this repository\n' "$binaries/$binary" >&2
    exit 1
  fi
done

mkdir -p "$root"/{usr/local/bin,etc/ssl/certs,usr/share/zoneinfo,data,tmp,manifests}
chmod 1777 "$root/tmp"
chmod 0750 "$root/data"
chown 65532:65532 "$root/data" 2>/dev/null || true

for binary in cortex cortex-toolbox; do
  install -m 0755 "$binaries/$binary" "$root/usr/local/bin/$binary"
  # Debug information of dependencies is half of the file and helps nobody inside a container.
  strip --strip-debug "$root/usr/local/bin/$binary" 2>/dev/null || true
done
install -m 0644 "$ca_bundle" "$root/etc/ssl/certs/ca-certificates.crt"
# posix/ repeats every zone, right/ counts leap seconds.
tar -C /usr/share/zoneinfo --exclude=./posix --exclude=./right --exclude='./*.list' -c . | tar -C "$root/usr/share/zoneinfo" -x
cp -R "$sources/manifests/." "$root/manifests/"
chmod -R a+rX "$root/manifests" "$root/usr" "$root/etc"
printf 'root:x:0:0:root:/:/sbin/nologin\ncortex:x:65532:65532:cortex:/data:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\ncortex:x:65532:\n' >"$root/etc/group"
