//! Reloading a fleet without losing it: one member (or a few) at a time, and the next one only when the last is proven.
//!
//! A member that shows already what it must is not reloaded at all. That makes a repeated roll cheap, takes up a roll that was
//! killed in the middle, and leaves a member alone that somebody else has restarted meanwhile.

use std::time::Duration;

use keyroll_adapters::fleets::{
    BootId, FleetError, Member, MemberState, ReloadId, ReloadOutcome, ReloadRequest, ReloadStyle, ReloadTarget,
};
use keyroll_rotation::gate::{
    Ability, Answer, EvidenceLevel, EvidenceRule, Gate, MemberKind, Observation, Sweep, Verdict,
};
use keyroll_rotation::{Attempt, Effect, Event, MemberIndex, Millis, Mode, Stage};

use crate::answers::error_texts;
use crate::assembly::Consumer;
use crate::driver::hooks::Moment;
use crate::driver::regression::Watched;
use crate::driver::session::{Session, Telling, Told};
use crate::error::EngineError;
use crate::journal::{Body, Completion, GateEvidence, GateOutcome, MemberProof};
use crate::members::sweep::{self, Listed, ReadSince, inquiry};
use crate::report::Notice;

/// How a member, or a whole fleet, came out of its reload.
enum Back {
    /// It is back and has shown what it must.
    Proven,
    /// It is back and has not, though it could not have read anything older.
    Unproven(MemberIndex),
    /// It is not back in its time.
    Missing(MemberIndex),
}

/// One reload of one consumer.
#[derive(Clone, Copy)]
struct Turn<'t> {
    name: &'t str,
    place: u16,
    consumer: &'t Consumer,
    prove: &'t Gate,
    /// How many members were ready when it began.
    ready: usize,
}

