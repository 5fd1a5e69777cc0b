//! A server that plays scripts: what a provider sends, byte by byte, and how it breaks.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// One thing that a server does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Sends bytes as they are.
    Raw(Vec<u8>),
    /// Sends the head of an event stream in chunked coding.
    Stream,
    /// Sends a chunk of the body.
    Data(String),
    /// Ends the body properly.
    End,
    /// Does nothing for a while.
    Pause(Duration),
    /// Does nothing until the client closes the connection.
    Hang,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
    /// Sends chunks for ever.
    Flood,
}

/// What a server does for one request.
pub(crate) type Script = Vec<Step>;

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
    pub(crate) connection: usize,
}

/// A running upstream. Its tasks end with it.
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

struct Shared {
    scripts: Vec<Script>,
    requests: Mutex<Vec<Recorded>>,
    flooded: AtomicUsize,
    /// How many connections the client has closed.
    closed: watch::Sender<usize>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Upstream {
    /// Plays one script for each request; the last one again and again.
    pub(crate) async fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            scripts,
            requests: Mutex::default(),
            flooded: AtomicUsize::new(0),
            closed: watch::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, accepting }
    }

    /// An upstream that always plays one script.
    pub(crate) async fn playing(script: Script) -> Self {
        Self::start(vec![script]).await
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().expect("no test panics with it").clone()
    }

    /// Requests for a completion.
    pub(crate) fn attempts(&self) -> usize {
        self.requests().iter().filter(|request| request.head.contains("/chat/completions")).count()
    }

    pub(crate) fn flooded(&self) -> usize {
        self.shared.flooded.load(Ordering::Relaxed)
    }

    /// Waits until the client has closed a connection.
    pub(crate) async fn closed(&self, within: Duration) -> bool {
        let mut closed = self.shared.closed.subscribe();
        tokio::time::timeout(within, closed.wait_for(|count| *count > 0)).await.is_ok()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    for connection in 0.. {
        let Ok((stream, _)) = listener.accept().await else { return };
        connections.spawn(serve(stream, shared.clone(), connection));
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>, connection: usize) {
    while let Some(request) = read_request(&mut stream, connection).await {
        let is_list = request.head.starts_with("get ");
        let script = {
            let mut requests = shared.requests.lock().expect("no test panics with it");
            let asked = requests.iter().filter(|r| !r.head.starts_with("get ")).count();
            requests.push(request);
            shared.scripts[asked.min(shared.scripts.len() - 1)].clone()
        };
        let script = if is_list { json(200, "", r#"{"data":[{"id":"listed"}]}"#) } else { script };
        for step in script {
            if !play(&mut stream, step, &shared).await {
                return;
            }
        }
    }
    shared.closed.send_modify(|count| *count += 1);
}

/// False: the connection is over.
async fn play(stream: &mut TcpStream, step: Step, shared: &Shared) -> bool {
    match step {
        Step::Raw(bytes) => stream.write_all(&bytes).await.is_ok(),
        Step::Stream => stream.write_all(HEAD.as_bytes()).await.is_ok(),
        Step::Data(data) => stream.write_all(chunk(&data).as_bytes()).await.is_ok(),
        Step::End => stream.write_all(b"0\r\n\r\n").await.is_ok(),
        Step::Pause(pause) => {
            tokio::time::sleep(pause).await;
            true
        }
        Step::Hang => {
            let mut byte = [0];
            let _ = stream.read(&mut byte).await;
            shared.closed.send_modify(|count| *count += 1);
            false
        }
        Step::Close => false,
        Step::Reset => {
            let _ = stream.set_zero_linger();
            false
        }
        Step::Flood => {
            let data = chunk(&content(&"x".repeat(16 * 1024)));
            while stream.write_all(data.as_bytes()).await.is_ok() {
                shared.flooded.fetch_add(data.len(), Ordering::Relaxed);
            }
            shared.closed.send_modify(|count| *count += 1);
            false
        }
    }
}

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

async fn read_request(stream: &mut TcpStream, connection: usize) -> Option<Recorded> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.trim().parse().expect("a length"));
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8_lossy(&bytes[head_end..head_end + length]).into_owned();
    Some(Recorded { head, body, connection })
}

/// A frame with a piece of text.
pub(crate) fn content(text: &str) -> String {
    let text = serde_json::Value::from(text);
    frame(&format!(r#"{{"model":"up-1","choices":[{{"index":0,"delta":{{"content":{text}}}}}]}}"#))
}

/// A frame with a fragment of a call: the JSON of one item of `tool_calls`.
pub(crate) fn call(part: &str) -> String {
    frame(&format!(r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{part}]}}}}]}}"#))
}

/// A frame with the reason for the end.
pub(crate) fn finish(reason: &str) -> String {
    frame(&format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]}}"#))
}

/// A frame with usage.
pub(crate) fn usage() -> String {
    frame(r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}"#)
}

pub(crate) const DONE: &str = "data: [DONE]\n\n";

pub(crate) fn frame(data: &str) -> String {
    format!("data: {data}\n\n")
}

pub(crate) fn data(text: impl Into<String>) -> Step {
    Step::Data(text.into())
}

/// A proper answer with these frames before its end.
pub(crate) fn answer(frames: &[String]) -> Script {
    let mut script = vec![Step::Stream];
    script.extend(frames.iter().map(data));
    script.extend([data(finish("stop")), data(usage()), data(DONE), Step::End]);
    script
}

/// A proper answer that says `text`.
pub(crate) fn saying(text: &str) -> Script {
    answer(&[content(text)])
}

/// A response that is no stream. `headers` are whole lines, each with its end.
pub(crate) fn json(status: u16, headers: &str, body: &str) -> Script {
    let length = body.len();
    vec![Step::Raw(
        format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        )
        .into_bytes(),
    )]
}
