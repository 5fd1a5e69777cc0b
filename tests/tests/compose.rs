//! The stack of `deploy/compose.yaml`, with the image made of the binaries under test.

use std::process::{Command, Stdio};

use cortex_e2e::{binary, repository};

#[test]
fn compose_comes_up_runs_a_tool_survives_a_restart_and_leaves_nothing() {
    let binaries = binary("cortex").parent().expect("binaries stand in a directory").to_owned();
    let output = Command::new(repository().join("deploy/tests/compose.sh"))
        .arg("--binaries")
        .arg(binaries)
        .stdin(Stdio::null())
        .output()
        .expect("the script starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
