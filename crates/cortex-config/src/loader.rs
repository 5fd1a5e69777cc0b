//! Lays the layers of a configuration over each other and reads the result.

use std::{
    cell::RefCell,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    de::Reader,
    loaded::Loaded,
    path::{KeyPath, Step},
    problem::{Origin, Problem, Problems, Validate},
    tree::{Branch, Tree},
    yaml,
};

/// What every environment variable of ours starts with.
const PREFIX: &str = "CORTEX_";

/// An environment variable with a name of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alias {
    /// The variable, for example `DB_PATH`.
    pub variable: &'static str,
    /// The value that it sets, for example `storage.path`.
    pub path: &'static str,
}

impl Alias {
    /// `variable` sets the value at `path`.
    pub const fn new(variable: &'static str, path: &'static str) -> Self {
        Self { variable, path }
    }
}

/// Which file to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FileChoice {
    /// None.
    #[default]
    None,
    /// This one. It must be there.
    Exactly(PathBuf),
    /// The first of these that is there.
    FirstOf(Vec<PathBuf>),
}

impl FileChoice {
    /// The file that a user of `cortex` means: the one named by `--config`, else `cortex.yaml` in
    /// the working directory, else `cortex/cortex.yaml` in `$XDG_CONFIG_HOME` (or `~/.config`).
    pub fn usual(
        config_flag: Option<PathBuf>,
        working_directory: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Self {
        if let Some(path) = config_flag {
            return Self::Exactly(path);
        }
        let set = |name: &str| environment(name).filter(|text| !text.is_empty()).map(PathBuf::from);
        let config_home =
            set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
        let mut candidates = vec![working_directory.join("cortex.yaml")];
        candidates.extend(config_home.map(|home| home.join("cortex").join("cortex.yaml")));
        Self::FirstOf(candidates)
    }
}

/// Loads a configuration: defaults < file < environment < flags.
///
/// In the environment, `CORTEX_A__B` sets `a.b`, and an alias sets its path. An alias that stands
/// earlier in the table wins over a later one with the same path; `CORTEX_A__B` wins over both. An
/// empty variable counts as not set. The text of a variable or flag is read as its target's type
/// asks: as it is for a text, else as YAML; a list may also be given as `a,b`.
#[derive(Debug, Default)]
pub struct Loader {
    file: FileChoice,
    environment: Vec<(String, String)>,
    aliases: Vec<Alias>,
    flags: Vec<(String, KeyPath, String)>,
}

impl Loader {
    /// A loader with nothing but defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The file to read.
    #[must_use]
    pub fn file(mut self, choice: FileChoice) -> Self {
        self.file = choice;
        self
    }

    /// The environment, usually `std::env::vars()`.
    #[must_use]
    pub fn env(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment = variables.into_iter().collect();
        self.environment.sort();
        self
    }

    /// Environment variables with names of their own.
    #[must_use]
    pub fn aliases(mut self, aliases: &[Alias]) -> Self {
        self.aliases.extend_from_slice(aliases);
        self
    }

    /// A flag, as the user writes it (`--port-offset`), that sets the value at `path`.
    #[must_use]
    pub fn flag(mut self, name: &str, path: &str, value: impl Into<String>) -> Self {
        self.flags.push((name.to_owned(), KeyPath::dotted(path), value.into()));
        self
    }

    /// Merges the layers, reads and validates the result.
    ///
    /// # Errors
    /// Every problem there is: an unreadable file, unknown keys, wrong types, and what
    /// [`Validate`] says. Where a value is wrong, its default stands in while the rest is checked.
    pub fn load<T>(self) -> Result<Loaded<T>, Problems>
    where
        T: DeserializeOwned + Serialize + Default + Validate,
    {
        let mut problems = Problems::default();
        let defaults = serde_json::to_value(T::default()).unwrap_or(Value::Null);
        let defaults = Tree::from_json(defaults, &Origin::Default);
        let mut tree = defaults.clone();
        let file = self.lay_file(&mut tree, &mut problems);
        self.lay_environment(&defaults, &mut tree);
        for (name, path, value) in &self.flags {
            tree.set(path.steps(), value, &Origin::Flag(name.clone()));
        }
        let value = read::<T>(&mut tree, &defaults, &mut problems);
        if let Some(value) = &value {
            validate(value, &tree, &mut problems);
        }
        problems.sort();
        let Some(value) = value else { return Err(problems) };
        if problems.is_empty() { Ok(Loaded { value, tree, file }) } else { Err(problems) }
    }

