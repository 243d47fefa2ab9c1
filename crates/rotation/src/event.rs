//! What the driver tells the machine: what came of an effect, what the world shows, and what people decided.

use std::collections::BTreeSet;

use keyroll_keyring::KeyId;
use serde::{Deserialize, Serialize};

use crate::gate::Sweep;
use crate::{Millis, Mode, Rotation, Stage, StoreIndex, WorldConfiguration};

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
    /// The stores were read: on resume, before each write, and before a rollback or a revocation is applied. `None`
    /// where a store holds keys that nobody knows.
    WorldObserved {
        /// In the configuration's order.
        stores: Vec<Option<WorldConfiguration>>,
        /// When, by the store's clock. A write that is found done counts from here, which is late and safe.
        at: Millis,
    },
    /// Somebody else wrote to a store, by its version, and what it holds is as expected: a change and its undoing can't
    /// be told from no change, so what was proven is proven again and T0 is stamped anew. Not for a move of which it is
    /// known that it touched siblings only.
    Disturbed {
        /// When it was noticed, by the store's clock.
        at: Millis,
    },
    /// A person looked at a foreign write and decides to go on from what it left: both keys are trusted again and
    /// proven again. Refused where a store holds a key that the rotation does not know.
    ForeignWriteAdopted {
        /// What each store holds now, in the configuration's order.
        stores: Vec<WorldConfiguration>,
        /// When, by the store's clock.
        at: Millis,
    },
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
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// `Accelerated` or `HardCutover`.
    pub mode: Mode,
    /// What leaked.
    pub compromised: BTreeSet<KeyId>,
    /// An unused id, for the case that no uncompromised key is left.
    pub fresh: KeyId,
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
        /// How often a session was opened under the outgoing key in it. Visits, not sessions: one session may be many.
        opened: u64,
        /// Covered member-milliseconds per thousand of what there was.
        coverage_permille: u16,
        /// At least the idle lifetime, where use extends a session without re-sealing it.
        window_at_least: Millis,
    },
    /// How often sessions were opened under each of the two keys, over one window; for unbounded lifetimes, where silence
    /// proves nothing. A session that was re-issued is opened under the incoming key from then on.
    Reissued {
        /// Opened under the incoming key.
        reissued: u64,
        /// Opened under the outgoing key.
        remaining: u64,
    },
    /// The declared lifetime has passed, and the configuration names that as enough. Recorded by the machine.
    LifetimeElapsed {
        /// When it had passed.
        at: Millis,
    },
    /// A missing series, a reset, a missing member.
    Inconclusive {
        /// In words.
        reason: String,
    },
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
