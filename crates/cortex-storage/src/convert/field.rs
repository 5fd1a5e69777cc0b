//! Single fields.

use std::{fmt::Display, str::FromStr, sync::Arc};

use cortex_core::{ExecutionId, HolderId, MessageId, SessionId};
use prost::Message;

use crate::{
    error::{Result, StorageError},
    journal::{Fingerprint, Payload},
    json,
    time::Stamp,
};

/// Characters of a name: a type, an agent's, a tool's.
const MAX_NAME: usize = 256;

/// An identifier in `field`.
pub(super) fn id<T>(field: &str, text: &str) -> Result<T>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| StorageError::invalid(field, error.to_string()))
}

/// An identifier in `field`, or nothing.
pub(super) fn optional_id<T>(field: &str, text: &str) -> Result<Option<T>>
where
    T: FromStr,
    T::Err: Display,
{
    if text.is_empty() { Ok(None) } else { id(field, text).map(Some) }
}

/// The field `session_id`.
pub(crate) fn session_id(text: &str) -> Result<SessionId> {
    id("session_id", text)
}

/// The field `holder_id`.
pub(crate) fn holder_id(text: &str) -> Result<HolderId> {
    id("holder_id", text)
}

/// The field `message_id`.
pub(crate) fn message_id(text: &str) -> Result<MessageId> {
    id("message_id", text)
}

/// The field `execution_id`.
pub(crate) fn execution_id(text: &str) -> Result<ExecutionId> {
    id("execution_id", text)
}

/// A name in `field`: 1 to 256 characters.
pub(super) fn name(field: &str, text: String) -> Result<String> {
    if text.is_empty() {
        return Err(StorageError::invalid(field, "is missing"));
    }
    optional_name(field, text)
}

/// A name in `field`, or nothing.
pub(crate) fn optional_name(field: &str, text: String) -> Result<String> {
    if text.chars().count() > MAX_NAME {
        return Err(StorageError::invalid(
            field,
            format!("must have at most {MAX_NAME} characters"),
        ));
    }
    Ok(text)
}

/// A name of at most `max` characters in `field`, or nothing.
pub(super) fn bounded_name(field: &str, text: String, max: usize) -> Result<Option<String>> {
    if text.chars().count() > max {
        return Err(StorageError::invalid(field, format!("must have at most {max} characters")));
    }
    if text.contains('\0') {
        return Err(StorageError::invalid(field, "may not have the character NUL"));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// A time in `field`: of the years 1 to 9999, as the contract of timestamps says.
pub(super) fn timestamp(field: &str, time: &prost_types::Timestamp) -> Result<Stamp> {
    const FIRST: i64 = -62_135_596_800;
    const LAST: i64 = 253_402_300_799;
    if !(FIRST..=LAST).contains(&time.seconds) || !(0..1_000_000_000).contains(&time.nanos) {
        let problem = "must be a time of the years 1 to 9999 with nanoseconds below a second";
        return Err(StorageError::invalid(field, problem));
    }
    Ok(time.into())
}

/// What an entry is, in `field`: lower snake case.
pub(crate) fn entry_type(field: &str, text: &str) -> Result<Arc<str>> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if text.is_empty() || text.len() > 64 || !text.bytes().all(allowed) {
        let problem = "must be 1 to 64 characters in lower snake case";
        return Err(StorageError::invalid(field, problem));
    }
    Ok(text.into())
}

/// A typed body in `field`.
pub(super) fn payload(
    field: &'static str,
    any: Option<prost_types::Any>,
    limit: u64,
) -> Result<Payload> {
    let Some(any) = any else { return Err(StorageError::invalid(field, "is missing")) };
    type_url(field, &any.type_url)?;
    fits(field, any.value.len(), limit)?;
    Ok(Payload { type_url: any.type_url.into(), value: any.value.into() })
}

/// Checks the type URL of the typed body in `field`.
pub(crate) fn type_url(field: &str, type_url: &str) -> Result<()> {
    if type_url.is_empty() || type_url.len() > MAX_NAME {
        let problem = format!("its type URL must have 1 to {MAX_NAME} characters");
        return Err(StorageError::invalid(field, problem));
    }
    Ok(())
}

/// A request of ours as a typed body, for the log. It does not name its session: forks share entries.
pub(super) fn own_payload<M: Message>(type_url: &str, message: &M) -> Payload {
    Payload { type_url: type_url.into(), value: message.encode_to_vec().into() }
}

/// Checks the size of `field`.
pub(super) fn fits(field: &'static str, bytes: usize, limit: u64) -> Result<()> {
    let bytes = bytes as u64;
    if bytes > limit {
        return Err(StorageError::TooLarge { field, bytes, limit });
    }
    Ok(())
}

/// A JSON object in `field`, or nothing.
pub(super) fn optional_object(
    field: &'static str,
    text: String,
    limit: u64,
) -> Result<Option<String>> {
    if text.is_empty() { Ok(None) } else { object(field, text, limit).map(Some) }
}

/// A JSON object in `field`.
pub(super) fn object(field: &'static str, text: String, limit: u64) -> Result<String> {
    if text.is_empty() {
        return Err(StorageError::invalid(field, "is missing; it must be a JSON object"));
    }
    fits(field, text.len(), limit)?;
    json::check_object(&text).map_err(|error| StorageError::invalid(field, error.to_string()))?;
    Ok(text)
}

/// A sequence or epoch in `field`: not negative.
pub(crate) fn not_negative(field: &str, number: i64) -> Result<i64> {
    if number < 0 {
        return Err(StorageError::invalid(field, "must not be negative"));
    }
    Ok(number)
}

/// What a request asked for: everything that its encoding says.
pub(super) fn fingerprint<M: Message>(message: &M) -> Fingerprint {
    Fingerprint::of(&message.encode_to_vec())
}
