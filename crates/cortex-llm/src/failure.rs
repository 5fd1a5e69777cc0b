//! Why one attempt at one provider failed, and what that allows: the canonical table of classes.

use std::{fmt, time::Duration};

use cortex_core::{Fault, Kind};

/// The class of a failure. It decides what is tried next and what the caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// No connection, or it broke before the response began.
    Connect,
    /// No first token, no next token, or no end in time.
    Timeout,
    /// 408 and 409: the provider asks to send the request again.
    Conflict,
    /// 429: too many requests or tokens for now.
    RateLimited,
    /// 429 or 402 because money or a daily quota is used up.
    Quota,
    /// 401 and 403: the configured key is not accepted.
    Auth,
    /// The provider does not have the model.
    ModelNotFound,
    /// The conversation does not fit the model's context.
    ContextTooLong,
    /// The provider refuses the content.
    ContentFiltered,
    /// Any other 4xx.
    Rejected,
    /// The model generated something that the provider could not read, for example a broken call.
    BadGeneration,
    /// 500, 502, 504: the provider is broken.
    ServerError,
    /// 503, 529, 498: the provider has too much to do.
    Overloaded,
    /// The response ended before the answer did.
    Cut,
    /// The response is not what the protocol says.
    Protocol,
}

/// Why one attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Failure {
    /// The class.
    pub(crate) class: Class,
    /// What happened, for a person. Bounded, without secrets.
    pub(crate) message: String,
    /// The provider's HTTP status, where there was one.
    pub(crate) http_status: Option<u16>,
    /// When the provider says that trying again can help.
    pub(crate) retry_after: Option<Duration>,
    /// What the provider's `x-should-retry` says.
    pub(crate) should_retry: Option<bool>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// How the same target may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SameTarget {
    /// Not at all.
    No,
    /// At once.
    Now,
    /// After the usual backoff.
    Backoff,
    /// When this much time has passed.
    After(Duration),
}

/// Characters of a provider's own message that are passed on.
const MESSAGE_LIMIT: usize = 500;

impl Failure {
    /// A failure with no further facts. The message is cut to 500 characters.
    pub(crate) fn new(class: Class, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        if let Some((at, _)) = message.char_indices().nth(MESSAGE_LIMIT) {
            message.truncate(at);
            message.push('…');
        }
        Self { class, message, http_status: None, retry_after: None, should_retry: None }
    }

    /// Whether, and when, the same target may be tried once more before anything was sent. A wait
    /// that is longer than `longest_wait` is not worth it.
    pub(crate) fn same_target(&self, longest_wait: Duration) -> SameTarget {
        if self.should_retry == Some(false) {
            return SameTarget::No;
        }
        let wait = |after: Duration| {
            if after <= longest_wait { SameTarget::After(after) } else { SameTarget::No }
        };
        match (self.class, self.retry_after) {
            (Class::RateLimited | Class::Overloaded | Class::ServerError, Some(after)) => {
                wait(after)
            }
            (Class::RateLimited | Class::Overloaded, None) => SameTarget::No,
            (Class::Connect, _) => SameTarget::Now,
            (
                Class::Conflict
                | Class::ServerError
                | Class::BadGeneration
                | Class::Cut
                | Class::Protocol,
                _,
            ) => SameTarget::Backoff,
            _ => SameTarget::No,
        }
    }

    /// Whether another model may answer instead. What is wrong with the request itself stays wrong.
    pub(crate) fn allows_fallback(&self) -> bool {
        !matches!(self.class, Class::ContentFiltered | Class::Rejected)
    }

