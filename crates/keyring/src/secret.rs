//! The one type that holds secret bytes.
//!
//! It can't be cloned, compared with `==`, printed or serialised: what must not happen does not compile.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Secret bytes, wiped when dropped: key material, or the text of a secret as a store holds it.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over `bytes`; nothing else keeps a copy.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Text as it is: Rails' 128 hexadecimal digits are text, for example.
    pub fn from_text(text: &str) -> Self {
        Self::from_bytes(text.as_bytes().to_vec())
    }

    /// Standard base64 with padding (RFC 4648, section 4).
    pub fn from_base64(text: &[u8]) -> Result<Self, SecretError> {
        base64_simd::STANDARD.decode_to_vec(text).map(Self::from_bytes).map_err(|_| SecretError::Base64)
    }

    /// URL-safe base64, with or without padding (RFC 4648, section 5).
    pub fn from_base64url(text: &[u8]) -> Result<Self, SecretError> {
        let trimmed = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
        base64_simd::URL_SAFE_NO_PAD.decode_to_vec(trimmed).map(Self::from_bytes).map_err(|_| SecretError::Base64)
    }

    /// Hexadecimal digits of either case.
    pub fn from_hex(text: &[u8]) -> Result<Self, SecretError> {
        hex::decode(text).map(Self::from_bytes).map_err(|_| SecretError::Hex)
    }

    /// The bytes themselves. Whoever calls this must not let them out.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// A second copy, by name: there is no `Clone`, so that each copy is seen in review.
    pub fn duplicate(&self) -> Self {
        Self::from_bytes(self.0.to_vec())
    }

    /// Equality in constant time for equal lengths.
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// Why text is not a secret in the encoding that was named. It never holds the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The text is not base64 of the alphabet that was asked for.
    #[error("the text is not base64")]
    Base64,
    /// The text is not an even number of hexadecimal digits.
    #[error("the text is not hexadecimal")]
    Hex,
}
