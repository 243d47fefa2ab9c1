//! The machine: how a rotation is opened, what to do next, and why it waits.
//!
//! Nothing here remembers an order of calls: [`Rotation::next`] is a function of the state and the time alone. That is
//! why a process may die anywhere. What follows from what happened is in `transition`.

use std::collections::BTreeSet;

use keyroll_keyring::KeyId;

use crate::drain::Shortfall;
use crate::gate::{Gate, GateName, Readiness, Unproven};
use crate::invariants::{self, Violation};
use crate::{
    Abandoned, Attempt, Direction, DrainEvidenceGap, DrainRule, Effect, Halt, Illegal, Leaving, Millis, Mode, Naysayer,
    Next, Opening, Permit, Rotation, Settings, Stage, Step, StoreIndex, Trust, Wait, WorldConfiguration,
};

impl Rotation {
    /// Opens a rotation. Refused where the present world is not valid (I11), the candidate's id was used before (I5),
    /// or the settings could never end a drain.
    pub fn open(opening: Opening) -> Result<Self, Illegal> {
        invariants::check_opening(&opening)?;
        check_settings(&opening)?;
        let Opening { mode, outgoing, incoming, candidate, compromised, stores, settings, now: _ } = opening;
        let accepted = stores.iter().flat_map(|store| store.accept.iter().copied());
        let others = accepted.filter(|&key| key != outgoing && key != incoming).collect();
        Ok(Self {
            mode,
            direction: Direction::Forward,
            stage: Stage::Planned,
            step: Step::Act,
            incoming,
            outgoing,
            others,
            candidate,
            compromised,
            destroyed: BTreeSet::new(),
            promotion_attempted: false,
            stores,
            permit: Permit::Free,
            trust: Trust::Unproven,
            reloads: Attempt(0),
            stage_reloads: 0,
            written_at: None,
            t0: None,
            drain_seen: None,
            drained: None,
            drain_extension: Millis(0),
            accepted_loss: None,
            abandoned: Abandoned::No,
            closed_at: None,
            halt: None,
            unproven: Vec::new(),
            swept_at: None,
            settings,
        })
    }

    /// What to do now. A function of the state and the time only; the time is the store's clock.
    pub fn next(&self, now: Millis) -> Next {
        if self.halt.is_some() {
            return Next::Wait(self.why(now));
        }
        match (self.stage, &self.step) {
            (Stage::Finished, _) => Next::Done,
            (Stage::Planned, _) => Next::Wait(self.why(now)),
            (Stage::Staged, _) => Next::Do(Effect::StageCandidate { key: self.incoming }),
            (Stage::Draining, _) => self.next_of_drain(now),
            (Stage::Closing, _) => Next::Do(Effect::Close { leaving: self.leaving(now) }),
            (Stage::Escrow, _) if now < self.escrow_over() => Next::Wait(self.why(now)),
            (Stage::Escrow, _) => Next::Do(Effect::Destroy { key: self.outgoing }),
            (Stage::Accepting | Stage::Promoting | Stage::Retiring | Stage::Withdrawing | Stage::CuttingOver, step) => {
                match step {
                    Step::Act => Next::Do(Effect::DiscardCandidate { key: self.incoming }),
                    Step::Write => self.next_write(now),
                    Step::Reload { attempt, scope } => match self.gate() {
                        Some(prove) => Next::Do(Effect::Reload { attempt: *attempt, scope: *scope, prove }),
                        None => Next::Wait(self.why(now)),
                    },
                    Step::Gate => self.next_sweep(now),
                }
            }
        }
    }

    /// Who says no, with figures. Also answers while there is something to do: then it names what that is about to end.
    pub fn why(&self, now: Millis) -> Wait {
        let (naysayers, again_at) = match &self.halt {
            Some(halt) => (self.why_halted(halt), None),
            None => self.why_of_stage(now),
        };
        Wait { stage: self.stage, naysayers, again_at }
    }

