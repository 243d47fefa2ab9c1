//! The engine's outcomes and refusals as exit codes and failures of the command line.

use keyroll_engine::{EngineError, ExitKind};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Console;
use crate::output::checks::checks;

/// The exit code, by meaning.
pub(crate) fn exit_of(kind: ExitKind) -> Exit {
    match kind {
        ExitKind::Done => Exit::Done,
        ExitKind::PlanHasChanges => Exit::Changes,
        ExitKind::Waiting => Exit::Waiting,
        ExitKind::PreflightFailed => Exit::PreflightFailed,
        ExitKind::Drift => Exit::Drift,
        ExitKind::Locked => Exit::Locked,
        ExitKind::RolledBack => Exit::RolledBack,
        ExitKind::HumanMustDecide => Exit::Human,
        ExitKind::Usage => Exit::Usage,
        ExitKind::Interrupted => Exit::Interrupted,
        _ => Exit::Failed,
    }
}

/// An engine's refusal in the words of the command line. A failed preflight is shown check by check.
pub(crate) fn engine_failure(error: &EngineError, console: Console) -> Failure {
    let exit = exit_of(error.exit());
    let mut failure = Failure::from_error(exit, error);
    failure.next = match error {
        EngineError::Locked { holder } => Some(format!(
            "wait for it, or, if that machine is gone for good, take the lock away: keyroll unlock --id {}",
            holder.rotation
        )),
        EngineError::Preflight { report } => {
            console.progress(checks(&report.checks).trim_end());
            Some("mend what failed or is unknown, then run the same command again".to_owned())
        }
        EngineError::StalePlan { .. } => Some("make a new plan: keyroll plan -o PLAN".to_owned()),
        EngineError::PlanOfAnother { .. } => Some(
            "`keyroll plan` shows what is left of the open rotation, `keyroll rotate` without a plan goes on with it"
                .into(),
        ),
        EngineError::Foreign { .. } => Some("keyroll explain".to_owned()),
        // The machine refuses what a foreign write makes unsafe; `explain` says what there is to do about it.
        EngineError::Refused(_) => Some("keyroll explain".to_owned()),
        EngineError::ForeignWriteFirst { what, .. } => Some(format!("decide about it, then: keyroll {what}")),
        EngineError::Fleet(_) | EngineError::Store(_) => {
            Some("mend what it names; an open rotation goes on from there with the same command".to_owned())
        }
        EngineError::Keys(_) => Some("`keyroll preflight` says which field can't be read, and why".to_owned()),
        EngineError::Superseded { .. } => Some("keyroll status".to_owned()),
        EngineError::NothingOpen { .. } => Some("keyroll status".to_owned()),
        _ => None,
    };
    failure.detail = match error {
        EngineError::Locked { holder } => serde_json::to_value(holder).ok().map(|holder| ("holder", holder)),
        EngineError::Preflight { report } => serde_json::to_value(report).ok().map(|report| ("preflight", report)),
        _ => None,
    };
    failure
}
