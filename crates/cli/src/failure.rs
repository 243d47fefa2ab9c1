//! What the user sees when a command fails: what happened, whether the world changed, what to do next, and the exit code.

use crate::exit::Exit;

/// A failure of a command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What happened, in a sentence; causes follow it.
    pub(crate) what: String,
    /// What to do next.
    pub(crate) next: Option<String>,
    /// What machines are told besides, under a name.
    pub(crate) detail: Option<(&'static str, serde_json::Value)>,
}

impl Failure {
    /// A failure with the chain of `error` as its text.
    pub(crate) fn from_error(exit: Exit, error: &dyn std::error::Error) -> Self {
        let mut what = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            what.push_str(": ");
            what.push_str(&cause.to_string());
            source = cause.source();
        }
        Self { exit, what, next: None, detail: None }
    }

    /// A failure in words.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), next: None, detail: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}
