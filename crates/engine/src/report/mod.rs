//! What people and machines are shown: notices, status, waits. Nothing in here can hold key bytes.

use keyroll_adapters::stores::StoreDescription;
use keyroll_keyring::{Fingerprint, KeyId, KeyState};
use keyroll_rotation::gate::{Answer, GateName, Readiness};
use keyroll_rotation::{Direction, Mode, RotationId, Stage};
use serde::{Deserialize, Serialize};

use crate::journal::Why;
use crate::outcome::ExitKind;
use crate::world::lock::LockHolder;

mod plan;

pub use self::plan::{KeySessions, PlanDocument, PlannedStep};

/// The version of every document that is printed as JSON.
pub const SCHEMA_VERSION: u32 = 1;

/// Takes progress. Called from the driver's task, so it should return at once.
pub trait Observer: Send + Sync {
    /// Something happened that an operator who watches wants to see.
    fn notice(&self, notice: &Notice);
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn notice(&self, _notice: &Notice) {}
}

/// Progress.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "notice", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Notice {
    /// A rotation was opened, or an open one was taken up again.
    TakenUp {
        /// Which.
        rotation: RotationId,
        /// How.
        mode: Mode,
        /// Where it stands.
        stage: Stage,
        /// Opened now or resumed.
        resumed: Resumed,
    },
    /// The rotation has entered a stage.
    StageEntered {
        /// Which.
        stage: Stage,
        /// Where it is going.
        direction: Direction,
    },
    /// The driver does something, in words.
    Doing {
        /// What.
        what: String,
    },
    /// A member is being reloaded.
    Reloading {
        /// Whom.
        member: String,
        /// How many of this roll are done.
        done: usize,
        /// How many there are.
        of: usize,
    },
    /// A sweep is complete.
    Swept {
        /// For which gate.
        gate: GateName,
        /// Members that showed all that is demanded.
        proven: usize,
        /// All members.
        of: usize,
        /// The others, by name.
        unproven: Vec<UnprovenMember>,
    },
    /// It waits.
    Waiting(WaitReport),
    /// A transient failure; it is tried again.
    Retrying {
        /// What failed, and why.
        what: String,
        /// In how many milliseconds.
        after_ms: u64,
    },
    /// Something that an operator should know and that stops nothing.
    Caution {
        /// What.
        what: String,
    },
    /// The whole picture changed; for a live view.
    Status(Box<Status>),
}

/// Whether a rotation is new.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "opened now or before")]
pub enum Resumed {
    /// Opened now.
    New,
    /// Opened before, by this or another operator.
    Continued,
}

/// Why it waits, with figures and names.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct WaitReport {
    /// The stage, as `words::stage` writes it.
    pub stage: String,
    /// Who said no; never empty.
    pub naysayers: Vec<NaysayerReport>,
    /// When it is worth to come back, if that is known.
    pub come_back_at: Option<jiff::Timestamp>,
}

/// One who said no.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct NaysayerReport {
    /// One of the five.
    pub who: Who,
    /// What is missing, in one sentence with figures.
    pub text: String,
    /// The gate, if one is concerned.
    pub gate: Option<GateName>,
    /// The members, if some are concerned.
    pub members: Vec<UnprovenMember>,
    /// When it ends, if that is known.
    pub until: Option<jiff::Timestamp>,
}

/// Members that were shown to reject a key.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct KeyRejected {
    /// The key.
    pub key: KeyId,
    /// Every member that rejected a session under it when the gate passed; who was only believed to is not among them.
    pub members: Vec<String>,
}

/// Who says no, in the protocol's five words.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "the protocol names five")]
pub enum Who {
    /// Not due, or outside of the window.
    Policy,
    /// An invariant of the next world.
    Safety,
    /// Members or counters.
    Evidence,
    /// Time.
    Time,
    /// A person.
    Human,
}

/// A member that did not show what it must.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct UnprovenMember {
    /// Its name; none where the whole fleet or a consumer is meant.
    pub member: Option<String>,
    /// The consumer that it belongs to.
    pub consumer: Option<String>,
    /// What is missing, in words.
    pub why: String,
}

/// The whole picture, without secrets. Also the content of `status.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Status {
    /// [`SCHEMA_VERSION`].
    #[serde(rename = "schema_version", alias = "schemaVersion")]
    pub schema_version: u32,
    /// The key's name in `keyroll.yaml`.
    pub name: String,
    /// When this picture was taken.
    pub taken_at: jiff::Timestamp,
    /// Whether a process that drives wrote it, or it was read from the stores.
    pub source: StatusSource,
    /// The rotation, if one is open.
    pub rotation: Option<RotationStatus>,
    /// Every key that is not destroyed, newest first.
    pub keys: Vec<KeyStatus>,
    /// Every member that the last sweep listed.
    pub members: Vec<MemberStatus>,
    /// Why it waits, if it does.
    pub wait: Option<WaitReport>,
    /// Who drives it now.
    pub lock: Option<LockHolder>,
    /// Requests that are waiting to be taken.
    pub requests: Vec<String>,
    /// The stores.
    pub stores: Vec<StoreStatus>,
}