    /// What a member has to show now: the gate of the stage, or the one that has to be passed (again) before its write,
    /// or, while it drains, what a newcomer is asked. None where no stage asks.
    pub fn gate(&self) -> Option<Gate> {
        let writing = !self.lacking().is_empty();
        match self.stage {
            Stage::Planned | Stage::Staged | Stage::Closing | Stage::Escrow | Stage::Finished => None,
            Stage::Accepting => Some(self.g1()),
            // Before the promoting write, members are asked what G1 asks.
            Stage::Promoting if writing => Some(self.g1()),
            Stage::Promoting => Some(self.g2()),
            Stage::Draining if self.t0.is_none() => Some(self.g2()),
            Stage::Draining => Some(self.newcomer()),
            Stage::Retiring if writing => Some(self.newcomer()),
            Stage::Retiring => {
                Some(Gate { rejects: [self.outgoing].into(), mints: None, ..self.newcomer_as(GateName::G3) })
            }
            Stage::CuttingOver if self.permit != Permit::Free => Some(self.g1()),
            Stage::CuttingOver => {
                let leaked = self.others.intersection(&self.compromised).copied();
                Some(Gate {
                    name: GateName::G3,
                    accepts: [self.incoming].into(),
                    rejects: leaked.chain([self.outgoing]).collect(),
                    mints: None,
                })
            }
            Stage::Withdrawing => Some(Gate {
                name: GateName::G3,
                accepts: self.with_others([self.outgoing]),
                // Of a key whose bytes are gone no session can be made to ask with.
                rejects: BTreeSet::from([self.incoming]).difference(&self.destroyed).copied().collect(),
                mints: Some(self.outgoing),
            }),
        }
    }

    /// The configuration that the stage writes, if it writes one.
    pub fn target(&self) -> Option<WorldConfiguration> {
        let both = [self.incoming, self.outgoing];
        match self.stage {
            Stage::Planned | Stage::Staged | Stage::Closing | Stage::Escrow | Stage::Finished => None,
            Stage::Accepting => Some(WorldConfiguration::new(self.outgoing, self.with_others(both))),
            Stage::Promoting | Stage::Draining => Some(WorldConfiguration::new(self.incoming, self.with_others(both))),
            Stage::Retiring => Some(WorldConfiguration::new(self.incoming, self.with_others([]))),
            Stage::Withdrawing => Some(WorldConfiguration::new(self.outgoing, self.with_others([]))),
            Stage::CuttingOver => Some(WorldConfiguration::new(self.incoming, [])),
        }
    }

    /// When the settle time since the last write will have passed; the beginning of time where nothing was written.
    pub fn settle_over(&self) -> Millis {
        self.written_at.map_or(Millis(0), |written| written.after(self.settings.settle))
    }

    /// The stores that do not hold the stage's configuration yet.
    pub(crate) fn lacking(&self) -> Vec<StoreIndex> {
        let Some(target) = self.target() else {
            return Vec::new();
        };
        let places = (0..).map(StoreIndex);
        places.zip(&self.stores).filter(|(_, store)| **store != target).map(|(place, _)| place).collect()
    }

    /// Whether the write that is due rests on a gate that was passed a moment ago.
    pub(crate) fn permitted(&self, now: Millis) -> bool {
        self.may_write_for(now).is_some()
    }

    /// For how long the gate on which the next write rests still counts; none where it does not, or not any more. To be asked
    /// again at the write itself: between the decision and the write a store may stammer, or a machine sleep.
    pub fn may_write_for(&self, now: Millis) -> Option<Millis> {
        match self.permit {
            Permit::Free => Some(Millis(u64::MAX)),
            Permit::Needed => None,
            // What will be seen later was not seen: a clock was set back, and nobody knows how old the proof is.
            Permit::Passed { at } if at > now => None,
            Permit::Passed { at } => at.after(PERMIT_LASTS).0.checked_sub(now.0).map(Millis),
        }
    }

    /// Whether it stands still because somebody else wrote to the key's own fields.
    pub fn is_halted_by_foreign_write(&self) -> bool {
        matches!(self.halt, Some(Halt::ForeignWrite { .. }))
    }

