// A client in TypeScript, made of nothing but the generated code: one conversation, from session to end.
//
// Usage: client.js ADDRESS, for example `client.js 127.0.0.1:8085`. Prints what happens, one event a line, and ends with 0
// if everything was as the contracts say.

import { randomUUID } from "node:crypto";

import { equals } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Client } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { SessionEventSchema, type SessionEvent } from "./gen/cortex/agent/v1/session_event_pb.js";
import { SessionService } from "./gen/cortex/agent/v1/session_service_pb.js";
import { TurnService } from "./gen/cortex/agent/v1/turn_service_pb.js";
import { ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";

const AGENT = "assistant";
const QUESTION = "use the calculator to multiply 6 by 7";
const ANSWER = "42";
// The first run of a tool may build its image.
const TURN = { timeoutMs: 300_000 };
const CALL = { timeoutMs: 30_000 };

async function main(address: string): Promise<void> {
  const baseUrl = address.startsWith("http") ? address : `http://${address}`;
  const transport = createGrpcTransport({ baseUrl });
  const sessions = createClient(SessionService, transport);
  const turns = createClient(TurnService, transport);
  const sessionId = await createSession(sessions);
  const events = await sendMessage(turns, sessionId);
  await replayAgrees(turns, sessionId, events);
  await unknownSessionIsNotFound(sessions);
  await endSession(sessions, sessionId);
  console.log("typescript client: ok");
}

async function createSession(sessions: Client<typeof SessionService>): Promise<string> {
  const request = {
    agentName: AGENT,
    userId: "typescript-client",
    metadata: JSON.stringify({ source: "tests/clients/typescript" }),
    requestId: randomUUID(),
  };
  const { session } = await sessions.createSession(request, CALL);
  const sessionId = session?.sessionId ?? "";
  check(sessionId.startsWith("session_"), `a session id, not "${sessionId}"`);
  check(session?.agentName === AGENT, `a session with ${AGENT}, not ${session?.agentName}`);
  console.log("session", sessionId);
  return sessionId;
}

/** Sends the question, prints the events of its turn, and answers them. */
async function sendMessage(turns: Client<typeof TurnService>, sessionId: string): Promise<SessionEvent[]> {
  const events: SessionEvent[] = [];
  const request = { sessionId, content: QUESTION, requestId: randomUUID() };
  for await (const { event } of turns.sendMessage(request, TURN)) {
    check(event !== undefined, "an event in every response");
    events.push(event);
    console.log("event", event.sequence.toString(), event.event.case);
  }
  const cases = events.map((event) => event.event.case);
  check(cases.at(-1) === "turnCompleted", `turnCompleted as the last event, not ${cases.at(-1)}`);
  const content = events.map(contentOf).join("");
  check(content.includes(ANSWER), `content with ${ANSWER}, not "${content}"`);
  const numbers = calledWith(events).sort().join();
  check(numbers === "6,7", `a call with 6 and 7, not with ${numbers}`);
  check(cases.includes("toolResult"), `a toolResult among ${cases.join()}`);
  const rises = events.every((event, index) => index === 0 || event.sequence > events[index - 1]!.sequence);
  check(rises, "rising sequences");
  return events;
}

function contentOf({ event }: SessionEvent): string {
  return event.case === "contentDelta" ? event.value.text : "";
}

/** The numbers that the tools of a turn were called with. */
function calledWith(events: SessionEvent[]): number[] {
  return events.flatMap(({ event }) => {
    if (event.case !== "toolCall" || event.value.part.case !== "completed") return [];
    const values = Object.values(JSON.parse(event.value.part.value.arguments) as Record<string, unknown>);
    return values.filter((value) => typeof value === "number");
  });
}

/** The log tells again what the stream told, from any place on. */
async function replayAgrees(turns: Client<typeof TurnService>, sessionId: string, events: SessionEvent[]): Promise<void> {
  const seen = events[Math.floor(events.length / 2)]!.sequence;
  const rest = events.filter((event) => event.sequence > seen);
  const replayed: SessionEvent[] = [];
  for await (const { event } of turns.watchSession({ sessionId, afterSequence: seen, replayOnly: true }, CALL)) {
    if (event) replayed.push(event);
  }
  const same = rest.every((event, index) => {
    const again = replayed[index];
    return again !== undefined && equals(SessionEventSchema, event, again);
  });
  check(same, `the ${rest.length} events after ${seen} again, as they were`);
}

async function unknownSessionIsNotFound(sessions: Client<typeof SessionService>): Promise<void> {
  try {
    await sessions.getSession({ sessionId: `session_${"0".repeat(32)}` }, CALL);
  } catch (cause) {
    const error = ConnectError.from(cause);
    check(error.code === Code.NotFound, `NotFound, not ${Code[error.code]}`);
    const info = error.findDetails(ErrorInfoSchema).at(0);
    check(info?.reason === "SESSION_NOT_FOUND", `the reason SESSION_NOT_FOUND, not ${info?.reason}`);
    check(info?.domain === "cortex", `the domain cortex, not ${info?.domain}`);
    console.log("error", Code[error.code], info?.reason);
    return;
  }
  check(false, "an unknown session to be NotFound");
}

async function endSession(sessions: Client<typeof SessionService>, sessionId: string): Promise<void> {
  const { status } = await sessions.endSession({ sessionId, reason: "done" }, CALL);
  check(status === "ended", `the status ended, not ${status}`);
}

function check(holds: boolean, expected: string): asserts holds {
  if (!holds) throw new Error(`expected ${expected}`);
}

const address = process.argv[2];
if (address === undefined) {
  console.error("usage: client.js ADDRESS, for example 127.0.0.1:8085");
  process.exitCode = 2;
} else {
  main(address).catch((error: unknown) => {
    console.error("typescript client:", error);
    process.exitCode = 1;
  });
}
