"""A client in Python, made of nothing but the generated code: one conversation, from session to end.

Usage: client.py ADDRESS, for example `client.py 127.0.0.1:8085`. Prints what happens, one event a line, and ends with 0 if
everything was as the contracts say.
"""

import json
import sys
import uuid

import grpc
from cortex.agent.v1 import session_service_pb2, session_service_pb2_grpc
from cortex.agent.v1 import turn_service_pb2, turn_service_pb2_grpc
from google.rpc import error_details_pb2, status_pb2

AGENT = "assistant"
QUESTION = "use the calculator to multiply 6 by 7"
ANSWER = "42"
# The first run of a tool may build its image.
TURN_SECONDS = 300
CALL_SECONDS = 30


def main(address: str) -> None:
    with grpc.insecure_channel(address.removeprefix("http://")) as channel:
        sessions = session_service_pb2_grpc.SessionServiceStub(channel)
        turns = turn_service_pb2_grpc.TurnServiceStub(channel)
        session_id = create_session(sessions)
        events = send_message(turns, session_id)
        replay_agrees(turns, session_id, events)
        unknown_session_is_not_found(sessions)
        end_session(sessions, session_id)
    print("python client: ok")


def create_session(sessions) -> str:
    request = session_service_pb2.CreateSessionRequest(
        agent_name=AGENT,
        user_id="python-client",
        metadata=json.dumps({"source": "tests/clients/python"}),
        request_id=uuid.uuid4().hex,
    )
    session = sessions.CreateSession(request, timeout=CALL_SECONDS).session
    check(session.session_id.startswith("session_"), f"a session id, not {session.session_id!r}")
    check(session.agent_name == AGENT, f"a session with {AGENT}, not {session.agent_name!r}")
    print("session", session.session_id)
    return session.session_id


def send_message(turns, session_id: str) -> list:
    """Sends the question, prints the events of its turn, and answers them."""
    request = turn_service_pb2.SendMessageRequest(
        session_id=session_id, content=QUESTION, request_id=uuid.uuid4().hex
    )
    events = []
    for response in turns.SendMessage(request, timeout=TURN_SECONDS):
        events.append(response.event)
        print("event", response.event.sequence, response.event.WhichOneof("event"))
    types = [event.WhichOneof("event") for event in events]
    check(types[-1:] == ["turn_completed"], f"turn_completed as the last event, not {types[-1:]}")
    content = "".join(event.content_delta.text for event in events)
    check(ANSWER in content, f"content with {ANSWER}, not {content!r}")
    check(called_with(events) == {6, 7}, f"a call with 6 and 7, not with {called_with(events)}")
    check("tool_result" in types, f"a tool_result among {types}")
    sequences = [event.sequence for event in events]
    check(sequences == sorted(set(sequences)), f"rising sequences, not {sequences}")
    return events


def called_with(events: list) -> set:
    """The numbers that the tools of a turn were called with."""
    calls = [event.tool_call.completed.arguments for event in events if event.tool_call.HasField("completed")]
    values = [value for call in calls for value in json.loads(call).values()]
    return {value for value in values if isinstance(value, (int, float))}


def replay_agrees(turns, session_id: str, events: list) -> None:
    """The log tells again what the stream told, from any place on."""
    seen = events[len(events) // 2].sequence
    request = turn_service_pb2.WatchSessionRequest(
        session_id=session_id, after_sequence=seen, replay_only=True
    )
    replayed = [response.event for response in turns.WatchSession(request, timeout=CALL_SECONDS)]
    rest = [event for event in events if event.sequence > seen]
    check(replayed[: len(rest)] == rest, f"the {len(rest)} events after {seen} again, as they were")


def unknown_session_is_not_found(sessions) -> None:
    request = session_service_pb2.GetSessionRequest(session_id="session_" + "0" * 32)
    try:
        sessions.GetSession(request, timeout=CALL_SECONDS)
    except grpc.RpcError as error:
        check(error.code() == grpc.StatusCode.NOT_FOUND, f"NOT_FOUND, not {error.code()}")
        info = error_info(error)
        check(info.reason == "SESSION_NOT_FOUND", f"the reason SESSION_NOT_FOUND, not {info.reason!r}")
        check(info.domain == "cortex", f"the domain cortex, not {info.domain!r}")
        print("error", error.code().name, info.reason)
    else:
        check(False, "an unknown session to be NOT_FOUND")


def error_info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo:
    """The ErrorInfo among an error's details; an empty one if there is none."""
    info = error_details_pb2.ErrorInfo()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                detail.Unpack(info)
    return info


def end_session(sessions, session_id: str) -> None:
    request = session_service_pb2.EndSessionRequest(session_id=session_id, reason="done")
    response = sessions.EndSession(request, timeout=CALL_SECONDS)
    check(response.status == "ended", f"the status ended, not {response.status!r}")


def check(holds: bool, expected: str) -> None:
    if not holds:
        sys.exit(f"python client: expected {expected}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
