//! What an operator asks for. Every override has a name; there is no bare force.

use std::time::Duration;

use keyroll_keyring::Secret;
use keyroll_rotation::gate::EvidenceRule;
use keyroll_rotation::{Mode, RotationId, Stage};
use serde::{Deserialize, Serialize};

use crate::journal::Why;
use crate::report::PlanDocument;

/// `rotate`.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it in with `..Default::default()`")]
pub struct RotateRequest {
    /// `Staged`, `Cutover` or `Standby`, where a person named one; otherwise it is the plan's, or `Staged`. An open rotation
    /// keeps its own, and a named one that differs is refused.
    pub mode: Option<Mode>,
    /// Stop when this stage's gate has passed.
    pub until: Option<Stage>,
    /// How long to wait at gates.
    pub patience: Patience,
    /// A plan that must still hold.
    pub plan: Option<PlanDocument>,
    /// What is given up, by name.
    pub overrides: Overrides,
    /// Whether it waits for the policy's window before it begins.
    pub window: WindowRule,
    /// Why.
    pub why: Why,
}

impl Default for RotateRequest {
    fn default() -> Self {
        Self {
            mode: None,
            until: None,
            patience: Patience::Forever,
            plan: None,
            overrides: Overrides::default(),
            window: WindowRule::Heeded,
            why: Why::default(),
        }
    }
}

/// What a rotation that is to begin does about the policy's window. One that is open goes on, and an emergency asks no window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it is heeded or overridden by name")]
pub enum WindowRule {
    /// It waits until the window opens, as long as its patience lasts.
    Heeded,
    /// `--outside-window`: it begins now, and the record says so.
    Overridden,
}

/// How long a command waits at gates and drains.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: endless, bounded or not at all")]
pub enum Patience {
    /// Until it is done; each wait says what it waits for.
    #[default]
    Forever,
    /// At most this long in all.
    For(Duration),
    /// Not at all: return as soon as nothing can be done now.
    None,
}

/// Overrides, each recorded in the audit trail.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it in with `..Default::default()`")]
pub struct Overrides {
    /// `--accept-loss N`: at most N sessions under the outgoing key may be lost; so often may one have been opened in the window.
    pub accept_loss: Option<u64>,
    /// `--extend-drain D`.
    pub extend_drain: Option<Duration>,
    /// `--evidence weak`.
    pub evidence: Option<EvidenceRule>,
}

/// `complete`.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it in with `..Default::default()`")]
pub struct CompleteRequest {
    /// How long to wait.
    pub patience: Patience,
    /// What is given up, by name.
    pub overrides: Overrides,
    /// Why.
    pub why: Why,
}

/// `rollback`.
#[derive(Default)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it in with `..Default::default()`")]
pub struct RollbackRequest {
    /// `--key-from`: the operator's own copy of the old key, as the profile encodes it; checked by fingerprint, and taken
    /// without a newline at its end where it is the right key without it.
    pub key_from: Option<Secret>,
    /// How long to wait.
    pub patience: Patience,
    /// What is given up, by name.
    pub overrides: Overrides,
    /// Why.
    pub why: Why,
}

/// `revoke`.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it in")]
pub struct RevokeRequest {
    /// `Accelerated` or `HardCutover`.
    pub mode: Mode,
    /// What leaked.
    pub compromised: Compromised,
    /// Whether the store itself leaked; then a standby candidate is compromised too.
    pub store: StoreLeak,
    /// How long to wait.
    pub patience: Patience,
    /// What is given up, by name.
    pub overrides: Overrides,
    /// Why.
    pub why: Why,
}

impl RevokeRequest {
    /// Whether what is named as leaked may be the standby candidate too, so that it must not take the leaked key's place.
    pub(crate) fn spares_no_candidate(&self) -> bool {
        self.compromised == Compromised::Both || self.store == StoreLeak::Possible
    }
}

/// Which key is in other hands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "complete: the old key, the new one or both")]
pub enum Compromised {
    /// The key that was in use before the rotation (or is in use now, if none is open).
    Old,
    /// The candidate of the rotation in flight.
    New,
    /// Both.
    Both,
}

/// Whether the store leaked, which only a person can say.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "complete: a person excludes it or not")]
pub enum StoreLeak {
    /// A person states that the leak excludes what only the store holds.
    Excluded,
    /// It may have leaked.
    Possible,
}

/// `reload`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the laggards or one member by name")]
pub enum ReloadRequest {
    /// Members that are not proven for the open rotation's gate, or, without one, for the configuration as it is.
    Laggards,
    /// One member by name.
    Member(String),
}

/// `unlock --id`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it in")]
pub struct UnlockRequest {
    /// The rotation, or the lock's own id where no rotation is open.
    pub id: RotationId,
    /// Why.
    pub why: Why,
}

/// Whether the lock is part of what is checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lock {
    /// It is.
    Asked,
    /// It is held by whoever asks.
    Held,
}
