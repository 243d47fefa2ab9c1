//! Fingerprints: the public name of key material. The same key has the same fingerprint in every store and service.
//!
//! A plain hash of a weak key would let anybody who sees it test guesses. So a fingerprint is slow on purpose, and a
//! key that is weak in spite of that has none. `docs/reference/fingerprints.md` defines it for other languages.

use std::{fmt, num::NonZeroU32};

use aws_lc_rs::pbkdf2;
use zeroize::Zeroizing;

use crate::{Part, strength};

/// `kf1:` and 32 hexadecimal digits: 128 bits of PBKDF2-HMAC-SHA256 over the decoded material of all parts.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of `parts`, in the profile's order; their names do not count. Takes about a tenth of a second
    /// on purpose, so keep the answer. A key that is too weak gets none.
    pub fn of(parts: &[Part]) -> Result<Self, FingerprintError> {
        if parts.is_empty() || parts.iter().any(|part| strength::is_guessable(&part.material)) {
            return Err(FingerprintError::TooWeak);
        }
        // The length in front keeps two lists of parts from running into the same bytes. It also keeps apart what
        // HMAC alone would not: a key, and the same key with zero bytes at its end.
        let mut password = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| 4 + part.material.len()).sum()));
        for part in parts {
            let length = u32::try_from(part.material.len()).map_err(|_| FingerprintError::TooLong)?;
            password.extend_from_slice(&length.to_be_bytes());
            password.extend_from_slice(part.material.expose());
        }
        let mut digest = [0; DIGEST_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, SALT, &password, &mut digest);
        Ok(Self(format!("{PREFIX}{}", hex::encode(digest))))
    }

    /// A fingerprint from its text, exactly as [`Self::of`] writes it.
    pub fn parse(text: &str) -> Result<Self, FingerprintError> {
        let digits = text.strip_prefix(PREFIX).ok_or(FingerprintError::Malformed)?;
        if digits.len() != DIGEST_BYTES * 2 || !digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(FingerprintError::Malformed);
        }
        Ok(Self(text.to_owned()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = FingerprintError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.0
    }
}

/// A fingerprint by an application's own scheme, such as the first 8 bytes of SHA-256 that it logs at its start.
///
/// It has a type of its own, so that it is never compared with a [`Fingerprint`], and is written `scheme:text`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ForeignFingerprint {
    scheme: String,
    text: String,
}

impl ForeignFingerprint {
    /// The fingerprint `text` by `scheme`: small letters, digits and hyphens, such as `sha256-8`; never `kf` and a number.
    pub fn new(scheme: &str, text: &str) -> Result<Self, FingerprintError> {
        let bytes = scheme.as_bytes();
        let letters = bytes.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        // `kf2` and so on belong to later versions of our own scheme.
        let ours = scheme.strip_prefix("kf").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        let starts = bytes.first().is_some_and(u8::is_ascii_lowercase);
        let readable = !text.is_empty() && text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !starts || !letters || ours || scheme.len() > 32 || !readable {
            return Err(FingerprintError::Malformed);
        }
        Ok(Self { scheme: scheme.to_owned(), text: text.to_owned() })
    }

    /// From `scheme:text`.
    pub fn parse(tagged: &str) -> Result<Self, FingerprintError> {
        let (scheme, text) = tagged.split_once(':').ok_or(FingerprintError::Malformed)?;
        Self::new(scheme, text)
    }

    /// The name of the scheme.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// What the application writes, without the scheme.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for ForeignFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme, self.text)
    }
}

impl TryFrom<String> for ForeignFingerprint {
    type Error = FingerprintError;

    fn try_from(tagged: String) -> Result<Self, Self::Error> {
        Self::parse(&tagged)
    }
}

impl From<ForeignFingerprint> for String {
    fn from(fingerprint: ForeignFingerprint) -> Self {
        fingerprint.to_string()
    }
}

/// Why a key has no fingerprint, or a text is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// Guesses of the key could be tested against it.
    #[error("the key is too weak to be fingerprinted")]
    TooWeak,
    /// A part is longer than 4 GiB.
    #[error("the key is too long to be fingerprinted")]
    TooLong,
    /// The text is not a fingerprint of the scheme that was asked for.
    #[error("the text is not a fingerprint: expected `kf1:` and 32 hexadecimal digits, or `scheme:text`")]
    Malformed,
}

const PREFIX: &str = "kf1:";
const SALT: &[u8] = b"keyroll.dev/fingerprint/v1";
const DIGEST_BYTES: usize = 16;
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{PartName, Secret};

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../vectors/fingerprints.json")).expect("vectors are JSON")
    }

    fn entries<'a>(vectors: &'a Value, list: &str) -> &'a [Value] {
        let entries = vectors[list].as_array().expect("a list");
        assert!(!entries.is_empty());
        entries
    }

    fn parts(entry: &Value) -> Vec<Part> {
        let texts = entry["parts"].as_array().expect("parts");
        let part = |(index, text): (usize, &Value)| Part {
            name: PartName(format!("part {index}")),
            material: Secret::from_hex(text.as_str().expect("text").as_bytes()).expect("hexadecimal"),
        };
        texts.iter().enumerate().map(part).collect()
    }

    #[test]
    fn fingerprints_are_those_that_python_computes() {
        let mut seen = std::collections::BTreeSet::new();
        for entry in entries(&vectors(), "vectors") {
            let fingerprint = Fingerprint::of(&parts(entry)).expect("a strong key");
            assert_eq!(fingerprint.as_str(), entry["fingerprint"], "{}", entry["name"]);
            assert_eq!(Fingerprint::parse(fingerprint.as_str()), Ok(fingerprint.clone()));
            assert!(seen.insert(fingerprint), "{} has the fingerprint of another vector", entry["name"]);
        }
    }

    #[test]
    fn a_weak_key_has_no_fingerprint() {
        for entry in entries(&vectors(), "refused") {
            assert_eq!(Fingerprint::of(&parts(entry)), Err(FingerprintError::TooWeak), "{}", entry["name"]);
        }
        assert_eq!(Fingerprint::of(&[]), Err(FingerprintError::TooWeak));
    }

    #[test]
    fn only_the_exact_form_is_a_fingerprint() {
        for text in entries(&vectors(), "malformed") {
            let text = text.as_str().expect("text");
            assert_eq!(Fingerprint::parse(text), Err(FingerprintError::Malformed), "{text}");
            assert!(serde_json::from_value::<Fingerprint>(Value::from(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_foreign_scheme_is_tagged_and_never_takes_our_name() {
        let foreign = ForeignFingerprint::parse("sha256-8:32db91b1fb9d4e34").expect("well formed");
        assert_eq!((foreign.scheme(), foreign.text()), ("sha256-8", "32db91b1fb9d4e34"));
        assert_eq!(foreign.to_string(), "sha256-8:32db91b1fb9d4e34");
        for wrong in
            ["32db91b1fb9d4e34", ":x", "sha256-8:", "SHA:x", "8sha:x", "kf1:x", "kf2:x", "kf:x", "a b:x", "a:x y"]
        {
            assert_eq!(ForeignFingerprint::parse(wrong), Err(FingerprintError::Malformed), "{wrong}");
        }
    }
}
