//! Why a rotation waits: who said no, in the five words of the protocol.

use keyroll_keyring::KeyId;
use serde::{Deserialize, Serialize};

use crate::gate::{GateName, Unproven};
use crate::{Millis, Stage};

/// A reason to wait.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Wait {
    /// Where the rotation stands.
    pub stage: Stage,
    /// Who said no. Never empty.
    pub naysayers: Vec<Naysayer>,
    /// When to ask the machine again; `None` where only a person's event changes the answer.
    pub again_at: Option<Millis>,
}

/// Who said no.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "who", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Naysayer {
    /// The policy: not due, or outside of the window.
    Policy {
        /// In words.
        reason: String,
        /// When it will allow it, if known.
        until: Option<Millis>,
    },
    /// An invariant of the next world.
    Safety {
        /// Which invariant, as `I4`.
        invariant: String,
        /// In words.
        reason: String,
    },
    /// Members or counters did not show what they must.
    Evidence {
        /// The gate, or none for the drain.
        gate: Option<GateName>,
        /// Who is unproven.
        unproven: Vec<Unproven>,
        /// For the drain: what the evidence says of the outgoing key.
        drain: Option<DrainEvidenceGap>,
    },
    /// Time has to pass.
    Time {
        /// For what.
        what: String,
        /// Until when, by the store's clock.
        until: Millis,
    },
    /// A person has to decide.
    Human {
        /// What there is to decide.
        decision: String,
    },
}

/// What is missing before a drain may end.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct DrainEvidenceGap {
    /// The key that drains.
    pub key: KeyId,
    /// How often a session was opened under it in the window, if counted. Visits, not sessions.
    pub opened: Option<u64>,
    /// In words, with figures.
    pub reason: String,
}
