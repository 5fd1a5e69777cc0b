//! The data directory: one process at a time, and an id that stays.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use cortex_core::HolderId;

use crate::exit::Failure;

/// A data directory that this process has for itself. Released when dropped, or when the process dies.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    instance: String,
    _lock: File,
}

impl DataDir {
    /// Takes a directory, and makes it if it is not there.
    pub fn take(path: &Path) -> Result<Self, Failure> {
        let failed = |what: &str, error: io::Error| {
            Failure::other(format!("the data directory {}: {what}: {error}", path.display()))
        };
        fs::create_dir_all(path).map_err(|error| failed("cannot be made", error))?;
        let lock =
            File::create(path.join("lock")).map_err(|error| failed("cannot be written", error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(failed("cannot be locked", error)),
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::other(format!(
                    "the data directory {} is in use by another process; stop it, or name another \
                     with --data-dir",
                    path.display()
                )));
            }
        }
        let instance = instance(path).map_err(|error| failed("cannot be written", error))?;
        Ok(Self { path: path.to_owned(), instance, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a process on this directory is an incarnation of.
    pub fn instance(&self) -> &str {
        &self.instance
    }
}

fn instance(path: &Path) -> io::Result<String> {
    let file = path.join("instance");
    match fs::read_to_string(&file) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Ok(_) => write_instance(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => write_instance(&file),
        Err(error) => Err(error),
    }
}

fn write_instance(file: &Path) -> io::Result<String> {
    let id = HolderId::generate().as_str().replace(HolderId::PREFIX, "instance_");
    fs::write(file, format!("{id}\n"))?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::DataDir;

    #[test]
    fn a_directory_has_one_user_and_keeps_its_id() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = DataDir::take(directory.path()).expect("free");
        assert!(DataDir::take(directory.path()).is_err());
        let id = first.instance().to_owned();
        drop(first);
        assert_eq!(DataDir::take(directory.path()).expect("free again").instance(), id);
    }
}
