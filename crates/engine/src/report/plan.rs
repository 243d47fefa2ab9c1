//! The document of a plan, which is written to a file and read back.

use keyroll_keyring::KeyId;
use keyroll_rotation::Mode;
use serde::{Deserialize, Serialize};

/// A plan, as `plan -o` writes it and `rotate PLAN` reads it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct PlanDocument {
    /// The version of the document.
    #[serde(rename = "schema_version", alias = "schemaVersion")]
    pub schema_version: u32,
    /// The key's name.
    pub name: String,
    /// How.
    pub mode: Mode,
    /// When it was made.
    pub made_at: jiff::Timestamp,
    /// Writes, reloads and gates, in order.
    pub steps: Vec<PlannedStep>,
    /// The time, in milliseconds, that no luck can shorten; the reloads come on top.
    pub at_least_ms: u64,
    /// The earliest end, if it were started when the plan was made.
    pub earliest_end: jiff::Timestamp,
    /// What clients will notice.
    pub clients_notice: String,
    /// For modes that end sessions: what is known of them, by key.
    pub sessions: Vec<KeySessions>,
    /// The world for which it was made, in lines that can be compared.
    pub world: Vec<String>,
    /// SHA-256 of the world.
    pub world_hash: String,
}

/// One step of a plan.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct PlannedStep {
    /// The stage, as `words::stage` writes it.
    pub stage: String,
    /// `write`, `reload`, `gate`, `wait` or `stamp`.
    pub kind: String,
    /// In words.
    pub what: String,
    /// How long it takes at least, in milliseconds.
    pub at_least_ms: u64,
}

/// What is known of the sessions under one key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct KeySessions {
    /// The key.
    pub key: KeyId,
    /// How often sessions were opened under it since the members started, where a counter tells. Visits, not people.
    pub opened: Option<u64>,
    /// How many members' counters could be read.
    pub counted_by: usize,
    /// Since when they count, where every one of them tells when it started.
    pub since: Option<jiff::Timestamp>,
    /// All of it in one sentence.
    pub words: String,
}
