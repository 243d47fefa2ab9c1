//! Exit codes: an interface that scripts build on, documented in `docs/reference/exit-codes.md`.

use std::process::ExitCode;

/// How the process ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// Done, or nothing to do.
    Done,
    /// Any other failure: a lint finding, a failed verify, a broken audit chain, sessions lost, an inconclusive demo.
    Failed,
    /// A plan has changes.
    Changes,
    /// Waiting at a gate; the same command goes on later.
    Waiting,
    /// Preflight failed; nothing was written.
    PreflightFailed,
    /// The world is not what the rotation left: a foreign write, or a stale plan.
    Drift,
    /// Another operator drives.
    Locked,
    /// The rotation was rolled back.
    RolledBack,
    /// A human must decide.
    Human,
    /// The command line or the configuration can't be understood, or the words don't fit what is open.
    Usage,
    /// Interrupted; the same command goes on.
    Interrupted,
}

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Changes => 2,
            Self::Waiting => 3,
            Self::PreflightFailed => 4,
            Self::Drift => 5,
            Self::Locked => 6,
            Self::RolledBack => 7,
            Self::Human => 8,
            Self::Usage => 64,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
