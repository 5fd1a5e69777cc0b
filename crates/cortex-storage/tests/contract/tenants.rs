//! What belongs to another tenant does not exist.

use tonic::{Code, Request};

use crate::support::*;

contract! {
    another_tenants_rows_look_like_none,
    the_same_request_id_of_two_tenants_is_two_requests,
    a_holder_finds_work_of_every_tenant,
}

fn of<T>(tenant: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-cortex-tenant", tenant.parse().expect("a tenant's name"));
    request
}

fn new() -> CreateSessionRequest {
    CreateSessionRequest {
        agent_name: "assistant".into(),
        request_id: "one".into(),
        ..Default::default()
    }
}

async fn session_of(f: &Fixture, tenant: &str) -> String {
    let answer = f.sessions().create_session(of(tenant, new())).await.expect("a session");
    answer.into_inner().session.expect("the session").id
}

async fn another_tenants_rows_look_like_none(f: &Fixture) {
    let session_id = session_of(f, "acme").await;
    let get = GetSessionRequest { session_id: session_id.clone() };
    f.sessions().get_session(of("acme", get.clone())).await.expect("its own");
    for tenant in ["default", "other"] {
        let answer = f.sessions().get_session(of(tenant, get.clone())).await;
        refused(answer, Code::NotFound, "SESSION_NOT_FOUND");
        let submit = command(&session_id, CommandKind::Message);
        let answer = f.journal().submit_command(of(tenant, submit)).await;
        refused(answer, Code::NotFound, "SESSION_NOT_FOUND");
        let watch =
            WatchEntriesRequest { session_id: session_id.clone(), after_sequence: 0, kind: 0 };
        let answer = f.journal().watch_entries(of(tenant, watch)).await;
        refused(answer.map(|_| ()), Code::NotFound, "SESSION_NOT_FOUND");
        let delete = DeleteSessionRequest { session_id: session_id.clone() };
        let answer = f.sessions().delete_session(of(tenant, delete)).await;
        refused(answer, Code::NotFound, "SESSION_NOT_FOUND");
        let list = f.sessions().list_sessions(of(tenant, ListSessionsRequest::default())).await;
        assert!(list.expect("a page").into_inner().sessions.is_empty());
    }
    let put = PutRecordRequest { key: "a".into(), ..Default::default() };
    f.records().put_record(of("acme", put)).await.expect("written");
    let get = GetRecordRequest { key: "a".into() };
    let answer = f.records().get_record(of("other", get)).await;
    refused(answer, Code::NotFound, "RECORD_NOT_FOUND");
}

async fn the_same_request_id_of_two_tenants_is_two_requests(f: &Fixture) {
    let first = session_of(f, "acme").await;
    assert_eq!(session_of(f, "acme").await, first);
    assert_ne!(session_of(f, "other").await, first);
}

async fn a_holder_finds_work_of_every_tenant(f: &Fixture) {
    let mut expected = Vec::new();
    for tenant in ["acme", "other"] {
        let session_id = session_of(f, tenant).await;
        let submit = command(&session_id, CommandKind::Message);
        f.journal().submit_command(of(tenant, submit)).await.expect("accepted");
        expected.push(RunnableSession { session_id, epoch: 0, tenant: tenant.into() });
    }
    assert_eq!(f.runnable().await, expected);
    let request = of("other", ListRunnableSessionsRequest::default());
    let page = f.journal().list_runnable_sessions(request).await.expect("a page").into_inner();
    assert_eq!(page.sessions, expected[1..]);
    // One holder takes a session of another tenant by naming that tenant.
    let holder = f.holder().await;
    let acquire = AcquireSessionRequest {
        session_id: expected[0].session_id.clone(),
        holder_id: holder.clone(),
        seen_epoch: 0,
    };
    f.journal().acquire_session(of("acme", acquire)).await.expect("a grant");
    let renew = RenewHolderRequest { holder_id: holder };
    let answer = f.journal().renew_holder(renew).await.expect("renewed").into_inner();
    assert_eq!(answer.sessions[0].tenant, "acme");
}
