//! The plan of a rotation: every write, reload, gate and wait in order, how long each may take, and what clients notice.
//!
//! A plan is not a second description of the protocol. It is what the machine does when nothing goes wrong: the
//! production [`Rotation`] is run through a world that obeys, and what it asks for is written down.

use keyroll_keyring::KeyId;
use serde::{Deserialize, Serialize};

use crate::gate::{
    Ability, Answer, Claim, ConsumerCount, Declared, EvidenceLevel, Gate, MemberKind, Observation, Readiness, Sweep,
};
use crate::{
    DrainObservation, DrainRule, Effect, Event, Illegal, Leaving, MemberIndex, Millis, Mode, Next, Opening, Rotation,
    Settings, Stage, Step, StoreIndex, WorldConfiguration,
};

/// What a rotation will do.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Plan {
    /// The mode.
    pub mode: Mode,
    /// The key in use.
    pub outgoing: KeyId,
    /// The candidate.
    pub incoming: KeyId,
    /// What is done, in order.
    pub steps: Vec<PlannedStep>,
    /// The time from the first write to the closed rotation that no luck can shorten: settle and drain. Reloads and
    /// sweeps come on top.
    pub at_least: Millis,
    /// As `at_least`, and from there to the destruction of the escrowed key.
    pub until_destroyed: Millis,
    /// What clients will notice.
    pub clients: ClientImpact,
}

/// One thing that a plan does.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PlannedStep {
    /// In which stage.
    pub stage: Stage,
    /// How long after the first write it can come at the earliest.
    pub earliest: Millis,
    /// What is done.
    pub what: Planned,
}

/// What a step of a plan does.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Planned {
    /// Generate, store and read back the candidate.
    StageCandidate {
        /// Its id.
        key: KeyId,
    },
    /// Write to a store.
    Write {
        /// Which.
        store: StoreIndex,
        /// What it must hold before.
        before: WorldConfiguration,
        /// What it holds afterwards.
        after: WorldConfiguration,
    },
    /// Reload every member, one after another, each proven before the next.
    Reload,
    /// Ask every member.
    Gate {
        /// For what.
        gate: Gate,
    },
    /// Let time pass.
    Wait {
        /// For what.
        what: WaitsFor,
        /// How long, at least.
        at_least: Millis,
    },
    /// Stamp the start of the drain.
    StampT0,
    /// Look at the drain's evidence until it shows that nothing is left.
    ObserveDrain {
        /// The key that drains.
        key: KeyId,
        /// What counts as evidence.
        rule: DrainRule,
    },
    /// Close the rotation.
    Close {
        /// What leaves, and how.
        leaving: PlannedLeaving,
    },
    /// Take the candidate out of the stores, where nobody looks for it any more.
    Discard {
        /// Which.
        key: KeyId,
    },
    /// Destroy the escrowed key.
    Destroy {
        /// Which.
        key: KeyId,
    },
}

/// What leaves when the rotation is closed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "leaving", rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::exhaustive_enums, reason = "a key stays, is kept for a while, or is gone")]
pub enum PlannedLeaving {
    /// Nothing.
    Nothing,
    /// The key goes to escrow.
    Escrow {
        /// Which.
        key: KeyId,
        /// How long it is kept.
        kept: Millis,
    },
    /// The keys are destroyed at once.
    Destroy {
        /// Which.
        keys: Vec<KeyId>,
    },
}

/// What a planned wait is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum WaitsFor {
    /// No member can boot from an older version of the secret any more.
    Settle,
    /// Sessions under the outgoing key have run out.
    Drain,
    /// The escrow ends.
    Escrow,
}

/// What clients notice.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ClientImpact {
    /// Nothing: every session lives on.
    Nothing,
    /// Nothing, except for sessions that were not re-issued when the limit of an unbounded lifetime is reached; they
    /// end, at most that many of a thousand.
    UnrenewedEnd {
        /// Of a thousand.
        permille: u16,
    },
    /// Every session under the old key ends, at some time during the roll; a login made on a member that is not yet
    /// reloaded may have to be repeated.
    AllEnd,
    /// Every session under the old key ends; new ones are accepted everywhere from the first moment, but a login made
    /// on a member that is not yet reloaded may have to be repeated.
    OldEnd,
}

