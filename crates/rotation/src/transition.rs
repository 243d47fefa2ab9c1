//! What follows from what happened. All transitions stand in the one match of [`Rotation::apply`].
//!
//! Going back is going forward with the roles exchanged: the key that the rotation began with becomes `incoming`, and
//! the same stages and gates carry it there. Only where the candidate never minted is there a shorter way.

use std::collections::BTreeSet;

use keyroll_keyring::KeyId;

use crate::gate::{Ability, Answer, Readiness, Sweep, Unproven, Verdict};
use crate::{
    Applied, Attempt, Candidate, Direction, DrainObservation, DrainRule, DrainSeen, Event, Halt, Illegal, Leaving,
    Millis, Mode, Permit, ReloadNeed, ReloadScope, Revocation, Rotation, Stage, Step, StoreIndex, Trust,
    WorldConfiguration,
};

impl Rotation {
    /// Takes what happened. The state is unchanged where the event does not fit it.
    pub fn apply(&self, event: &Event) -> Result<Applied, Illegal> {
        use Stage::{
            Accepting, Closing, CuttingOver, Draining, Escrow, Finished, Planned, Promoting, Retiring, Staged,
            Withdrawing,
        };
        self.admits(event)?;
        let illegal = || Err(Illegal::OutOfPlace { event: event.name(), stage: self.stage });
        let mut to = self.clone();
        match (event, self.stage) {
            (Event::PreflightPassed, Planned) => to.after_preflight(),
            (
                Event::PreflightPassed,
                Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Finished | Withdrawing
                | CuttingOver,
            ) => return illegal(),

            (Event::CandidateStored, Staged) => to.after_staging(),
            (
                Event::CandidateStored,
                Planned | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Finished | Withdrawing
                | CuttingOver,
            ) => return illegal(),

            (Event::Written { store, at }, Accepting | Promoting | Retiring | Withdrawing | CuttingOver) => {
                if self.step == Step::Write && self.lacking().contains(store) {
                    to.written(*store, *at);
                } else if !self.holds_target(*store) {
                    return illegal();
                }
            }
            (Event::Written { .. }, Planned | Staged | Draining | Closing | Escrow | Finished) => return illegal(),

            (Event::Reloaded, Accepting | Promoting | Retiring | Withdrawing | CuttingOver) => match self.step {
                Step::Reload { .. } => to.prove(),
                Step::Act | Step::Write | Step::Gate => return illegal(),
            },
            (Event::Reloaded, Planned | Staged | Draining | Closing | Escrow | Finished) => return illegal(),

            (Event::ReloadStopped { member }, Accepting | Promoting | Retiring | Withdrawing | CuttingOver) => {
                match self.step {
                    Step::Reload { .. } => to.halt = Some(Halt::ReloadStopped { member: *member }),
                    Step::Act | Step::Write | Step::Gate => return illegal(),
                }
            }
            (Event::ReloadStopped { .. }, Planned | Staged | Draining | Closing | Escrow | Finished) => {
                return illegal();
            }

            (Event::Swept(sweep), Accepting | Promoting | Retiring | Withdrawing | CuttingOver) => {
                match (&self.step, self.permit) {
                    (Step::Gate, _) => to.swept_gate(sweep),
                    (Step::Write, Permit::Needed | Permit::Passed { .. }) => to.swept_permit(sweep),
                    (Step::Write, Permit::Free) | (Step::Act | Step::Reload { .. }, _) => return illegal(),
                }
            }
            (Event::Swept(sweep), Draining) => to.swept_drain(sweep),
            (Event::Swept(_), Planned | Staged | Closing | Escrow | Finished) => return illegal(),

            (Event::Stamped { t0 }, Draining) => to.t0 = Some(self.t0.unwrap_or(*t0)),
            (
                Event::Stamped { .. },
                Planned | Staged | Accepting | Promoting | Retiring | Closing | Escrow | Finished | Withdrawing
                | CuttingOver,
            ) => return illegal(),

            (Event::DrainObserved { observation, now }, Draining) => {
                to.drain_seen = Some(DrainSeen { observation: observation.clone(), at: *now });
                to.weigh_drain();
            }
            (
                Event::DrainObserved { .. },
                Planned | Staged | Accepting | Promoting | Retiring | Closing | Escrow | Finished | Withdrawing
                | CuttingOver,
            ) => return illegal(),

            (Event::Closed { now }, Closing) => to.closed(*now),
            (
                Event::Closed { .. },
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Escrow | Finished | Withdrawing
                | CuttingOver,
            ) => return illegal(),

            (Event::Destroyed, Escrow) => {
                to.destroyed.insert(self.outgoing);
                to.enter(Finished, Permit::Free);
            }
            (
                Event::Destroyed,
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Finished | Withdrawing
                | CuttingOver,
            ) => return illegal(),

            (Event::CandidateDiscarded, Withdrawing) => match self.step {
                Step::Act => {
                    to.destroyed.insert(self.incoming);
                    to.enter(Closing, Permit::Free);
                }
                Step::Write | Step::Reload { .. } | Step::Gate => return illegal(),
            },
            (
                Event::CandidateDiscarded,
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Finished
                | CuttingOver,
            ) => return illegal(),

            (
                Event::WorldObserved { stores, at },
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Withdrawing
                | CuttingOver,
            ) => to.world_observed(stores, *at)?,
            (Event::WorldObserved { .. }, Finished) => return illegal(),

            (
                Event::Disturbed { at },
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Withdrawing
                | CuttingOver,
            ) => to.prove_again(*at),
            (Event::Disturbed { .. }, Finished) => return illegal(),

            (
                Event::ForeignWriteAdopted { stores, at },
                Accepting | Promoting | Draining | Retiring | Closing | Escrow | Withdrawing | CuttingOver,
            ) => to.adopt(stores, *at)?,
            (Event::ForeignWriteAdopted { .. }, Planned | Staged | Finished) => return illegal(),

            (Event::T0Voided, Draining) => to.void_t0(),
            (Event::T0Voided, Retiring) if self.stores.iter().all(|store| store.accept.contains(&self.outgoing)) => {
                to.void_t0();
            }
            (
                Event::T0Voided,
                Planned | Staged | Accepting | Promoting | Retiring | Closing | Escrow | Finished | Withdrawing
                | CuttingOver,
            ) => return illegal(),

            (
                Event::Paused,
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Withdrawing
                | CuttingOver,
            ) => to.halt = Some(Halt::Paused),
            (Event::Paused, Finished) => return illegal(),

            (
                Event::Resumed,
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Withdrawing
                | CuttingOver,
            ) => {
                if matches!(self.halt, Some(Halt::ReloadStopped { .. })) {
                    to.reload(ReloadScope::Laggards);
                }
                to.halt = None;
            }
            (Event::Resumed, Finished) => return illegal(),

            (
                Event::RollbackRequested,
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | CuttingOver
                | Finished | Withdrawing,
            ) => to.roll_back()?,

            (
                Event::Revoked(revocation),
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Withdrawing
                | CuttingOver,
            ) => to.revoke(revocation)?,
            (Event::Revoked(_), Finished) => return illegal(),

            (Event::LossAccepted { sessions }, Draining) => {
                to.accepted_loss = Some(*sessions);
                to.weigh_drain();
            }
            (
                Event::LossAccepted { .. },
                Planned | Staged | Accepting | Promoting | Retiring | Closing | Escrow | Finished | Withdrawing
                | CuttingOver,
            ) => return illegal(),

            (Event::DrainExtended { by }, Draining) => {
                to.drain_extension = self.drain_extension.after(*by);
                to.weigh_drain();
            }
            (
                Event::DrainExtended { .. },
                Planned | Staged | Accepting | Promoting | Retiring | Closing | Escrow | Finished | Withdrawing
                | CuttingOver,
            ) => return illegal(),

            (
                Event::WeakEvidenceAccepted,
                Planned | Staged | Accepting | Promoting | Draining | Retiring | Closing | Escrow | Withdrawing
                | CuttingOver,
            ) => to.settings.evidence = crate::gate::EvidenceRule::Weak,
            (Event::WeakEvidenceAccepted, Finished) => return illegal(),

            (Event::LaggardReloadRequested, Accepting | Promoting | Retiring | Withdrawing | CuttingOver) => {
                match (&self.step, self.permit) {
                    (Step::Gate | Step::Reload { .. }, _) | (Step::Write, Permit::Needed | Permit::Passed { .. }) => {
                        to.halt = None;
                        to.reload(ReloadScope::Laggards);
                    }
                    (Step::Write, Permit::Free) | (Step::Act, _) => return illegal(),
                }
            }
            (Event::LaggardReloadRequested, Planned | Staged | Draining | Closing | Escrow | Finished) => {
                return illegal();
            }
        }
        Ok(Applied { rotation: to })
    }

