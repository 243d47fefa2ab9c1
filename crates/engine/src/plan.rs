//! A plan: what a rotation will write, reload and ask, in order, and the world that it was made for.
//!
//! The hash covers the observed world without the names of members, so that a scale-up does not make a plan stale.

use keyroll_rotation::Mode;
use serde::{Deserialize, Serialize};

/// A plan, as `plan -o` writes it and `rotate PLAN` reads it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct PlanDocument {
    /// The version of the document.
    pub schema_version: u32,
    /// The key's name.
    pub name: String,
    /// How.
    pub mode: Mode,
    /// When it was made.
    pub made_at: jiff::Timestamp,
    /// Writes, reloads and gates, in order.
    pub steps: Vec<PlannedStep>,
    /// The earliest end, if it were started when the plan was made.
    pub earliest_end: jiff::Timestamp,
    /// What clients will notice.
    pub clients_notice: String,
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
