//! Why a profile can't be read, made or applied.
//!
//! No variant holds the content of a field: it would be a key, or what somebody took for one.

use super::FieldName;
use crate::{KeyError, KeyId, PartName, RingError, SecretError, ring_file::RingFileError, strength::Weakness};

/// Why a profile does not do it. It holds no key bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// There is no such profile.
    #[error("there is no profile `{name}`; there are {}", list(known))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The profile has no such variant.
    #[error("the profile `{profile}` has no variant `{variant}`")]
    NoSuchVariant {
        /// The profile.
        profile: String,
        /// The variant.
        variant: String,
    },
    /// The profile is not what `docs/adding/framework.md` says.
    #[error("the profile can't be read: {reason}")]
    Malformed {
        /// What and where.
        reason: String,
    },
    /// A field name for a role that the profile does not have.
    #[error("the profile has no field for `{role}`; it has {}", list(known))]
    UnknownRole {
        /// The role.
        role: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Two roles have one field.
    #[error("the field `{field}` has two roles")]
    DoubledField {
        /// Which field.
        field: FieldName,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes; nothing was generated")]
    NoRandomness,
    /// What was generated is weak: the generator or the profile is broken.
    #[error("the generated key was refused: {}", weaknesses.iter().map(|(part, weakness)| format!("part `{part}`: {weakness}")).collect::<Vec<_>>().join("; "))]
    WeakCandidate {
        /// What is wrong.
        weaknesses: Vec<(PartName, Weakness)>,
    },
    /// Material that an operator gave does not decode.
    #[error("the key can't be read")]
    Material(#[source] SecretError),
    /// One text can't hold a key of several parts.
    #[error("a key of this profile has the parts {}, so one text can't hold it", list(parts))]
    SeveralParts {
        /// Which parts.
        parts: Vec<PartName>,
    },
    /// Parts that do not make a key.
    #[error("the parts do not make a key")]
    Key(#[source] KeyError),
    /// The field of the active key is absent.
    #[error("the field `{field}` is absent, and the active key should be there")]
    ActiveAbsent {
        /// Which field.
        field: FieldName,
    },
    /// The field of the active key is empty.
    #[error("the field `{field}` is empty, and the active key should be there")]
    ActiveEmpty {
        /// Which field.
        field: FieldName,
    },
    /// A list with nothing between two separators. A framework may accept sessions under the empty key, which anybody has.
    #[error("the list in the field `{field}` has an empty entry; remove the separator that stands too much")]
    EmptyEntry {
        /// Which field.
        field: FieldName,
    },
    /// A field does not decode.
    #[error("the field `{field}` can't be read")]
    Field {
        /// Which field.
        field: FieldName,
        /// Why.
        #[source]
        source: SecretError,
    },
    /// A ring file is not one.
    #[error("the field `{field}` is not a ring file")]
    RingFile {
        /// Which field.
        field: FieldName,
        /// Why.
        #[source]
        source: RingFileError,
    },
    /// One part accepts more keys than another.
    #[error("the field `{field}` holds {found} keys, and the fields of the other parts hold {expected}")]
    UnevenParts {
        /// Which field.
        field: FieldName,
        /// How many keys are in it.
        found: usize,
        /// How many are in the others.
        expected: usize,
    },
    /// Two accepted keys are the same.
    #[error("the fields hold the same key twice; remove it from the accepted ones")]
    SameKeyTwice,
    /// More accept-only keys than the framework has room for.
    #[error(
        "{keys} keys are to be accepted beside the active one, and the framework has room for {room}; drain one first"
    )]
    NoRoom {
        /// How many are to be accepted.
        keys: usize,
        /// How many fit.
        room: usize,
    },
    /// A key that the framework would read as something else.
    #[error("the key {id} can't be written to the field `{field}`: {reason}")]
    Unwritable {
        /// Which key.
        id: KeyId,
        /// Which field.
        field: FieldName,
        /// Why.
        reason: &'static str,
    },
    /// A key that lacks a part of the profile, or has another.
    #[error("the key {id} does not have the parts {}", list(parts))]
    WrongParts {
        /// Which key.
        id: KeyId,
        /// Which parts the profile has.
        parts: Vec<PartName>,
    },
    /// The configuration is not a ring.
    #[error("the configuration is not a valid ring")]
    Ring(#[source] RingError),
}

fn list(names: &[impl std::fmt::Display]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
