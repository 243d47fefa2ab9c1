//! Reloading a fleet without losing it: one member (or a few) at a time, and the next one only when the last is proven.
//!
//! A member that shows already what it must is not reloaded at all. That makes a repeated roll cheap, takes up a roll that was
//! killed in the middle, and leaves a member alone that somebody else has restarted meanwhile.

use std::time::Duration;

use keyroll_adapters::evidence::RequestCounts;
use keyroll_adapters::fleets::{
    Member, MemberState, ReloadId, ReloadOutcome, ReloadRequest, ReloadStyle, ReloadTarget,
};
use keyroll_rotation::gate::{EvidenceRule, Gate, MemberKind, Sweep, Verdict};
use keyroll_rotation::{Attempt, Event, MemberIndex, Millis, ReloadScope};

use crate::assembly::{Consumer, OnRegression};
use crate::clock::millis;
use crate::effects::error_chain;
use crate::error::EngineError;
use crate::hooks::Moment;
use crate::journal::{Body, Completion, GateEvidence, GateOutcome, MemberProof, Reason, Why};
use crate::report::Notice;
use crate::session::Session;
use crate::stamp::{Asked, PendingRequest};
use crate::sweep::{self, Inquiry, Listed, ReadSince};

/// How a member, or a whole fleet, came out of its reload.
enum Back {
    /// It is back and has shown what it must.
    Proven,
    /// It is back and has not, though it could not have read anything older.
    Unproven(MemberIndex),
    /// It is not back in its time.
    Missing(MemberIndex),
}

