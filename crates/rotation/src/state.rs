//! What a rotation is: its mode, its stage, the step within it, and everything that it has to remember.
//!
//! There is no "previous stage" and no history here. What a step needs from the past (that promotion was attempted,
//! when a gate was passed) stands in a field of its own, because a process may die between any two effects.

use std::collections::BTreeSet;

use keyroll_keyring::KeyId;
use serde::{Deserialize, Serialize};

use crate::gate::Unproven;
use crate::{Attempt, DrainObservation, Millis, Settings, StoreIndex, WorldConfiguration};

/// How a rotation begins.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// The mode.
    pub mode: Mode,
    /// The key in use.
    pub outgoing: KeyId,
    /// The candidate's id: greater than every id ever used, or the standby candidate's.
    pub incoming: KeyId,
    /// Whether the candidate already stands in the stores as an accept-only standby.
    pub candidate: Candidate,
    /// Which keys are compromised now. With emergencies the outgoing key is.
    pub compromised: BTreeSet<KeyId>,
    /// What each store holds now, in the configuration's order. All must be equal in a valid present world.
    pub stores: Vec<WorldConfiguration>,
    /// The decisions taken before.
    pub settings: Settings,
    /// When.
    pub now: Millis,
}

/// Where the candidate comes from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "it is new or it is the standby")]
pub enum Candidate {
    /// To be generated.
    Fresh,
    /// The accept-only key that the last rotation left.
    Standby,
}

/// A rotation: everything that the machine knows. Key bytes and names of members are elsewhere.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The mode.
    pub mode: Mode,
    /// Forward or back.
    pub direction: Direction,
    /// The stage.
    pub stage: Stage,
    /// Where within it.
    pub step: Step,
    /// The key that will mint when all is done.
    pub incoming: KeyId,
    /// The key that will be gone when all is done.
    pub outgoing: KeyId,
    /// Accepted keys that were there before and stay.
    pub others: BTreeSet<KeyId>,
    /// Whether `incoming` was generated for this rotation or stood in the stores before it.
    pub candidate: Candidate,
    /// Keys in other hands.
    pub compromised: BTreeSet<KeyId>,
    /// Keys whose material is destroyed.
    pub destroyed: BTreeSet<KeyId>,
    /// Whether a write that promotes `incoming` was ever intended, in this direction or before it was turned round.
    pub promotion_attempted: bool,
    /// What each store was last known to hold.
    pub stores: Vec<WorldConfiguration>,
    /// What allows the next write.
    pub permit: Permit,
    /// Whether every member was proven to accept both keys, and nothing has happened since that could have changed it.
    pub trust: Trust,
    /// The last reload of this rotation. It never starts again from one, because a reload is known by its number.
    pub reloads: Attempt,
    /// How many of them this stage has had.
    pub stage_reloads: u32,
    /// When a store was last written, or last found as expected after a foreign hand had been in it. Settle counts from here.
    pub written_at: Option<Millis>,
    /// The start of the drain, by the store's clock.
    pub t0: Option<Millis>,
    /// The last look at the drain, whatever it showed.
    pub drain_seen: Option<DrainSeen>,
    /// The evidence that ended the drain.
    pub drained: Option<DrainObservation>,
    /// By how much `--extend-drain` made the drain longer.
    pub drain_extension: Millis,
    /// How many sessions under the outgoing key may be lost, by `--accept-loss`: so often may one have been opened.
    pub accepted_loss: Option<u64>,
    /// Whether a person gave the rotation up in sight of a foreign write, before it had written anything itself.
    pub abandoned: Abandoned,
    /// When the rotation was closed.
    pub closed_at: Option<Millis>,
    /// Why it stands still, if a person or a foreign write stopped it.
    pub halt: Option<Halt>,
    /// The members that the last sweep left unproven.
    pub unproven: Vec<Unproven>,
    /// When the last sweep that did not pass ended; the next one waits a moment.
    pub swept_at: Option<Millis>,
    /// The decisions.
    pub settings: Settings,
}

