//! What proves it besides the probe: reports of the process itself, and what the orchestrator knows.

use serde::Serialize;

use super::{FilePath, NonEmpty, Pattern, Period, Permille};

/// Everything else that counts as evidence.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Evidence {
    /// P2: a JSON endpoint of each member.
    pub report: Option<Report>,
    /// P2: a log line with the fingerprint.
    pub log: Option<LogSource>,
    /// P2: a metric with the fingerprint.
    pub metric: Option<MetricSource>,
    /// P1 or P0, by name only.
    pub orchestrator: Option<OrchestratorLevel>,
    /// Drain: how many sessions were opened under each key.
    pub counter: Option<CounterSource>,
    /// 401 and 5xx against their baseline.
    pub error_rate: Option<ErrorRateRule>,
}

/// A JSON endpoint in which a member reports its keys.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Report {
    /// Its path.
    pub path: String,
    /// JSON pointer to the active key's fingerprint.
    pub active: String,
    /// JSON pointer to the list of accepted fingerprints.
    pub accept: String,
    /// JSON pointer to the time at which the keys were loaded.
    pub loaded_at: String,
    /// JSON pointer to the boot id.
    pub boot: String,
    /// JSON pointer to the worker's name.
    pub worker: String,
    /// How long a member has to answer.
    pub timeout: Period,
}

/// A log line with the fingerprint.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LogSource {
    /// With the named group `active`, and where it is told `accept`, `boot` and `worker`.
    pub pattern: Pattern,
    /// Where the lines are.
    pub source: LogWhere,
}

/// Where a member's log is. `{member}` and `{boot}` stand for its names.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum LogWhere {
    /// A file.
    File(FilePath),
    /// What a command prints.
    #[serde(rename_all = "camelCase")]
    Command {
        /// Program and arguments.
        argv: NonEmpty<String>,
        /// The folder in which it runs: that of the file.
        working_directory: FilePath,
    },
}

/// A metric with the fingerprint.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MetricSource {
    /// The path of the exposition.
    pub path: String,
    /// The metric's name.
    pub name: String,
    /// The label that holds the fingerprint.
    pub key_label: String,
    /// The label that holds `active` or `accept`.
    pub state_label: String,
    /// How long a member has to answer.
    pub timeout: Period,
}

/// What the orchestrator is believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_enums, reason = "an orchestrator proves P1 or P0")]
pub enum OrchestratorLevel {
    /// The rollout is complete.
    P0,
    /// Each member started after the version became visible.
    P1,
}

/// A counter of sessions opened, by key.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CounterSource {
    /// The path of the exposition.
    pub path: String,
    /// The counter's name.
    pub name: String,
    /// The label that names the key: by its fingerprint, or in the profile's own way.
    pub key_label: String,
    /// How often it is read.
    pub every: Period,
    /// How long a member has to answer.
    pub timeout: Period,
}

/// How many failed requests are too many.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ErrorRateRule {
    /// The path of the exposition.
    pub path: String,
    /// The counter of requests.
    pub name: String,
    /// The label that holds the status.
    pub status_label: String,
    /// How far the share of 401 and 5xx may rise above its baseline.
    pub threshold: Permille,
    /// Over what time the baseline and the rate are taken.
    pub over: Period,
    /// What follows.
    pub then: OnErrors,
    /// How long a member has to answer.
    pub timeout: Period,
}

/// What follows when too many requests fail.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "stop, or stop and go back")]
pub enum OnErrors {
    /// The roll halts and a person is asked.
    #[default]
    Halt,
    /// The roll halts and the rotation is rolled back.
    RollBack,
}
