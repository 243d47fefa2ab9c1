//! Newtypes, so that no signature holds a bare number.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names one rotation, from its plan to the destruction of the outgoing key: `r-` and 26 characters of Crockford base32, ordered by time.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RotationId(pub String);

impl fmt::Display for RotationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Grows with every take-over of a rotation's lock; a write that carries an older epoch is stale.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// The n-th reload of one rotation, from 1. A repeat of the same attempt is a no-op; a new attempt reloads again.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

/// A store's place in the configuration file, from 0.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreIndex(pub u16);

/// A member *boot*: the driver gives each (member, boot id, worker) that it has ever seen its own index, so that a
/// restarted member is another one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberIndex(pub u32);

/// Milliseconds since the Unix epoch, or a span of them.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// `self + span`, which stops at the end of time instead of wrapping.
    pub fn after(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}
