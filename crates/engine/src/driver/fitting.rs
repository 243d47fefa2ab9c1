//! Whether what is asked for means anything in the state that is there.
//!
//! It is found out before the lock is taken, so that a request that means nothing leaves nothing behind: no journal, no line in
//! one, no write. What the machine itself refuses later is put into words here too.

use keyroll_rotation::{Direction, DrainRule, Event, Halt, Illegal, Mode, Rotation, Stage, Step};

use crate::clock::{calendar, spoken};
use crate::driver::leftovers::Leftovers;
use crate::driver::session::{ROLLBACK, Session};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::meaning::can;
use crate::request::{Compromised, Overrides, RollbackRequest, RotateRequest};
use crate::world::stamp::{Asked, StampBody};

impl Engine {
    /// `rotate` over an open rotation goes on with that one, in its own mode and on its own way.
    pub(crate) fn rotate_fits(&self, stamp: Option<&StampBody>, request: &RotateRequest) -> Result<(), EngineError> {
        let Some(open) = stamp.and_then(StampBody::unfinished) else {
            return until_fits(request.mode(), request);
        };
        let machine = &open.machine;
        if let Some(asked) = request.named_mode().filter(|asked| *asked != machine.mode) {
            let (asked, is) = (crate::words::mode(asked), crate::words::mode(machine.mode));
            let back = match can(machine, &Event::RollbackRequested) {
                true => ", or `keyroll rollback` gives it up first",
                false => "",
            };
            return Err(EngineError::DoesNotFit {
                reason: format!(
                    "`{asked}` was asked for, and a rotation in the mode `{is}` is open ({}, stage {}); `keyroll rotate` \
                     without a mode goes on with it{back}",
                    open.id,
                    crate::words::stage(machine.stage)
                ),
            });
        }
        if let Some(plan) = request.plan.as_ref().filter(|plan| plan.world_hash != open.plan_hash) {
            let world: Vec<_> = plan.world.iter().map(|line| format!("- {line}")).collect();
            return Err(EngineError::PlanOfAnother {
                rotation: open.id.clone(),
                stage: crate::words::stage(machine.stage),
                world: world.join("\n"),
            });
        }
        until_fits(machine.mode, request)?;
        overrides_fit(machine, &request.overrides)
    }

    /// `complete` needs something that is open, and overrides that can do something there; or keys that were left in escrow.
    pub(crate) fn complete_fits(
        &self,
        stamp: Option<&StampBody>,
        kept: &Leftovers,
        overrides: &Overrides,
    ) -> Result<(), EngineError> {
        match stamp.and_then(|stamp| stamp.open.as_ref()) {
            None if kept.is_empty() || Asked::overrides(overrides).is_some() => Err(self.nothing_open("complete")),
            None => Ok(()),
            Some(open) => overrides_fit(&open.machine, overrides),
        }
    }

    /// `pause` and `resume` are about a rotation that is under way.
    pub(crate) fn decision_fits(
        &self,
        stamp: Option<&StampBody>,
        asked: &Asked,
        what: &'static str,
    ) -> Result<(), EngineError> {
        let Some(open) = stamp.and_then(|stamp| stamp.open.as_ref()) else { return Err(self.nothing_open(what)) };
        let machine = &open.machine;
        if matches!(asked, Asked::Pause {}) && machine.stage == Stage::Escrow {
            let over = machine.closed_at.unwrap_or_default().after(machine.settings.escrow);
            return Err(EngineError::RefusedBecause {
                reason: format!(
                    "the rotation is closed, and nothing of it is under way that could stand still; {} stays in escrow until \
                     {}, and only `keyroll complete` destroys it then",
                    machine.outgoing,
                    spoken(calendar(over))
                ),
            });
        }
        Ok(())
    }

    /// A rollback needs something to go back from.
    pub(crate) fn rollback_fits(
        &self,
        stamp: Option<&StampBody>,
        request: &RollbackRequest,
    ) -> Result<(), EngineError> {
        match (stamp.and_then(|stamp| stamp.open.as_ref()), &request.key_from) {
            (Some(_), _) => Ok(()),
            (None, Some(_)) => Err(EngineError::RefusedBecause { reason: PAST_DESTRUCTION.into() }),
            // A rollback died behind its last effect and still has the lock: whoever takes it over says that it is done.
            (None, None)
                if stamp.is_some_and(|stamp| stamp.lock.as_ref().is_some_and(|lock| lock.operation == ROLLBACK)) =>
            {
                Ok(())
            }
            (None, None) => Err(self.nothing_open("roll back")),
        }
    }