    /// Whether a rotation that stands still takes the event at all.
    fn admits(&self, event: &Event) -> Result<(), Illegal> {
        let out_of_place = Err(Illegal::OutOfPlace { event: event.name(), stage: self.stage });
        match (event, &self.halt) {
            // What the driver saw or did counts only while the machine asked for it.
            (
                Event::PreflightPassed
                | Event::CandidateStored
                | Event::Written { .. }
                | Event::Reloaded
                | Event::ReloadStopped { .. }
                | Event::Swept(_)
                | Event::Stamped { .. }
                | Event::DrainObserved { .. }
                | Event::Closed { .. }
                | Event::Destroyed
                | Event::CandidateDiscarded,
                Some(Halt::Paused | Halt::ForeignWrite { .. } | Halt::ReloadStopped { .. } | Halt::LaggardsRemain),
            ) => out_of_place,
            (
                Event::RollbackRequested | Event::Revoked(_) | Event::LaggardReloadRequested,
                Some(Halt::ForeignWrite { store, .. }),
            ) => Err(Illegal::Invariant {
                invariant: "I12",
                reason: format!("store {} holds a foreign write; put it back or adopt it first", store.0),
            }),
            (Event::Resumed, None | Some(Halt::ForeignWrite { .. })) => out_of_place,
            (Event::Paused, Some(Halt::ForeignWrite { .. } | Halt::ReloadStopped { .. } | Halt::LaggardsRemain)) => {
                out_of_place
            }
            (Event::Disturbed { .. }, Some(Halt::ForeignWrite { .. })) => out_of_place,
            (
                Event::ForeignWriteAdopted { .. },
                None | Some(Halt::Paused | Halt::ReloadStopped { .. } | Halt::LaggardsRemain),
            ) => out_of_place,
            (
                Event::PreflightPassed
                | Event::CandidateStored
                | Event::Written { .. }
                | Event::Reloaded
                | Event::ReloadStopped { .. }
                | Event::Swept(_)
                | Event::Stamped { .. }
                | Event::DrainObserved { .. }
                | Event::Closed { .. }
                | Event::Destroyed
                | Event::CandidateDiscarded,
                None,
            )
            | (
                Event::RollbackRequested | Event::Revoked(_) | Event::LaggardReloadRequested,
                None | Some(Halt::Paused | Halt::ReloadStopped { .. } | Halt::LaggardsRemain),
            )
            | (Event::Resumed, Some(Halt::Paused | Halt::ReloadStopped { .. } | Halt::LaggardsRemain))
            | (Event::Paused, None | Some(Halt::Paused))
            | (Event::ForeignWriteAdopted { .. }, Some(Halt::ForeignWrite { .. }))
            | (
                Event::Disturbed { .. },
                None | Some(Halt::Paused | Halt::ReloadStopped { .. } | Halt::LaggardsRemain),
            )
            | (
                Event::WorldObserved { .. }
                | Event::T0Voided
                | Event::LossAccepted { .. }
                | Event::DrainExtended { .. }
                | Event::WeakEvidenceAccepted,
                _,
            ) => Ok(()),
        }
    }

