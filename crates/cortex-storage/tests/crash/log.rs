//! Appends that can be told from each other, and what a log must be after them.

use std::collections::HashMap;

use cortex_core::HolderId;
use cortex_proto::cortex::storage::v1::{
    AcquireSessionRequest, AppendEventsRequest, CreateSessionRequest, GetJournalRequest,
    ListEntriesRequest, NewEvent, RegisterHolderRequest,
    journal_service_client::JournalServiceClient, session_service_client::SessionServiceClient,
};
use cortex_rpc::Transport;
use prost_types::Any;

/// What was acknowledged: of each session, sequence and request of each append.
pub type Acknowledged = HashMap<String, Vec<(i64, String)>>;

/// A new holder.
pub async fn holder(transport: &Transport) -> String {
    let holder = HolderId::generate().to_string();
    let request = RegisterHolderRequest {
        holder_id: holder.clone(),
        instance: "writer".into(),
        lease_duration: None,
    };
    let mut journal = JournalServiceClient::new(transport.clone());
    journal.register_holder(request).await.expect("a lease");
    holder
}

/// A new session that `holder` holds under epoch 1.
pub async fn held_session(transport: &Transport, holder: &str) -> String {
    let request = CreateSessionRequest { agent_name: "a".into(), ..Default::default() };
    let mut sessions = SessionServiceClient::new(transport.clone());
    let created = sessions.create_session(request).await.expect("created");
    let session = created.into_inner().session.expect("a session").id;
    let request = AcquireSessionRequest {
        session_id: session.clone(),
        holder_id: holder.into(),
        seen_epoch: 0,
    };
    let mut journal = JournalServiceClient::new(transport.clone());
    journal.acquire_session(request).await.expect("a grant");
    session
}

/// The append number `n` of a session: one to three events.
pub fn append(session: &str, holder: &str, n: usize) -> AppendEventsRequest {
    let request_id = format!("{session}-{n}");
    AppendEventsRequest {
        session_id: session.into(),
        holder_id: holder.into(),
        epoch: 1,
        events: (0..n % 3 + 1).map(|_| event(&request_id)).collect(),
        request_id,
        effects: None,
        ..Default::default()
    }
}

fn event(text: &str) -> NewEvent {
    let payload = Any { type_url: "test/text".into(), value: text.as_bytes().to_vec() };
    NewEvent { r#type: "content_delta".into(), payload: Some(payload) }
}

/// Every acknowledged append is where it was said to be, none is there twice, and there is no gap.
pub async fn check(transport: &Transport, acknowledged: &Acknowledged) {
    let mut journal = JournalServiceClient::new(transport.clone());
    for (session, appends) in acknowledged {
        let request = GetJournalRequest { session_id: session.clone() };
        let head = journal.get_journal(request).await.expect("the session is there").into_inner();
        let head = head.journal.expect("a journal").head_sequence;
        let entries = read(&mut journal, session).await;
        let sequences: Vec<i64> = entries.iter().map(|(sequence, _)| *sequence).collect();
        assert_eq!(sequences, (1..=head).collect::<Vec<_>>(), "no gap up to the head");
        let mut begun: HashMap<&str, i64> = HashMap::new();
        for (sequence, text) in &entries {
            begun.entry(text).or_insert(*sequence);
        }
        for (sequence, request) in appends {
            assert_eq!(begun.get(request.as_str()), Some(sequence), "{request}");
        }
        // An append is there once, and whole.
        for n in 0..begun.len() {
            let text = format!("{session}-{n}");
            let found = entries.iter().filter(|(_, entry)| *entry == text).count();
            assert_eq!(found, n % 3 + 1, "{text}");
        }
    }
}

async fn read(journal: &mut JournalServiceClient<Transport>, session: &str) -> Vec<(i64, String)> {
    let mut entries = Vec::new();
    let mut request =
        ListEntriesRequest { session_id: session.into(), page_size: 1000, ..Default::default() };
    loop {
        let page = journal.list_entries(request.clone()).await.expect("a page").into_inner();
        entries.extend(page.entries.into_iter().map(|entry| {
            let text = String::from_utf8(entry.payload.expect("a payload").value).expect("text");
            (entry.sequence, text)
        }));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return entries;
        }
    }
}
