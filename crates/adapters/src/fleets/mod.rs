//! What must reload.
//!
//! # Contract
//! - [`Fleet::members`] lists every process that may have read the key, ready or not, live, never from a cache.
//! - A restarted member has another [`BootId`].
//! - [`Fleet::reload`] with a request that was carried out before does nothing (a reload is named by its [`ReloadId`]
//!   and member).
//! - An empty list is an answer ("nobody is there"), a failure to list is an error; they are never confused.

mod command;
pub mod conformance;
mod process;
mod static_list;

pub use command::{CommandConfig, CommandConfigError, CommandFleet, CommandLine};
pub use process::{HealthCheck, ProcessConfig, ProcessConfigError, ProcessFleet, ProcessMember, StopSignal};
pub use static_list::StaticFleet;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::Timestamp;
use crate::stores::BoxError;

/// A group of members that share a key and reload in the same way.
#[async_trait]
pub trait Fleet: Send + Sync {
    /// What this fleet is and how it reloads.
    fn describe(&self) -> FleetDescription;

    /// Everybody, now.
    async fn members(&self) -> Result<Vec<Member>, FleetError>;

    /// Asks for a reload. Returns when it was taken up, not when the member is back: the caller lists and proves.
    async fn reload(&self, request: &ReloadRequest) -> Result<ReloadOutcome, FleetError>;

    /// What this run of a member has printed so far, or the end of it where that is very much.
    ///
    /// A fleet that does not keep what its members print says so by this default, which proves nothing.
    async fn output(&self, member: &Member) -> Result<Option<Vec<u8>>, FleetError> {
        let _ = member;
        Ok(None)
    }
}

/// What a fleet is, for plans and preflight.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct FleetDescription {
    /// The kind, as `keyroll.yaml` writes it.
    pub kind: &'static str,
    /// Which one, in words that an operator recognises.
    pub location: String,
    /// How it reloads.
    pub reload: ReloadStyle,
    /// What an operator should know before a roll (one replica, no graceful stop ...).
    pub cautions: Vec<String>,
}

/// How a fleet reloads.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "one by one, as a whole, or never")]
pub enum ReloadStyle {
    /// Keyroll reloads member by member.
    PerMember,
    /// The orchestrator rolls the whole fleet by itself; members are observed meanwhile.
    Whole,
    /// Members re-read the key themselves.
    HotReload,
}

/// One process that may have read the key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its name, stable across restarts.
    pub id: MemberId,
    /// This run of it.
    pub boot: BootId,
    /// Where it answers; none for a worker.
    pub address: Option<Url>,
    /// How it is.
    pub state: MemberState,
    /// When this run began, if known.
    pub started_at: Option<Timestamp>,
    /// The names of its worker processes, where a preforking server tells them.
    pub workers: Vec<String>,
}

/// A member's name, stable across restarts.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberId(pub String);

/// One run of a member: pid and start time, container id, Pod uid.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub String);

impl BootId {
    /// The run of a member of which nobody tells when it starts again: the same name for every run.
    pub fn unknown() -> Self {
        Self(UNKNOWN_RUN.into())
    }

    /// Whether another run of the member would have another name.
    pub fn tells_runs_apart(&self) -> bool {
        self.0 != UNKNOWN_RUN
    }
}

/// How a member is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "complete: what is not known to be ready is unready")]
pub enum MemberState {
    /// Serving.
    Ready,
    /// Starting, crash-looping, failing its health check.
    Unready,
    /// On its way out, not gone yet, and somebody sees to it: whoever is terminating is waited for and not reloaded.
    Terminating,
    /// Known to have stopped and expected to be started: it holds no key.
    Down,
}

/// A request to reload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReloadRequest {
    /// Names the reload, so that a repeat is a no-op.
    pub id: ReloadId,
    /// Whom.
    pub target: ReloadTarget,
}

/// Rotation, stage and attempt in one text, such as `r-01J.../accepting/1`.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReloadId(pub String);

/// Whom a reload touches.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "one or all")]
pub enum ReloadTarget {
    /// One member, in the run that was listed; if it is another run by now, the reload has already happened.
    Member {
        /// Its name.
        id: MemberId,
        /// The run that is to end.
        boot: BootId,
    },
    /// The whole fleet, in the orchestrator's own way.
    All,
}

/// What came of a reload request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "done now or done before")]
pub enum ReloadOutcome {
    /// It was started now.
    Started,
    /// This request was carried out before, or the run that it names is gone.
    AlreadyDone,
}

/// Why a fleet did not answer or act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// The members can't be listed. That is not "no members".
    #[error("the members of {location} can't be listed")]
    List {
        /// Which fleet.
        location: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The members can't be listed just now; worth another try. That is not "no members" either.
    #[error("the members of {location} can't be listed just now")]
    Unavailable {
        /// Which fleet.
        location: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// A member did not take up the reload.
    #[error("`{member}` of {location} was not reloaded")]
    Reload {
        /// Which fleet.
        location: String,
        /// Which member, or `all`.
        member: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// A member could not be started or stopped.
    #[error("`{member}` of {location} was not {action}")]
    Control {
        /// Which fleet.
        location: String,
        /// Which member.
        member: String,
        /// `started` or `stopped`.
        action: &'static str,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// What a member printed can't be read.
    #[error("what `{member}` of {location} printed can't be read")]
    Output {
        /// Which fleet.
        location: String,
        /// Which member.
        member: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// There is no such member.
    #[error("{location} has no member `{member}`")]
    NoSuchMember {
        /// Which fleet.
        location: String,
        /// The name that was asked for.
        member: String,
    },
}

/// What a run is called that has no name of its own.
const UNKNOWN_RUN: &str = "unknown";