    /// Goes to a stage. Where nothing has to be written, its proof is still asked for, and a fresh one.
    pub(crate) fn enter(&mut self, stage: Stage, permit: Permit) {
        self.stage = stage;
        self.permit = permit;
        self.stage_reloads = 0;
        self.unproven.clear();
        self.swept_at = None;
        match stage {
            Stage::Planned | Stage::Staged | Stage::Retiring | Stage::Withdrawing | Stage::CuttingOver => {
                self.trust = Trust::Unproven;
            }
            Stage::Accepting
            | Stage::Promoting
            | Stage::Draining
            | Stage::Closing
            | Stage::Escrow
            | Stage::Finished => {}
        }
        self.step = match stage {
            Stage::Planned | Stage::Staged | Stage::Draining | Stage::Closing | Stage::Escrow | Stage::Finished => {
                Step::Act
            }
            Stage::Accepting | Stage::Promoting | Stage::Retiring | Stage::Withdrawing | Stage::CuttingOver
                if !self.lacking().is_empty() =>
            {
                Step::Write
            }
            // Nothing was written, so no member can know the candidate.
            Stage::Withdrawing => Step::Act,
            Stage::Accepting | Stage::Promoting | Stage::Retiring | Stage::CuttingOver => Step::Gate,
        };
    }

    fn after_preflight(&mut self) {
        match self.candidate {
            Candidate::Fresh => self.enter(Stage::Staged, Permit::Free),
            Candidate::Standby => self.after_staging(),
        }
    }

    fn after_staging(&mut self) {
        match self.mode {
            Mode::Staged | Mode::Accelerated | Mode::Standby => self.enter(Stage::Accepting, Permit::Free),
            Mode::Cutover | Mode::HardCutover => self.cut_over(Permit::Free),
        }
    }

    /// From here on somebody may mint under `incoming`; the record says so before the first write does.
    fn promote(&mut self, permit: Permit) {
        self.promotion_attempted = true;
        self.enter(Stage::Promoting, permit);
    }

    fn cut_over(&mut self, permit: Permit) {
        self.promotion_attempted = true;
        self.enter(Stage::CuttingOver, permit);
    }

    fn holds_target(&self, store: StoreIndex) -> bool {
        self.target().is_some_and(|target| self.stores.get(usize::from(store.0)) == Some(&target))
    }

    fn written(&mut self, store: StoreIndex, at: Millis) {
        let Some(target) = self.target() else { return };
        self.stores[usize::from(store.0)] = target;
        self.written_at = self.written_at.max(Some(at));
        if self.stage == Stage::CuttingOver {
            // Half a cutover is worse than a whole one, and what G1 asked is no longer so.
            self.permit = Permit::Free;
        }
        if self.lacking().is_empty() {
            match self.settings.reload {
                ReloadNeed::Needed => self.reload(ReloadScope::All),
                ReloadNeed::HotReload => self.step = Step::Gate,
            }
        }
    }

    fn reload(&mut self, scope: ReloadScope) {
        self.reloads = Attempt(self.reloads.0.saturating_add(1));
        self.stage_reloads = self.stage_reloads.saturating_add(1);
        self.step = Step::Reload { attempt: self.reloads, scope };
    }

    /// After a reload: on to the stage's gate, or to the gate before its write.
    fn prove(&mut self) {
        self.swept_at = None;
        self.step = if self.lacking().is_empty() { Step::Gate } else { Step::Write };
    }

    fn judge(&self, sweep: &Sweep) -> Verdict {
        match self.gate() {
            Some(gate) => gate.judge(sweep, self.settings.evidence, self.settle_over()),
            None => Verdict::Unproven(Vec::new()),
        }
    }

    fn swept_gate(&mut self, sweep: &Sweep) {
        match self.judge(sweep) {
            Verdict::Passed => self.gate_passed(sweep.ended),
            Verdict::Unproven(unproven) => self.gate_failed(sweep, unproven),
        }
    }

