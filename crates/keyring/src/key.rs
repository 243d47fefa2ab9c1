//! A key: one id, one or more named parts that are promoted together, and a state in the words of NIST SP 800-57.

use std::fmt;

use crate::Secret;

/// Names one generation of key material. Ids only grow; an id is never reused for other material.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{}", self.0)
    }
}

/// The name of one part of a key, such as `encryption` or `signing`; most keys have the single part `main`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PartName(pub String);

/// One part of a key: its decoded material.
pub struct Part {
    /// The part's name, unique within its key.
    pub name: PartName,
    /// The decoded bytes (for Rails: the text itself).
    pub material: Secret,
}

/// A key as the ring holds it.
pub struct Key {
    id: KeyId,
    parts: Vec<Part>,
}

impl Key {
    /// A key with the single part `main`.
    pub fn single(id: KeyId, material: Secret) -> Self {
        Self { id, parts: vec![Part { name: PartName("main".into()), material }] }
    }

    /// A key with several parts, in the profile's order.
    pub fn with_parts(id: KeyId, parts: Vec<Part>) -> Self {
        Self { id, parts }
    }

    /// The id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The parts, in the profile's order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The material of the first part, which is the only one for most frameworks.
    pub fn material(&self) -> &Secret {
        &self.parts[0].material
    }

    /// A second copy, by name; see [`Secret::duplicate`].
    pub fn duplicate(&self) -> Self {
        Self {
            id: self.id,
            parts: self
                .parts
                .iter()
                .map(|part| Part { name: part.name.clone(), material: part.material.duplicate() })
                .collect(),
        }
    }
}

/// The life of a key in the words of NIST SP 800-57 part 1, section 7.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum KeyState {
    /// Generated and stored, known to no member.
    PreActivation,
    /// Members accept it and do not mint under it.
    ActiveForProcessing,
    /// Members mint and accept under it.
    Active,
    /// No member mints under it any more; it is draining or in escrow.
    Deactivated,
    /// In other hands. Such a key never returns.
    Compromised,
    /// Gone.
    Destroyed,
}
