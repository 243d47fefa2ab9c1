//! What a store tells the members: one active key and the accepted ones.
//!
//! Whoever boots reads it as it is now, so a write is already activation for newcomers.

use std::collections::BTreeSet;

use keyroll_keyring::KeyId;
use serde::{Deserialize, Serialize};

/// The configuration (active, accept) of the protocol. `active` is always in `accept`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldConfiguration {
    /// Members mint under this key.
    pub active: KeyId,
    /// Members open sessions under these keys, `active` among them.
    pub accept: BTreeSet<KeyId>,
}

impl WorldConfiguration {
    /// `active`, which is accepted, and whatever else is.
    pub fn new(active: KeyId, others: impl IntoIterator<Item = KeyId>) -> Self {
        let mut accept: BTreeSet<KeyId> = others.into_iter().collect();
        accept.insert(active);
        Self { active, accept }
    }
}