    pub(crate) fn gate_passed(&mut self, at: Millis) {
        if matches!(self.stage, Stage::Accepting | Stage::Promoting) {
            self.trust = Trust::BothEverywhere;
        }
        match (self.stage, self.mode) {
            (Stage::Accepting, Mode::Staged) => self.promote(Permit::Passed { at }),
            (Stage::Accepting, Mode::Accelerated | Mode::Cutover | Mode::HardCutover) => {
                self.cut_over(Permit::Passed { at });
            }
            (Stage::Accepting, Mode::Standby) => self.enter(Stage::Closing, Permit::Free),
            (Stage::Promoting, _) => self.enter(Stage::Draining, Permit::Passed { at }),
            (Stage::Retiring | Stage::CuttingOver, _) => self.enter(Stage::Closing, Permit::Free),
            (Stage::Withdrawing, _) => self.step = Step::Act,
            (
                Stage::Planned | Stage::Staged | Stage::Draining | Stage::Closing | Stage::Escrow | Stage::Finished,
                _,
            ) => {}
        }
    }

    /// Laggards are reloaded again, up to the allowed number; everything else is asked again.
    fn gate_failed(&mut self, sweep: &Sweep, unproven: Vec<Unproven>) {
        self.swept_at = Some(sweep.ended);
        let laggards = unproven.iter().any(|unproven| is_laggard(sweep, unproven));
        self.unproven = unproven;
        if !laggards || sweep.began < self.settle_over() {
            return;
        }
        match self.settings.reload {
            ReloadNeed::HotReload => {}
            ReloadNeed::Needed if self.stage_reloads <= self.settings.reload_attempts => {
                self.reload(ReloadScope::Laggards);
            }
            ReloadNeed::Needed => self.halt = Some(Halt::LaggardsRemain),
        }
    }

    fn swept_permit(&mut self, sweep: &Sweep) {
        match self.judge(sweep) {
            Verdict::Passed => {
                self.permit = Permit::Passed { at: sweep.ended };
                if self.stage == Stage::Promoting {
                    self.trust = Trust::BothEverywhere;
                }
                self.unproven.clear();
                self.swept_at = None;
            }
            Verdict::Unproven(unproven) => {
                self.permit = Permit::Needed;
                if self.stage == Stage::Retiring && self.mints_outgoing(&unproven) && self.none_retired() {
                    self.void_t0();
                }
                self.gate_failed(sweep, unproven);
            }
        }
    }

    fn swept_drain(&mut self, sweep: &Sweep) {
        match (self.judge(sweep), self.t0) {
            (Verdict::Passed, None) => {
                self.permit = Permit::Passed { at: sweep.ended };
                self.unproven.clear();
                self.swept_at = None;
            }
            (Verdict::Passed, Some(_)) => {
                self.unproven.clear();
                self.swept_at = None;
                self.end_drain(sweep);
            }
            (Verdict::Unproven(unproven), None) => {
                self.enter(Stage::Promoting, Permit::Needed);
                self.gate_failed(sweep, unproven);
            }
            (Verdict::Unproven(unproven), Some(_)) if self.mints_outgoing(&unproven) => {
                self.void_t0();
                self.gate_failed(sweep, unproven);
            }
            (Verdict::Unproven(unproven), Some(_)) => {
                self.unproven = unproven;
                self.swept_at = Some(sweep.ended);
            }
        }
    }

    /// The sweep before the retiring write has passed; go on if the time and the evidence are there too.
    fn end_drain(&mut self, sweep: &Sweep) {
        let Some(over) = self.drain_over() else { return };
        if sweep.began < over {
            return;
        }
        if self.settings.drain == DrainRule::Lifetime && self.drained.is_none() {
            self.drained = Some(DrainObservation::LifetimeElapsed { at: sweep.began });
        }
        if self.drained.is_some() {
            self.enter(Stage::Retiring, Permit::Passed { at: sweep.ended });
        }
    }

    fn weigh_drain(&mut self) {
        let ends = self.drain_seen.as_ref().filter(|seen| self.ends_drain(seen));
        self.drained = ends.map(|seen| seen.observation.clone());
    }

    /// Whether somebody showed that a session may still be minted under the outgoing key.
    fn mints_outgoing(&self, unproven: &[Unproven]) -> bool {
        unproven.iter().any(|unproven| match unproven {
            Unproven::Contradicts { claim, .. } => {
                claim.ability == Ability::Mints && (claim.answer == Answer::Yes) != (claim.key == self.incoming)
            }
            Unproven::Lacks { .. }
            | Unproven::CannotAnswer { .. }
            | Unproven::NotAsked { .. }
            | Unproven::EmptyConsumer { .. }
            | Unproven::NoMembers
            | Unproven::Settling { .. } => false,
        })
    }

    fn none_retired(&self) -> bool {
        self.stores.iter().all(|store| store.accept.contains(&self.outgoing))
    }

    /// The drain starts anew, after G2 has been proven anew.
    fn void_t0(&mut self) {
        self.forget_drain();
        self.enter(Stage::Promoting, Permit::Needed);
    }

    fn forget_drain(&mut self) {
        self.t0 = None;
        self.drain_seen = None;
        self.drained = None;
        self.accepted_loss = None;
    }

