//! Small texts with a meaning: paths that know their folder, patterns that compile, references to secrets.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// A path as it is written, and where it leads. Only what is written counts in the hash of a configuration, so that a
/// plan made in one checkout holds in another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FilePath {
    written: String,
    resolved: PathBuf,
}

impl FilePath {
    /// `written`, relative to `folder` unless it is absolute.
    pub fn new(written: impl Into<String>, folder: &Path) -> Self {
        let written = written.into();
        let resolved = folder.join(&written);
        Self { written, resolved }
    }

    /// Where it leads.
    pub fn resolved(&self) -> &Path {
        &self.resolved
    }

    /// As the user wrote it.
    pub fn written(&self) -> &str {
        &self.written
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Serialize for FilePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

/// A regular expression that compiles, in the syntax of Rust's `regex`.
#[derive(Clone, Debug)]
pub struct Pattern(regex::Regex);

impl Pattern {
    /// Compiles it.
    pub fn parse(text: &str) -> Result<Self, regex::Error> {
        regex::RegexBuilder::new(text).size_limit(PATTERN_SIZE_LIMIT).build().map(Self)
    }

    /// The compiled expression.
    pub fn regex(&self) -> &regex::Regex {
        &self.0
    }

    /// As the user wrote it.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Where a secret is found. The secret itself never stands in the configuration.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum SecretReference {
    /// An environment variable of Keyroll's own process.
    Env(String),
    /// A file; one trailing line break is not part of the secret.
    File(FilePath),
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable `{name}`"),
            Self::File(path) => write!(f, "file `{path}`"),
        }
    }
}

const PATTERN_SIZE_LIMIT: usize = 1 << 20;
