//! What an entry says.
//!
//! Keys appear by id and fingerprint only. There is no variant that could hold key bytes, and none takes free bytes.

use jiff::Timestamp;
use keyroll_adapters::stores::Revision;
use keyroll_keyring::{Fingerprint, KeyId};
use keyroll_rotation::gate::{Claim, EvidenceRule, GateName};
use keyroll_rotation::{Effect, Epoch, Event, Halt, Millis, Mode, RotationId, Stage, StoreIndex};
use serde::{Deserialize, Serialize};

use super::{Anchor, EntryHash, Seq};
use crate::config::ConfigHash;

/// What happened, or is about to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Body {
    /// A rotation was opened.
    Opened {
        /// How it goes about it.
        mode: Mode,
        /// The key in use.
        outgoing: KeyMark,
        /// The candidate; without a fingerprint until it is stored.
        incoming: KeyMark,
        /// The configuration under which it was opened.
        config: ConfigHash,
        /// The hash of the plan that was approved, if there was one.
        plan: Option<String>,
        /// Why.
        why: Why,
    },
    /// This journal goes on where another machine's stopped.
    Continued {
        /// The other journal's last anchor, as the store's stamp has it.
        from: Anchor,
    },
    /// An effect is about to be carried out. It is on the disk before the effect.
    Intent {
        /// Which.
        effect: Effect,
        /// What the store holds before, for effects that write.
        before: Option<ConfigurationSight>,
        /// What it is to hold afterwards.
        after: Option<ConfigurationSight>,
    },
    /// An effect was carried out.
    Done {
        /// The number of its intent.
        intent: Seq,
        /// What the store holds now, for effects that write.
        now: Option<ConfigurationSight>,
        /// Whether it was done now, or found done on resume.
        how: Completion,
    },
    /// An effect failed. What the world looks like is read again before anything else is done.
    Failed {
        /// The number of its intent.
        intent: Seq,
        /// In words, without secrets.
        reason: String,
    },
    /// An event was applied to the rotation.
    Event {
        /// Which.
        event: Event,
    },
    /// A store was written by somebody else who left what Keyroll owns there as it was; the rotation goes on from the new
    /// version.
    Rebased {
        /// Which store.
        location: String,
    },
    /// A write is about to end all sessions under a key.
    SessionsEnd {
        /// Which key.
        key: KeyMark,
        /// How many are alive, if something counts them.
        sessions: Option<u64>,
    },
    /// What the driver knows now, so that a process that was killed is taken up where it stood. It is the stamp's content
    /// and holds no key bytes.
    State {
        /// The stamp, as the next write to a store will carry it.
        stamp: serde_json::Value,
    },
    /// A gate's sweep is complete.
    GateSwept {
        /// Which gate.
        gate: GateName,
        /// In which stage.
        stage: Stage,
        /// Whether it passed.
        outcome: GateOutcome,
        /// What was seen.
        evidence: GateEvidence,
    },
    /// A key's material is known by its fingerprint from now on.
    KeyIdentified {
        /// Which.
        key: KeyMark,
    },
    /// A person decided something.
    Human {
        /// What.
        action: HumanAction,
        /// Why.
        why: Why,
    },
    /// This process drives the rotation from now on.
    LockTaken,
    /// It does not any more.
    LockReleased,
    /// It drives in place of a holder that is dead.
    LockTakenOver {
        /// The holder before, as its lock named it.
        from: String,
        /// The holder's host.
        host: String,
        /// The epoch under which it drove.
        epoch: Epoch,
    },
    /// The head of this chain was written into a store's stamp.
    Anchored {
        /// Which store.
        store: StoreIndex,
        /// The number of the entry that it points at.
        seq: Seq,
        /// The hash of that entry.
        head: EntryHash,
    },
    /// A crash had torn the last line; these many bytes, confirmed to nobody, were dropped.
    Recovered {
        /// How many.
        bytes: u64,
    },
    /// The rotation stands still until somebody acts.
    Halted {
        /// Why.
        halt: Halt,
    },
    /// The outgoing key is kept, hidden from applications.
    Escrowed {
        /// Which.
        key: KeyMark,
        /// Until when.
        until: Timestamp,
    },
    /// What a writer that was killed had left in a store was removed.
    Swept {
        /// Which store.
        store: StoreIndex,
        /// What it was, by name.
        removed: Vec<String>,
    },
    /// A key that is about to leave a store, or has just left it, was looked for in everything else that the store can see.
    Searched {
        /// Which key.
        key: KeyMark,
        /// Which store.
        store: StoreIndex,
        /// What holds it, besides the document that it leaves. A person has to remove that.
        found: Vec<String>,
        /// What could not be searched.
        beyond: String,
    },
    /// A key's material is gone from a store. What else was found to hold it, the entry `searched` before says.
    Destroyed {
        /// Which.
        key: KeyMark,
        /// From where.
        store: StoreIndex,
    },
    /// The rotation is closed; nothing is added to its record but the end of the escrow.
    Sealed {
        /// How it ended.
        mode: Mode,
        /// The key that mints now.
        active: KeyMark,
        /// T0, by the store's clock.
        t0: Option<Timestamp>,
    },
}

