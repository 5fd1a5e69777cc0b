//! ExportJournal and ImportJournal: what goes out comes in again.

use std::collections::HashMap;

use cortex_proto::{
    cortex::agent::v1::{ContentDelta, SessionEvent, TurnFailed, session_event::Event},
    google::api::HttpBody,
};
use cortex_transcode::Transcoder;
use http_body_util::BodyExt;
use proptest::{
    arbitrary::any as anything, collection::vec, prelude::proptest, test_runner::Config,
};
use prost::Message;
use serde_json::value::RawValue;
use tonic::{Code, Status};
use tower::ServiceExt;

use crate::{
    story::{Story, see, steps},
    support::*,
};

contract! {
    an_export_has_a_line_for_the_session_and_one_for_each_entry,
    an_import_is_the_session_under_a_new_id,
    payloads_survive_byte_for_byte,
    lines_may_be_cut_anywhere,
    a_repeated_import_is_one_import,
    an_import_that_is_wrong_says_where_and_leaves_nothing,
    a_session_with_work_is_exported_and_not_imported,
    a_fork_is_exported_whole,
    lines_go_over_http,
}

/// The lines of a session.
async fn export(f: &Fixture, session: &str) -> Vec<String> {
    let request = ExportJournalRequest { session_id: session.into() };
    let mut answers = f.journal().export_journal(request).await.expect("an export").into_inner();
    let mut bytes = Vec::new();
    while let Some(answer) = answers.message().await.expect("no error") {
        let content = answer.content.expect("content");
        assert!(content.data.len() <= 64 << 10);
        assert_eq!(content.content_type.is_empty(), !bytes.is_empty());
        bytes.extend_from_slice(&content.data);
    }
    let text = String::from_utf8(bytes).expect("text");
    assert!(text.ends_with('\n'));
    text.lines().map(str::to_owned).collect()
}

async fn import(f: &Fixture, lines: &[String]) -> Result<String, Status> {
    import_bytes(f, lines.join("\n").into_bytes(), 1 << 16, "").await
}

async fn import_bytes(
    f: &Fixture,
    bytes: Vec<u8>,
    piece: usize,
    request_id: &str,
) -> Result<String, Status> {
    let request = |data: &[u8]| ImportJournalRequest {
        content: Some(HttpBody { data: data.to_vec().into(), ..Default::default() }),
        request_id: request_id.to_owned(),
    };
    let requests: Vec<_> = bytes.chunks(piece).map(request).collect();
    let answer = f.journal().import_journal(tokio_stream::iter(requests)).await?;
    Ok(answer.into_inner().session.expect("the session").id)
}

/// Without what says whose these were.
fn anonymous(lines: &[String]) -> Vec<String> {
    let mut lines = lines.to_vec();
    for key in ["session_id", "created_at"] {
        let (before, rest) = lines[0].split_once(&format!("\"{key}\":\"")).expect("it is said");
        let (_, after) = rest.split_once("\",").expect("it goes on");
        lines[0] = format!("{before}{after}");
    }
    lines
}

fn payload(event: Event) -> prost_types::Any {
    let event = SessionEvent { event: Some(event), ..Default::default() };
    any("cortex.agent.v1.SessionEvent", &event.encode_to_vec())
}

