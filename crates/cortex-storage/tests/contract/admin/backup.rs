//! Backups while writes go on, and what may be restored where.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

contract! {
    a_backup_is_restored,
    a_restored_conversation_goes_on,
    what_was_acknowledged_before_is_in_a_backup_under_load,
    an_installation_that_holds_anything_is_not_filled,
    an_archive_that_is_not_what_was_written_is_refused,
    a_later_archive_is_refused,
    an_archive_can_be_tried,
    only_the_expected_archive_is_restored,
    an_upload_that_ends_early_leaves_nothing,
}

async fn a_backup_is_restored(f: &Fixture) {
    conversation(f).await;
    conversation(f).await;
    let archive = back_up(f).await;
    assert!(archive.pieces.iter().all(|bytes| *bytes <= 64 << 10), "{:?}", archive.pieces);
    assert!(archive.file_name.starts_with("cortex-2") && archive.file_name.ends_with(".backup"));
    assert_eq!(archive.content_type, "application/vnd.cortex.backup");
    assert_eq!(archive.digest, format!("b3_{}", blake3::hash(&archive.bytes).to_hex()));
    let other = f.another().await;
    // A mesh that runs is as good as empty: somebody has registered.
    other.holder().await;
    let restored = restore(&other, &archive.bytes).await.expect("a restore");
    assert_eq!(restored.status, "restored");
    assert_eq!((restored.rows["sessions"], restored.rows["records"]), (2, 2));
    assert_eq!(restored.rows["messages"], 4);
    assert!(restored.snapshot_at.is_some());
    assert_eq!(contents(f).await, contents(&other).await);
    let (findings, _) = check(&other, true).await;
    assert_eq!(findings, [], "what is restored is whole");
}

async fn a_restored_conversation_goes_on(f: &Fixture) {
    let before = conversation(f).await;
    let archive = back_up(f).await;
    let other = f.another().await;
    restore(&other, &archive.bytes).await.expect("a restore");
    assert!(other.is_runnable(&before.session).await, "who held it is not there");
    let refusal = other.register(&before.holder, "somebody").await;
    assert!(refusal.is_ok(), "a former holder is nobody: {refusal:?}");
    let journal = other.get_journal(&before.session).await;
    let open = &journal.open_executions;
    assert_eq!((open.len(), open[0].state()), (1, ExecutionState::Finished));
    let holder = other.holder().await;
    let epoch = other.acquire(&before.session, &holder, before.epoch).await.expect("a grant");
    assert_eq!(epoch, before.epoch + 1);
    let after = Held { fixture: &other, session: before.session.clone(), holder, epoch };
    let lost = settle(&open[0].execution_id, SettlementKind::Outcome);
    let appended = after.append(&["tool_result"], lost).await.expect("an append");
    assert_eq!(appended.first_sequence, journal.head_sequence + 1);
    // New sessions and names do not meet the restored ones.
    let fresh = other.held().await;
    fresh.append(&["another_type"], JournalEffects::default()).await.expect("an append");
    let (findings, _) = check(&other, true).await;
    assert_eq!(findings, []);
}

async fn what_was_acknowledged_before_is_in_a_backup_under_load(f: &Fixture) {
    let (one, two) = (f.held().await, f.held().await);
    let stop = AtomicBool::new(false);
    let backups = async {
        let mut told = Vec::new();
        for _ in 0..3 {
            let mut before = Vec::new();
            for session in [&one.session, &two.session] {
                before.push(f.get_journal(session).await.head_sequence);
            }
            told.push((before, back_up(f).await));
        }
        stop.store(true, Ordering::Relaxed);
        told
    };
    let (first, second, told) = tokio::join!(load(&one, &stop), load(&two, &stop), backups);
    for (before, archive) in told {
        let other = f.another().await;
        restore(&other, &archive.bytes).await.expect("a restore");
        let (findings, _) = check(&other, true).await;
        assert_eq!(findings, [], "each session is a prefix without a gap");
        let sessions = [(&one.session, first), (&two.session, second)];
        for ((session, last), before) in sessions.into_iter().zip(before) {
            let head = other.get_journal(session).await.head_sequence;
            assert!((before..=last).contains(&head), "{before} <= {head} <= {last}");
        }
    }
}

/// Appends until it is stopped, and answers the last sequence.
async fn load(held: &Held<'_>, stop: &AtomicBool) -> i64 {
    let mut last = 0;
    while !stop.load(Ordering::Relaxed) {
        let events = &["content_delta", "content_delta"];
        let appended = held.append(events, JournalEffects::default()).await.expect("an append");
        last = appended.last_sequence;
    }
    last
}

