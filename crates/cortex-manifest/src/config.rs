//! The section `manifest` of the configuration.

use cortex_config::{ByteSize, Duration, KeyPath, Problems, Validate};
use serde::{Deserialize, Serialize};

/// Where manifests come from, and how much of them is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct ManifestConfig {
    /// The directory. None: only what comes with the binary.
    pub root: Option<String>,
    /// Variables of the environment that manifests may see, by name. Manifests can be read through
    /// the API: never list a secret.
    pub environment: Vec<String>,
    /// Further directories from which manifests may be imported by absolute paths.
    pub import_roots: Vec<String>,
    /// Absolute paths that mean the root, for manifests that were written for a container.
    pub root_aliases: Vec<String>,
    /// Most manifests that are registered. 1 to 100,000.
    pub max_manifests: u32,
    /// Largest file of a manifest. At most 1 MiB: a manifest travels in one message.
    pub max_file: ByteSize,
    /// Largest bundle of a tool or relic. At most 1 GiB.
    pub max_bundle: ByteSize,
    /// Closures that stay resolvable by digest after the manifests have changed.
    pub closures_kept: u32,
    /// Memory for bundles that were handed out or built.
    pub bundles_kept: ByteSize,
    /// Whether changes of the directory are loaded by themselves.
    pub watch: bool,
    /// How long the directory must be quiet before a change is loaded.
    pub watch_quiet: Duration,
    /// How often the directory is read again in case a change was not told of. 1 s or more.
    pub rescan: Duration,
}

impl Default for ManifestConfig {
    fn default() -> Self {
        Self {
            root: None,
            environment: vec!["SEARCH_ENDPOINT".to_owned()],
            import_roots: Vec::new(),
            root_aliases: vec!["/app/manifests".to_owned()],
            max_manifests: 10_000,
            max_file: ByteSize::mib(1),
            max_bundle: ByteSize::mib(16),
            closures_kept: 1024,
            bundles_kept: ByteSize::mib(128),
            watch: true,
            watch_quiet: Duration::from_millis(200),
            rescan: Duration::from_secs(60),
        }
    }
}

impl Validate for ManifestConfig {
    fn validate(&self, problems: &mut Problems, path: &KeyPath) {
        if !(1..=100_000).contains(&self.max_manifests) {
            problems.add(path.key("max_manifests"), "must be from 1 to 100000");
        }
        let sizes = [
            ("max_file", self.max_file, ByteSize::mib(1)),
            ("max_bundle", self.max_bundle, ByteSize::mib(1024)),
        ];
        for (key, size, most) in sizes {
            if size == ByteSize::default() || size > most {
                problems.add(path.key(key), format!("must be more than 0 and at most {most}"));
            }
        }
        if self.closures_kept == 0 {
            problems.add(path.key("closures_kept"), "must be 1 or more");
        }
        if self.rescan < Duration::from_secs(1) {
            problems.add(path.key("rescan"), "must be 1s or more");
        }
        for (index, root) in self.import_roots.iter().enumerate() {
            if !root.starts_with('/') {
                let path = path.key("import_roots").index(index);
                problems.add(path, "must be an absolute path");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_out_of_range_is_reported() {
        let check = |config: &ManifestConfig| {
            let mut problems = Problems::default();
            config.validate(&mut problems, &KeyPath::dotted("manifest"));
            problems.iter().map(|problem| problem.path.to_string()).collect::<Vec<_>>()
        };
        assert!(check(&ManifestConfig::default()).is_empty());
        let wrong = ManifestConfig {
            max_manifests: 0,
            max_file: ByteSize::mib(2),
            max_bundle: ByteSize::default(),
            closures_kept: 0,
            rescan: Duration::from_millis(10),
            import_roots: vec!["/ok".into(), "relative".into()],
            ..ManifestConfig::default()
        };
        let keys = ["max_manifests", "max_file", "max_bundle", "closures_kept", "rescan"];
        let mut expected: Vec<String> = keys.iter().map(|key| format!("manifest.{key}")).collect();
        expected.push("manifest.import_roots[1]".to_owned());
        assert_eq!(check(&wrong), expected);
    }
}
