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
    #[error("`{}` can't be read; write one with `keyroll init`, or name another with `--config FILE`", file.display())]
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

/// Whether a line or a value looks as if a secret had been written into it.
pub(super) fn may_hold_a_secret(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let named =
        ["password", "passwd", "secret", "token", "credential", "private"].iter().any(|word| lower.contains(word));
    let encoded = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '=' | '_' | '-');
    let dense = text.split(|c: char| !encoded(c)).any(|run| {
        let digits = run.chars().filter(char::is_ascii_digit).count();
        run.len() >= 16 && digits >= 3 && run.chars().any(|c| c.is_ascii_alphabetic())
    });
    named || dense
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
