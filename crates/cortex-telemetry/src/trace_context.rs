//! W3C Trace Context, level 1 (w3.org/TR/trace-context-1): who called, in which trace.

use std::fmt;

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The position in a distributed trace: what the header `traceparent` carries.
///
/// It travels on every hop whether or not spans are exported, so that the logs of all services of
/// one call share a trace id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

/// How long a `traceparent` of version 00 is.
const LENGTH: usize = 55;
/// The flag by which a caller says that it recorded the trace.
const SAMPLED: u8 = 1;

impl TraceContext {
    /// A new trace with a new span. Not sampled.
    pub fn generate() -> Self {
        Self { trace_id: non_zero(rand::random), span_id: non_zero(rand::random), flags: 0 }
    }

    /// A new span in the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span_id: non_zero(rand::random), ..self }
    }

    /// Reads a `traceparent` header. Versions above 00 are read by the rules of version 00, as the
    /// recommendation asks. `None` for anything malformed: the receiver then starts a new trace.
    pub fn parse(traceparent: &str) -> Option<Self> {
        // Read for every call, so by position.
        let text = traceparent.trim().as_bytes();
        let (context, more) = text.split_at_checked(LENGTH)?;
        let dashes = [context[2], context[35], context[52]];
        let version = hex(&context[..2])?;
        let ends = more.is_empty() || (version != 0 && more.starts_with(b"-"));
        if dashes != *b"---" || version == 0xff || !ends {
            return None;
        }
        let context = Self {
            trace_id: hex(&context[3..35])?,
            span_id: u64::try_from(hex(&context[36..52])?).ok()?,
            flags: u8::try_from(hex(&context[53..])?).ok()?,
        };
        (context.trace_id != 0 && context.span_id != 0).then_some(context)
    }

    /// The context of the current `tracing` span. `None` when spans are not exported.
    pub fn current() -> Option<Self> {
        Self::of(&tracing::Span::current())
    }

    /// The context of `span`. `None` when spans are not exported.
    pub fn of(span: &tracing::Span) -> Option<Self> {
        if !crate::init::exports() {
            return None;
        }
        let context = span.context();
        let span = context.span();
        let span = span.span_context();
        span.is_valid().then(|| Self {
            trace_id: u128::from_be_bytes(span.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(span.span_id().to_bytes()),
            flags: span.trace_flags().to_u8(),
        })
    }

    /// Makes `span` a child of this context in the exported trace.
    pub fn adopt(self, span: &tracing::Span) {
        if !crate::init::exports() {
            return;
        }
        let remote = SpanContext::new(
            TraceId::from_bytes(self.trace_id.to_be_bytes()),
            SpanId::from_bytes(self.span_id.to_be_bytes()),
            TraceFlags::new(self.flags),
            true,
            TraceState::NONE,
        );
        // The only error is that no span exporter is installed: then there is nothing to link.
        let _ = span.set_parent(Context::new().with_remote_span_context(remote));
    }

    /// The value of the header `traceparent`, in ASCII.
    pub fn to_bytes(self) -> [u8; LENGTH] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut text[3..35], self.trace_id);
        write_hex(&mut text[36..52], self.span_id.into());
        write_hex(&mut text[53..55], self.flags.into());
        text
    }

    /// Whether the caller recorded the trace.
    pub fn sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The trace's id, printed as 32 lower-case hex digits.
    pub fn id(self) -> TraceId128 {
        TraceId128(self.trace_id)
    }
}

/// The id of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId128(u128);

impl fmt::Display for TraceId128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Written for every call: by hand it takes a tenth of what the formatting machinery does.
        let mut text = [b'0'; 32];
        write_hex(&mut text, self.0);
        f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// The value of the header `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.to_bytes()).map_err(|_| fmt::Error)?)
    }
}

/// Writes the last digits of `value`, as many as fit into `out`.
fn write_hex(out: &mut [u8], value: u128) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bytes = value.to_be_bytes();
    let skipped = bytes.len().saturating_sub(out.len() / 2);
    for (digits, byte) in out.chunks_exact_mut(2).zip(&bytes[skipped..]) {
        digits.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]);
    }
}

/// Lower-case hex digits, 32 at most.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

fn non_zero<T: Default + PartialEq>(draw: impl Fn() -> T) -> T {
    loop {
        let value = draw();
        if value != T::default() {
            return value;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_example_of_the_recommendation_reads_and_prints() {
        let context = TraceContext::parse(EXAMPLE).expect("valid");
        assert!(context.sampled());
        assert_eq!(context.id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.to_string(), EXAMPLE);
    }

    #[test]
    fn a_later_version_with_more_fields_is_read() {
        let later = EXAMPLE.replacen("00", "01", 1) + "-extra";
        assert_eq!(TraceContext::parse(&later), TraceContext::parse(EXAMPLE));
    }

    #[test]
    fn what_is_malformed_starts_a_new_trace() {
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_child_stays_in_its_trace() {
        let parent = TraceContext::generate();
        let child = parent.child();
        assert_eq!(parent.id(), child.id());
        assert_ne!(parent, child);
    }

    proptest! {
        #[test]
        fn printing_and_reading_are_inverse(trace in 1u128.., span in 1u64.., flags: u8) {
            let context = TraceContext { trace_id: trace, span_id: span, flags };
            prop_assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
        }

        #[test]
        fn any_text_is_read_or_refused_but_never_panics(text in ".{0,80}") {
            let _ = TraceContext::parse(&text);
        }
    }
}
