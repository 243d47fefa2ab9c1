//! The commands that drive or steer a rotation. They differ in what they ask of the engine and end in the same way.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use keyroll_engine::{
    CompleteRequest, Compromised, Engine, EngineError, Outcome, Overrides, Patience, PlanDocument, Reason,
    ReloadRequest, RevokeRequest, RollbackRequest, RotateRequest, StoreLeak, UnlockRequest, Why, WindowRule,
};
use keyroll_rotation::gate::EvidenceRule;
use keyroll_rotation::{Mode, RotationId, Stage};

use super::refusal::{engine_failure, exit_of};
use super::setup::{Setup, block_on};
use crate::args::{self, Command, Format, Global};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::view::View;
use crate::output::{Console, SCHEMA_VERSION, table};
use crate::secrets;

pub(crate) fn run(command: &Command, global: &Global, console: Console) -> Result<Exit, Failure> {
    let setup = Setup::load(global)?;
    let request = Request::of(command)?;
    let view = Arc::new(View::new(console));
    if let (Request::Revoke(request), Command::Revoke(args)) = (&request, command) {
        somebody_says_yes(args, console)?;
        let (engine, _) = setup.engine(&view)?;
        whom_it_concerns(&engine, request, console)?;
        confirm(args, console)?;
    }
    let (engine, stop) = setup.engine(&view)?;
    let result = block_on(Some(stop), request.carry_out(&engine))?;
    view.finish();
    match result {
        Ok(outcome) => Ok(show(&outcome, console)),
        Err(error) => Err(engine_failure(&error, console)),
    }
}

enum Request {
    Rotate(Box<RotateRequest>),
    Complete(CompleteRequest),
    Pause(Why),
    Resume { foreign: ForeignWrite, why: Why },
    Rollback(RollbackRequest),
    Revoke(RevokeRequest),
    Reload(ReloadRequest, Why),
    Unlock(UnlockRequest),
}

/// What happens to a foreign write.
enum ForeignWrite {
    /// It stays, and so does the halt.
    Stays,
    Overwritten,
    Adopted,
}

impl Request {
    fn of(command: &Command) -> Result<Self, Failure> {
        Ok(match command {
            Command::Rotate(args) => Self::Rotate(Box::new(RotateRequest {
                mode: args.mode.map(planned_mode),
                until: args.until.map(until),
                patience: patience(args.overrides.wait.as_deref())?,
                plan: args.plan.as_deref().map(read_plan).transpose()?,
                overrides: overrides(&args.overrides)?,
                window: if args.outside_window { WindowRule::Overridden } else { WindowRule::Heeded },
                why: why(&args.reasons),
            })),
            Command::Complete(args) => Self::Complete(CompleteRequest {
                patience: patience(args.overrides.wait.as_deref())?,
                overrides: overrides(&args.overrides)?,
                why: why(&args.reasons),
            }),
            Command::Pause(reasons) => Self::Pause(why(reasons)),
            Command::Resume(args) => Self::Resume {
                foreign: match (args.overwrite_foreign_write, args.adopt_foreign_write) {
                    (true, _) => ForeignWrite::Overwritten,
                    (false, true) => ForeignWrite::Adopted,
                    (false, false) => ForeignWrite::Stays,
                },
                why: why(&args.reasons),
            },
            Command::Rollback(args) => Self::Rollback(RollbackRequest {
                key_from: args.key_from.as_deref().map(secrets::read_bytes).transpose()?,
                patience: patience(args.wait.as_deref())?,
                overrides: Overrides { evidence: evidence(args.evidence), ..Overrides::default() },
                why: why(&args.reasons),
            }),
            Command::Revoke(args) => Self::Revoke(RevokeRequest {
                mode: match args.mode {
                    args::RevokeMode::Accelerated => Mode::Accelerated,
                    args::RevokeMode::HardCutover => Mode::HardCutover,
                },
                compromised: match args.leaked {
                    args::Leaked::Old => Compromised::Old,
                    args::Leaked::New => Compromised::New,
                    args::Leaked::Both => Compromised::Both,
                },
                store: match args.store_leaked {
                    args::StoreLeak::Yes => StoreLeak::Possible,
                    args::StoreLeak::No => StoreLeak::Excluded,
                },
                patience: Patience::Forever,
                overrides: Overrides { evidence: evidence(args.evidence), ..Overrides::default() },
                why: Why { reason: args.reasons.reason.map_or(Reason::Compromise, reason), ..why(&args.reasons) },
            }),
            Command::Reload(args) => Self::Reload(
                args.member.clone().map_or(ReloadRequest::Laggards, ReloadRequest::Member),
                why(&args.reasons),
            ),
            Command::Unlock(args) => {
                Self::Unlock(UnlockRequest { id: RotationId(args.id.clone()), why: why(&args.reasons) })
            }
            other => return Err(Failure::new(Exit::Usage, format!("{other:?} does not drive a rotation"))),
        })
    }

    async fn carry_out(self, engine: &Engine) -> Result<Outcome, EngineError> {
        match self {
            Self::Rotate(request) => engine.rotate(*request).await,
            Self::Complete(request) => engine.complete(request).await,
            Self::Pause(why) => engine.pause(why).await,
            Self::Resume { foreign: ForeignWrite::Stays, why } => engine.resume(why).await,
            Self::Resume { foreign: ForeignWrite::Overwritten, why } => engine.overwrite_foreign_write(why).await,
            Self::Resume { foreign: ForeignWrite::Adopted, why } => engine.adopt_foreign_write(why).await,
            Self::Rollback(request) => engine.rollback(request).await,
            Self::Revoke(request) => engine.revoke(request).await,
            Self::Reload(request, why) => engine.reload(request, why).await,
            Self::Unlock(request) => engine.unlock(request).await,
        }
    }
}

