//! The outside world: directories, files in memory, the storage service.

mod directory;
mod embedded;
mod records;

pub use directory::Directory;
pub use embedded::Embedded;
pub use records::Records;
