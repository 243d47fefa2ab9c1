//! Fingerprints: the public name of key material. The same key has the same fingerprint in every store and service.

use std::fmt;

use crate::Part;

/// `kf1:` and 32 hexadecimal digits: 128 bits of PBKDF2-HMAC-SHA256 over the decoded material of all parts.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of `parts`. Takes about a tenth of a second on purpose. A key that is too weak gets none.
    pub fn of(_parts: &[Part]) -> Result<Self, FingerprintError> {
        todo!()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a key has no fingerprint.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// Guesses of the key could be tested against it.
    #[error("the key is too weak to be fingerprinted")]
    TooWeak,
}
