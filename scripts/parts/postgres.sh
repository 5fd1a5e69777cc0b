#!/usr/bin/env bash
# PostgreSQL 15: the programs alone. Tests start throw-away servers of their own and end them.
#
#   postgres.sh         installs it; prints where its programs are
#   postgres.sh status  says which version is there

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PROGRAMS=/usr/lib/postgresql/15/bin

install() {
  if [ -x "$PROGRAMS/postgres" ]; then return 0; fi
  # The package starts a server of its own unless it is told not to; nobody needs that one.
  if [ -d /etc ] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    consent "the Debian package postgresql-15"
    as_root mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  apt_install postgresql-15 postgresql-client-15 util-linux
  [ -x "$PROGRAMS/postgres" ] || die "PostgreSQL 15 is not at $PROGRAMS" "apt-get install postgresql-15"
}

case "${1:-install}" in
  install)
    lock postgres
    install
    echo "$PROGRAMS"
    ;;
  status)
    [ -x "$PROGRAMS/postgres" ] || die "PostgreSQL 15 is not installed" "scripts/parts/postgres.sh"
    "$PROGRAMS/postgres" --version
    ;;
  *) die "usage: postgres.sh [install|status]" ;;
esac