    /// Whether the gate on which the next write rests was passed in the future, further off than clocks differ. Then a clock was
    /// set back, and waiting until it has caught up would make an old proof young again: it is to be told as
    /// [`Event::Disturbed`](crate::Event::Disturbed).
    pub fn is_ahead_of(&self, now: Millis) -> bool {
        matches!(self.permit, Permit::Passed { at } if at > now.after(self.settings.leeway))
    }

    /// What leaves the stores when the rotation is closed. A key that is still accepted stays.
    pub(crate) fn leaving(&self, now: Millis) -> Leaving {
        if self.stores.iter().any(|store| store.accept.contains(&self.outgoing)) {
            return Leaving::Nothing;
        }
        if self.compromised.contains(&self.outgoing) {
            let leaked = self.others.intersection(&self.compromised).copied();
            return Leaving::Destroy { keys: leaked.chain([self.outgoing]).collect() };
        }
        let until = self.closed_at.unwrap_or(now).after(self.settings.escrow);
        Leaving::Escrow { key: self.outgoing, until }
    }

    /// When the escrowed key is to be destroyed. A key that turned out to be compromised is destroyed at once.
    fn escrow_over(&self) -> Millis {
        if self.compromised.contains(&self.outgoing) {
            return Millis(0);
        }
        self.closed_at.unwrap_or_default().after(self.settings.escrow)
    }

    fn next_write(&self, now: Millis) -> Next {
        if !self.permitted(now) {
            return self.next_sweep(now);
        }
        let (Some(&store), Some(after)) = (self.lacking().first(), self.target()) else {
            return self.next_sweep(now);
        };
        if invariants::check_next(self, store, &after).is_err() {
            return Next::Wait(self.why(now));
        }
        let before = self.stores[usize::from(store.0)].clone();
        Next::Do(Effect::Write { store, before, after })
    }

    fn next_sweep(&self, now: Millis) -> Next {
        match self.gate() {
            Some(gate) if now >= self.settle_over() && !self.pacing(now) => Next::Do(Effect::Sweep { gate }),
            Some(_) | None => Next::Wait(self.why(now)),
        }
    }

    fn next_of_drain(&self, now: Millis) -> Next {
        let Some(over) = self.drain_over() else {
            return if self.permitted(now) { Next::Do(Effect::StampT0) } else { self.next_sweep(now) };
        };
        if now < over {
            return Next::Wait(self.why(now));
        }
        if self.drained.is_some() || self.settings.drain == DrainRule::Lifetime {
            // The retiring write rests on a look at every member that is not older than a minute.
            return self.next_sweep(now);
        }
        let waited = self.drain_seen.as_ref().is_none_or(|seen| now >= seen.at.after(LOOK_AGAIN_AFTER));
        match self.t0 {
            Some(t0) if waited => Next::Do(Effect::ObserveDrain { key: self.outgoing, since: t0 }),
            Some(_) | None => Next::Wait(self.why(now)),
        }
    }

    /// Whether the last sweep failed only a moment ago.
    fn pacing(&self, now: Millis) -> bool {
        self.swept_at.is_some_and(|swept| Self::too_soon(swept, now))
    }

    /// Whether it is too soon for another sweep.
    pub(crate) fn too_soon(swept: Millis, now: Millis) -> bool {
        now < swept.after(SWEEP_AGAIN_AFTER)
    }

    fn why_of_stage(&self, now: Millis) -> (Vec<Naysayer>, Option<Millis>) {
        let act = |what: &str| (vec![Naysayer::Time { what: what.to_owned(), until: now }], Some(now));
        match (self.stage, &self.step) {
            (Stage::Planned, _) => {
                let reason = "preflight has not passed for this plan yet".to_owned();
                (vec![Naysayer::Policy { reason, until: None }], None)
            }
            (Stage::Staged, _) => act("the candidate is about to be generated, stored and read back"),
            (Stage::Closing, _) => act("the rotation is about to be closed"),
            (Stage::Finished, _) => act("nothing is left to do"),
            (Stage::Escrow, _) => {
                let what = format!("{} is kept in escrow and can be rolled back onto until then", self.outgoing);
                let until = self.escrow_over();
                (vec![Naysayer::Time { what, until }], Some(until))
            }
            (Stage::Draining, _) => self.why_draining(now),
            (Stage::Accepting | Stage::Promoting | Stage::Retiring | Stage::Withdrawing | Stage::CuttingOver, step) => {
                match step {
                    Step::Act => act("the candidate is about to be discarded"),
                    Step::Reload { .. } => act("members are about to be reloaded"),
                    Step::Gate => self.why_not_proven(now),
                    Step::Write if !self.permitted(now) => self.why_not_proven(now),
                    Step::Write => match self.refused_write() {
                        Some(Violation { invariant, reason }) => {
                            (vec![Naysayer::Safety { invariant: invariant.to_owned(), reason }], None)
                        }
                        None => act("a store is about to be written"),
                    },
                }
            }
        }
    }

