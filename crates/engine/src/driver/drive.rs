//! The loop: look at the world, hear requests, ask the machine, do one thing, tell the machine.
//!
//! It keeps nothing of its own between two rounds. Whatever it has to remember is in the rotation, and the rotation is in the
//! journal and in the stamp; so it may be killed between any two lines.

use std::collections::BTreeSet;
use std::time::Duration;

use keyroll_adapters::fleets::FleetError;
use keyroll_adapters::stores::StoreError;
use keyroll_keyring::{KeyId, KeyState};
use keyroll_rotation::gate::Verdict;
use keyroll_rotation::{Direction, DrainRule, DrainSeen, Event, Millis, Mode, Next, Revocation, Rotation, Stage, Wait};

use tracing::Instrument as _;

use crate::assembly::Standby;
use crate::clock::calendar;
use crate::driver::effects::drain_verdict;
use crate::driver::session::{Ended, Session};
use crate::error::{EngineError, error_chain};
use crate::journal::{Body, HumanAction};
use crate::meaning::{is_emergency, named_by};
use crate::members::sweep;
use crate::report::{Notice, Resumed, WaitReport};
use crate::request::{Compromised, Lock, Patience, StoreLeak};
use crate::world::stamp::{Asked, LastRotation, Minted, OpenRotation, PendingRequest, WeakEvidence};

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    /// Stop when this stage's gate has passed.
    pub(crate) until: Option<Stage>,
    pub(crate) patience: Patience,
}

/// Why the loop stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The rotation is closed: in escrow, or finished.
    Closed,
    /// The stage that was asked for is behind.
    Until(Stage),
    /// Time or evidence is missing, and patience has run out.
    Waiting(WaitReport),
    /// A person has to act.
    Human(WaitReport),
    /// A store holds a foreign write.
    Drift(WaitReport),
    /// Ctrl-C.
    Interrupted,
    /// What was asked for is done, and nothing was to be driven.
    Decided(String),
}

