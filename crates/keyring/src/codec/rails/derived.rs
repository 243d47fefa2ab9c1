//! What Rails seals with: a key derived from `secret_key_base`, ready for use.
//!
//! The signature of a signed cookie is made over the base64 *text*, so that it is checked before anything is decoded.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hmac, pbkdf2};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{KeyDigest, Kind, SignedDigest, wire};
use crate::codec::{MintError, OpenError};
use crate::wipe::Wiping;
use crate::{Key, KeyId};

/// A key as one Rails cookie uses it. Deriving it is slow on purpose, using it is not.
pub struct DerivedKey {
    id: KeyId,
    sealer: Sealer,
}

enum Sealer {
    Gcm(Box<LessSafeKey>),
    Hmac(Box<hmac::Key>),
}

impl DerivedKey {
    pub(super) fn derive(
        key: &Key,
        kind: Kind,
        digest: KeyDigest,
        signed_digest: SignedDigest,
        salt: &str,
    ) -> Result<Self, MintError> {
        let secret = key.material().expose();
        if secret.is_empty() {
            return Err(MintError::Key { reason: "it is empty".into() });
        }
        let algorithm = match digest {
            KeyDigest::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            KeyDigest::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        };
        let sealer = match kind {
            Kind::Encrypted => {
                let mut bytes = Zeroizing::new([0; 32]);
                pbkdf2::derive(algorithm, ROUNDS, salt.as_bytes(), secret, &mut *bytes);
                let key = UnboundKey::new(&AES_256_GCM, &*bytes)
                    .map_err(|_| MintError::Key { reason: "AES-256-GCM does not take it".into() })?;
                Sealer::Gcm(Box::new(LessSafeKey::new(key)))
            }
            Kind::Signed => {
                let mut bytes = Zeroizing::new([0; 64]);
                pbkdf2::derive(algorithm, ROUNDS, salt.as_bytes(), secret, &mut *bytes);
                let algorithm = match signed_digest {
                    SignedDigest::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                    SignedDigest::Sha256 => hmac::HMAC_SHA256,
                    SignedDigest::Sha384 => hmac::HMAC_SHA384,
                    SignedDigest::Sha512 => hmac::HMAC_SHA512,
                };
                Sealer::Hmac(Box::new(hmac::Key::new(algorithm, &*bytes)))
            }
        };
        Ok(Self { id: key.id(), sealer })
    }

    /// The id of the key that this was derived from.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The length of the value that seals `length` bytes.
    pub(super) fn value_len(&self, length: usize) -> usize {
        let text = wire::base64_len(length);
        match &self.sealer {
            Sealer::Gcm(_) => text + SEPARATOR.len() + NONCE_TEXT_LEN + SEPARATOR.len() + TAG_TEXT_LEN,
            Sealer::Hmac(key) => text + SEPARATOR.len() + 2 * key.algorithm().digest_algorithm().output_len(),
        }
    }

    /// The cookie's value, not yet percent-encoded.
    pub(super) fn seal(&self, mut plaintext: Wiping) -> Result<Vec<u8>, MintError> {
        let mut value = Vec::with_capacity(self.value_len(plaintext.len()));
        match &self.sealer {
            Sealer::Gcm(key) => {
                let mut nonce = [0; NONCE_LEN];
                aws_lc_rs::rand::fill(&mut nonce).map_err(|_| MintError::Randomness)?;
                let tag = key
                    .seal_in_place_separate_tag(
                        Nonce::assume_unique_for_key(nonce),
                        Aad::empty(),
                        plaintext.as_mut_slice(),
                    )
                    .map_err(|_| MintError::Key { reason: "AES-256-GCM refused to seal".into() })?;
                wire::append_base64(&mut value, &plaintext);
                value.extend_from_slice(SEPARATOR);
                wire::append_base64(&mut value, &nonce);
                value.extend_from_slice(SEPARATOR);
                wire::append_base64(&mut value, tag.as_ref());
            }
            Sealer::Hmac(key) => {
                wire::append_base64(&mut value, &plaintext);
                let signature = hex::encode(hmac::sign(key, &value));
                value.extend_from_slice(SEPARATOR);
                value.extend_from_slice(signature.as_bytes());
            }
        }
        Ok(value)
    }

    /// The plaintext of a cookie's value from which percent-encoding is already gone.
    pub(super) fn open(&self, value: &[u8]) -> Result<Wiping, OpenError> {
        match &self.sealer {
            Sealer::Gcm(key) => {
                let (rest, tag) = split(value, TAG_TEXT_LEN)?;
                let (text, nonce) = split(rest, NONCE_TEXT_LEN)?;
                // OpenSSL takes a shortened tag for a tag; this takes 16 bytes only.
                let tag: [u8; TAG_LEN] = wire::decode_base64_array(tag)?;
                let nonce: [u8; NONCE_LEN] = wire::decode_base64_array(nonce)?;
                let mut bytes = Wiping::new(wire::decode_base64(text)?);
                if bytes.is_empty() {
                    return Err(OpenError::Malformed);
                }
                key.open_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &tag, &mut bytes)
                    .map_err(|_| OpenError::Tampered)?;
                Ok(bytes)
            }
            Sealer::Hmac(key) => {
                let length = 2 * key.algorithm().digest_algorithm().output_len();
                let (text, signature) = split(value, length)?;
                // Rails compares the hexadecimal texts, so that an upper-case signature is none.
                let expected = hex::encode(hmac::sign(key, text));
                if !bool::from(expected.as_bytes().ct_eq(signature)) {
                    return Err(OpenError::Tampered);
                }
                let bytes = Wiping::new(wire::decode_base64(text)?);
                if bytes.is_empty() {
                    return Err(OpenError::Malformed);
                }
                Ok(bytes)
            }
        }
    }
}

impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DerivedKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Splits `value` into what stands before the last separator and the field of `length` after it.
fn split(value: &[u8], length: usize) -> Result<(&[u8], &[u8]), OpenError> {
    let at = value.len().checked_sub(length).ok_or(OpenError::Malformed)?;
    let (rest, field) = value.split_at(at);
    Ok((rest.strip_suffix(SEPARATOR).ok_or(OpenError::Malformed)?, field))
}

/// Rails' cookies have had this many since Rails 4, whatever PBKDF2 asks for today.
const ROUNDS: NonZeroU32 = NonZeroU32::new(1000).unwrap();
const SEPARATOR: &[u8] = b"--";
const NONCE_LEN: usize = 12;
const NONCE_TEXT_LEN: usize = 16;
const TAG_LEN: usize = 16;
const TAG_TEXT_LEN: usize = 24;
