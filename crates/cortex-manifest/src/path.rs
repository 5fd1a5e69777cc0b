//! Paths in the tree of manifests: relative to its root, with `/`, without `.` and `..`.

use std::fmt;

/// A file or directory in the tree of manifests. The root is the empty path.
///
/// A path that starts with `/` lies outside the tree; whether it may be read is the policy of the
/// tree's files.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(String);

/// A path led above the root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' leads outside the manifests' directory")]
pub struct OutsideRoot(pub String);

impl TreePath {
    /// The root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Reads a path that starts at the root, or is absolute.
    ///
    /// # Errors
    /// [`OutsideRoot`] when `..` leads above the start.
    pub fn parse(text: &str) -> Result<Self, OutsideRoot> {
        Self::root().join(text)
    }

    /// `relative` as it reads in the directory at this path. An absolute one replaces it.
    ///
    /// # Errors
    /// [`OutsideRoot`] when `..` leads above the root.
    pub fn join(&self, relative: &str) -> Result<Self, OutsideRoot> {
        let absolute = relative.starts_with('/');
        let start = if absolute { "/" } else { self.0.as_str() };
        let mut parts: Vec<&str> = start.split('/').filter(|part| !part.is_empty()).collect();
        for part in relative.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop().ok_or_else(|| OutsideRoot(relative.to_owned()))?;
                }
                name => parts.push(name),
            }
        }
        let prefix = if start.starts_with('/') { "/" } else { "" };
        Ok(Self(format!("{prefix}{}", parts.join("/"))))
    }

    /// The directory that this stands in. The root stands in itself.
    #[must_use]
    pub fn parent(&self) -> Self {
        let end = self.0.rfind('/').unwrap_or(0);
        Self(self.0[..end].to_owned())
    }

    /// The last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The last part without what follows its first dot: `cleanup` of `cleanup.workflow.yml`.
    pub fn stem(&self) -> &str {
        self.file_name().split('.').next().unwrap_or_default()
    }

    /// What follows the last dot of the last part, in lower case.
    pub fn extension(&self) -> String {
        self.file_name().rsplit_once('.').map(|(_, ext)| ext.to_lowercase()).unwrap_or_default()
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it lies outside the tree.
    pub fn is_absolute(&self) -> bool {
        self.0.starts_with('/')
    }

    /// Whether this is `directory` or lies in it.
    pub fn is_within(&self, directory: &Self) -> bool {
        match self.0.strip_prefix(&directory.0) {
            Some(rest) => {
                directory.0.is_empty() && !self.is_absolute()
                    || rest.is_empty()
                    || rest.starts_with('/')
            }
            None => false,
        }
    }

    /// The rest of this path after `directory`, if it lies in it.
    pub fn relative_to(&self, directory: &Self) -> Option<&str> {
        self.is_within(directory).then(|| self.0[directory.0.len()..].trim_start_matches('/'))
    }

    /// How many parts it has.
    pub fn depth(&self) -> usize {
        self.0.split('/').filter(|part| !part.is_empty()).count()
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).expect("a path in the tree")
    }

    #[test]
    fn paths_are_joined_and_never_leave_the_root() {
        let directory = path("agents/a");
        assert_eq!(directory.join("./tools/t.yml"), Ok(path("agents/a/tools/t.yml")));
        assert_eq!(directory.join("../../tools//t.yml"), Ok(path("tools/t.yml")));
        assert_eq!(directory.join("../../.."), Err(OutsideRoot("../../..".into())));
        assert_eq!(directory.join("/x/../y").map(|p| p.to_string()), Ok("/y".into()));
        assert_eq!(TreePath::parse("/.."), Err(OutsideRoot("/..".into())));
    }

    #[test]
    fn parts_of_a_path() {
        let file = path("relics/cache/cleanup.workflow.YML");
        assert_eq!(file.parent(), path("relics/cache"));
        assert_eq!((file.file_name(), file.stem()), ("cleanup.workflow.YML", "cleanup"));
        assert_eq!(file.extension(), "yml");
        assert!(file.is_within(&path("relics")) && !file.is_within(&path("rel")));
        assert!(file.is_within(&TreePath::root()));
        assert_eq!(file.relative_to(&path("relics")), Some("cache/cleanup.workflow.YML"));
        assert_eq!(path("x").parent(), TreePath::root());
    }

    proptest! {
        #[test]
        fn joining_gives_a_normal_path_or_refuses(base in "[a-z./]{0,20}", relative in "[a-z./]{0,30}") {
            if let Ok(base) = TreePath::parse(&base)
                && let Ok(joined) = base.join(&relative)
            {
                let normal = joined.as_str().trim_start_matches('/').split('/').all(|part| part != ".." && part != ".");
                prop_assert!(normal, "{}", joined);
                prop_assert_eq!(TreePath::parse(joined.as_str()), Ok(joined));
            }
        }
    }
}
