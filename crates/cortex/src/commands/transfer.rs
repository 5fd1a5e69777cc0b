//! `cortex session export` and `cortex session import`: a session as a file of JSON lines.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use cortex_proto::{
    cortex::storage::v1::{
        ExportJournalRequest, ImportJournalRequest, journal_service_client::JournalServiceClient,
    },
    google::api::HttpBody,
};
use futures::{Stream, stream};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
};

use crate::{cli::Format, connect::Mesh, exit::Failure, output::Output};

/// Bytes of one request of an import.
const PIECE: usize = 256 << 10;
/// Nothing is shown of what takes less than this.
const QUIET: Duration = Duration::from_secs(1);
/// Time between two looks at the progress.
const SHOWN: Duration = Duration::from_millis(200);

/// Writes a session to a file, or to standard output.
pub async fn export(
    mesh: &Mesh,
    output: &Output,
    id: String,
    file: Option<PathBuf>,
) -> Result<(), Failure> {
    let mut client = JournalServiceClient::new(mesh.transport.clone());
    let request = ExportJournalRequest { session_id: id };
    let mut answers =
        client.export_journal(request).await.map_err(|s| mesh.failure(&s))?.into_inner();
    let mut target = Target::open(file).await?;
    let mut progress = Progress::new(output);
    while let Some(answer) = answers.message().await.map_err(|s| mesh.failure(&s))? {
        let data = answer.content.unwrap_or_default().data;
        target.write(output, &data).await?;
        progress.add(data.len());
    }
    progress.end();
    target.finish().await
}

/// Makes a session of a file, or of standard input.
pub async fn import(
    mesh: &Mesh,
    output: &Output,
    format: Format,
    file: &Path,
) -> Result<(), Failure> {
    let source: Box<dyn AsyncRead + Send + Unpin> = if file == Path::new("-") {
        Box::new(tokio::io::stdin())
    } else {
        Box::new(File::open(file).await.map_err(|error| at(file, &error))?)
    };
    let broken = Arc::new(Mutex::new(None));
    let mut client = JournalServiceClient::new(mesh.transport.clone());
    let requests = requests(source, Arc::clone(&broken), Progress::new(output));
    let answer = client.import_journal(requests).await;
    output.clear();
    if let Some(error) = broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(at(file, &error));
    }
    let answer = answer.map_err(|s| mesh.failure(&s))?.into_inner();
    if format == Format::Json {
        return output.json("cortex.storage.v1.ImportJournalResponse", &answer);
    }
    let session = answer.session.unwrap_or_default();
    let (entries, messages) = (session.head_sequence, session.message_count);
    output.line(&format!("{} has {entries} entries and {messages} messages", session.id))
}

/// What a source says, as requests. Ends early when the source breaks, and notes why: half a session is
/// refused.
fn requests(
    source: Box<dyn AsyncRead + Send + Unpin>,
    broken: Arc<Mutex<Option<io::Error>>>,
    progress: Progress,
) -> impl Stream<Item = ImportJournalRequest> + Send + 'static {
    let state = (source, broken, progress);
    stream::unfold(state, |(mut source, broken, mut progress)| async move {
        let mut data = Vec::with_capacity(PIECE);
        if let Err(error) = (&mut source).take(PIECE as u64).read_to_end(&mut data).await {
            *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            return None;
        }
        if data.is_empty() {
            return None;
        }
        progress.add(data.len());
        let content = HttpBody { data: data.into(), ..Default::default() };
        let request = ImportJournalRequest { content: Some(content), ..Default::default() };
        Some((request, (source, broken, progress)))
    })
}

fn at(file: &Path, error: &io::Error) -> Failure {
    Failure::other(format!("{}: {error}", file.display()))
}

/// Where an export goes. A file has its name once all of it is there.
enum Target {
    Standard,
    File { file: File, partial: PathBuf, path: PathBuf },
}

impl Target {
    async fn open(path: Option<PathBuf>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::Standard) };
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).await.map_err(|error| at(&partial, &error))?;
        Ok(Self::File { file, partial, path })
    }

    async fn write(&mut self, output: &Output, data: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Standard => output.bytes(data),
            Self::File { file, partial, .. } => {
                file.write_all(data).await.map_err(|error| at(partial, &error))
            }
        }
    }

    async fn finish(self) -> Result<(), Failure> {
        let Self::File { mut file, partial, path } = self else { return Ok(()) };
        file.flush().await.map_err(|error| at(&partial, &error))?;
        file.sync_all().await.map_err(|error| at(&partial, &error))?;
        tokio::fs::rename(&partial, &path).await.map_err(|error| at(&path, &error))
    }
}

/// How far something is that takes its time.
struct Progress {
    output: Output,
    begun: Instant,
    shown: Instant,
    bytes: usize,
}

impl Progress {
    fn new(output: &Output) -> Self {
        let begun = Instant::now();
        Self { output: output.clone(), begun, shown: begun, bytes: 0 }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        let now = Instant::now();
        if now - self.begun >= QUIET && now - self.shown >= SHOWN {
            self.shown = now;
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let mebibytes = self.bytes as f64 / f64::from(1 << 20);
            self.output.progress(&format!("{mebibytes:.1} MiB"));
        }
    }

    fn end(&self) {
        self.output.clear();
    }
}
