//! A Rails cookie's value as text: percent-encoding on the wire, strict base64 inside.
//!
//! Rails' base64 never contains `-`, so that `--` between the fields is found by the fields' fixed lengths from the right.

use std::borrow::Cow;

use base64_simd::{AsOut, STANDARD};

use super::VALUE_MAX;
use crate::codec::OpenError;

/// Undoes percent-encoding. A value that is not encoded stays as it is.
pub(in crate::codec) fn decode_percent(token: &str) -> Result<Cow<'_, [u8]>, OpenError> {
    let token = token.as_bytes();
    // Longer than this is too long even if every byte is escaped, and is refused before any work.
    if token.len() > 3 * VALUE_MAX {
        return Err(OpenError::TooLong);
    }
    let Some(first) = memchr::memchr(b'%', token) else {
        return checked(Cow::Borrowed(token));
    };
    let mut value = Vec::with_capacity(token.len());
    value.extend_from_slice(&token[..first]);
    let mut rest = &token[first..];
    while let [b'%', after @ ..] = rest {
        let [high, low, after @ ..] = after else {
            return Err(OpenError::Malformed);
        };
        value.push(digit(*high)? << 4 | digit(*low)?);
        let plain = memchr::memchr(b'%', after).unwrap_or(after.len());
        value.extend_from_slice(&after[..plain]);
        rest = &after[plain..];
    }
    checked(Cow::Owned(value))
}

/// Escapes the three characters of base64 that Rack escapes; the rest of a value needs none.
pub(super) fn encode_percent(value: &[u8]) -> String {
    let mut token = String::with_capacity(value.len() + value.len() / 8 + 16);
    for &byte in value {
        match byte {
            b'+' => token.push_str("%2B"),
            b'/' => token.push_str("%2F"),
            b'=' => token.push_str("%3D"),
            _ => token.push(char::from(byte)),
        }
    }
    token
}

/// Decodes strict base64: padded, canonical, nothing else in between.
pub(super) fn decode_base64(text: &[u8]) -> Result<Vec<u8>, OpenError> {
    STANDARD.decode_to_vec(text).map_err(|_| OpenError::Malformed)
}

/// Decodes strict base64 of exactly `N` bytes.
pub(super) fn decode_base64_array<const N: usize>(text: &[u8]) -> Result<[u8; N], OpenError> {
    // A field of the right length can hold more than `N` bytes, where padding belongs; the decoder panics without the room.
    let mut bytes = [0; FIELD_MAX];
    if text.len() > FIELD_MAX {
        return Err(OpenError::Malformed);
    }
    let decoded = STANDARD.decode(text, bytes.as_mut_slice().as_out()).map_err(|_| OpenError::Malformed)?;
    <[u8; N]>::try_from(&*decoded).map_err(|_| OpenError::Malformed)
}

/// Appends `bytes` in base64 to `text`, which has the room already.
pub(super) fn append_base64(text: &mut Vec<u8>, bytes: &[u8]) {
    let start = text.len();
    text.resize(start + base64_len(bytes.len()), 0);
    let _ = STANDARD.encode(bytes, text[start..].as_out());
}

/// The length of `length` bytes in base64.
pub(super) fn base64_len(length: usize) -> usize {
    length.div_ceil(3) * 4
}

fn checked(value: Cow<'_, [u8]>) -> Result<Cow<'_, [u8]>, OpenError> {
    if value.len() > VALUE_MAX { Err(OpenError::TooLong) } else { Ok(value) }
}

fn digit(byte: u8) -> Result<u8, OpenError> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(OpenError::Malformed),
    }
}

/// The longest field of fixed length: a tag of 16 bytes in base64.
const FIELD_MAX: usize = 24;
