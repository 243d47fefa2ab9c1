//! A key: one id, one or more named parts that are promoted together, and a state in the words of NIST SP 800-57.
//!
//! A key without a part can't be built, so [`Key::material`] always has an answer.

use std::fmt;

use crate::{Fingerprint, FingerprintError, Secret};

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

impl PartName {
    /// The name of the only part of a key that has one.
    pub fn main() -> Self {
        Self("main".into())
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One part of a key: its decoded material.
pub struct Part {
    /// The part's name, unique within its key.
    pub name: PartName,
    /// The decoded bytes (for Rails: the text itself).
    pub material: Secret,
}

impl Part {
    /// The only part of a key that has one.
    pub fn main(material: Secret) -> Self {
        Self { name: PartName::main(), material }
    }

    /// A second copy, by name; see [`Secret::duplicate`].
    pub fn duplicate(&self) -> Self {
        Self { name: self.name.clone(), material: self.material.duplicate() }
    }
}

/// A key as the ring holds it: never without a part.
pub struct Key {
    id: KeyId,
    parts: Vec<Part>,
}

impl Key {
    /// A key with the single part `main`.
    pub fn single(id: KeyId, material: Secret) -> Self {
        Self { id, parts: vec![Part::main(material)] }
    }

    /// A key with several parts, in the profile's order.
    pub fn with_parts(id: KeyId, parts: Vec<Part>) -> Result<Self, KeyError> {
        if parts.is_empty() {
            return Err(KeyError::NoParts { id });
        }
        for (index, part) in parts.iter().enumerate() {
            for earlier in &parts[..index] {
                if earlier.name == part.name {
                    return Err(KeyError::DuplicatePart { id, part: part.name.clone() });
                }
                if earlier.material.ct_eq(&part.material) {
                    return Err(KeyError::EqualParts { id, parts: [earlier.name.clone(), part.name.clone()] });
                }
            }
        }
        Ok(Self { id, parts })
    }

    /// The id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The parts, in the profile's order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The part of that name.
    pub fn part(&self, name: &PartName) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == *name)
    }

    /// The material of the first part, which is the only one for most frameworks.
    pub fn material(&self) -> &Secret {
        &self.parts[0].material
    }

    /// The fingerprint of all parts; see [`Fingerprint::of`], also for what it costs.
    pub fn fingerprint(&self) -> Result<Fingerprint, FingerprintError> {
        Fingerprint::of(&self.parts)
    }

    /// Whether any part of this key has the same bytes as any part of `other`, compared in constant time.
    pub fn shares_material(&self, other: &Self) -> bool {
        let mut shared = false;
        for mine in &self.parts {
            for theirs in &other.parts {
                shared |= mine.material.ct_eq(&theirs.material);
            }
        }
        shared
    }

    /// A second copy, by name; see [`Secret::duplicate`].
    pub fn duplicate(&self) -> Self {
        Self { id: self.id, parts: self.parts.iter().map(Part::duplicate).collect() }
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

impl KeyState {
    /// The word for it, as files and messages write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreActivation => "preActivation",
            Self::ActiveForProcessing => "activeForProcessing",
            Self::Active => "active",
            Self::Deactivated => "deactivated",
            Self::Compromised => "compromised",
            Self::Destroyed => "destroyed",
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why parts do not make a key. It holds no key bytes.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is nothing to mint with.
    #[error("key {id} has no parts")]
    NoParts {
        /// Which key.
        id: KeyId,
    },
    /// Two parts have one name.
    #[error("key {id} has two parts named `{part}`")]
    DuplicatePart {
        /// Which key.
        id: KeyId,
        /// The name.
        part: PartName,
    },
    /// One secret does two jobs, so that a leak of one is a leak of both.
    #[error("the parts `{}` and `{}` of key {id} have the same material", parts[0], parts[1])]
    EqualParts {
        /// Which key.
        id: KeyId,
        /// Both names.
        parts: [PartName; 2],
    },
}
