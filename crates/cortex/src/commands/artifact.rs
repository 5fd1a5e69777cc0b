//! `cortex artifact`.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use cortex_proto::{
    cortex::storage::v1::{
        Artifact as Stored, DeleteArtifactRequest, DownloadArtifactRequest,
        DownloadArtifactResponse, ListArtifactsRequest, UploadArtifactRequest,
        UploadArtifactResponse, artifact_service_client::ArtifactServiceClient,
    },
    google::api::HttpBody,
};
use cortex_rpc::Transport;
use futures::{Stream, StreamExt};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::oneshot,
};
use tokio_util::io::ReaderStream;
use tonic::Streaming;

use crate::{
    cli::{Artifact, ArtifactCommand, Format, Global},
    connect::{Mesh, short},
    exit::Failure,
    output::{Output, Style},
};

/// Bytes that are read and sent at a time.
const PIECE: usize = 256 * 1024;
/// A transfer that takes longer shows how far it is.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time between two looks at how far it is.
const STEP: Duration = Duration::from_millis(200);

/// Lists, fetches, stores or deletes artifacts.
pub async fn run(global: &Global, command: Artifact) -> Result<(), Failure> {
    let mesh = Mesh::new(global)?;
    let client = ArtifactServiceClient::new(mesh.transport.clone());
    let artifacts = Artifacts { mesh, client, output: Output::new(global), format: global.output };
    match command.command {
        ArtifactCommand::List { session, kind, limit } => {
            artifacts.list(session, kind, limit).await
        }
        ArtifactCommand::Get { id, file, force } => artifacts.get(id, file, force).await,
        ArtifactCommand::Put { session, file, name, kind, content_type, metadata } => {
            let first = UploadArtifactRequest {
                content: Some(HttpBody { content_type, ..Default::default() }),
                session_id: session,
                name: name.map_or_else(|| name_of(&file), Ok)?,
                r#type: kind,
                metadata,
                ..Default::default()
            };
            artifacts.put(first, &file).await
        }
        ArtifactCommand::Delete { id } => artifacts.delete(id).await,
    }
}

struct Artifacts {
    mesh: Mesh,
    client: ArtifactServiceClient<Transport>,
    output: Output,
    format: Format,
}

impl Artifacts {
    async fn list(
        mut self,
        session_id: String,
        kind: Option<String>,
        limit: u16,
    ) -> Result<(), Failure> {
        let request = ListArtifactsRequest {
            session_id,
            r#type: kind.unwrap_or_default(),
            page_size: limit.into(),
            ..Default::default()
        };
        let answer = self.client.list_artifacts(short(request)).await;
        let answer = answer.map_err(|status| self.mesh.failure(&status))?.into_inner();
        if self.format == Format::Json {
            return self.output.json("cortex.storage.v1.ListArtifactsResponse", &answer);
        }
        let rows: Vec<Vec<String>> = answer.artifacts.iter().map(row).collect();
        self.output.table(&["ARTIFACT", "TYPE", "SIZE", "NAME", "CREATED"], &rows)
    }

    async fn delete(mut self, artifact_id: String) -> Result<(), Failure> {
        let request = DeleteArtifactRequest { artifact_id };
        let answer = self.client.delete_artifact(short(request)).await;
        let answer = answer.map_err(|status| self.mesh.failure(&status))?.into_inner();
        match self.format {
            Format::Json => self.output.json("cortex.storage.v1.DeleteArtifactResponse", &answer),
            Format::Table => self.output.line(&format!("{} is deleted", answer.artifact_id)),
        }
    }