    /// The reason, as callers know it.
    pub(crate) fn reason(&self) -> &'static str {
        match self.class {
            Class::Connect | Class::Conflict | Class::ServerError | Class::Overloaded => {
                "PROVIDER_UNAVAILABLE"
            }
            Class::Timeout => "PROVIDER_TIMEOUT",
            Class::RateLimited => "PROVIDER_RATE_LIMITED",
            Class::Quota => "PROVIDER_QUOTA_EXHAUSTED",
            Class::Auth => "PROVIDER_AUTH",
            Class::ModelNotFound => "MODEL_NOT_FOUND",
            Class::ContextTooLong => "CONTEXT_TOO_LONG",
            Class::ContentFiltered => "CONTENT_FILTERED",
            Class::Rejected => "PROVIDER_REJECTED",
            Class::BadGeneration | Class::Protocol => "PROVIDER_PROTOCOL",
            Class::Cut => "STREAM_CUT",
        }
    }

    fn kind(&self) -> Kind {
        match self.class {
            Class::Connect
            | Class::Conflict
            | Class::ServerError
            | Class::Overloaded
            | Class::Cut
            | Class::BadGeneration
            | Class::Protocol => Kind::Unavailable,
            Class::Timeout => Kind::DeadlineExceeded,
            Class::RateLimited | Class::Quota => Kind::ResourceExhausted,
            // Our configuration is wrong, not the caller's credential.
            Class::Auth => Kind::FailedPrecondition,
            Class::ModelNotFound => Kind::NotFound,
            Class::ContextTooLong | Class::ContentFiltered | Class::Rejected => {
                Kind::InvalidArgument
            }
        }
    }

    /// The failure as a caller sees it.
    pub(crate) fn fault(&self, provider: &str, model: &str) -> Fault {
        let message = format!("{provider}/{model}: {}", self.message);
        let mut fault = Fault::new(self.kind(), self.reason(), message)
            .with("provider", provider)
            .with("model", model);
        if let Some(status) = self.http_status {
            fault = fault.with("http_status", status);
        }
        if let Some(after) = self.retry_after {
            fault = fault.with_retry_after(after);
        }
        match self.class {
            Class::RateLimited | Class::Quota => {
                fault.with_quota(format!("provider:{provider}"), self.message.clone())
            }
            Class::ModelNotFound => fault.with_resource("model", format!("{provider}/{model}")),
            _ => fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(5);

    #[test]
    fn a_rate_limit_waits_only_when_the_wait_is_known_and_short() {
        let mut failure = Failure::new(Class::RateLimited, "slow down");
        assert_eq!(failure.same_target(LONGEST), SameTarget::No);
        failure.retry_after = Some(Duration::from_secs(2));
        assert_eq!(failure.same_target(LONGEST), SameTarget::After(Duration::from_secs(2)));
        failure.retry_after = Some(Duration::from_secs(6));
        assert_eq!(failure.same_target(LONGEST), SameTarget::No);
    }

    #[test]
    fn the_provider_has_the_last_word_on_retries() {
        let mut failure = Failure::new(Class::ServerError, "boom");
        assert_eq!(failure.same_target(LONGEST), SameTarget::Backoff);
        failure.should_retry = Some(false);
        assert_eq!(failure.same_target(LONGEST), SameTarget::No);
    }

    #[test]
    fn a_wrong_request_is_not_sent_to_anybody_else() {
        assert!(!Failure::new(Class::Rejected, "bad").allows_fallback());
        assert!(!Failure::new(Class::ContentFiltered, "bad").allows_fallback());
        assert!(Failure::new(Class::ContextTooLong, "long").allows_fallback());
        assert!(Failure::new(Class::Auth, "key").allows_fallback());
    }

    #[test]
    fn a_rejected_key_of_ours_is_not_the_callers_fault() {
        let mut failure = Failure::new(Class::Auth, "invalid key");
        failure.http_status = Some(401);
        let fault = failure.fault("openai", "gpt-4o");
        assert_eq!((fault.kind, fault.reason), (Kind::FailedPrecondition, "PROVIDER_AUTH"));
        assert_eq!(fault.metadata["http_status"], "401");
        assert_eq!(fault.metadata["provider"], "openai");
        assert_eq!(fault.metadata["model"], "gpt-4o");
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let failure = Failure::new(Class::Rejected, "é".repeat(900));
        assert_eq!(failure.message.chars().count(), 501);
    }
}
