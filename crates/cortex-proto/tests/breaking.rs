//! `buf breaking` against `proto/baseline.binpb`: the contracts of the tree pass, and a break that is
//! made on purpose in a copy of them is caught.
//!
//! The baseline is renewed deliberately, by `scripts/proto-baseline.sh`.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// One way to break a contract: in which file, what stands there, what stands there instead, and what
/// buf calls it.
struct Break {
    file: &'static str,
    from: &'static str,
    to: &'static str,
    says: &'static str,
}

const BREAKS: &[Break] = &[
    Break {
        file: "cortex/agent/v1/session_event.proto",
        from: "  string turn_id = 3;\n",
        to: "",
        says: "Previously present field \"3\" with name \"turn_id\" on message \"SessionEvent\" was deleted",
    },
    Break {
        file: "cortex/agent/v1/session_event.proto",
        from: "ContentDelta content_delta = 16;",
        to: "ContentDelta content_delta = 99;",
        says: "Previously present field \"16\" with name \"content_delta\" on message \"SessionEvent\" was deleted",
    },
    Break {
        file: "cortex/storage/v1/history.proto",
        from: "int64 head_sequence = 9;",
        to: "string head_sequence = 9;",
        says: "on message \"Session\" changed type from \"int64\" to \"string\"",
    },
    Break {
        file: "cortex/storage/v1/history.proto",
        from: "  SESSION_STATUS_PAUSED = 2;\n",
        to: "",
        says: "Previously present enum value \"2\" on enum \"SessionStatus\" was deleted",
    },
    Break {
        file: "cortex/agent/v1/turn_service.proto",
        from: "returns (stream WatchSessionResponse)",
        to: "returns (WatchSessionResponse)",
        says: "RPC \"WatchSession\" on service \"TurnService\" changed from server streaming to server unary",
    },
];

#[test]
fn the_contracts_break_nothing() {
    let output = buf_breaking(&root());
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn seeded_breaks_are_caught() {
    for seeded in BREAKS {
        let copy = copy_of_the_contracts();
        let path = copy.path().join("proto").join(seeded.file);
        let text = fs::read_to_string(&path).expect("the file is part of the contracts");
        let broken = text.replacen(seeded.from, seeded.to, 1);
        assert_ne!(text, broken, "{:?} does not stand in {}", seeded.from, seeded.file);
        fs::write(&path, broken).expect("the copy is writable");

        let output = buf_breaking(copy.path());
        assert_eq!(output.status.code(), Some(100), "{}", said(&output));
        assert!(said(&output).contains(seeded.says), "{}\nsaid: {}", seeded.says, said(&output));
    }
}

#[test]
fn an_addition_breaks_nothing() {
    let copy = copy_of_the_contracts();
    let path = copy.path().join("proto/cortex/agent/v1/session_event.proto");
    let text = fs::read_to_string(&path).expect("the file is part of the contracts");
    let field = "  string turn_id = 3;\n";
    let more = text.replacen(field, &format!("{field}  // One more.\n  string more = 900;\n"), 1);
    assert_ne!(text, more);
    fs::write(&path, more).expect("the copy is writable");
    let output = buf_breaking(copy.path());
    assert!(output.status.success(), "{}", said(&output));
}

/// Runs `buf breaking` in a directory that holds buf.yaml and proto/, against the tree's baseline.
fn buf_breaking(directory: &Path) -> Output {
    let baseline = root().join("proto/baseline.binpb");
    Command::new(buf())
        .args(["breaking", "--against"])
        .arg(baseline)
        .args(["--timeout", "60s"])
        .current_dir(directory)
        .output()
        .expect("buf runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// buf on the PATH, else where `scripts/parts/npm.sh` puts it.
fn buf() -> PathBuf {
    let parts = env::var_os("CORTEX_PARTS_DIR").map(PathBuf::from);
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".cache/cortex-parts"));
    let bins = parts.or(home).map(|parts| parts.join("npm/node_modules/.bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let found =
        env::split_paths(&path).chain(bins).map(|bin| bin.join("buf")).find(|buf| buf.is_file());
    found.expect("buf is missing; how to get it: scripts/parts/npm.sh")
}

fn copy_of_the_contracts() -> TempDir {
    let copy = tempfile::tempdir().expect("a temporary directory");
    fs::copy(root().join("buf.yaml"), copy.path().join("buf.yaml")).expect("buf.yaml is there");
    copy_tree(&root().join("proto"), &copy.path().join("proto")).expect("the contracts are there");
    copy
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}