    /// The file is whole before it has its name.
    async fn get(
        mut self,
        artifact_id: String,
        file: Option<PathBuf>,
        force: bool,
    ) -> Result<(), Failure> {
        let request = DownloadArtifactRequest { artifact_id, ..Default::default() };
        let answers = self.client.download_artifact(request).await;
        let mut answers = answers.map_err(|status| self.mesh.failure(&status))?.into_inner();
        let head = answers.message().await.map_err(|status| self.mesh.failure(&status))?;
        let head = head.ok_or_else(|| Failure::other("the download has no beginning"))?;
        if file.as_deref() == Some(Path::new("-")) {
            return self.receive(head, answers, &mut tokio::io::stdout()).await;
        }
        let path = file.map_or_else(|| name_of(Path::new(&head.name)).map(PathBuf::from), Ok)?;
        if path.exists() && !force {
            let message = format!("{} is there; --force replaces it", path.display());
            return Err(Failure::usage(message));
        }
        let (size, unfinished) = (head.size, unfinished(&path));
        let mut part = File::create(&unfinished).await.map_err(|e| failed(&unfinished, &e))?;
        let received = self.receive(head, answers, &mut part).await;
        let finished = match received {
            Ok(()) => tokio::fs::rename(&unfinished, &path).await.map_err(|e| failed(&path, &e)),
            Err(failure) => Err(failure),
        };
        if finished.is_err() {
            // What went wrong is told; that its rest cannot be removed would hide it.
            let _ = tokio::fs::remove_file(&unfinished).await;
        }
        finished?;
        let size = bytes(u64::try_from(size).unwrap_or_default());
        self.output.note(&format!("{}: {size}", path.display()));
        Ok(())
    }

    /// Writes what comes, and checks that it is what was stored.
    async fn receive(
        &self,
        head: DownloadArtifactResponse,
        mut answers: Streaming<DownloadArtifactResponse>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Failure> {
        let (mut hasher, mut progress) = (blake3::Hasher::new(), Progress::new(&self.output));
        let (size, digest) = (head.size, head.digest.clone());
        let mut next = Some(head);
        while let Some(answer) = next {
            let data = answer.content.unwrap_or_default().data;
            hasher.update(&data);
            to.write_all(&data).await.map_err(|error| write_failed(&error))?;
            progress.add(data.len(), u64::try_from(size).ok());
            next = answers.message().await.map_err(|status| self.mesh.failure(&status))?;
        }
        self.output.clear();
        to.flush().await.map_err(|error| write_failed(&error))?;
        if format!("b3_{}", hasher.finalize().to_hex()) != digest {
            return Err(Failure::other("what came is not what was stored"));
        }
        Ok(())
    }

    async fn put(mut self, mut first: UploadArtifactRequest, file: &Path) -> Result<(), Failure> {
        let progress = Progress::new(&self.output);
        let answer = if file == Path::new("-") {
            self.send(file, requests(first, tokio::io::stdin(), progress, None)).await
        } else {
            let opened = File::open(file).await.map_err(|error| failed(file, &error))?;
            let size = opened.metadata().await.map_err(|error| failed(file, &error))?.len();
            first.expected_size = i64::try_from(size).ok();
            self.send(file, requests(first, opened, progress, Some(size))).await
        };
        self.output.clear();
        let answer = answer?;
        match self.format {
            Format::Json => self.output.json("cortex.storage.v1.UploadArtifactResponse", &answer),
            Format::Table => {
                let id = answer.artifact.unwrap_or_default().id;
                self.output.line(&self.output.styled(Style::Good, &id))
            }
        }
    }

    async fn send(
        &mut self,
        file: &Path,
        (requests, broken): (
            impl Stream<Item = UploadArtifactRequest> + Send + 'static,
            oneshot::Receiver<io::Error>,
        ),
    ) -> Result<UploadArtifactResponse, Failure> {
        tokio::select! {
            answer = self.client.upload_artifact(requests) => {
                Ok(answer.map_err(|status| self.mesh.failure(&status))?.into_inner())
            }
            Ok(error) = broken => Err(failed(file, &error)),
        }
    }
}

/// The bytes of a reader as requests, and what tells that the reader failed. Then they never end, so
/// that half of the bytes are not taken for all: whoever is told drops the call.
fn requests(
    first: UploadArtifactRequest,
    reader: impl AsyncRead + Send + 'static,
    mut progress: Progress,
    size: Option<u64>,
) -> (impl Stream<Item = UploadArtifactRequest> + Send + 'static, oneshot::Receiver<io::Error>) {
    let (broken, report) = oneshot::channel();
    let mut broken = Some(broken);
    let rest = ReaderStream::with_capacity(reader, PIECE).then(move |read| {
        let request = match read {
            Ok(data) => {
                progress.add(data.len(), size);
                let content = Some(HttpBody { data, ..Default::default() });
                Some(UploadArtifactRequest { content, ..Default::default() })
            }
            Err(error) => {
                if let Some(broken) = broken.take() {
                    // Fails only when the call is over.
                    let _ = broken.send(error);
                }
                None
            }
        };
        async move {
            match request {
                Some(request) => request,
                None => std::future::pending().await,
            }
        }
    });
    (futures::stream::iter([first]).chain(rest), report)
}

/// How far a transfer is, told when it takes its time.
struct Progress {
    output: Output,
    begun: Instant,
    told: Instant,
    done: u64,
}

impl Progress {
    fn new(output: &Output) -> Self {
        let now = Instant::now();
        Self { output: output.clone(), begun: now, told: now, done: 0 }
    }