    fn closed(&mut self, now: Millis) {
        let leaving = self.leaving(now);
        self.closed_at = Some(self.closed_at.unwrap_or(now));
        match leaving {
            Leaving::Nothing => self.enter(Stage::Finished, Permit::Free),
            Leaving::Destroy { keys } => {
                self.destroyed.extend(keys);
                self.enter(Stage::Finished, Permit::Free);
            }
            Leaving::Escrow { .. } => self.enter(Stage::Escrow, Permit::Free),
        }
    }

    fn world_observed(&mut self, found: &[Option<WorldConfiguration>], at: Millis) -> Result<(), Illegal> {
        if found.len() != self.stores.len() {
            let reason = format!("{} stores were read and there are {}", found.len(), self.stores.len());
            return Err(Illegal::Invariant { invariant: "I7", reason });
        }
        let pending = if self.step == Step::Write { self.target() } else { None };
        let stranger = found.iter().zip(&self.stores).position(|(found, expected)| {
            found.as_ref() != Some(expected) && (found.is_none() || found.as_ref() != pending.as_ref())
        });
        if let Some(place) = stranger {
            self.halt = Some(Halt::ForeignWrite {
                store: StoreIndex(u16::try_from(place).unwrap_or(u16::MAX)),
                expected: self.stores[place].clone(),
                found: found[place].clone(),
            });
            return Ok(());
        }
        let disturbed = matches!(self.halt, Some(Halt::ForeignWrite { .. }));
        for (store, found) in (0..).map(StoreIndex).zip(found) {
            if self.lacking().contains(&store) && found.as_ref() == pending.as_ref() {
                self.written(store, at);
            }
        }
        if disturbed {
            self.halt = None;
            self.prove_again(at);
        }
        Ok(())
    }

    /// The world is as expected again after a foreign hand was in it. A change and its undoing can't be told from no
    /// change, but a member may have read what stood there in between; so what was proven is proven again.
    fn prove_again(&mut self, at: Millis) {
        self.written_at = Some(at);
        self.trust = Trust::Unproven;
        self.unproven.clear();
        self.swept_at = None;
        self.stage_reloads = 0;
        match self.stage {
            Stage::Planned | Stage::Staged | Stage::Escrow | Stage::Finished => {}
            Stage::Accepting | Stage::Withdrawing => self.step_again(Permit::Free),
            Stage::Promoting => self.step_again(Permit::Needed),
            Stage::Draining => self.void_t0(),
            Stage::Retiring if self.none_retired() => self.void_t0(),
            Stage::Retiring => self.step_again(Permit::Needed),
            Stage::CuttingOver => {
                let begun = self.permit == Permit::Free;
                self.step_again(if begun { Permit::Free } else { Permit::Needed });
            }
            Stage::Closing if self.destroyed.contains(&self.incoming) => {}
            Stage::Closing => match (self.mode, self.direction) {
                (Mode::Staged, _) if !self.none_retired() => self.enter(Stage::Retiring, Permit::Needed),
                (Mode::Cutover | Mode::Accelerated | Mode::HardCutover, _) if !self.none_retired() => {
                    self.enter(Stage::CuttingOver, Permit::Free);
                }
                (Mode::Standby, Direction::Forward) => self.enter(Stage::Accepting, Permit::Free),
                (Mode::Staged | Mode::Cutover | Mode::Accelerated | Mode::HardCutover | Mode::Standby, _) => {}
            },
        }
    }

    fn step_again(&mut self, permit: Permit) {
        self.permit = permit;
        self.step = match (self.lacking().is_empty(), &self.step) {
            (_, Step::Reload { attempt, scope }) => Step::Reload { attempt: *attempt, scope: *scope },
            (true, Step::Act | Step::Write | Step::Gate) => Step::Gate,
            (false, Step::Act | Step::Write | Step::Gate) => Step::Write,
        };
    }

