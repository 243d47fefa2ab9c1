//! How the fields of a store hold keys: what the engine needs of a profile.
//!
//! A trait, because the engine neither knows nor cares whether the fields are Rails' two variables or a ring file.

use keyroll_keyring::{Configuration, FieldName, Fields, ParsedConfiguration, Part};

/// Reads and writes the owned fields of a store.
pub trait KeyLayout: Send + Sync {
    /// Its name, as `keyroll.yaml` writes it.
    fn name(&self) -> &str;

    /// The fields that Keyroll owns.
    fn fields(&self) -> Vec<FieldName>;

    /// What the fields hold. The order of the accept-only keys is theirs.
    fn parse(&self, fields: &Fields) -> Result<ParsedConfiguration, LayoutError>;

    /// The fields that hold `configuration`, every owned one of them.
    fn render(&self, configuration: &Configuration<'_>) -> Result<Fields, LayoutError>;

    /// A new key of full strength.
    fn generate(&self) -> Result<Vec<Part>, LayoutError>;

    /// Why a key that was found should not be in use (too short, public sample ...). Empty if it is good.
    fn complaints(&self, parts: &[Part]) -> Vec<String>;

    /// How many accept-only keys the framework can hold; 0 for those that know one key only.
    fn accept_only_capacity(&self) -> AcceptOnlyCapacity;

    /// Texts that members log or answer when a key is wrong, so that `verify` can look for them.
    fn error_texts(&self) -> Vec<String>;
}

/// How many accept-only keys a framework can hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: none, some or any number")]
pub enum AcceptOnlyCapacity {
    /// One key only: no procedure keeps the sessions.
    None,
    /// Up to this many.
    UpTo(u32),
    /// Any number.
    Unlimited,
}

/// Why fields and keys do not fit. It never holds what the fields hold.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The fields do not hold a configuration.
    #[error("the fields do not hold keys as `{layout}` has them: {reason}")]
    Unreadable {
        /// The layout.
        layout: String,
        /// What and where, without secrets.
        reason: String,
    },
    /// The configuration can't be written in this layout.
    #[error("`{layout}` can't hold this configuration: {reason}")]
    Unwritable {
        /// The layout.
        layout: String,
        /// Why.
        reason: String,
    },
    /// No key could be generated.
    #[error("no key could be generated for `{layout}`: {reason}")]
    Generate {
        /// The layout.
        layout: String,
        /// Why.
        reason: String,
    },
}
