//! One key as sealed sessions use it.
//!
//! The key itself encrypts nothing: one key for the encryption and one public commitment are derived from it. The commitment is
//! the same in every token of a key, so that checking it costs a comparison.

use aws_lc_rs::hmac;
use zeroize::{Zeroize, Zeroizing};

use super::SealedRingError;
use super::context::{Context, DIGEST_LEN};
use super::nonce::{self, NONCE_LEN};
use super::session::Session;
use super::token::{self, CIPHERTEXT_AT, CLEAR_LEN, COMMITMENT_LEN, OVERHEAD, PAYLOAD_MAX, SKEW_SECONDS, Token};
use super::xaes::{TAG_LEN, Xaes};
use crate::token::{Mint, MintError, OpenError};
use crate::{Key, KeyId, UnixTime};

/// A key, ready for sealing and opening.
pub(crate) struct Slot {
    id: KeyId,
    commitment: [u8; COMMITMENT_LEN],
    xaes: Xaes,
}

impl Slot {
    /// Works out all that depends on `key` alone.
    pub(crate) fn new(key: &Key) -> Result<Self, SealedRingError> {
        let id = key.id();
        let material = key.material().expose();
        if material.len() != KEY_LEN {
            return Err(SealedRingError::Length { id, length: material.len() });
        }
        let root = hmac::Key::new(hmac::HMAC_SHA256, material);
        let mut commitment = [0; COMMITMENT_LEN];
        commitment.copy_from_slice(hmac::sign(&root, COMMITMENT_LABEL).as_ref());
        let mut encryption = Zeroizing::new([0; KEY_LEN]);
        encryption.copy_from_slice(hmac::sign(&root, ENCRYPTION_LABEL).as_ref());
        let xaes = Xaes::new(&encryption).map_err(|_| SealedRingError::Refused { id })?;
        Ok(Self { id, commitment, xaes })
    }

    /// The key's id.
    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    /// Whether the two keys have the same material.
    pub(super) fn commits_as(&self, other: &Self) -> bool {
        self.commitment == other.commitment
    }

    /// Seals `session` for `context`.
    pub(crate) fn seal(&self, context: &Context, session: &Mint<'_>) -> Result<String, MintError> {
        self.seal_with(context, session, &nonce::draw()?)
    }

    fn seal_with(&self, context: &Context, session: &Mint<'_>, nonce: &[u8; NONCE_LEN]) -> Result<String, MintError> {
        let length = session.payload.len();
        if length > PAYLOAD_MAX {
            return Err(MintError::TooLong { length, limit: PAYLOAD_MAX });
        }
        let Some(expires_at) = session.expires_at else {
            return Err(MintError::Times { reason: "a sealed session must end" });
        };
        if session.issued_at.0 < 0 {
            return Err(MintError::Times { reason: "it begins before 1970" });
        }
        if expires_at <= session.issued_at {
            return Err(MintError::Times { reason: "it ends before it begins" });
        }
        let clear = token::clear(self.id, session.issued_at, expires_at);
        let mut bytes = Vec::with_capacity(OVERHEAD + length);
        bytes.extend_from_slice(&clear);
        bytes.extend_from_slice(&self.commitment);
        bytes.extend_from_slice(nonce);
        bytes.extend_from_slice(session.payload);
        match self.xaes.seal(nonce, &additional(&clear, context), &mut bytes[CIPHERTEXT_AT..]) {
            Ok(tag) => bytes.extend_from_slice(&tag),
            Err(_) => {
                bytes.zeroize();
                return Err(MintError::Key { reason: "the cryptographic library refused to seal".into() });
            }
        }
        Ok(base64_simd::URL_SAFE_NO_PAD.encode_to_string(&bytes))
    }

    /// Opens `text`, which names this key.
    pub(crate) fn open_text(&self, context: &Context, text: &str, now: UnixTime) -> Result<Session, OpenError> {
        self.open(context, token::decode(text)?, now)
    }

    /// Opens `token`, which names this key.
    pub(super) fn open(&self, context: &Context, token: Token, now: UnixTime) -> Result<Session, OpenError> {
        let Token { issued_at, expires_at, bytes: mut buffer, .. } = token;
        let payload = CIPHERTEXT_AT..buffer.len() - TAG_LEN;
        let (sealed, tag) = buffer.split_at_mut(payload.end);
        let Some((head, ciphertext)) = sealed.split_first_chunk_mut() else {
            return Err(OpenError::Malformed);
        };
        // Before any decryption: a token made to open under several keys falls here.
        // Every token of the key shows its commitment, so that the time of this comparison gives nothing away.
        if self.commitment != token::commitment(head) {
            return Err(OpenError::Tampered);
        }
        let additional = additional(&token::authenticated(head), context);
        self.xaes.open(&token::nonce(head), &additional, tag, ciphertext).map_err(|_| OpenError::Tampered)?;
        let session = Session { key: self.id, issued_at, expires_at, buffer, payload };
        // The times are believed only now that they are authenticated.
        if now.0.saturating_add(SKEW_SECONDS) < issued_at.0 {
            return Err(OpenError::NotYetValid);
        }
        if now >= expires_at {
            return Err(OpenError::Expired);
        }
        Ok(session)
    }
}

/// The additional data: a label, what is in the clear, and the context. The label makes it four whole blocks, which GHASH takes in one go.
fn additional(clear: &[u8; CLEAR_LEN], context: &Context) -> [u8; ADDITIONAL_LEN] {
    let mut additional = [0; ADDITIONAL_LEN];
    let (label, rest) = additional.split_at_mut(ADDITIONAL_LABEL.len());
    label.copy_from_slice(ADDITIONAL_LABEL);
    rest[..CLEAR_LEN].copy_from_slice(clear);
    rest[CLEAR_LEN..].copy_from_slice(context.digest());
    additional
}

const KEY_LEN: usize = 32;
const ADDITIONAL_LABEL: &[u8; 8] = b"keyroll1";
const ADDITIONAL_LEN: usize = ADDITIONAL_LABEL.len() + CLEAR_LEN + DIGEST_LEN;
const ENCRYPTION_LABEL: &[u8] = b"keyroll sealed token v1 encryption";
const COMMITMENT_LABEL: &[u8] = b"keyroll sealed token v1 commitment";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    #[test]
    fn every_vector_is_sealed_byte_for_byte() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../vectors/sealed-token.json")).expect("JSON");
        let vectors = file["seal"].as_array().expect("a list");
        assert_eq!(vectors.len(), 7);
        for vector in vectors {
            let text = |name: &str| vector[name].as_str().expect("text");
            let time = |name: &str| UnixTime(vector[name].as_i64().expect("a time"));
            let id = u32::try_from(vector["key"].as_u64().expect("an id")).expect("an id");
            let material = Secret::from_hex(text("material").as_bytes()).expect("hexadecimal");
            let slot = Slot::new(&Key::single(KeyId(id), material)).expect("a key");
            let context = Context::new(text("cookie"), text("purpose"), text("tenant"));
            let payload = hex::decode(text("payload")).expect("hexadecimal");
            let mint = Mint { payload: &payload, issued_at: time("issuedAt"), expires_at: Some(time("expiresAt")) };
            let nonce = hex::decode(text("nonce")).expect("hexadecimal").try_into().expect("24 bytes");
            let token = slot.seal_with(&context, &mint, &nonce).expect("it is sealed");
            assert_eq!(token, text("token"), "{}", text("name"));
        }
    }
}
