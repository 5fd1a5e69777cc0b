//! The fields of spans in the JSON log.
//!
//! tracing-subscriber's own formatter sorts the fields of a span into a map when it begins, and reads
//! them back from JSON when one is added: every call has a span whose request id is added, and that took
//! longer than the call. Here fields are written once, in order, and one that is added is appended.

use std::{
    cell::RefCell,
    fmt::{self, Write},
};

use tracing::{
    field::{Field, Visit},
    span::Record,
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FormatFields, FormattedFields, format::Writer},
};

/// Writes the fields of a span as a JSON object. A field that is recorded twice is there twice; readers
/// take the last one, as RFC 8259 lets them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SpanFields;

impl<'a> FormatFields<'a> for SpanFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'a>, fields: R) -> fmt::Result {
        LINE.with_borrow_mut(|line| {
            line.clear();
            line.push('{');
            write_members(line, true, |members| fields.record(members))?;
            line.push('}');
            writer.write_str(line)
        })
    }

    fn add_fields(
        &self,
        current: &'a mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        let object = &mut current.fields;
        if object.pop() != Some('}') {
            object.clear();
            object.push('{');
        }
        let empty = object.len() == 1;
        write_members(object, empty, |members| fields.record(members))?;
        object.push('}');
        Ok(())
    }
}

thread_local! {
    /// Where fields are put together: the text of a span then grows once.
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

fn write_members(
    out: &mut dyn Write,
    empty: bool,
    record: impl FnOnce(&mut Members<'_>),
) -> fmt::Result {
    let mut members = Members { out, empty, written: Ok(()) };
    record(&mut members);
    members.written
}

/// The members of a JSON object, as they come.
struct Members<'a> {
    out: &'a mut dyn Write,
    /// Whether nothing stands before the next one.
    empty: bool,
    written: fmt::Result,
}

impl Members<'_> {
    fn member(&mut self, field: &Field, value: impl FnOnce(&mut dyn Write) -> fmt::Result) {
        if self.written.is_ok() {
            self.written = self.name(field.name()).and_then(|()| value(self.out));
        }
    }

    fn name(&mut self, name: &str) -> fmt::Result {
        if !std::mem::take(&mut self.empty) {
            self.out.write_char(',')?;
        }
        write_text(self.out, name)?;
        self.out.write_char(':')
    }
}

impl Visit for Members<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field, |out| match value.is_finite() {
            true => write!(out, "{value:?}"),
            false => out.write_str("null"),
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |out| write!(out, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |out| write!(out, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |out| out.write_str(if value { "true" } else { "false" }));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, |out| write_text(out, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field, |out| {
            out.write_char('"')?;
            write!(Escaped(out), "{value:?}")?;
            out.write_char('"')
        });
    }
}

fn write_text(out: &mut dyn Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    Escaped(out).write_str(text)?;
    out.write_char('"')
}

/// Escapes what may not stand in a JSON string (RFC 8259, section 7).
struct Escaped<'a>(&'a mut dyn Write);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
        // Without an end before the last byte, the compiler looks at many at once.
        if !text.bytes().fold(false, |found, byte| found | special(byte)) {
            return self.0.write_str(text);
        }
        let mut plain = 0;
        for (at, byte) in text.bytes().enumerate().filter(|(_, byte)| special(*byte)) {
            self.0.write_str(&text[plain..at])?;
            match byte {
                b'"' => self.0.write_str("\\\"")?,
                b'\\' => self.0.write_str("\\\\")?,
                _ => write!(self.0, "\\u{byte:04x}")?,
            }
            plain = at + 1;
        }
        self.0.write_str(&text[plain..])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_a_json_string(text in ".*") {
            let mut written = String::new();
            write_text(&mut written, &text).expect("a string takes everything");
            prop_assert_eq!(serde_json::from_str::<String>(&written).expect("JSON"), text);
        }
    }
}
