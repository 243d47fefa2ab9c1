//! What the machine asks the driver to do. Each effect may be carried out twice.

use std::collections::BTreeSet;

use keyroll_keyring::KeyId;
use serde::{Deserialize, Serialize};

use crate::gate::Gate;
use crate::{Attempt, Millis, ReloadScope, StoreIndex, Wait, WorldConfiguration};

/// What the driver does next.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "do, wait or done")]
pub enum Next {
    /// Carry this out, then [`Rotation::apply`](crate::Rotation::apply) what came of it.
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
    /// Reload members. The stores are read just before, because a reload would carry a foreign configuration to the
    /// members. Each is proven by the gate's demands before the next one reloads.
    Reload {
        /// Which attempt of this rotation.
        attempt: Attempt,
        /// Whom.
        scope: ReloadScope,
        /// What a reloaded member must show.
        prove: Gate,
    },
    /// List, ask, list again. The stores are read just before, because a foreign write may be why a gate never passes.
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
    /// Let what is no longer in use leave, seal the record, release the lock.
    Close {
        /// What leaves, and how.
        leaving: Leaving,
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

/// What leaves the stores when a rotation is closed.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(tag = "leaving", rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::exhaustive_enums, reason = "a key stays, is kept for a while, or is gone")]
pub enum Leaving {
    /// Nothing: a standby candidate was added, or the rotation was withdrawn before anything changed.
    Nothing,
    /// The key is hidden from applications and kept.
    Escrow {
        /// Which.
        key: KeyId,
        /// Until when.
        until: Millis,
    },
    /// The keys are compromised and destroyed now.
    Destroy {
        /// Which.
        keys: BTreeSet<KeyId>,
    },
}
