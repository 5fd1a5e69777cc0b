#!/usr/bin/env bash
# The main job, end to end, in the terminal: start the mesh in one process, ask the agent `assistant` a question that needs a tool, see its
# answer stream while the tool runs in a container, read the conversation back over HTTP, stop. Fails if the answer is wrong.
#
# It runs on ports and a data directory of its own, beside whatever else runs here, with the built-in rehearsal model: no key is used.
# CORTEX_DEMO_LIVE=1 uses the providers that the environment configures instead.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

QUESTION="use the calculator to multiply 6 by 7"
EXPECTED=42
READY_LIMIT=60

work=""
mesh=""
cleanup() {
  local status=$?
  if [ -n "$mesh" ] && kill -0 "$mesh" 2>/dev/null; then
    say "stopping the mesh"
    kill -TERM "$mesh"
    wait "$mesh" 2>/dev/null || true
  fi
  if [ "$status" != 0 ] && [ -s "$work/up.log" ]; then
    say "the end of its log:"
    tail -n 30 "$work/up.log" >&2
  fi
  [ -z "$work" ] || rm -rf "$work"
}
trap cleanup EXIT

use_the_rehearsal_model() {
  if [ "${CORTEX_DEMO_LIVE:-}" = 1 ]; then return 0; fi
  unset OPENAI_API_KEY OPENAI_BASE_URL ANTHROPIC_API_KEY GEMINI_API_KEY GROQ_API_KEY ENABLE_GEMINI ENABLE_GROQ
  # Nothing listens on the discard port: an Ollama on this machine is left alone.
  export OLLAMA_HOST=http://127.0.0.1:9
}

start() {
  local offset
  offset="$(free_port_offset)"
  gateway="http://127.0.0.1:$((8080 + offset))"
  say "starting every service in one process on $gateway"
  "$cortex" up --manifests manifests --data-dir "$work/data" --host 127.0.0.1 --port-offset "$offset" >"$work/up.log" 2>&1 &
  mesh=$!
  local until=$((SECONDS + READY_LIMIT))
  until curl -fsS -m 2 "$gateway/health/ready" >/dev/null 2>&1; do
    kill -0 "$mesh" 2>/dev/null || die "the mesh ended while it started"
    [ "$SECONDS" -lt "$until" ] || die "the mesh was not ready within $READY_LIMIT s"
    sleep 0.1
  done
  export CORTEX_URL="$gateway"
}

ask() {
  say "cortex chat assistant \"$QUESTION\""
  "$cortex" chat assistant "$QUESTION" | tee "$work/answer"
  grep -q "$EXPECTED" "$work/answer" || die "the answer does not contain $EXPECTED"
}

show_history() {
  local session
  session="$("$cortex" --output json session list | python3 -c '
import json, sys
answer = json.load(sys.stdin)
sessions = answer.get("sessions", answer) if isinstance(answer, dict) else answer
print(sessions[0]["session_id"])')"
  say "curl $gateway/agent/session/$session/history"
  curl -fsS -m 10 "$gateway/agent/session/$session/history" | tee "$work/history" | python3 -m json.tool
  grep -q "$EXPECTED" "$work/history" || die "the history does not contain $EXPECTED"
}

"$PARTS_SCRIPTS/all.sh" demo
say "building"
build_binaries
cortex="$(binary_dir)/cortex"
work="$(mktemp -d)"
use_the_rehearsal_model
start
ask
show_history
say "the demo works: an agent declared in YAML called a tool in a container and answered"
