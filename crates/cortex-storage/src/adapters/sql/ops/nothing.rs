//! A write of nothing.

use super::{super::needs::Needs, super::work::Work, Operation};
use crate::{adapters::sql::cache::Cache, error::Result};

/// Writes nothing. When it is answered, the writes that came before it are taken up.
pub(in super::super) struct Nothing;

impl Operation for Nothing {
    type Answer = ();

    fn needs(&self, _: &Cache, _: &mut Needs) {}

    fn decide(&self, _: &mut Work) -> Result<()> {
        Ok(())
    }

    fn size(&self) -> usize {
        0
    }
}