/// What allows the next write: a gate that was passed a moment ago, or nothing at all where none is needed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(tag = "permit", rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::exhaustive_enums, reason = "a write needs no gate, or its gate was passed, or it was not")]
pub enum Permit {
    /// The write is safe without a gate before it: it only adds, or goes back to what everybody accepts, or is a cutover.
    Free,
    /// The gate before it has to be passed (again).
    Needed,
    /// The gate before it was passed.
    Passed {
        /// When the sweep that passed it ended.
        at: Millis,
    },
}

/// Whether both keys are accepted everywhere. While they are, either may be promoted without further proof; that is what
/// makes a rollback quick.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "it is proven or it is not")]
pub enum Trust {
    /// Not proven, or no longer.
    Unproven,
    /// Proven on every member.
    BothEverywhere,
}

/// Whether a person gave a rotation up in sight of a foreign write. What applications read is then none of its business.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "somebody did or nobody did")]
pub enum Abandoned {
    /// It goes on, or back.
    No,
    /// It only cleans up after itself.
    InSightOfForeignWrite,
}

/// A look at the drain and when it was taken.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainSeen {
    /// What was seen.
    pub observation: DrainObservation,
    /// When.
    pub at: Millis,
}

/// Why a rotation stands still until somebody acts.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Halt {
    /// `keyroll pause`.
    Paused,
    /// A store holds neither what was there before nor what was written.
    ForeignWrite {
        /// Which store.
        store: StoreIndex,
        /// What it was last known to hold.
        expected: WorldConfiguration,
        /// What it holds, where that can be told in known keys.
        found: Option<WorldConfiguration>,
    },
    /// A reload did not come back, or made requests fail.
    ReloadStopped {
        /// The member, if one did not come back; none where more requests failed than before.
        member: Option<crate::MemberIndex>,
    },
    /// Laggards stayed after every allowed attempt.
    LaggardsRemain,
}

/// The stages of the protocol. `Withdrawing` is the way back from `Accepting` where the incoming key never minted.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "the protocol names its stages")]
pub enum Stage {
    /// 1: opened, the plan recorded.
    Planned,
    /// 2: the candidate is being generated and stored.
    Staged,
    /// 3: (outgoing, A + incoming).
    Accepting,
    /// 4: (incoming, A + outgoing).
    Promoting,
    /// 5: T0 is stamped; sessions under the outgoing key run out.
    Draining,
    /// 6: (incoming, A), the outgoing key is no longer accepted.
    Retiring,
    /// 7: outgoing key disabled in the store, the record sealed, the lock released.
    Closing,
    /// Closed; the outgoing key is in escrow until its time has come, then destroyed.
    Escrow,
    /// Nothing is left to do.
    Finished,
    /// Back from `Accepting`: (outgoing, A), because the incoming key never minted.
    Withdrawing,
    /// One write (incoming, {incoming}): planned cutover, the second half of `accelerated`, and `hard-cutover`.
    CuttingOver,
}

/// How the rotation goes about it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Mode {
    /// The staged protocol: nobody is logged out.
    Staged,
    /// One write; sessions end; reversible.
    Cutover,
    /// Emergency: accept-only first, then one write.
    Accelerated,
    /// Emergency: one write.
    HardCutover,
    /// Only adds an accept-only candidate that the next rotation will promote.
    Standby,
}

/// Towards the incoming key, or back to where the rotation began.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "there is no third direction")]
pub enum Direction {
    /// Towards the candidate.
    Forward,
    /// A rollback. `incoming` is then the key that the rotation began with.
    Back,
}

/// Where within a stage the rotation stands.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Step {
    /// The stage has one action and waits for it (plan, stage, stamp, drain, close, destroy).
    Act,
    /// Writing the stage's configuration to the stores that do not have it yet.
    Write,
    /// Reloading members.
    Reload {
        /// Which attempt of this stage.
        attempt: Attempt,
        /// Everybody, or only who was unproven.
        scope: ReloadScope,
    },
    /// Asking every member.
    Gate,
}

/// Whom a reload touches.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "everybody or the laggards")]
pub enum ReloadScope {
    /// Everybody.
    All,
    /// Members that are not proven.
    Laggards,
}
