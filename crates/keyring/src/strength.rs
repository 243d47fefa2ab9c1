//! Whether material is fit to be a key, and if not, why in words that name what to do.
//!
//! A key made by a good random generator is never refused: every rule here either can't be met by random bytes, or is
//! met by them less often than once in a hundred million keys.

use std::fmt;

use crate::Secret;

mod estimate;
mod known;

/// What a key must be to serve a purpose. It always includes [`ENTROPY_FLOOR_BITS`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Requirement {
    length: Length,
    kind: MaterialKind,
}

impl Requirement {
    /// Any text of at least `length` bytes that is used as it is.
    pub fn text_at_least(length: usize) -> Self {
        Self { length: Length::AtLeast(length), kind: MaterialKind::Text }
    }

    /// Decoded bytes, exactly `length` of them.
    pub fn bytes_exactly(length: usize) -> Self {
        Self { length: Length::Exactly(length), kind: MaterialKind::Bytes }
    }

    /// Decoded bytes, at least `length` of them.
    pub fn bytes_at_least(length: usize) -> Self {
        Self { length: Length::AtLeast(length), kind: MaterialKind::Bytes }
    }

    /// Any length and kind.
    pub fn new(length: Length, kind: MaterialKind) -> Self {
        Self { length, kind }
    }

    /// How long.
    pub fn length(&self) -> Length {
        self.length
    }

    /// Text or bytes.
    pub fn kind(&self) -> MaterialKind {
        self.kind
    }
}

/// How long material must be, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Length {
    /// That long or longer.
    AtLeast(usize),
    /// Neither shorter nor longer.
    Exactly(usize),
}

/// Whether the characters or the bytes of a key carry its entropy.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "material is read as characters or as bytes")]
pub enum MaterialKind {
    /// Text that is used as it is, such as 128 hexadecimal digits.
    Text,
    /// Bytes, after decoding.
    Bytes,
}

/// Checks `material`, and names everything that is wrong with it.
pub fn check(material: &Secret, requirement: &Requirement) -> Result<(), Vec<Weakness>> {
    let bytes = material.expose();
    let mut found = Vec::new();
    match requirement.length {
        Length::AtLeast(least) if bytes.len() < least => {
            found.push(Weakness::TooShort { least, length: bytes.len() });
        }
        Length::Exactly(exactly) if bytes.len() != exactly => {
            found.push(Weakness::WrongLength { exactly, length: bytes.len() });
        }
        Length::AtLeast(_) | Length::Exactly(_) => {}
    }
    if has_doubtful_whitespace(bytes, requirement) {
        found.push(Weakness::SurroundingWhitespace);
    }
    found.extend(guessable(bytes, requirement.kind));
    if found.is_empty() { Ok(()) } else { Err(found) }
}

/// Whether guesses of the key could be tested against its fingerprint, whatever the key is for.
pub fn is_guessable(material: &Secret) -> bool {
    guessable(material.expose(), MaterialKind::Bytes).is_some()
}

/// The entropy that `material` has at most, in bits, as far as can be seen from it; the same figure that [`check`] compares
/// with [`ENTROPY_FLOOR_BITS`].
pub fn estimated_bits(material: &Secret, kind: MaterialKind) -> u32 {
    estimate::bits(core(material.expose()), kind)
}

/// The least entropy of a key.
pub const ENTROPY_FLOOR_BITS: u32 = 128;

