//! How a rotation goes from stage to stage: entering one, writing, reloading, asking, draining, closing.
//!
//! A stage in which nothing has to be written is still proven, and by a fresh sweep.

use crate::gate::{Ability, Answer, Readiness, Sweep, Unproven, Verdict};
use crate::{
    Attempt, Candidate, DrainObservation, DrainRule, Halt, Leaving, Millis, Mode, Permit, ReloadNeed, ReloadScope,
    Rotation, Stage, Step, StoreIndex, Trust,
};

impl Rotation {
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

    pub(super) fn after_preflight(&mut self) {
        match self.candidate {
            Candidate::Fresh => self.enter(Stage::Staged, Permit::Free),
            Candidate::Standby => self.after_staging(),
        }
    }

    pub(super) fn after_staging(&mut self) {
        match self.mode {
            Mode::Staged | Mode::Accelerated | Mode::Standby => self.enter(Stage::Accepting, Permit::Free),
            Mode::Cutover | Mode::HardCutover => self.cut_over(Permit::Free),
        }
    }

    /// From here on somebody may mint under `incoming`; the record says so before the first write does.
    pub(super) fn promote(&mut self, permit: Permit) {
        self.promotion_attempted = true;
        self.enter(Stage::Promoting, permit);
    }

    pub(super) fn cut_over(&mut self, permit: Permit) {
        self.promotion_attempted = true;
        self.enter(Stage::CuttingOver, permit);
    }

    pub(super) fn holds_target(&self, store: StoreIndex) -> bool {
        self.target().is_some_and(|target| self.stores.get(usize::from(store.0)) == Some(&target))
    }

    pub(super) fn written(&mut self, store: StoreIndex, at: Millis) {
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

    pub(super) fn reload(&mut self, scope: ReloadScope) {
        self.reloads = Attempt(self.reloads.0.saturating_add(1));
        self.stage_reloads = self.stage_reloads.saturating_add(1);
        self.step = Step::Reload { attempt: self.reloads, scope };
    }

    /// After a reload: on to the stage's gate, or to the gate before its write.
    pub(super) fn prove(&mut self) {
        self.swept_at = None;
        self.step = if self.lacking().is_empty() { Step::Gate } else { Step::Write };
    }

    pub(super) fn judge(&self, sweep: &Sweep) -> Verdict {
        match self.gate() {
            Some(gate) => gate.judge(sweep, self.settings.evidence, self.settle_over()),
            None => Verdict::Unproven(Vec::new()),
        }
    }

    pub(super) fn swept_gate(&mut self, sweep: &Sweep) {
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
            (Stage::Withdrawing, _) if self.destroyed.contains(&self.incoming) => {
                self.enter(Stage::Closing, Permit::Free);
            }
            (Stage::Withdrawing, _) => self.step = Step::Act,
            (
                Stage::Planned | Stage::Staged | Stage::Draining | Stage::Closing | Stage::Escrow | Stage::Finished,
                _,
            ) => {}
        }
    }

    /// Laggards are reloaded again, up to the allowed number; everything else is asked again.
    pub(super) fn gate_failed(&mut self, sweep: &Sweep, unproven: Vec<Unproven>) {
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

    pub(super) fn swept_permit(&mut self, sweep: &Sweep) {
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

    pub(super) fn swept_drain(&mut self, sweep: &Sweep) {
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
    pub(super) fn end_drain(&mut self, sweep: &Sweep) {
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

    pub(super) fn weigh_drain(&mut self) {
        let ends = self.drain_seen.as_ref().filter(|seen| self.ends_drain(seen));
        self.drained = ends.map(|seen| seen.observation.clone());
    }

    /// Whether somebody showed that a session may still be minted under the outgoing key.
    pub(super) fn mints_outgoing(&self, unproven: &[Unproven]) -> bool {
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

    pub(super) fn none_retired(&self) -> bool {
        self.stores.iter().all(|store| store.accept.contains(&self.outgoing))
    }

    /// The drain starts anew, after G2 has been proven anew.
    pub(super) fn void_t0(&mut self) {
        self.forget_drain();
        self.enter(Stage::Promoting, Permit::Needed);
    }

    pub(super) fn forget_drain(&mut self) {
        self.t0 = None;
        self.drain_seen = None;
        self.drained = None;
        self.accepted_loss = None;
    }

    pub(super) fn closed(&mut self, now: Millis) {
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
}

/// A laggard is ready and shows the opposite of what is demanded; a reload may help it. Silence is not answered by
/// a restart, and who is on its way out will be gone.
fn is_laggard(sweep: &Sweep, unproven: &Unproven) -> bool {
    let Unproven::Contradicts { member, .. } = unproven else {
        return false;
    };
    sweep.observed.iter().any(|seen| seen.member == *member && seen.readiness == Readiness::Ready)
}
