//! Rails' encrypted (AES-256-GCM) and signed cookies, as Rails 6.1 to 8.1 write and read them.
//!
//! Rails seals under keys that it *derives* from `secret_key_base`, and takes `secret_key_base` as the text that it is: its 128
//! hexadecimal digits are never decoded. The same text gives other keys under SHA-1 (`load_defaults` below 7.0) than under SHA-256.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::params::{CodecConfigError, Params};
use super::{Mint, MintError, OpenError, Opened, ResealError, SessionCodec};
use crate::wipe::Wiping;
use crate::{Key, KeyId, Secret, UnixTime};

mod cache;
mod derived;
mod envelope;
pub(super) mod wire;

pub use derived::DerivedKey;

use cache::DerivationCache;
use envelope::Message;

/// The codec's name.
pub const NAME: &str = "rails";

/// The longest cookie value that Rails writes, before it is percent-encoded.
pub const VALUE_MAX: usize = 4096;

/// Which of Rails' two cookie jars a cookie belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// `cookies.encrypted`, and the session.
    Encrypted,
    /// `cookies.signed`.
    Signed,
}

/// The digest in PBKDF2: `key_generator_hash_digest_class`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeyDigest {
    /// `load_defaults` below 7.0.
    Sha1,
    /// `load_defaults` 7.0 and above.
    Sha256,
}

/// The digest of the signature: `signed_cookie_digest`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SignedDigest {
    /// Rails' default to this day.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// Whether a minted cookie has an envelope with purpose and expiry: `use_cookies_with_metadata`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Metadata {
    /// `load_defaults` 5.2 and above.
    On,
    /// The payload stands alone and can say neither its purpose nor when it ends.
    Off,
}

/// One Rails cookie: its name, its jar, and how its keys are derived.
///
/// | parameter | values | default |
/// |---|---|---|
/// | `cookie` | the cookie's name | none: it must be given |
/// | `kind` | `encrypted`, `signed` | `encrypted` |
/// | `digest` | `sha256`, `sha1` | `sha256`, as `load_defaults` 7.0 and above have it |
/// | `salt` | `authenticated_encrypted_cookie_salt` | `authenticated encrypted cookie` |
/// | `signedSalt` | `signed_cookie_salt` | `signed cookie` |
/// | `signedDigest` | `sha1`, `sha256`, `sha384`, `sha512` | `sha1` |
/// | `metadata` | `on`, `off` | `on` |
pub struct RailsCodec {
    cookie: String,
    purpose: String,
    endless: String,
    kind: Kind,
    digest: KeyDigest,
    signed_digest: SignedDigest,
    metadata: Metadata,
    salt: String,
    derivations: DerivationCache,
}

impl RailsCodec {
    /// The codec with the parameters of the table above.
    pub fn from_params(params: &BTreeMap<String, String>) -> Result<Self, CodecConfigError> {
        let known = ["cookie", "kind", "digest", "salt", "signedSalt", "signedDigest", "metadata"];
        let params = Params::new(NAME, params, &known)?;
        let cookie = params.cookie_name()?.to_owned();
        let kind = params.choice("kind", &[("encrypted", Kind::Encrypted), ("signed", Kind::Signed)])?;
        let (salt_name, salt_default) = match kind {
            Kind::Encrypted => ("salt", "authenticated encrypted cookie"),
            Kind::Signed => ("signedSalt", "signed cookie"),
        };
        let salt = params.text(salt_name, salt_default);
        if salt.is_empty() {
            return Err(params.bad(salt_name, salt, "a salt has at least one character"));
        }
        Ok(Self {
            endless: envelope::around(&envelope::purpose(&cookie), None).1,
            purpose: envelope::purpose(&cookie),
            cookie,
            kind,
            digest: params.choice("digest", &[("sha256", KeyDigest::Sha256), ("sha1", KeyDigest::Sha1)])?,
            signed_digest: params.choice(
                "signedDigest",
                &[
                    ("sha1", SignedDigest::Sha1),
                    ("sha256", SignedDigest::Sha256),
                    ("sha384", SignedDigest::Sha384),
                    ("sha512", SignedDigest::Sha512),
                ],
            )?,
            metadata: params.choice("metadata", &[("on", Metadata::On), ("off", Metadata::Off)])?,
            salt: salt.to_owned(),
            derivations: DerivationCache::default(),
        })
    }

    /// Derives what `key` seals this cookie with. Takes half a millisecond; whoever opens many cookies keeps the result.
    pub fn derive(&self, key: &Key) -> Result<DerivedKey, MintError> {
        DerivedKey::derive(key, self.kind, self.digest, self.signed_digest, &self.salt)
    }

    /// As [`SessionCodec::mint`], with a derived key.
    pub fn mint_with(&self, key: &DerivedKey, session: &Mint<'_>) -> Result<String, MintError> {
        if session.payload.is_empty() {
            return Err(MintError::Payload { reason: "Rails can't open an empty payload" });
        }
        let plaintext = match self.metadata {
            Metadata::Off => Wiping::new(session.payload.to_vec()),
            Metadata::On => {
                let expires_at = session.expires_at.map(timestamp).transpose()?;
                let (before, after) = envelope::around(&self.purpose, expires_at);
                let length = before.len() + wire::base64_len(session.payload.len()) + after.len();
                let mut text = Wiping::new(Vec::with_capacity(length));
                text.extend_from_slice(before.as_bytes());
                wire::append_base64(&mut text, session.payload);
                text.extend_from_slice(after.as_bytes());
                text
            }
        };
        seal(key, plaintext)
    }

