//! What operators ask for, from the first check to the last word.
//!
//! Where another process drives, `pause`, `rollback` and `revoke` are left in the stamp, and that process takes them between
//! two effects. Where nobody drives, they are carried out here.

use keyroll_adapters::stores::StoreError;
use keyroll_rotation::{Direction, Event, Mode, Stage};

use crate::clock::{calendar, millis, spoken};
use crate::driver::conclusion::Expected;
use crate::driver::drive::{Goal, Stop};
use crate::driver::heard::Heard;
use crate::driver::leftovers::{any_due, still_kept};
use crate::driver::session::{COMPLETE, Ended, REVOKE, ROLLBACK, ROTATE, Session, Taken};
use crate::driver::window::Admission;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::journal::{Body, HumanAction, Journal, JournalError, Why};
use crate::meaning::going_back_onto;
use crate::outcome::{ExitKind, Outcome};
use crate::request::{
    CompleteRequest, Lock, Overrides, ReloadRequest, RevokeRequest, RollbackRequest, RotateRequest, UnlockRequest,
    WindowRule,
};
use crate::world;
use crate::world::lock::{LockHolder, ProcessIdentity, Vitality};
use crate::world::stamp::{Asked, OpenRotation, PendingRequest, StampBody};

impl Engine {
    /// Opens a rotation, or continues the open one.
    pub async fn rotate(&self, request: RotateRequest) -> Result<Outcome, EngineError> {
        let mut request = request;
        let stamp = self.unlocked().await?;
        self.rotate_fits(stamp.as_ref(), &request)?;
        let (views, stamp) = self.settle(self.read_stores().await?).await?;
        // Somebody's hand in what is in escrow is recorded and shown, and no rotation begins over it.
        let continues = stamp.as_ref().is_some_and(|stamp| {
            let seen = self.as_seen(stamp, &views);
            stamp.unfinished().is_some() || seen.open.is_some_and(|open| open.machine.halt.is_some())
        });
        if !continues {
            self.may_begin(&request).await?;
            match self.await_window(&mut request).await? {
                Admission::Open => {}
                Admission::Opened => self.may_begin(&request).await?,
                Admission::Refused(outcome) => return Ok(*outcome),
            }
        }
        let mut session = Session::take(self, ROTATE).await?;
        let done = session.rotate(&request).await;
        session.conclude(done, Expected::Forward).await
    }

    /// Whether preflight passes and the plan still holds.
    async fn may_begin(&self, request: &RotateRequest) -> Result<(), EngineError> {
        if request.overrides.accept_loss.is_some() || request.overrides.extend_drain.is_some() {
            return Err(EngineError::RefusedBecause {
                reason:
                    "`--accept-loss` and `--extend-drain` decide about a drain, and no rotation is open; nothing was \
                         changed: rotate without them, and give them to `keyroll complete` when it drains"
                        .into(),
            });
        }
        self.green(request, Lock::Asked).await
    }

    /// Whether preflight passes, and the plan was made for this world.
    async fn green(&self, request: &RotateRequest, lock: Lock) -> Result<(), EngineError> {
        let rule = request.overrides.evidence.unwrap_or(self.assembly.policy.settings.evidence);
        let report = self.preflight_checks(request.mode(), lock, rule).await;
        if !report.passed() {
            if lock == Lock::Asked {
                // Members that somebody else is reloading fail it; then that somebody is the answer.
                self.unlocked().await?;
            }
            return Err(EngineError::Preflight { report: Box::new(report) });
        }
        match &request.plan {
            Some(plan) => self.still_holds(plan).await,
            None => Ok(()),
        }
    }

