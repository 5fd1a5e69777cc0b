//! Checks of how a model shall generate.

use std::{ops::RangeInclusive, time::Duration};

use cortex_proto::cortex::llm::v1 as pb;

use super::optional_object;
use crate::{completion::Parameters, error::LlmError};

/// Texts that end an answer at most.
const MAX_STOP: usize = 16;
/// The longest wait for a first token that can be asked for.
const MAX_FIRST_TOKEN: Duration = Duration::from_secs(600);

/// Parses how a model shall generate.
///
/// # Errors
/// [`LlmError::Invalid`], which names the field below `parameters`.
pub(crate) fn parameters(given: pb::GenerationParameters) -> Result<Parameters, LlmError> {
    if given.stop.len() > MAX_STOP {
        return Err(LlmError::invalid("parameters.stop", format!("more than {MAX_STOP} texts")));
    }
    if given.stop.iter().any(String::is_empty) {
        return Err(LlmError::invalid("parameters.stop", "holds an empty text"));
    }
    Ok(Parameters {
        temperature: within("temperature", given.temperature, 0.0..=2.0)?,
        top_p: within("top_p", given.top_p, 0.0..=1.0)?,
        top_k: positive("top_k", given.top_k)?,
        max_tokens: positive("max_tokens", given.max_tokens)?,
        stop: given.stop,
        presence_penalty: within("presence_penalty", given.presence_penalty, -2.0..=2.0)?,
        frequency_penalty: within("frequency_penalty", given.frequency_penalty, -2.0..=2.0)?,
        seed: given.seed,
        reasoning_effort: given.reasoning_effort,
        response_schema: optional_object("parameters.response_schema", given.response_schema)?,
        extra: optional_object("parameters.extra", given.extra)?,
        first_token_timeout: given.first_token_timeout.map(wait).transpose()?,
    })
}

fn within(
    name: &str,
    value: Option<f64>,
    range: RangeInclusive<f64>,
) -> Result<Option<f64>, LlmError> {
    match value {
        Some(value) if !range.contains(&value) => {
            let (low, high) = range.into_inner();
            let description = format!("{value} is not in {low} to {high}");
            Err(LlmError::invalid(format!("parameters.{name}"), description))
        }
        value => Ok(value),
    }
}

fn positive(name: &str, value: Option<i32>) -> Result<Option<u32>, LlmError> {
    let Some(value) = value else { return Ok(None) };
    match u32::try_from(value) {
        Ok(value) if value > 0 => Ok(Some(value)),
        _ => {
            Err(LlmError::invalid(format!("parameters.{name}"), format!("{value} is not above 0")))
        }
    }
}

fn wait(value: prost_types::Duration) -> Result<Duration, LlmError> {
    Duration::try_from(value)
        .ok()
        .filter(|wait| !wait.is_zero() && *wait <= MAX_FIRST_TOKEN)
        .ok_or_else(|| {
            LlmError::invalid("parameters.first_token_timeout", "is not above 0 and up to 600 s")
        })
}
