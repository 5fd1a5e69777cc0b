#!/usr/bin/env bash
# The stack of deploy/compose.yaml, for real: comes up healthy, an agent runs a tool through it over HTTP, a conversation outlives the restart
# of every service, `ps` and `logs` work, and after `down` nothing is left on the machine.
#
#   compose.sh [--binaries DIR]      as scripts/image.sh; default: the dev profile's, built if stale
#
# It has a project, a network and ports of its own, beside whatever else runs here.

source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

UP_LIMIT=240
PROJECT="cortex-check-$$"
export CORTEX_IMAGE="$PROJECT:test" CORTEX_NETWORK="$PROJECT"
# A port of 0 takes a free one.
export STORAGE_PORT=0 LLM_PORT=0 MANIFEST_PORT=0 CONTAINER_PORT=0 RUNTIME_PORT=0 AGENT_PORT=0 GATEWAY_PORT=0 UI_PORT=0
# The rehearsal model answers: no key of this machine is used, and no Ollama of it.
unset OPENAI_API_KEY OPENAI_BASE_URL ANTHROPIC_API_KEY GEMINI_API_KEY GROQ_API_KEY ENABLE_GEMINI ENABLE_GROQ
export OLLAMA_HOST=http://127.0.0.1:9

work="$(mktemp -d)"
compose() { docker compose -p "$PROJECT" -f deploy/compose.yaml "$@"; }

# Everything on the engine that a stack or a service of it could leave, one thing a line.
inventory() {
  docker ps -a --no-trunc --format 'container {{.ID}} {{.Names}}'
  docker network ls --no-trunc --format 'network {{.ID}} {{.Name}}'
  docker volume ls --format 'volume {{.Name}}'
}

# Other work on this engine comes and goes: only what is ours by label or by name counts.
ours() {
  inventory | sort | comm -13 "$work/before" - | while read -r kind id name; do
    local labels
    labels="$(docker "$kind" inspect -f '{{if .Config}}{{json .Config.Labels}}{{else}}{{json .Labels}}{{end}}' "$id" 2>/dev/null \
      || docker "$kind" inspect -f '{{json .Labels}}' "$id" 2>/dev/null || true)"
    case "$name $labels" in *"$PROJECT"*) printf '%s %s %s\n' "$kind" "$id" "$name" ;; esac
  done
}

cleanup() {
  local status=$?
  if [ "$status" != 0 ]; then
    say "the end of the stack's logs:"
    compose ps -a >&2 || true
    compose logs --no-color --tail 15 >&2 || true
  fi
  compose down -v --remove-orphans --timeout 45 >/dev/null 2>&1 || true
  docker image rm -f "$CORTEX_IMAGE" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

address() { compose port "$1" "$2"; }

# post PATH BODY...: to the gateway, as the specification's examples do.
post() {
  local path="$1" body="$2"
  shift 2
  curl -fsS -m 120 -X POST "http://$gateway$path" -H 'Content-Type: application/json' -d "$body" "$@"
}

field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

up() {
  say "bringing the stack up"
  compose up -d --wait --wait-timeout "$UP_LIMIT" >"$work/up.log" 2>&1 || {
    tail -n 20 "$work/up.log" >&2
    die "the stack did not become healthy within $UP_LIMIT s"
  }
  gateway="$(address api_gateway 8080)"
}

the_commands_of_the_specification_work() {
  local running
  running="$(compose ps --status running --services | sort | tr '\n' ' ')"
  [ "$running" = "agent_orchestrator api_gateway container_orchestrator llm_gateway manifest_ingestion runtime_executor storage_service " ] \
    || die "running services are: $running"
  [ -n "$(compose logs agent_orchestrator)" ] || die "agent_orchestrator logs nothing"
}

ports_are_on_loopback_alone() {
  local published
  published="$(docker ps --filter "label=com.docker.compose.project=$PROJECT" --format '{{.Ports}}' | tr ',' '\n' | grep -- '->' | grep -v '^ *127\.0\.0\.1:' || true)"
  [ -z "$published" ] || die "published beyond this machine: $published"
}

# As the scraper of deploy/prometheus would: from the stack's network, by the names in its configuration.
metrics_can_be_scraped() {
  local target
  grep -oE '[a-z_]+:80[0-9]+' deploy/prometheus/prometheus.yml >"$work/targets"
  [ "$(wc -l <"$work/targets")" = 7 ] || die "prometheus.yml names $(wc -l <"$work/targets") targets, expected 7"
  while read -r target; do
    docker run --rm --network "$CORTEX_NETWORK" cortex-base-python:bookworm python3 -c 'import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())' "http://$target/metrics" >"$work/metrics" </dev/null \
      || die "metrics of $target cannot be scraped"
    grep -q '^# TYPE' "$work/metrics" || die "metrics of $target are none: $(head -c 300 "$work/metrics")"
  done <"$work/targets"
}

a_tool_runs() {
  say "a message that runs a tool"
  session="$(post /agent/assistant/session '{"user_id": "check", "initial_state": {}, "metadata": {"source": "compose"}}' | field session_id)"
  post "/agent/session/$session/message" '{"content": "use the calculator to multiply 6 by 7", "stream": true}' --no-buffer >"$work/events"
  grep -q '^event: tool_result' "$work/events" || die "no tool_result among the events: $(cut -c1-200 "$work/events" | head -n 40)"
  grep -q '^event: turn_completed' "$work/events" || die "the turn did not complete: $(tail -n 5 "$work/events")"
  grep -q 42 "$work/events" || die "the answer lacks 42"
}

# Answers go to files first: a reader that stops early would fail the writer.
the_conversation_outlives_a_restart() {
  say "restarting every service"
  compose restart --timeout 45 >/dev/null 2>&1
  up
  curl -fsS -m 30 "http://$gateway/agent/session/$session/history" >"$work/history"
  grep -q 42 "$work/history" || die "the history is gone after a restart: $(cat "$work/history")"
  post "/agent/session/$session/message" '{"content": "use the calculator to add 20 and 3", "stream": false}' >"$work/answer"
  field response <"$work/answer" >"$work/response"
  grep -q 23 "$work/response" || die "the session does not answer after a restart: $(cat "$work/answer")"
  curl -fsS -m 30 -X DELETE "http://$gateway/agent/session/$session" >/dev/null
}

nothing_is_left() {
  say "taking the stack down"
  compose down -v --timeout 45 >/dev/null 2>&1
  local left
  left="$(ours)"
  [ -z "$left" ] || die "left behind: $left"
}

"$PARTS_SCRIPTS/docker.sh" start
"$PARTS_SCRIPTS/compose.sh"
"$PARTS_SCRIPTS/base-images.sh" python
inventory | sort >"$work/before"
scripts/image.sh --tag "$CORTEX_IMAGE" "$@" >/dev/null
compose config --quiet
up
the_commands_of_the_specification_work
ports_are_on_loopback_alone
metrics_can_be_scraped
a_tool_runs
the_conversation_outlives_a_restart
nothing_is_left
say "the compose stack works and leaves nothing"