    /// Continues the open rotation from wherever it waits; destroys what has been in escrow for long enough.
    pub async fn complete(&self, request: CompleteRequest) -> Result<Outcome, EngineError> {
        let stamp = self.unlocked().await?;
        let kept = self.leftovers(&self.read_stores().await?)?;
        self.complete_fits(stamp.as_ref(), &kept, &request.overrides)?;
        if stamp.is_none_or(|stamp| stamp.open.is_none()) && !any_due(&kept, millis(self.store(0)?.now().await?)) {
            // Nothing can be done now, so nothing is touched.
            let summary = format!("`{}` waits in escrow; nothing was changed", self.assembly.name);
            let mut outcome = Outcome::new(ExitKind::Waiting, summary).next("keyroll complete");
            outcome.wait = Some(still_kept(&kept));
            return Ok(outcome);
        }
        let mut session = Session::take(self, COMPLETE).await?;
        let done = session.complete(&request).await;
        session.conclude(done, Expected::Forward).await
    }

    /// Lets the open rotation stand still.
    pub async fn pause(&self, why: Why) -> Result<Outcome, EngineError> {
        self.decide(Asked::Pause {}, why, "pause").await
    }

    /// Lets it go on, without driving it.
    pub async fn resume(&self, why: Why) -> Result<Outcome, EngineError> {
        self.decide(Asked::Resume {}, why, "resume").await
    }

    /// Goes back to the key with which the rotation began.
    pub async fn rollback(&self, request: RollbackRequest) -> Result<Outcome, EngineError> {
        let (stamp, holder) = self.state_and_holder().await?;
        self.rollback_fits(stamp.as_ref(), &request)?;
        if let Some(holder) = holder {
            if request.key_from.is_some() {
                return Err(EngineError::RefusedBecause {
                    reason: format!(
                        "{holder}; a key can't be handed to it: stop it, then run `keyroll rollback` again"
                    ),
                });
            }
            return self.leave(Asked::Rollback {}, request.why, holder).await;
        }
        let mut session = Session::take(self, ROLLBACK).await?;
        let done = session.roll_back(&request).await;
        session.conclude(done, Expected::Back).await
    }

    /// Ends a compromised key.
    pub async fn revoke(&self, request: RevokeRequest) -> Result<Outcome, EngineError> {
        let asked = Asked::revoke(&request);
        let (stamp, holder) = self.state_and_holder().await?;
        self.revoke_fits(stamp.as_ref(), &asked)?;
        let mut left = None;
        if let Some(holder) = holder {
            let (pending, holder) = self.put_before(asked.clone(), request.why.clone(), holder).await?;
            match self.heard(pending, holder, request.patience).await? {
                Heard::Answered(outcome) => return Ok(*outcome),
                Heard::LeftToUs(pending) => left = Some(pending.id),
            }
        }
        let before = stamp.as_ref().and_then(StampBody::unfinished).map(|open| open.id.clone());
        let mut session = Session::take(self, REVOKE).await?;
        if let Some(id) = left {
            session.stamp.requests.retain(|request| request.id != id);
            session.taken_requests.insert(id);
        }
        let now = session.stamp.unfinished().map(|open| open.id.clone());
        let done = match before == now {
            true => session.revoke(&request, asked).await,
            // "old" would mean another key than it meant for whoever asked.
            false => Err(EngineError::HumanMustDecide {
                decision: format!(
                    "nothing was revoked: {} under way when this was asked, and {} now; `keyroll status` says which key is the \
                     old one and which the new one, then ask again",
                    before.map_or_else(|| "no rotation was".to_owned(), |id| format!("{id} was")),
                    now.map_or_else(|| "none is".to_owned(), |id| format!("{id} is")),
                ),
            }),
        };
        session.conclude(done, Expected::Forward).await
    }

    /// Writes what a store should hold over what somebody else wrote there.
    pub async fn overwrite_foreign_write(&self, why: Why) -> Result<Outcome, EngineError> {
        let stamp = self.unlocked().await?;
        self.decision_fits(stamp.as_ref(), &Asked::Resume {}, "resume")?;
        let mut session = Session::take(self, "resume").await?;
        let done = session.overwrite_foreign_write(why).await;
        session.conclude(done, Expected::Forward).await
    }

    /// Goes on from what somebody else wrote, where that is safe: both keys are trusted and proven again.
    pub async fn adopt_foreign_write(&self, why: Why) -> Result<Outcome, EngineError> {
        let stamp = self.unlocked().await?;
        self.decision_fits(stamp.as_ref(), &Asked::Resume {}, "resume")?;
        let mut session = Session::take(self, "resume").await?;
        let done = session.adopt_foreign_write(why).await;
        session.conclude(done, Expected::Forward).await
    }

