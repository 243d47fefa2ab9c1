//! Why a request was not carried out: what happened, whether the world changed, what to do next.

use keyroll_adapters::fleets::FleetError;
use keyroll_adapters::stores::StoreError;
use keyroll_keyring::ProfileError;
use keyroll_rotation::{Illegal, RotationId};

use crate::journal::JournalError;
use crate::outcome::ExitKind;
use crate::report::PreflightReport;
use crate::world::lock::LockHolder;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Somebody else drives.
    #[error("locked: {holder}; nothing was changed")]
    Locked {
        /// Who.
        holder: Box<LockHolder>,
    },
    /// Preflight was not green.
    #[error("preflight failed; nothing was changed")]
    Preflight {
        /// Every check.
        report: Box<PreflightReport>,
    },
    /// The plan was made for another world.
    #[error("the plan is stale, nothing was changed; what differs:\n{difference}")]
    StalePlan {
        /// Line by line.
        difference: String,
    },
    /// A rotation is open, and it did not begin from the world that the plan was made for.
    #[error(
        "the plan is stale, nothing was changed: {rotation} is open in stage {stage}, and did not begin from what the plan \
         was made for:\n{world}"
    )]
    PlanOfAnother {
        /// The one that is open.
        rotation: RotationId,
        /// Where it stands.
        stage: &'static str,
        /// What the plan saw, line by line.
        world: String,
    },
    /// A store holds what nobody here wrote.
    #[error("{location} holds what this rotation did not write: {found}; nothing was overwritten")]
    Foreign {
        /// Which store.
        location: String,
        /// What it holds, in key ids.
        found: String,
    },
    /// This driver lost the lock while it drove.
    #[error("another operator has taken over rotation {rotation}; this one has stopped and wrote nothing more")]
    Superseded {
        /// Which.
        rotation: RotationId,
        /// Who, if the stamp says so.
        holder: Option<Box<LockHolder>>,
    },
    /// A person has to decide.
    #[error("{decision}")]
    HumanMustDecide {
        /// What there is to decide, and the commands for it.
        decision: String,
    },
    /// No rotation is open.
    #[error("no rotation is open for `{name}`; there is nothing to {what}")]
    NothingOpen {
        /// The key's name.
        name: String,
        /// What was asked for.
        what: &'static str,
    },
    /// The request does not fit the state.
    #[error("refused, nothing was changed")]
    Refused(#[source] Illegal),
    /// The request does not fit, in words.
    #[error("refused, nothing was changed: {reason}")]
    RefusedBecause {
        /// Why and what to do.
        reason: String,
    },
    /// It was asked for in words that don't fit what is open.
    #[error("refused, nothing was changed: {reason}")]
    DoesNotFit {
        /// Why, and which words do.
        reason: String,
    },
    /// A store holds a foreign write, and that has to be decided first.
    #[error("refused, nothing was changed: `{what}` has to wait until a foreign write is decided about; {decision}")]
    ForeignWriteFirst {
        /// What was asked for.
        what: String,
        /// What there is to decide, and the commands for it.
        decision: String,
    },
    /// The stamp in a store can't be understood.
    #[error("the stamp in {location} can't be understood, nothing was changed: {reason}")]
    Stamp {
        /// Which store.
        location: String,
        /// Why.
        reason: String,
    },
    /// A store did not do it.
    #[error("a store failed")]
    Store(#[source] StoreError),
    /// A fleet did not do it.
    #[error("a fleet failed")]
    Fleet(#[source] FleetError),
    /// Keys and fields do not fit.
    #[error("the keys can't be read or written")]
    Keys(#[source] ProfileError),
    /// The state directory can't be used.
    #[error("`{path}` can't be used: {what}")]
    State {
        /// Which file or folder.
        path: String,
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The journal can't be used.
    #[error("the journal can't be used")]
    Journal(#[source] JournalError),
    /// Ctrl-C; within the engine only, callers get an outcome.
    #[error("interrupted; what was done is recorded, and the same command goes on from there")]
    Interrupted,
    /// More requests fail than before a roll; within the engine only, callers get an outcome.
    #[error("{found}; the roll stands still")]
    ErrorsRose {
        /// How many, and how many before.
        found: String,
    },
    /// A request from elsewhere is to be taken first; within the engine only.
    #[error("a request from elsewhere is taken first")]
    RequestWaits,
    /// Somebody wrote beside the key since it was proven; within the engine only.
    #[error("{location} was written by somebody else, so what was proven is proven again first; nothing was written")]
    Moved {
        /// Where.
        location: String,
    },
    /// The gate on which a write rests was passed too long ago; within the engine only.
    #[error(
        "what {location} was to be written for was proven too long ago, so it is proven again first; nothing was written"
    )]
    OldProof {
        /// Where.
        location: String,
    },
    /// The machine and the driver disagree; a defect.
    #[error("a defect in keyroll: the driver did what the rotation did not expect; it has stopped, and can be resumed")]
    Defect(#[source] Illegal),
}

impl EngineError {
    /// The exit code's meaning.
    pub fn exit(&self) -> ExitKind {
        match self {
            Self::Locked { .. } | Self::Superseded { .. } => ExitKind::Locked,
            Self::Preflight { report } => report.exit(),
            Self::HumanMustDecide { .. } => ExitKind::HumanMustDecide,
            Self::Foreign { .. }
            | Self::StalePlan { .. }
            | Self::PlanOfAnother { .. }
            | Self::ForeignWriteFirst { .. } => ExitKind::Drift,
            Self::DoesNotFit { .. } => ExitKind::Usage,
            Self::Interrupted => ExitKind::Interrupted,
            _ => ExitKind::Failed,
        }
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<FleetError> for EngineError {
    fn from(error: FleetError) -> Self {
        Self::Fleet(error)
    }
}

impl From<ProfileError> for EngineError {
    fn from(error: ProfileError) -> Self {
        Self::Keys(error)
    }
}

impl From<JournalError> for EngineError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

/// An error and what caused it, in one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
