//! What to do next in an open turn: the one decision that the effects carry out.

use cortex_proto::cortex::agent::v1::CompletionReason;

use super::view::{AttemptPhase, TurnView};

/// How a cut attempt is dealt with (session protocol, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It has no intent: everything it said is void.
    Restart,
    /// It has an intent: what it said after the last one is void, the calls stand.
    Seal,
}

/// The next step of an open turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The model is answering: wait for it.
    Stream,
    /// The last attempt has entries but nobody streams it any more.
    Cut(Cut),
    /// Calls wait for their results.
    Settle,
    /// Call the model.
    Attempt,
    /// The turn is done.
    Complete(CompletionReason),
}

/// Decides what to do next. `streaming` says whether an attempt's stream is open here.
pub(crate) fn next(turn: &TurnView, streaming: bool) -> Next {
    if streaming {
        return Next::Stream;
    }
    match turn.phase {
        AttemptPhase::None | AttemptPhase::Restarted => Next::Attempt,
        AttemptPhase::Running if turn.has_intent() => Next::Cut(Cut::Seal),
        AttemptPhase::Running => Next::Cut(Cut::Restart),
        AttemptPhase::Ended | AttemptPhase::Sealed => after_answer(turn),
    }
}

fn after_answer(turn: &TurnView) -> Next {
    if turn.open_calls().next().is_some() {
        Next::Settle
    } else if turn.calls.is_empty() && turn.steers.is_empty() {
        Next::Complete(CompletionReason::Stop)
    } else if turn.iteration_cap > 0 && turn.iterations >= turn.iteration_cap {
        Next::Complete(CompletionReason::IterationCap)
    } else {
        Next::Attempt
    }
}

#[cfg(test)]
mod tests {
    use cortex_proto::cortex::agent::v1::{TurnStarted, session_event::Event};
    use proptest::prelude::*;

    use super::{super::events, *};

    const TURN: &str = "turn_0000000000000001";

    fn turn(cap: i32) -> TurnView {
        TurnView::open(TURN, &TurnStarted { iteration_cap: cap, ..Default::default() })
    }

    fn apply(turn: &mut TurnView, sequence: i64, event: Event) {
        let mut event = events::in_turn(TURN, event);
        event.sequence = sequence;
        turn.apply(&event);
    }

    fn settle_first(turn: &mut TurnView, sequence: i64) {
        let result = events::tool_result(&turn.calls[0], events::Outcome::not_run("x"), "msg_2");
        apply(turn, sequence, result);
    }

    fn call(id: &str, execution: &str) -> Event {
        events::call_completed(1, id, "calculator", "tool", "{}", "", execution)
    }

    #[test]
    fn a_fresh_turn_calls_the_model() {
        assert_eq!(next(&turn(10), false), Next::Attempt);
    }

    #[test]
    fn text_without_calls_completes_the_turn() {
        let mut turn = turn(10);
        apply(&mut turn, 3, events::content_delta(1, "hello".into()));
        assert_eq!(next(&turn, true), Next::Stream);
        apply(&mut turn, 4, events::answer_added("msg_1", 1, Vec::new()));
        assert_eq!(next(&turn, false), Next::Complete(CompletionReason::Stop));
        assert_eq!(turn.text.as_str(), "hello");
    }

    #[test]
    fn a_cut_attempt_without_intent_is_restarted_and_its_text_void() {
        let mut turn = turn(10);
        apply(&mut turn, 3, events::content_delta(1, "half".into()));
        assert_eq!(next(&turn, false), Next::Cut(Cut::Restart));
        apply(&mut turn, 4, events::attempt_restarted(1, "cut"));
        assert_eq!(next(&turn, false), Next::Attempt);
        assert_eq!((turn.text.as_str(), turn.next_attempt(), turn.restarts), ("", 2, 1));
    }

    #[test]
    fn a_cut_attempt_with_an_intent_is_sealed_after_the_last_intent() {
        let mut turn = turn(10);
        apply(&mut turn, 3, events::content_delta(1, "let me see".into()));
        apply(&mut turn, 4, call("call_1", "exec_1"));
        apply(&mut turn, 5, events::content_delta(1, " and more".into()));
        assert_eq!(next(&turn, false), Next::Cut(Cut::Seal));
        apply(&mut turn, 6, events::attempt_sealed(1, 4, "cut"));
        assert_eq!((turn.text.as_str(), turn.last_intent_sequence), ("let me see", 4));
        assert_eq!(next(&turn, false), Next::Settle);
        apply(&mut turn, 7, events::answer_added("msg_1", 1, vec!["call_1".into()]));
        assert_eq!(turn.iterations, 1, "the message of a sealed attempt counts once");
        settle_first(&mut turn, 8);
        assert_eq!(next(&turn, false), Next::Attempt);
    }

    #[test]
    fn a_call_without_execution_is_no_intent() {
        let mut turn = turn(10);
        apply(&mut turn, 3, call("call_1", ""));
        assert_eq!(next(&turn, false), Next::Cut(Cut::Restart));
    }

    #[test]
    fn the_iteration_cap_ends_a_turn_that_still_calls() {
        let mut turn = turn(1);
        apply(&mut turn, 3, call("call_1", "exec_1"));
        apply(&mut turn, 4, events::answer_added("msg_1", 1, vec!["call_1".into()]));
        assert_eq!(next(&turn, false), Next::Settle);
        settle_first(&mut turn, 5);
        assert_eq!(next(&turn, false), Next::Complete(CompletionReason::IterationCap));
    }

    #[test]
    fn events_of_another_turn_change_nothing() {
        let mut turn = turn(10);
        let before = turn.clone();
        turn.apply(&events::in_turn("turn_other", events::content_delta(1, "x".into())));
        assert_eq!(turn, before);
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let attempt = 1..4i32;
        prop_oneof![
            (attempt.clone(), "[a-z]{1,4}").prop_map(|(a, t)| events::content_delta_of(a, t)),
            (attempt.clone(), 0..3u8, any::<bool>()).prop_map(|(a, c, intent)| {
                let execution = if intent { "exec_1" } else { "" };
                events::call_completed(a, &format!("call_{c}"), "t", "tool", "{}", "", execution)
            }),
            attempt.clone().prop_map(|a| events::attempt_restarted(a, "cut")),
            attempt.clone().prop_map(|a| events::attempt_sealed(a, 1, "cut")),
            attempt.prop_map(|a| events::answer_added("msg_1", a, Vec::new())),
        ]
    }

    proptest! {
        /// Whatever the log says, an attempt with an intent is never restarted, nothing open is
        /// completed over, and folding never panics.
        #[test]
        fn decisions_keep_the_promises(log in proptest::collection::vec(any_event(), 0..30)) {
            let mut turn = turn(3);
            for (i, event) in log.into_iter().enumerate() {
                apply(&mut turn, i as i64 + 1, event);
                match next(&turn, false) {
                    Next::Cut(Cut::Restart) => prop_assert!(!turn.has_intent()),
                    Next::Cut(Cut::Seal) => prop_assert!(turn.has_intent()),
                    Next::Complete(_) => prop_assert!(turn.open_calls().next().is_none()),
                    Next::Settle => prop_assert!(turn.open_calls().next().is_some()),
                    Next::Attempt | Next::Stream => {}
                }
            }
        }
    }
}
