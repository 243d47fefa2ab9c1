//! A list with at least one item, so that "no store" and "no consumer" can't be represented.

use serde::Serialize;

/// At least one `T`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct NonEmpty<T>(Vec<T>);

impl<T> NonEmpty<T> {
    /// `None` where there is nothing.
    pub fn new(items: Vec<T>) -> Option<Self> {
        (!items.is_empty()).then_some(Self(items))
    }

    /// One item.
    pub fn one(item: T) -> Self {
        Self(vec![item])
    }

    /// The first item.
    pub fn first(&self) -> &T {
        &self.0[0]
    }

    /// All items.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    /// All items, by value.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }

    /// All items in turn.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// How many there are; never zero.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'a, T> IntoIterator for &'a NonEmpty<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