    /// Reloads laggards, or one member.
    pub async fn reload(&self, request: ReloadRequest, why: Why) -> Result<Outcome, EngineError> {
        if let (_, Some(holder)) = self.state_and_holder().await? {
            return match request {
                ReloadRequest::Laggards => self.leave(Asked::ReloadLaggards {}, why, holder).await,
                ReloadRequest::Member(_) => Err(EngineError::Locked { holder: Box::new(holder) }),
            };
        }
        let mut session = Session::take(self, "reload").await?;
        let done = session.reload_on_purpose(request, why).await;
        session.conclude(done, Expected::Forward).await
    }

    /// Takes the lock away from a holder that can't be proven dead from here, by the rotation's id.
    pub async fn unlock(&self, request: UnlockRequest) -> Result<Outcome, EngineError> {
        let views = self.read_stores().await?;
        let Some(stamp) = self.reconcile(&views)? else { return Err(self.nothing_open("unlock")) };
        let Some(holder) = stamp.lock.clone() else {
            return Ok(Outcome::new(ExitKind::Done, "nobody holds the lock; nothing was changed"));
        };
        if holder.rotation != request.id {
            return Err(EngineError::RefusedBecause {
                reason: format!("the lock is for rotation {}, not {}: {holder}", holder.rotation, request.id),
            });
        }
        let mut session = Session::seize(self).await?;
        session.note(Body::Human {
            action: HumanAction::Unlock { id: request.id, holder: holder.to_string() },
            why: request.why,
        })?;
        session.release().await?;
        let summary = format!("the lock was taken away: {holder}; nothing else was changed");
        Ok(Outcome::new(ExitKind::Done, summary).next("keyroll status"))
    }

    /// The state, where nobody who may be alive holds the lock.
    async fn unlocked(&self) -> Result<Option<StampBody>, EngineError> {
        match self.state_and_holder().await? {
            (_, Some(holder)) => Err(EngineError::Locked { holder: Box::new(holder) }),
            (stamp, None) => Ok(stamp),
        }
    }

    /// The state, and whoever may be driving now.
    async fn state_and_holder(&self) -> Result<(Option<StampBody>, Option<LockHolder>), EngineError> {
        let views = self.read_stores().await?;
        let stamp = self.reconcile(&views)?;
        let holder = stamp.as_ref().and_then(|stamp| stamp.lock.clone()).filter(|holder| self.may_drive(holder));
        Ok((stamp, holder))
    }

    /// Whether a holder may be driving now. Where it is this very process, its journal's lock tells.
    pub(crate) fn may_drive(&self, holder: &LockHolder) -> bool {
        if holder.host == self.operator.host && holder.is(&ProcessIdentity::own()) {
            return matches!(Journal::open(&self.state_dir), Err(JournalError::InUse { .. }));
        }
        holder.vitality(&self.operator.host) == Vitality::MayLive
    }

    async fn decide(&self, asked: Asked, why: Why, what: &'static str) -> Result<Outcome, EngineError> {
        let (stamp, holder) = self.state_and_holder().await?;
        self.decision_fits(stamp.as_ref(), &asked, what)?;
        if let Some(holder) = holder {
            return self.leave(asked, why, holder).await;
        }
        let mut session = Session::take(self, what).await?;
        let done = session.decide(asked, why, what).await;
        session.conclude(done, Expected::Forward).await
    }

    /// Leaves a request for the process that drives, and says so.
    async fn leave(&self, what: Asked, why: Why, holder: LockHolder) -> Result<Outcome, EngineError> {
        let (request, holder) = self.put_before(what, why, holder).await?;
        let summary = format!("`{}` was left for the process that drives: {holder}", request.what.words());
        let mut outcome = Outcome::new(ExitKind::Done, summary).next("keyroll status --watch");
        outcome.holder = Some(holder);
        Ok(outcome)
    }

