//! What can be read of a token without a key: which format it looks like, and what stands in it in the clear.
//!
//! A guess by form, never a statement: nothing here is authenticated.

use std::borrow::Cow;

use serde::Serialize;

use super::rails::wire::decode_percent;
use crate::{UnixTime, sealed};

/// One format that a token looks like.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Guess {
    /// The codec's name.
    pub codec: &'static str,
    /// What can be read, in words.
    pub detail: String,
}

/// The formats that `token` looks like, the likeliest first. Empty for what no codec has the form of.
pub fn inspect(token: &str) -> Vec<Guess> {
    if token.len() > MOST_BYTES {
        return Vec::new();
    }
    [sealed_session(token), rails_encrypted(token), rails_signed(token)].into_iter().flatten().collect()
}

fn sealed_session(token: &str) -> Option<Guess> {
    let header = sealed::inspect(token).ok()?;
    let at = |time: UnixTime| match jiff::Timestamp::from_second(time.0) {
        Ok(time) => time.to_string(),
        Err(_) => "beyond the calendar".to_owned(),
    };
    Some(Guess {
        codec: super::sealed::NAME,
        detail: format!(
            "a sealed session under key {} with {} bytes of sealed content; issued {}; expires {}",
            header.key.0,
            header.payload_len,
            at(header.issued_at),
            at(header.expires_at)
        ),
    })
}

fn rails_encrypted(token: &str) -> Option<Guess> {
    let value = plain(token)?;
    let mut parts = value.rsplitn(3, "--");
    let (tag, iv, ciphertext) = (decode(parts.next()?)?, decode(parts.next()?)?, decode(parts.next()?)?);
    (tag.len() == 16 && iv.len() == 12).then(|| Guess {
        codec: super::rails::NAME,
        detail: format!(
            "an encrypted cookie (AES-256-GCM) with {} bytes of sealed content; nothing of it can be read without the key",
            ciphertext.len()
        ),
    })
}

fn rails_signed(token: &str) -> Option<Guess> {
    let value = plain(token)?;
    let (payload, digest) = value.rsplit_once("--")?;
    let hash = match digest.len() {
        40 => "SHA-1",
        64 => "SHA-256",
        _ => return None,
    };
    if !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let payload = decode(payload)?;
    let message: Option<serde_json::Value> = serde_json::from_slice(&payload).ok();
    let rails = message.as_ref().and_then(|message| message.get("_rails"));
    let text = |name: &str| rails.and_then(|rails| rails.get(name)).and_then(|value| value.as_str()).map(str::to_owned);
    let mut detail = format!("a signed cookie (HMAC-{hash}) with {} bytes of readable content", payload.len());
    if let Some(purpose) = text("pur") {
        detail.push_str(&format!("; purpose `{}`", purpose.escape_debug()));
    }
    match (rails.is_some(), text("exp")) {
        (true, Some(expires)) => detail.push_str(&format!("; expires {}", expires.escape_debug())),
        (true, None) => detail.push_str("; without expiry"),
        (false, _) => detail.push_str("; without metadata"),
    }
    Some(Guess { codec: super::rails::NAME, detail })
}

fn plain(token: &str) -> Option<Cow<'_, str>> {
    match decode_percent(token).ok()? {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    base64_simd::STANDARD.decode_to_vec(text).ok()
}

/// No cookie is longer.
const MOST_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encrypted_cookie_shows_its_length_only() {
        let token = format!("{}--{}--{}", "QUJD", "AAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAA%3D%3D");
        let guesses = inspect(&token);
        assert_eq!(guesses.len(), 1);
        assert!(guesses[0].detail.contains("3 bytes of sealed content"), "{guesses:?}");
    }

    #[test]
    fn a_signed_cookie_shows_purpose_and_expiry() {
        let token = "eyJfcmFpbHMiOnsibWVzc2FnZSI6IkluVnpaWEl0TkRJaSIsImV4cCI6IjIwMzAtMDEtMDJUMDM6MDQ6MDUuMDAwWiIsInB1ciI6ImNvb2tpZS5yZW1lbWJlciJ9fQ%3D%3D--fdf4e3558ca5e1786a0e747730e5365607ce87b5";
        let guesses = inspect(token);
        assert_eq!(guesses.len(), 1);
        assert!(guesses[0].detail.contains("purpose `cookie.remember`; expires 2030-01-02"), "{guesses:?}");
    }

    #[test]
    fn a_sealed_session_shows_its_key_and_its_times() {
        let vectors = include_str!("../../vectors/sealed-token.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let token = vectors["seal"][0]["token"].as_str().unwrap();
        let guesses = inspect(token);
        assert_eq!(guesses.len(), 1);
        assert!(guesses[0].detail.contains("under key 1 with 7 bytes"), "{guesses:?}");
        assert!(guesses[0].detail.ends_with("expires 2027-01-15T09:00:00Z"), "{guesses:?}");
    }

    #[test]
    fn what_has_no_known_form_is_not_guessed() {
        for token in ["", "hello", "a--b", "--", "QUJD--zz", &"A".repeat(20_000)] {
            assert_eq!(inspect(token), Vec::new(), "{token}");
        }
    }
}