impl Session<'_> {
    /// Reloads every consumer's members that have not shown yet what `prove` demands.
    pub(crate) async fn reload(&mut self, attempt: Attempt, prove: &Gate) -> Result<(Event, Completion), EngineError> {
        let name = format!("{}/{}/{}", self.rotation_id(), self.stage_word(), attempt.0);
        let consumers = self.engine.assembly.consumers.clone();
        let mut watched = self.watch_errors().await;
        let said_before = self.engine.count_error_texts().await?.unwrap_or_default();
        for (place, consumer) in (0_u16..).zip(&consumers) {
            let stopped = match consumer.fleet.describe().reload {
                ReloadStyle::HotReload => None,
                ReloadStyle::PerMember => self.roll(&name, place, consumer, prove, &mut watched).await?,
                ReloadStyle::Whole => self.roll_whole(&name, place, consumer, prove).await?,
            };
            if let Some(member) = stopped {
                // Whoever resumes on this machine has to know whose index it is.
                self.engine.save_roster(&self.roster)?;
                return Ok((Event::ReloadStopped { member: Some(member) }, Completion::Now));
            }
        }
        let said = self.engine.count_error_texts().await?.unwrap_or_default();
        for (member, words) in error_texts::risen(&said_before, &said) {
            // Busy applications refuse a session now and then for other reasons, so a person judges; `verify` fails on it.
            self.caution(format!("`{}` was reloaded, and {words}", member.0));
        }
        self.look_back_on_errors(&watched).await?;
        Ok((Event::Reloaded, Completion::Now))
    }

    /// Reloads members by name, whether or not they are proven, and waits until they are back.
    pub(crate) async fn reload_one(
        &mut self,
        name: &str,
        place: u16,
        consumer: &Consumer,
        member: &Member,
        prove: Option<&Gate>,
    ) -> Result<Option<MemberIndex>, EngineError> {
        let prove = prove.cloned().unwrap_or_else(nothing_demanded);
        match self.reload_and_wait(name, place, consumer, member, &prove).await? {
            Back::Proven => Ok(None),
            Back::Unproven(index) | Back::Missing(index) => Ok(Some(index)),
        }
    }

    /// Reloads whoever does not show what the stores hold, where no rotation asks for it. Gives back who is still not right.
    pub(crate) async fn reload_laggards_of(
        &mut self,
        name: &str,
        gate: &Gate,
    ) -> Result<(usize, Option<MemberIndex>), EngineError> {
        let consumers = self.engine.assembly.consumers.clone();
        let mut watched = self.watch_errors().await;
        let mut lagged = 0;
        for (place, consumer) in (0_u16..).zip(&consumers) {
            let listed = self.engine.list_one(place, consumer).await?;
            lagged += self.all_proven(&listed, gate, Rolled::No).await?.into_iter().filter(|proven| !proven).count();
            let stopped = match consumer.fleet.describe().reload {
                ReloadStyle::HotReload => self.unproven_of(place, consumer, gate, &[]).await?.map(|(index, _)| index),
                ReloadStyle::PerMember => self.roll(name, place, consumer, gate, &mut watched).await?,
                ReloadStyle::Whole => {
                    self.roll_whole(name, place, consumer, gate).await?;
                    self.unproven_of(place, consumer, gate, &[]).await?.map(|(index, _)| index)
                }
            };
            if stopped.is_some() {
                return Ok((lagged, stopped));
            }
        }
        Ok((lagged, None))
    }

    /// What every member has to show while no rotation is under way: the keys that the first store holds, and no other.
    pub(crate) fn gate_as_it_is(&mut self) -> Result<Gate, EngineError> {
        // Before the first rotation, and after somebody has put another key there since the last, no key has an id yet. Whatever
        // stands there is what members have to show; ids that last are given when a rotation begins.
        let mut said = self.fields(0);
        if self.stamp.unfinished().is_none() && said.configuration().is_none() {
            let sighting = self.engine.sight_keys(&self.views)?;
            self.materials = sighting.materials;
            said = sighting.stores.into_iter().next().unwrap_or(said);
        }
        let Some(configuration) = said.configuration() else {
            return Err(EngineError::Foreign { location: self.views[0].location.clone(), found: said.words() });
        };
        Ok(Gate {
            name: keyroll_rotation::gate::GateName::G3,
            accepts: configuration.accept.clone(),
            rejects: self.materials.ids().filter(|id| !configuration.accept.contains(id)).collect(),
            mints: Some(configuration.active),
        })
    }

    /// Asks everybody; the result is recorded and shown.
    pub(crate) async fn sweep(&mut self, gate: &Gate) -> Result<Sweep, EngineError> {
        let now = self.now().await?;
        let engine = self.engine;
        let read_since = self.read_since();
        let outgoing = self.draining();
        let mut inquiry =
            inquiry(engine, &self.materials, &self.decoy, gate, read_since.map(|at| ReadSince { at, gate }), outgoing);
        // A gate is asked when its roll is over.
        inquiry.rollout = self.believed(Rolled::Yes).then_some(gate);
        let now = keyroll_adapters::Timestamp(now.0);
        let swept = sweep::sweep(engine, &mut self.roster, &inquiry, now).await?;
        engine.save_roster(&self.roster)?;
        self.members = swept.status;
        self.remember_sent(swept.sent);
        self.record_sweep(gate, &swept.sweep, swept.residual)?;
        Ok(swept.sweep)
    }

    fn record_sweep(&mut self, gate: &Gate, sweep: &Sweep, residual: Option<String>) -> Result<(), EngineError> {
        let rule = self.rule();
        let verdict = gate.judge(sweep, rule, self.settle_over().unwrap_or_default());
        let unproven = match &verdict {
            Verdict::Passed => Vec::new(),
            Verdict::Unproven(unproven) => self.unproven_members(unproven),
        };
        let proofs = sweep
            .observed
            .iter()
            .filter_map(|observation| {
                let run = self.roster.get(observation.member)?;
                Some(MemberProof { member: run.name(), boot: run.boot.0.clone(), claims: observation.claims.clone() })
            })
            .collect();
        let of = sweep.listed_after.len();
        let names: std::collections::BTreeSet<_> = unproven.iter().filter_map(|one| one.member.clone()).collect();
        self.engine.observer.notice(&Notice::Swept {
            gate: gate.name,
            proven: of.saturating_sub(names.len()),
            of,
            unproven: unproven.clone(),
        });
        for (member, key) in self.members.iter().flat_map(|one| one.keys.iter().map(move |key| (one, key))) {
            tracing::debug!(
                member = member.member,
                worker = member.worker,
                key = %key.key,
                accepts = ?key.accepts,
                mints = ?key.mints,
                "member asked"
            );
        }
        tracing::info!(gate = crate::words::gate(gate.name), of, unproven = names.len(), "gate asked");
        if verdict == Verdict::Passed {
            for key in &gate.rejects {
                let level = |one: &Observation| {
                    let claims = one.claims.iter().filter(|claim| {
                        (claim.key, claim.ability, claim.answer) == (*key, Ability::Accepts, Answer::No)
                    });
                    claims.map(|claim| claim.level).max()
                };
                let shown = |one: &Observation| Some((self.roster.get(one.member)?.name(), level(one)));
                let members = sweep.observed.iter().filter_map(shown).collect();
                self.rejected_by.insert(*key, members);
            }
        }
        let Some(stage) = self.stage() else { return Ok(()) };
        let words: Vec<String> = unproven
            .iter()
            .map(|one| format!("{}: {}", one.member.as_deref().unwrap_or("the fleet"), one.why))
            .collect();
        let told = Told { effect: Effect::Sweep { gate: gate.clone() }, verdict: words.clone() };
        match verdict {
            Verdict::Passed => self.told.retain(|before| !matches!(before.effect, Effect::Sweep { .. })),
            Verdict::Unproven(_) if self.tell(told) == Telling::Again => return Ok(()),
            Verdict::Unproven(_) => {}
        }
        self.note(Body::GateSwept {
            gate: gate.name,
            stage,
            outcome: match verdict {
                Verdict::Passed => GateOutcome::Passed,
                Verdict::Unproven(_) => GateOutcome::Unproven,
            },
            evidence: GateEvidence {
                began: sweep.began,
                ended: sweep.ended,
                rule,
                members: u32::try_from(of).unwrap_or(u32::MAX),
                proofs,
                unproven: words,
                residual,
            },
        })
        .map(drop)
    }

    async fn roll(
        &mut self,
        name: &str,
        place: u16,
        consumer: &Consumer,
        prove: &Gate,
        watched: &mut Watched,
    ) -> Result<Option<MemberIndex>, EngineError> {
        if self.only_time_proves(consumer) {
            self.wait_for_settle().await?;
        }
        let listed = self.engine.list_one(place, consumer).await?;
        let of = listed.len();
        let mut done = 0;
        let mut turn = Turn { name, place, consumer, prove, ready: ready(&listed) };
        for chunk in listed.chunks(self.at_a_time(consumer, of)) {
            self.between_members().await?;
            let mut stale = Vec::new();
            // All of them at once: where everybody is to be reloaded, nobody waits for those who hang.
            let shown = self.all_proven(chunk, prove, Rolled::No).await?;
            for (one, proven) in chunk.iter().zip(shown) {
                if one.member.state == MemberState::Terminating || proven {
                    done += 1;
                    continue;
                }
                self.engine.observer.notice(&Notice::Reloading { member: one.member.id.0.clone(), done, of });
                stale.push(one);
            }
            // A fleet may take its time to stop a member; nobody of a batch waits for that of another one.
            let requests = stale.iter().map(|one| self.request_reload(name, consumer, &one.member));
            let outcomes = futures_util::future::join_all(requests).await;
            let mut waiting = Vec::new();
            for (one, outcome) in stale.into_iter().zip(outcomes) {
                match outcome {
                    Ok(outcome) => waiting.push((one, outcome)),
                    // Whoever left before it was its turn does not matter, nor is it missed.
                    Err(EngineError::Fleet(FleetError::NoSuchMember { .. })) => {
                        done += 1;
                        turn.ready = turn.ready.saturating_sub(1);
                    }
                    Err(error) => return Err(error),
                }
            }
            for (one, outcome) in waiting {
                match self.wait_back(&turn, &one.member, outcome).await? {
                    Back::Proven => done += 1,
                    Back::Unproven(index) | Back::Missing(index) => return Ok(Some(index)),
                }
            }
            self.heed_errors(watched).await?;
        }
        Ok(None)
    }

    async fn reload_and_wait(
        &mut self,
        name: &str,
        place: u16,
        consumer: &Consumer,
        member: &Member,
        prove: &Gate,
    ) -> Result<Back, EngineError> {
        let outcome = self.request_reload(name, consumer, member).await?;
        // Whoever asks for this member wants this one back, and no other in its place.
        let turn = Turn { name, place, consumer, prove, ready: usize::MAX };
        self.wait_back(&turn, member, outcome).await
    }

    /// How many members of a consumer reload at once. An emergency uses what the fleet allows for it, and a hard cutover
    /// reloads everybody: until then each member accepts the leaked key.
    fn at_a_time(&self, consumer: &Consumer, members: usize) -> usize {
        let emergency =
            self.machine().filter(|machine| machine.stage == Stage::CuttingOver).map(|machine| machine.mode);
        match emergency {
            Some(Mode::HardCutover) => members.max(1),
            Some(Mode::Accelerated) => consumer.parallel.saturating_add(consumer.surge).max(1),
            Some(_) | None => consumer.parallel.max(1),
        }
    }

    async fn request_reload(
        &self,
        name: &str,
        consumer: &Consumer,
        member: &Member,
    ) -> Result<ReloadOutcome, EngineError> {
        self.hook("reload a member", Moment::Before);
        let outcome = consumer
            .fleet
            .reload(&ReloadRequest {
                id: ReloadId(name.to_owned()),
                target: ReloadTarget::Member { id: member.id.clone(), boot: member.boot.clone() },
            })
            .await?;
        self.hook("reload a member", Moment::After);
        Ok(outcome)
    }

    /// Waits until a member is back in another run and has shown what it must. Who came back too early to have surely read
    /// what is there now is reloaded once more when settle has passed.
    ///
    /// Who is not listed any more may have been replaced or have failed to start. It was replaced if no fewer members are ready
    /// than when the roll began; else the roll stops, because the next one might not come back either.
    async fn wait_back(
        &mut self,
        turn: &Turn<'_>,
        before: &Member,
        outcome: ReloadOutcome,
    ) -> Result<Back, EngineError> {
        let Turn { name, place, consumer, prove, ready: enough } = *turn;
        let mut before = before.clone();
        let mut outcome = outcome;
        let mut deadline = self.engine.clock.boottime() + consumer.reload_timeout;
        let mut again = false;
        let mut looks = 0;
        let mut last = self.roster.enter(place, &before).first().map_or(MemberIndex(0), |(index, _)| *index);
        loop {
            let members = self.engine.list_one(place, consumer).await?;
            let again_there = members.iter().find(|one| {
                one.member.id == before.id && (one.member.boot != before.boot || outcome == ReloadOutcome::AlreadyDone)
            });
            // Who was not ready before, and is not now, has nothing to come back from; a start behind settle proves it.
            if let Some(one) = again_there
                && before.state == MemberState::Unready
                && one.member.state == MemberState::Unready
                && self.proven(one, prove, Rolled::Yes).await?
            {
                return Ok(Back::Proven);
            }
            let back = again_there.filter(|one| one.member.state == MemberState::Ready);
            if let Some(one) = back {
                last = self.roster.enter(place, &one.member).first().map_or(last, |(index, _)| *index);
                if self.proven(one, prove, Rolled::Yes).await? {
                    return Ok(Back::Proven);
                }
                // A start from now on would prove what it has read, whatever its host's clock says.
                let settled = match self.read_since() {
                    Some(over) => self.now().await? > over.after(self.clock_skew()),
                    None => true,
                };
                let out_of_time = self.engine.clock.boottime() >= deadline;
                match (settled, started_late(&one.member, self.read_since()), again) {
                    // Before settle has passed nothing that it shows or lacks is held against it.
                    (false, _, _) => deadline = self.engine.clock.boottime() + consumer.reload_timeout,
                    // It may have read an older version: once more, now that there is none.
                    (true, false, false) => {
                        again = true;
                        looks = 0;
                        before = one.member.clone();
                        outcome = self.request_reload(&format!("{name}/again"), consumer, &before).await?;
                        deadline = self.engine.clock.boottime() + consumer.reload_timeout;
                    }
                    (true, _, _) if out_of_time => return Ok(Back::Unproven(last)),
                    // It may only be warming up; it has its whole time.
                    (true, _, _) => {}
                }
            } else if !members.iter().any(|one| one.member.id == before.id) && ready(&members) >= enough {
                // Whoever stands in its place is a newcomer, and the gate asks it like everybody.
                return Ok(Back::Proven);
            } else if self.engine.clock.boottime() >= deadline {
                return Ok(Back::Missing(last));
            }
            self.pause_between_looks(&mut looks).await?;
        }
    }

    async fn roll_whole(
        &mut self,
        name: &str,
        place: u16,
        consumer: &Consumer,
        prove: &Gate,
    ) -> Result<Option<MemberIndex>, EngineError> {
        if self.only_time_proves(consumer) {
            self.wait_for_settle().await?;
        }
        let before: Vec<_> =
            self.engine.list_one(place, consumer).await?.into_iter().map(|one| one.member.boot).collect();
        if self.unproven_of(place, consumer, prove, &before).await?.is_none() {
            return Ok(None);
        }
        self.hook("reload a fleet", Moment::Before);
        consumer.fleet.reload(&ReloadRequest { id: ReloadId(name.to_owned()), target: ReloadTarget::All }).await?;
        self.hook("reload a fleet", Moment::After);
        let deadline = self.engine.clock.boottime() + consumer.reload_timeout;
        let mut looks = 0;
        loop {
            let Some((index, state)) = self.unproven_of(place, consumer, prove, &before).await? else {
                return Ok(None);
            };
            if self.engine.clock.boottime() >= deadline {
                return Ok(match state {
                    // Whose rollout is believed must have been rolled, because nothing else will ever show it.
                    MemberState::Ready if self.believed(Rolled::Yes) => Some(index),
                    // Everybody is there, so the roll is over; who is unproven is a laggard, and the gate says so.
                    MemberState::Ready | MemberState::Terminating => None,
                    MemberState::Unready | MemberState::Down => Some(index),
                });
            }
            self.pause_between_looks(&mut looks).await?;
        }
    }

    /// The first member of a fleet that has not shown what it must, an unready one before all others.
    async fn unproven_of(
        &mut self,
        place: u16,
        consumer: &Consumer,
        prove: &Gate,
        before: &[BootId],
    ) -> Result<Option<(MemberIndex, MemberState)>, EngineError> {
        let mut first = None;
        let listed = self.engine.list_one(place, consumer).await?;
        let (old, new): (Vec<_>, Vec<_>) = listed.into_iter().partition(|one| before.contains(&one.member.boot));
        let mut shown = self.all_proven(&old, prove, Rolled::No).await?;
        shown.extend(self.all_proven(&new, prove, Rolled::Yes).await?);
        for (one, proven) in old.into_iter().chain(new).zip(shown) {
            if proven {
                continue;
            }
            let index = self.roster.enter(place, &one.member).first().map_or(MemberIndex(0), |(index, _)| *index);
            if one.member.state == MemberState::Unready {
                return Ok(Some((index, one.member.state)));
            }
            first = first.or(Some((index, one.member.state)));
        }
        Ok(first)
    }

    /// Whether one member shows now what the gate demands.
    async fn proven(&mut self, one: &Listed, prove: &Gate, rolled: Rolled) -> Result<bool, EngineError> {
        Ok(self.all_proven(std::slice::from_ref(one), prove, rolled).await? == [true])
    }

    /// Which of them show now what the gate demands, several asked at a time.
    async fn all_proven(&mut self, listed: &[Listed], prove: &Gate, rolled: Rolled) -> Result<Vec<bool>, EngineError> {
        let now = keyroll_adapters::Timestamp(self.now().await?.0);
        let read_since = self.read_since();
        let outgoing = self.draining();
        let mut inquiry = inquiry(
            self.engine,
            &self.materials,
            &self.decoy,
            prove,
            read_since.map(|at| ReadSince { at, gate: prove }),
            outgoing,
        );
        inquiry.rollout = self.believed(rolled).then_some(prove);
        let showings = sweep::ask(listed.to_vec(), &mut self.roster, &inquiry, self.engine.clock.as_ref(), now).await;
        self.remember_sent(showings.iter().map(|showing| (showing.listed.key(), showing.sent)).collect());
        let rule = self.rule();
        let passes = |observed: Vec<Observation>| {
            let sweep = Sweep {
                began: Millis(u64::MAX),
                ended: Millis(u64::MAX),
                listed_after: observed.iter().map(|observation| observation.member).collect(),
                observed,
                consumers: Vec::new(),
            };
            prove.judge(&sweep, rule, Millis(0)) == Verdict::Passed
        };
        Ok(showings.into_iter().map(|showing| passes(showing.observations)).collect())
    }

    /// Whether it counts, if weakly, that a rollout is over: the file names it, and the operator has named it too.
    fn believed(&self, rolled: Rolled) -> bool {
        rolled == Rolled::Yes
            && self.engine.assembly.policy.believed == Some(EvidenceLevel::P0)
            && self.rule() == EvidenceRule::Weak
    }

    /// Whether nothing but the time of its start can prove a member: then it is reloaded only when settle has passed.
    fn only_time_proves(&self, consumer: &Consumer) -> bool {
        let asked = self.engine.assembly.witnesses.iter().any(|witness| {
            let description = witness.describe();
            description.tells_accepts
                && (consumer.kind == MemberKind::Serving || description.level == keyroll_adapters::evidence::Level::P2)
        });
        !asked
    }

    /// Until a member that starts from now on shows by its start that it has read what is there, also where its clock is late.
    async fn wait_for_settle(&mut self) -> Result<(), EngineError> {
        let Some(over) = self.read_since().map(|over| over.after(self.clock_skew())) else { return Ok(()) };
        let mut looks = 0;
        while self.now().await? <= over {
            self.pause_between_looks(&mut looks).await?;
        }
        Ok(())
    }

    /// Between two members an operator's Ctrl-C and a request from elsewhere are heard; the roll is taken up again later.
    async fn between_members(&mut self) -> Result<(), EngineError> {
        if self.engine.interrupt.requested() {
            return Err(EngineError::Interrupted);
        }
        self.look().await?;
        if self.stamp.requests.is_empty() { Ok(()) } else { Err(EngineError::RequestWaits) }
    }

    pub(crate) async fn pause_between_looks(&self, looks: &mut u32) -> Result<(), EngineError> {
        let pause = pause_before_look(*looks, self.engine.assembly.policy.poll);
        *looks += 1;
        tokio::select! {
            () = self.engine.clock.sleep(pause) => Ok(()),
            () = self.engine.interrupt.wait() => Err(EngineError::Interrupted),
        }
    }

    /// Whoever says that it started after this has read what was written last. A start is told by the member's own host, and
    /// its clock may be ahead of the store's.
    fn read_since(&self) -> Option<Millis> {
        self.settle_over().map(|over| over.after(self.clock_skew()))
    }

    fn clock_skew(&self) -> Millis {
        Millis(u64::try_from(self.engine.assembly.policy.max_clock_skew.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn settle_over(&self) -> Option<Millis> {
        self.machine().and_then(|machine| machine.written_at.map(|_| machine.settle_over()))
    }

    pub(crate) fn rule(&self) -> EvidenceRule {
        self.machine().map_or(self.engine.assembly.policy.settings.evidence, |machine| machine.settings.evidence)
    }

    fn draining(&self) -> Option<keyroll_keyring::KeyId> {
        self.machine().filter(|machine| machine.t0.is_some()).map(|machine| machine.outgoing)
    }

    fn stage_word(&self) -> &'static str {
        self.stage().map_or("none", crate::words::stage)
    }
}

/// Whether a run is known to have been started by this roll.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rolled {
    Yes,
    No,
}

