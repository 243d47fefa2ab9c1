//! The one type that holds secret bytes.
//!
//! It can't be cloned, compared with `==`, printed or serialised: what must not happen does not compile. Decoding
//! writes straight into memory that is wiped, also when it fails half way.

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

    /// Standard base64 with padding (RFC 4648, section 4), canonical: bits that encode nothing must be zero.
    pub fn from_base64(text: &[u8]) -> Result<Self, SecretError> {
        Self::decode_base64(&base64_simd::STANDARD, text)
    }

    /// URL-safe base64, with all of its padding or none (RFC 4648, section 5), canonical.
    pub fn from_base64url(text: &[u8]) -> Result<Self, SecretError> {
        let codec = if text.ends_with(b"=") { &base64_simd::URL_SAFE } else { &base64_simd::URL_SAFE_NO_PAD };
        Self::decode_base64(codec, text)
    }

    /// Hexadecimal digits of either case.
    pub fn from_hex(text: &[u8]) -> Result<Self, SecretError> {
        refuse_surrounding_whitespace(text)?;
        if !text.len().is_multiple_of(2) {
            return Err(SecretError::OddHex);
        }
        let mut bytes = Zeroizing::new(vec![0; text.len() / 2]);
        hex::decode_to_slice(text, &mut bytes).map_err(|_| SecretError::Hex)?;
        Ok(Self(bytes))
    }

    /// The bytes themselves. Whoever calls this must not let them out.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, where they are UTF-8. Whoever calls this must not let them out.
    pub fn expose_text(&self) -> Result<&str, SecretError> {
        std::str::from_utf8(&self.0).map_err(|_| SecretError::NotText)
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A second copy, by name: there is no `Clone`, so that each copy is seen in review.
    pub fn duplicate(&self) -> Self {
        Self::from_bytes(self.0.to_vec())
    }

    /// A copy without the ASCII whitespace around it, or `None` where there is none.
    ///
    /// Nothing calls this on its own: some frameworks use the newline at the end of a file as a part of the key, so
    /// whether it belongs to the key is for a person to say.
    pub fn stripped(&self) -> Option<Self> {
        let trimmed = self.0.trim_ascii();
        (trimmed.len() != self.0.len()).then(|| Self::from_bytes(trimmed.to_vec()))
    }

    /// The text form of these bytes in `encoding`.
    pub fn encoded(&self, encoding: Encoding) -> Self {
        match encoding {
            Encoding::Raw | Encoding::Text => self.duplicate(),
            Encoding::Base64 => Self(Zeroizing::new(base64_simd::STANDARD.encode_type(&self.0[..]))),
            Encoding::Base64Url => Self(Zeroizing::new(base64_simd::URL_SAFE_NO_PAD.encode_type(&self.0[..]))),
            Encoding::Hex => {
                let mut text = Zeroizing::new(vec![0; self.0.len() * 2]);
                hex::encode_to_slice(&self.0[..], &mut text).unwrap_or_else(|_| unreachable!("two digits a byte"));
                Self(text)
            }
        }
    }

    /// The bytes that this text means in `encoding`.
    pub fn decoded(&self, encoding: Encoding) -> Result<Self, SecretError> {
        match encoding {
            Encoding::Raw => Ok(self.duplicate()),
            Encoding::Text => self.expose_text().map(Self::from_text),
            Encoding::Base64 => Self::from_base64(&self.0),
            Encoding::Base64Url => Self::from_base64url(&self.0),
            Encoding::Hex => Self::from_hex(&self.0),
        }
    }

    /// Equality in constant time for equal lengths.
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    fn decode_base64(codec: &base64_simd::Base64, text: &[u8]) -> Result<Self, SecretError> {
        refuse_surrounding_whitespace(text)?;
        // The decoder writes less than it is given where there is padding, so the rest is cut off afterwards.
        let mut bytes = Zeroizing::new(vec![0; codec.estimated_decoded_length(text.len())]);
        let written =
            codec.decode(text, base64_simd::Out::from_slice(&mut bytes)).map_err(|_| SecretError::Base64)?.len();
        bytes.truncate(written);
        Ok(Self(bytes))
    }
}

/// How the bytes of a key are written where an application reads them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Encoding {
    /// The bytes themselves.
    Raw,
    /// Text that is the key: it is never decoded (Rails, Django, Flask).
    Text,
    /// Standard base64 with padding.
    Base64,
    /// URL-safe base64; written without padding, read with or without.
    Base64Url,
    /// Hexadecimal digits; written in lower case, read in either.
    Hex,
}