    fn lay_file(&self, tree: &mut Tree, problems: &mut Problems) -> Option<PathBuf> {
        let (path, text) = match read_file(&self.file) {
            Ok(found) => found?,
            Err((path, error)) => {
                let origin = Origin::File { path, at: yaml::Position::default() };
                let message = format!("cannot be read: {error}");
                problems.push(Problem { path: KeyPath::root(), message, origin });
                return None;
            }
        };
        let origin = |at| Origin::File { path: path.clone(), at };
        let mut problem = |message: String, at| {
            problems.push(Problem { path: KeyPath::root(), message, origin: origin(at) });
        };
        match yaml::parse(&text) {
            Ok(node) => match node.content {
                yaml::Content::Map(_) => tree.merge(Tree::from_yaml(&node, &path)),
                yaml::Content::Null => {}
                _ => problem(format!("expected a map of sections, found {}", node.kind()), node.at),
            },
            Err(error) => problem(error.message, error.at),
        }
        Some(path)
    }

    fn lay_environment(&self, defaults: &Tree, tree: &mut Tree) {
        let set = |name: &str| {
            let found = self.environment.iter().find(|(variable, _)| variable == name);
            found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
        };
        for alias in self.aliases.iter().rev() {
            if let Some(value) = set(alias.variable) {
                let origin = Origin::Environment(alias.variable.to_owned());
                tree.set(KeyPath::dotted(alias.path).steps(), value, &origin);
            }
        }
        for (name, value) in &self.environment {
            if let Some(path) = own_path(name, defaults)
                && !value.is_empty()
            {
                tree.set(path.steps(), value, &Origin::Environment(name.clone()));
            }
        }
    }
}

/// The path that `CORTEX_A__B` sets. A name without `__` is ours only if there is such a key.
fn own_path(name: &str, defaults: &Tree) -> Option<KeyPath> {
    let rest = name.strip_prefix(PREFIX)?.to_lowercase();
    let keys: Vec<Step> = rest.split("__").map(|key| Step::Key(key.to_owned())).collect();
    let known = match &defaults.content {
        Branch::Map(entries) => entries.iter().any(|(key, _)| *key == rest),
        _ => false,
    };
    (keys.len() > 1 || known).then(|| keys.into_iter().collect())
}

type Unreadable = (PathBuf, io::Error);

fn read_file(choice: &FileChoice) -> Result<Option<(PathBuf, String)>, Unreadable> {
    let (candidates, required) = match choice {
        FileChoice::None => return Ok(None),
        FileChoice::Exactly(path) => (std::slice::from_ref(path), true),
        FileChoice::FirstOf(paths) => (paths.as_slice(), false),
    };
    for path in candidates {
        match fs::read_to_string(path) {
            Ok(text) => return Ok(Some((path.clone(), text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => {}
            Err(error) => return Err((path.clone(), error)),
        }
    }
    Ok(None)
}

/// Reads `T`; where a value is wrong, says so, puts the default in its place, and reads again.
fn read<T: DeserializeOwned>(
    tree: &mut Tree,
    defaults: &Tree,
    problems: &mut Problems,
) -> Option<T> {
    loop {
        let unknown = RefCell::new(Problems::default());
        let result = T::deserialize(Reader::new(tree, &unknown));
        let error = match result {
            Ok(value) => {
                unknown.into_inner().iter().for_each(|problem| problems.push(problem.clone()));
                return Some(value);
            }
            Err(error) => error,
        };
        let path = error.path.clone().unwrap_or_default();
        let origin = tree.nearest(path.steps()).origin.clone();
        problems.push(Problem { path: path.clone(), message: error.message, origin });
        if !repair(tree, defaults, path) {
            unknown.into_inner().iter().for_each(|problem| problems.push(problem.clone()));
            return None;
        }
    }
}

/// Puts the default in place of the wrong value, or of the value around it; takes it away if there
/// is no default. Every repair leaves less that was given, so repairs come to an end.
fn repair(tree: &mut Tree, defaults: &Tree, path: KeyPath) -> bool {
    let mut path = path;
    loop {
        if path.steps().is_empty() {
            return false;
        }
        let given = tree.nearest(path.steps());
        if given.origin != Origin::Default {
            let default = exact(defaults, &path).cloned();
            return tree.replace(path.steps(), default.as_ref());
        }
        match path.parent() {
            Some(above) => path = above,
            None => return false,
        }
    }
}

fn exact<'t>(tree: &'t Tree, path: &KeyPath) -> Option<&'t Tree> {
    path.steps().iter().try_fold(tree, |tree, step| match (step, &tree.content) {
        (Step::Key(key), Branch::Map(entries)) => {
            entries.iter().find(|(name, _)| name == key).map(|(_, tree)| tree)
        }
        _ => None,
    })
}

fn validate<T: Validate>(value: &T, tree: &Tree, problems: &mut Problems) {
    let mut found = Problems::default();
    value.validate(&mut found, &KeyPath::root());
    for problem in found.iter_mut() {
        if problem.origin == Origin::Default {
            problem.origin = tree.nearest(problem.path.steps()).origin.clone();
        }
        problems.push(problem.clone());
    }
}

#[cfg(test)]
#[path = "loader_tests.rs"]
mod tests;
