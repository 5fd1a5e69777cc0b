//! The ledger: each execution starts at most once, each call gets one result.

use cortex_core::ExecutionId;
use tonic::Code;

use crate::support::*;

contract! {
    an_intent_creates_a_row_of_the_open_turn,
    one_claimant_gets_the_execution,
    a_claim_needs_the_current_epoch_unless_it_is_repeated,
    the_first_outcome_wins,
    only_its_claimant_finishes_an_execution_and_anybody_may_find_it_lost,
    each_settlement_needs_its_state,
    a_settled_call_is_settled,
    unknown_needs_a_turn_that_closes,
    a_turn_closes_only_when_its_calls_have_results,
    a_lost_execution_is_replaced_by_one_of_the_same_call,
    a_call_is_tried_once_unless_replaced,
    nothing_of_a_closed_turn_is_claimed,
    a_refused_settlement_leaves_nothing_behind,
    rows_are_listed_by_session_and_by_claimant,
}

async fn an_intent_creates_a_row_of_the_open_turn(f: &Fixture) {
    let held = f.held().await;
    let early = JournalEffects {
        intents: vec![intent("turn_00000000000000000000000000000000")],
        ..Default::default()
    };
    let answer = held.append(&[], early).await;
    refused(answer, Code::FailedPrecondition, "TURN_NOT_OPEN");
    let turn = held.open_turn().await;
    let (execution, call) = held.intend(&turn).await;
    let request = GetExecutionRequest { execution_id: execution.clone() };
    let answer = f.journal().get_execution(request).await.expect("a row").into_inner();
    let row = answer.execution.expect("the row");
    assert_eq!(
        (&row.call_id, &row.turn_id, row.session_id.as_str()),
        (&call, &turn, held.session.as_str())
    );
    assert_eq!((row.state(), row.settled), (ExecutionState::Intended, false));
    assert_eq!((row.kind.as_str(), row.name.as_str()), ("tool", "calculator"));
    assert_eq!(f.get_journal(&held.session).await.open_executions.len(), 1);
}

async fn one_claimant_gets_the_execution(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let (execution, _) = held.intend(&turn).await;
    let (winner, loser) = (claimant(), claimant());
    let row = f.claim(&execution, &winner, held.epoch).await.expect("claimed");
    assert_eq!((row.state(), row.claimant_id.as_str()), (ExecutionState::Claimed, winner.as_str()));
    let answer = f.claim(&execution, &loser, held.epoch).await;
    let status = refused(answer, Code::FailedPrecondition, "EXECUTION_NOT_INTENDED");
    assert_eq!(
        cortex_rpc::fault(&status).metadata.get("state").map(String::as_str),
        Some("claimed")
    );
    f.claim(&execution, &winner, held.epoch).await.expect("granted again");
}

async fn a_claim_needs_the_current_epoch_unless_it_is_repeated(f: &Fixture) {
    let mut held = f.held().await;
    let turn = held.open_turn().await;
    let (first, _) = held.intend(&turn).await;
    let (second, _) = held.intend(&turn).await;
    let own = claimant();
    f.claim(&first, &own, held.epoch).await.expect("claimed");
    held.epoch = f.acquire(&held.session, &held.holder, held.epoch).await.expect("a grant");
    let old = held.epoch - 1;
    f.claim(&first, &own, old).await.expect("its own claim is granted whatever the epoch");
    refused(f.claim(&second, &own, old).await, Code::Aborted, "STALE_EPOCH");
    held.release(1, Some(SessionWait { wake_at: None })).await.expect("released");
    refused(f.claim(&second, &own, held.epoch).await, Code::Aborted, "STALE_EPOCH");
}

