//! aimock: a third-party server that speaks the providers' wire formats.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{curl, npm_binary};

/// A running aimock. Killed when dropped.
pub struct Upstream {
    process: Child,
    port: u16,
    _fixtures: TempDir,
}

impl Upstream {
    /// Starts it with these fixtures (its own JSON format) and flags.
    ///
    /// # Panics
    /// When it is not installed, with the way to get it.
    pub async fn start(fixtures: &str, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("fixtures.json"), fixtures).expect("a fixture file");
        let port = free_port();
        let process = Command::new(npm_binary("llmock"))
            .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-f"])
            .arg(directory.path())
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("llmock starts");
        let upstream = Self { process, port, _fixtures: directory };
        upstream.wait().await;
        upstream
    }

    /// What OPENAI_BASE_URL must be.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    async fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        let url = format!("{}/models", self.base_url());
        while curl(["-m", "2", &url]).await.status == 0 {
            assert!(Instant::now() < until, "aimock does not answer at {url}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
