//! A directory of the machine, and further directories that imports may reach by absolute paths.
//!
//! Symbolic links are followed as long as they stay inside: Kubernetes mounts files as links.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    path::{OutsideRoot, TreePath},
    ports::{Files, FilesError, Listing},
};

/// Deepest directory that is looked into.
const MAX_DEPTH: usize = 32;
/// Most files that are listed.
const MAX_FILES: usize = 100_000;
/// Directories that hold what tools have built or fetched, never manifests.
const IGNORED: &[&str] = &["node_modules", "__pycache__", "target", "venv"];

/// A directory.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
    import_roots: Vec<PathBuf>,
}

impl Directory {
    /// The files below `root`. Absolute paths may lead into `import_roots` too.
    pub fn new(root: impl Into<PathBuf>, import_roots: Vec<PathBuf>) -> Self {
        Self { root: root.into(), import_roots }
    }

    fn on_disk(&self, path: &TreePath) -> PathBuf {
        if path.is_absolute() {
            PathBuf::from(path.as_str())
        } else {
            self.root.join(path.as_str())
        }
    }

    /// Where a path really leads, if that may be read.
    fn real(&self, path: &TreePath) -> Result<PathBuf, FilesError> {
        // Whether something is there is nobody's business where nothing may be read.
        let named = |root: &PathBuf| Path::new(path.as_str()).starts_with(root);
        if path.is_absolute() && !self.import_roots.iter().any(named) {
            return Err(OutsideRoot(path.to_string()).into());
        }
        let real = fs::canonicalize(self.on_disk(path)).map_err(|error| failed(path, error))?;
        let allowed = |root: &Path| fs::canonicalize(root).is_ok_and(|root| real.starts_with(root));
        let inside = if path.is_absolute() {
            self.import_roots.iter().any(|root| allowed(root))
        } else {
            allowed(&self.root) || self.import_roots.iter().any(|root| allowed(root))
        };
        if inside { Ok(real) } else { Err(OutsideRoot(path.to_string()).into()) }
    }

    fn walk(&self, directory: &TreePath, walk: &mut Walk) -> Result<(), FilesError> {
        let real = self.real(directory)?;
        if !walk.visited.insert(real.clone()) {
            return Ok(());
        }
        let entries = fs::read_dir(&real).map_err(|error| failed(directory, error))?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.') && !IGNORED.contains(&name.as_str()))
            .collect();
        names.sort();
        for name in names {
            let path = directory.join(&name)?;
            if let Err(error) = self.visit(&path, walk) {
                walk.listing.skipped.push((path, error.to_string()));
            }
        }
        Ok(())
    }

    fn visit(&self, path: &TreePath, walk: &mut Walk) -> Result<(), FilesError> {
        let metadata = fs::metadata(self.real(path)?).map_err(|error| failed(path, error))?;
        if metadata.is_dir() {
            if path.depth() >= MAX_DEPTH {
                let reason = format!("directories deeper than {MAX_DEPTH} are not read");
                walk.listing.skipped.push((path.clone(), reason));
                return Ok(());
            }
            return self.walk(path, walk);
        }
        if metadata.is_file() && walk.listing.files.len() < MAX_FILES {
            walk.listing.files.insert(path.clone(), metadata.len());
        }
        Ok(())
    }
}

#[derive(Default)]
struct Walk {
    visited: BTreeSet<PathBuf>,
    listing: Listing,
}

fn failed(path: &TreePath, source: io::Error) -> FilesError {
    if source.kind() == io::ErrorKind::NotFound {
        return FilesError::NotFound(path.clone());
    }
    FilesError::Unreadable { path: path.to_string(), source }
}

impl Files for Directory {
    fn title(&self) -> String {
        self.root.display().to_string()
    }

    fn list(&self) -> Result<Listing, FilesError> {
        let mut walk = Walk {
            visited: BTreeSet::new(),
            listing: Listing { files: BTreeMap::new(), skipped: Vec::new() },
        };
        fs::read_dir(&self.root).map_err(|source| FilesError::Unreadable {
            path: self.root.display().to_string(),
            source,
        })?;
        self.walk(&TreePath::root(), &mut walk)?;
        Ok(walk.listing)
    }

