//! What went wrong, as facts: one shape from every service's error enum to every wire format.

use std::{collections::BTreeMap, fmt, time::Duration};

/// The class of a fault. Each stands for one gRPC status code of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The caller gave up.
    Cancelled,
    /// A field of the request is wrong, whatever the state of the system.
    InvalidArgument,
    /// Time ran out.
    DeadlineExceeded,
    /// What was named does not exist, or is not visible to the caller.
    NotFound,
    /// What should be created exists, or a request id was used with another body.
    AlreadyExists,
    /// The caller may not do this.
    PermissionDenied,
    /// A limit is reached: quota, queue, size.
    ResourceExhausted,
    /// The system is not in the state that the call needs.
    FailedPrecondition,
    /// Somebody else was faster; read again and decide anew.
    Aborted,
    /// A position lies beyond what exists.
    OutOfRange,
    /// Not offered here.
    Unimplemented,
    /// A promise of ours is broken. The caller sees a request id, never the cause.
    Internal,
    /// Something needed is away; trying again may help.
    Unavailable,
    /// Stored data is damaged.
    DataLoss,
    /// Nobody is named, and somebody must be.
    Unauthenticated,
}

/// A field of the request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field, for example `messages[2].role`.
    pub field: String,
    /// What is wrong and what would be right.
    pub description: String,
}

/// The thing that a fault is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// What kind of thing, for example `session`.
    pub kind: String,
    /// Its name or id.
    pub name: String,
}

/// A limit that was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// Whose limit, for example `session:session_01…`.
    pub subject: String,
    /// Which limit and how large it is.
    pub description: String,
}

/// What went wrong, in the form that every wire format is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The class.
    pub kind: Kind,
    /// UPPER_SNAKE_CASE, stable, listed in docs/errors.md.
    pub reason: &'static str,
    /// One sentence for a person: what, where, what would be right. Lower case, no full stop.
    pub message: String,
    /// Facts for programs.
    pub metadata: BTreeMap<String, String>,
    /// Fields that are wrong. For [`Kind::InvalidArgument`].
    pub violations: Vec<FieldViolation>,
    /// When trying again can help.
    pub retry_after: Option<Duration>,
    /// The thing that it is about.
    pub resource: Option<Resource>,
    /// The limit that was reached. For [`Kind::ResourceExhausted`].
    pub quota: Option<Quota>,
}

macro_rules! kinds {
    ($($constructor:ident => $kind:ident),* $(,)?) => {$(
        #[doc = concat!("A fault of class [`Kind::", stringify!($kind), "`].")]
        pub fn $constructor(reason: &'static str, message: impl Into<String>) -> Self {
            Self::new(Kind::$kind, reason, message)
        }
    )*};
}

impl Fault {
    /// A fault with no further facts.
    pub fn new(kind: Kind, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            reason,
            message: message.into(),
            metadata: BTreeMap::new(),
            violations: Vec::new(),
            retry_after: None,
            resource: None,
            quota: None,
        }
    }

    kinds! {
        cancelled => Cancelled,
        deadline_exceeded => DeadlineExceeded,
        not_found => NotFound,
        already_exists => AlreadyExists,
        permission_denied => PermissionDenied,
        resource_exhausted => ResourceExhausted,
        failed_precondition => FailedPrecondition,
        aborted => Aborted,
        out_of_range => OutOfRange,
        unimplemented => Unimplemented,
        internal => Internal,
        unavailable => Unavailable,
        data_loss => DataLoss,
        unauthenticated => Unauthenticated,
    }

    /// A request whose `field` is wrong. Reason `INVALID_FIELD`.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        let (field, description) = (field.into(), description.into());
        let message = format!("{field}: {description}");
        Self::new(Kind::InvalidArgument, "INVALID_FIELD", message)
            .with_violation(field, description)
    }

    /// Adds a wrong field.
    #[must_use]
    pub fn with_violation(
        mut self,
        field: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        let (field, description) = (field.into(), description.into());
        self.violations.push(FieldViolation { field, description });
        self
    }

    /// Adds a fact for programs.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        self.metadata.insert(key.into(), value.to_string());
        self
    }

    /// Says when trying again can help.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Names the thing that it is about.
    #[must_use]
    pub fn with_resource(mut self, kind: impl Into<String>, name: impl Into<String>) -> Self {
        self.resource = Some(Resource { kind: kind.into(), name: name.into() });
        self
    }

    /// Names the limit that was reached.
    #[must_use]
    pub fn with_quota(
        mut self,
        subject: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        self.quota = Some(Quota { subject: subject.into(), description: description.into() });
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}