fn show(outcome: &Outcome, console: Console) -> Exit {
    let exit = exit_of(outcome.exit);
    let now = jiff::Timestamp::now();
    let mut text = format!("{}\n", outcome.summary);
    if let Some(wait) = &outcome.wait {
        text.push_str(&table::reasons(wait, now));
        if let Some(at) = wait.come_back_at {
            text.push_str(&table::come_back(at, now));
        }
    }
    for rejected in &outcome.rejected {
        text.push_str(&table::rejected(rejected));
    }
    if let Some(next) = &outcome.next {
        text.push_str(&format!("next: {next}\n"));
    }
    if let Some(announcement) = &outcome.announcement {
        text.push_str(&format!("\nfor the people affected:\n{announcement}\n"));
    }
    let document = serde_json::json!({
        "schema_version": SCHEMA_VERSION, "kind": "outcome", "exit": exit.code(), "outcome": outcome,
    });
    console.result(&text, &document);
    exit
}

/// A revocation ends sessions; a person says yes, or the command line did.
fn somebody_says_yes(args: &args::RevokeArgs, console: Console) -> Result<(), Failure> {
    if args.yes || (std::io::stdin().is_terminal() && console.is_interactive()) {
        return Ok(());
    }
    let what = "a revocation ends sessions, and nobody is here to say yes; nothing was changed";
    Err(Failure::new(Exit::Human, what).next("run it with --yes"))
}

/// Says beforehand whom it will hit. An emergency does not wait for what can't be found out.
fn whom_it_concerns(engine: &Engine, request: &RevokeRequest, console: Console) -> Result<(), Failure> {
    match block_on(None, engine.affected(request))? {
        Ok(affected) if console.format() == Format::Json => {
            console.document(&serde_json::json!({
                "schema_version": SCHEMA_VERSION, "kind": "affected", "affected": affected,
            }));
        }
        Ok(affected) => console.progress(table::affected(&affected).trim_end()),
        Err(error) => {
            let what = Failure::from_error(Exit::Failed, &error).what;
            console.progress(&format!("whom this will hit could not be found out: {what}"));
        }
    }
    Ok(())
}

fn confirm(args: &args::RevokeArgs, console: Console) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    console.progress("Type `revoke` to go on:");
    let mut answer = String::new();
    let _ = std::io::stderr().flush();
    match std::io::stdin().read_line(&mut answer) {
        Ok(_) if answer.trim() == "revoke" => Ok(()),
        _ => Err(Failure::new(Exit::Human, "not confirmed; nothing was changed")),
    }
}

fn read_plan(path: &std::path::Path) -> Result<PlanDocument, Failure> {
    let bytes = std::fs::read(path)
        .map_err(|err| Failure::new(Exit::Usage, format!("`{}` can't be read: {err}", path.display())))?;
    serde_json::from_slice(&bytes).map_err(|err| {
        Failure::new(Exit::Usage, format!("`{}` is not a plan: {err}", path.display()))
            .next("make one with `keyroll plan -o PLAN`")
    })
}

fn overrides(args: &args::Overrides) -> Result<Overrides, Failure> {
    Ok(Overrides {
        accept_loss: args.accept_loss,
        extend_drain: args.extend_drain.as_deref().map(super::duration).transpose()?,
        evidence: evidence(args.evidence),
    })
}

fn evidence(choice: Option<args::EvidenceChoice>) -> Option<EvidenceRule> {
    choice.map(|args::EvidenceChoice::Weak| EvidenceRule::Weak)
}

fn patience(wait: Option<&str>) -> Result<Patience, Failure> {
    match wait {
        None => Ok(Patience::Forever),
        Some("none") => Ok(Patience::None),
        Some(text) => super::duration(text).map(Patience::For),
    }
}

fn why(reasons: &args::Reasons) -> Why {
    Why {
        reason: reasons.reason.map_or(Reason::Scheduled, reason),
        ticket: reasons.ticket.clone(),
        note: reasons.note.clone(),
    }
}

fn reason(reason: args::Reason) -> Reason {
    match reason {
        args::Reason::Scheduled => Reason::Scheduled,
        args::Reason::Incident => Reason::Incident,
        args::Reason::Compromise => Reason::Compromise,
        args::Reason::Personnel => Reason::Personnel,
        args::Reason::Audit => Reason::Audit,
    }
}

/// The machine's mode for a planned rotation.
pub(crate) fn planned_mode(mode: args::PlannedMode) -> Mode {
    match mode {
        args::PlannedMode::Staged => Mode::Staged,
        args::PlannedMode::Cutover => Mode::Cutover,
    }
}

fn until(stage: args::UntilStage) -> Stage {
    match stage {
        args::UntilStage::Staged => Stage::Staged,
        args::UntilStage::Accepting => Stage::Accepting,
        args::UntilStage::Promoting => Stage::Promoting,
        args::UntilStage::Draining => Stage::Draining,
        args::UntilStage::Retiring => Stage::Retiring,
    }
}
