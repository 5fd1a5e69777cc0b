//! `cortex storage backup`: the archive under its name only when it is whole.

use std::{
    io,
    path::{Path, PathBuf},
};

use cortex_proto::cortex::storage::v1::{BackupStorageRequest, BackupStorageResponse};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tonic::Streaming;

use super::{Session, bytes, progress::Progress};
use crate::{cli::StorageBackup, exit::Failure};

/// Writes a backup into a file, or to standard output.
pub async fn run(session: &Session, backup: StorageBackup) -> Result<(), Failure> {
    if let Some(file) = backup.file.as_deref().filter(|file| !file.is_dir()) {
        may_write(file, backup.force)?;
    }
    let request = BackupStorageRequest { without_artifacts: backup.without_artifacts };
    let answer = session.client().backup_storage(request).await;
    let mut pieces = answer.map_err(|s| session.mesh.failure(&s))?.into_inner();
    let first = next(session, &mut pieces).await?;
    let first = first.ok_or_else(|| Failure::other("the service sent no backup"))?;
    if backup.file.as_deref() == Some(Path::new("-")) {
        let receiving = Receiving::new(session, tokio::io::stdout());
        let written = receiving.all(first, pieces).await;
        let written = written.map_err(|error| error.into_failure("standard output"))?;
        session.output.note(&format!("{} {}", written.digest, bytes(written.bytes)));
        return Ok(());
    }
    let path = path(backup.file, &first.file_name)?;
    may_write(&path, backup.force)?;
    let written = into_file(session, &path, first, pieces).await?;
    // Somebody else may have written it meanwhile.
    may_write(&path, backup.force)?;
    written.partial.keep_as(&path).map_err(|error| failure(&path, &error))?;
    tell(session, &path, &written.written)
}

fn tell(session: &Session, path: &Path, written: &Written) -> Result<(), Failure> {
    if session.is_json() {
        let told = serde_json::json!({
            "file": path.display().to_string(),
            "bytes": written.bytes,
            "digest": written.digest,
        });
        return session.output.line(&told.to_string());
    }
    let size = bytes(written.bytes);
    session.output.line(&format!("{}  {size}  {}", path.display(), written.digest))
}

/// The file that was asked for, else one with the archive's name.
fn path(file: Option<PathBuf>, name: &str) -> Result<PathBuf, Failure> {
    // The name comes from elsewhere: it names no other directory.
    let name = Path::new(name).file_name().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Failure::other("the service names no file; name one with -o"))?;
    Ok(match file {
        Some(directory) if directory.is_dir() => directory.join(name),
        Some(file) => file,
        None => PathBuf::from(name),
    })
}

fn may_write(path: &Path, force: bool) -> Result<(), Failure> {
    if path == Path::new("-") || force || !path.exists() {
        return Ok(());
    }
    let path = path.display();
    Err(Failure::usage(format!("{path} exists; name another file, or overwrite it with --force")))
}

/// A file that is not whole yet. Dropping it removes it.
struct Partial {
    path: PathBuf,
    kept: bool,
}

impl Partial {
    fn beside(path: &Path) -> Self {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        Self { path: path.with_file_name(name), kept: false }
    }

    fn keep_as(mut self, path: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, path)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.kept {
            // It may never have been made.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A whole archive in a file that does not have its name yet.
struct InFile {
    partial: Partial,
    written: Written,
}

async fn into_file(
    session: &Session,
    path: &Path,
    first: BackupStorageResponse,
    pieces: Streaming<BackupStorageResponse>,
) -> Result<InFile, Failure> {
    let partial = Partial::beside(path);
    let file = tokio::fs::File::create(&partial.path).await;
    let mut file = file.map_err(|error| failure(path, &error))?;
    let receiving = Receiving::new(session, &mut file);
    let written = receiving.all(first, pieces).await;
    let written = written.map_err(|error| error.into_failure(&path.display().to_string()))?;
    file.sync_all().await.map_err(|error| failure(path, &error))?;
    Ok(InFile { partial, written })
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    unwritten(&path.display().to_string(), error)
}

fn unwritten(what: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Failure::other(format!("{what} cannot be written: the disk is full"))
        }
        io::ErrorKind::BrokenPipe => Failure::reader_gone(),
        _ => Failure::other(format!("{what} cannot be written: {error}")),
    }
}

async fn next(
    session: &Session,
    pieces: &mut Streaming<BackupStorageResponse>,
) -> Result<Option<BackupStorageResponse>, Failure> {
    pieces.message().await.map_err(|status| {
        session.output.clear();
        session.mesh.failure(&status)
    })
}

/// What was written.
struct Written {
    bytes: i64,
    digest: String,
}

/// Why it was not.
enum Broken {
    Unwritten(io::Error),
    Other(Failure),
}

impl Broken {
    fn into_failure(self, what: &str) -> Failure {
        match self {
            Self::Unwritten(error) => unwritten(what, &error),
            Self::Other(failure) => failure,
        }
    }
}

struct Receiving<'a, W> {
    session: &'a Session,
    out: W,
    hasher: blake3::Hasher,
    bytes: i64,
}

impl<'a, W: AsyncWrite + Unpin> Receiving<'a, W> {
    fn new(session: &'a Session, out: W) -> Self {
        Self { session, out, hasher: blake3::Hasher::new(), bytes: 0 }
    }

    /// Writes every piece, and compares the digest of what was written with the one that was sent.
    async fn all(
        mut self,
        first: BackupStorageResponse,
        mut pieces: Streaming<BackupStorageResponse>,
    ) -> Result<Written, Broken> {
        let mut progress = Progress::new(&self.session.output);
        let mut piece = Some(first);
        let mut told = String::new();
        while let Some(next_piece) = piece {
            let data = next_piece.content.unwrap_or_default().data;
            self.hasher.update(&data);
            self.bytes += i64::try_from(data.len()).unwrap_or(i64::MAX);
            self.out.write_all(&data).await.map_err(Broken::Unwritten)?;
            if let Some(at) = &next_piece.progress {
                progress.show(at);
            }
            told = next_piece.digest;
            piece = next(self.session, &mut pieces).await.map_err(Broken::Other)?;
        }
        self.out.flush().await.map_err(Broken::Unwritten)?;
        self.session.output.clear();
        let digest = format!("b3_{}", self.hasher.finalize().to_hex());
        if digest != told {
            let message = "what was received is not what was sent; make the backup again";
            return Err(Broken::Other(Failure::other(message)));
        }
        Ok(Written { bytes: self.bytes, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_elsewhere_names_no_directory() {
        let named = |name| path(None, name).map_err(|_| ());
        assert_eq!(named("cortex.backup"), Ok(PathBuf::from("cortex.backup")));
        assert_eq!(named("../../etc/passwd"), Ok(PathBuf::from("passwd")));
        assert_eq!(named(".."), Err(()));
        let directory = std::env::temp_dir();
        let inside = path(Some(directory.clone()), "a").map_err(|_| ());
        assert_eq!(inside, Ok(directory.join("a")));
    }
}
