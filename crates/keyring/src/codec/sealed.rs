//! Sealed sessions as a codec, so that Keyroll's own probes can mint and open them like any framework's.
//!
//! Here keys come in as a plain list without states; an application uses [`SealedRing`](crate::sealed::SealedRing) instead.

use std::collections::BTreeMap;

use super::params::{CodecConfigError, Params};
use super::{Mint, MintError, OpenError, Opened, ResealError, SessionCodec};
use crate::sealed::{Context, SealedRingError, Session, Slot, inspect};
use crate::{Key, UnixTime};

/// The codec's name.
pub const NAME: &str = "sealed";

/// Sealed sessions in one cookie.
///
/// | parameter | what it is | default |
/// |---|---|---|
/// | `cookie` | the cookie's name | none: it must be given |
/// | `purpose` | as the application gives it to its context | `session` |
/// | `tenant` | as the application gives it to its context | empty |
#[derive(Debug)]
pub struct SealedCodec {
    cookie: String,
    context: Context,
}

impl SealedCodec {
    /// The codec with the parameters of the table above.
    pub fn from_params(params: &BTreeMap<String, String>) -> Result<Self, CodecConfigError> {
        let params = Params::new(NAME, params, &["cookie", "purpose", "tenant"])?;
        let cookie = params.cookie_name()?;
        let context = Context::new(cookie, params.text("purpose", "session"), params.text("tenant", ""));
        Ok(Self { cookie: cookie.to_owned(), context })
    }

    fn open_session(&self, keys: &[&Key], token: &str, now: UnixTime) -> Result<Session, OpenError> {
        let id = inspect(token)?.key;
        // Different stores may hold different material under one id, hence all of them are tried; the commitment tells them apart.
        let mut answer = OpenError::UnknownKey;
        for key in keys.iter().filter(|key| key.id() == id) {
            let Ok(slot) = Slot::new(key) else { continue };
            match slot.open_text(&self.context, token, now) {
                Ok(session) => return Ok(session),
                Err(error) => answer = error,
            }
        }
        Err(answer)
    }
}

impl SessionCodec for SealedCodec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cookie_name(&self) -> &str {
        &self.cookie
    }

    fn mint(&self, key: &Key, session: &Mint<'_>) -> Result<String, MintError> {
        slot(key)?.seal(&self.context, session)
    }

    fn open(&self, keys: &[&Key], token: &str, now: UnixTime) -> Result<Opened, OpenError> {
        let session = self.open_session(keys, token, now)?;
        Ok(Opened {
            key: session.key(),
            payload: session.to_secret(),
            issued_at: Some(session.issued_at()),
            expires_at: Some(session.expires_at()),
        })
    }

    fn reseal(&self, keys: &[&Key], to: &Key, token: &str, now: UnixTime) -> Result<String, ResealError> {
        let session = self.open_session(keys, token, now).map_err(ResealError::Open)?;
        self.mint(to, &session.as_mint()).map_err(ResealError::Mint)
    }
}

fn slot(key: &Key) -> Result<Slot, MintError> {
    Slot::new(key).map_err(|error| match error {
        SealedRingError::Length { length, .. } => {
            MintError::Key { reason: format!("it has {length} bytes, and a sealed session needs exactly 32") }
        }
        error => MintError::Key { reason: error.to_string() },
    })
}