    /// A person goes on from what a foreign hand left, where that is safe: only known keys, and each key that a member
    /// may hold is accepted before another one mints.
    fn adopt(&mut self, found: &[WorldConfiguration], at: Millis) -> Result<(), Illegal> {
        let refuse = |invariant, reason: String| Err(Illegal::Invariant { invariant, reason });
        let Some(first) = found.first().filter(|_| found.len() == self.stores.len()) else {
            return refuse("I7", format!("{} stores were read and there are {}", found.len(), self.stores.len()));
        };
        if found == self.stores {
            // It was put back before anybody decided.
            self.halt = None;
            self.prove_again(at);
            return Ok(());
        }
        if let Some(gone) = [self.incoming, self.outgoing].iter().find(|key| self.destroyed.contains(key)) {
            return refuse("I5", format!("{gone} is destroyed; the store has to be put back"));
        }
        let pair: BTreeSet<KeyId> = [self.incoming, self.outgoing].into();
        let leftover = |store: &WorldConfiguration| -> BTreeSet<KeyId> { &store.accept - &pair };
        let others = leftover(first);
        for store in found {
            if !store.accept.contains(&store.active) {
                return refuse("I3", format!("{} is active and not accepted", store.active));
            }
            if let Some(third) = store.accept.iter().find(|key| !pair.contains(key) && !self.others.contains(key)) {
                return refuse("I12", format!("{third} is a third key; this rotation knows nothing of it"));
            }
            if leftover(store) != others {
                return refuse("I12", "the stores accept different leftover keys; make them equal first".into());
            }
            if let Some(gone) = store.accept.intersection(&self.destroyed).next() {
                return refuse("I5", format!("{gone} was destroyed"));
            }
            if !pair.contains(&store.active) {
                return refuse("I12", format!("{} is active; it is neither the old key nor the new one", store.active));
            }
        }
        let on_incoming = found.iter().filter(|store| store.active == self.incoming).count();
        let both = found.iter().all(|store| pair.is_subset(&store.accept));
        let everywhere = on_incoming == found.len();
        let withdrawing = self.stage == Stage::Withdrawing && !self.promotion_attempted && on_incoming == 0;
        let (stage, permit) = match self.mode {
            _ if withdrawing => (Stage::Withdrawing, Permit::Free),
            Mode::Cutover | Mode::HardCutover => (Stage::CuttingOver, Permit::Free),
            Mode::Staged | Mode::Accelerated | Mode::Standby if on_incoming == 0 => (Stage::Accepting, Permit::Free),
            Mode::Accelerated => (Stage::CuttingOver, Permit::Free),
            Mode::Staged if everywhere => (Stage::Promoting, Permit::Free),
            Mode::Staged if both => (Stage::Promoting, Permit::Needed),
            Mode::Staged => return refuse("I4", "the stores have different active keys and do not accept both".into()),
            Mode::Standby => return refuse("I12", format!("the standby {} is active", self.incoming)),
        };
        if self.mode == Mode::Accelerated && stage == Stage::CuttingOver {
            // Nothing is promised any more about who accepts the new key first.
            self.mode = Mode::HardCutover;
        }
        self.others = others;
        self.stores = found.to_vec();
        self.written_at = Some(at);
        self.promotion_attempted |= on_incoming > 0;
        self.trust = Trust::Unproven;
        self.halt = None;
        self.closed_at = None;
        self.forget_drain();
        self.enter(stage, permit);
        Ok(())
    }

    fn roll_back(&mut self) -> Result<(), Illegal> {
        let refuse = |invariant, reason: String| Err(Illegal::Invariant { invariant, reason });
        if self.compromised.contains(&self.outgoing) {
            return refuse("I5", format!("{} is compromised; there is no way back onto it", self.outgoing));
        }
        if self.destroyed.contains(&self.outgoing) {
            return refuse("I5", format!("{} is destroyed; there is only the way forward", self.outgoing));
        }
        let out_of_place = Err(Illegal::OutOfPlace { event: Event::RollbackRequested.name(), stage: self.stage });
        match (self.direction, self.stage) {
            (Direction::Back, _) | (Direction::Forward, Stage::Finished | Stage::Withdrawing) => return out_of_place,
            (Direction::Forward, Stage::Planned) => self.enter(Stage::Closing, Permit::Free),
            (Direction::Forward, Stage::Staged | Stage::Accepting) if !self.promotion_attempted => self.withdraw(),
            (Direction::Forward, Stage::Closing) if self.mode == Mode::Standby => self.withdraw(),
            (Direction::Forward, Stage::CuttingOver) if self.none_cut_over() => {
                // The write was intended, and the world was read since: it did not happen.
                self.promotion_attempted = false;
                self.withdraw();
            }
            (Direction::Forward, Stage::CuttingOver | Stage::Closing | Stage::Escrow) if self.mode != Mode::Staged => {
                self.exchange();
                self.cut_over(Permit::Free);
            }
            (
                Direction::Forward,
                Stage::Staged
                | Stage::Accepting
                | Stage::Promoting
                | Stage::Draining
                | Stage::Retiring
                | Stage::Closing
                | Stage::Escrow
                | Stage::CuttingOver,
            ) => {
                self.exchange();
                let mints = |key: KeyId| self.stores.iter().all(|store| store.active == key);
                if self.trust == Trust::BothEverywhere || mints(self.incoming) {
                    // Everybody accepts both, or nobody has to change: promoted back at once.
                    self.promote(Permit::Free);
                } else if mints(self.outgoing) {
                    // Some members may reject the old key: it is trusted everywhere before anybody mints under it.
                    self.enter(Stage::Accepting, Permit::Free);
                } else {
                    self.promote(Permit::Needed);
                }
            }
        }
        self.direction = Direction::Back;
        self.halt = None;
        Ok(())
    }

    /// Back to where the rotation began, without anything having been minted under the candidate.
    fn withdraw(&mut self) {
        match self.candidate {
            Candidate::Fresh => self.enter(Stage::Withdrawing, Permit::Free),
            // It stood there before the rotation and stays.
            Candidate::Standby => self.enter(Stage::Closing, Permit::Free),
        }
    }

    fn none_cut_over(&self) -> bool {
        self.stores.iter().all(|store| store.active == self.outgoing)
    }

    fn exchange(&mut self) {
        std::mem::swap(&mut self.incoming, &mut self.outgoing);
        self.closed_at = None;
        self.forget_drain();
    }

