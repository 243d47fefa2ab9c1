//! The session formats of the frameworks: mint, open and re-seal, byte for byte. Payloads are opaque and never interpreted.
//!
//! A codec opens only what its framework would open, also where that is odd: a codec that is more lenient than the
//! framework would call a member proven whose users are logged out.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Key, KeyId, Secret, UnixTime};

mod inspect;
mod params;
pub mod rails;
pub mod sealed;

pub use inspect::{Guess, inspect};
pub use params::CodecConfigError;

/// Builds the codec `name` with `params`, as a profile or `keyroll.yaml` names them.
///
/// ```
/// use std::collections::BTreeMap;
///
/// let params = BTreeMap::from([("cookie".to_owned(), "_app_session".to_owned())]);
/// let codec = keyroll_keyring::codec::build("rails", &params)?;
/// assert_eq!(codec.cookie_name(), "_app_session");
///
/// let error = keyroll_keyring::codec::build("rail", &params).unwrap_err();
/// assert!(error.to_string().contains("did you mean `rails`?"));
/// # Ok::<(), keyroll_keyring::codec::CodecConfigError>(())
/// ```
pub fn build(name: &str, params: &BTreeMap<String, String>) -> Result<Box<dyn SessionCodec>, CodecConfigError> {
    match name {
        rails::NAME => Ok(Box::new(rails::RailsCodec::from_params(params)?)),
        sealed::NAME => Ok(Box::new(sealed::SealedCodec::from_params(params)?)),
        _ => Err(CodecConfigError::UnknownCodec {
            name: name.into(),
            nearest: params::nearest(name, NAMES),
            known: params::owned(NAMES),
        }),
    }
}

/// The names of all codecs.
pub const NAMES: &[&str] = &[rails::NAME, sealed::NAME];

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
