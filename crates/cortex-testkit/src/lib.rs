//! Fakes and fault layers for tests.