    fn read(&self, path: &TreePath, limit: u64) -> Result<Vec<u8>, FilesError> {
        let real = self.real(path)?;
        let file = fs::File::open(real).map_err(|error| failed(path, error))?;
        let metadata = file.metadata().map_err(|error| failed(path, error))?;
        if !metadata.is_file() {
            return Err(FilesError::NotFound(path.clone()));
        }
        let mut bytes = Vec::new();
        let taken = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        let taken = taken.map_err(|error| failed(path, error))?;
        let size = u64::try_from(taken).unwrap_or(u64::MAX);
        if size > limit {
            let size = metadata.len().max(size);
            return Err(FilesError::TooLarge { path: path.clone(), size, limit });
        }
        Ok(bytes)
    }

    fn in_tree(&self, absolute: &str) -> Option<TreePath> {
        let absolute = TreePath::parse(absolute).ok()?;
        let relative = Path::new(absolute.as_str()).strip_prefix(&self.root).ok()?;
        TreePath::parse(relative.to_str()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let file = root.join(path);
        fs::create_dir_all(file.parent().expect("a parent")).expect("directories");
        fs::write(file, text).expect("the file is written");
    }

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).expect("a path")
    }

    #[test]
    fn files_are_listed_without_what_is_hidden_or_built() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["b/tool.yml", "a.md", ".git/config", "x/node_modules/y.yml", ".hidden.yml"] {
            write(dir.path(), name, "x");
        }
        let listing = Directory::new(dir.path(), vec![]).list().expect("listed");
        let names: Vec<_> = listing.files.keys().map(TreePath::as_str).collect();
        assert_eq!(names, ["a.md", "b/tool.yml"]);
    }

    #[test]
    fn links_are_followed_only_inside() {
        let outside = tempfile::tempdir().expect("a directory");
        write(outside.path(), "secret.yml", "secret");
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), "..data/agent.yml", "kind: Agent");
        symlink("..data/agent.yml", dir.path().join("agent.yml")).expect("a link");
        symlink(outside.path(), dir.path().join("away")).expect("a link");
        symlink(".", dir.path().join("loop")).expect("a link");
        let files = Directory::new(dir.path(), vec![]);
        let listing = files.list().expect("listed");
        assert_eq!(listing.files.keys().map(TreePath::as_str).collect::<Vec<_>>(), ["agent.yml"]);
        assert_eq!(listing.skipped.len(), 1, "{:?}", listing.skipped);
        assert!(matches!(files.read(&path("away/secret.yml"), 10), Err(FilesError::Outside(_))));
    }

    #[test]
    fn absolute_paths_need_a_permit() {
        let outside = tempfile::tempdir().expect("a directory");
        write(outside.path(), "tool.yml", "kind: Tool");
        let dir = tempfile::tempdir().expect("a directory");
        let absolute = path(outside.path().join("tool.yml").to_str().expect("UTF-8"));
        let closed = Directory::new(dir.path(), vec![]);
        assert!(matches!(closed.read(&absolute, 100), Err(FilesError::Outside(_))));
        let open = Directory::new(dir.path(), vec![outside.path().to_owned()]);
        assert_eq!(open.read(&absolute, 100).expect("allowed"), b"kind: Tool");
        let own = dir.path().join("a/../b.yml");
        assert_eq!(open.in_tree(own.to_str().expect("UTF-8")), Some(path("b.yml")));
    }

    #[test]
    fn large_files_and_missing_directories_are_errors() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), "big.yml", "12345678901");
        let files = Directory::new(dir.path(), vec![]);
        assert!(matches!(
            files.read(&path("big.yml"), 10),
            Err(FilesError::TooLarge { size: 11, .. })
        ));
        assert!(matches!(files.read(&path("none.yml"), 10), Err(FilesError::NotFound(_))));
        assert!(Directory::new(dir.path().join("none"), vec![]).list().is_err());
    }
}
