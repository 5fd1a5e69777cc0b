//! The `cortex` command as people and scripts use it.

use std::{
    path::Path,
    process::{Command, Output},
};

use cortex_e2e::{Mesh, Options, Topology, binary};

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        command.stdin(std::process::Stdio::null()).output().expect("the command starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_and_what_is_left_of_it() {
    let mesh = Mesh::start(Topology::OneProcess, Options::default()).await;
    let (code, said, beside) =
        run(mesh.cortex().args(["chat", "assistant", "use the calculator to multiply 6 by 7"]));
    assert_eq!(code, 0, "{beside}");
    assert!(said.contains("→ calculator") && said.contains("42"), "{said}");
    assert!(!said.contains('\x1b'), "no colours into a pipe");
    let session = beside.split_whitespace().last().expect("how to go on").to_owned();
    let (code, _, beside) =
        run(mesh.cortex().args(["chat", "assistant", "rehearse 3 tokens", "--session", &session]));
    assert_eq!(code, 0, "{beside}");

    let (_, listed, _) = run(mesh.cortex().args(["session", "list"]));
    assert!(listed.contains(&session) && listed.contains("active"), "{listed}");
    let (_, shown, _) = run(mesh.cortex().args(["session", "show", &session]));
    assert!(shown.contains("calls calculator"), "{shown}");
    let (_, json, _) = run(mesh.cortex().args(["--output", "json", "session", "list"]));
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["sessions"][0]["message_count"], 6);
    let (code, _, _) = run(mesh.cortex().args(["session", "end", &session]));
    assert_eq!(code, 0);
    let (code, _, beside) =
        run(mesh.cortex().args(["chat", "assistant", "hello", "--session", &session]));
    assert_eq!(code, 1, "{beside}");
    assert!(beside.contains("SESSION_ENDED"), "{beside}");
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_are_stored_and_fetched() {
    let mesh = Mesh::start(Topology::OneProcess, Options::default()).await;
    let session = mesh.session("assistant").await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("text").to_owned();
    let large: Vec<u8> = (0..10_000_000_u32).map(|n| (n / 3) as u8).collect();
    std::fs::write(path("large.bin"), &large).expect("a file");
    let put = ["artifact", "put", &session, &path("large.bin"), "--content-type", "a/b"];
    let (code, id, beside) = run(mesh.cortex().args(put));
    assert_eq!(code, 0, "{beside}");
    let id = id.trim();

    let (_, listed, _) = run(mesh.cortex().args(["artifact", "list", &session]));
    assert!(listed.contains(id) && listed.contains("9.5 MiB"), "{listed}");
    let get = ["artifact", "get", id, &path("back.bin")];
    let (code, _, beside) = run(mesh.cortex().args(get));
    assert_eq!(code, 0, "{beside}");
    assert!(std::fs::read(path("back.bin")).expect("a file") == large);
    let (code, _, beside) = run(mesh.cortex().args(get));
    assert_eq!(code, 2, "{beside}");
    assert!(beside.contains("--force"), "{beside}");
    let (code, _, _) = run(mesh.cortex().args(get).arg("--force"));
    assert_eq!(code, 0);
    // Its own name, where it is run.
    let mut command = mesh.cortex();
    let (code, _, beside) =
        run(command.args(["artifact", "get", id]).current_dir(directory.path()));
    assert_eq!(code, 2, "large.bin is there: {beside}");

    let (code, _, beside) = run(mesh.cortex().args(["artifact", "delete", id]));
    assert_eq!(code, 0, "{beside}");
    let (code, _, _) = run(mesh.cortex().args(["artifact", "get", id, "-"]));
    assert_eq!(code, 5);
    assert!(!directory.path().join("back.bin.part").exists());
    let (code, id, beside) =
        run(mesh.cortex().args(["artifact", "put", &session, "-", "--name", "nothing"]));
    assert_eq!(code, 0, "{beside}");
    let (code, nothing, _) = run(mesh.cortex().args(["artifact", "get", id.trim(), "-"]));
    assert_eq!((code, nothing.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_can_be_called_by_reflection() {
    let mesh = Mesh::start(Topology::OneProcess, Options::default()).await;
    let (code, listed, beside) = run(mesh.cortex().args(["call"]));
    assert_eq!(code, 0, "{beside}");
    for (port, package) in [
        (8081, "llm"),
        (8082, "manifest"),
        (8083, "runtime"),
        (8084, "storage"),
        (8085, "agent"),
        (8086, "container"),
    ] {
        let (_, here, _) = run(mesh.cortex().args(["call", "--url", &mesh.url(port)]));
        let own: Vec<&str> = here.lines().filter(|line| line.starts_with("cortex.")).collect();
        assert!(
            !own.is_empty() && own.iter().all(|m| m.starts_with(&format!("cortex.{package}.v1."))),
            "{here}"
        );
        assert!(
            own.iter().all(|method| listed.contains(method)),
            "the gateway lists all of {here}"
        );
    }
    let (code, agents, _) = run(mesh.cortex().args(["call", "AgentService/ListAgents"]));
    assert_eq!(code, 0);
    assert!(agents.contains("\"assistant\""), "{agents}");
    let request = r#"{"agent_name":"assistant","metadata":{"n":9007199254740993}}"#;
    let (_, created, _) =
        run(mesh.cortex().args(["call", "cortex.agent.v1.SessionService/CreateSession", request]));
    assert!(created.contains("9007199254740993"), "{created}");
    let (code, _, beside) =
        run(mesh.cortex().args(["call", "AgentService/ListAgents", r#"{"nope":1}"#]));
    assert_eq!(code, 2, "{beside}");
    assert!(beside.contains("nope"), "{beside}");
    let (code, _, beside) = run(mesh.cortex().args(["call", "WorkflowService/ListWorkflows"]));
    assert_eq!(code, 1);
    assert!(beside.contains("NOT_OFFERED"), "{beside}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_for_all_and_for_one() {
    let mesh = Mesh::start(Topology::OneProcess, Options::default()).await;
    let (code, said, beside) = run(mesh.cortex().args(["health"]));
    assert_eq!(code, 0, "{said}{beside}");
    let offset = mesh.url(0).rsplit(':').next().expect("a port").to_owned();
    let (code, said, beside) =
        run(mesh.cortex().args(["health", "storage", "--port-offset", &offset]));
    assert_eq!((code, said.contains("storage")), (0, true), "{beside}");
}

#[test]
fn exit_codes_tell_scripts_what_went_wrong() {
    let nowhere = ["--url", "http://127.0.0.1:9"];
    let cortex = || Command::new(binary("cortex"));
    let (code, _, beside) = run(cortex().args(nowhere).args(["session", "list"]));
    assert_eq!(code, 4, "{beside}");
    assert!(beside.contains("cortex up"), "what to do is said: {beside}");
    assert_eq!(run(cortex().args(["nonsense"])).0, 2);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("cortex.yaml");
    std::fs::write(&file, "port_offfset: 3\nagent:\n  lease: never\nserver: {max_hops: x}\n")
        .expect("a file");
    let (code, _, beside) = run(cortex().arg("--config").arg(&file).args(["config", "check"]));
    assert_eq!(code, 3);
    for wrong in ["port_offfset", "port_offset", "agent.lease", "server.max_hops", "cortex.yaml:1"]
    {
        assert!(beside.contains(wrong), "{wrong} is not in {beside}");
    }
}

#[test]
fn database_urls_are_taken_or_refused_by_name() {
    let check = |url: &str| {
        run(Command::new(binary("cortex")).env("DATABASE_URL", url).args(["config", "check"]))
    };
    assert_eq!(check("").0, 0, "an empty variable is not set");
    assert_eq!(check("sqlite:///tmp/x.db").0, 0);
    assert_eq!(check("postgres://u:secret@h/db").0, 0);
    let (code, _, beside) = check("mysql://u:secret@h/db");
    assert_eq!(code, 3);
    assert!(beside.contains("sqlite:PATH") && !beside.contains("secret"), "{beside}");
}

#[test]
fn secrets_are_never_printed() {
    let printed = run(Command::new(binary("cortex"))
        .env("OPENAI_API_KEY", "sk-very-secret")
        .env("DATABASE_URL", "postgres://u:sk-very-secret@h/db")
        .env("CORTEX_AGENT__LEASE", "5s")
        .args(["config", "print"]));
    assert_eq!(printed.0, 0, "{}", printed.2);
    assert!(
        !printed.1.contains("sk-very-secret") && printed.1.contains("[redacted]"),
        "{}",
        printed.1
    );
    assert!(
        printed.1.contains("OPENAI_API_KEY") && printed.1.contains("CORTEX_AGENT__LEASE"),
        "who says so"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_and_a_taken_directory_are_named() {
    let mesh = Mesh::start(Topology::OneProcess, Options::default()).await;
    let offset = mesh.url(0).rsplit(':').next().expect("a port").to_owned();
    let other = tempfile::tempdir().expect("a directory");
    let (code, _, beside) =
        run(mesh.cortex().args(["up", "--port-offset", &offset, "--data-dir"]).arg(other.path()));
    assert_eq!(code, 1);
    assert!(beside.contains("--port-offset") && beside.contains("storage"), "{beside}");
    let (code, _, beside) = run(mesh.cortex().args(["up", "--host", "0.0.0.0"]));
    assert_eq!(code, 3, "{beside}");
    assert!(beside.contains("--insecure-bind"), "{beside}");
}

#[test]
fn completions_are_there_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, _) = run(Command::new(binary("cortex")).args(["completions", shell]));
        assert!(code == 0 && script.contains("session"), "{shell}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_forked_exported_and_imported() {
    let mesh = Mesh::start(Topology::OneProcess, Options::default()).await;
    let (code, _, beside) = run(mesh.cortex().args(["chat", "assistant", "rehearse 3 tokens"]));
    assert_eq!(code, 0, "{beside}");
    let session = beside.split_whitespace().last().expect("how to go on").to_owned();
    let (code, forked, beside) = run(mesh.cortex().args(["session", "fork", &session]));
    assert_eq!(code, 0, "{beside}");
    let fork = forked.split_whitespace().next().expect("an id").to_owned();
    assert!(forked.contains(&format!("continues {session} from ")), "{forked}");
    let again = ["chat", "assistant", "rehearse 2 tokens", "--session", &fork];
    let (code, _, beside) = run(mesh.cortex().args(again));
    assert_eq!(code, 0, "{beside}");
    let (_, shown, _) = run(mesh.cortex().args(["session", "show", &fork]));
    assert!(shown.contains("rehearse 3 tokens") && shown.contains("rehearse 2 tokens"), "{shown}");
    let (_, shown, _) = run(mesh.cortex().args(["session", "show", &session]));
    assert!(!shown.contains("rehearse 2 tokens"), "{shown}");
    let (code, first, _) = run(mesh.cortex().args(["session", "fork", &session, "--at", "1"]));
    assert!(code == 0 && first.trim().ends_with("from 0"), "{first}");
    let (code, _, beside) = run(mesh.cortex().args(["session", "fork", &session, "--at", "9999"]));
    assert!(code == 1 && beside.contains("BEYOND_HEAD"), "{beside}");

    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("session.jsonl");
    let export =
        |file: &Path| run(mesh.cortex().args(["session", "export", &fork, "-o"]).arg(file));
    let (code, said, beside) = export(&file);
    assert_eq!((code, said.as_str()), (0, ""), "{beside}");
    let (_, printed, _) = run(mesh.cortex().args(["session", "export", &fork]));
    let lines = std::fs::read_to_string(&file).expect("a file");
    assert_eq!(printed, lines);
    let (code, said, beside) = run(mesh.cortex().args(["session", "import"]).arg(&file));
    assert_eq!(code, 0, "{beside}");
    let imported = said.split_whitespace().next().expect("an id").to_owned();
    let (_, shown, _) = run(mesh.cortex().args(["session", "show", &imported]));
    assert!(shown.contains("rehearse 3 tokens") && shown.contains("rehearse 2 tokens"), "{shown}");
    let goes_on = ["chat", "assistant", "rehearse 1 token", "--session", &imported];
    assert_eq!(run(mesh.cortex().args(goes_on)).0, 0);
    std::fs::write(&file, lines.replace("\"sequence\":2,", "\"sequence\":3,")).expect("written");
    let (code, _, beside) = run(mesh.cortex().args(["session", "import"]).arg(&file));
    assert!(code == 1 && beside.contains("lines[3].sequence"), "{beside}");
    let (code, _, beside) = export(&dir.path().join("missing/session.jsonl"));
    assert!(code == 1 && beside.contains("missing"), "{beside}");
    assert_eq!(run(mesh.cortex().args(["session", "export", "session_00000000000000000000"])).0, 5);
}
