//! The toolbox's image: one static binary FROM scratch.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::error::ContainerError;

/// The binary's name, beside the running executable and in the image.
const NAME: &str = "cortex-toolbox";
const DOCKERFILE: &str = "FROM scratch\nCOPY cortex-toolbox /cortex-toolbox\nUSER 65534:65534\n\
                          ENTRYPOINT [\"/cortex-toolbox\"]\n";
/// Largest binary that is believed to be a toolbox: 256 MiB.
const MAX_SIZE: u64 = 256 << 20;

/// The toolbox, read and checked.
#[derive(Debug)]
pub(crate) struct Toolbox {
    binary: Vec<u8>,
    digest: String,
}

impl Toolbox {
    /// Reads the toolbox at `path`, or where it is looked for: beside the running executable, and
    /// beside the directory of that (where cargo puts what it tests).
    ///
    /// # Errors
    /// [`ContainerError::ImageBuildFailed`] when it is not there or cannot run FROM scratch.
    pub(crate) async fn load(path: Option<PathBuf>) -> Result<Self, ContainerError> {
        let read = tokio::task::spawn_blocking(move || Self::read(path.as_deref()));
        let read = read.await.map_err(|error| ContainerError::Internal(error.to_string()))?;
        read.map_err(|problem| ContainerError::ImageBuildFailed { tool: "toolbox".into(), problem })
    }

    fn read(path: Option<&Path>) -> Result<Self, String> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => find()?,
        };
        let shown = path.display();
        let size = std::fs::metadata(&path).map_err(|error| format!("{shown}: {error}"))?.len();
        if size > MAX_SIZE {
            return Err(format!("{shown} has {size} bytes: that is no toolbox"));
        }
        let binary = std::fs::read(&path).map_err(|error| format!("{shown}: {error}"))?;
        if !is_static(&binary) {
            return Err(format!(
                "{shown} is no static Linux executable, and an image FROM scratch has no loader; \
                 build it with -C target-feature=+crt-static"
            ));
        }
        let digest = blake3::hash(&binary).to_hex()[..32].to_owned();
        Ok(Self { binary, digest })
    }

    /// The image's name: another binary is another image.
    pub(crate) fn tag(&self) -> String {
        format!("cortex/toolbox:{}", self.digest)
    }

    /// What starts the tool `name`.
    pub(crate) fn command(name: &str) -> Vec<String> {
        vec![format!("/{NAME}"), name.to_owned()]
    }

    /// The build context: a tar archive with the binary and a Dockerfile.
    pub(crate) fn context(&self) -> Result<Bytes, ContainerError> {
        super::bundle::archive([
            ("Dockerfile", 0o644, DOCKERFILE.as_bytes()),
            (NAME, 0o755, self.binary.as_slice()),
        ])
    }
}

fn find() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let places: Vec<PathBuf> =
        own.ancestors().skip(1).take(2).map(|directory| directory.join(NAME)).collect();
    places.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        let looked: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
        format!(
            "the binary {NAME} is not there (looked at {}): build it with 'cargo build -p {NAME}', \
             or say where it is with container.toolbox_path",
            looked.join(" and ")
        )
    })
}

/// Whether this is a 64-bit ELF executable without an interpreter, by its program headers
/// (<https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.pheader.html>).
fn is_static(binary: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, length: usize| -> Option<u64> {
        let bytes = binary.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    };
    let headers = || -> Option<Vec<u32>> {
        let little_endian_64 = binary.get(..6)? == b"\x7fELF\x02\x01";
        let table = usize::try_from(number(32, 8).filter(|_| little_endian_64)?).ok()?;
        let size = usize::try_from(number(54, 2)?).ok()?;
        let count = usize::try_from(number(56, 2)?).ok()?;
        (0..count)
            .map(|index| u32::try_from(number(table.checked_add(index * size)?, 4)?).ok())
            .collect()
    };
    headers().is_some_and(|kinds| !kinds.is_empty() && !kinds.contains(&PT_INTERP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_executables_are_told_from_others() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(is_static(&own), cfg!(target_feature = "crt-static"));
        if let Ok(dynamic) = std::fs::read("/bin/ls") {
            assert!(!is_static(&dynamic));
        }
        assert!(!is_static(b"#!/bin/sh\n"));
        assert!(!is_static(&own[..60]));
    }

    #[tokio::test]
    async fn a_missing_or_wrong_toolbox_says_what_to_do() {
        let missing = Toolbox::load(Some("/nowhere/cortex-toolbox".into())).await.unwrap_err();
        assert!(missing.to_string().contains("/nowhere/cortex-toolbox"), "{missing}");
        let script = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(script.path(), "#!/bin/sh\n").unwrap();
        let wrong = Toolbox::load(Some(script.path().into())).await.unwrap_err();
        assert!(wrong.to_string().contains("crt-static"), "{wrong}");
    }
}
