//! The bytes of a sealed token, and its text form.
//!
//! The first three bytes are chosen so that every token begins with `krs1` in base64url: people and secret scanners know it on sight.

use base64_simd::URL_SAFE_NO_PAD;

use super::nonce::NONCE_LEN;
use super::xaes::TAG_LEN;
use crate::token::OpenError;
use crate::{KeyId, UnixTime};

/// The longest token as text. A browser keeps 4096 bytes of a cookie, its name and attributes included.
pub const TEXT_MAX: usize = 4096;

/// The longest payload.
pub const PAYLOAD_MAX: usize = TEXT_MAX / 4 * 3 - OVERHEAD;

/// How far ahead of the reader's clock a token's beginning may lie: the clocks of two members are never quite the same.
pub const SKEW_SECONDS: i64 = 60;

/// What a token says in the clear. Nothing of it is proven before the token is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TokenHeader {
    /// The key that it names.
    pub key: KeyId,
    /// When it says that it began.
    pub issued_at: UnixTime,
    /// When it says that it ends.
    pub expires_at: UnixTime,
    /// The length of its payload.
    pub payload_len: usize,
}

/// Reads what `text` says in the clear, without any key and without any proof: for counting and for showing to people.
pub fn inspect(text: &str) -> Result<TokenHeader, OpenError> {
    let token = decode(text)?;
    Ok(TokenHeader {
        key: token.key,
        issued_at: token.issued_at,
        expires_at: token.expires_at,
        payload_len: token.bytes.len() - OVERHEAD,
    })
}

/// A token of a length and with times that a token can have.
pub(super) struct Token {
    /// The key that it names.
    pub(super) key: KeyId,
    /// When it says that it began.
    pub(super) issued_at: UnixTime,
    /// When it says that it ends.
    pub(super) expires_at: UnixTime,
    /// All of it, at least `OVERHEAD` bytes.
    pub(super) bytes: Vec<u8>,
}

/// Decodes `text` as far as this is possible without a key.
pub(super) fn decode(text: &str) -> Result<Token, OpenError> {
    if text.len() > TEXT_MAX {
        return Err(OpenError::TooLong);
    }
    let bytes = URL_SAFE_NO_PAD.decode_to_vec(text.as_bytes()).map_err(|_| OpenError::Malformed)?;
    let head = match bytes.first_chunk() {
        Some(head) if bytes.len() >= OVERHEAD && head[..KEY_AT] == MAGIC => head,
        _ => return Err(OpenError::Malformed),
    };
    let key = KeyId(u32::from_be_bytes(field::<KEY_AT, 4>(head)));
    let issued_at = UnixTime(i64::from_be_bytes(field::<ISSUED_AT, 8>(head)));
    let expires_at = UnixTime(i64::from_be_bytes(field::<EXPIRES_AT, 8>(head)));
    // Times are 63 bits; with the first one set they would be negative here and huge elsewhere.
    if issued_at.0 < 0 || expires_at.0 < 0 {
        return Err(OpenError::Malformed);
    }
    Ok(Token { key, issued_at, expires_at, bytes })
}

/// What comes before the ciphertext.
pub(super) type Head = [u8; CIPHERTEXT_AT];

/// The commitment to the key.
pub(super) fn commitment(head: &Head) -> [u8; COMMITMENT_LEN] {
    field::<COMMITMENT_AT, COMMITMENT_LEN>(head)
}

/// The nonce.
pub(super) fn nonce(head: &Head) -> [u8; NONCE_LEN] {
    field::<NONCE_AT, NONCE_LEN>(head)
}

/// The bytes that are authenticated and not encrypted.
pub(super) fn authenticated(head: &Head) -> [u8; CLEAR_LEN] {
    field::<0, CLEAR_LEN>(head)
}

/// Place and length are constants, so that the compiler checks the bounds.
fn field<const AT: usize, const LEN: usize>(head: &Head) -> [u8; LEN] {
    let mut field = [0; LEN];
    field.copy_from_slice(&head[AT..AT + LEN]);
    field
}

/// The first bytes of a token for `key`, up to the commitment.
pub(super) fn clear(key: KeyId, issued_at: UnixTime, expires_at: UnixTime) -> [u8; CLEAR_LEN] {
    let mut clear = [0; CLEAR_LEN];
    clear[..KEY_AT].copy_from_slice(&MAGIC);
    clear[KEY_AT..ISSUED_AT].copy_from_slice(&key.0.to_be_bytes());
    clear[ISSUED_AT..EXPIRES_AT].copy_from_slice(&issued_at.0.to_be_bytes());
    clear[EXPIRES_AT..].copy_from_slice(&expires_at.0.to_be_bytes());
    clear
}

/// `krs1` in base64url, of which the 1 is the version, and a byte that is reserved: it also puts the ciphertext at a multiple of
/// 16 bytes, where the processor reads it faster.
const MAGIC: [u8; 4] = [0x92, 0xbb, 0x35, 0];
const KEY_AT: usize = MAGIC.len();
const ISSUED_AT: usize = KEY_AT + 4;
const EXPIRES_AT: usize = ISSUED_AT + 8;
/// The length of what is in the clear and authenticated as additional data.
pub(super) const CLEAR_LEN: usize = EXPIRES_AT + 8;
const COMMITMENT_AT: usize = CLEAR_LEN;
/// The length of a commitment. Shorter than twice the strength wanted would be no commitment.
pub(super) const COMMITMENT_LEN: usize = 32;
const NONCE_AT: usize = COMMITMENT_AT + COMMITMENT_LEN;
/// Where the ciphertext begins.
pub(super) const CIPHERTEXT_AT: usize = NONCE_AT + NONCE_LEN;
/// What a token has beyond its payload.
pub(super) const OVERHEAD: usize = CIPHERTEXT_AT + TAG_LEN;
