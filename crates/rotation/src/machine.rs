//! The machine: what a rotation is, what to do next, and what follows from what happened.
//!
//! Nothing here remembers an order of calls: [`Rotation::next`] is a function of the state alone. That is why a process
//! may die anywhere.

use std::collections::BTreeSet;

use keyroll_keyring::KeyId;
use serde::{Deserialize, Serialize};

use crate::gate::{EvidenceRule, Gate, Sweep, Unproven};
use crate::{Attempt, Millis, StoreIndex, Wait, WorldConfiguration};

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

/// What the configuration file and the operator decided before the rotation was opened.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// How long a member could still boot from an older version.
    pub settle: Millis,
    /// The longest life of anything sealed with the key; `None` is unbounded.
    pub max_lifetime: Option<Millis>,
    /// Added to the lifetime: clock skew and request time.
    pub leeway: Millis,
    /// What ends the drain.
    pub drain: DrainRule,
    /// The longest wait for positive drain evidence before the rotation holds for a person.
    pub drain_limit: Option<Millis>,
    /// How long the outgoing key stays in escrow.
    pub escrow: Millis,
    /// The weakest proof a gate takes.
    pub evidence: EvidenceRule,
    /// How often laggards are reloaded again before a person is asked.
    pub reload_attempts: u32,
    /// Whether members re-read the key by themselves (then nothing is reloaded).
    pub reload: ReloadNeed,
}

/// Whether members need a reload to take up a new configuration.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "a member re-reads or it does not")]
pub enum ReloadNeed {
    /// Restart or signal.
    Needed,
    /// They re-read by themselves.
    HotReload,
}

/// What must be shown before the outgoing key is retired, besides the time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum DrainRule {
    /// No session was opened under it over the window.
    Counter,
    /// A full scan finds no row under it.
    Rows,
    /// The declared lifetime alone, by name.
    Lifetime,
}

/// One look at the drain.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DrainObservation {
    /// Counters over a window.
    Counter {
        /// When the window began.
        from: Millis,
        /// When it ended.
        until: Millis,
        /// Sessions opened under the outgoing key in it.
        opened: u64,
        /// Covered member-milliseconds per thousand of what there was.
        coverage_permille: u16,
        /// At least the idle lifetime, where use extends a session without re-sealing it.
        window_at_least: Millis,
    },
    /// A full scan of the rows.
    Rows {
        /// Rows under the outgoing key.
        remaining: u64,
    },
    /// A missing series, a reset, a missing member.
    Inconclusive {
        /// In words.
        reason: String,
    },
}

/// How a rotation begins.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
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
    /// Keys in other hands.
    pub compromised: BTreeSet<KeyId>,
    /// Keys whose material is destroyed.
    pub destroyed: BTreeSet<KeyId>,
    /// Whether a write that promotes `incoming` was ever intended, in this direction or before it was turned round.
    pub promotion_attempted: bool,
    /// What each store was last known to hold.
    pub stores: Vec<WorldConfiguration>,
    /// When the last store was written in this stage.
    pub written_at: Option<Millis>,
    /// The start of the drain, by the store's clock.
    pub t0: Option<Millis>,
    /// The evidence that ended the drain, in words for the record.
    pub drained: Option<DrainObservation>,
    /// How many sessions under the outgoing key may be lost, by `--accept-loss`.
    pub accepted_loss: Option<u64>,
    /// When the rotation was closed.
    pub closed_at: Option<Millis>,
    /// Why it stands still, if a person or a foreign write stopped it.
    pub halt: Option<Halt>,
    /// The members that the last sweep left unproven.
    pub unproven: Vec<Unproven>,
    /// The decisions.
    pub settings: Settings,
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
    /// A reload did not come back.
    ReloadStopped {
        /// The member, if one is to blame.
        member: Option<crate::MemberIndex>,
    },
    /// Laggards stayed after every allowed attempt.
    LaggardsRemain,
}

/// What the driver does next.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "do, wait or done")]
pub enum Next {
    /// Carry this out, then [`Rotation::apply`] what came of it.
    Do(Effect),
    /// Nothing can be done now.
    Wait(Wait),
    /// The rotation is finished.
    Done,
}

