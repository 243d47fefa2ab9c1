//! The simulated driver: it carries out what the production machine asks for, one step at a time, and may die between
//! any two of them.

use std::collections::BTreeSet;

use keyroll_keyring::KeyId;

use super::{CutoverRoll, Driver, Member, STRANGER, Touched, World, member_of};
use crate::gate::{
    Ability, Answer, Claim, ConsumerCount, Declared, EvidenceLevel, Gate, MemberKind, Observation, Readiness, Sweep,
    Verdict,
};
use crate::simulation::scenario::{Flaw, Scenario};
use crate::{DrainObservation, DrainRule, Effect, Event, MemberIndex, Millis, Next, ReloadNeed, ReloadScope, Stage};

impl World {
    /// The driver reads the stores if it has to. Says whether it may go on.
    pub(super) fn look(&mut self, scenario: &Scenario) -> bool {
        if self.stores.iter().any(|store| store.touched == Touched::Yes) {
            self.observe(scenario);
            return false;
        }
        true
    }

    pub(super) fn seen_all(&mut self) {
        for store in &mut self.stores {
            store.touched = Touched::No;
        }
    }

    /// The driver reads the stores and tells the machine.
    pub(super) fn observe(&mut self, scenario: &Scenario) {
        let touched = self.stores.iter().any(|store| store.touched == Touched::Yes);
        let halted = self.rotation.is_halted_by_foreign_write();
        let stores = self.stores.iter().map(|store| (store.holds.active != STRANGER).then(|| store.holds.clone()));
        let event = Event::WorldObserved { stores: stores.collect(), at: self.now };
        self.record(scenario, &event);
        // The versions moved and the contents are as they were: a change and its undoing.
        if touched && !halted && self.rotation.halt.is_none() {
            self.record(scenario, &Event::Disturbed { at: self.now });
        }
        self.seen_all();
    }

    pub(super) fn record(&mut self, scenario: &Scenario, event: &Event) {
        match self.rotation.apply(event) {
            Ok(applied) => self.rotation = applied.rotation,
            Err(illegal) => {
                self.break_with(scenario, "machine", format!("the driver told what it saw and was refused: {illegal}"))
            }
        }
    }

    pub(super) fn drive(&mut self, scenario: &Scenario, listing: Listing) {
        match std::mem::replace(&mut self.driver, Driver::Idle) {
            Driver::Fresh => {
                if self.rotation.stage != Stage::Finished && scenario.flaw != Flaw::ForeignRevertUnseen {
                    self.observe(scenario);
                }
            }
            Driver::Did(event) => self.record(scenario, &event),
            Driver::Sweeping { began, seen } => self.list(scenario, listing, began, seen),
            Driver::Reloading(left) => {
                if self.present_members().any(|(_, member)| left.contains(&member.boot)) {
                    self.driver = Driver::Reloading(left);
                } else {
                    self.record(scenario, &Event::Reloaded);
                }
            }
            Driver::Idle => self.next_effect(scenario),
        }
    }

    pub(super) fn next_effect(&mut self, scenario: &Scenario) {
        if self.cheat(scenario) {
            return;
        }
        let blind = scenario.flaw == Flaw::ForeignRevertUnseen;
        if self.rotation.is_halted_by_foreign_write() {
            self.observe(scenario);
            return;
        }
        let Next::Do(effect) = self.rotation.next(self.now) else {
            return;
        };
        let looks = match effect {
            Effect::ObserveDrain { .. } => false,
            // A gate that never passes may have a foreign write as its reason, and a reload would carry it to the members.
            Effect::Sweep { .. }
            | Effect::Reload { .. }
            | Effect::StageCandidate { .. }
            | Effect::Write { .. }
            | Effect::StampT0
            | Effect::Close { .. }
            | Effect::Destroy { .. }
            | Effect::DiscardCandidate { .. } => true,
        };
        if looks && !blind && !self.look(scenario) {
            return;
        }
        match effect {
            Effect::StageCandidate { .. } => self.driver = Driver::Did(Event::CandidateStored),
            Effect::Write { store, before, after } => {
                let place = usize::from(store.0);
                if self.stores[place].holds != before && !blind {
                    self.observe(scenario);
                    return;
                }
                self.check_write(scenario, place, &after);
                if self.rotation.stage == Stage::CuttingOver {
                    self.cut_over_to(&after);
                }
                self.put(place, after);
                self.driver = Driver::Did(Event::Written { store, at: self.now });
            }
            Effect::Reload { scope, .. } => {
                let laggards: BTreeSet<u32> = self.rotation.unproven.iter().filter_map(member_of).collect();
                let boots = self.present_members().map(|(_, member)| member.boot);
                let boots = boots.filter(|boot| match scope {
                    ReloadScope::All => true,
                    ReloadScope::Laggards => laggards.contains(boot),
                });
                self.driver = Driver::Reloading(boots.collect());
            }
            Effect::Sweep { gate } => {
                let seen = self.present_members().map(|(_, member)| self.show(scenario, member, &gate)).collect();
                self.driver = Driver::Sweeping { began: self.now, seen };
            }
            Effect::StampT0 => {
                let t0 = if scenario.flaw == Flaw::DrainFromDecision { self.decided_at } else { self.now };
                self.driver = Driver::Did(Event::Stamped { t0 });
            }
            Effect::ObserveDrain { key, since } => {
                let observation = self.look_at_drain(scenario, key, since);
                self.record(scenario, &Event::DrainObserved { observation, now: self.now });
            }
            Effect::Close { .. } => self.driver = Driver::Did(Event::Closed { now: self.now }),
            Effect::Destroy { .. } => self.driver = Driver::Did(Event::Destroyed),
            Effect::DiscardCandidate { .. } => self.driver = Driver::Did(Event::CandidateDiscarded),
        }
    }

