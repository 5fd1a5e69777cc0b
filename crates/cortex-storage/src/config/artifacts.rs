//! Where the bytes of artifacts are kept, and how many they may be.

use std::path::PathBuf;

use cortex_config::{ByteSize, Duration, KeyPath, Problems, SecretString, Validate};
use serde::{Deserialize, Serialize};

use crate::error::{Result, StorageError};

/// Where the bytes of artifacts are kept, and how many they may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArtifactConfig {
    /// A directory, or `s3://bucket/prefix`. Absent: `artifacts` in the data directory.
    pub location: Option<String>,
    /// Bytes of one artifact at most: up to 64 GiB.
    pub max_size: ByteSize,
    /// Uploads at a time: 1 to 4,096. One more waits.
    pub max_uploads: usize,
    /// How long an upload may bring nothing before it is given up: 1s to 10m.
    pub upload_patience: Duration,
    /// How old bytes are that nothing refers to when they are swept: 30m to 30d. They are left of
    /// crashes.
    pub grace: Duration,
    /// Time between two searches for such bytes: 1m to 7d. Each lists all of them.
    pub sweep_interval: Duration,
    /// The object store of an `s3://` location.
    pub s3: S3Config,
}

/// An object store that speaks S3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct S3Config {
    /// Its URL, `https://host` or `http://host:port`. Absent: that of AWS in the region.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// The name of the access key. Absent: the instance's metadata service is asked for
    /// one.
    pub access_key_id: Option<String>,
    /// The access key.
    pub secret_access_key: Option<SecretString>,
    /// The token that belongs to a temporary access key.
    pub session_token: Option<SecretString>,
    /// Whether the bucket is part of the host's name rather than of the path.
    pub virtual_hosted: bool,
    /// Bytes of one part of a large upload: 8MiB to 64MiB. Each upload holds two in memory.
    pub part: ByteSize,
}

/// Where bytes are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory.
    Directory(PathBuf),
    /// Below a prefix of a bucket.
    S3 {
        /// The bucket.
        bucket: String,
        /// What the names of objects start with; may be empty.
        prefix: String,
    },
}

impl Default for ArtifactConfig {
    fn default() -> Self {
        Self {
            location: None,
            max_size: ByteSize::mib(1024),
            max_uploads: 64,
            upload_patience: Duration::from_secs(60),
            grace: Duration::from_secs(6 * 3600),
            sweep_interval: Duration::from_secs(3600),
            s3: S3Config::default(),
        }
    }
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: "us-east-1".to_owned(),
            access_key_id: None,
            secret_access_key: None,
            session_token: None,
            virtual_hosted: false,
            part: ByteSize::mib(8),
        }
    }
}

impl ArtifactConfig {
    /// The location, if it is named.
    ///
    /// # Errors
    /// [`StorageError::Invalid`].
    pub fn place(&self) -> Result<Option<Location>> {
        let Some(text) = &self.location else { return Ok(None) };
        let wrong = |problem| StorageError::invalid("location", problem);
        let Some(rest) = text.strip_prefix("s3://") else {
            if text.is_empty() || text.contains("://") {
                return Err(wrong("must be a directory or s3://bucket/prefix"));
            }
            return Ok(Some(Location::Directory(PathBuf::from(text))));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let in_bucket =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(in_bucket) {
            return Err(wrong("the bucket must have 3 to 63 characters of a-z 0-9 . - _"));
        }
        let prefix = prefix.trim_end_matches('/');
        let in_prefix = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
        let parts_are_names =
            prefix.is_empty() || prefix.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if prefix.len() > 512 || !prefix.bytes().all(in_prefix) || !parts_are_names {
            let problem = "the prefix must be names of a-z A-Z 0-9 . _ - with / between them, \
                           512 characters at most";
            return Err(wrong(problem));
        }
        Ok(Some(Location::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() }))
    }
}