impl Session<'_> {
    /// Reloads every consumer's members that have not shown yet what `prove` demands.
    pub(crate) async fn reload(
        &mut self,
        attempt: Attempt,
        _scope: ReloadScope,
        prove: &Gate,
    ) -> Result<(Event, Completion), EngineError> {
        let name = format!("{}/{}/{}", self.rotation_id(), self.stage_word(), attempt.0);
        let consumers = self.engine.assembly.consumers.clone();
        let before = self.engine.read_error_rates().await;
        for (place, consumer) in (0_u16..).zip(&consumers) {
            let stopped = match consumer.fleet.describe().reload {
                ReloadStyle::HotReload => None,
                ReloadStyle::PerMember => self.roll(&name, place, consumer, prove).await?,
                ReloadStyle::Whole => self.roll_whole(&name, place, consumer, prove).await?,
            };
            if let Some(member) = stopped {
                return Ok((Event::ReloadStopped { member: Some(member) }, Completion::Now));
            }
        }
        match (before, self.engine.read_error_rates().await) {
            (Ok(before), Ok(after)) => self.judge_errors(&before, &after),
            (Err(error), _) | (_, Err(error)) => {
                self.caution(format!("the rate of failed requests is not known: {}", error_chain(error.as_ref())));
                Ok((Event::Reloaded, Completion::Now))
            }
        }
    }

    /// Whether the roll made requests fail: then it stands still, or goes back where the policy says so.
    fn judge_errors(
        &mut self,
        before: &[RequestCounts],
        after: &[RequestCounts],
    ) -> Result<(Event, Completion), EngineError> {
        let Some(watch) = self.engine.assembly.error_rates.clone() else {
            return Ok((Event::Reloaded, Completion::Now));
        };
        let total: u64 = before.iter().map(|counts| counts.total).sum();
        let failed: u64 = before.iter().map(|counts| counts.failed).sum();
        let baseline = if total == 0 { 0 } else { u128::from(failed) * 1000 / u128::from(total) };
        let share = RequestCounts::failed_permille(before, after).map_or(0, u128::from);
        if share <= baseline + u128::from(watch.threshold_permille) {
            return Ok((Event::Reloaded, Completion::Now));
        }
        self.caution(format!("since the roll {share} of 1000 requests fail; before it {baseline} did"));
        match watch.then {
            OnRegression::Hold => Ok((Event::ReloadStopped { member: None }, Completion::Now)),
            OnRegression::RollBack => {
                // The policy decides in a person's place, and the request goes the way of every other one.
                let id = self.engine.new_rotation_id()?.0;
                let rotation = self.rotation_id();
                let at = crate::clock::calendar(millis(self.engine.clock.now()));
                let note = format!("errors rose from {baseline} to {share} of 1000 requests");
                self.stamp.requests.push(PendingRequest {
                    id,
                    rotation,
                    by: "policy".into(),
                    at,
                    why: Why { reason: Reason::Incident, ticket: None, note: Some(note) },
                    what: Asked::Rollback {},
                });
                Ok((Event::Reloaded, Completion::Now))
            }
        }
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

    /// Asks everybody; the result is recorded and shown.
    pub(crate) async fn sweep(&mut self, gate: &Gate) -> Result<Sweep, EngineError> {
        let now = self.now().await?;
        let engine = self.engine;
        let settle_over = self.settle_over();
        let outgoing = self.draining();
        let inquiry = inquiry(
            engine,
            &self.materials,
            &self.decoy,
            gate,
            settle_over.as_ref().map(|at| ReadSince { at: *at, gate }),
            outgoing,
        );
        let swept = sweep::sweep(
            &engine.assembly.consumers,
            &mut self.roster,
            &inquiry,
            engine.clock.as_ref(),
            keyroll_adapters::Timestamp(now.0),
            engine.assembly.policy.sweep_rounds,
        )
        .await?;
        engine.save_roster(&self.roster)?;
        self.members = swept.status;
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
        let Some(stage) = self.stage() else { return Ok(()) };
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
                unproven: unproven
                    .iter()
                    .map(|one| format!("{}: {}", one.member.as_deref().unwrap_or("the fleet"), one.why))
                    .collect(),
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
    ) -> Result<Option<MemberIndex>, EngineError> {
        if self.only_time_proves(consumer) {
            self.wait_for_settle().await?;
        }
        let listed = list_one(place, consumer).await?;
        let of = listed.len();
        let mut done = 0;
        for chunk in listed.chunks(consumer.parallel.max(1)) {
            self.between_members().await?;
            let mut waiting = Vec::new();
            for one in chunk {
                if one.member.state == MemberState::Terminating || self.proven(one, prove).await? {
                    done += 1;
                    continue;
                }
                self.engine.observer.notice(&Notice::Reloading { member: one.member.id.0.clone(), done, of });
                let outcome = self.request_reload(name, consumer, &one.member).await?;
                waiting.push((one.clone(), outcome));
            }
            for (one, outcome) in waiting {
                match self.wait_back(name, place, consumer, &one.member, outcome, prove).await? {
                    Back::Proven => done += 1,
                    Back::Unproven(index) | Back::Missing(index) => return Ok(Some(index)),
                }
            }
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
        self.wait_back(name, place, consumer, member, outcome, prove).await
    }

    async fn request_reload(
        &mut self,
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
    async fn wait_back(
        &mut self,
        name: &str,
        place: u16,
        consumer: &Consumer,
        before: &Member,
        outcome: ReloadOutcome,
        prove: &Gate,
    ) -> Result<Back, EngineError> {
        let mut before = before.clone();
        let mut outcome = outcome;
        let mut deadline = self.engine.clock.boottime() + consumer.reload_timeout;
        let mut again = false;
        let mut looks = 0;
        let mut last = self.roster.enter(place, &before).first().map_or(MemberIndex(0), |(index, _)| *index);
        loop {
            let members = list_one(place, consumer).await?;
            let back = members.iter().find(|one| {
                one.member.id == before.id
                    && (one.member.boot != before.boot || outcome == ReloadOutcome::AlreadyDone)
                    && one.member.state == MemberState::Ready
            });
            if let Some(one) = back {
                last = self.roster.enter(place, &one.member).first().map_or(last, |(index, _)| *index);
                if self.proven(one, prove).await? {
                    return Ok(Back::Proven);
                }
                let settled = match self.settle_over() {
                    Some(over) => self.now().await? >= over,
                    None => true,
                };
                let out_of_time = self.engine.clock.boottime() >= deadline;
                match (settled, started_late(&one.member, self.settle_over()), again) {
                    // Before settle has passed nothing that it shows or lacks is held against it.
                    (false, _, _) => deadline = self.engine.clock.boottime() + consumer.reload_timeout,
                    // It may have read an older version: once more, now that there is none.
                    (true, StartedLate::No, false) => {
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
        if self.unproven_of(place, consumer, prove).await?.is_none() {
            return Ok(None);
        }
        self.hook("reload a fleet", Moment::Before);
        consumer.fleet.reload(&ReloadRequest { id: ReloadId(name.to_owned()), target: ReloadTarget::All }).await?;
        self.hook("reload a fleet", Moment::After);
        let deadline = self.engine.clock.boottime() + consumer.reload_timeout;
        let mut looks = 0;
        loop {
            let Some((index, state)) = self.unproven_of(place, consumer, prove).await? else { return Ok(None) };
            if self.engine.clock.boottime() >= deadline {
                return Ok(match state {
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
    ) -> Result<Option<(MemberIndex, MemberState)>, EngineError> {
        let mut first = None;
        for one in list_one(place, consumer).await? {
            if self.proven(&one, prove).await? {
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
    async fn proven(&mut self, one: &Listed, prove: &Gate) -> Result<bool, EngineError> {
        let now = keyroll_adapters::Timestamp(self.now().await?.0);
        let settle_over = self.settle_over();
        let outgoing = self.draining();
        let inquiry = inquiry(
            self.engine,
            &self.materials,
            &self.decoy,
            prove,
            settle_over.as_ref().map(|at| ReadSince { at: *at, gate: prove }),
            outgoing,
        );
        let showings = sweep::ask(vec![one.clone()], &mut self.roster, &inquiry, self.engine.clock.as_ref(), now).await;
        let observed: Vec<_> = showings.into_iter().flat_map(|showing| showing.observations).collect();
        let sweep = Sweep {
            began: Millis(u64::MAX),
            ended: Millis(u64::MAX),
            listed_after: observed.iter().map(|observation| observation.member).collect(),
            observed,
            consumers: Vec::new(),
        };
        Ok(prove.judge(&sweep, self.rule(), Millis(0)) == Verdict::Passed)
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

    async fn wait_for_settle(&mut self) -> Result<(), EngineError> {
        let Some(over) = self.settle_over() else { return Ok(()) };
        let mut looks = 0;
        while self.now().await? < over {
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

    async fn pause_between_looks(&self, looks: &mut u32) -> Result<(), EngineError> {
        let pause = pause_before_look(*looks, self.engine.assembly.policy.poll);
        *looks += 1;
        tokio::select! {
            () = self.engine.clock.sleep(pause) => Ok(()),
            () = self.engine.interrupt.wait() => Err(EngineError::Interrupted),
        }
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

/// What a gate asks of a member, with the bytes of the keys that are in memory.
pub(crate) fn inquiry<'a>(
    engine: &'a crate::engine::Engine,
    materials: &'a crate::world::Materials,
    decoy: &'a keyroll_keyring::Key,
    gate: &'a Gate,
    read_since: Option<ReadSince<'a>>,
    draining: Option<keyroll_keyring::KeyId>,
) -> Inquiry<'a> {
    let asked: std::collections::BTreeSet<_> =
        gate.accepts.iter().chain(&gate.rejects).chain(&gate.mints).copied().collect();
    let with_fingerprint =
        |id: keyroll_keyring::KeyId| materials.get(id).map(|key| (key, engine.assembly.fingerprints.of(key.parts())));
    let keys: Vec<_> = asked.iter().filter_map(|id| with_fingerprint(*id)).collect();
    // Whatever a member mints with should be recognised, whether or not the gate asks for that key.
    let open_only = materials
        .ids()
        .filter(|id| !asked.contains(id))
        .filter(|id| gate.mints.is_some() || draining == Some(*id))
        .filter_map(with_fingerprint)
        .collect();
    Inquiry {
        keys,
        open_only,
        decoy,
        witnesses: &engine.assembly.witnesses,
        read_since,
        refused_replays: Some(gate),
        concurrency: engine.assembly.policy.concurrency,
    }
}

async fn list_one(place: u16, consumer: &Consumer) -> Result<Vec<Listed>, EngineError> {
    Ok(consumer
        .fleet
        .members()
        .await?
        .into_iter()
        .filter(|member| member.state != MemberState::Down)
        .map(|member| Listed { consumer: place, kind: consumer.kind, member })
        .collect())
}

/// Whether a run began when nothing older could be read any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum StartedLate {
    Yes,
    No,
}

fn started_late(member: &Member, settle_over: Option<Millis>) -> StartedLate {
    match (member.started_at, settle_over) {
        (_, None) => StartedLate::Yes,
        (Some(started), Some(over)) if millis(started) >= over => StartedLate::Yes,
        (_, Some(_)) => StartedLate::No,
    }
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
