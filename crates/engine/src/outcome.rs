//! What came of a request, and the exit code that says so. The codes are an interface; see `product.md`.

use keyroll_rotation::{RotationId, Stage};
use serde::Serialize;

use crate::report::{KeyRejected, WaitReport};
use crate::world::lock::LockHolder;

/// What came of a request that was carried out as far as it could be.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Outcome {
    /// Which of the exit codes it is.
    pub exit: ExitKind,
    /// The rotation, if there is one.
    pub rotation: Option<RotationId>,
    /// Where it stands.
    pub stage: Option<Stage>,
    /// What happened, and whether the world changed.
    pub summary: String,
    /// What to do next: a command, where one helps.
    pub next: Option<String>,
    /// Who says no, where it waits.
    pub wait: Option<WaitReport>,
    /// Who drives and will take the request, where it was left for somebody.
    pub holder: Option<LockHolder>,
    /// For emergencies: who was shown to reject each key that had leaked.
    pub rejected: Vec<KeyRejected>,
    /// For emergencies that have come to their end: a text for the people affected.
    pub announcement: Option<String>,
}

/// The exit codes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ExitKind {
    /// 0: done or nothing to do.
    Done,
    /// 2: a plan has changes.
    PlanHasChanges,
    /// 3: waiting at a gate.
    Waiting,
    /// 4: preflight failed.
    PreflightFailed,
    /// 5: drift.
    Drift,
    /// 6: locked by another.
    Locked,
    /// 7: the rotation was rolled back.
    RolledBack,
    /// 8: a human must decide.
    HumanMustDecide,
    /// 64: what was asked for does not fit what is there; another command does.
    Usage,
    /// 130: interrupted, resumable.
    Interrupted,
    /// 1: any other failure.
    Failed,
}

impl ExitKind {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::PlanHasChanges => 2,
            Self::Waiting => 3,
            Self::PreflightFailed => 4,
            Self::Drift => 5,
            Self::Locked => 6,
            Self::RolledBack => 7,
            Self::HumanMustDecide => 8,
            Self::Usage => 64,
            Self::Interrupted => 130,
        }
    }
}

impl Outcome {
    pub(crate) fn new(exit: ExitKind, summary: impl Into<String>) -> Self {
        Self {
            exit,
            rotation: None,
            stage: None,
            summary: summary.into(),
            next: None,
            wait: None,
            holder: None,
            rejected: Vec::new(),
            announcement: None,
        }
    }

    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}
