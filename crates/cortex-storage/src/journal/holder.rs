//! Holders: incarnations of agent services, and their leases on storage's clock.

use std::time::Duration;

use cortex_core::HolderId;

use crate::time::Stamp;

/// A new incarnation that wants a lease.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The incarnation.
    pub holder_id: HolderId,
    /// What it is an incarnation of.
    pub instance: String,
    /// How long the lease lasts after each renewal.
    pub duration: Duration,
}

/// A lease as its holder is told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// When it ends unless it is renewed.
    pub expires_at: Stamp,
    /// The incarnation whose lease this one voided.
    pub voided: Option<HolderId>,
}

/// A holder's lease as storage keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The incarnation.
    pub holder_id: HolderId,
    /// What it is an incarnation of.
    pub instance: String,
    /// How long the lease lasts after each renewal.
    pub duration: Duration,
    /// When it ends unless it is renewed.
    pub expires_at: Stamp,
    /// Whether a later incarnation, or its retirement, has ended it for good.
    pub voided: bool,
    /// The incarnation that this one voided.
    pub voids: Option<HolderId>,
}

impl Holder {
    /// Whether the lease is valid and not over.
    pub fn is_live(&self, now: Stamp) -> bool {
        !self.voided && self.expires_at > now
    }
}
