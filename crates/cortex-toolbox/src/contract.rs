//! The tool contract: where parameters come from and what an answer looks like.
//!
//! Parameters are one JSON object: the first argument, else standard input, else the variable
//! PARAMETERS. The answer is one JSON object on standard output, `{"success":true,"result":…}` with
//! exit code 0 or `{"success":false,"error":"…"}` with exit code 1.

use std::{env::VarError, io::Read};

use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned, ser::SerializeMap as _};
use serde_json::value::RawValue;

/// Longest parameters that are read, in bytes.
const MAX_PARAMETERS: u64 = 8 << 20;

/// Why a tool has no result: a sentence for the model and for people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ToolError(pub(crate) String);

impl ToolError {
    /// An error with this message.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl Serialize for ToolError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("success", &false)?;
        map.serialize_entry("error", &self.0)?;
        map.end()
    }
}

/// What a tool answers: its result, and facts about the result.
#[derive(Debug)]
pub(crate) struct Answer {
    result: Result<Box<RawValue>, String>,
    facts: Vec<(&'static str, serde_json::Value)>,
}

impl Answer {
    /// An answer whose result is `result` as JSON.
    pub(crate) fn new(result: impl Serialize) -> Self {
        let result = serde_json::value::to_raw_value(&result).map_err(|error| error.to_string());
        Self { result, facts: Vec::new() }
    }

    /// An answer whose result is this JSON text as it stands: numbers keep every digit.
    pub(crate) fn verbatim(json: String) -> Self {
        let result = RawValue::from_string(json).map_err(|error| error.to_string());
        Self { result, facts: Vec::new() }
    }

    /// Adds a fact beside the result.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<serde_json::Value>) -> Self {
        self.facts.push((name, value.into()));
        self
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let result = self.result.as_ref().map_err(serde::ser::Error::custom)?;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("success", &true)?;
        map.serialize_entry("result", result)?;
        for (name, value) in &self.facts {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The parameters as text: the first of argument, standard input and variable that is not blank.
/// Nothing at all is an empty object.
pub(crate) fn parameters(
    argument: Option<String>,
    input: impl Read,
    variable: Result<String, VarError>,
) -> Result<String, ToolError> {
    if let Some(text) = argument.filter(|text| !text.trim().is_empty()) {
        return Ok(text);
    }
    let mut text = String::new();
    input.take(MAX_PARAMETERS + 1).read_to_string(&mut text).map_err(|error| {
        ToolError(format!("cannot read parameters from standard input: {error}"))
    })?;
    if text.len() as u64 > MAX_PARAMETERS {
        return Err(ToolError(format!("parameters are longer than {MAX_PARAMETERS} bytes")));
    }
    if !text.trim().is_empty() {
        return Ok(text);
    }
    match variable {
        Ok(text) if !text.trim().is_empty() => Ok(text),
        Err(VarError::NotUnicode(_)) => Err(ToolError::new("PARAMETERS is not UTF-8")),
        _ => Ok("{}".into()),
    }
}

/// Reads parameters into a tool's own type.
pub(crate) fn parse<T: DeserializeOwned>(parameters: &str) -> Result<T, ToolError> {
    serde_json::from_str(parameters)
        .map_err(|error| ToolError(format!("parameters do not fit: {error}")))
}

/// A number as it was written, also inside a JSON string: models write both `6` and `"6"`.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct NumberText(Box<RawValue>);

impl NumberText {
    /// The number's text, without quotes and blanks around it.
    pub(crate) fn text(&self) -> String {
        let raw = self.0.get().trim();
        serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned()).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_wins_over_input_and_variable() {
        let from = |argument: Option<&str>, input: &str, variable: Option<&str>| {
            let variable = variable.map(str::to_owned).ok_or(VarError::NotPresent);
            parameters(argument.map(str::to_owned), input.as_bytes(), variable).unwrap()
        };
        assert_eq!(from(Some("{\"x\":1}"), "{\"x\":2}", Some("{\"x\":3}")), "{\"x\":1}");
        assert_eq!(from(Some(" "), "{\"x\":2}", Some("{\"x\":3}")), "{\"x\":2}");
        assert_eq!(from(None, "\n", Some("{\"x\":3}")), "{\"x\":3}");
        assert_eq!(from(None, "", None), "{}");
    }

    #[test]
    fn answers_and_errors_have_the_contract_s_shape() {
        let answer = Answer::verbatim("9007199254740993".into()).with("exact", true);
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"success":true,"result":9007199254740993,"exact":true}"#
        );
        assert_eq!(
            serde_json::to_string(&ToolError::new("no")).unwrap(),
            r#"{"success":false,"error":"no"}"#
        );
    }

    #[test]
    fn input_that_never_ends_is_refused() {
        let endless = std::io::repeat(b' ');
        assert!(parameters(None, endless, Err(VarError::NotPresent)).is_err());
    }
}
