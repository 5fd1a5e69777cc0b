//! Whose rows a request may see.

use std::{fmt, sync::Arc};

/// A tenant: the owner of rows. Every query is scoped by one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The tenant of a mesh without authentication.
    pub const DEFAULT: &'static str = "default";

    /// The tenant called `name`.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

/// Whose sessions a holder looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Those of every tenant: the caller is a service of the mesh on nobody's behalf.
    Every,
    /// Those of one tenant.
    One(Tenant),
}

impl Scope {
    /// The one tenant, if it is one.
    pub fn tenant(&self) -> Option<&Tenant> {
        match self {
            Self::Every => None,
            Self::One(tenant) => Some(tenant),
        }
    }

    /// Whether it takes in `tenant`.
    pub fn includes(&self, tenant: &Tenant) -> bool {
        self.tenant().is_none_or(|one| one == tenant)
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
