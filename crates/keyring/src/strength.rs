//! Whether material is fit to be a key, and if not, why in words that name what to do.
//!
//! A key made by a good random generator is never refused: every rule here either can't be met by random bytes, or is
//! met by them less often than once in a hundred million keys.

use std::fmt;

use zeroize::Zeroizing;

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
    // What is left beside a template's or an example's words may be a good key, and random bytes may look like them.
    if is_text(text) {
        let is_little = |rest: Zeroizing<Vec<u8>>| estimate::bits(&rest, kind) < ENTROPY_FLOOR_BITS;
        if known::without_template_text(text).is_some_and(is_little) {
            return Some(Weakness::TemplateText);
        }
        if known::without_placeholder(text).is_some_and(is_little) {
            return Some(Weakness::PublicSample);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Encoding;

    fn text_weaknesses(text: &str) -> Vec<Weakness> {
        check(&Secret::from_text(text), &Requirement::text_at_least(32)).err().unwrap_or_default()
    }

    fn byte_weaknesses(bytes: &[u8]) -> Vec<Weakness> {
        check(&Secret::from_bytes(bytes.to_vec()), &Requirement::bytes_exactly(32)).err().unwrap_or_default()
    }

    const GOOD: &str = "5f0c1e9a7bd84236c1f0a9e8d7b65c43210fedcba98f7e6d5c4b3a2918f0e7d6";
    const GOOD_BYTES: [u8; 32] = *b"\x9a\x0f\xe1\x22\x83\xd4\x55\xf6\x17\xb8\x49\xca\x7b\xec\x0d\x3e\x91\x62\xf3\x04\xa5\x56\xd7\x28\xc9\x1a\x8b\xfc\x6d\xde\x4f\x10";

    #[test]
    fn good_keys_are_accepted() {
        assert_eq!(text_weaknesses(GOOD), []);
        assert_eq!(byte_weaknesses(&GOOD_BYTES), []);
    }

    #[test]
    fn each_kind_of_bad_key_is_refused_by_its_name() {
        assert_eq!(text_weaknesses("")[1..], [Weakness::Empty]);
        assert_eq!(byte_weaknesses(&[0; 32]), [Weakness::AllZero]);
        assert_eq!(byte_weaknesses(&[7; 32]), [Weakness::OneRepeatedByte]);
        assert_eq!(
            text_weaknesses(&"x".repeat(30)),
            [Weakness::TooShort { least: 32, length: 30 }, Weakness::OneRepeatedByte]
        );
        assert_eq!(text_weaknesses(&"abc123".repeat(20)), [Weakness::RepeatedPattern { period: 6 }]);
        assert_eq!(byte_weaknesses(&[1, 2, 3, 4].repeat(8)), [Weakness::RepeatedPattern { period: 4 }]);
        assert_eq!(byte_weaknesses(&GOOD_BYTES[..31]), [Weakness::WrongLength { exactly: 32, length: 31 }]);
        let short = &text_weaknesses("Tr0ub4dor&3")[..];
        assert!(matches!(short, [Weakness::TooShort { .. }, Weakness::LowEntropy { .. }]), "{short:?}");
    }

    #[test]
    fn public_samples_are_refused_as_text_and_decoded() {
        for sample in [
            "changeme",
            "change-me-change-me-change-me-change-me",
            "CHANGE_ME_TO_A_COMPLEX_RANDOM_SECRET",
            "YOUR_OWN_RANDOM_GENERATED_SECRET_KEY",
            "your-super-secret-key-at-least-32-characters",
            "complex_password_at_least_32_characters_long",
            "keyboard cat keyboard cat keyboard cat",
            "django-insecure-this-key-is-not-for-production",
            "b3c631c314c0bbca50c1b2843150fe33",
            "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
            "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf\n",
            "OQINaROshtE9TcZkNAm-5Zs2Pv3xaWytBmc5W7sPX7w=",
        ] {
            let found = text_weaknesses(sample);
            assert!(found.contains(&Weakness::PublicSample), "{sample}: {found:?}");
        }
        let decoded = Secret::from_base64url(b"OQINaROshtE9TcZkNAm-5Zs2Pv3xaWytBmc5W7sPX7w=").expect("base64");
        assert_eq!(byte_weaknesses(decoded.expose()), [Weakness::PublicSample]);
    }

    #[test]
    fn a_template_that_nobody_filled_in_is_refused() {
        for text in [
            r#"ENV["OLD_SECRET_KEY_BASE"]"#,
            "ENV['SECRET_KEY_BASE_OF_THE_STOREFRONT_APPLICATION']",
            r#"ENV.fetch("SECRET_KEY_BASE", "of the storefront application")"#,
            r#"<%= ENV["SECRET_KEY_BASE"] %>"#,
            "<%= Rails.application.credentials.secret_key_base %>",
            "${SECRET_KEY_BASE}",
            "${SECRET_KEY_BASE:?must be set in the environment of the application}",
            "$(SECRET_KEY_BASE_OF_THE_STOREFRONT_APPLICATION)",
            "$SECRET_KEY_BASE",
            "{{ .Values.session.secretKeyBase | b64enc | quote }}",
            "{{ vault_secret_key_base }}",
            "process.env.SESSION_SECRET_OF_THE_APPLICATION",
            r#"os.environ["DJANGO_SECRET_KEY_OF_THE_APPLICATION"]"#,
            "<your secret key base goes into this place here>",
            "%(secret_key_base_of_the_application)s",
        ] {
            let found = text_weaknesses(text);
            assert!(found.contains(&Weakness::TemplateText), "{text}: {found:?}");
        }
        // A good key that holds such an expression by chance, or beside it, is still a good key.
        assert_eq!(text_weaknesses(&format!("{GOOD}${{X}}")), []);
        assert_eq!(text_weaknesses(&format!("changeme{GOOD}")), []);
    }

    #[test]
    fn whitespace_around_a_key_is_offered_to_be_stripped_and_never_stripped() {
        for text in [format!("{GOOD}\n"), format!(" {GOOD}"), format!("{GOOD}\r\n")] {
            let secret = Secret::from_text(&text);
            let found = check(&secret, &Requirement::text_at_least(32)).expect_err("refused");
            assert_eq!(found, [Weakness::SurroundingWhitespace]);
            assert!(found[0].to_string().contains("strip it?"));
            assert_eq!(secret.len(), text.len(), "nothing was stripped");
            let stripped = secret.stripped().expect("something to strip");
            assert!(stripped.ct_eq(&Secret::from_text(GOOD)));
            assert_eq!(check(&stripped, &Requirement::text_at_least(32)), Ok(()));
        }
        assert!(Secret::from_text(GOOD).stripped().is_none());
    }

    #[test]
    fn a_newline_after_random_bytes_is_seen_and_one_among_them_is_not() {
        let mut longer = GOOD_BYTES.to_vec();
        longer.push(b'\n');
        assert_eq!(
            byte_weaknesses(&longer),
            [Weakness::WrongLength { exactly: 32, length: 33 }, Weakness::SurroundingWhitespace]
        );
        let mut ending = GOOD_BYTES;
        ending[31] = b'\n';
        assert_eq!(byte_weaknesses(&ending), []);
    }

    #[test]
    fn what_people_make_up_does_not_pass_for_random() {
        for text in [
            "correct horse battery staple correct horse battery",
            "this is my very long secret key for production",
            "my_super_long_session_secret_for_development_2024",
            "abcdefghijklmnopqrstuvwxyz0123456789",
            "0123456789abcdef0123456789abcdef0123456789abcdeF",
            "qwertyuiopasdfghjklzxcvbnm1234567890",
            "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbcccccccccccccccc",
            "deadbeefdeadbeefdeadbeefdeadbeefdeadbeefcafebabe",
            "11111111112222222222333333333344444444445555",
            "550e8400-e29b-41d4-a716-446655440000",
            // Base64 and hexadecimal digits of text that people made up.
            "cGFzc3dvcmRwYXNzd29yZHBhc3N3b3JkcGFzc3dvcmQ=",
            "6d792d7365637265742d6b65792d666f722d70726f64756374696f6e",
        ] {
            let found = text_weaknesses(text);
            assert!(
                !found.is_empty(),
                "{text}: about {} bits",
                estimated_bits(&Secret::from_text(text), MaterialKind::Text)
            );
            assert!(is_guessable(&Secret::from_text(text)), "{text}");
        }
    }

    #[test]
    fn the_estimate_is_the_length_times_the_bits_of_a_character() {
        let bits = |text: &str| estimated_bits(&Secret::from_text(text), MaterialKind::Text);
        assert_eq!(bits("8f3a1c9e5b7d2046fe8a9b1c3d5e7f01"), 128);
        assert_eq!(bits(GOOD), 256);
        assert!(bits(&GOOD[..30]) < 128, "30 hexadecimal digits are 120 bits");
    }

    /// Random keys of every form and length that generators make. A refusal of any is a fault.
    fn random_keys_are_accepted(encoding: Encoding, kind: MaterialKind, lengths: &[usize]) {
        let count = if std::env::var("KEYROLL_TEST_DEPTH").is_ok_and(|depth| depth == "full") { 100_000 } else { 500 };
        for &length in lengths {
            // One call for many keys: the generator is slow for a few bytes at a time.
            let mut pool = vec![0; length * count];
            aws_lc_rs::rand::fill(&mut pool).expect("random bytes");
            for bytes in pool.chunks_exact(length) {
                let material = Secret::from_bytes(bytes.to_vec()).encoded(encoding);
                let requirement = Requirement::new(Length::Exactly(material.len()), kind);
                let found = check(&material, &requirement);
                assert_eq!(found, Ok(()), "{length} random bytes as {encoding:?}: {}", hex::encode(bytes));
                assert!(!is_guessable(&material), "{length} random bytes as {encoding:?}: {}", hex::encode(bytes));
            }
        }
    }

    #[test]
    fn random_bytes_are_never_refused() {
        random_keys_are_accepted(Encoding::Raw, MaterialKind::Bytes, &[16, 24, 32, 64]);
    }

    #[test]
    fn random_hexadecimal_digits_are_never_refused() {
        random_keys_are_accepted(Encoding::Hex, MaterialKind::Text, &[16, 20, 32, 64]);
    }

    #[test]
    fn random_base64_is_never_refused() {
        random_keys_are_accepted(Encoding::Base64, MaterialKind::Text, &[16, 24, 32, 64]);
        random_keys_are_accepted(Encoding::Base64Url, MaterialKind::Text, &[16, 32, 48]);
    }
}