/// What is wrong with material. It never holds any of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Weakness {
    /// Nothing there.
    Empty,
    /// Shorter than what the key is for needs.
    TooShort {
        /// The least length, in bytes.
        least: usize,
        /// Its length.
        length: usize,
    },
    /// Not of the one length that the profile allows.
    WrongLength {
        /// The length, in bytes.
        exactly: usize,
        /// Its length.
        length: usize,
    },
    /// A newline or spaces around it: the offer is [`Secret::stripped`].
    SurroundingWhitespace,
    /// Every byte is zero.
    AllZero,
    /// Every byte is the same.
    OneRepeatedByte,
    /// A short pattern again and again.
    RepeatedPattern {
        /// The length of the pattern, in bytes.
        period: usize,
    },
    /// It stands in public documentation, or in an example that people copy.
    PublicSample,
    /// Text that a template or a shell should have replaced, and did not.
    TemplateText,
    /// Too few bits, as far as can be seen.
    LowEntropy {
        /// The estimate.
        bits: u32,
    },
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the key is empty"),
            Self::TooShort { least, length } => {
                write!(f, "the key has {length} bytes and needs at least {least}")
            }
            Self::WrongLength { exactly, length } => {
                write!(f, "the key has {length} bytes and needs exactly {exactly}")
            }
            Self::SurroundingWhitespace => f.write_str(
                "a newline or spaces stand before or after the key; strip it? \
                 (first find out whether the application strips it too)",
            ),
            Self::AllZero => f.write_str("every byte of the key is zero"),
            Self::OneRepeatedByte => f.write_str("the key is one byte repeated"),
            Self::RepeatedPattern { period } => {
                write!(f, "the key is a pattern of {period} bytes repeated")
            }
            Self::PublicSample => f.write_str("the key is a published sample that anybody can look up"),
            Self::TemplateText => {
                f.write_str("the key is the text of a template that was never filled in, and so it is public")
            }
            Self::LowEntropy { bits } => {
                write!(f, "the key has about {bits} bits of entropy and needs {ENTROPY_FLOOR_BITS}")
            }
        }
    }
}

/// The first reason why the key could be guessed.
fn guessable(bytes: &[u8], kind: MaterialKind) -> Option<Weakness> {
    let text = core(bytes);
    let Some(first) = text.first() else { return Some(Weakness::Empty) };
    if text.iter().all(|byte| byte == first) {
        return Some(if *first == 0 { Weakness::AllZero } else { Weakness::OneRepeatedByte });
    }
    if known::is_public_sample(text) {
        return Some(Weakness::PublicSample);
    }
    // What is left beside a template's or an example's words may be a good key.
    if let Some(rest) = known::without_template_text(text)
        && estimate::bits(&rest, kind) < ENTROPY_FLOOR_BITS
    {
        return Some(Weakness::TemplateText);
    }
    if let Some(rest) = known::without_placeholder(text)
        && estimate::bits(&rest, kind) < ENTROPY_FLOOR_BITS
    {
        return Some(Weakness::PublicSample);
    }
    let bits = estimate::bits(text, kind);
    if bits >= ENTROPY_FLOOR_BITS {
        return None;
    }
    match period(text) {
        Some(period) => Some(Weakness::RepeatedPattern { period }),
        None => Some(Weakness::LowEntropy { bits }),
    }
}

/// Text without the whitespace around it; other bytes as they are, because a random key may end in a byte that looks
/// like a space.
fn core(bytes: &[u8]) -> &[u8] {
    if is_text(bytes) { bytes.trim_ascii() } else { bytes }
}

fn has_doubtful_whitespace(bytes: &[u8], requirement: &Requirement) -> bool {
    let trimmed = bytes.trim_ascii();
    if trimmed.len() == bytes.len() {
        return false;
    }
    match (requirement.kind, requirement.length) {
        (MaterialKind::Text, _) => true,
        // Random bytes of the right length may end in a newline. One byte too many that is a newline is one from a file.
        (MaterialKind::Bytes, Length::Exactly(exactly)) => {
            bytes.len() != exactly && (trimmed.len() == exactly || is_text(bytes))
        }
        (MaterialKind::Bytes, Length::AtLeast(_)) => is_text(bytes),
    }
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
}

/// The length of the pattern that fills all of `bytes`, where it comes at least twice.
fn period(bytes: &[u8]) -> Option<usize> {
    (1..=bytes.len() / 2).find(|period| bytes[*period..].iter().zip(bytes).all(|(late, early)| late == early))
}