impl Plan {
    /// The plan of a rotation that would be opened like this. Fails where the rotation could not be opened.
    pub fn of(opening: &Opening) -> Result<Self, Illegal> {
        let mut planner = Planner { rotation: Rotation::open(opening.clone())?, now: BEGINNING, steps: Vec::new() };
        planner.rotation = planner.rotation.apply(&Event::PreflightPassed)?.rotation;
        let mut closed = BEGINNING;
        while let Some(event) = planner.next()? {
            planner.rotation = planner.rotation.apply(&event)?.rotation;
            if planner.rotation.stage < Stage::Escrow || planner.rotation.stage > Stage::Finished {
                closed = planner.now;
            }
        }
        let first = planner.first_write();
        for step in &mut planner.steps {
            step.earliest = Millis(step.earliest.0.saturating_sub(first.0));
        }
        let span = |end: Millis| Millis(end.0.saturating_sub(first.0));
        Ok(Self {
            mode: opening.mode,
            outgoing: opening.outgoing,
            incoming: opening.incoming,
            at_least: span(closed),
            until_destroyed: span(planner.now),
            clients: impact(opening),
            steps: planner.steps,
        })
    }
}

/// What is left to do of an open rotation if nothing goes wrong from `now` on, whichever way it goes. A halt is taken as resumed.
pub fn remaining(rotation: &Rotation, now: Millis) -> Result<Vec<PlannedStep>, Illegal> {
    let mut planner = Planner { rotation: rotation.clone(), now, steps: Vec::new() };
    planner.rotation.halt = None;
    if rotation.stage == Stage::Planned {
        planner.rotation = planner.rotation.apply(&Event::PreflightPassed)?.rotation;
    }
    while let Some(event) = planner.next()? {
        planner.rotation = planner.rotation.apply(&event)?.rotation;
    }
    for step in &mut planner.steps {
        step.earliest = Millis(step.earliest.0.saturating_sub(now.0));
    }
    Ok(planner.steps)
}

/// Runs a rotation through a world in which everything goes well and nothing takes time that does not have to.
struct Planner {
    rotation: Rotation,
    now: Millis,
    steps: Vec<PlannedStep>,
}

impl Planner {
    /// What comes next, and what comes of it in a world that obeys. None at the end.
    fn next(&mut self) -> Result<Option<Event>, Illegal> {
        let effect = loop {
            match self.rotation.next(self.now) {
                Next::Done => return Ok(None),
                Next::Do(effect) => break effect,
                Next::Wait(wait) => match wait.again_at.filter(|&at| at > self.now) {
                    Some(at) => self.wait_until(at),
                    None => return Err(Illegal::OutOfPlace { event: "plan", stage: self.rotation.stage }),
                },
            }
        };
        let (what, event) = match effect {
            Effect::StageCandidate { key } => (Planned::StageCandidate { key }, Event::CandidateStored),
            Effect::Write { store, before, after } => {
                (Planned::Write { store, before, after }, Event::Written { store, at: self.now })
            }
            Effect::Reload { .. } => (Planned::Reload, Event::Reloaded),
            Effect::Sweep { gate } => {
                let sweep = self.obedient(&gate);
                (Planned::Gate { gate }, Event::Swept(sweep))
            }
            Effect::StampT0 => (Planned::StampT0, Event::Stamped { t0: self.now }),
            Effect::ObserveDrain { key, .. } => {
                let rule = self.rotation.settings.drain;
                let observation = self.drained();
                (Planned::ObserveDrain { key, rule }, Event::DrainObserved { observation, now: self.now })
            }
            Effect::Close { leaving } => {
                let leaving = match leaving {
                    Leaving::Nothing => PlannedLeaving::Nothing,
                    Leaving::Escrow { key, .. } => PlannedLeaving::Escrow { key, kept: self.rotation.settings.escrow },
                    Leaving::Destroy { keys } => PlannedLeaving::Destroy { keys: keys.into_iter().collect() },
                };
                (Planned::Close { leaving }, Event::Closed { now: self.now })
            }
            Effect::Destroy { key } => (Planned::Destroy { key }, Event::Destroyed),
            Effect::DiscardCandidate { key } => (Planned::Discard { key }, Event::CandidateDiscarded),
        };
        self.push(what);
        Ok(Some(event))
    }

