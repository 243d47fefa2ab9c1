//! `keyroll.yaml`: the document that says which key is rotated, where it lives, who uses it and what proves it.
//!
//! It is read in two steps. Serde fills a private form *as written*, where every value still knows
//! its line; then each value is parsed into a type that can't be wrong. So nothing behind [`SessionKey::parse`] checks a
//! configuration again, and all mistakes in values are reported at once.

mod duration;
mod error;
mod evidence;
mod fleet;
mod forms;
mod lower;
mod nonempty;
mod place;
mod policy;
mod probe;
mod schema;
mod sessions;
mod store;
mod suggest;
mod text;
mod window;
mod written;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use duration::{Period, PeriodError};
pub use error::{ConfigError, ConfigErrors, LoadError};
pub use evidence::{
    CounterSource, ErrorRateRule, Evidence, LogSource, LogWhere, MetricSource, OnErrors, OrchestratorLevel, Report,
};
pub use fleet::{
    CommandFleet, CommandLine, Consumer, ConsumerKind, Instances, ProcessFleet, Readiness, ReadyCheck, ReloadPlan,
    StaticFleet, StopSignal, Stopping,
};
pub use nonempty::NonEmpty;
pub use place::{At, SourceSpan};
pub use policy::{Due, Policy, Standby};
pub use probe::{
    Capture, CaptureFrom, Expectation, HeaderMatch, LoginBody, LoginStep, Payload, Probe, Reissue, RequestValue,
    StatusSet, TextMatch, Workers,
};
pub use schema::json_schema;
pub use sessions::{Drain, MaxLifetime, Permille, SessionCounter, Sessions, Sticky};
pub use store::{Dialect, FileContent, StoreSpec};
pub use text::{FilePath, Pattern, SecretReference};
pub use window::{Window, WindowError, WindowState};

/// The document of one key.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SessionKey {
    /// `metadata.name`: names the key's journal and its lock.
    pub name: KeyName,
    /// How the framework names, encodes and orders its keys.
    pub profile: ProfileSpec,
    /// Where the application's source files are. A plan does not depend on it.
    #[serde(skip)]
    pub project: Option<FilePath>,
    /// Where the key lives. Several stores hold the same key.
    pub stores: NonEmpty<StoreSpec>,
    /// Who uses it.
    pub consumers: NonEmpty<Consumer>,
    /// How long what is sealed with it lives.
    pub sessions: Sessions,
    /// What proves that a member has a key, by asking it.
    pub probe: Option<Probe>,
    /// What else proves it.
    pub evidence: Evidence,
    /// When to rotate, and how patiently.
    pub policy: Policy,
}

impl SessionKey {
    /// Reads and parses a file. Relative paths in it are relative to it.
    pub fn load(file: &Path) -> Result<Self, LoadError> {
        let text = std::fs::read_to_string(file).map_err(|source| LoadError::Read { file: file.to_owned(), source })?;
        Ok(Self::parse(&text, file)?)
    }

    /// Parses the text of `file`.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigErrors> {
        lower::document(text, file)
    }

    /// A hash over everything that the document says, for plans. Comments, order, short forms and defaults that are
    /// written out make no difference; neither does the folder that the file lies in.
    pub fn hash(&self) -> ConfigHash {
        // Structs and sorted maps serialise in one order only, so the text is canonical.
        let text = serde_json::to_vec(self).unwrap_or_default();
        ConfigHash(hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text)))
    }
}

/// The name of a key: lower-case letters, digits and `-`, because it is also the name of a folder.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct KeyName(String);

impl KeyName {
    /// At most 63 lower-case letters, digits and `-`, beginning and ending with a letter or a digit.
    pub fn parse(text: &str) -> Option<Self> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let ends = text.starts_with(legal) && text.ends_with(legal);
        (ends && text.len() <= 63 && text.chars().all(|c| legal(c) || c == '-')).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 over a parsed document, in hexadecimal digits.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ConfigHash(pub String);

impl fmt::Display for ConfigHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which profile, and what this application has changed about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ProfileSpec {
    /// The built-in profile, or a file of the user's own.
    pub source: ProfileSource,
    /// The field that holds the active key, where it is not the profile's.
    pub active: Option<String>,
    /// The fields that hold accepted keys, where they are not the profile's. Empty means the profile's.
    pub accept: Vec<String>,
    /// Parameters of the profile by name: `cookie`, `digest`, `salt`, `kind` and what else the profile declares.
    pub parameters: std::collections::BTreeMap<String, String>,
}

/// Where a profile comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ProfileSource {
    /// By the name of a profile that Keyroll ships.
    BuiltIn(String),
    /// A TOML file of the user's.
    File(FilePath),
}

/// `apiVersion` of the documents that this release reads.
pub const API_VERSION: &str = "keyroll.dev/v1alpha1";

/// `kind` of the documents that this release reads.
pub const KIND: &str = "SessionKey";

/// Where `keyroll.yaml` is looked for when no file is named.
pub const DEFAULT_FILE: &str = "keyroll.yaml";

/// The folder against which relative paths of `file` are resolved.
fn base_folder(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
