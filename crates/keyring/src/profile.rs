//! Profiles: how a framework names, encodes and orders its current and its other keys, as data.

use std::collections::BTreeMap;

use crate::{Key, KeyId, Part};

use crate::Secret;

/// The name of a field in a secret store: an environment variable, a key of a Kubernetes Secret, a path in a document.
/// A store whose whole content is one secret has the single field `content`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct FieldName(pub String);

/// The owned fields of a store. `None` means that the field is absent (or, when written, must become absent).
#[derive(Default)]
pub struct Fields(pub BTreeMap<FieldName, Option<Secret>>);

/// What the fleet is to be configured with: one active key and the other accepted ones, newest first.
pub struct Configuration<'a> {
    /// Members mint under this key.
    pub active: &'a Key,
    /// Members also open sessions under these keys; never contains `active`.
    pub accept_only: Vec<&'a Key>,
}

/// A key as it was found in a store. Most formats carry no id.
pub struct FoundKey {
    /// The id, where the format carries one.
    pub id: Option<KeyId>,
    /// The parts, in the profile's order.
    pub parts: Vec<Part>,
}

/// The configuration that a store's fields hold.
pub struct ParsedConfiguration {
    /// The key that members mint under.
    pub active: FoundKey,
    /// The other accepted keys, in the order found.
    pub accept_only: Vec<FoundKey>,
}