    fn wait_until(&mut self, until: Millis) {
        let what = match (self.rotation.stage, &self.rotation.step) {
            (Stage::Draining, _) => WaitsFor::Drain,
            (Stage::Escrow, _) => WaitsFor::Escrow,
            (_, Step::Act | Step::Write | Step::Reload { .. } | Step::Gate) => WaitsFor::Settle,
        };
        let at_least = Millis(until.0.saturating_sub(self.now.0));
        self.push(Planned::Wait { what, at_least });
        self.now = until;
    }

    fn push(&mut self, what: Planned) {
        self.steps.push(PlannedStep { stage: self.rotation.stage, earliest: self.now, what });
    }

    fn first_write(&self) -> Millis {
        let write = self.steps.iter().find(|step| matches!(step.what, Planned::Write { .. }));
        write.map_or(BEGINNING, |step| step.earliest)
    }

    fn obedient(&self, gate: &Gate) -> Sweep {
        let claim = |key: &KeyId, ability, answer| Claim { key: *key, ability, answer, level: EvidenceLevel::P3 };
        let accepts = gate.accepts.iter().map(|key| claim(key, Ability::Accepts, Answer::Yes));
        let rejects = gate.rejects.iter().map(|key| claim(key, Ability::Accepts, Answer::No));
        let mints = gate.mints.iter().map(|key| claim(key, Ability::Mints, Answer::Yes));
        let observed = Observation {
            member: MemberIndex(0),
            kind: MemberKind::Serving,
            readiness: Readiness::Ready,
            started_after_settle: Answer::Unknown,
            claims: accepts.chain(rejects).chain(mints).collect(),
        };
        Sweep {
            began: self.now,
            ended: self.now,
            observed: vec![observed],
            listed_after: vec![MemberIndex(0)],
            consumers: vec![ConsumerCount { declared: Declared::Populated, members: 1 }],
        }
    }

    /// The evidence of a drain that went well: nothing was seen for as long as it takes.
    fn drained(&self) -> DrainObservation {
        let since = self.rotation.t0.unwrap_or(self.now);
        match self.rotation.settings {
            Settings { max_lifetime: None, idle_lifetime: None, .. } => {
                DrainObservation::Reissued { reissued: 1, remaining: 0 }
            }
            Settings { .. } => DrainObservation::Counter {
                from: since,
                until: self.now,
                opened: 0,
                coverage_permille: 1000,
                window_at_least: Millis(0),
            },
        }
    }
}

fn impact(opening: &Opening) -> ClientImpact {
    let Settings { max_lifetime, idle_lifetime, least_reissued_permille, .. } = opening.settings;
    match opening.mode {
        Mode::Standby => ClientImpact::Nothing,
        Mode::Staged => match (max_lifetime, idle_lifetime, least_reissued_permille) {
            (None, None, Some(least)) => ClientImpact::UnrenewedEnd { permille: 1000_u16.saturating_sub(least) },
            _ => ClientImpact::Nothing,
        },
        Mode::Accelerated => ClientImpact::OldEnd,
        Mode::Cutover | Mode::HardCutover => ClientImpact::AllEnd,
    }
}