async fn the_first_outcome_wins(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let (execution, _) = held.intend(&turn).await;
    let own = claimant();
    let early = f.finish(&execution, &own, OutcomeKind::Succeeded).await;
    refused(early, Code::FailedPrecondition, "LEDGER_PRECONDITION");
    f.claim(&execution, &own, held.epoch).await.expect("claimed");
    let row = f.finish(&execution, &own, OutcomeKind::Succeeded).await.expect("finished");
    assert_eq!(row.state(), ExecutionState::Finished);
    let again = f.finish(&execution, &own, OutcomeKind::Failed).await.expect("answered");
    let outcome = again.outcome.expect("the outcome that won");
    assert_eq!(
        (outcome.kind(), outcome.result.as_str()),
        (OutcomeKind::Succeeded, r#"{"product":42}"#)
    );
    let late = f.claim(&execution, &own, held.epoch).await;
    refused(late, Code::FailedPrecondition, "EXECUTION_NOT_INTENDED");
}

async fn only_its_claimant_finishes_an_execution_and_anybody_may_find_it_lost(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let (execution, _) = held.intend(&turn).await;
    f.claim(&execution, &claimant(), held.epoch).await.expect("claimed");
    let other = f.finish(&execution, &claimant(), OutcomeKind::Succeeded).await;
    refused(other, Code::FailedPrecondition, "LEDGER_PRECONDITION");
    let row = f.finish(&execution, &claimant(), OutcomeKind::Lost).await.expect("lost");
    assert_eq!(row.outcome.expect("an outcome").kind(), OutcomeKind::Lost);
}

/// An execution of the open turn that has come to `state`.
async fn at(held: &Held<'_>, turn: &str, state: ExecutionState, outcome: OutcomeKind) -> String {
    let (execution, _) = held.intend(turn).await;
    let (own, f) = (claimant(), held.fixture);
    match state {
        ExecutionState::Claimed => {
            f.claim(&execution, &own, held.epoch).await.expect("claimed");
        }
        ExecutionState::Finished => {
            f.claim(&execution, &own, held.epoch).await.expect("claimed");
            f.finish(&execution, &own, outcome).await.expect("finished");
        }
        ExecutionState::Closed => {
            held.append(&[], settle(&execution, SettlementKind::NotRun)).await.expect("closed");
        }
        _ => {}
    }
    execution
}

async fn each_settlement_needs_its_state(f: &Fixture) {
    use ExecutionState::{Claimed, Closed, Finished, Intended};
    let held = f.held().await;
    let turn = held.open_turn().await;
    let allowed = [(SettlementKind::NotRun, Intended), (SettlementKind::Outcome, Finished)];
    for kind in [
        SettlementKind::NotRun,
        SettlementKind::Outcome,
        SettlementKind::Unknown,
        SettlementKind::Replaced,
    ] {
        for state in [Intended, Claimed, Finished, Closed] {
            let execution = at(&held, &turn, state, OutcomeKind::Succeeded).await;
            let answer = held.append(&["tool_result"], settle(&execution, kind)).await;
            if allowed.contains(&(kind, state)) {
                answer.expect("settled");
            } else {
                refused(answer, Code::FailedPrecondition, "LEDGER_PRECONDITION");
            }
        }
    }
    let unknown = settle(ExecutionId::generate().as_str(), SettlementKind::NotRun);
    refused(held.append(&[], unknown).await, Code::FailedPrecondition, "LEDGER_PRECONDITION");
}

async fn a_settled_call_is_settled(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let execution = at(&held, &turn, ExecutionState::Finished, OutcomeKind::Failed).await;
    held.append(&["tool_result"], settle(&execution, SettlementKind::Outcome))
        .await
        .expect("settled");
    let twice = held.append(&["tool_result"], settle(&execution, SettlementKind::Outcome)).await;
    let status = refused(twice, Code::FailedPrecondition, "LEDGER_PRECONDITION");
    assert_eq!(
        cortex_rpc::fault(&status).metadata.get("state").map(String::as_str),
        Some("settled")
    );
    let in_one = at(&held, &turn, ExecutionState::Intended, OutcomeKind::Failed).await;
    let mut both = settle(&in_one, SettlementKind::NotRun);
    both.settlements.extend(both.settlements.clone());
    refused(held.append(&[], both).await, Code::FailedPrecondition, "LEDGER_PRECONDITION");
    // A row of another session is not this session's to settle.
    let other = f.held().await;
    let foreign = settle(&in_one, SettlementKind::NotRun);
    refused(other.append(&[], foreign).await, Code::FailedPrecondition, "LEDGER_PRECONDITION");
}

async fn unknown_needs_a_turn_that_closes(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let (execution, own) = (held.intend(&turn).await.0, claimant());
    f.claim(&execution, &own, held.epoch).await.expect("claimed");
    let settlement = settle(&execution, SettlementKind::Unknown);
    let early = held.append(&[], settlement.clone()).await;
    refused(early, Code::FailedPrecondition, "LEDGER_PRECONDITION");
    let cancel = f.submit(&held.session, CommandKind::Cancel).await.expect("accepted");
    let effects = JournalEffects { consumed_sequence: cancel, closed_turn_id: turn, ..settlement };
    held.append(&["turn_cancelled"], effects).await.expect("cancelled");
    // The outcome that comes late is recorded, and settles nothing.
    let row = f.finish(&execution, &own, OutcomeKind::Succeeded).await.expect("recorded");
    assert_eq!((row.state(), row.settled), (ExecutionState::Finished, true));
}

async fn a_turn_closes_only_when_its_calls_have_results(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let (first, second) = (held.intend(&turn).await.0, held.intend(&turn).await.0);
    held.append(&["tool_result"], settle(&first, SettlementKind::NotRun)).await.expect("settled");
    let close = JournalEffects { closed_turn_id: turn.clone(), ..Default::default() };
    let open = held.append(&["turn_completed"], close).await;
    refused(open, Code::FailedPrecondition, "CALLS_OPEN");
    let last =
        JournalEffects { closed_turn_id: turn.clone(), ..settle(&second, SettlementKind::NotRun) };
    held.append(&["tool_result", "turn_completed"], last).await.expect("closed");
    assert!(f.get_journal(&held.session).await.open_executions.is_empty());
}

async fn a_lost_execution_is_replaced_by_one_of_the_same_call(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let (lost, call) = held.intend(&turn).await;
    f.claim(&lost, &claimant(), held.epoch).await.expect("claimed");
    f.finish(&lost, &claimant(), OutcomeKind::Lost).await.expect("lost");
    let alone = settle(&lost, SettlementKind::Replaced);
    let answer = held.append(&[], alone.clone()).await;
    refused(answer, Code::FailedPrecondition, "LEDGER_PRECONDITION");
    let successor = ExecutionIntent {
        call_id: call.clone(),
        replaces_execution_id: lost.clone(),
        ..intent(&turn)
    };
    let of_another_call = ExecutionIntent { call_id: intent(&turn).call_id, ..successor.clone() };
    let answer =
        held.append(&[], JournalEffects { intents: vec![of_another_call], ..alone.clone() }).await;
    refused(answer, Code::FailedPrecondition, "LEDGER_PRECONDITION");
    let unsettled = JournalEffects { intents: vec![successor.clone()], ..Default::default() };
    let answer = held.append(&[], unsettled).await;
    refused(answer, Code::FailedPrecondition, "LEDGER_PRECONDITION");
    let both = JournalEffects { intents: vec![successor.clone()], ..alone };
    held.append(&["tool_call_retried"], both).await.expect("replaced");
    // The call is still open, under its new execution.
    let open = f.get_journal(&held.session).await.open_executions;
    let found: Vec<_> = open.iter().map(|row| (&row.execution_id, &row.call_id)).collect();
    assert_eq!(found, [(&successor.execution_id, &call)]);
    let close = JournalEffects { closed_turn_id: turn, ..Default::default() };
    refused(held.append(&[], close).await, Code::FailedPrecondition, "CALLS_OPEN");
}

async fn a_call_is_tried_once_unless_replaced(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let (execution, call) = held.intend(&turn).await;
    let again = ExecutionIntent { call_id: call.clone(), ..intent(&turn) };
    let twin = JournalEffects { intents: vec![again], ..Default::default() };
    refused(held.append(&[], twin.clone()).await, Code::FailedPrecondition, "LEDGER_PRECONDITION");
    let same_id = ExecutionIntent { execution_id: execution.clone(), ..intent(&turn) };
    let reused = JournalEffects { intents: vec![same_id], ..Default::default() };
    refused(held.append(&[], reused).await, Code::FailedPrecondition, "LEDGER_PRECONDITION");
    held.append(&[], settle(&execution, SettlementKind::NotRun)).await.expect("settled");
    refused(held.append(&[], twin).await, Code::FailedPrecondition, "LEDGER_PRECONDITION");
}

async fn nothing_of_a_closed_turn_is_claimed(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let (execution, _) = held.intend(&turn).await;
    let effects =
        JournalEffects { closed_turn_id: turn, ..settle(&execution, SettlementKind::NotRun) };
    held.append(&["turn_cancelled"], effects).await.expect("cancelled");
    let answer = f.claim(&execution, &claimant(), held.epoch).await;
    let status = refused(answer, Code::FailedPrecondition, "EXECUTION_NOT_INTENDED");
    assert_eq!(
        cortex_rpc::fault(&status).metadata.get("state").map(String::as_str),
        Some("closed")
    );
}

async fn a_refused_settlement_leaves_nothing_behind(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let (good, _) = held.intend(&turn).await;
    let (bad, _) = held.intend(&turn).await;
    let before = f.get_journal(&held.session).await;
    let mut effects = settle(&good, SettlementKind::NotRun);
    effects.settlements.extend(settle(&bad, SettlementKind::Outcome).settlements);
    effects.messages.push(new_message(MessageRole::Assistant, "never said"));
    let answer = held.append(&["tool_result"], effects).await;
    refused(answer, Code::FailedPrecondition, "LEDGER_PRECONDITION");
    assert_eq!(f.get_journal(&held.session).await, before);
    f.claim(&good, &claimant(), held.epoch).await.expect("still intended");
}

async fn rows_are_listed_by_session_and_by_claimant(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(held.intend(&turn).await.0);
    }
    let own = claimant();
    for id in &ids[1..4] {
        f.claim(id, &own, held.epoch).await.expect("claimed");
    }
    f.finish(&ids[2], &own, OutcomeKind::Succeeded).await.expect("finished");
    let list = |request: ListExecutionsRequest| async move {
        let page = f.journal().list_executions(request).await.expect("a page").into_inner();
        let ids: Vec<_> = page.executions.iter().map(|row| row.execution_id.clone()).collect();
        (ids, page.next_page_token)
    };
    let mut by_session = ListExecutionsRequest {
        session_id: held.session.clone(),
        page_size: 3,
        ..Default::default()
    };
    let (first, token) = list(by_session.clone()).await;
    assert_eq!(first, ids[..3]);
    by_session.page_token = token;
    assert_eq!(list(by_session.clone()).await, (ids[3..].to_vec(), String::new()));
    let by_claimant = ListExecutionsRequest {
        claimant_instance: "containers".into(),
        state: ExecutionState::Claimed.into(),
        ..Default::default()
    };
    let (found, _) = list(by_claimant).await;
    assert_eq!(found, [ids[1].clone(), ids[3].clone()]);
    let other = ListExecutionsRequest { session_id: String::new(), ..by_session };
    refused(f.journal().list_executions(other).await, Code::InvalidArgument, "INVALID_FIELD");
}
