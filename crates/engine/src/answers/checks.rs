//! Checks, each with its colour, what was found and what helps.

use crate::report::{Check, Colour};

/// Checks as they are made.
#[derive(Default)]
pub(crate) struct Checks(pub(crate) Vec<Check>);

impl Checks {
    pub(crate) fn green(&mut self, name: &str, object: Option<&str>, found: impl Into<String>) {
        self.push(name, object, Colour::Green, found, None);
    }

    pub(crate) fn advice(&mut self, name: &str, object: Option<&str>, found: impl Into<String>, fix: &str) {
        self.push(name, object, Colour::Advice, found, Some(fix));
    }

    pub(crate) fn red(&mut self, name: &str, object: Option<&str>, found: impl Into<String>, fix: &str) {
        self.push(name, object, Colour::Red, found, Some(fix));
    }

    pub(crate) fn unknown(&mut self, name: &str, object: Option<&str>, found: impl Into<String>, fix: &str) {
        self.push(name, object, Colour::Unknown, found, Some(fix));
    }

    fn push(&mut self, name: &str, object: Option<&str>, colour: Colour, found: impl Into<String>, fix: Option<&str>) {
        self.0.push(Check {
            name: name.to_owned(),
            object: object.map(ToOwned::to_owned),
            colour,
            found: found.into(),
            fix: fix.map(ToOwned::to_owned),
        });
    }
}
