//! Sessions as wholes: forks, exports and imports.
//!
//! All three live on the log alone: entries say what happened, marks what history and state were. A fork
//! shares the rows of both up to a quiescent point; an export writes both as JSON lines; an import makes a
//! session of them again.

mod export;
mod fork;
mod import;
mod line;

pub use export::{export, pieces};
pub use fork::{Forked, fork};
pub use import::{ImportLimits, Importer};
