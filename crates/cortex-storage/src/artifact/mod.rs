//! Artifacts: what a session made or was given, as metadata and, unless it is only referred to, bytes.
//!
//! Bytes are stored once per tenant by content. A row of the database says under which name: every
//! upload has a name of its own, which is never used again, so that bytes that are being deleted are
//! never those that somebody has just referred to. Bytes come before the row that names them and go
//! after it; what a crash leaves in between nobody names, and it is swept.
//!
//! | what | where |
//! |---|---|
//! | uploads, downloads, deletion | [`Depot`] |
//! | what of the bytes is asked for | [`ByteRange`] |
//! | what they are called | [`Digest`], [`BlobName`] |

mod content;
mod depot;
mod digest;
mod download;
mod ingest;
mod keeper;
mod range;

pub use content::{BlobEntry, BlobName, StoreId};
pub use depot::{Depot, UploadRequest};
pub use digest::Digest;
pub use download::{Download, PIECE};
pub use ingest::Expected;
pub(crate) use keeper::Keeper;
pub use range::ByteRange;

use cortex_core::{ArtifactId, PageSize, SessionId};

use crate::{
    journal::{Fingerprint, RequestId},
    time::Stamp,
};

/// An artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its id.
    pub artifact_id: ArtifactId,
    /// The session.
    pub session_id: SessionId,
    /// What its author says about it.
    pub about: About,
    /// How many bytes it has, or, without bytes here, is said to have.
    pub size: i64,
    /// The digest of its bytes; absent: it has none here.
    pub digest: Option<Digest>,
    /// When it was created.
    pub created_at: Stamp,
    /// When it last changed.
    pub updated_at: Stamp,
}

/// What an author says about an artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Its name, for people.
    pub name: String,
    /// What it is, in its author's words.
    pub kind: String,
    /// Where it stands outside storage; may be empty.
    pub path: String,
    /// A JSON object.
    pub metadata: String,
    /// The media type of its bytes; may be empty.
    pub content_type: String,
}

/// An artifact to note without bytes.
#[derive(Debug, Clone)]
pub struct NewArtifact {
    /// The session.
    pub session_id: SessionId,
    /// What its author says about it.
    pub about: About,
    /// How many bytes it is said to have.
    pub size: i64,
    /// Makes a repeated call the same artifact.
    pub request_id: Option<RequestId>,
    /// What the request asked for.
    pub fingerprint: Fingerprint,
}

/// What gets uploaded bytes.
#[derive(Debug, Clone)]
pub enum Target {
    /// A new artifact.
    New(SessionId, About),
    /// One that was noted before; its new media type, unless it is empty.
    Noted(ArtifactId, String),
}

/// Bytes that are stored and not referred to yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Their digest.
    pub digest: Digest,
    /// How many they are.
    pub size: i64,
    /// What they are called.
    pub blob: BlobName,
}

/// Makes bytes those of an artifact.
#[derive(Debug, Clone)]
pub struct Attach {
    /// Whose they become.
    pub target: Target,
    /// The session: of a noted artifact, its own.
    pub session_id: SessionId,
    /// The bytes.
    pub content: Content,
    /// Makes a repeated call the same artifact.
    pub request_id: Option<RequestId>,
    /// What the request asked for.
    pub fingerprint: Fingerprint,
}

/// Which artifacts to list, newest first.
#[derive(Debug, Clone)]
pub struct ArtifactQuery {
    /// The session.
    pub session_id: SessionId,
    /// Only of this type.
    pub kind: Option<String>,
    /// Artifacts at most.
    pub page_size: PageSize,
    /// Only artifacts older than the one with this number.
    pub before: Option<i64>,
    /// Artifacts to skip.
    pub offset: u32,
}