impl Session<'_> {
    /// Drives the open rotation as far as the goal asks and the world allows.
    pub(crate) async fn drive(&mut self, goal: Goal) -> Result<Stop, EngineError> {
        let span = tracing::info_span!("rotation", id = %self.rotation_id(), epoch = self.stamp.epoch.0);
        async {
            let first = self.destroy_first().await?;
            let stop = self.drive_on(goal).await?;
            if first == Overdue::Left
                && matches!(stop, Stop::Closed)
                && let Err(error) = self.destroy_due().await
            {
                // The emergency is over, and what it has to tell is not lost for this.
                self.caution(format!(
                    "what is overdue is still kept: {}; `keyroll complete` destroys it",
                    error_chain(&error)
                ));
            }
            Ok(stop)
        }
        .instrument(span)
        .await
    }

    /// Destroys what is overdue. An emergency does not wait for that: where it can't be done now, it is done afterwards.
    async fn destroy_first(&mut self) -> Result<Overdue, EngineError> {
        let emergency = self.machine().is_some_and(|machine| is_emergency(machine.mode));
        match self.destroy_due().await {
            Ok(()) => Ok(Overdue::Gone),
            // The loop looks at it and stands still for it.
            Err(EngineError::Foreign { .. }) => Ok(Overdue::Left),
            Err(error) if emergency => {
                self.caution(format!("what is overdue is destroyed afterwards: {}", error_chain(&error)));
                Ok(Overdue::Left)
            }
            Err(error) => Err(error),
        }
    }

    async fn drive_on(&mut self, goal: Goal) -> Result<Stop, EngineError> {
        let started = self.engine.clock.boottime();
        let mut strangers = 0;
        if let Some(open) = self.open().filter(|_| self.resumed == Resumed::Continued) {
            self.engine.observer.notice(&Notice::TakenUp {
                rotation: open.id.clone(),
                mode: open.machine.mode,
                stage: open.machine.stage,
                resumed: self.resumed,
            });
        }
        loop {
            if self.engine.interrupt.requested() {
                return Ok(Stop::Interrupted);
            }
            match self.round(goal, started).await {
                Ok(None)
                | Err(EngineError::RequestWaits | EngineError::Moved { .. } | EngineError::OldProof { .. }) => {}
                Ok(Some(stop)) => return Ok(stop),
                Err(EngineError::Interrupted) => return Ok(Stop::Interrupted),
                // Ctrl-C also ends the pauses between tries.
                Err(
                    EngineError::Store(StoreError::Unavailable { .. })
                    | EngineError::Fleet(FleetError::Unavailable { .. }),
                ) if self.engine.interrupt.requested() => return Ok(Stop::Interrupted),
                Err(error @ EngineError::Foreign { .. }) => {
                    self.look_and_compare().await?;
                    // It may have been put back by now; whoever flaps for ever is not waited for.
                    strangers += 1;
                    if strangers > STRANGERS && self.machine().is_none_or(|machine| machine.halt.is_none()) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn round(&mut self, goal: Goal, started: Duration) -> Result<Option<Stop>, EngineError> {
        let now = self.look_and_compare().await?;
        self.take_requests().await?;
        self.heed_touch().await?;
        if self.machine().is_some_and(|machine| machine.halt.is_none() && machine.is_ahead_of(now)) {
            self.caution("the store's clock was set back, so what was proven is proven again");
            self.apply(&Event::Disturbed { at: now }).await?;
        }
        let Some(machine) = self.machine().cloned() else { return Ok(Some(Stop::Closed)) };
        if let Some(until) = goal.until
            && machine.direction == Direction::Forward
            && behind(machine.stage, until)
        {
            return Ok(Some(Stop::Until(until)));
        }
        match machine.next(now) {
            Next::Do(effect) => {
                self.engine.observer.notice(&Notice::Doing { what: self.effect_words(&effect) });
                let event = self.carry_out(&effect).await?;
                self.apply(&event).await?;
                Ok(None)
            }
            Next::Done => {
                self.finish().await?;
                Ok(Some(Stop::Closed))
            }
            Next::Wait(_) if machine.stage == Stage::Escrow && machine.halt.is_none() => Ok(Some(Stop::Closed)),
            Next::Wait(_) if machine.stage == Stage::Planned && machine.halt.is_none() => {
                // The process that opened it died before it could say that preflight had passed.
                let report = self.engine.preflight_checks(machine.mode, Lock::Held, machine.settings.evidence).await;
                if !report.passed() {
                    return Err(EngineError::Preflight { report: Box::new(report) });
                }
                self.apply(&Event::PreflightPassed).await?;
                Ok(None)
            }
            Next::Wait(wait) => self.wait(&machine, wait, goal, now, started).await,
        }
    }

    /// Tells the machine what happened, and records it. What could not be found out again from the world goes into the stamp.
    pub(crate) async fn apply(&mut self, event: &Event) -> Result<(), EngineError> {
        let Some(open) = &mut self.stamp.open else { return Ok(()) };
        let before = open.machine.clone();
        open.machine = before.apply(event).map_err(EngineError::Defect)?.rotation;
        let after = open.machine.clone();
        // What a look in vain showed is recorded once, and when the next one is due is no state that anybody would miss.
        let news = !in_vain(event, &before, &after);
        // A sweep of ten thousand members is recorded as the gate's evidence.
        if news && !matches!(event, Event::Swept(_)) {
            self.note(Body::Event { event: event.clone() })?;
        }
        self.enter_states(&after);
        if after.halt != before.halt
            && let Some(halt) = &after.halt
        {
            self.note(Body::Halted { halt: halt.clone() })?;
        }
        // Before the state is noted, so that whoever takes it up from there finds the rotation sealed.
        if matches!(event, Event::Closed { .. }) {
            self.seal(&after)?;
        }
        if news {
            self.note_state()?;
        }
        if after.stage != before.stage || after.direction != before.direction {
            tracing::info!(stage = crate::words::stage(after.stage), "stage entered");
            self.engine.observer.notice(&Notice::StageEntered { stage: after.stage, direction: after.direction });
        }
        if travels_in_the_stamp(event) || after.halt != before.halt {
            let stamped = self.commit_stamp().await;
            if let (Err(EngineError::Foreign { .. }), Event::Stamped { .. }, Some(open)) =
                (&stamped, event, &mut self.stamp.open)
            {
                // The drain does not begin over what nobody has looked at: members may read that and mint under it.
                open.machine = before;
                self.note_state()?;
            }
            stamped?;
        }
        self.publish(None)?;
        Ok(())
    }

    /// Keys have the states that follow from what the stores hold.
    fn enter_states(&mut self, machine: &Rotation) {
        let accepted: BTreeSet<KeyId> = machine.stores.iter().flat_map(|store| store.accept.iter().copied()).collect();
        let ids: Vec<_> = self.stamp.ledger.keys.iter().map(|known| (known.id, known.state)).collect();
        for key in &mut self.stamp.ledger.keys {
            if machine.stores.iter().any(|store| store.active == key.id) {
                key.minted = Minted::Perhaps;
            }
        }
        for (id, state) in ids {
            if machine.compromised.contains(&id) {
                self.stamp.ledger.set_state(id, KeyState::Compromised);
            } else if machine.stores.iter().any(|store| store.active == id) {
                self.stamp.ledger.set_state(id, KeyState::Active);
            } else if accepted.contains(&id) {
                let before = matches!(state, KeyState::Active | KeyState::Deactivated);
                let state = if before { KeyState::Deactivated } else { KeyState::ActiveForProcessing };
                self.stamp.ledger.set_state(id, state);
            } else if matches!(state, KeyState::Active | KeyState::ActiveForProcessing) {
                self.stamp.ledger.set_state(id, KeyState::Deactivated);
            }
        }
    }

    fn seal(&mut self, machine: &Rotation) -> Result<(), EngineError> {
        let active = machine.stores.first().map_or(machine.incoming, |store| store.active);
        let closed_at = calendar(machine.closed_at.unwrap_or_default());
        if let Some(open) = &self.stamp.open {
            let revoked = open.revoked.clone();
            self.stamp.last = Some(LastRotation { id: open.id.clone(), stage: machine.stage, closed_at, revoked });
        }
        if self.stamp.standby.is_some_and(|standby| {
            active == standby || !machine.stores.iter().all(|store| store.accept.contains(&standby))
        }) {
            self.stamp.standby = None;
        }
        if machine.mode == Mode::Standby && machine.direction == Direction::Forward {
            self.stamp.standby = Some(machine.incoming);
        }
        self.note(Body::Sealed { mode: machine.mode, active: self.mark(active), t0: machine.t0.map(calendar) })
            .map(drop)
    }

    /// Nothing is left to do: the rotation is not open any more.
    async fn finish(&mut self) -> Result<(), EngineError> {
        let Some(open) = self.stamp.open.take() else { return Ok(()) };
        self.ended_back = open.machine.direction;
        // The standby that is added behind a revocation is not what people ask about.
        if self.ended.is_none_or(|ended| !is_emergency(ended.mode)) {
            let machine = &open.machine;
            let at = calendar(machine.closed_at.unwrap_or_default());
            let (outgoing, active) = (machine.outgoing, machine.incoming);
            self.ended = Some(Ended { mode: machine.mode, outgoing, active, at });
        }
        if open.machine.stage == Stage::Finished && open.machine.destroyed.contains(&open.machine.incoming) {
            // Withdrawn: the candidate is gone and the key before was never out of use.
            self.ended_back = Direction::Back;
        }
        let in_use =
            |parked: &OpenRotation| open.machine.stores.iter().all(|store| store.active == parked.machine.incoming);
        if let Some(mut parked) = self.stamp.parked.take().filter(in_use) {
            // The rotation in escrow knows of the key that was added meanwhile, so that it can still be rolled back.
            parked.machine.stores.clone_from(&open.machine.stores);
            let pair = [parked.machine.incoming, parked.machine.outgoing];
            let accepted = open.machine.stores.iter().flat_map(|store| store.accept.iter().copied());
            parked.machine.others = accepted.filter(|key| !pair.contains(key)).collect();
            self.stamp.open = Some(parked);
        }
        self.note_state()?;
        self.commit_stamp().await?;
        self.publish(None)
    }

    async fn wait(
        &mut self,
        machine: &Rotation,
        wait: Wait,
        goal: Goal,
        now: Millis,
        started: Duration,
    ) -> Result<Option<Stop>, EngineError> {
        let newcomers = self.watch(machine).await?;
        if newcomers == Watched::Changed {
            return Ok(None);
        }
        let report = self.report_wait(&wait);
        self.publish(Some(&report))?;
        if machine.is_halted_by_foreign_write() {
            return Ok(Some(Stop::Drift(report)));
        }
        if machine.halt.is_some() || report.needs_a_person() {
            return Ok(Some(Stop::Human(report)));
        }
        let until = wait.again_at.unwrap_or(now);
        let mut span = Duration::from_millis(until.0.saturating_sub(now.0)).max(SHORTEST_WAIT);
        let policy = &self.engine.assembly.policy;
        let tick = match machine.stage {
            Stage::Draining => policy.drain_interval.min(policy.poll * POLLS_PER_TICK),
            _ => policy.poll,
        };
        span = span.min(tick);
        match goal.patience {
            Patience::Forever => {}
            Patience::None => return Ok(Some(Stop::Waiting(report))),
            Patience::For(limit) => {
                let spent = self.engine.clock.boottime().saturating_sub(started);
                let Some(left) = limit.checked_sub(spent).filter(|left| !left.is_zero()) else {
                    return Ok(Some(Stop::Waiting(report)));
                };
                span = span.min(left);
            }
        }
        self.engine.observer.notice(&Notice::Waiting(report));
        tokio::select! {
            () = self.engine.clock.sleep(span) => Ok(None),
            () = self.engine.interrupt.wait() => Ok(Some(Stop::Interrupted)),
        }
    }

    /// While it drains: reads the counters, and proves whoever came since.
    async fn watch(&mut self, machine: &Rotation) -> Result<Watched, EngineError> {
        if machine.stage != Stage::Draining || machine.t0.is_none() || machine.halt.is_some() {
            return Ok(Watched::Same);
        }
        if machine.settings.drain == DrainRule::Counter {
            self.read_counters(machine.outgoing).await?;
        }
        let Some(gate) = machine.gate() else { return Ok(Watched::Same) };
        let listed = self.engine.list().await?;
        if listed.iter().all(|one| self.sworn.contains(&one.key())) {
            return Ok(Watched::Same);
        }
        let sweep = self.sweep(&gate).await?;
        if gate.judge(&sweep, self.rule(), Millis(0)) == Verdict::Passed {
            self.sworn.extend(listed.iter().map(sweep::Listed::key));
        }
        let before = self.machine().map(|machine| machine.stage);
        self.apply(&Event::Swept(sweep)).await?;
        let changed = self.machine().map(|machine| machine.stage) != before;
        Ok(if changed { Watched::Changed } else { Watched::Same })
    }

    /// Takes what operators elsewhere asked for, in the order in which they asked.
    pub(crate) async fn take_requests(&mut self) -> Result<(), EngineError> {
        while let Some(request) = self.stamp.requests.first().cloned() {
            self.stamp.requests.retain(|other| other.id != request.id);
            self.taken_requests.insert(request.id.clone());
            if request.rotation == self.rotation_id() {
                self.take_request(&request).await?;
            } else {
                self.caution(format!(
                    "`{}` by `{}` was meant for {}, which is not open any more; it was dropped",
                    request.what.words(),
                    request.by,
                    request.rotation
                ));
            }
            self.commit_stamp().await?;
        }
        Ok(())
    }

    /// Takes one request, from elsewhere or from this very process.
    pub(crate) async fn take_request(&mut self, request: &PendingRequest) -> Result<(), EngineError> {
        if self.stamp.carries_out(&request.what) {
            self.caution("this revocation is under way already, and goes on".to_owned());
            return Ok(());
        }
        for (action, event) in self.decisions(&request.what) {
            // What is refused was not decided, and does not stand in the record as if it were.
            if let Some(Err(illegal)) = self.machine().map(|machine| machine.apply(&event)) {
                if !request.id.is_empty() {
                    // Who asked from elsewhere is not there to be told; who asked here gets it as the answer.
                    self.caution(format!("`{}` was refused: {}", request.what.words(), error_chain(&illegal)));
                }
                self.refused = Some(illegal);
                continue;
            }
            // Recorded in the same step as what it does, so that a crash between the two can't ask twice.
            if let (Event::Revoked(_), Some(open)) = (&event, &mut self.stamp.open) {
                open.revoked = Some(request.what.clone());
                // Weak evidence was named for another purpose than to show that a leaked key is dead.
                open.machine.settings.evidence = self.engine.assembly.policy.settings.evidence;
            }
            let why = request.why.clone();
            self.note_by(request.by.clone(), Body::Human { action, why })?;
            self.apply(&event).await?;
        }
        Ok(())
    }

    fn decisions(&self, asked: &Asked) -> Vec<(HumanAction, Event)> {
        match asked {
            Asked::Pause {} => vec![(HumanAction::Pause, Event::Paused)],
            Asked::Resume {} => vec![(HumanAction::Resume, Event::Resumed)],
            Asked::Rollback {} => vec![(HumanAction::Rollback, Event::RollbackRequested)],
            Asked::ReloadLaggards {} => vec![(HumanAction::ReloadLaggards, Event::LaggardReloadRequested)],
            Asked::Revoke { mode, compromised, store } => {
                let compromised = self.leaked(*compromised, *store);
                let marks = compromised.iter().map(|id| self.mark(*id)).collect();
                let revocation = Revocation { mode: *mode, compromised, fresh: self.stamp.ledger.next() };
                vec![(HumanAction::Revoke { mode: *mode, compromised: marks }, Event::Revoked(revocation))]
            }
            Asked::Override { accept_loss, extend_drain_ms, weak_evidence } => {
                let mut decisions = Vec::new();
                if let Some(sessions) = *accept_loss {
                    decisions.push((HumanAction::AcceptLoss { sessions }, Event::LossAccepted { sessions }));
                }
                if let Some(by) = extend_drain_ms.map(Millis) {
                    decisions.push((HumanAction::ExtendDrain { by }, Event::DrainExtended { by }));
                }
                if *weak_evidence == WeakEvidence::Accepted {
                    decisions.push((HumanAction::WeakEvidence, Event::WeakEvidenceAccepted));
                }
                decisions
            }
        }
    }

    /// The keys that a person means by "old", "new" and "the store".
    pub(crate) fn leaked(&self, compromised: Compromised, store: StoreLeak) -> BTreeSet<KeyId> {
        let mut leaked = BTreeSet::new();
        if let Some(machine) = self.machine() {
            leaked.extend(named_by(compromised, machine));
            if store == StoreLeak::Possible {
                leaked.extend(machine.stores.iter().flat_map(|store| store.accept.iter().copied()));
                leaked.extend(named_by(Compromised::Both, machine));
            }
        }
        if store == StoreLeak::Possible {
            leaked.extend(self.stamp.standby);
            leaked.extend(self.escrowed());
        }
        leaked
    }

    /// The keys that wait in the stores' escrow, whichever rotation put them there.
    pub(crate) fn escrowed(&self) -> BTreeSet<KeyId> {
        self.views.iter().flat_map(|view| &view.document.escrow).map(|hidden| hidden.id).collect()
    }

    /// Whether a closed rotation is to be followed by one that leaves a candidate for the next.
    pub(crate) fn wants_standby(&mut self) -> bool {
        let forward = match self.machine() {
            Some(machine) => {
                machine.stage == Stage::Escrow && machine.direction == Direction::Forward && machine.halt.is_none()
            }
            None => self.ended_back == Direction::Forward,
        };
        let accepted = self.fields(0).configuration().map(|configuration| configuration.accept.len());
        forward
            && self.engine.assembly.policy.standby == Standby::Keep
            && self.stamp.standby.is_none()
            && accepted.is_some_and(|accepted| self.engine.assembly.profile.accept_slots().hold(accepted))
    }
}

/// Whether keys of earlier rotations are gone whose time is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Overdue {
    Gone,
    Left,
}

/// What a look at a draining fleet led to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Watched {
    Same,
    /// The rotation is in another stage now.
    Changed,
}

/// Whether `stage` lies behind `until` on the way forward.
fn behind(stage: Stage, until: Stage) -> bool {
    let place = |stage| match stage {
        Stage::Planned => 1,
        Stage::Staged => 2,
        Stage::Accepting => 3,
        Stage::Promoting | Stage::CuttingOver => 4,
        Stage::Draining => 5,
        Stage::Retiring => 6,
        Stage::Closing => 7,
        Stage::Escrow => 8,
        Stage::Finished => 9,
        // A rollback is not on the way forward, and no `--until` holds it up.
        Stage::Withdrawing => 0,
    };
    place(stage) > place(until)
}

/// Whether a look has shown what the one before it showed.
fn in_vain(event: &Event, before: &Rotation, after: &Rotation) -> bool {
    let mut looked = before.clone();
    match event {
        Event::Swept(_) => looked.swept_at = after.swept_at,
        Event::DrainObserved { observation, .. } => {
            let same = |seen: &DrainSeen| drain_verdict(&seen.observation) == drain_verdict(observation);
            if before.drain_seen.as_ref().is_some_and(same) {
                looked.drain_seen.clone_from(&after.drain_seen);
            }
        }
        _ => return false,
    }
    looked == *after
}

/// What could not be found out again from the world.
fn travels_in_the_stamp(event: &Event) -> bool {
    !matches!(
        event,
        Event::PreflightPassed
            | Event::CandidateStored
            | Event::Written { .. }
            | Event::Reloaded
            | Event::Swept(_)
            | Event::DrainObserved { .. }
    )
}

/// How often a write of somebody else's that is gone again is looked past.
const STRANGERS: u32 = 8;

const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// While it drains, the stores are read for requests this many polls apart.
const POLLS_PER_TICK: u32 = 5;
