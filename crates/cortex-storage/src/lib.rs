//! The vault: the journal, its projections, and records, on SQL.
