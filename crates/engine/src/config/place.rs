//! Values that know where they stand in the file.
//!
//! Positions are lost inside serde's untagged and flattened types, so the form as written uses neither.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

/// A value and the place where it is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: SourceSpan,
}

/// A place in the file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SourceSpan {
    /// From 1; 0 where the place is not known.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// In bytes from the beginning of the file.
    pub offset: usize,
    /// In bytes; at least 1 where the place is known.
    pub len: usize,
}

impl SourceSpan {
    pub(super) fn of(location: serde_saphyr::Location) -> Self {
        let index = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        Self {
            line: index(location.line()),
            column: index(location.column()),
            offset: location.span().byte_offset().map_or(0, index),
            len: location.span().byte_len().map_or(1, |len| index(len).max(1)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = serde_saphyr::Spanned::<T>::deserialize(deserializer)?;
        Ok(Self { value: spanned.value, span: SourceSpan::of(spanned.referenced) })
    }
}

impl<T: schemars::JsonSchema> schemars::JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<T>()
    }
}
