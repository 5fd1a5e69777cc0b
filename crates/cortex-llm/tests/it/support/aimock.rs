//! aimock, a third-party upstream that speaks OpenAI's wire format, as a child of a test.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// A running aimock. It is killed when it is dropped.
pub(crate) struct Aimock {
    url: String,
    _process: Child,
}

const HOW: &str = "the tests need aimock: run scripts/parts/npm.sh from the repository's root \
                   (CORTEX_PARTS_DIR says where it is kept)";

impl Aimock {
    /// Starts it with the fixtures of `tests/fixtures/aimock.json` and more arguments.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let parts = parts();
        let (node, script) =
            (parts.join("node/bin/node"), parts.join("npm/node_modules/.bin/llmock"));
        assert!(node.exists() && script.exists(), "{} is missing: {HOW}", script.display());
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/aimock.json");
        let mut process = Command::new(node)
            .arg(script)
            .args(["-p", "0", "-h", "127.0.0.1", "-c", "8", "--validate-on-load", "-f", fixtures])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect(HOW);
        let output = process.stdout.take().expect("its output is piped");
        let mut lines = BufReader::new(output).lines();
        let url = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some((_, url)) = line.split_once("listening on ") {
                    return Some(url.trim().to_owned());
                }
            }
            None
        };
        let url = tokio::time::timeout(Duration::from_secs(60), url).await;
        let url = url.expect("aimock listens within a minute");
        Self { url: url.expect("aimock listens"), _process: process }
    }

    pub(crate) fn base_url(&self) -> String {
        format!("{}/v1", self.url)
    }
}

fn parts() -> PathBuf {
    let named = std::env::var_os("CORTEX_PARTS_DIR").map(PathBuf::from);
    let home =
        || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache/cortex-parts");
    named.unwrap_or_else(home)
}