    /// Puts a request into the first store's stamp, for the process that drives.
    async fn put_before(
        &self,
        what: Asked,
        why: Why,
        holder: LockHolder,
    ) -> Result<(PendingRequest, LockHolder), EngineError> {
        let words = what.words();
        let request = PendingRequest {
            id: uuid::Uuid::new_v4().to_string(),
            rotation: holder.rotation.clone(),
            by: self.operator.name.clone(),
            at: calendar(millis(self.clock.now())),
            why,
            what,
            over: None,
        };
        let store = self.store(0)?;
        for _ in 0..LEAVE_ATTEMPTS {
            let view = self.read_store(0).await?;
            let Some(mut stamp) = view.stamp.filter(|stamp| stamp.lock.is_some()) else {
                return Err(EngineError::RefusedBecause {
                    reason: format!("the process that drove has just ended; run `keyroll {words}` again"),
                });
            };
            stamp.sequence = stamp.sequence.saturating_add(1);
            stamp.requests.push(PendingRequest { over: Some(view.revision.clone()), ..request.clone() });
            let mut document = world::copy_document(&view.document);
            document.stamp =
                Some(stamp.encode().map_err(|error| EngineError::Stamp {
                    location: view.location.clone(),
                    reason: error.to_string(),
                })?);
            match store.write(&document, &view.revision).await {
                Ok(_) => return Ok((request, holder)),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let location = store.describe().location;
        Err(StoreError::Conflict { location }.into())
    }

    pub(crate) fn nothing_open(&self, what: &'static str) -> EngineError {
        EngineError::NothingOpen { name: self.assembly.name.clone(), what }
    }
}

impl StampBody {
    /// The rotation that is still to be driven; one in escrow is closed for whoever asks for a new one.
    pub(crate) fn unfinished(&self) -> Option<&OpenRotation> {
        self.open.as_ref().filter(|open| !matches!(open.machine.stage, Stage::Escrow | Stage::Finished))
    }

    /// Whether this revocation was begun and nobody has yet said that it is done, though all of it may be.
    pub(crate) fn carries_out(&self, asked: &Asked) -> bool {
        let open = self.open.as_ref().filter(|open| open.machine.stage != Stage::Escrow);
        open.and_then(|open| open.revoked.as_ref()) == Some(asked)
    }

    /// Whether whoever held the lock died behind the end of this revocation: then "old" means another key by now.
    pub(crate) fn carried_out_by(&self, holder: Option<&LockHolder>, asked: &Asked) -> bool {
        let last = self.last.as_ref().filter(|last| last.revoked.as_ref() == Some(asked));
        last.zip(holder).is_some_and(|(last, holder)| holder.operation == REVOKE && holder.rotation == last.id)
    }
}

impl Session<'_> {
    async fn rotate(&mut self, request: &RotateRequest) -> Result<Stop, EngineError> {
        let goal = Goal { until: request.until, patience: request.patience };
        // What was taken back in escrow goes on, and may be something else than what was asked for.
        self.engine.rotate_fits(Some(&self.stamp), request)?;
        if let Some(machine) = self.machine().filter(|machine| machine.stage == Stage::Escrow && machine.halt.is_some())
        {
            return Ok(Stop::Drift(self.report_wait(&machine.why(self.now().await?))));
        }
        let continues = self.stamp.unfinished().is_some();
        // A process that died behind its last effect had closed its rotation; whoever runs the command again wants to
        // hear that, and not to start the next rotation. One that died before it opened its rotation had done nothing yet.
        let was_rotating = self.dead.as_ref().is_some_and(|dead| {
            let last = self.stamp.last.as_ref().map(|last| &last.id);
            dead.operation == ROTATE
                && last.into_iter().chain(self.open().map(|open| &open.id)).any(|id| *id == dead.rotation)
        });
        self.note(Body::Human { action: HumanAction::Rotate, why: request.why.clone() })?;
        let over = self.taken == Taken::FromTheDead && was_rotating;
        if !continues && !over {
            // The world may have moved until the lock was had, and from here on nobody else who asks moves it.
            self.engine.green(request, Lock::Held).await?;
            if request.window == WindowRule::Overridden
                && let Some((opens, _)) = self.engine.window_closed()
            {
                let name = "--outside-window".to_owned();
                let gives_up = format!("the policy's window, which opens at {opens}");
                let action = HumanAction::Override { name, gives_up };
                self.note(Body::Human { action, why: request.why.clone() })?;
            }
            self.open_rotation(request.mode(), &request.why, None).await?;
            self.apply(&Event::PreflightPassed).await?;
        }
        self.take_overrides(&request.overrides, &request.why).await?;
        let stop = self.drive(goal).await?;
        if matches!(stop, Stop::Closed) && request.mode() != Mode::Standby && self.wants_standby() {
            return self.add_standby(goal, &request.overrides, &request.why).await;
        }
        Ok(stop)
    }

    /// Leaves an accept-only candidate for the next rotation, while the last one stays in escrow behind it.
    async fn add_standby(&mut self, goal: Goal, overrides: &Overrides, why: &Why) -> Result<Stop, EngineError> {
        let parked = self.stamp.open.take();
        self.stamp.parked = parked;
        if let Some(lock) = &mut self.stamp.lock {
            lock.rotation = self.engine.new_rotation_id()?;
        }
        self.open_rotation(Mode::Standby, &Why::default(), None).await?;
        self.apply(&Event::PreflightPassed).await?;
        // What was named for this run counts for all of it; nothing drains here, so nothing else of it applies.
        let evidence = Overrides { evidence: overrides.evidence, ..Overrides::default() };
        self.take_overrides(&evidence, why).await?;
        self.drive(goal).await
    }

    async fn complete(&mut self, request: &CompleteRequest) -> Result<Stop, EngineError> {
        self.note(Body::Human { action: HumanAction::Complete, why: request.why.clone() })?;
        let was_open = self.stamp.unfinished().is_some();
        let leftovers_only = self.open().is_none();
        self.take_overrides(&request.overrides, &request.why).await?;
        let goal = Goal { until: None, patience: request.patience };
        let stop = self.drive(goal).await?;
        if leftovers_only && matches!(stop, Stop::Closed) {
            let kept = self.engine.leftovers(&self.views)?;
            return Ok(if kept.is_empty() { stop } else { Stop::Waiting(still_kept(&kept)) });
        }
        if matches!(stop, Stop::Closed) && was_open && self.wants_standby() {
            return self.add_standby(goal, &request.overrides, &request.why).await;
        }
        Ok(stop)
    }

    async fn roll_back(&mut self, request: &RollbackRequest) -> Result<Stop, EngineError> {
        if self.open().is_none() && self.had_rolled_back() {
            // It died behind its last effect; whoever asks again wants to hear that it is done.
            self.ended_back = Direction::Back;
            return Ok(Stop::Closed);
        }
        if self.open().is_none() {
            return Err(self.engine.nothing_open("roll back"));
        }
        if self.stamp.parked.is_some() && self.machine().is_some_and(|machine| machine.mode == Mode::Standby) {
            return Err(EngineError::RefusedBecause {
                reason: "a standby candidate is just being added; let `keyroll complete` finish that, then roll back"
                    .into(),
            });
        }
        self.look_and_compare().await?;
        if let Some(copy) = &request.key_from {
            self.take_own_copy(copy, &request.why).await?;
            if let Some(stop) = self.kept_beside_foreign_write() {
                return Ok(stop);
            }
        }
        // A rollback that was interrupted goes on; asked twice, it is the same one.
        if self.machine().is_some_and(|machine| machine.direction == Direction::Forward) {
            self.way_back_is_there()?;
            self.ask_now(Asked::Rollback {}, &request.why).await?;
        }
        self.take_overrides(&request.overrides, &request.why).await?;
        self.drive(Goal { until: None, patience: request.patience }).await
    }

    /// Whether the process whose lock was taken over had just brought its rollback to the end.
    fn had_rolled_back(&self) -> bool {
        let last = self.stamp.last.as_ref().map(|last| &last.id);
        self.taken == Taken::FromTheDead
            && self.dead.as_ref().is_some_and(|dead| dead.operation == ROLLBACK && Some(&dead.rotation) == last)
    }

    /// Without the old key's bytes there is no way back, and that is found out before the rotation turns round.
    fn way_back_is_there(&self) -> Result<(), EngineError> {
        let Some(machine) = self.machine() else { return Ok(()) };
        let wanted = going_back_onto(machine);
        let gone = self.materials.get(wanted).is_none()
            && !machine.compromised.contains(&wanted)
            && !machine.destroyed.contains(&wanted);
        if !gone {
            return Ok(());
        }
        Err(EngineError::HumanMustDecide {
            decision: format!(
                "the bytes of {wanted} are in no store any more, so there is no way back onto it; nothing was changed. \
                 If you have a copy, run `keyroll rollback --key-from FILE`"
            ),
        })
    }

    async fn revoke(&mut self, request: &RevokeRequest, asked: Asked) -> Result<Stop, EngineError> {
        if self.stamp.unfinished().is_some() || self.stamp.carries_out(&asked) {
            self.look_and_compare().await?;
            self.doom_foreign_write(&asked, &request.why).await?;
            self.ask_now(asked, &request.why).await?;
        } else if self.stamp.carried_out_by(self.dead.as_ref(), &asked) {
            // It died before it could say so. Whoever means another leak has to hear that this was not it.
            let active = self.fields(0).configuration().map(|configuration| configuration.active);
            if let (Some(active), Some(last)) = (active, &self.stamp.last) {
                let at = last.closed_at;
                let outgoing = self.stamp.ledger.compromised().last().copied().unwrap_or(active);
                self.ended = Some(Ended { mode: request.mode, outgoing, active, at });
                self.caution(format!(
                    "this revocation had been carried out when its process died, at {}; if the key that is in use since then has leaked \
                     too, ask once more",
                    spoken(at)
                ));
            }
        } else {
            self.open_rotation(request.mode, &request.why, Some(request)).await?;
            let compromised = self.machine().map(|machine| machine.compromised.clone()).unwrap_or_default();
            let marks = compromised.iter().map(|id| self.mark(*id)).collect();
            let action = HumanAction::Revoke { mode: request.mode, compromised: marks };
            self.note(Body::Human { action, why: request.why.clone() })?;
            self.apply(&Event::PreflightPassed).await?;
        }
        self.take_overrides(&request.overrides, &request.why).await?;
        let goal = Goal { until: None, patience: request.patience };
        let stop = self.drive(goal).await?;
        if matches!(stop, Stop::Closed) && self.wants_standby() {
            return self.add_standby(goal, &request.overrides, &request.why).await;
        }
        Ok(stop)
    }

    async fn decide(&mut self, asked: Asked, why: Why, what: &'static str) -> Result<Stop, EngineError> {
        if self.stamp.open.is_none() {
            return Err(self.engine.nothing_open(what));
        }
        self.look_and_compare().await?;
        if matches!(asked, Asked::Resume {}) {
            self.can_resume()?;
        }
        self.ask_now(asked, &why).await?;
        Ok(Stop::Decided(format!("`{what}` is recorded; nothing was written to the key's fields")))
    }

    /// Asks the machine in this operator's name; a refusal is this command's failure.
    pub(crate) async fn ask_now(&mut self, what: Asked, why: &Why) -> Result<(), EngineError> {
        self.refused = None;
        let request = PendingRequest {
            id: String::new(),
            rotation: self.rotation_id(),
            by: self.engine.operator.name.clone(),
            at: calendar(millis(self.engine.clock.now())),
            why: why.clone(),
            what,
            over: None,
        };
        self.take_request(&request).await?;
        match self.refused.take() {
            None => Ok(()),
            Some(illegal) => Err(self.refusal(&request.what, illegal)),
        }
    }

    async fn take_overrides(&mut self, overrides: &Overrides, why: &Why) -> Result<(), EngineError> {
        match Asked::overrides(overrides) {
            Some(asked) => self.ask_now(asked, why).await,
            None => Ok(()),
        }
    }
}

/// How often a request is tried to be left while the driver writes.
const LEAVE_ATTEMPTS: u32 = 10;
