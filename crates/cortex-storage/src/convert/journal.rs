//! The journal's requests.

use super::{
    PageRequest,
    entry::command_kind,
    execution::execution_to_proto,
    field::{
        entry_type, fingerprint, holder_id, id, name, not_negative, optional_id, optional_object,
        payload, session_id,
    },
    history::{TextFields, new_message, text},
    proto,
    record::positive,
    session::{status, status_to_proto},
};
use crate::{
    config::Limits,
    error::{Result, StorageError},
    journal::{
        Acquire, Append, AppendKey, Command, Effects, Event, ExecutionKind, ForkRequest, Intent,
        MessageUpdate, Registration, Release, RequestId, Sequence, Settlement, SettlementKind,
        Submit, Wait,
    },
    ports::{EntryQuery, JournalView},
    state::StateChange,
    time::Stamp,
    watch::{EntryWatchQuery, Wanted},
};

/// A command to submit.
pub(crate) fn submit(request: proto::SubmitCommandRequest, limits: &Limits) -> Result<Submit> {
    let fingerprint = fingerprint(&request);
    let kind = command_kind(request.kind())
        .ok_or_else(|| StorageError::invalid("kind", "is missing or not one of the kinds"))?;
    let max_queued = match usize::try_from(request.max_queued_messages) {
        Ok(0) => limits.queued_messages,
        Ok(limit) => limit,
        Err(_) => return Err(StorageError::invalid("max_queued_messages", "must not be negative")),
    };
    Ok(Submit {
        session_id: session_id(&request.session_id)?,
        command: Command {
            kind,
            name: entry_type("type", &request.r#type)?,
            payload: payload("payload", request.payload, limits.message.get())?,
        },
        request_id: RequestId::parse(request.request_id)?,
        fingerprint,
        require_idle: request.require_idle,
        max_queued,
        max_pending: limits.pending_commands,
    })
}

/// A new incarnation.
pub(crate) fn registration(
    request: proto::RegisterHolderRequest,
    limits: &Limits,
) -> Result<Registration> {
    let duration = match &request.lease_duration {
        Some(duration) => positive("lease_duration", duration)?,
        None => limits.default_lease.get(),
    };
    if !(limits.min_lease.get()..=limits.max_lease.get()).contains(&duration) {
        let problem = format!("must be {} to {}", limits.min_lease, limits.max_lease);
        return Err(StorageError::invalid("lease_duration", problem));
    }
    Ok(Registration {
        holder_id: holder_id(&request.holder_id)?,
        instance: name("instance", request.instance)?,
        duration,
    })
}

/// A session to take.
pub(crate) fn acquire(request: &proto::AcquireSessionRequest) -> Result<Acquire> {
    Ok(Acquire {
        session_id: session_id(&request.session_id)?,
        holder_id: holder_id(&request.holder_id)?,
        seen_epoch: not_negative("seen_epoch", request.seen_epoch)?,
    })
}

/// A session to give back.
pub(crate) fn release(request: &proto::ReleaseSessionRequest) -> Result<Release> {
    Ok(Release {
        session_id: session_id(&request.session_id)?,
        holder_id: holder_id(&request.holder_id)?,
        epoch: not_negative("epoch", request.epoch)?,
        last_command: not_negative("last_command_sequence", request.last_command_sequence)?,
        wait: request
            .wait
            .as_ref()
            .map(|wait| Wait { wake_at: wait.wake_at.as_ref().map(Stamp::from) }),
    })
}

/// Events to append, with their effects.
pub(crate) fn append(mut request: proto::AppendEventsRequest, limits: &Limits) -> Result<Append> {
    let (holder, epoch) = (std::mem::take(&mut request.holder_id), request.epoch);
    // Who appends is no part of what is appended: a holder that acquired again repeats the request.
    request.epoch = 0;
    let fingerprint = fingerprint(&request);
    let key = append_key(request.request_id, request.append_number)?;
    if request.events.is_empty() && request.effects.is_none() {
        return Err(StorageError::invalid("events", "is empty, and there are no effects"));
    }
    if request.events.len() > limits.events_per_append {
        let problem = format!("must have at most {} items", limits.events_per_append);
        return Err(StorageError::invalid("events", problem));
    }
    let limit = limits.message.get();
    let events = request.events.into_iter().enumerate().map(|(place, event)| {
        Ok(Event {
            name: entry_type(&format!("events[{place}].type"), &event.r#type)?,
            payload: payload("events.payload", event.payload, limit)?,
        })
    });
    Ok(Append {
        session_id: session_id(&request.session_id)?,
        holder_id: holder_id(&holder)?,
        epoch: not_negative("epoch", epoch)?,
        key,
        fingerprint,
        events: events.collect::<Result<_>>()?,
        effects: effects(request.effects.unwrap_or_default(), limits)?,
        max_state: limits.state.get(),
    })
}

fn append_key(request_id: String, number: i64) -> Result<AppendKey> {
    match (RequestId::parse(request_id)?, not_negative("append_number", number)?) {
        (Some(id), 0) => Ok(AppendKey::Request(id)),
        (None, number) if number > 0 => Ok(AppendKey::Number(number)),
        (Some(_), _) => {
            let problem = "cannot be given together with request_id";
            Err(StorageError::invalid("append_number", problem))
        }
        (None, _) => {
            let problem = "is missing; it or append_number must be given";
            Err(StorageError::invalid("request_id", problem))
        }
    }
}

fn effects(effects: proto::JournalEffects, limits: &Limits) -> Result<Effects> {
    let count = effects.messages.len()
        + effects.message_updates.len()
        + effects.deleted_message_ids.len()
        + effects.intents.len()
        + effects.settlements.len()
        + effects.queued_sequences.len()
        + effects.dequeued_sequences.len();
    if count > limits.effects_per_append {
        let problem = format!("must have at most {} items", limits.effects_per_append);
        return Err(StorageError::invalid("effects", problem));
    }
    let consumed = not_negative("effects.consumed_sequence", effects.consumed_sequence)?;
    let messages = effects.messages.into_iter().map(|new| new_message(new, limits));
    let updates = effects.message_updates.into_iter().map(|update| message_update(update, limits));
    let deleted = effects.deleted_message_ids.iter();
    Ok(Effects {
        consumed: Some(consumed).filter(|consumed| *consumed > 0),
        opened_turn: optional_id("effects.opened_turn_id", &effects.opened_turn_id)?,
        closed_turn: optional_id("effects.closed_turn_id", &effects.closed_turn_id)?,
        queued: sequences("effects.queued_sequences", effects.queued_sequences)?,
        dequeued: sequences("effects.dequeued_sequences", effects.dequeued_sequences)?,
        messages: messages.collect::<Result<_>>()?,
        message_updates: updates.collect::<Result<_>>()?,
        deleted_messages: deleted
            .map(|text| id("effects.deleted_message_ids", text))
            .collect::<Result<_>>()?,
        state: effects.state_change.map(|change| state_change(change, limits)).transpose()?,
        intents: effects.intents.into_iter().map(intent).collect::<Result<_>>()?,
        settlements: effects.settlements.iter().map(settlement).collect::<Result<_>>()?,
        status: status(effects.status)?,
    })
}

fn sequences(field: &str, sequences: Vec<i64>) -> Result<Vec<Sequence>> {
    match sequences.iter().find(|sequence| **sequence <= 0) {
        Some(_) => Err(StorageError::invalid(field, "sequences begin at 1")),
        None => Ok(sequences),
    }
}

fn message_update(update: proto::HistoryMessageUpdate, limits: &Limits) -> Result<MessageUpdate> {
    const FIELDS: TextFields = TextFields {
        content: "effects.message_updates.content",
        place: "effects.message_updates.entry_text",
    };
    let content = text(FIELDS, update.content, update.entry_text, limits)?;
    let message_id = id("effects.message_updates.message_id", &update.message_id)?;
    Ok(MessageUpdate { message_id, content })
}

fn state_change(change: proto::StateChange, limits: &Limits) -> Result<StateChange> {
    use proto::state_change::Change;

    const FIELD: &str = "effects.state_change";
    let limit = limits.state.get();
    match change.change {
        None => Err(StorageError::invalid(FIELD, "is empty")),
        Some(Change::Replacement(data)) => {
            Ok(StateChange::Replace(super::field::object(FIELD, data, limit)?))
        }
        Some(Change::MergePatch(data)) => {
            Ok(StateChange::Merge(super::field::object(FIELD, data, limit)?))
        }
    }
}

fn intent(intent: proto::ExecutionIntent) -> Result<Intent> {
    let kind = ExecutionKind::from_name(&intent.kind).ok_or_else(|| {
        StorageError::invalid("effects.intents.kind", "must be tool, relic, agent or completion")
    })?;
    Ok(Intent {
        execution_id: id("effects.intents.execution_id", &intent.execution_id)?,
        call_id: id("effects.intents.call_id", &intent.call_id)?,
        turn_id: id("effects.intents.turn_id", &intent.turn_id)?,
        kind,
        name: name("effects.intents.name", intent.name)?,
        replaces: optional_id(
            "effects.intents.replaces_execution_id",
            &intent.replaces_execution_id,
        )?,
    })
}

fn settlement(settlement: &proto::ExecutionSettlement) -> Result<Settlement> {
    let kind = match settlement.kind() {
        proto::SettlementKind::NotRun => SettlementKind::NotRun,
        proto::SettlementKind::Outcome => SettlementKind::Outcome,
        proto::SettlementKind::Unknown => SettlementKind::Unknown,
        proto::SettlementKind::Replaced => SettlementKind::Replaced,
        proto::SettlementKind::Unspecified => {
            let problem = "is missing or not one of the kinds";
            return Err(StorageError::invalid("effects.settlements.kind", problem));
        }
    };
    Ok(Settlement {
        execution_id: id("effects.settlements.execution_id", &settlement.execution_id)?,
        kind,
    })
}

/// Which entries to list.
pub(crate) fn entry_query(request: proto::ListEntriesRequest) -> Result<(EntryQuery, PageRequest)> {
    let bound = (&request.session_id, request.after_sequence, &request.types);
    let page = PageRequest::parse(request.page_size, &request.page_token, &bound)?;
    let after = not_negative("after_sequence", request.after_sequence)?;
    let query = EntryQuery {
        session_id: session_id(&request.session_id)?,
        after: page.number()?.unwrap_or(after),
        page_size: page.size,
        types: request.types,
    };
    Ok((query, page))
}

/// A session to fork.
pub(crate) fn fork(request: proto::ForkJournalRequest, limits: &Limits) -> Result<ForkRequest> {
    let fingerprint = fingerprint(&request);
    let sequence = not_negative("sequence", request.sequence)?;
    Ok(ForkRequest {
        session_id: session_id(&request.session_id)?,
        sequence: Some(sequence).filter(|sequence| *sequence > 0),
        metadata: optional_object("metadata", request.metadata, limits.metadata.get())?,
        request_id: RequestId::parse(request.request_id)?,
        fingerprint,
    })
}

/// Which entries to follow.
pub(crate) fn entry_watch(request: &proto::WatchEntriesRequest) -> Result<EntryWatchQuery> {
    let wanted = match proto::JournalEntryKind::try_from(request.kind) {
        Ok(proto::JournalEntryKind::Unspecified) => Wanted::Every,
        Ok(proto::JournalEntryKind::Command) => Wanted::Commands,
        Ok(proto::JournalEntryKind::Event) => Wanted::Events,
        Err(_) => return Err(StorageError::invalid("kind", "is not one of the kinds of entries")),
    };
    Ok(EntryWatchQuery {
        session_id: session_id(&request.session_id)?,
        after: not_negative("after_sequence", request.after_sequence)?,
        wanted,
    })
}

/// Where a session's protocol stands, as the contract has it.
pub(crate) fn journal_to_proto(view: JournalView) -> proto::Journal {
    let head = view.head;
    let turn = head.turn.as_ref();
    let wait = turn.and_then(|turn| turn.wait);
    proto::Journal {
        session_id: head.session_id,
        head_sequence: head.head,
        last_command_sequence: head.last_command,
        consumed_sequence: head.consumed,
        epoch: head.epoch,
        holder_id: head.holder.map(String::from).unwrap_or_default(),
        open_turn_id: turn.map(|turn| turn.turn_id.to_string()).unwrap_or_default(),
        open_turn_sequence: turn.map_or(0, |turn| turn.sequence),
        wait: wait.map(|wait| proto::SessionWait { wake_at: wait.wake_at.map(Into::into) }),
        queued_sequences: head.queue,
        open_executions: view.open.into_iter().map(execution_to_proto).collect(),
        status: status_to_proto(head.status).into(),
    }
}
