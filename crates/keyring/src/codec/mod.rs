//! The session formats of the frameworks: mint, open and re-seal, byte for byte. Payloads are opaque and never interpreted.

use std::fmt;

use crate::{Key, KeyId, Secret, UnixTime};

/// One framework's session format, with its parameters (cookie name, salts, digest ...) already chosen.
pub trait SessionCodec: fmt::Debug + Send + Sync {
    /// The codec's name, as profiles and `keyroll.yaml` write it.
    fn name(&self) -> &'static str;

    /// The cookie (or header) that carries the session.
    fn cookie_name(&self) -> &str;

    /// Mints a session under `key`, in the form in which it stands in a `Cookie` header.
    fn mint(&self, key: &Key, session: &Mint<'_>) -> Result<String, MintError>;

    /// Opens `token` (as it stands in a `Cookie` or `Set-Cookie` header) under whichever of `keys` sealed it.
    fn open(&self, keys: &[&Key], token: &str, now: UnixTime) -> Result<Opened, OpenError>;

    /// Seals the payload of `token` again under `to`. The times of the token are kept, so that no session lives longer.
    fn reseal(&self, keys: &[&Key], to: &Key, token: &str, now: UnixTime) -> Result<String, ResealError>;
}

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
    /// It does not have the form of a token.
    #[error("malformed")]
    Malformed,
    /// It is longer than the format allows.
    #[error("too long")]
    TooLong,
}

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
