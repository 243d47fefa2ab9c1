//! The engine: what drives the rotations of one key, and what it is given to do so.
//!
//! Its methods, one for each thing that an operator can ask for, stand in `requests`, `preflight`, `plan`, `verify` and `status`.

use std::path::PathBuf;
use std::sync::Arc;

use crate::assembly::Assembly;
use crate::clock::{Clock, SystemClock};
use crate::config::SessionKey;
use crate::driver::hooks::{Hooks, NoHooks};
use crate::driver::interrupt::Interrupt;
use crate::report::{NoObserver, Observer};

/// Drives the rotations of one key.
pub struct Engine {
    pub(crate) assembly: Assembly,
    pub(crate) state_dir: PathBuf,
    pub(crate) operator: Operator,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) interrupt: Interrupt,
    /// What the configuration says, for checks that look at more than what was assembled from it.
    pub(crate) document: Option<Arc<SessionKey>>,
}

/// Who asks.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the command line fills it in")]
pub struct Operator {
    /// `--operator`, by default the user.
    pub name: String,
    /// The machine's name.
    pub host: String,
}

impl Engine {
    /// An engine over `assembly`, whose journal and status live in `state_dir`.
    pub fn new(assembly: Assembly, state_dir: impl Into<PathBuf>, operator: Operator) -> Self {
        Self {
            assembly,
            state_dir: state_dir.into(),
            operator,
            clock: Arc::new(SystemClock),
            hooks: Arc::new(NoHooks),
            observer: Arc::new(NoObserver),
            interrupt: Interrupt::never(),
            document: None,
        }
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// With somebody who listens at every crash point.
    #[must_use]
    pub fn with_hooks(mut self, hooks: Arc<dyn Hooks>) -> Self {
        self.hooks = hooks;
        self
    }

    /// With somebody who watches.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// With the document from which `assembly` was made, so that preflight looks at the project's sources too, and names the
    /// fields that are wrong with what stands in them.
    #[must_use]
    pub fn with_document(mut self, document: SessionKey) -> Self {
        self.document = Some(Arc::new(document));
        self
    }

    /// With an end through which it can be asked to stop.
    #[must_use]
    pub fn with_interrupt(mut self, interrupt: Interrupt) -> Self {
        self.interrupt = interrupt;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::RotateRequest;

    /// A server drives engines on tasks of its own, and those may move between threads.
    #[test]
    fn driving_may_move_between_threads() {
        fn moves<T: Send>(_: &T) {}
        fn never_called(engine: &Engine) {
            moves(&engine.rotate(RotateRequest::default()));
            moves(&engine.preflight());
            moves(&engine.status());
        }
        let _ = never_called;
    }
}
