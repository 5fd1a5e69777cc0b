//! What can go wrong here, as facts, and how callers are told.

use cortex_core::{Fault, PageError};

use crate::failure::Failure;

/// Why a call of this service failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LlmError {
    /// A field of the request is wrong.
    #[error("{0}")]
    Invalid(Fault),
    /// No provider has the name.
    #[error("no provider is named '{name}'; there are {}", known.join(", "))]
    ProviderNotFound {
        /// What was asked for.
        name: String,
        /// Which there are.
        known: Vec<String>,
    },
    /// The provider is known but cannot be used as it is configured.
    #[error("provider {provider} is not configured: {hint}")]
    NotConfigured {
        /// The provider.
        provider: String,
        /// How to configure it.
        hint: String,
    },
    /// The provider is known, and this version cannot speak to it.
    #[error("provider {provider} cannot be used yet: {hint}")]
    AdapterMissing {
        /// The provider.
        provider: String,
        /// What to do instead.
        hint: String,
    },
    /// No provider has the model.
    #[error("model '{model}' is not known: {hint}")]
    ModelNotFound {
        /// What was asked for.
        model: String,
        /// What to do.
        hint: String,
    },
    /// The providers that were tried failed. The failure is the one of the first.
    #[error("{provider}/{model}: {failure}")]
    Failed {
        /// The provider that failed first.
        provider: String,
        /// Its model.
        model: String,
        /// Why.
        failure: Failure,
    },
    /// Something that this version does not offer.
    #[error("{0}")]
    NotOffered(&'static str),
}

impl LlmError {
    /// A field of the request is wrong.
    pub(crate) fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::Invalid(Fault::invalid(field, description))
    }

    /// Whether another model may answer instead.
    pub(crate) fn allows_fallback(&self) -> bool {
        match self {
            Self::Invalid(_) | Self::NotOffered(_) => false,
            Self::Failed { failure, .. } => failure.allows_fallback(),
            _ => true,
        }
    }

    /// The reason, as callers know it.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(fault) => fault.reason,
            Self::ProviderNotFound { .. } => "PROVIDER_NOT_FOUND",
            Self::NotConfigured { .. } | Self::AdapterMissing { .. } => "PROVIDER_NOT_CONFIGURED",
            Self::ModelNotFound { .. } => "MODEL_NOT_FOUND",
            Self::Failed { failure, .. } => failure.reason(),
            Self::NotOffered(_) => "NOT_OFFERED",
        }
    }
}

impl From<LlmError> for Fault {
    fn from(error: LlmError) -> Self {
        let (reason, message) = (error.reason(), error.to_string());
        match error {
            LlmError::Invalid(fault) => fault,
            LlmError::ProviderNotFound { name, .. } => Self::not_found(reason, message)
                .with("provider", &name)
                .with_resource("provider", name),
            LlmError::NotConfigured { provider, .. } => {
                Self::failed_precondition(reason, message).with("provider", provider)
            }
            LlmError::AdapterMissing { provider, .. } => {
                Self::unimplemented(reason, message).with("provider", provider)
            }
            LlmError::ModelNotFound { model, .. } => {
                Self::not_found(reason, message).with("model", &model).with_resource("model", model)
            }
            LlmError::Failed { provider, model, failure } => failure.fault(&provider, &model),
            LlmError::NotOffered(_) => Self::unimplemented(reason, message),
        }
    }
}

impl From<PageError> for LlmError {
    fn from(error: PageError) -> Self {
        let field = match error {
            PageError::NegativeSize(_) => "page_size",
            PageError::Malformed | PageError::OtherQuery => "page_token",
        };
        Self::invalid(field, error.to_string())
    }
}