    fn add(&mut self, more: usize, size: Option<u64>) {
        self.done += more as u64;
        if self.begun.elapsed() < PATIENCE || self.told.elapsed() < STEP {
            return;
        }
        self.told = Instant::now();
        let whole = size.map(|size| format!(" of {}", bytes(size))).unwrap_or_default();
        self.output.progress(&format!("{}{whole}", bytes(self.done)));
    }
}

fn row(artifact: &Stored) -> Vec<String> {
    let size = u64::try_from(artifact.size).unwrap_or_default();
    vec![
        artifact.id.clone(),
        artifact.r#type.clone(),
        // What has no bytes here is said to have so many.
        if artifact.digest.is_empty() { format!("({})", bytes(size)) } else { bytes(size) },
        artifact.name.clone(),
        artifact.created_at.as_ref().map(ToString::to_string).unwrap_or_default(),
    ]
}

/// A number of bytes for people.
fn bytes(number: u64) -> String {
    let (mut whole, mut tenths) = (number, 0);
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if whole < 1024 {
            let tenths = if unit == "B" { String::new() } else { format!(".{tenths}") };
            return format!("{whole}{tenths} {unit}");
        }
        (whole, tenths) = (whole / 1024, whole % 1024 * 10 / 1024);
    }
    format!("{whole}.{tenths} TiB")
}

/// The last part of a path.
fn name_of(path: &Path) -> Result<String, Failure> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    name.filter(|name| !name.is_empty() && name != "-")
        .ok_or_else(|| Failure::usage(format!("'{}' is no name; give one", path.display())))
}

/// Where a file is until it is whole.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::other(format!("{}: {error}", path.display()))
}

fn write_failed(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::reader_gone(),
        _ => Failure::other(format!("writing what came: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (50 << 20, "50.0 MiB"),
            (5 << 40, "5.0 TiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn a_name_is_never_a_path() {
        assert_eq!(name_of(Path::new("../a/b.txt")).ok().as_deref(), Some("b.txt"));
        for wrong in ["", "-", "/", ".."] {
            assert!(name_of(Path::new(wrong)).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_reader_that_fails_cuts_the_upload() {
        let reader = half_a_reader();
        let progress = Progress::new(&Output::plain());
        let (requests, broken) = requests(UploadArtifactRequest::default(), reader, progress, None);
        let mut requests = Box::pin(requests);
        assert!(requests.next().await.is_some());
        assert_eq!(requests.next().await.and_then(|r| r.content).map(|c| c.data.len()), Some(3));
        assert!(futures::poll!(requests.next()).is_pending());
        assert_eq!(broken.await.map(|error| error.kind()), Ok(io::ErrorKind::Other));
    }

    /// Three bytes, then an error.
    fn half_a_reader() -> impl AsyncRead + Send + 'static {
        let pieces = [Ok(bytes::Bytes::from_static(b"abc")), Err(io::Error::other("broken"))];
        tokio_util::io::StreamReader::new(futures::stream::iter(pieces))
    }
}