impl Validate for ArtifactConfig {
    fn validate(&self, problems: &mut Problems, path: &KeyPath) {
        match self.place() {
            Err(StorageError::Invalid { problem, .. }) => {
                problems.add(path.key("location"), problem);
            }
            // The environment may name an object store that others use.
            Ok(Some(Location::S3 { .. })) => self.s3.validate(problems, &path.key("s3")),
            _ => {}
        }
        if !(1..=64 << 30).contains(&self.max_size.get()) {
            problems.add(path.key("max_size"), "must be 1B to 64GiB");
        }
        if !(1..=4096).contains(&self.max_uploads) {
            problems.add(path.key("max_uploads"), "must be 1 to 4096");
        }
        let seconds = |duration: Duration| duration.get().as_secs();
        for (key, value, most_and_least, text) in [
            ("upload_patience", self.upload_patience, 1..=600, "must be 1s to 10m"),
            ("grace", self.grace, 30 * 60..=30 * 24 * 3600, "must be 30m to 30d"),
            ("sweep_interval", self.sweep_interval, 60..=7 * 24 * 3600, "must be 1m to 7d"),
        ] {
            if !most_and_least.contains(&seconds(value)) {
                problems.add(path.key(key), text);
            }
        }
    }
}

impl Validate for S3Config {
    fn validate(&self, problems: &mut Problems, path: &KeyPath) {
        if let Some(endpoint) = &self.endpoint {
            let url = url::Url::parse(endpoint).ok();
            if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
                problems.add(path.key("endpoint"), "must be https://host or http://host:port");
            }
        }
        if self.region.is_empty() {
            problems.add(path.key("region"), "must not be empty");
        }
        match (&self.access_key_id, &self.secret_access_key) {
            (Some(_), None) => {
                problems.add(path.key("secret_access_key"), "is missing; access_key_id is set");
            }
            (None, Some(_)) => {
                problems.add(path.key("access_key_id"), "is missing; secret_access_key is set");
            }
            _ => {}
        }
        if !(ByteSize::mib(8)..=ByteSize::mib(64)).contains(&self.part) {
            problems.add(path.key("part"), "must be 8MiB to 64MiB");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Result<Option<Location>> {
        ArtifactConfig { location: Some(text.to_owned()), ..Default::default() }.place()
    }

    fn problems(config: &ArtifactConfig) -> String {
        let mut problems = Problems::default();
        config.validate(&mut problems, &KeyPath::root());
        problems.to_string()
    }

    #[test]
    fn a_location_is_a_directory_or_a_bucket() -> Result<()> {
        assert_eq!(place("/var/x")?, Some(Location::Directory("/var/x".into())));
        let s3 = |bucket: &str, prefix: &str| {
            Some(Location::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
        };
        assert_eq!(place("s3://bucket")?, s3("bucket", ""));
        assert_eq!(place("s3://my.bucket-1/a/b/")?, s3("my.bucket-1", "a/b"));
        for wrong in [
            "",
            "gs://bucket",
            "s3://",
            "s3://ab",
            "s3://Bucket",
            "s3://bucket/a//b",
            "s3://bucket/../b",
            "s3://bucket/ä",
        ] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
        Ok(())
    }

    #[test]
    fn the_defaults_are_right_and_bounds_are_kept() {
        assert_eq!(problems(&ArtifactConfig::default()), "");
        let mut config = ArtifactConfig {
            max_size: ByteSize::bytes(0),
            max_uploads: 0,
            upload_patience: Duration::from_millis(1),
            grace: Duration::from_secs(60),
            location: Some("s3://bucket".to_owned()),
            ..Default::default()
        };
        config.s3.access_key_id = Some("a".to_owned());
        config.s3.endpoint = Some("localhost:9000".to_owned());
        let told = problems(&config);
        for key in [
            "max_size",
            "max_uploads",
            "upload_patience",
            "grace",
            "s3.secret_access_key",
            "s3.endpoint",
        ] {
            assert!(told.contains(key), "{key}: {told}");
        }
    }
}
