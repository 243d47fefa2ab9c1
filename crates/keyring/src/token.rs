//! What goes into a session token and what comes out of it, whatever its format, and why either fails.
//!
//! An operator hears each kind of failure by name; a client hears one answer for all of them.

use crate::{KeyId, Secret, UnixTime};

/// What to mint.
pub struct Mint<'a> {
    /// The serialised session, opaque to the codec.
    pub payload: &'a [u8],
    /// When the session begins.
    pub issued_at: UnixTime,
    /// When it ends, where the format can say so.
    pub expires_at: Option<UnixTime>,
}

/// An opened session.
pub struct Opened {
    /// The key that sealed it.
    pub key: KeyId,
    /// The serialised session.
    pub payload: Secret,
    /// When it was sealed, where the format says so.
    pub issued_at: Option<UnixTime>,
    /// When it ends, where the format says so.
    pub expires_at: Option<UnixTime>,
}

/// Why a session was not minted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// The key does not have the parts or the length that the format needs.
    #[error("the key does not fit the format: {reason}")]
    Key {
        /// In words, without key bytes.
        reason: String,
    },
    /// The payload is longer than the format allows.
    #[error("the session of {length} bytes is longer than the {limit} bytes that the format allows")]
    TooLong {
        /// Its length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The times are not ones that the format can carry.
    #[error("the session's times can't be sealed: {reason}")]
    Times {
        /// In words.
        reason: &'static str,
    },
    /// The payload is one that the framework itself could not open.
    #[error("the session can't be sealed: {reason}")]
    Payload {
        /// In words.
        reason: &'static str,
    },
    /// The system's random number generator failed.
    #[error("the system gave no random bytes; nothing was sealed")]
    Randomness,
}

/// Why a token was not opened. For the operator; a client gets one indistinguishable answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The key id of the token is not in the ring.
    #[error("unknown key id")]
    UnknownKey,
    /// The key id of the token is known and retired.
    #[error("retired key")]
    RetiredKey,
    /// Its time is over.
    #[error("expired")]
    Expired,
    /// Its time has not begun.
    #[error("not yet valid")]
    NotYetValid,
    /// No key authenticates it (a wrong key and a changed token look the same in most formats).
    #[error("tampered with, or sealed under another key")]
    Tampered,
    /// It is authentic, and was sealed for another cookie or purpose.
    #[error("sealed for another cookie or purpose")]
    OtherPurpose,
    /// It does not have the form of a token.
    #[error("malformed")]
    Malformed,
    /// It is longer than the format allows.
    #[error("too long")]
    TooLong,
}

impl OpenError {
    /// What a client may be told: the same for every kind, so that nobody learns from the answer how far a forgery came.
    pub fn to_client(self) -> NotValid {
        NotValid
    }
}

/// The one answer to a client whose session was not opened, whatever the reason.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the session is not valid")]
#[expect(clippy::exhaustive_structs, reason = "it says one thing only, and must never say more")]
pub struct NotValid;

/// Why a token was not sealed again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResealError {
    /// It does not open.
    #[error("the token does not open")]
    Open(#[source] OpenError),
    /// It can't be minted.
    #[error("the session can't be minted under the other key")]
    Mint(#[source] MintError),
}