    /// An emergency takes over. The key that survives is the candidate if it is sound, else the old key, else a new one.
    fn revoke(&mut self, revocation: &Revocation) -> Result<(), Illegal> {
        let refuse = |invariant, reason: String| Err(Illegal::Invariant { invariant, reason });
        match revocation.mode {
            Mode::Accelerated | Mode::HardCutover => {}
            Mode::Staged | Mode::Cutover | Mode::Standby => {
                return refuse("I13", "only an accelerated rotation or a hard cutover answers a leak".into());
            }
        }
        let leaked: BTreeSet<KeyId> = &self.compromised | &revocation.compromised;
        let accepted: BTreeSet<KeyId> = self.stores.iter().flat_map(|store| store.accept.iter().copied()).collect();
        let known: BTreeSet<KeyId> = &accepted | &[self.incoming, self.outgoing].into();
        if known.is_disjoint(&leaked) {
            return refuse("I13", "none of the keys of this rotation is named as compromised".into());
        }
        let sound = |key: &KeyId| !leaked.contains(key) && !self.destroyed.contains(key);
        let retired = matches!(self.stage, Stage::Closing | Stage::Escrow);
        if retired && accepted.is_disjoint(&leaked) {
            // No member accepts it any more; it only must not come back, nor wait in escrow.
            self.compromised = leaked;
            self.halt = None;
            return Ok(());
        }
        let stored = accepted.contains(&self.incoming) || self.direction == Direction::Back;
        let (incoming, outgoing, stored) = if sound(&self.incoming) {
            (self.incoming, self.outgoing, stored)
        } else if sound(&self.outgoing) {
            (self.outgoing, self.incoming, true)
        } else {
            let fresh = revocation.fresh;
            if known.iter().chain(&leaked).chain(&self.destroyed).max() >= Some(&fresh) {
                return refuse("I5", format!("{fresh} is not greater than every id ever used"));
            }
            let active = self.stores.iter().map(|store| store.active).find(|active| leaked.contains(active));
            (fresh, active.unwrap_or(self.outgoing), false)
        };
        self.compromised.clone_from(&leaked);
        self.halt = None;
        if incoming == self.outgoing {
            // What leaked is the candidate.
            if self.stage == Stage::Withdrawing {
                // It is on its way out already, and its gate proves that it is gone.
                return Ok(());
            }
            if self.direction == Direction::Forward && self.written_at.is_none() && accepted.is_disjoint(&leaked) {
                // No member was ever shown it: it is enough to forget it.
                self.direction = Direction::Back;
                self.enter(Stage::Withdrawing, Permit::Free);
                return Ok(());
            }
        }
        self.mode = revocation.mode;
        self.trust = Trust::Unproven;
        self.closed_at = None;
        self.forget_drain();
        self.incoming = incoming;
        self.outgoing = outgoing;
        // A leaked key counts even where no store accepts it any more, because a member may.
        let present = known.into_iter().filter(|key| accepted.contains(key) || leaked.contains(key));
        self.others =
            present.filter(|key| ![incoming, outgoing].contains(key) && !self.destroyed.contains(key)).collect();
        self.direction = Direction::Forward;
        // Accelerated is safe only while the one leaked key that is accepted is the one that mints.
        let gentle = self.stores.iter().all(|store| {
            store.active == outgoing && store.accept.intersection(&self.compromised).all(|&key| key == outgoing)
        });
        if !gentle {
            self.mode = Mode::HardCutover;
        }
        if stored {
            self.after_staging();
        } else {
            self.candidate = Candidate::Fresh;
            self.enter(Stage::Staged, Permit::Free);
        }
        Ok(())
    }
}

impl Event {
    /// Its name, as the journal writes it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PreflightPassed => "preflightPassed",
            Self::CandidateStored => "candidateStored",
            Self::Written { .. } => "written",
            Self::Reloaded => "reloaded",
            Self::ReloadStopped { .. } => "reloadStopped",
            Self::Swept(_) => "swept",
            Self::Stamped { .. } => "stamped",
            Self::DrainObserved { .. } => "drainObserved",
            Self::Closed { .. } => "closed",
            Self::Destroyed => "destroyed",
            Self::CandidateDiscarded => "candidateDiscarded",
            Self::WorldObserved { .. } => "worldObserved",
            Self::Disturbed { .. } => "disturbed",
            Self::ForeignWriteAdopted { .. } => "foreignWriteAdopted",
            Self::T0Voided => "t0Voided",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::RollbackRequested => "rollbackRequested",
            Self::Revoked(_) => "revoked",
            Self::LossAccepted { .. } => "lossAccepted",
            Self::DrainExtended { .. } => "drainExtended",
            Self::WeakEvidenceAccepted => "weakEvidenceAccepted",
            Self::LaggardReloadRequested => "laggardReloadRequested",
        }
    }
}