/// Where the planner's clock begins.
const BEGINNING: Millis = Millis(0);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::gate::EvidenceRule;
    use crate::{Candidate, ReloadNeed};

    fn opening(mode: Mode) -> Opening {
        let leaked = matches!(mode, Mode::Accelerated | Mode::HardCutover);
        Opening {
            mode,
            outgoing: KeyId(1),
            incoming: KeyId(2),
            candidate: Candidate::Fresh,
            compromised: if leaked { [KeyId(1)].into() } else { BTreeSet::new() },
            stores: vec![WorldConfiguration::new(KeyId(1), [])],
            settings: Settings {
                settle: Millis(60_000),
                max_lifetime: Some(Millis(10_800_000)),
                idle_lifetime: None,
                leeway: Millis(60_000),
                drain: DrainRule::Lifetime,
                drain_limit: None,
                least_reissued_permille: None,
                escrow: Millis(86_400_000),
                evidence: EvidenceRule::Strong,
                reload_attempts: 2,
                reload: ReloadNeed::Needed,
            },
            now: Millis(0),
        }
    }

    #[test]
    fn a_staged_plan_names_each_write_and_the_time_that_no_luck_can_shorten() {
        let plan = Plan::of(&opening(Mode::Staged)).unwrap();
        let writes = plan.steps.iter().filter(|step| matches!(step.what, Planned::Write { .. })).count();
        assert_eq!(writes, 3);
        // Settle three times, and once the lifetime with its leeway.
        assert_eq!(plan.at_least, Millis(3 * 60_000 + 10_800_000 + 60_000));
        assert_eq!(plan.until_destroyed, plan.at_least.after(Millis(86_400_000)));
        assert_eq!(plan.clients, ClientImpact::Nothing);
    }

    #[test]
    fn an_accelerated_plan_destroys_the_leaked_key_and_says_that_old_sessions_end() {
        let plan = Plan::of(&opening(Mode::Accelerated)).unwrap();
        let last = &plan.steps.last().unwrap().what;
        let leaving = PlannedLeaving::Destroy { keys: vec![KeyId(1)] };
        assert_eq!(*last, Planned::Close { leaving });
        assert_eq!(plan.clients, ClientImpact::OldEnd);
        assert_eq!(plan.until_destroyed, plan.at_least);
    }

    #[test]
    fn what_remains_gets_shorter_with_every_step_and_ends_as_the_plan_does() {
        let opening = opening(Mode::Staged);
        let whole = Plan::of(&opening).unwrap();
        let mut planner = Planner { rotation: Rotation::open(opening).unwrap(), now: BEGINNING, steps: Vec::new() };
        planner.rotation = planner.rotation.apply(&Event::PreflightPassed).unwrap().rotation;
        assert_eq!(remaining(&planner.rotation, BEGINNING).unwrap().len(), whole.steps.len());
        while let Some(event) = planner.next().unwrap() {
            planner.rotation = planner.rotation.apply(&event).unwrap().rotation;
            let left: Vec<_> =
                remaining(&planner.rotation, planner.now).unwrap().into_iter().map(|step| step.what).collect();
            let last: Vec<_> = whole.steps.iter().rev().take(left.len()).rev().map(|step| step.what.clone()).collect();
            assert_eq!((left.len(), left), (whole.steps.len() - planner.steps.len(), last));
        }
    }

    #[test]
    fn what_remains_of_a_rollback_leads_back() {
        let mut rotation = Rotation::open(opening(Mode::Staged)).unwrap();
        rotation = rotation.apply(&Event::PreflightPassed).unwrap().rotation;
        rotation = rotation.apply(&Event::CandidateStored).unwrap().rotation;
        rotation = rotation.apply(&Event::RollbackRequested).unwrap().rotation;
        let left = remaining(&rotation, BEGINNING).unwrap();
        assert!(left.iter().any(|step| step.what == Planned::Discard { key: KeyId(2) }), "{left:?}");
    }

    #[test]
    fn every_mode_and_drain_has_a_plan() {
        for mode in [Mode::Staged, Mode::Cutover, Mode::Accelerated, Mode::HardCutover, Mode::Standby] {
            for (max_lifetime, idle_lifetime) in
                [(Some(Millis(5_000)), None), (None, Some(Millis(7_000))), (None, None)]
            {
                let mut opening = opening(mode);
                opening.settings.drain = DrainRule::Counter;
                opening.settings.max_lifetime = max_lifetime;
                opening.settings.idle_lifetime = idle_lifetime;
                opening.settings.drain_limit = Some(Millis(100_000));
                opening.settings.least_reissued_permille = Some(900);
                let plan = Plan::of(&opening).unwrap();
                assert!(matches!(plan.steps.last().unwrap().what, Planned::Destroy { .. } | Planned::Close { .. }));
            }
        }
    }
}
