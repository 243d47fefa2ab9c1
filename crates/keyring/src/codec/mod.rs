//! The session formats of the frameworks: mint, open and re-seal, byte for byte. Payloads are opaque and never interpreted.
//!
//! A codec opens only what its framework would open, also where that is odd: a codec that is more lenient than the
//! framework would call a member proven whose users are logged out.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Key, UnixTime};

mod inspect;
mod params;
pub mod rails;
pub mod sealed;

pub use crate::token::{Mint, MintError, NotValid, OpenError, Opened, ResealError};
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
