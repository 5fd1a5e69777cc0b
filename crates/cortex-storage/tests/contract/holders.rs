//! Leases: on storage's clock, one per incarnation, and what they do and do not stop.

use std::time::Duration;

use cortex_core::HolderId;
use tonic::Code;

use crate::support::*;

contract! {
    a_session_is_taken_when_nobody_holds_it,
    a_live_holder_keeps_its_session_and_a_late_one_loses_it,
    an_expired_holder_goes_on_until_another_is_granted,
    a_restart_voids_the_former_incarnation,
    renew_tells_what_is_held,
    a_holder_that_retires_gives_everything_back,
    an_acquisition_must_have_seen_the_epoch,
    the_holder_itself_may_acquire_again,
    lease_durations_are_bounded,
}

fn renew(holder: &str) -> RenewHolderRequest {
    RenewHolderRequest { holder_id: holder.into() }
}

async fn a_session_is_taken_when_nobody_holds_it(f: &Fixture) {
    let session = f.session().await;
    f.message(&session).await;
    let holder = f.holder().await;
    let request = AcquireSessionRequest {
        session_id: session.clone(),
        holder_id: holder.clone(),
        seen_epoch: 0,
    };
    let grant = f.journal().acquire_session(request).await.expect("a grant").into_inner();
    assert_eq!((grant.epoch, grant.head_sequence), (1, 1));
    assert_eq!(f.get_journal(&session).await.holder_id, holder);
}

async fn a_live_holder_keeps_its_session_and_a_late_one_loses_it(f: &Fixture) {
    let held = f.held().await;
    let other = f.holder().await;
    let status = refused(f.acquire(&held.session, &other, 1).await, Code::Aborted, "SESSION_HELD");
    assert_eq!(cortex_rpc::fault(&status).metadata.get("holder_id"), Some(&held.holder));
    f.advance(Duration::from_secs(2));
    f.journal().renew_holder(renew(&held.holder)).await.expect("renewed");
    f.advance(Duration::from_secs(2));
    refused(f.acquire(&held.session, &other, 1).await, Code::Aborted, "SESSION_HELD");
    f.advance(Duration::from_secs(1));
    assert_eq!(f.acquire(&held.session, &other, 1).await.expect("a grant"), 2);
    let append = held.append(&["content_delta"], JournalEffects::default()).await;
    refused(append, Code::Aborted, "STALE_EPOCH");
    assert!(!held.release(0, None).await.expect("not held"));
}

async fn an_expired_holder_goes_on_until_another_is_granted(f: &Fixture) {
    let held = f.held().await;
    f.advance(Duration::from_secs(60));
    held.append(&["content_delta"], JournalEffects::default()).await.expect("it still holds");
    let lease = f.journal().renew_holder(renew(&held.holder)).await.expect("renewed").into_inner();
    assert_eq!(lease.sessions.len(), 1);
    let other = f.holder().await;
    refused(f.acquire(&held.session, &other, 1).await, Code::Aborted, "SESSION_HELD");
}

async fn a_restart_voids_the_former_incarnation(f: &Fixture) {
    let session = f.session().await;
    let (former, latter) = (HolderId::generate().to_string(), HolderId::generate().to_string());
    f.register(&former, "node-1").await.expect("a lease");
    f.acquire(&session, &former, 0).await.expect("a grant");
    f.message(&session).await;
    assert!(!f.is_runnable(&session).await);
    let lease = f.register(&latter, "node-1").await.expect("a lease");
    assert_eq!(lease.voided_holder_id, former);
    assert_eq!(f.register(&latter, "node-1").await.expect("again").voided_holder_id, former);
    assert!(f.is_runnable(&session).await, "at once, not when the lease would have ended");
    let answer = f.journal().renew_holder(renew(&former)).await;
    refused(answer, Code::FailedPrecondition, "LEASE_VOID");
    refused(f.acquire(&session, &former, 1).await, Code::Aborted, "LEASE_VOID");
    refused(f.register(&former, "node-1").await, Code::FailedPrecondition, "LEASE_VOID");
    assert_eq!(f.acquire(&session, &latter, 1).await.expect("a grant"), 2);
    // Other instances are not touched.
    let other = f.holder().await;
    f.register(HolderId::generate().as_str(), "node-1").await.expect("a lease");
    f.journal().renew_holder(renew(&other)).await.expect("renewed");
}

async fn renew_tells_what_is_held(f: &Fixture) {
    let holder = f.holder().await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        let session_id = f.session().await;
        let epoch = f.acquire(&session_id, &holder, 0).await.expect("a grant");
        expected.push(HeldSession { session_id, epoch, tenant: "default".into() });
    }
    let answer = f.journal().renew_holder(renew(&holder)).await.expect("renewed").into_inner();
    assert_eq!(answer.sessions, expected);
    let nobody = f.journal().renew_holder(renew(HolderId::generate().as_str())).await;
    refused(nobody, Code::FailedPrecondition, "LEASE_VOID");
}

async fn a_holder_that_retires_gives_everything_back(f: &Fixture) {
    let held = f.held().await;
    held.open_turn().await;
    let second = f.session().await;
    f.acquire(&second, &held.holder, 0).await.expect("a grant");
    let request = RetireHolderRequest { holder_id: held.holder.clone() };
    let answer = f.journal().retire_holder(request.clone()).await.expect("retired").into_inner();
    assert_eq!(answer.released_sessions, 2);
    assert!(f.is_runnable(&held.session).await, "its turn is open");
    assert!(!f.is_runnable(&second).await, "nothing is to be done");
    let append = held.append(&["content_delta"], JournalEffects::default()).await;
    refused(append, Code::Aborted, "STALE_EPOCH");
    let again = f.journal().retire_holder(request).await.expect("again").into_inner();
    assert_eq!(again.released_sessions, 0);
    let answer = f.journal().renew_holder(renew(&held.holder)).await;
    refused(answer, Code::FailedPrecondition, "LEASE_VOID");
}

async fn an_acquisition_must_have_seen_the_epoch(f: &Fixture) {
    let held = f.held().await;
    let status =
        refused(f.acquire(&held.session, &held.holder, 0).await, Code::Aborted, "EPOCH_MISMATCH");
    assert_eq!(cortex_rpc::fault(&status).metadata.get("epoch").map(String::as_str), Some("1"));
}

async fn the_holder_itself_may_acquire_again(f: &Fixture) {
    let held = f.held().await;
    assert_eq!(f.acquire(&held.session, &held.holder, 1).await.expect("a grant"), 2);
    let append = held.append(&["content_delta"], JournalEffects::default()).await;
    refused(append, Code::Aborted, "STALE_EPOCH");
}

async fn lease_durations_are_bounded(f: &Fixture) {
    for (millis, accepted) in [(999, false), (1_000, true), (60_000, true), (60_001, false)] {
        let duration = Duration::from_millis(millis);
        let request = RegisterHolderRequest {
            holder_id: HolderId::generate().to_string(),
            instance: format!("instance-{millis}"),
            lease_duration: prost_types::Duration::try_from(duration).ok(),
        };
        let answer = f.journal().register_holder(request).await;
        assert_eq!(answer.is_ok(), accepted, "{millis} ms");
    }
}
