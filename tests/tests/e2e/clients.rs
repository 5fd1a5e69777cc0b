//! Clients that others generate from the contracts: they talk to the mesh as they are.

use std::process::Stdio;

use cortex_e2e::{Mesh, Options, Topology, repository};
use tokio::process::Command;

async fn run(script: &str, port: u16) {
    let mesh = Mesh::start(Topology::OneProcess, Options::default()).await;
    let address = mesh.url(port).trim_start_matches("http://").to_owned();
    let output = Command::new(repository().join("tests/clients").join(script))
        .arg(&address)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the script starts");
    let said = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{said}\n{}", mesh.logs());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_holds_a_conversation() {
    run("run-python.sh", 8085).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typescript_client_holds_a_conversation() {
    run("run-typescript.sh", 8080).await;
}