    /// As [`SessionCodec::open`], with derived keys.
    pub fn open_with(&self, keys: &[&DerivedKey], token: &str, now: UnixTime) -> Result<Opened, OpenError> {
        let value = wire::decode_percent(token)?;
        let (key, plaintext) = open_first(keys, &value)?;
        let envelope = envelope::parse(&plaintext, &self.cookie, &self.endless, now)?;
        let expires_at = envelope.expires_at;
        let payload = match envelope.message {
            Message::Whole => Secret::from_bytes(plaintext.into_inner()),
            Message::Base64(text) => Secret::from_bytes(wire::decode_base64(text)?),
        };
        Ok(Opened { key, payload, issued_at: None, expires_at })
    }

    /// As [`SessionCodec::reseal`], with derived keys.
    pub fn reseal_with(
        &self,
        keys: &[&DerivedKey],
        to: &DerivedKey,
        token: &str,
        now: UnixTime,
    ) -> Result<String, ResealError> {
        let plaintext = self.open_plaintext(keys, token, now).map_err(ResealError::Open)?;
        seal(to, plaintext).map_err(ResealError::Mint)
    }

    /// The whole plaintext, envelope and all: sealed again as it is, it can't live longer or change its purpose.
    fn open_plaintext(&self, keys: &[&DerivedKey], token: &str, now: UnixTime) -> Result<Wiping, OpenError> {
        let value = wire::decode_percent(token)?;
        let (_, plaintext) = open_first(keys, &value)?;
        envelope::parse(&plaintext, &self.cookie, &self.endless, now)?;
        Ok(plaintext)
    }

    fn derived(&self, keys: &[&Key]) -> Vec<Arc<DerivedKey>> {
        // A key that fits no Rails application sealed nothing either.
        keys.iter().filter_map(|key| self.derivations.get(key, |key| self.derive(key)).ok()).collect()
    }
}

impl SessionCodec for RailsCodec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cookie_name(&self) -> &str {
        &self.cookie
    }

    fn mint(&self, key: &Key, session: &Mint<'_>) -> Result<String, MintError> {
        let key = self.derivations.get(key, |key| self.derive(key))?;
        self.mint_with(&key, session)
    }

    fn open(&self, keys: &[&Key], token: &str, now: UnixTime) -> Result<Opened, OpenError> {
        let derived = self.derived(keys);
        let keys: Vec<&DerivedKey> = derived.iter().map(AsRef::as_ref).collect();
        self.open_with(&keys, token, now)
    }

    fn reseal(&self, keys: &[&Key], to: &Key, token: &str, now: UnixTime) -> Result<String, ResealError> {
        let derived = self.derived(keys);
        let keys: Vec<&DerivedKey> = derived.iter().map(AsRef::as_ref).collect();
        let to = self.derivations.get(to, |key| self.derive(key)).map_err(ResealError::Mint)?;
        self.reseal_with(&keys, &to, token, now)
    }
}

impl fmt::Debug for RailsCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RailsCodec")
            .field("cookie", &self.cookie)
            .field("kind", &self.kind)
            .field("digest", &self.digest)
            .field("signed_digest", &self.signed_digest)
            .field("metadata", &self.metadata)
            .field("salt", &self.salt)
            .finish_non_exhaustive()
    }
}

/// The smallest session that Rails takes for one, as JSON: `{"session_id":"<32 hexadecimal digits>"}`, followed by `extra`.
///
/// For probes of applications with a JSON (or hybrid) cookies serializer. Rails' own session ids are as random as this one.
pub fn probe_payload(extra: &serde_json::Map<String, serde_json::Value>) -> Result<Vec<u8>, MintError> {
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| MintError::Randomness)?;
    let mut payload = format!("{{\"session_id\":\"{}\"", hex::encode(id)).into_bytes();
    for (name, value) in extra.iter().filter(|(name, _)| *name != "session_id") {
        payload.push(b',');
        payload.extend_from_slice(serde_json::Value::from(name.as_str()).to_string().as_bytes());
        payload.push(b':');
        payload.extend_from_slice(value.to_string().as_bytes());
    }
    payload.push(b'}');
    Ok(payload)
}

fn seal(key: &DerivedKey, plaintext: Wiping) -> Result<String, MintError> {
    let length = key.value_len(plaintext.len());
    if length > VALUE_MAX {
        return Err(MintError::TooLong { length, limit: VALUE_MAX });
    }
    key.seal(plaintext).map(|value| wire::encode_percent(&value))
}

fn open_first(keys: &[&DerivedKey], value: &[u8]) -> Result<(KeyId, Wiping), OpenError> {
    let mut answer = OpenError::Tampered;
    for key in keys {
        match key.open(value) {
            Ok(plaintext) => return Ok((key.id(), plaintext)),
            Err(error) => answer = error,
        }
    }
    Err(answer)
}

fn timestamp(at: UnixTime) -> Result<Timestamp, MintError> {
    let at =
        Timestamp::from_second(at.0).map_err(|_| MintError::Times { reason: "the expiry is beyond the year 9999" })?;
    if at < Timestamp::UNIX_EPOCH {
        return Err(MintError::Times { reason: "the expiry is before 1970" });
    }
    Ok(at)
}
