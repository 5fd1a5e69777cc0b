//! What is wrong or doubtful in a manifest, and where.

use std::{cell::RefCell, fmt};

use cortex_config::{KeyPath, yaml::Position};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The manifest cannot be used.
    Error,
    /// It can be used, but probably not as meant.
    Warning,
}

/// Something that is wrong or doubtful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// UPPER_SNAKE_CASE, one of [`code`].
    pub code: &'static str,
    /// What is wrong, in the words of the predecessor where it had them.
    pub message: String,
    /// What would be right. May be empty.
    pub hint: String,
    /// The file, relative to the manifests' directory. Empty for text without a file.
    pub file: String,
    /// Where in the file.
    pub at: Position,
    /// The path of the field, for example `import.tools[2]`. Empty: the whole manifest.
    pub field: String,
}

impl Diagnostic {
    /// What is wrong and what would be right, in one line.
    pub fn text(&self) -> String {
        match self.hint.as_str() {
            "" => self.message.clone(),
            hint => format!("{}; {hint}", self.message),
        }
    }

    /// `file:line:column`, as far as it is known.
    pub fn place(&self) -> String {
        match (self.file.as_str(), self.at.line) {
            ("", 0) => String::new(),
            (file, 0) => file.to_owned(),
            ("", _) => self.at.to_string(),
            (file, _) => format!("{file}:{}", self.at),
        }
    }

    /// Whether the manifest cannot be used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    /// `tools/x/tool.yml:3:7: error: version: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place();
        if !place.is_empty() {
            write!(f, "{place}: ")?;
        }
        f.write_str(if self.is_error() { "error: " } else { "warning: " })?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.text())
    }
}

/// The codes of diagnostics.
pub mod code {
    /// The text is not YAML, or not one manifest.
    pub const PARSE_ERROR: &str = "PARSE_ERROR";
    /// A field that must be there is not.
    pub const MISSING_FIELD: &str = "MISSING_FIELD";
    /// `kind` is none that there is.
    pub const INVALID_KIND: &str = "INVALID_KIND";
    /// `version` is not of the form `1.0` or `1.0.0`.
    pub const INVALID_VERSION: &str = "INVALID_VERSION";
    /// `name` has characters that names do not have.
    pub const INVALID_NAME: &str = "INVALID_NAME";
    /// A value is of another type than the field.
    pub const WRONG_TYPE: &str = "WRONG_TYPE";
    /// A value is none of those that the field has.
    pub const INVALID_VALUE: &str = "INVALID_VALUE";
    /// A number is beyond what the field has.
    pub const OUT_OF_RANGE: &str = "OUT_OF_RANGE";
    /// A field that is not known, but nearly.
    pub const UNKNOWN_FIELD: &str = "UNKNOWN_FIELD";
    /// A format that is no longer read.
    pub const LEGACY_FORMAT: &str = "LEGACY_FORMAT";
    /// What is imported is not there.
    pub const IMPORT_NOT_FOUND: &str = "IMPORT_NOT_FOUND";
    /// What is imported is there, and invalid itself.
    pub const IMPORT_INVALID: &str = "IMPORT_INVALID";
    /// What is imported lies where nothing may be imported from.
    pub const IMPORT_OUTSIDE_ROOT: &str = "IMPORT_OUTSIDE_ROOT";
    /// What is imported is of another kind than the list that it stands in.
    pub const IMPORT_WRONG_KIND: &str = "IMPORT_WRONG_KIND";
    /// Manifests import each other.
    pub const IMPORT_CYCLE: &str = "IMPORT_CYCLE";
    /// Another manifest of the kind has the name.
    pub const DUPLICATE_NAME: &str = "DUPLICATE_NAME";
    /// A file that the manifest names is not there.
    pub const FILE_NOT_FOUND: &str = "FILE_NOT_FOUND";
    /// A file cannot be read, is too large or is not text.
    pub const FILE_UNREADABLE: &str = "FILE_UNREADABLE";
    /// A variable that is neither known nor allowed.
    pub const UNRESOLVED_VARIABLE: &str = "UNRESOLVED_VARIABLE";
    /// `autoload.yml` names what is not there.
    pub const AUTOLOAD_NOT_FOUND: &str = "AUTOLOAD_NOT_FOUND";
    /// There are more manifests than the configuration allows.
    pub const TOO_MANY_MANIFESTS: &str = "TOO_MANY_MANIFESTS";
}

/// Collects what is wrong with one file or text.
#[derive(Debug, Default)]
pub struct Report {
    file: String,
    found: RefCell<Vec<Diagnostic>>,
}

impl Report {
    /// A report about `file`.
    pub fn new(file: impl Into<String>) -> Self {
        Self { file: file.into(), found: RefCell::default() }
    }

    /// Records an error.
    pub fn error(
        &self,
        code: &'static str,
        at: Position,
        field: &KeyPath,
        message: impl Into<String>,
    ) {
        self.add(Severity::Error, code, at, field, message.into(), String::new());
    }

    /// Records an error and what would be right.
    pub fn error_with_hint(
        &self,
        code: &'static str,
        at: Position,
        field: &KeyPath,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(Severity::Error, code, at, field, message.into(), hint.into());
    }

    /// Records a warning.
    pub fn warning(
        &self,
        code: &'static str,
        at: Position,
        field: &KeyPath,
        message: impl Into<String>,
    ) {
        self.add(Severity::Warning, code, at, field, message.into(), String::new());
    }

    /// Whether there is an error among what was recorded.
    pub fn has_errors(&self) -> bool {
        self.found.borrow().iter().any(Diagnostic::is_error)
    }

    /// What was recorded, in the order of the text.
    pub fn finish(self) -> Vec<Diagnostic> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|diagnostic| diagnostic.at);
        found
    }

    fn add(
        &self,
        severity: Severity,
        code: &'static str,
        at: Position,
        field: &KeyPath,
        message: String,
        hint: String,
    ) {
        let (file, field) = (self.file.clone(), field.to_string());
        let diagnostic = Diagnostic { severity, code, message, hint, file, at, field };
        let mut found = self.found.borrow_mut();
        if !found.contains(&diagnostic) {
            found.push(diagnostic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_reads_as_a_compiler_would_say_it() {
        let report = Report::new("tools/x/tool.yml");
        let at = Position { line: 3, column: 7 };
        report.error_with_hint(code::INVALID_VALUE, at, &KeyPath::dotted("state"), "no", "try yes");
        let found = report.finish();
        assert_eq!(found[0].to_string(), "tools/x/tool.yml:3:7: error: state: no; try yes");
    }
}
