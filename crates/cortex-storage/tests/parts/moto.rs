//! moto, a third-party server that speaks S3, as a child of a test.

use std::{path::PathBuf, process::Stdio, time::Duration};

use cortex_config::SecretString;
use cortex_storage::{ArtifactConfig, S3Config};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// A running moto with one bucket. It is killed when it is dropped.
pub struct Moto {
    pub url: String,
    _process: Child,
}

pub const BUCKET: &str = "cortex-artifacts";

const HOW: &str = "the tests need moto: run scripts/parts/python.sh from the repository's root \
                   (CORTEX_PARTS_DIR says where it is kept)";

impl Moto {
    pub async fn start() -> Self {
        let program = parts().join("python/bin/moto_server");
        assert!(program.exists(), "{} is missing: {HOW}", program.display());
        let mut process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect(HOW);
        let mut lines = BufReader::new(process.stderr.take().expect("its output is piped")).lines();
        let url = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some((_, url)) = line.split_once("Running on ") {
                    return Some(url.trim().to_owned());
                }
            }
            None
        };
        let url = tokio::time::timeout(Duration::from_secs(60), url).await;
        let url = url.expect("moto listens within a minute").expect("moto listens");
        // What it logs must not fill its pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let moto = Self { url, _process: process };
        moto.send("PUT", "").await;
        moto
    }

    /// Where a storage keeps bytes there.
    pub fn config(&self) -> ArtifactConfig {
        ArtifactConfig {
            location: Some(format!("s3://{BUCKET}/some/prefix")),
            s3: S3Config {
                endpoint: Some(self.url.clone()),
                access_key_id: Some("key".to_owned()),
                secret_access_key: Some(SecretString::new("secret")),
                ..S3Config::default()
            },
            ..ArtifactConfig::default()
        }
    }

    /// What it says to a request for the bucket.
    pub async fn send(&self, method: &str, rest: &str) -> String {
        let client: Client<HttpConnector, Empty<bytes::Bytes>> =
            Client::builder(TokioExecutor::new()).build_http();
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}/{BUCKET}{rest}", self.url))
            .header("content-length", "0")
            .body(Empty::new());
        let answer = client.request(request.expect("a request")).await.expect("moto answers");
        assert!(answer.status().is_success(), "{method} {rest}: {}", answer.status());
        let body = answer.into_body().collect().await.expect("moto answers").to_bytes();
        String::from_utf8_lossy(&body).into_owned()
    }
}

fn parts() -> PathBuf {
    let named = std::env::var_os("CORTEX_PARTS_DIR").map(PathBuf::from);
    let home =
        || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache/cortex-parts");
    named.unwrap_or_else(home)
}