/// A laggard is ready and shows the opposite of what is demanded; a reload may help it. Silence is not answered by
/// a restart, and who is on its way out will be gone.
fn is_laggard(sweep: &Sweep, unproven: &Unproven) -> bool {
    let Unproven::Contradicts { member, .. } = unproven else {
        return false;
    };
    sweep.observed.iter().any(|seen| seen.member == *member && seen.readiness == Readiness::Ready)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{Claim, ConsumerCount, Declared, EvidenceLevel, EvidenceRule, Gate, MemberKind, Observation};
    use crate::{Effect, MemberIndex, Next, Opening, Settings};

    const OLD: KeyId = KeyId(1);
    const NEW: KeyId = KeyId(2);

    fn opening(mode: Mode) -> Opening {
        Opening {
            mode,
            outgoing: OLD,
            incoming: NEW,
            candidate: Candidate::Fresh,
            compromised: BTreeSet::new(),
            stores: vec![WorldConfiguration::new(OLD, []); 2],
            settings: Settings {
                settle: Millis(5_000),
                max_lifetime: Some(Millis(20_000)),
                idle_lifetime: None,
                leeway: Millis(1_000),
                drain: DrainRule::Lifetime,
                drain_limit: None,
                least_reissued_permille: None,
                escrow: Millis(60_000),
                evidence: EvidenceRule::Strong,
                reload_attempts: 2,
                reload: ReloadNeed::Needed,
            },
            now: Millis(0),
        }
    }

    /// Three members that show whatever the gate asks for.
    fn obedient(gate: &Gate, now: Millis) -> Sweep {
        let accepts = gate.accepts.iter().map(|&key| (key, Ability::Accepts, Answer::Yes));
        let rejects = gate.rejects.iter().map(|&key| (key, Ability::Accepts, Answer::No));
        let mints = gate.mints.iter().map(|&key| (key, Ability::Mints, Answer::Yes));
        let claims: Vec<Claim> = accepts
            .chain(rejects)
            .chain(mints)
            .map(|(key, ability, answer)| Claim { key, ability, answer, level: EvidenceLevel::P3 })
            .collect();
        let observed = (0..3).map(|member| Observation {
            member: MemberIndex(member),
            kind: MemberKind::Serving,
            readiness: Readiness::Ready,
            started_after_settle: Answer::Unknown,
            claims: claims.clone(),
        });
        Sweep {
            began: now,
            ended: now,
            observed: observed.collect(),
            listed_after: (0..3).map(MemberIndex).collect(),
            consumers: vec![ConsumerCount { declared: Declared::Populated, members: 3 }],
        }
    }

    /// Carries out whatever is asked, in a world that obeys, until `stop` or the end. Returns the writes.
    fn drive(rotation: &mut Rotation, now: &mut Millis, stop: impl Fn(&Rotation) -> bool) -> Vec<WorldConfiguration> {
        let mut writes = Vec::new();
        for _ in 0..200 {
            if stop(rotation) {
                return writes;
            }
            let event = match rotation.next(*now) {
                Next::Done => return writes,
                Next::Wait(wait) => {
                    assert!(!wait.naysayers.is_empty());
                    *now = wait.again_at.unwrap_or_else(|| panic!("waits for a person: {wait:?}"));
                    continue;
                }
                Next::Do(effect) => match effect {
                    Effect::StageCandidate { .. } => Event::CandidateStored,
                    Effect::Write { store, after, before } => {
                        assert_eq!(before, rotation.stores[usize::from(store.0)]);
                        writes.push(after);
                        Event::Written { store, at: *now }
                    }
                    Effect::Reload { .. } => Event::Reloaded,
                    Effect::Sweep { gate } => Event::Swept(obedient(&gate, *now)),
                    Effect::StampT0 => Event::Stamped { t0: *now },
                    Effect::ObserveDrain { .. } => {
                        Event::DrainObserved { observation: DrainObservation::Rows { remaining: 0 }, now: *now }
                    }
                    Effect::Close { .. } => Event::Closed { now: *now },
                    Effect::Destroy { .. } => Event::Destroyed,
                    Effect::DiscardCandidate { .. } => Event::CandidateDiscarded,
                },
            };
            *rotation = rotation.apply(&event).unwrap().rotation;
        }
        panic!("no end: {rotation:?}");
    }

    fn opened(mode: Mode) -> Rotation {
        Rotation::open(opening(mode)).unwrap().apply(&Event::PreflightPassed).unwrap().rotation
    }

    #[test]
    fn a_staged_rotation_writes_three_times_to_each_store_and_finishes() {
        let mut rotation = opened(Mode::Staged);
        let writes = drive(&mut rotation, &mut Millis(0), |_| false);
        let accepting = WorldConfiguration::new(OLD, [NEW]);
        let promoting = WorldConfiguration::new(NEW, [OLD]);
        let retiring = WorldConfiguration::new(NEW, []);
        assert_eq!(writes, [&accepting, &accepting, &promoting, &promoting, &retiring, &retiring].map(Clone::clone));
        assert_eq!(rotation.stage, Stage::Finished);
        assert_eq!(rotation.destroyed, [OLD].into());
    }

    #[test]
    fn a_rollback_from_every_stage_ends_on_the_old_key() {
        for stage in [
            Stage::Planned,
            Stage::Staged,
            Stage::Accepting,
            Stage::Promoting,
            Stage::Draining,
            Stage::Retiring,
            Stage::Closing,
            Stage::Escrow,
        ] {
            for mode in [Mode::Staged, Mode::Cutover] {
                let mut rotation = Rotation::open(opening(mode)).unwrap();
                let mut now = Millis(0);
                if stage != Stage::Planned {
                    rotation = rotation.apply(&Event::PreflightPassed).unwrap().rotation;
                }
                drive(&mut rotation, &mut now, |rotation| rotation.stage == stage);
                if rotation.stage != stage {
                    continue;
                }
                rotation = rotation.apply(&Event::RollbackRequested).unwrap().rotation;
                drive(&mut rotation, &mut now, |_| false);
                assert_eq!(rotation.stores, vec![WorldConfiguration::new(OLD, []); 2], "{mode:?} {stage:?}");
                assert_eq!(rotation.stage, Stage::Finished);
            }
        }
    }
}