    /// A new key can have leaked only where there is one.
    pub(crate) fn revoke_fits(&self, stamp: Option<&StampBody>, asked: &Asked) -> Result<(), EngineError> {
        let of_new = matches!(asked, Asked::Revoke { compromised: Compromised::New, .. });
        let open = |stamp: &StampBody| {
            stamp.unfinished().is_some() || stamp.carries_out(asked) || stamp.carried_out_by(stamp.lock.as_ref(), asked)
        };
        if of_new && !stamp.is_some_and(open) {
            return Err(EngineError::RefusedBecause {
                reason: "no rotation is in flight, so there is no new key: say `old` for the key in use, or `both`"
                    .into(),
            });
        }
        Ok(())
    }
}

impl Session<'_> {
    /// Why the machine refused what was asked, in a sentence with what to do.
    pub(crate) fn refusal(&self, asked: &Asked, illegal: Illegal) -> EngineError {
        let Some(machine) = self.machine() else { return EngineError::Refused(illegal) };
        let words = asked.words();
        if let Some(halt @ Halt::ForeignWrite { .. }) = &machine.halt {
            return EngineError::ForeignWriteFirst { what: words, decision: self.decision(halt) };
        }
        let stage = crate::words::stage(machine.stage);
        let reason = match (asked, &illegal, &machine.halt) {
            (_, Illegal::Invariant { .. }, _) => return EngineError::Refused(illegal),
            (Asked::Pause {}, _, Some(halt)) => format!("it stands still already: {}", self.decision(halt)),
            (Asked::Rollback {}, _, _) if machine.direction == Direction::Back => {
                "it is going back already; `keyroll rotate` goes on with that".to_owned()
            }
            (Asked::Override { .. }, _, _) => format!(
                "`{words}` decides about a drain, and the rotation is in {stage}; give it to `keyroll complete` when it drains"
            ),
            (Asked::ReloadLaggards {}, _, Some(halt @ Halt::Paused)) => format!(
                "a reload of the laggards would let it go on: {}; `keyroll reload --member NAME` reloads one member meanwhile",
                self.decision(halt)
            ),
            (Asked::ReloadLaggards {}, _, _) => format!(
                "nothing is being proven in {stage}, so nobody lags; `keyroll reload --member NAME` reloads one member, and \
                 `keyroll verify` says what each shows"
            ),
            _ => format!("`{words}` means nothing in {stage}; `keyroll status` says where it stands"),
        };
        EngineError::RefusedBecause { reason }
    }
}

impl RotateRequest {
    /// The mode that a person named: by itself, or in a plan.
    fn named_mode(&self) -> Option<Mode> {
        self.mode.or_else(|| self.plan.as_ref().map(|plan| plan.mode))
    }

    /// The mode of the rotation that it opens.
    pub(crate) fn mode(&self) -> Mode {
        self.named_mode().unwrap_or(Mode::Staged)
    }
}

/// How far the rotation is, seen from `until`, which lies behind it.
pub(crate) fn stands_at_the_end_of(machine: &Rotation, until: Stage) -> bool {
    let before = match (machine.stage, machine.mode) {
        (Stage::Accepting, _) => Stage::Staged,
        (Stage::CuttingOver, Mode::Accelerated) | (Stage::Promoting, _) => Stage::Accepting,
        (Stage::CuttingOver, _) => Stage::Staged,
        (Stage::Draining, _) => Stage::Promoting,
        (Stage::Retiring, _) => Stage::Draining,
        (Stage::Closing, _) => Stage::Retiring,
        (Stage::Planned | Stage::Staged | Stage::Escrow | Stage::Finished | Stage::Withdrawing, _) => return false,
    };
    let begun = match (machine.stage, machine.target()) {
        (Stage::Draining, _) => machine.t0.is_some(),
        (_, Some(target)) => machine.step != Step::Write || machine.stores.contains(&target),
        (_, None) => false,
    };
    before == until && !begun
}

/// A cutover has one write, and so not the stages of which some commands speak.
fn until_fits(mode: Mode, request: &RotateRequest) -> Result<(), EngineError> {
    match (mode, request.until) {
        (Mode::Cutover, Some(until)) if until != Stage::Staged => Err(EngineError::DoesNotFit {
            reason: format!(
                "a cutover has no stage `{}`; `--until staged` stops before its one write",
                crate::words::stage(until)
            ),
        }),
        _ => Ok(()),
    }
}

/// What is to be accepted as lost has to be counted by something.
fn overrides_fit(machine: &Rotation, overrides: &Overrides) -> Result<(), EngineError> {
    if overrides.accept_loss.is_none() || machine.settings.drain != DrainRule::Lifetime {
        return Ok(());
    }
    Err(EngineError::RefusedBecause {
        reason: "`--accept-loss` ends a drain in which a counter still shows sessions, and this drain is by `lifetime`: nothing \
                 counts them, and it ends by itself when their lifetime is over. `keyroll explain` says when; whoever can't wait \
                 ends the sessions by name: `keyroll revoke --mode accelerated`"
            .into(),
    })
}

const PAST_DESTRUCTION: &str = "no rotation is open: the key before is destroyed or was never replaced, and past destruction \
     there is only the way forward: `keyroll rotate`";
