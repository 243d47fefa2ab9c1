//! Mistakes in the file: each with its place, its reason and its fix.
//!
//! A line that may hold a secret by mistake is never repeated, neither as an excerpt nor as a value.

use std::fmt;
use std::path::PathBuf;

use super::SourceSpan;

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It can't be read.
    #[error("`{}` can't be read", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It was read, and has mistakes.
    #[error(transparent)]
    Invalid(#[from] ConfigErrors),
}

/// All mistakes that were found, in the file's order. Never empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigErrors(pub(super) Vec<ConfigError>);

impl ConfigErrors {
    /// The mistakes.
    pub fn as_slice(&self) -> &[ConfigError] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One mistake.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}:{}:{}: {what}\n  why: {why}\n  fix: {fix}", file.display(), span.line, span.column)]
#[non_exhaustive]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The place.
    pub span: SourceSpan,
    /// What is wrong.
    pub what: String,
    /// Why it is.
    pub why: String,
    /// What to write instead.
    pub fix: String,
    /// The line itself, to be shown with a mark under it; `None` where it may hold a secret.
    pub excerpt: Option<String>,
}

/// Whether a line or a value looks as if a secret had been written into it: by its name, or by a word that nobody would think of.
pub(super) fn may_hold_a_secret(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let named =
        ["password", "passwd", "secret", "token", "credential", "private"].iter().any(|word| lower.contains(word));
    let separates = |c: char| c.is_whitespace() || "\"'`,:[]{}".contains(c);
    named || text.split(separates).any(is_random)
}

/// Whether it is made of anything but words, as what people give names to never is. Keys are of every alphabet, some with
/// hardly a digit in them, so the words are what is looked for. Better one line of an example too few than a key.
pub(super) fn is_random(word: &str) -> bool {
    let spelled: usize = segments(word).filter(|segment| is_word(segment)).map(<[u8]>::len).sum();
    word.len() >= SHORTEST_SECRET && spelled * 2 < word.len()
}

/// The runs of letters, cut where a capital follows a small letter, as in `maxLifetime`.
fn segments(word: &str) -> impl Iterator<Item = &[u8]> {
    let letters = word.as_bytes().split(|byte| !byte.is_ascii_alphabetic());
    letters.flat_map(|run| run.chunk_by(|a, b| !(a.is_ascii_lowercase() && b.is_ascii_uppercase())))
}

/// Whether it could be said aloud: not too short or long, in one case but for the first letter, and with vowels in between.
fn is_word(segment: &[u8]) -> bool {
    let in_one_case = segment.iter().all(u8::is_ascii_uppercase) || segment[1..].iter().all(u8::is_ascii_lowercase);
    let is_vowel = |byte: &u8| b"aeiouyAEIOUY".contains(byte);
    let consonants = segment.split(is_vowel).map(<[u8]>::len).max().unwrap_or_default();
    (4..=16).contains(&segment.len()) && in_one_case && segment.iter().any(is_vowel) && consonants <= 3
}

/// A value in backticks, or a description where it may be a secret or is long.
pub(super) fn quoted(value: &str) -> String {
    if may_hold_a_secret(value) {
        return "the value".to_owned();
    }
    if value.is_empty() {
        return "an empty text".to_owned();
    }
    match value.char_indices().nth(60) {
        Some((cut, _)) => format!("`{}...`", value[..cut].escape_debug()),
        None => format!("`{}`", value.escape_debug()),
    }
}

const SHORTEST_SECRET: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_alphabet_look_like_secrets() {
        for key in [
            "3f9a1c7be2d84056af13c9e07b52d68e",
            "8F3KQmVxYtRLpWqZsKjHgFdSaPoIuYtReWqMnBvCxZk=",
            "Qm/VxYtR/LpWqZsKj/HgFdSaPo/IuYtReWq/MnBvCxZl",
            "QmVxYtRLpWqZsKjHgFdSaPoIuYtReWqMnBvCxZlKjH",
            "qmvxytrlpwqzskjhgfdsapoiuytrewqmnbvcxzlkjh",
            "80417529630185274196385207419630852",
            "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
            "django-insecure-x7!q)v&w2k@e_9z#r$5t^y8u*i(o=p+m",
            "zQ7-hunter-xkcd-9Wv",
        ] {
            for line in [key.to_owned(), format!("  colour: {key}"), format!("a: [\"{key}\"]"), format!("{key}: 1")] {
                assert!(may_hold_a_secret(&line), "{line}");
            }
            assert_eq!(quoted(key), "the value");
        }
    }

    #[test]
    fn what_people_call_things_is_shown() {
        for name in [
            "maxLifetimeSeconds",
            "config/initializers/keyroll_cookie_rotation.rb",
            "Mon-Thu 09:00-16:00 Europe/London",
            "keyroll.dev/v1alpha1",
            "my-storefront-production-cookie",
            "http_requests_total",
            "  consumers: [{ process: { command: [./bin/puma, -p, \"{port}\"] } }]",
            "http://127.0.0.1:9000/metrics",
            "SESSION_ENCRYPTION_KEY",
        ] {
            assert!(!may_hold_a_secret(name), "{name}");
        }
    }
}