async fn append(held: &Held<'_>, payload: prost_types::Any) {
    let event = NewEvent { r#type: "content_delta".into(), payload: Some(payload) };
    let request =
        AppendEventsRequest { events: vec![event], ..held.request(&[], JournalEffects::default()) };
    held.send(request).await.expect("appended");
}

/// A session with a turn, messages, a state and numbers that no float has.
async fn conversation(f: &Fixture) -> String {
    let held = f.held().await;
    let turn = held.open_turn().await;
    append(&held, payload(Event::ContentDelta(ContentDelta { text: "hi".into(), attempt: 1 })))
        .await;
    let change = state_change::Change::Replacement(r#"{"n":9007199254740993,"x":1e400}"#.into());
    let effects = JournalEffects {
        messages: vec![NewHistoryMessage {
            metadata: "{\n \"n\": 18446744073709551616\n}".into(),
            ..new_message(MessageRole::Assistant, "hello\nworld")
        }],
        state_change: Some(StateChange { change: Some(change) }),
        closed_turn_id: turn,
        ..Default::default()
    };
    held.append(&["turn_completed"], effects).await.expect("closed");
    held.session
}

async fn an_export_has_a_line_for_the_session_and_one_for_each_entry(f: &Fixture) {
    let session = conversation(f).await;
    let lines = export(f, &session).await;
    assert_eq!(lines.len(), 5);
    let begin = format!(
        "{{\"format\":\"cortex.session\",\"version\":1,\"session_id\":\"{session}\",\"agent_name\":\"assistant\""
    );
    assert!(lines[0].starts_with(&begin), "{}", lines[0]);
    assert!(lines[0].contains(r#""state":{"n":9007199254740993,"x":1e400}"#), "{}", lines[0]);
    assert!(
        lines[1].starts_with(r#"{"sequence":1,"kind":"message","type":"command","#),
        "{}",
        lines[1]
    );
    assert!(
        lines[3]
            .contains(r#""payload":{"@type":"type.googleapis.com/cortex.agent.v1.SessionEvent","#)
    );
    assert!(lines[3].contains(r#""content_delta":{"text":"hi","attempt":1}"#), "{}", lines[3]);
    assert!(lines[4].contains(r#""quiescent":true"#), "{}", lines[4]);
    for line in &lines {
        let fields = serde_json::from_str::<HashMap<String, Box<RawValue>>>(line);
        assert!(fields.is_ok_and(|fields| !fields.is_empty()), "{line}");
    }
    let request = ExportJournalRequest { session_id: "session_00000000000000000000".into() };
    refused(f.journal().export_journal(request).await, Code::NotFound, "SESSION_NOT_FOUND");
}

async fn an_import_is_the_session_under_a_new_id(f: &Fixture) {
    let session = conversation(f).await;
    let lines = export(f, &session).await;
    let imported = import(f, &lines).await.expect("imported");
    assert_ne!(imported, session);
    assert_eq!(see(f, &imported).await, see(f, &session).await);
    assert_eq!(anonymous(&export(f, &imported).await), anonymous(&lines));
    let journal = f.get_journal(&imported).await;
    assert_eq!((journal.epoch, journal.holder_id.as_str()), (0, ""));
    assert!(!f.is_runnable(&imported).await);
    // It goes on like any other.
    let mut story = Story::of(f, imported).await;
    story.end().await;
    let holder = f.holder().await;
    refused(f.acquire(&story.session, &holder, 0).await, Code::Aborted, "EPOCH_MISMATCH");
}

async fn payloads_survive_byte_for_byte(f: &Fixture) {
    let held = f.held().await;
    let metadata = [("a", "1"), ("b", "2")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let failed = TurnFailed { metadata: metadata.into(), ..Default::default() };
    let delta = Event::ContentDelta(ContentDelta { text: "x".into(), attempt: 1 });
    let mut unknown_field = payload(delta.clone());
    unknown_field.value.extend([0xf8, 0x7f, 1]);
    let mut padded = payload(delta);
    // Sequence 0 said aloud: what JSON cannot tell from nothing.
    padded.value.splice(0..0, [8, 0]);
    let patch = PatchStateRequest { data: "{\n\"a\": 1}".into(), ..Default::default() };
    for payload in [
        payload(Event::TurnFailed(failed)),
        unknown_field,
        padded,
        any("cortex.storage.v1.PatchStateRequest", &patch.encode_to_vec()),
        any("nobody.knows.This", &[0, 159, 146, 150]),
        any("cortex.agent.v1.SessionEvent", &[255]),
        prost_types::Any { type_url: "test/text".into(), value: b"text".to_vec() },
    ] {
        append(&held, payload).await;
    }
    let lines = export(f, &held.session).await;
    assert!(
        lines.iter().skip(1).all(|line| line.contains(r#""payload_bytes":{"type_url":"#)),
        "{lines:?}"
    );
    let imported = import(f, &lines).await.expect("imported");
    assert_eq!(f.entries(&imported).await, f.entries(&held.session).await);
    assert_eq!(anonymous(&export(f, &imported).await), anonymous(&lines));
}

async fn lines_may_be_cut_anywhere(f: &Fixture) {
    let session = conversation(f).await;
    let lines = export(f, &session).await;
    let text = format!("{}\n\n", lines.join("\r\n"));
    let imported = import_bytes(f, text.into_bytes(), 7, "").await.expect("imported");
    assert_eq!(see(f, &imported).await, see(f, &session).await);
}

async fn a_repeated_import_is_one_import(f: &Fixture) {
    let session = conversation(f).await;
    let bytes = export(f, &session).await.join("\n").into_bytes();
    let first = import_bytes(f, bytes.clone(), 1000, "once").await.expect("imported");
    let again = import_bytes(f, bytes.clone(), 999, "once").await.expect("known");
    assert_eq!(again, first);
    let mut other = bytes;
    other.push(b'\n');
    refused(import_bytes(f, other, 1000, "once").await, Code::AlreadyExists, "REQUEST_ID_REUSED");
}

async fn an_import_that_is_wrong_says_where_and_leaves_nothing(f: &Fixture) {
    let session = conversation(f).await;
    let lines = export(f, &session).await;
    let before = sessions(f).await;
    for (line, from, to, field) in [
        (0, "cortex.session", "other", "lines[1].format"),
        (0, r#""version":1"#, r#""version":2"#, "lines[1].version"),
        (0, r#""agent_name":"assistant""#, r#""agent_name":"""#, "lines[1].agent_name"),
        (0, r#""head_sequence":4"#, r#""head_sequence":5"#, "lines[1].head_sequence"),
        (0, r#""head_sequence":4"#, r#""head_sequence":3"#, "lines[5].sequence"),
        (0, r#""head_sequence":4"#, r#""head_sequence":"4""#, "lines[1].head_sequence"),
        (0, r#""message_count":1"#, r#""message_count":2"#, "lines[1].message_count"),
        (0, "9007199254740993", "9007199254740992", "lines[1].state"),
        (0, r#""metadata":{}"#, r#""metadata":[]"#, "lines[1].metadata"),
        (0, "{", "", "lines[1]"),
        (1, r#""kind":"message""#, r#""kind":"letter""#, "lines[2].kind"),
        (1, r#""type":"command""#, r#""type":"No Type""#, "lines[2].type"),
        (1, r#""epoch":0"#, r#""epoch":1"#, "lines[2].epoch"),
        (2, r#""sequence":2"#, r#""sequence":3"#, "lines[3].sequence"),
        (2, r#""sequence":2,"#, "", "lines[3].sequence"),
        (2, r#""created_at":""#, r#""created_at":"yesterday"#, "lines[3].created_at"),
        (3, r#""payload":"#, r#""payloads":"#, "lines[4].payload"),
        (3, r#""attempt":1"#, r#""attempt":"many""#, "lines[4].payload"),
        (3, r#""epoch""#, r#""extra":1,"epoch""#, "lines[4].extra"),
        (4, r#""role":"assistant""#, r#""role":"nobody""#, "lines[5].marks[0].changes"),
        (4, r#""message_id":"msg_"#, r#""message_id":"massage_"#, "lines[5].marks[0].changes"),
    ] {
        let mut wrong = lines.clone();
        assert!(wrong[line].contains(from), "{from} is in {}", wrong[line]);
        wrong[line] = wrong[line].replacen(from, to, 1);
        let status = refused(import(f, &wrong).await, Code::InvalidArgument, "INVALID_FIELD");
        let named = cortex_rpc::fault(&status).violations.remove(0).field;
        assert_eq!(named, field, "{}", status.message());
    }
    refused(import(f, &[]).await, Code::InvalidArgument, "INVALID_FIELD");
    refused(import(f, &lines[..4]).await, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(sessions(f).await, before, "nothing of it can be seen");
}

async fn sessions(f: &Fixture) -> Vec<String> {
    let page = f.sessions().list_sessions(ListSessionsRequest::default()).await.expect("a page");
    page.into_inner().sessions.into_iter().map(|session| session.id).collect()
}

async fn a_session_with_work_is_exported_and_not_imported(f: &Fixture) {
    let session = conversation(f).await;
    let rest = see(f, &session).await;
    f.message(&session).await;
    let lines = export(f, &session).await;
    assert!(lines[0].contains(r#""quiescent":false"#));
    let status = refused(import(f, &lines).await, Code::FailedPrecondition, "NOT_QUIESCENT");
    assert!(status.message().contains("exported at 5") && status.message().contains("point is 4"));
    // As it says: a fork of there can be exported and imported.
    let request = ForkJournalRequest { session_id: session, sequence: 4, ..Default::default() };
    let forked = f.journal().fork_journal(request).await.expect("forked").into_inner();
    let lines = export(f, &forked.session.expect("the session").id).await;
    let imported = import(f, &lines).await.expect("imported");
    assert_eq!(see(f, &imported).await, rest);
}

async fn a_fork_is_exported_whole(f: &Fixture) {
    let mut session = conversation(f).await;
    for n in 0..3 {
        let request = ForkJournalRequest { session_id: session, ..Default::default() };
        let forked = f.journal().fork_journal(request).await.expect("forked").into_inner();
        session = forked.session.expect("the session").id;
        let request = PatchStateRequest {
            session_id: session.clone(),
            data: format!("{{\"fork\":{n}}}"),
            ..Default::default()
        };
        f.state().patch_state(request).await.expect("patched");
    }
    let lines = export(f, &session).await;
    assert_eq!(lines.len(), 8);
    let imported = import(f, &lines).await.expect("imported");
    assert_eq!(see(f, &imported).await, see(f, &session).await);
}

async fn lines_go_over_http(f: &Fixture) {
    let session = conversation(f).await;
    let http = Transcoder::builder(cortex_proto::descriptor_pool().clone())
        .service("cortex.storage.v1.JournalService", f.transport())
        .build()
        .expect("a transcoder");
    let request = http::Request::get(format!("/storage/journal/{session}:export"))
        .header("accept", "application/x-ndjson")
        .body(tonic::body::Body::empty())
        .expect("a request");
    let response = http.clone().oneshot(request).await.expect("answered");
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(bytes, format!("{}\n", export(f, &session).await.join("\n")));
    let request = |bytes: bytes::Bytes| {
        http::Request::post("/storage/journal:import?request_id=once")
            .header("content-type", "application/x-ndjson")
            .body(tonic::body::Body::new(http_body_util::Full::new(bytes)))
            .expect("a request")
    };
    let response = http.clone().oneshot(request(bytes.clone())).await.expect("answered");
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let imported = answer["session"]["id"].as_str().expect("an id");
    assert_eq!(see(f, imported).await, see(f, &session).await);
    let cut = bytes.slice(..bytes.len() / 2);
    let response = http.oneshot(request(cut)).await.expect("answered");
    assert_eq!(response.status(), 400);
}

proptest! {
    #![proptest_config(Config { cases: cases(12), failure_persistence: None, ..Config::default() })]

    /// Any session at rest goes out and comes in as what it was, and so does what comes in.
    #[test]
    fn an_import_is_what_was_exported(told in steps(60), piece in 1_usize..5000) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let f = Fixture::sqlite().await;
            let mut story = Story::of(&f, f.session().await).await;
            story.tell(&told).await;
            story.end().await;
            let lines = export(&f, &story.session).await;
            let bytes = lines.join("\n").into_bytes();
            let imported = import_bytes(&f, bytes, piece, "").await.expect("imported");
            assert_eq!(see(&f, &imported).await, see(&f, &story.session).await);
            assert_eq!(anonymous(&export(&f, &imported).await), anonymous(&lines));
            // Every moment of it came along.
            let rest = &story.rests[story.rests.len() / 2];
            if rest.head > 0 {
                let request =
                    ForkJournalRequest { session_id: imported, sequence: rest.head, ..Default::default() };
                let forked = f.journal().fork_journal(request).await.expect("forked").into_inner();
                assert_eq!(&see(&f, &forked.session.expect("the session").id).await, rest);
            }
        });
    }

    /// Nothing that is not an export makes a session, or breaks storage.
    #[test]
    fn noise_is_refused(noise in vec(anything::<u8>(), 0..200), at in 0_usize..2000, byte: u8) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let f = Fixture::sqlite().await;
            assert!(import_bytes(&f, noise, 16, "").await.is_err());
            let session = conversation(&f).await;
            let before = see(&f, &session).await;
            let mut bytes = export(&f, &session).await.join("\n").into_bytes();
            let place = at % bytes.len();
            bytes[place] = byte;
            // What is still an export is a session; anything else says what is wrong with it.
            if let Err(status) = import_bytes(&f, bytes, 64, "").await {
                assert!(matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition), "{status}");
            }
            assert_eq!(see(&f, &session).await, before);
        });
    }
}
