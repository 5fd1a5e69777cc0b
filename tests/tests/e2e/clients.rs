//! Clients that others generate from the contracts: they talk to the mesh as they are.

use std::process::Stdio;

use cortex_e2e::{Mesh, Options, Topology, npm_binary, repository};
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

/// Every port tells of its own service, and 8080 of all, to the tools that people have.
#[tokio::test(flavor = "multi_thread")]
async fn buf_curl_lists_the_services_of_every_port() {
    let mesh = Mesh::start(Topology::ProcessPerService, Options::default()).await;
    let packages = ["llm", "manifest", "runtime", "storage", "agent", "container"];
    for (port, package) in (8081..).zip(packages) {
        let own = format!("cortex.{package}.v1.");
        let listed = list_services(&mesh.url(port)).await;
        assert!(listed.iter().any(|name| name.starts_with(&own)), "{port}: {listed:?}");
        let foreign = |name: &&String| name.starts_with("cortex.") && !name.starts_with(&own);
        assert_eq!(listed.iter().find(foreign), None, "{port}");
    }
    let all = list_services(&mesh.gateway()).await;
    for package in packages {
        assert!(
            all.iter().any(|name| name.starts_with(&format!("cortex.{package}.v1."))),
            "{all:?}"
        );
    }
}

async fn list_services(url: &str) -> Vec<String> {
    let output = Command::new(npm_binary("buf"))
        .args(["curl", "--http2-prior-knowledge", "--protocol", "grpc", "--list-services", url])
        .stdin(Stdio::null())
        .output()
        .await
        .expect("buf starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_holds_a_conversation() {
    run("run-python.sh", 8085).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typescript_client_holds_a_conversation() {
    run("run-typescript.sh", 8080).await;
}