/// Where a status comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "there is no third source")]
pub enum StatusSource {
    /// A process on this machine that drives, or drove last.
    Driver,
    /// The stores' stamps.
    Stores,
}

/// An open rotation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RotationStatus {
    /// Its id.
    pub id: RotationId,
    /// How.
    pub mode: Mode,
    /// Forward or back.
    pub direction: Direction,
    /// The stage.
    pub stage: Stage,
    /// What it does in it, in words.
    pub step: String,
    /// The key that comes.
    pub incoming: KeyId,
    /// The key that goes.
    pub outgoing: KeyId,
    /// When it was opened.
    pub opened_at: jiff::Timestamp,
    /// By whom.
    pub opened_by: String,
    /// Why.
    pub why: Why,
    /// T0.
    pub t0: Option<jiff::Timestamp>,
    /// The gate of the stage.
    pub gate: Option<GateName>,
    /// Why it stands still, if it does.
    pub halt: Option<String>,
}

/// One key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct KeyStatus {
    /// Its id.
    pub id: KeyId,
    /// Its fingerprint; none for a key that is too weak to have one.
    pub fingerprint: Option<Fingerprint>,
    /// Its state, in NIST's words.
    pub state: KeyState,
    /// Written, or proven on every member.
    pub reach: Reach,
    /// When it is destroyed, for a key in escrow.
    pub destroy_after: Option<jiff::Timestamp>,
}

/// How far a key's state has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "the protocol names two; before them a key is hidden, and after them gone")]
pub enum Reach {
    /// No store holds it any more.
    Gone,
    /// Only the store holds it: a candidate, or a key in escrow.
    StoreOnly,
    /// Written, not yet proven.
    Rumoured,
    /// Proven on every member.
    Everywhere,
}

/// One member.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MemberStatus {
    /// The consumer.
    pub consumer: String,
    /// Its name.
    pub member: String,
    /// The worker process, where it names itself.
    pub worker: Option<String>,
    /// Whether it can be asked.
    pub readiness: Readiness,
    /// What it showed for each key.
    pub keys: Vec<MemberKey>,
}

/// What a member showed for one key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MemberKey {
    /// The key.
    pub key: KeyId,
    /// Whether it opens sessions under it.
    pub accepts: Answer,
    /// Whether it mints under it.
    pub mints: Answer,
    /// In words.
    pub detail: String,
}

/// One store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StoreStatus {
    /// The kind.
    pub kind: String,
    /// Which.
    pub location: String,
    /// The active key, if it is known.
    pub active: Option<KeyId>,
    /// The other accepted keys.
    pub accept_only: Vec<KeyId>,
    /// What it said, if it could not be read.
    pub problem: Option<String>,
}

impl StoreStatus {
    pub(crate) fn of(description: &StoreDescription) -> Self {
        Self {
            kind: description.kind.to_owned(),
            location: description.location.clone(),
            active: None,
            accept_only: Vec::new(),
            problem: None,
        }
    }
}

/// What preflight found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PreflightReport {
    /// [`SCHEMA_VERSION`].
    #[serde(rename = "schema_version")]
    pub schema_version: u32,
    /// Every check, in the order in which it was made.
    pub checks: Vec<Check>,
}

impl PreflightReport {
    /// Whether a rotation may begin: no check is red, and none that must be green is unknown.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| matches!(check.colour, Colour::Green | Colour::Advice))
    }

    /// The exit code's meaning. A foreign write is what there is to decide first, whatever else is red.
    pub fn exit(&self) -> ExitKind {
        match self.passed() {
            true => ExitKind::Done,
            false if self.checks.iter().any(Check::is_drift) => ExitKind::Drift,
            false => ExitKind::PreflightFailed,
        }
    }
}

/// One check.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Check {
    /// Its name, stable, as `probe.calibration`.
    pub name: String,
    /// Its object: a store, a member ...
    pub object: Option<String>,
    /// What came of it.
    pub colour: Colour,
    /// What was found, in words.
    pub found: String,
    /// What to do, where something is to be done.
    pub fix: Option<String>,
}

impl Check {
    /// The name of the check that says that a store is not as the record has it.
    pub(crate) const RECORD: &str = "keys.record";

    fn is_drift(&self) -> bool {
        self.name == Self::RECORD
    }
}

/// What came of a check.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "green, advice, unknown, red")]
pub enum Colour {
    /// Good.
    Green,
    /// Good enough; an operator should know.
    Advice,
    /// It could not be found out. That is not green.
    Unknown,
    /// A rotation would go wrong.
    Red,
}

/// What `verify` found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct VerifyReport {
    /// [`SCHEMA_VERSION`].
    #[serde(rename = "schema_version")]
    pub schema_version: u32,
    /// Every check on every member.
    pub checks: Vec<Check>,
    /// The members, as they answered.
    pub members: Vec<MemberStatus>,
}

impl VerifyReport {
    /// Whether every member showed everything that it must.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| matches!(check.colour, Colour::Green | Colour::Advice))
    }
}
