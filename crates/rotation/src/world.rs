//! What a store tells the members: one active key and the accepted ones.

use std::collections::BTreeSet;

use keyroll_keyring::KeyId;
use serde::{Deserialize, Serialize};

/// The configuration (active, accept) of the protocol. `active` is always in `accept`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct WorldConfiguration {
    /// Members mint under this key.
    pub active: KeyId,
    /// Members open sessions under these keys, `active` among them.
    pub accept: BTreeSet<KeyId>,
}
