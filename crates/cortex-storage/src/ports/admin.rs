//! What operators ask of a database.

use crate::{
    admin::{
        Admitted, CheckEvent, Checked, Freeze, Outlet, PruneEvent, PrunePlan, Pruned, Row,
        StorageStats, TableDigest, TableShape, Work,
    },
    artifact::{BlobName, Digest},
    error::Result,
    time::Stamp,
};

/// Which rows a dump has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DumpScope {
    /// All of them.
    Everything,
    /// Those that are worth keeping: not who holds leases at the moment.
    Backup,
}

/// What a dump is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpFacts {
    /// The version of the database's schema.
    pub schema_version: i64,
    /// `sqlite` or `postgresql`.
    pub backend: &'static str,
    /// Everything that was acknowledged until then is there.
    pub snapshot_at: Stamp,
    /// The tables, in the order in which they can be filled.
    pub tables: Vec<TableShape>,
}

/// Bytes that artifacts refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// What they are called.
    pub name: BlobName,
    /// How many they are.
    pub size: u64,
    /// What they are.
    pub digest: Digest,
}

/// The rows of every table, from one snapshot. Dropping it ends the snapshot.
#[tonic::async_trait]
pub trait Dump: Send {
    /// What it is of.
    fn facts(&self) -> &DumpFacts;
    /// The next rows of a table, in the order of its key, as many as about a mebibyte holds; none when
    /// all of them were told. Tables are read one after the other.
    async fn rows(&mut self, table: usize) -> Result<Vec<Row>>;
    /// Bytes that artifacts refer to, by name after `after`; none when all of them were told.
    async fn blobs(&mut self, after: &str) -> Result<Vec<Blob>>;
}

/// An empty database that is being filled in one transaction. Dropping it leaves the database empty.
#[tonic::async_trait]
pub trait Fill: Send {
    /// Adds rows to the table of this number.
    async fn write(&mut self, table: usize, rows: Vec<Row>) -> Result<()>;
    /// What the rows of a table amount to, read back.
    async fn digest(&mut self, table: usize) -> Result<TableDigest>;
    /// Sets right what cannot be true in a copy: nobody holds a session, and whoever had claimed an
    /// execution is not there to finish it.
    async fn orphan(&mut self) -> Result<()>;
    /// Notes that bytes which the rows call `old` are kept under `new`, and says whether the rows have
    /// such bytes with this digest.
    async fn place(&mut self, old: &str, digest: &Digest, new: &BlobName) -> Result<bool>;
    /// Makes artifacts whose bytes are in no archive artifacts without bytes.
    async fn forget_bytes(&mut self) -> Result<()>;
    /// Makes all of it durable.
    async fn commit(self: Box<Self>) -> Result<()>;
}

/// The installation as a whole, all tenants together.
#[tonic::async_trait]
pub trait AdminStore: Send + Sync + 'static {
    /// Enters for a work of administration, of which one runs at a time in all replicas. Meanwhile no
    /// bytes of artifacts are deleted.
    async fn admit(&self, work: &'static str) -> Result<Admitted>;
    /// What it holds.
    async fn stats(&self) -> Result<StorageStats>;
    /// Opens a snapshot. Writers go on.
    async fn dump(&self, scope: DumpScope) -> Result<Box<dyn Dump>>;
    /// Whether rows of these tables, of a database with this schema, can be taken.
    async fn accepts(&self, schema_version: i64, tables: &[TableShape]) -> Result<()>;
    /// Begins to fill this database, which must be empty. Every other write is refused until then.
    async fn fill(&self, schema_version: i64, tables: &[TableShape]) -> Result<Box<dyn Fill>>;
    /// Connects to another database, and looks whether it can be filled. Changes nothing.
    async fn probe_target(&self, url: &str) -> Result<()>;
    /// Connects to another database, brings it to this schema, and begins to fill it.
    async fn fill_target(&self, url: &str, tables: &[TableShape]) -> Result<Box<dyn Fill>>;
    /// Refuses writes in all replicas until the answer is dropped; those that wait are done before.
    async fn freeze(&self, work: Work) -> Result<Freeze>;
    /// Refuses writes for good, in all replicas and after they are started anew: the installation lives on
    /// in another database.
    async fn leave(&self, freeze: Freeze) -> Result<()>;
    /// Looks for damage, and tells of it.
    async fn check(&self, full: bool, out: &Outlet<CheckEvent>) -> Result<Checked>;
    /// Deletes what the plan says, in steps between other writes.
    async fn prune(&self, plan: &PrunePlan, out: &Outlet<PruneEvent>) -> Result<Pruned>;
}
