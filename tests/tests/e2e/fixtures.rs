//! Manifests that only tests need.

use std::{fs, path::Path};

use tempfile::TempDir;

/// A directory of manifests: paths and contents.
pub fn manifests(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (path, content) in files {
        write(directory.path(), path, content);
    }
    directory
}

/// Writes one file of a directory of manifests.
pub fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    fs::write(path, content).expect("a file");
}

/// An agent that may use these tools, with this engine.
pub fn agent(name: &str, engine: &str, tools: &[&str]) -> String {
    let imports: String =
        tools.iter().map(|tool| format!("    - ../../tools/{tool}/tool.yml\n")).collect();
    let import =
        if tools.is_empty() { String::new() } else { format!("import:\n  tools:\n{imports}") };
    format!(
        "kind: Agent\nversion: \"1.0\"\nname: {name}\nsummary: A test agent\nauthor: tests\nstate: stable\n\
         persona:\n  agent: ./prompt.md\ncognitive_engine:\n  primary: {engine}\n{import}"
    )
}

/// A Python tool with one free parameter.
pub fn python_tool(name: &str, timeout_seconds: u32) -> String {
    format!(
        "kind: Tool\nversion: \"1.0\"\nname: {name}\nsummary: A test tool\nauthor: tests\nstate: stable\n\
         description: A test tool.\nparameters:\n  - {{name: value, type: number, description: A number, required: false}}\n\
         returns: A JSON object\nimplementation:\n  type: script\n  runtime: python3\n  entrypoint: ./main.py\n\
         \x20 resources: {{memory: 128M, timeout: {timeout_seconds}}}\n"
    )
}