async fn an_installation_that_holds_anything_is_not_filled(f: &Fixture) {
    conversation(f).await;
    let archive = back_up(f).await;
    let before = contents(f).await;
    let refusal = restore(f, &archive.bytes).await;
    let refusal = refused(refusal, Code::FailedPrecondition, "NOT_EMPTY");
    assert!(refusal.message().contains("sessions"), "{}", refusal.message());
    assert_eq!(contents(f).await, before);
    let other = f.another().await;
    let put = PutRecordRequest { key: "a".into(), value: vec![1].into(), ..Default::default() };
    other.records().put_record(put).await.expect("a record");
    let refusal = restore(&other, &archive.bytes).await;
    refused(refusal, Code::FailedPrecondition, "NOT_EMPTY");
    other.session().await;
}

async fn an_archive_that_is_not_what_was_written_is_refused(f: &Fixture) {
    conversation(f).await;
    let archive = back_up(f).await;
    let other = f.another().await;
    let half = archive.bytes.len() / 2;
    let mut altered = archive.bytes.clone();
    altered[half] ^= 1;
    let cut = &archive.bytes[..archive.bytes.len() - 1];
    let longer = [&*archive.bytes, b"x"].concat();
    for wrong in [&archive.bytes[..half], cut, &altered, &longer, b"", b"something else"] {
        let refusal = restore(&other, wrong).await;
        refused(refusal, Code::InvalidArgument, "BACKUP_INVALID");
        let rows = stats(&other).await.rows;
        assert!(rows.values().all(|rows| *rows == 0), "nothing is left: {rows:?}");
    }
    other.session().await;
}

async fn a_later_archive_is_refused(f: &Fixture) {
    let mut bytes = back_up(f).await.bytes;
    bytes[b"cortex-backup\n".len()] = 200;
    let other = f.another().await;
    let refusal = restore(&other, &bytes).await;
    refused(refusal, Code::FailedPrecondition, "BACKUP_TOO_NEW");
}

async fn an_archive_can_be_tried(f: &Fixture) {
    conversation(f).await;
    let archive = back_up(f).await;
    let try_it = RestoreStorageRequest { validate_only: true, ..Default::default() };
    let tried = restore_as(f, &archive.bytes, try_it.clone()).await.expect("a valid archive");
    assert_eq!((tried.status.as_str(), tried.rows["sessions"]), ("valid", 1));
    let cut = &archive.bytes[..archive.bytes.len() - 1];
    let refusal = restore_as(f, cut, try_it).await;
    refused(refusal, Code::InvalidArgument, "BACKUP_INVALID");
}

async fn only_the_expected_archive_is_restored(f: &Fixture) {
    let archive = back_up(f).await;
    let other = f.another().await;
    let expecting = |digest: &str| RestoreStorageRequest {
        expected_digest: digest.to_owned(),
        ..Default::default()
    };
    let wrong = format!("b3_{}", "0".repeat(64));
    let refusal = restore_as(&other, &archive.bytes, expecting(&wrong)).await;
    refused(refusal, Code::InvalidArgument, "BACKUP_INVALID");
    let refusal = restore_as(&other, &archive.bytes, expecting("sha256:1")).await;
    refused(refusal, Code::InvalidArgument, "INVALID_FIELD");
    restore_as(&other, &archive.bytes, expecting(&archive.digest)).await.expect("a restore");
}

/// The client leaves in the middle: nothing is there, and others may write again.
async fn an_upload_that_ends_early_leaves_nothing(f: &Fixture) {
    for _ in 0..3 {
        conversation(f).await;
    }
    let bytes = Bytes::from(back_up(f).await.bytes);
    let other = f.another().await;
    // All but the last byte, and then nothing more.
    let half = RestoreStorageRequest {
        content: Some(HttpBody { data: bytes.slice(..bytes.len() - 1), ..HttpBody::default() }),
        ..Default::default()
    };
    let pieces = futures::stream::iter([half]).chain(futures::stream::pending());
    let mut admin = other.admin();
    {
        let upload = admin.restore_storage(pieces);
        let refusal = async {
            // A holder is nobody's data: it may come before the restore has begun.
            loop {
                let id = cortex_core::HolderId::generate().to_string();
                if let Err(status) = other.register(&id, &id).await {
                    return status;
                }
            }
        };
        tokio::select! {
            answer = upload => panic!("the upload has not ended: {answer:?}"),
            status = refusal => {
                let status = refused::<()>(Err(status), Code::Unavailable, "STORAGE_MAINTENANCE");
                assert!(cortex_rpc::fault(&status).retry_after.is_some());
            }
        }
    }
    let rows = stats(&other).await.rows;
    assert_eq!(rows["sessions"] + rows["journal_entries"] + rows["records"], 0, "{rows:?}");
    other.session().await;
}