fn ready(listed: &[Listed]) -> usize {
    listed.iter().filter(|one| one.member.state == MemberState::Ready).count()
}

/// Whether a run began when nothing older could be read any more.
fn started_late(member: &Member, read_since: Option<Millis>) -> bool {
    read_since.is_none() || sweep::started_since(member, read_since) == Answer::Yes
}

/// The first looks come soon, because most members are back within a moment; a slow one is not asked more often than the
/// policy says.
fn pause_before_look(looks: u32, poll: Duration) -> Duration {
    FIRST_LOOK.saturating_mul(1 << looks.min(LOOKS_THAT_DOUBLE)).min(poll)
}

fn nothing_demanded() -> Gate {
    Gate {
        name: keyroll_rotation::gate::GateName::G1,
        accepts: std::collections::BTreeSet::new(),
        rejects: std::collections::BTreeSet::new(),
        mints: None,
    }
}

const FIRST_LOOK: Duration = Duration::from_millis(100);
/// Enough for any poll of a sane policy, and few enough for a shift.
const LOOKS_THAT_DOUBLE: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_back_soon_is_seen_soon_and_a_slow_one_is_not_pestered() {
        let poll = Duration::from_secs(2);
        let pauses: Vec<u128> = (0..6).map(|looks| pause_before_look(looks, poll).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 2000]);
        assert_eq!(pause_before_look(u32::MAX, poll), poll);
    }
}