/// A key by its public names.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "callers build it")]
pub struct KeyMark {
    /// Its id.
    pub id: KeyId,
    /// Its fingerprint; none for a key too weak to have one, or not generated yet.
    pub fingerprint: Option<Fingerprint>,
}

/// What a store was seen to hold.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "callers build it")]
pub struct ConfigurationSight {
    /// The store's version; none for a state that is still to be written.
    pub revision: Option<Revision>,
    /// The active key.
    pub active: KeyMark,
    /// All accepted keys, the active one among them.
    pub accept: Vec<KeyMark>,
}

/// Whether an effect was carried out now.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "now or before")]
pub enum Completion {
    /// Now.
    Now,
    /// A process before this one did it and died before it could say so: the world shows it.
    FoundDone,
}

/// Whether a gate passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "a gate passes or it does not")]
pub enum GateOutcome {
    /// Every member showed everything.
    Passed,
    /// Somebody is unproven.
    Unproven,
}

/// What a sweep saw, in words and figures for the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "callers build it")]
pub struct GateEvidence {
    /// When the first listing began.
    pub began: Millis,
    /// When the last listing was complete.
    pub ended: Millis,
    /// The weakest proof that was taken.
    pub rule: EvidenceRule,
    /// How many members were listed at the end.
    pub members: u32,
    /// What each showed; may be left out of sweeps that did not pass.
    pub proofs: Vec<MemberProof>,
    /// Who is unproven and why, by name.
    pub unproven: Vec<String>,
    /// Where workers could not be told apart: the probability that a stale one slipped through, in words.
    pub residual: Option<String>,
}

/// What one member showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "callers build it")]
pub struct MemberProof {
    /// Its name.
    pub member: String,
    /// Its run.
    pub boot: String,
    /// What it showed.
    pub claims: Vec<Claim>,
}

/// What a person decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum HumanAction {
    /// `rotate`.
    Rotate,
    /// `complete`.
    Complete,
    /// `pause`.
    Pause,
    /// `resume`.
    Resume,
    /// `rollback`.
    Rollback,
    /// `rollback --key-from`: the operator's own copy was used.
    RollbackWithOwnCopy {
        /// Which key it was, by fingerprint.
        key: KeyMark,
    },
    /// `revoke`.
    Revoke {
        /// How.
        mode: Mode,
        /// What leaked.
        compromised: Vec<KeyMark>,
    },
    /// `reload --laggards`.
    ReloadLaggards,
    /// `reload --member`.
    ReloadMember {
        /// Whom.
        member: String,
    },
    /// `unlock --id`.
    Unlock {
        /// The rotation whose lock was broken.
        id: RotationId,
        /// Who held it.
        holder: String,
    },
    /// `--accept-loss`.
    AcceptLoss {
        /// How many sessions.
        sessions: u64,
    },
    /// `--extend-drain`.
    ExtendDrain {
        /// By how long.
        by: Millis,
    },
    /// `--evidence weak`.
    WeakEvidence,
    /// Any other override, by the name of its flag.
    Override {
        /// The flag.
        name: String,
        /// What it gives up.
        gives_up: String,
    },
}

/// Why something was decided.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "callers build it")]
pub struct Why {
    /// `--reason`.
    pub reason: Reason,
    /// `--ticket`.
    pub ticket: Option<String>,
    /// `--note`.
    pub note: Option<String>,
}

/// The reasons of `--reason`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Reason {
    /// The policy, or routine.
    #[default]
    Scheduled,
    /// Something went wrong.
    Incident,
    /// A key is in other hands.
    Compromise,
    /// Somebody left.
    Personnel,
    /// An audit asked for it.
    Audit,
}

impl Reason {
    /// As `--reason` takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Incident => "incident",
            Self::Compromise => "compromise",
            Self::Personnel => "personnel",
            Self::Audit => "audit",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        [Self::Scheduled, Self::Incident, Self::Compromise, Self::Personnel, Self::Audit]
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| UnknownReason(text.to_owned()))
    }
}

/// Not one of the reasons.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a reason; use scheduled, incident, compromise, personnel or audit")]
pub struct UnknownReason(pub String);
