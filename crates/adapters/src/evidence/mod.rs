//! What proves that a member has a key.
//!
//! # Contract
//! - A question that got no clear answer is [`Answer::Unknown`], with a reason a person can act on; it is never a yes or a no.
//! - Every request goes to the member's own address over a fresh connection, never through a load balancer.
//! - No session, cookie or credential that is sent appears in a log, an error text or an answer.

mod ask;
pub mod conformance;
mod drain;
mod error_rate;
mod log;
mod login;
mod look;
mod metric;
mod orchestrator;
mod probe;
mod prometheus;
mod report;
mod request;
mod self_report;
mod session_count;
#[cfg(test)]
mod testing;
mod workers;

pub use ask::ask_all;
pub use drain::{CountsAt, DrainScrape};
pub use error_rate::{ErrorRates, RequestCounts, Traffic};
pub use log::{LogConfig, LogSource, LogWitness};
pub use login::{Capture, CaptureFrom, LoginBody, LoginConfig, LoginStep, LoginWitness};
pub use look::{HeaderLook, Look, Reissue, StatusSet, TextLook};
pub use metric::{MetricConfig, MetricWitness};
pub use orchestrator::{Orchestrator, Reads};
pub use probe::{
    Calibration, LIKE_EVERY_OTHER, OPENS_UNDER_NONE, PROVES_NOTHING, Payload, Probe, ProbeConfig, Verdict,
};
pub use report::{ReportConfig, ReportWitness};
pub use request::{Credential, EvidenceConfigError, HttpAccess, RequestValue};
pub use session_count::{SessionCount, SessionCountError};
pub use workers::Workers;

use std::sync::Arc;

use async_trait::async_trait;
use keyroll_keyring::{Fingerprint, Key, KeyId};
use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::fleets::{Member, MemberId};

/// A way to learn what a member can do with keys.
#[async_trait]
pub trait Witness: Send + Sync {
    /// What it is, and the level of what it proves.
    fn describe(&self) -> WitnessDescription;

    /// Asks one member about keys. Failures are testimony too (`Unknown`); this never fails as a whole.
    async fn ask(&self, member: &Member, question: &Question<'_>) -> Testimony;
}

/// A way to learn whether sessions under a key are still in use.
#[async_trait]
pub trait DrainWitness: Send + Sync {
    /// One reading of every series, from one member. `None` where the member shows no such series.
    async fn read(&self, member: &Member) -> Result<Option<OpenedCounts>, EvidenceError>;
}

/// What a witness is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct WitnessDescription {
    /// The kind, as `keyroll.yaml` writes it.
    pub kind: &'static str,
    /// The level of its proof.
    pub level: Level,
    /// Whether it can tell accepting and rejecting.
    pub tells_accepts: bool,
    /// Whether it can tell the minting key.
    pub tells_mints: bool,
}

/// The levels of proof, P0 to P3.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "the protocol names four levels")]
pub enum Level {
    /// The orchestrator says so.
    P0,
    /// Started after the version became visible.
    P1,
    /// The process itself reports it.
    P2,
    /// Shown by a session that was sent or minted.
    P3,
}

/// Which keys a member is asked about.
pub struct Question<'a> {
    /// Each key with its material (for probes) and its fingerprint (for reports), if it has one.
    pub keys: Vec<AskedKey<'a>>,
    /// Keys that no session may be minted under for this question, because it would count as use of a key that drains. What
    /// the member itself mints is still opened with them, and its own report about them still counts.
    pub open_only: Vec<AskedKey<'a>>,
    /// A key under which nothing was ever minted: a session under it must be rejected, or the answer proves nothing.
    pub decoy: &'a Key,
    /// Sessions that were captured by a scripted login on other members, to be replayed on this one.
    pub captured: Vec<Arc<CapturedSession>>,
    /// When it is now.
    pub now: Timestamp,
}

/// One key of a question.
pub struct AskedKey<'a> {
    /// The key.
    pub key: &'a Key,
    /// Its fingerprint; none for a key too weak to have one.
    pub fingerprint: Option<&'a Fingerprint>,
}

/// A session that a member minted for a scripted login. The token is a secret.
pub struct CapturedSession {
    /// The cookie's value as it was set.
    pub token: keyroll_keyring::Secret,
    /// Under which key it opens, where a codec can tell.
    pub key: Option<KeyId>,
    /// Who minted it.
    pub minter: MemberId,
}

/// What a member showed.
#[derive(Default)]
pub struct Testimony {
    /// One entry for each thing that was learned or asked in vain.
    pub statements: Vec<Statement>,
    /// What the member minted, for replay elsewhere.
    pub captured: Vec<Arc<CapturedSession>>,
    /// The worker processes that answered, where they name themselves, with how many answers each.
    pub workers: Vec<(String, u32)>,
    /// Where worker processes do not name themselves and there are several: the probability that one certain stale one was
    /// never met.
    pub residual: Option<f64>,
    /// What came of each session of [`Question::captured`] that was replayed, also where no key of it is known.
    pub replayed: Vec<Replayed>,
    /// The requests that were made to learn this: the member counts them too, and a probe is often meant to be refused.
    pub sent: Traffic,
}

/// What came of replaying a session that another member minted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Replayed {
    /// Under which key it opens, where a codec can tell.
    pub key: Option<KeyId>,
    /// Whether it was accepted.
    pub answer: Answer,
    /// In words.
    pub detail: String,
}

/// One statement about one key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Statement {
    /// About which key.
    pub key: KeyId,
    /// What it says.
    pub subject: Subject,
    /// Yes, no or unknown.
    pub answer: Answer,
    /// The level of proof.
    pub level: Level,
    /// In words, for people: status codes, header names, figures. Never a token.
    pub detail: String,
}

/// What a statement is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "a key mints and opens, nothing else")]
pub enum Subject {
    /// The member opens sessions under the key.
    Accepts,
    /// The member mints under the key.
    Mints,
}

/// A three-valued answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "three-valued logic has three values")]
pub enum Answer {
    /// Shown to be so.
    Yes,
    /// Shown not to be so.
    No,
    /// Not known.
    Unknown,
}

/// How many sessions a member opened under each key since it started.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenedCounts {
    /// When it was read.
    pub at: Timestamp,
    /// Which run of the member counted.
    pub boot: crate::fleets::BootId,
    /// When that run began, where the member tells it beside its counts. By the member's clock; two runs differ in it.
    pub started_at: Option<Timestamp>,
    /// By the label that the member gives each key (a fingerprint, or the profile's own label).
    pub by_label: Vec<(String, u64)>,
}

/// Why evidence could not be gathered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The member did not answer.
    #[error("`{member}` did not answer: {reason}")]
    NoAnswer {
        /// Which member.
        member: String,
        /// Why, in words that can be acted on.
        reason: String,
    },
    /// The answer is not what it should be.
    #[error("`{member}` gave an answer that can't be understood: {reason}")]
    Garbled {
        /// Which member.
        member: String,
        /// What is wrong with it.
        reason: String,
    },
}
