//! Storage on a port of its own, and a plain HTTP client.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use cortex_core::ManualClock;
use cortex_proto::descriptor_pool;
use cortex_rpc::{Server, Transport};
use cortex_storage::{Storage, StorageConfig};
use cortex_transcode::Transcoder;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value;
use tempfile::TempDir;

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The services of this package, by their full names.
pub fn services() -> Vec<String> {
    let services = descriptor_pool().services();
    let ours = services.filter(|service| service.package_name() == "cortex.storage.v1");
    ours.map(|service| service.full_name().to_owned()).collect()
}

/// Storage on a port.
pub struct Port {
    _storage: Storage,
    pub clock: Arc<ManualClock>,
    /// The way to the gRPC services without a socket.
    pub transport: Transport,
    url: String,
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>,
    _dir: TempDir,
}

impl Port {
    pub async fn open() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::new(SystemTime::now()));
        let config = StorageConfig::default();
        let storage =
            Storage::open(config, dir.path(), clock.clone()).await.expect("storage opens");
        let transcoder = |transport: Transport| {
            let start = Transcoder::builder(descriptor_pool().clone());
            let add = |builder: cortex_transcode::Builder, service: String| {
                builder.service(&service, transport.clone())
            };
            services().into_iter().fold(start, add).build().expect("the annotations fit")
        };
        let server = storage.add_to(Server::builder("storage")).fallback(transcoder).build();
        let transport = server.transport();
        let address = "127.0.0.1:0".parse().expect("an address");
        let listening = server.bind(address).await.expect("a port");
        let url = format!("http://{}", listening.address());
        tokio::spawn(listening.serve(std::future::pending()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { _storage: storage, clock, transport, url, client, _dir: dir }
    }

    /// Any call; a body is JSON.
    pub async fn call(&self, method: &str, path: &str, body: impl Into<Option<Bytes>>) -> Answer {
        let body = body.into();
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::new(body.unwrap_or_default())).expect("a request");
        let answer = tokio::time::timeout(PATIENCE, self.client.request(request)).await;
        let (head, body) = answer.expect("in time").expect("an answer").into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("text");
        Answer {
            call: format!("{method} {path}"),
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, None).await
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.call("POST", path, Bytes::copy_from_slice(body.as_bytes())).await
    }

    pub async fn put(&self, path: &str, body: &str) -> Answer {
        self.call("PUT", path, Bytes::copy_from_slice(body.as_bytes())).await
    }

    pub async fn patch(&self, path: &str, body: &str) -> Answer {
        self.call("PATCH", path, Bytes::copy_from_slice(body.as_bytes())).await
    }

    /// A new session's id.
    pub async fn session(&self) -> String {
        let created = self.post("/storage/sessions", r#"{"agent_name":"assistant"}"#).await.ok();
        created["id"].as_str().expect("an id").to_owned()
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// What was called, for messages.
    call: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{}: not JSON ({error}): {}", self.call, self.body))
    }

    /// The body of an answer that is 200.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}: {}", self.call, self.body);
        self.json()
    }

    /// The items of a list that is 200, bare as the predecessor's were.
    #[track_caller]
    pub fn list(&self) -> Vec<Value> {
        let Value::Array(items) = self.ok() else {
            panic!("{}: no list: {}", self.call, self.body)
        };
        items
    }

    /// That it is this error; answers the message.
    #[track_caller]
    pub fn refused(&self, status: u16, reason: &str) -> String {
        assert_eq!(
            (self.status, self.reason().as_str()),
            (status, reason),
            "{}: {}",
            self.call,
            self.body
        );
        self.json()["error"]["message"].as_str().expect("a message").to_owned()
    }

    pub fn reason(&self) -> String {
        self.detail("ErrorInfo")["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// The wrong fields that a BadRequest names.
    pub fn fields(&self) -> Vec<String> {
        let violations = self.detail("BadRequest")["field_violations"].clone();
        let violations = violations.as_array().cloned().unwrap_or_default();
        violations.iter().filter_map(|v| v["field"].as_str().map(str::to_owned)).collect()
    }

    fn detail(&self, kind: &str) -> Value {
        let details = self.json()["error"]["details"].clone();
        let mut details = details.as_array().cloned().unwrap_or_default().into_iter();
        let found = details.find(|d| d["@type"].as_str().is_some_and(|t| t.ends_with(kind)));
        found.unwrap_or_default()
    }

    pub fn next_page_token(&self) -> String {
        let token = self.headers.get("x-next-page-token");
        token.map(|token| token.to_str().expect("ascii").to_owned()).unwrap_or_default()
    }
}

/// The keys of an object, in their order.
pub fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// The value of one key of each item.
pub fn each<'v>(items: &'v [Value], key: &str) -> Vec<&'v str> {
    items.iter().map(|item| item[key].as_str().unwrap_or_default()).collect()
}

/// Text as a part of a query: every byte that is not a letter or a digit is encoded.
pub fn encoded(text: &str) -> String {
    let encode = |byte: &u8| match byte {
        b if b.is_ascii_alphanumeric() => char::from(*b).to_string(),
        b => format!("%{b:02X}"),
    };
    text.as_bytes().iter().map(encode).collect()
}
