//! What a tool may not do, asked from inside.

use serde_json::{Value, json};

use crate::support::Bench;

#[tokio::test]
async fn a_tool_is_locked_down() {
    let bench = Bench::new();
    let run = bench.run("probe", r#"{"do":"facts"}"#).await;
    let told: Value = serde_json::from_str(&run.result).unwrap_or_else(|_| panic!("{run:?}"));
    let facts = &told["result"];

    assert_eq!(facts["uid"], 65534);
    assert_eq!(facts["gid"], 65534);
    assert_eq!(facts["capabilities"], json!(vec!["0000000000000000"; 5]));
    assert_eq!(facts["no_new_privileges"], "1");
    assert_eq!(facts["seccomp"], "2", "a filter is on");
    for path in ["/x", "/tool/x", "/etc/x", "/proc/sys/kernel/hostname"] {
        assert_ne!(facts["write"][path], "allowed", "{path}");
    }
    assert_eq!(facts["write"]["/tmp/x"], "allowed");
    assert_eq!(facts["fill_tmp"], "No space left on device", "/tmp has a size");
    assert_eq!(facts["interfaces"], json!(["lo"]));
    assert_ne!(facts["connect"], "allowed");
    for family in ["netlink", "packet", "vsock", "alg"] {
        assert_ne!(facts["sockets"][family], "allowed", "{family}");
    }
    for family in ["inet", "unix"] {
        assert_eq!(facts["sockets"][family], "allowed", "{family}");
    }
    for (name, answer) in facts["syscalls"].as_object().unwrap() {
        let expected = match name.as_str() {
            "clone3" => "Function not implemented",
            _ => "Operation not permitted",
        };
        assert_eq!(answer, expected, "{name}");
    }
    assert_eq!(facts["keys"], "empty", "/proc/keys is masked");
    assert_eq!(facts["shared_memory"], false);
    assert_eq!(facts["docker_socket"], false);
    assert_eq!(facts["processes"], 0, "it is alone");
}
