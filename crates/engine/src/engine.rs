//! The engine: one method per thing that an operator can ask for.

use std::path::PathBuf;
use std::sync::Arc;

use keyroll_rotation::Mode;

use crate::assembly::Assembly;
use crate::clock::{Clock, SystemClock};
use crate::error::EngineError;
use crate::hooks::{Hooks, NoHooks};
use crate::interrupt::Interrupt;
use crate::journal::Why;
use crate::outcome::Outcome;
use crate::plan::PlanDocument;
use crate::report::{NoObserver, Observer, PreflightReport, Status, VerifyReport, WaitReport};
use crate::request::{
    CompleteRequest, ReloadRequest, RevokeRequest, RollbackRequest, RotateRequest, UnlockRequest,
};

/// Drives the rotations of one key.
pub struct Engine {
    pub(crate) assembly: Assembly,
    pub(crate) state_dir: PathBuf,
    pub(crate) operator: Operator,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) interrupt: Interrupt,
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

    /// With an end through which it can be asked to stop.
    #[must_use]
    pub fn with_interrupt(mut self, interrupt: Interrupt) -> Self {
        self.interrupt = interrupt;
        self
    }

    /// Checks everything that can be checked before anything is written; calibrates the probe on every member.
    pub async fn preflight(&self) -> PreflightReport {
        todo!()
    }

    /// What a rotation would do now.
    pub async fn plan(&self, _mode: Mode) -> Result<PlanDocument, EngineError> {
        todo!()
    }

    /// Opens a rotation, or continues the open one.
    pub async fn rotate(&self, _request: RotateRequest) -> Result<Outcome, EngineError> {
        todo!()
    }

    /// Continues the open rotation from wherever it waits.
    pub async fn complete(&self, _request: CompleteRequest) -> Result<Outcome, EngineError> {
        todo!()
    }

    /// Lets the open rotation stand still.
    pub async fn pause(&self, _why: Why) -> Result<Outcome, EngineError> {
        todo!()
    }

    /// Lets it go on, without driving it.
    pub async fn resume(&self, _why: Why) -> Result<Outcome, EngineError> {
        todo!()
    }

    /// Goes back to the key with which the rotation began.
    pub async fn rollback(&self, _request: RollbackRequest) -> Result<Outcome, EngineError> {
        todo!()
    }

    /// Ends a compromised key.
    pub async fn revoke(&self, _request: RevokeRequest) -> Result<Outcome, EngineError> {
        todo!()
    }

    /// Reloads laggards, or one member.
    pub async fn reload(&self, _request: ReloadRequest, _why: Why) -> Result<Outcome, EngineError> {
        todo!()
    }

    /// Asks every member, now.
    pub async fn verify(&self) -> Result<VerifyReport, EngineError> {
        todo!()
    }

    /// Where everything stands.
    pub async fn status(&self) -> Result<Status, EngineError> {
        todo!()
    }

    /// Why it waits; `None` where nothing is open or nothing says no.
    pub async fn explain(&self) -> Result<Option<WaitReport>, EngineError> {
        todo!()
    }

    /// Takes the lock away from a holder on another host, by the rotation's id.
    pub async fn unlock(&self, _request: UnlockRequest) -> Result<Outcome, EngineError> {
        todo!()
    }
}
