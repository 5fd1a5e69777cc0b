//! Helpers that start the real binary for the cross-service tests.
