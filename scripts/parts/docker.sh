#!/usr/bin/env bash
# Docker Engine: installs it if it is missing and starts a daemon if none answers.
#
#   docker.sh [start]   a daemon answers when this returns 0
#   docker.sh stop      ends the daemon that this script started; any other is left alone
#   docker.sh status    says which daemon answers
#
# A daemon started here logs to $CORTEX_PARTS_DIR/dockerd.log and has its pid in dockerd.pid beside it.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PID_FILE="$CORTEX_PARTS_DIR/dockerd.pid"
LOG_FILE="$CORTEX_PARTS_DIR/dockerd.log"
# Seconds. A cold start on two busy cores takes three to eight.
START_LIMIT=60

answers() { have docker && timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

ours() {
  local pid
  [ -s "$PID_FILE" ] || return 1
  pid="$(cat "$PID_FILE")"
  # A pid can be another process by now: it counts only if it is still a dockerd.
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]
}

install_engine() {
  apt_install docker.io iptables ca-certificates
}

# Some kernels have no nf_tables; the daemon then needs the legacy front end.
choose_iptables() {
  if as_root iptables -w 5 -t nat -L -n >/dev/null 2>&1; then return 0; fi
  if as_root iptables-legacy -w 5 -t nat -L -n >/dev/null 2>&1; then
    consent "the legacy iptables front end as this machine's default"
    as_root update-alternatives --set iptables "$(command -v iptables-legacy)" >/dev/null
  fi
}

start_in_background() {
  say "starting dockerd (log: $LOG_FILE)"
  # A pid file of the engine's own that outlived a killed machine would stop the new daemon.
  if [ -s /run/docker.pid ] && ! kill -0 "$(cat /run/docker.pid)" 2>/dev/null; then as_root rm -f /run/docker.pid; fi
  # setsid and closed descriptors: the daemon outlives this script, holds none of its pipes and not its lock.
  # shellcheck disable=SC2024  # the log belongs to the user who started it
  as_root setsid --fork dockerd </dev/null >"$LOG_FILE" 2>&1 9>&-
  local waited=0
  until answers; do
    waited=$((waited + 1))
    if [ "$waited" -gt "$START_LIMIT" ]; then
      tail -n 20 "$LOG_FILE" >&2
      die "dockerd did not answer within $START_LIMIT s (whole log: $LOG_FILE)" "a kernel with overlayfs, cgroups and bridge networking, and root"
    fi
    sleep 1
  done
  cat /run/docker.pid >"$PID_FILE"
}

start() {
  if answers; then return 0; fi
  if [ -n "${DOCKER_HOST:-}" ]; then
    die "no Docker daemon answers at DOCKER_HOST=$DOCKER_HOST" "start it, or unset DOCKER_HOST to use a local one"
  fi
  lock docker
  if answers; then return 0; fi
  have dockerd || install_engine
  # The package may have started its own daemon by now.
  local waited
  for waited in 1 2 3; do
    if answers; then return 0; fi
    if [ ! -d /run/systemd/system ]; then break; fi
    as_root systemctl start docker >/dev/null 2>&1 || true
    sleep "$waited"
  done
  if [ -S /var/run/docker.sock ] && [ "$(id -u)" != 0 ] && ! [ -w /var/run/docker.sock ]; then
    die "this user may not use the Docker daemon" "sudo usermod -aG docker $(id -un), then log in again"
  fi
  consent "a Docker daemon, started in the background,"
  choose_iptables
  start_in_background
}

stop() {
  if ! ours; then return 0; fi
  local pid waited=0
  pid="$(cat "$PID_FILE")"
  say "stopping dockerd ($pid)"
  as_root kill "$pid"
  while [ -d "/proc/$pid" ] && [ "$waited" -lt 30 ]; do
    sleep 1
    waited=$((waited + 1))
  done
  rm -f "$PID_FILE"
}

status() {
  answers || die "no Docker daemon answers" "$PARTS_SCRIPTS/docker.sh start"
  printf 'Docker Engine %s, %s\n' "$(docker version --format '{{.Server.Version}} (API {{.Server.APIVersion}})')" \
    "$(if ours; then printf 'started here, pid %s' "$(cat "$PID_FILE")"; else printf 'not started here'; fi)"
}

case "${1:-start}" in
  start) start ;;
  stop) stop ;;
  status) status ;;
  *) die "usage: docker.sh [start|stop|status]" ;;
esac