/// Why text is not a secret in the encoding that was named. It never holds the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The text is not base64 of the alphabet that was asked for.
    #[error("the text is not base64")]
    Base64,
    /// The text holds something other than hexadecimal digits.
    #[error("the text is not hexadecimal")]
    Hex,
    /// The text has an odd number of digits; one may have been lost.
    #[error("the text has an odd number of hexadecimal digits")]
    OddHex,
    /// A newline or spaces stand around the text. See [`Secret::stripped`].
    #[error("whitespace stands before or after the text; strip it if it is not part of the key")]
    SurroundingWhitespace,
    /// The bytes are not UTF-8.
    #[error("the bytes are not UTF-8 text")]
    NotText,
}

fn refuse_surrounding_whitespace(text: &[u8]) -> Result<(), SecretError> {
    if text.trim_ascii().len() == text.len() { Ok(()) } else { Err(SecretError::SurroundingWhitespace) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Does not compile where `$type` implements `$trait`: then there are two candidates for `check`.
    macro_rules! assert_has_not {
        ($type:ty: $($trait:path),+) => {$({
            trait Candidate<A> {
                fn check() {}
            }
            impl<T: ?Sized> Candidate<()> for T {}
            struct Twice;
            impl<T: ?Sized + $trait> Candidate<Twice> for T {}
            <$type as Candidate<_>>::check();
        })+};
    }

    #[test]
    fn a_secret_can_not_be_cloned_compared_printed_or_serialised() {
        assert_has_not!(Secret: Clone, std::fmt::Debug, std::fmt::Display, PartialEq, serde::Serialize);
        assert_has_not!(crate::Key: Clone, std::fmt::Debug, std::fmt::Display, PartialEq, serde::Serialize);
        assert_has_not!(crate::Ring: Clone, std::fmt::Debug, std::fmt::Display, PartialEq, serde::Serialize);
    }

    #[test]
    fn decoding_is_strict_and_says_why_without_the_text() {
        let base64 = |text: &str| Secret::from_base64(text.as_bytes()).map(|secret| secret.len());
        assert_eq!(base64("3q2+7w=="), Ok(4));
        for wrong in ["3q2+7w", "3q2-7w==", "3q2+7x==", "3q2+7w=", "3q2+ 7w==", "3q2+7w===", "="] {
            assert_eq!(base64(wrong), Err(SecretError::Base64), "{wrong}");
        }
        let base64url = |text: &str| Secret::from_base64url(text.as_bytes()).map(|secret| secret.len());
        assert_eq!((base64url("3q2-7w"), base64url("3q2-7w==")), (Ok(4), Ok(4)));
        for wrong in ["3q2-7w=", "3q2+7w", "3q2-7x", "3q2-7w==="] {
            assert_eq!(base64url(wrong), Err(SecretError::Base64), "{wrong}");
        }
        let hex = |text: &str| Secret::from_hex(text.as_bytes()).map(|secret| secret.len());
        assert_eq!(hex("deadBEEF"), Ok(4));
        assert_eq!(
            (hex("deadbee"), hex("deadbeeg"), hex("0xdeadbe")),
            (Err(SecretError::OddHex), Err(SecretError::Hex), Err(SecretError::Hex))
        );
        for (wrong, error) in [
            (base64("3q2+7w==\n"), SecretError::SurroundingWhitespace),
            (base64url(" 3q2-7w"), SecretError::SurroundingWhitespace),
            (hex("deadbeef\r\n"), SecretError::SurroundingWhitespace),
        ] {
            assert_eq!(wrong, Err(error));
        }
        let text = Secret::from_bytes(vec![0xff, 0xfe]).decoded(Encoding::Text).map(|_| ());
        assert_eq!(text, Err(SecretError::NotText));
    }

    proptest! {
        #[test]
        fn every_encoding_gives_back_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let secret = Secret::from_bytes(bytes);
            for encoding in [Encoding::Raw, Encoding::Base64, Encoding::Base64Url, Encoding::Hex] {
                let again = secret.encoded(encoding).decoded(encoding);
                prop_assert!(again.is_ok_and(|again| again.ct_eq(&secret)), "{encoding:?}");
            }
        }

        #[test]
        fn no_text_makes_a_decoder_panic(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let secret = Secret::from_bytes(text);
            for encoding in [Encoding::Text, Encoding::Base64, Encoding::Base64Url, Encoding::Hex] {
                // What is accepted is the one text that the encoding writes, letter case and padding aside.
                if let Ok(decoded) = secret.decoded(encoding) {
                    let written = decoded.encoded(encoding);
                    let (written, read) = (written.expose().to_ascii_lowercase(), secret.expose().to_ascii_lowercase());
                    prop_assert!(read.starts_with(&written) && read[written.len()..].iter().all(|byte| *byte == b'='));
                }
            }
        }
    }
}