/// One thing for the driver to carry out. Each may be carried out twice.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Effect {
    /// Generate the candidate unless one is found for this rotation; store it; read it back.
    StageCandidate {
        /// Its id.
        key: KeyId,
    },
    /// Write a configuration to one store, by compare-and-swap.
    Write {
        /// Which store.
        store: StoreIndex,
        /// What it must hold before.
        before: WorldConfiguration,
        /// What it holds afterwards.
        after: WorldConfiguration,
    },
    /// Reload members; each is proven by the gate's demands before the next one reloads.
    Reload {
        /// Which attempt of this stage.
        attempt: Attempt,
        /// Whom.
        scope: ReloadScope,
        /// What a reloaded member must show.
        prove: Gate,
    },
    /// List, ask, list again.
    Sweep {
        /// What is demanded.
        gate: Gate,
    },
    /// Stamp T0 by the store's clock, key bytes unchanged.
    StampT0,
    /// Look at the drain's evidence.
    ObserveDrain {
        /// The key that drains.
        key: KeyId,
        /// Since when.
        since: Millis,
    },
    /// Move the outgoing key to escrow (or destroy it at once, where it is compromised) and seal the record.
    Close {
        /// Which key leaves.
        key: KeyId,
        /// Until when it is kept; `None` destroys it now.
        escrow_until: Option<Millis>,
    },
    /// Destroy what is in escrow.
    Destroy {
        /// Which key.
        key: KeyId,
    },
    /// Remove a candidate that never minted.
    DiscardCandidate {
        /// Which key.
        key: KeyId,
    },
}

/// What happened.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Event {
    /// Preflight was green and the plan still holds.
    PreflightPassed,
    /// The candidate stands in the store and was read back equal.
    CandidateStored,
    /// A store holds the stage's configuration.
    Written {
        /// Which.
        store: StoreIndex,
        /// When, by that store's clock.
        at: Millis,
    },
    /// Every member in scope was reloaded.
    Reloaded,
    /// A member did not come back; the roll was stopped.
    ReloadStopped {
        /// Which, if one is to blame.
        member: Option<crate::MemberIndex>,
    },
    /// A sweep is complete.
    Swept(Sweep),
    /// T0 is in the stamp.
    Stamped {
        /// T0, by the store's clock.
        t0: Millis,
    },
    /// The drain was looked at.
    DrainObserved {
        /// What was seen.
        observation: DrainObservation,
        /// When.
        now: Millis,
    },
    /// The outgoing key is in escrow or gone, the record sealed.
    Closed {
        /// When.
        now: Millis,
    },
    /// The escrowed key is gone.
    Destroyed,
    /// The candidate is gone.
    CandidateDiscarded,
    /// The stores were read (on resume, and before each write). `None` where a store holds keys that nobody knows.
    WorldObserved {
        /// In the configuration's order.
        stores: Vec<Option<WorldConfiguration>>,
    },
    /// A member that could mint under the outgoing key appeared after T0, or T0 was lost.
    T0Voided,
    /// `pause`.
    Paused,
    /// `resume`, or a halt whose cause is gone.
    Resumed,
    /// `rollback`.
    RollbackRequested,
    /// `revoke`, in the middle of a rotation.
    Revoked(Revocation),
    /// `--accept-loss N`.
    LossAccepted {
        /// N.
        sessions: u64,
    },
    /// `--extend-drain D`.
    DrainExtended {
        /// D.
        by: Millis,
    },
    /// `--evidence weak`, for this rotation.
    WeakEvidenceAccepted,
    /// `reload --laggards`: another attempt on purpose.
    LaggardReloadRequested,
}

/// An emergency that supersedes a rotation in flight.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Revocation {
    /// `Accelerated` or `HardCutover`.
    pub mode: Mode,
    /// What leaked.
    pub compromised: BTreeSet<KeyId>,
    /// An unused id, for the case that no uncompromised key is left.
    pub fresh: KeyId,
}

/// What an event led to.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the state and nothing else")]
pub struct Applied {
    /// The new state.
    pub rotation: Rotation,
}

/// Why an event does not fit the state. The state is unchanged.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Illegal {
    /// The event makes no sense here.
    #[error("`{event}` does not fit stage `{stage:?}`")]
    OutOfPlace {
        /// The event's name.
        event: &'static str,
        /// The stage.
        stage: Stage,
    },
    /// An invariant of the protocol forbids it.
    #[error("{invariant} forbids it: {reason}")]
    Invariant {
        /// As `I5`.
        invariant: &'static str,
        /// In words.
        reason: String,
    },
}

impl Rotation {
    /// Opens a rotation. Refused where the present world is not valid (I11) or the candidate's id was used before (I5).
    pub fn open(_opening: Opening) -> Result<Self, Illegal> {
        todo!()
    }

    /// What to do now. A function of the state and the time only.
    pub fn next(&self, _now: Millis) -> Next {
        todo!()
    }

    /// Takes what happened. All transitions stand in one match.
    pub fn apply(&self, _event: &Event) -> Result<Applied, Illegal> {
        todo!()
    }

    /// The gate of the stage, if it has one.
    pub fn gate(&self) -> Option<Gate> {
        todo!()
    }

    /// The configuration that the stage writes, if it writes one.
    pub fn target(&self) -> Option<WorldConfiguration> {
        todo!()
    }
}
