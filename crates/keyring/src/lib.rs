//! Keys behind web sessions: material, rings, fingerprints, sealed sessions and the frameworks' cookie formats.
//!
//! This crate is pure: it has no clock, no file and no network. Where a time is needed it is an argument.

pub mod codec;
mod fingerprint;
mod key;
mod profile;
mod ring;
pub mod sealed;
mod secret;
mod wipe;

pub use fingerprint::{Fingerprint, FingerprintError};
pub use key::{Key, KeyId, KeyState, Part, PartName};
pub use profile::{Configuration, FieldName, Fields, FoundKey, ParsedConfiguration};
pub use secret::{Secret, SecretError};

/// Seconds since the Unix epoch. The caller supplies it; this crate has no clock.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixTime(pub i64);
