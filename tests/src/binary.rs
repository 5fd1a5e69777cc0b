//! Where the built binaries and the repository are.

use std::path::{Path, PathBuf};

/// The repository's root.
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests stand in the repository").to_owned()
}

/// A binary of the workspace, beside the running test: `cortex` or `cortex-toolbox`.
///
/// # Panics
/// When it is not built, with the command that builds it.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    test.ancestors()
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is not built: cargo build --workspace --bins"))
}

/// A tool that the parts scripts install from the npm registry: `buf`, `llmock`.
///
/// # Panics
/// When it is not installed, with the way to get it.
pub fn npm_binary(name: &str) -> PathBuf {
    let parts = std::env::var_os("CORTEX_PARTS_DIR").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache/cortex-parts"),
        PathBuf::from,
    );
    let path = parts.join("npm/node_modules/.bin").join(name);
    assert!(path.exists(), "{name} is not installed at {}: scripts/parts/npm.sh", path.display());
    path
}
