//! Keys behind web sessions: material, rings, fingerprints, sealed sessions and the frameworks' cookie formats.
//!
//! This crate is pure: it has no clock, no file and no network. Where a time is needed it is an argument.

pub mod codec;
mod fingerprint;
mod key;
pub mod profile;
mod ring;
pub mod ring_file;
pub mod sealed;
mod secret;
pub mod strength;
mod token;
mod wipe;

pub use fingerprint::{Fingerprint, FingerprintError, ForeignFingerprint};
pub use key::{Key, KeyError, KeyId, KeyState, Part, PartName};
pub use profile::{Configuration, FieldName, Fields, FoundKey, ParsedConfiguration, Profile, ProfileError};
pub use ring::{Lookup, Ring, RingError, Tombstone};
pub use secret::{Encoding, Secret, SecretError};

/// Seconds since the Unix epoch. The caller supplies it; this crate has no clock.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixTime(pub i64);