    /// The decision that a person has to take, and the members that are the cause of it.
    fn why_halted(&self, halt: &Halt) -> Vec<Naysayer> {
        let unproven = match halt {
            Halt::ReloadStopped { member: Some(member) } => {
                vec![Unproven::CannotAnswer { member: *member, readiness: Readiness::Unready }]
            }
            Halt::LaggardsRemain => self.unproven.clone(),
            Halt::ReloadStopped { member: None } | Halt::Paused | Halt::ForeignWrite { .. } => Vec::new(),
        };
        let mut naysayers = vec![halt_reason(halt, &self.unproven)];
        if !unproven.is_empty() {
            let gate = self.gate().map(|gate| gate.name);
            naysayers.push(Naysayer::Evidence { gate, unproven, drain: None });
        }
        naysayers
    }

    fn refused_write(&self) -> Option<Violation> {
        let (store, after) = (*self.lacking().first()?, self.target()?);
        invariants::check_next(self, store, &after).err()
    }

    fn why_not_proven(&self, now: Millis) -> (Vec<Naysayer>, Option<Millis>) {
        let until = self.settle_over();
        if now < until {
            let what = "a member could still boot from an older version of the secret".to_owned();
            return (vec![Naysayer::Time { what, until }], Some(until));
        }
        let gate = self.gate().map(|gate| gate.name);
        let again = self.swept_at.map_or(now, |swept| swept.after(SWEEP_AGAIN_AFTER));
        (vec![Naysayer::Evidence { gate, unproven: self.unproven.clone(), drain: None }], Some(again))
    }

    fn why_draining(&self, now: Millis) -> (Vec<Naysayer>, Option<Millis>) {
        let (Some(t0), Some(over)) = (self.t0, self.drain_over()) else {
            if self.permitted(now) {
                let what = "the start of the drain is about to be stamped".to_owned();
                return (vec![Naysayer::Time { what, until: now }], Some(now));
            }
            return self.why_not_proven(now);
        };
        let mut naysayers = Vec::new();
        if now < over {
            let what = format!("sessions under {} run out", self.outgoing);
            naysayers.push(Naysayer::Time { what, until: over });
        }
        if self.drained.is_some() || self.settings.drain == DrainRule::Lifetime {
            if now >= over {
                return self.why_not_proven(now);
            }
            return (naysayers, Some(over));
        }
        let shortfall = self.drain_seen.as_ref().map(|seen| self.drain_shortfall(seen, t0));
        let (opened, reason) = match &shortfall {
            None => (None, "nobody has looked yet".to_owned()),
            Some(None) => (Some(0), "none was left when it was last looked at".to_owned()),
            Some(Some(Shortfall::Opens(opened))) => {
                let key = self.outgoing;
                (
                    Some(*opened),
                    format!("sessions under {key} were opened {opened} times in the window that was looked at"),
                )
            }
            Some(Some(Shortfall::Unknown(reason))) => (None, reason.clone()),
        };
        if now >= over || shortfall.is_some() {
            let drain = Some(DrainEvidenceGap { key: self.outgoing, opened, reason: reason.clone() });
            naysayers.push(Naysayer::Evidence { gate: None, unproven: Vec::new(), drain });
        }
        if self.drain_deadline().is_some_and(|deadline| now >= deadline) {
            let decision = match opened {
                Some(opened) => format!(
                    "the drain limit has passed, and sessions under {} were still opened {opened} times: accept the loss of up \
                     to {opened} sessions (`--accept-loss {opened}`), or extend the drain",
                    self.outgoing
                ),
                None => format!("the drain limit has passed and {reason}: repair the evidence or extend the drain"),
            };
            naysayers.push(Naysayer::Human { decision });
        }
        let look = self.drain_seen.as_ref().map_or(now, |seen| seen.at.after(LOOK_AGAIN_AFTER));
        (naysayers, Some(Millis(over.0.max(look.0))))
    }