    /// What a member shows when it is asked: the truth if it is ready, nothing if it is not.
    pub(super) fn show(&self, scenario: &Scenario, member: &Member, gate: &Gate) -> Observation {
        let mut claims = Vec::new();
        if member.ready {
            for &key in gate.accepts.union(&gate.rejects) {
                let answer = if member.config.accept.contains(&key) { Answer::Yes } else { Answer::No };
                claims.push(Claim { key, ability: Ability::Accepts, answer, level: EvidenceLevel::P3 });
            }
            if gate.mints.is_some() {
                let key = member.config.active;
                claims.push(Claim { key, ability: Ability::Mints, answer: Answer::Yes, level: EvidenceLevel::P3 });
            }
        }
        let readiness = if member.ready { Readiness::Ready } else { Readiness::Unready };
        // In the same instant it may have read what stood there just before.
        let late = member.booted_at > self.rotation.settle_over();
        let started_after_settle = match (late, scenario.settings.reload) {
            (true, ReloadNeed::Needed) => Answer::Yes,
            (false, ReloadNeed::Needed) => Answer::No,
            (_, ReloadNeed::HotReload) => Answer::Unknown,
        };
        Observation {
            member: MemberIndex(member.boot),
            kind: MemberKind::Serving,
            readiness,
            started_after_settle,
            claims,
        }
    }

    pub(super) fn list(&mut self, scenario: &Scenario, listing: Listing, began: Millis, seen: Vec<Observation>) {
        let only_ready = scenario.flaw == Flaw::OnlyReadyMembers;
        let listed: Vec<MemberIndex> = match listing {
            Listing::Empty => Vec::new(),
            Listing::True => self
                .present_members()
                .filter(|(_, member)| member.ready || !only_ready)
                .map(|(_, member)| MemberIndex(member.boot))
                .collect(),
        };
        let members = u32::try_from(listed.len()).unwrap_or(u32::MAX);
        let consumers = vec![ConsumerCount { declared: Declared::Populated, members }];
        let mut sweep = Sweep { began, ended: self.now, observed: seen, listed_after: listed, consumers };
        if scenario.flaw == Flaw::EmptyIsConverged && sweep.listed_after.is_empty() {
            sweep = self.invented_sweep(began);
        }
        if let Some(gate) = self.rotation.gate() {
            let verdict = gate.judge(&sweep, self.rotation.settings.evidence, self.rotation.settle_over());
            if verdict == Verdict::Passed {
                self.given_up.keys.retain(|key| !gate.accepts.contains(key));
                self.given_up.roll = CutoverRoll::None;
            }
        }
        self.record(scenario, &Event::Swept(sweep));
    }

    /// A sweep in which one member that does not exist shows whatever is wanted.
    pub(super) fn invented_sweep(&self, began: Millis) -> Sweep {
        let invented = MemberIndex(u32::MAX);
        let gate = self.rotation.gate();
        let demand = |key: &KeyId, ability, answer| Claim { key: *key, ability, answer, level: EvidenceLevel::P3 };
        let mut claims = Vec::new();
        if let Some(gate) = gate {
            claims.extend(gate.accepts.iter().map(|key| demand(key, Ability::Accepts, Answer::Yes)));
            claims.extend(gate.rejects.iter().map(|key| demand(key, Ability::Accepts, Answer::No)));
            claims.extend(gate.mints.iter().map(|key| demand(key, Ability::Mints, Answer::Yes)));
        }
        let observed = Observation {
            member: invented,
            kind: MemberKind::Serving,
            readiness: Readiness::Ready,
            started_after_settle: Answer::Unknown,
            claims,
        };
        let consumers = vec![ConsumerCount { declared: Declared::Populated, members: 1 }];
        Sweep { began, ended: self.now, observed: vec![observed], listed_after: vec![invented], consumers }
    }

    pub(super) fn look_at_drain(&self, scenario: &Scenario, key: KeyId, since: Millis) -> DrainObservation {
        let live = self.sessions.iter().filter(|session| session.key == key && session.ends.0 < u64::MAX).count();
        let live = u64::try_from(live).unwrap_or(u64::MAX);
        match self.rotation.settings.drain {
            DrainRule::Lifetime | DrainRule::Counter => {
                let window = self.rotation.settings.idle_lifetime.unwrap_or(scenario.tick);
                let from = Millis(self.now.0.saturating_sub(window.0)).max(since);
                let used = self.opened.iter().any(|(opened, at)| *opened == key && *at >= from);
                let window_at_least = self.rotation.settings.idle_lifetime.unwrap_or_default();
                DrainObservation::Counter {
                    from,
                    until: self.now,
                    opened: if used { live.max(1) } else { 0 },
                    coverage_permille: 1000,
                    window_at_least,
                }
            }
        }
    }
}

/// What a listing of the members gives.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Listing {
    True,
    Empty,
}