    fn g1(&self) -> Gate {
        let accepts = self.with_others([self.incoming, self.outgoing]);
        Gate { name: GateName::G1, accepts, rejects: BTreeSet::new(), mints: None }
    }

    fn g2(&self) -> Gate {
        Gate { name: GateName::G2, mints: Some(self.incoming), ..self.g1() }
    }

    /// What a newcomer is asked while it drains: nothing about the outgoing key, because a probe under it would count
    /// as a session under it.
    fn newcomer(&self) -> Gate {
        self.newcomer_as(GateName::G2)
    }

    fn newcomer_as(&self, name: GateName) -> Gate {
        let accepts = self.with_others([self.incoming]);
        Gate { name, accepts, rejects: BTreeSet::new(), mints: Some(self.incoming) }
    }

    /// The keys and the leftover ones. A leftover key that leaked is accepted by nobody any more.
    fn with_others<const N: usize>(&self, keys: [KeyId; N]) -> BTreeSet<KeyId> {
        let sound = self.others.iter().copied().filter(|key| !self.compromised.contains(key));
        sound.chain(keys).collect()
    }
}

impl From<Violation> for Illegal {
    fn from(Violation { invariant, reason }: Violation) -> Self {
        Self::Invariant { invariant, reason }
    }
}

fn check_settings(opening: &Opening) -> Result<(), Illegal> {
    let Settings { max_lifetime, drain, drain_limit, least_reissued_permille, .. } = &opening.settings;
    if opening.mode != Mode::Staged || max_lifetime.is_some() {
        return Ok(());
    }
    let reason = match (drain, drain_limit, least_reissued_permille) {
        (DrainRule::Lifetime, _, _) => "an unbounded lifetime never passes; `lifetime` can't be what ends the drain",
        (DrainRule::Counter, None, _) => "an unbounded lifetime demands a drain limit",
        (DrainRule::Counter, Some(_), None) => "an unbounded lifetime demands a least share of re-issued sessions",
        (DrainRule::Counter, Some(_), Some(_)) => return Ok(()),
    };
    Err(Illegal::Invariant { invariant: "I6", reason: reason.to_owned() })
}

fn halt_reason(halt: &Halt, unproven: &[Unproven]) -> Naysayer {
    let decision = match halt {
        Halt::Paused => "the rotation is paused: resume it, or roll it back".to_owned(),
        Halt::ForeignWrite { store, found: Some(found), .. } => format!(
            "somebody else wrote to store {}: it has {} active; put it back, overwrite it or adopt it",
            store.0, found.active
        ),
        Halt::ForeignWrite { store, found: None, .. } => {
            format!("somebody else wrote keys that nobody knows to store {}; put it back or overwrite it", store.0)
        }
        Halt::ReloadStopped { member: Some(_) } => {
            "a member did not come back from its reload: repair it, then resume, or roll back".to_owned()
        }
        Halt::ReloadStopped { member: None } => {
            "more requests fail since the reload than before it: find out why, then resume, or roll back".to_owned()
        }
        Halt::LaggardsRemain => format!(
            "{} demands are unmet after every allowed reload: repair the members, then resume, or roll back",
            unproven.len()
        ),
    };
    Naysayer::Human { decision }
}

/// How long a passed gate allows the write after it.
pub(crate) const PERMIT_LASTS: Millis = Millis(60_000);

/// A sweep that did not pass is repeated after this time.
const SWEEP_AGAIN_AFTER: Millis = Millis(1_000);

/// The drain is looked at again after this time.
const LOOK_AGAIN_AFTER: Millis = Millis(2_000);
