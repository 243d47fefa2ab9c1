//! A sweep: list everybody, ask everybody, list again until nobody is listed who was not asked.
//!
//! Who left does not matter and who came is asked too, so a fleet that scales all day can't starve a gate. A member whose
//! witnesses contradict one another is unknown, however strong one of them is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use keyroll_adapters::Timestamp;
use keyroll_adapters::evidence::{self, AskedKey, CapturedSession, Question, Subject, Testimony, Traffic, Witness};
use keyroll_adapters::fleets::{BootId, FleetError, Member, MemberId, MemberState};
use keyroll_keyring::{Fingerprint, Key, KeyId};
use keyroll_rotation::gate::{
    Ability, Answer, Claim, ConsumerCount, EvidenceLevel, Gate, MemberKind, Observation, Readiness, Sweep,
};
use keyroll_rotation::{MemberIndex, Millis};

use crate::assembly::Consumer;
use crate::clock::{Clock, millis};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::members::roster::Roster;
use crate::report::{MemberKey, MemberStatus};

/// What is asked of each member.
pub(crate) struct Inquiry<'a> {
    /// Keys with their bytes and fingerprints.
    pub(crate) keys: Vec<(&'a Key, Option<Fingerprint>)>,
    /// Keys with which a minted session is opened, and under which none is sent.
    pub(crate) open_only: Vec<(&'a Key, Option<Fingerprint>)>,
    /// A key under which nothing was ever minted.
    pub(crate) decoy: &'a Key,
    /// Who answers.
    pub(crate) witnesses: &'a [Arc<dyn Witness>],
    /// What a run that began after settle has read; it is P1 evidence of exactly that.
    pub(crate) read_since: Option<ReadSince<'a>>,
    /// What a ready member is believed to have read because its rollout is over: P0, and only where the file names it.
    pub(crate) rollout: Option<&'a Gate>,
    /// The gate whose keys a refused login speaks against, where it is not known under which key the login was.
    pub(crate) refused_replays: Option<&'a Gate>,
    /// How many members are asked at the same time.
    pub(crate) concurrency: usize,
    /// Whose members are asked.
    pub(crate) consumers: &'a [Consumer],
}

/// A run that began after `at` has read what the gate describes.
#[derive(Clone, Copy)]
pub(crate) struct ReadSince<'a> {
    pub(crate) at: Millis,
    pub(crate) gate: &'a Gate,
}

/// Names one run of one member: its consumer's place, its name, its boot.
pub(crate) type RunKey = (u16, MemberId, BootId);

/// One listed member and the consumer that listed it.
#[derive(Clone)]
pub(crate) struct Listed {
    pub(crate) consumer: u16,
    pub(crate) kind: MemberKind,
    pub(crate) member: Member,
}

/// What one member showed.
pub(crate) struct Showing {
    pub(crate) listed: Listed,
    pub(crate) observations: Vec<Observation>,
    pub(crate) status: Vec<MemberStatus>,
    /// Where several workers do not name themselves: the probability that one certain stale one was never met.
    pub(crate) residual: Option<f64>,
    /// What was sent to it for that.
    pub(crate) sent: Traffic,
}

/// A complete sweep.
pub(crate) struct Swept {
    /// For the machine.
    pub(crate) sweep: Sweep,
    /// For people.
    pub(crate) status: Vec<MemberStatus>,
    /// Where workers could not be told apart, what that leaves open.
    pub(crate) residual: Option<String>,
    /// What was sent to each run for that.
    pub(crate) sent: Vec<(RunKey, Traffic)>,
}

/// Lists every consumer's members; who is known to be down holds no key and is no member.
pub(crate) async fn list(consumers: &[Consumer]) -> Result<Vec<Listed>, FleetError> {
    let mut listed = Vec::new();
    for (place, consumer) in (0_u16..).zip(consumers) {
        listed.extend(list_one(place, consumer).await?);
    }
    Ok(listed)
}

/// The same for the consumer at `place`.
pub(crate) async fn list_one(place: u16, consumer: &Consumer) -> Result<Vec<Listed>, FleetError> {
    let members = consumer.fleet.members().await?.into_iter().filter(|member| member.state != MemberState::Down);
    Ok(members.map(|member| Listed { consumer: place, kind: consumer.kind, member }).collect())
}

/// Asks members, several at a time, and replays on each what others of them minted.
pub(crate) async fn ask(
    members: Vec<Listed>,
    roster: &mut Roster,
    inquiry: &Inquiry<'_>,
    clock: &dyn Clock,
    now: Timestamp,
) -> Vec<Showing> {
    let began = clock.boottime();
    let time = || Timestamp(now.0.saturating_add(millis_u64(clock.boottime().saturating_sub(began))));
    let mut testimonies = testify(members, inquiry, &time, &[]).await;
    let captured: Vec<Vec<_>> = testimonies
        .iter()
        .map(|(_, testimony)| {
            let minted = minted_under(testimony);
            testimony.captured.iter().map(|session| named(session, minted)).collect()
        })
        .collect();
    if captured.iter().any(|sessions| !sessions.is_empty()) {
        let members = testimonies.iter().map(|(listed, _)| listed.clone()).collect();
        let replays = testify(members, inquiry, &time, &replayed_on_each(&captured)).await;
        for ((_, testimony), (_, replayed)) in testimonies.iter_mut().zip(replays) {
            testimony.statements.extend(replayed.statements);
            testimony.replayed.extend(replayed.replayed);
            testimony.sent = testimony.sent.plus(replayed.sent);
        }
    }
    testimonies.into_iter().map(|(listed, testimony)| show(listed, testimony, roster, inquiry)).collect()
}

/// Which sessions are tried on each member: those of every other member, or, in a fleet for which that would be too many, those
/// of its next neighbours, so that still everybody's login is tried elsewhere and everybody tries the logins of others.
fn replayed_on_each(captured: &[Vec<Arc<CapturedSession>>]) -> Vec<Vec<Arc<CapturedSession>>> {
    let minters: Vec<usize> = (0..captured.len()).filter(|place| !captured[*place].is_empty()).collect();
    let tried = |place: usize| {
        let after = minters.partition_point(|minter| *minter <= place);
        let others = minters[after..].iter().chain(&minters[..after]).filter(move |minter| **minter != place);
        let many = if minters.len() > REPLAYED_ON_ALL { REPLAYED } else { minters.len() };
        others.take(many).flat_map(|minter| captured[*minter].iter().cloned()).collect()
    };
    (0..captured.len()).map(tried).collect()
}

/// The key under which a member mints, as far as its other witnesses tell.
fn minted_under(testimony: &Testimony) -> Option<KeyId> {
    let mut minted = combine(&testimony.statements)
        .into_iter()
        .filter(|claim| claim.ability == Ability::Mints && claim.answer == Answer::Yes);
    match (minted.next(), minted.next()) {
        (Some(only), None) => Some(only.key),
        _ => None,
    }
}

/// A captured session with the name of its key, where its minter has told that by other means.
fn named(session: &Arc<CapturedSession>, minted: Option<KeyId>) -> Arc<CapturedSession> {
    match (session.key, minted) {
        (None, Some(key)) => Arc::new(CapturedSession {
            token: session.token.duplicate(),
            key: Some(key),
            minter: session.minter.clone(),
        }),
        _ => Arc::clone(session),
    }
}

/// Sweeps until nobody is listed who was not asked, or `rounds` listings have not been enough.
pub(crate) async fn sweep(
    engine: &Engine,
    roster: &mut Roster,
    inquiry: &Inquiry<'_>,
    now: Timestamp,
) -> Result<Swept, EngineError> {
    let (consumers, clock) = (&engine.assembly.consumers, engine.clock.as_ref());
    let rounds = engine.assembly.policy.sweep_rounds;
    let started = clock.boottime();
    let elapsed = || Timestamp(now.0.saturating_add(millis_u64(clock.boottime().saturating_sub(started))));
    let mut shown: BTreeMap<RunKey, Showing> = BTreeMap::new();
    let mut listed = engine.list().await?;
    let mut round = 0;
    loop {
        let fresh: Vec<_> = listed.iter().filter(|one| !shown.contains_key(&one.key())).cloned().collect();
        for showing in ask(fresh, roster, inquiry, clock, elapsed()).await {
            shown.insert(showing.listed.key(), showing);
        }
        listed = engine.list().await?;
        round += 1;
        if round >= rounds.max(1) || listed.iter().all(|one| shown.contains_key(&one.key())) {
            break;
        }
    }
    let mut listed_after: Vec<MemberIndex> = Vec::new();
    let mut counts: Vec<ConsumerCount> =
        consumers.iter().map(|consumer| ConsumerCount { declared: consumer.declared, members: 0 }).collect();
    for one in &listed {
        listed_after.extend(roster.enter(one.consumer, &one.member).into_iter().map(|(index, _)| index));
        if let Some(count) = counts.get_mut(usize::from(one.consumer)) {
            count.members += 1;
        }
        // A member that was ready when it was asked may be on its way out by now.
        if let Some(showing) = shown.get_mut(&one.key()) {
            for observation in &mut showing.observations {
                observation.readiness = readiness(one.member.state);
            }
        }
    }
    let still_there: BTreeSet<RunKey> = listed.iter().map(Listed::key).collect();
    shown.retain(|run, _| still_there.contains(run));
    let sweep = Sweep {
        began: millis(now),
        ended: millis(elapsed()),
        observed: shown.values().flat_map(|showing| showing.observations.iter().cloned()).collect(),
        listed_after,
        consumers: counts,
    };
    let residual = shown.values().filter_map(|showing| showing.residual).reduce(f64::max).map(|residual| {
        format!(
            "workers do not name themselves; the probability that a stale one of a member was never met is at most {:.4} %",
            residual * 100.0
        )
    });
    let sent = shown.iter().map(|(run, showing)| (run.clone(), showing.sent)).collect();
    Ok(Swept { residual, sweep, sent, status: shown.into_values().flat_map(|showing| showing.status).collect() })
}

impl Listed {
    /// Names the run.
    pub(crate) fn key(&self) -> RunKey {
        (self.consumer, self.member.id.clone(), self.member.boot.clone())
    }
}

/// What several witnesses said of one thing, as one claim for each key and ability.
pub(crate) fn combine(statements: &[evidence::Statement]) -> Vec<Claim> {
    let mut claims: Vec<Claim> = Vec::new();
    for statement in statements {
        let (key, ability) = (statement.key, ability_of(statement.subject));
        if claims.iter().any(|claim| (claim.key, claim.ability) == (key, ability)) {
            continue;
        }
        let strongest = |answer| {
            statements
                .iter()
                .filter(|other| (other.key, ability_of(other.subject)) == (key, ability) && other.answer == answer)
                .map(|other| level_of(other.level))
                .max()
        };
        let (yes, no) = (strongest(evidence::Answer::Yes), strongest(evidence::Answer::No));
        let (answer, level) = match (yes, no) {
            (Some(level), None) => (Answer::Yes, level),
            (None, Some(level)) => (Answer::No, level),
            (Some(one), Some(other)) => (Answer::Unknown, one.max(other)),
            (None, None) => (Answer::Unknown, level_of(statement.level)),
        };
        claims.push(Claim { key, ability, answer, level });
    }
    claims
}

fn level_of(level: evidence::Level) -> EvidenceLevel {
    match level {
        evidence::Level::P0 => EvidenceLevel::P0,
        evidence::Level::P1 => EvidenceLevel::P1,
        evidence::Level::P2 => EvidenceLevel::P2,
        evidence::Level::P3 => EvidenceLevel::P3,
    }
}

async fn testify(
    members: Vec<Listed>,
    inquiry: &Inquiry<'_>,
    now: &(dyn Fn() -> Timestamp + Send + Sync),
    captured: &[Vec<Arc<CapturedSession>>],
) -> Vec<(Listed, Testimony)> {
    let mut answers: Vec<(usize, Listed, Testimony)> = stream::iter(members.into_iter().enumerate())
        .map(|(place, listed)| async move {
            let mut testimony = Testimony::default();
            for witness in inquiry.witnesses {
                let question = Question {
                    keys: asked(&inquiry.keys),
                    open_only: asked(&inquiry.open_only),
                    decoy: inquiry.decoy,
                    captured: captured.get(place).cloned().unwrap_or_default(),
                    // A session that was minted for the beginning of a long sweep would be over at its end.
                    now: now(),
                };
                let said = witness.ask(&listed.member, &question).await;
                testimony.statements.extend(said.statements);
                testimony.captured.extend(said.captured);
                testimony.workers.extend(said.workers);
                testimony.replayed.extend(said.replayed);
                testimony.sent = testimony.sent.plus(said.sent);
                testimony.residual = [testimony.residual, said.residual].into_iter().flatten().reduce(f64::max);
            }
            (place, listed, testimony)
        })
        .buffer_unordered(inquiry.concurrency.max(1))
        .collect()
        .await;
    answers.sort_by_key(|(place, ..)| *place);
    answers.into_iter().map(|(_, listed, testimony)| (listed, testimony)).collect()
}

fn asked<'a>(keys: &'a [(&'a Key, Option<Fingerprint>)]) -> Vec<AskedKey<'a>> {
    keys.iter().map(|(key, fingerprint)| AskedKey { key, fingerprint: fingerprint.as_ref() }).collect()
}

fn show(listed: Listed, testimony: Testimony, roster: &mut Roster, inquiry: &Inquiry<'_>) -> Showing {
    let mut testimony = testimony;
    if let Some(gate) = inquiry.refused_replays {
        // Nobody knows under which key it was, but a login of another member that is refused here is a logout there.
        let refused = testimony
            .replayed
            .iter()
            .filter(|replayed| replayed.key.is_none() && replayed.answer == evidence::Answer::No);
        let statements: Vec<_> = refused
            .flat_map(|replayed| {
                gate.accepts.iter().map(|key| evidence::Statement {
                    key: *key,
                    subject: Subject::Accepts,
                    answer: evidence::Answer::No,
                    level: evidence::Level::P3,
                    detail: format!("a login made on another member is refused: {}", replayed.detail),
                })
            })
            .collect();
        testimony.statements.extend(statements);
    }
    let mut claims = combine(&testimony.statements);
    let since = started_since(&listed.member, inquiry.read_since.map(|since| since.at));
    match (inquiry.read_since, since, inquiry.rollout) {
        (Some(ReadSince { gate, .. }), Answer::Yes, _) => {
            infer(&mut claims, gate, &testimony.statements, EvidenceLevel::P1);
        }
        (_, _, Some(gate)) if listed.member.state == MemberState::Ready => {
            infer(&mut claims, gate, &testimony.statements, EvidenceLevel::P0);
        }
        (_, _, _) => {}
    }
    let mut observations = Vec::new();
    let mut status = Vec::new();
    let consumer = inquiry.consumers.get(usize::from(listed.consumer));
    for (index, worker) in roster.enter(listed.consumer, &listed.member) {
        // A worker that is named and did not answer has shown nothing, whatever its siblings said.
        let answered =
            worker.as_ref().is_none_or(|name| testimony.workers.iter().any(|(answering, _)| answering == name));
        let claims = if answered { claims.clone() } else { Vec::new() };
        status.push(MemberStatus {
            consumer: consumer.map(|consumer| consumer.name.clone()).unwrap_or_default(),
            member: listed.member.id.0.clone(),
            worker,
            readiness: readiness(listed.member.state),
            keys: inquiry.keys.iter().map(|(key, _)| member_key(key.id(), &claims, &testimony)).collect(),
        });
        observations.push(Observation {
            member: index,
            kind: listed.kind,
            readiness: readiness(listed.member.state),
            started_after_settle: since,
            claims,
        });
    }
    Showing { listed, observations, status, residual: testimony.residual, sent: testimony.sent }
}

/// What follows from having started after the configuration was there for everybody (P1), or from a rollout that is over (P0).
/// It never overrules an answer, and fills in where nobody gave one.
fn infer(claims: &mut Vec<Claim>, gate: &Gate, statements: &[evidence::Statement], level: EvidenceLevel) {
    let accepts = gate.accepts.iter().map(|key| (*key, Ability::Accepts, Answer::Yes));
    let rejects = gate.rejects.iter().map(|key| (*key, Ability::Accepts, Answer::No));
    let mints = gate.mints.iter().map(|key| (*key, Ability::Mints, Answer::Yes));
    for (key, ability, answer) in accepts.chain(rejects).chain(mints) {
        let answered = statements.iter().any(|statement| {
            statement.key == key
                && ability_of(statement.subject) == ability
                && statement.answer != evidence::Answer::Unknown
        });
        if !answered {
            claims.retain(|claim| (claim.key, claim.ability) != (key, ability));
            claims.push(Claim { key, ability, answer, level });
        }
    }
}

fn ability_of(subject: Subject) -> Ability {
    match subject {
        Subject::Accepts => Ability::Accepts,
        Subject::Mints => Ability::Mints,
    }
}

/// In the same instant it may have read what stood there just before.
pub(crate) fn started_since(member: &Member, at: Option<Millis>) -> Answer {
    match (member.started_at, at) {
        (Some(started), Some(at)) if millis(started) > at => Answer::Yes,
        (Some(_), Some(_)) => Answer::No,
        (None, _) | (_, None) => Answer::Unknown,
    }
}

fn readiness(state: MemberState) -> Readiness {
    match state {
        MemberState::Ready => Readiness::Ready,
        MemberState::Terminating => Readiness::Terminating,
        MemberState::Unready | MemberState::Down => Readiness::Unready,
    }
}

fn member_key(key: KeyId, claims: &[Claim], testimony: &Testimony) -> MemberKey {
    let answer = |ability| {
        claims
            .iter()
            .find(|claim| claim.key == key && claim.ability == ability)
            .map_or(Answer::Unknown, |claim| claim.answer)
    };
    let mut detail: Vec<&str> = testimony
        .statements
        .iter()
        .filter(|statement| statement.key == key)
        .map(|statement| statement.detail.as_str())
        .collect();
    detail.dedup();
    MemberKey { key, accepts: answer(Ability::Accepts), mints: answer(Ability::Mints), detail: detail.join("; ") }
}

fn millis_u64(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// How many others' logins are tried on each member of a large fleet: few enough for a thousand members.
const REPLAYED: usize = 3;

/// Up to so many members, each login is tried on every other member.
const REPLAYED_ON_ALL: usize = 16;

/// What a gate asks of a member, with the bytes of the keys that are in memory.
pub(crate) fn inquiry<'a>(
    engine: &'a Engine,
    materials: &'a crate::world::Materials,
    decoy: &'a Key,
    gate: &'a Gate,
    read_since: Option<ReadSince<'a>>,
    draining: Option<KeyId>,
) -> Inquiry<'a> {
    let asked: BTreeSet<_> = gate.accepts.iter().chain(&gate.rejects).chain(&gate.mints).copied().collect();
    let with_fingerprint = |id: KeyId| materials.get(id).map(|key| (key, engine.assembly.fingerprints.of(key.parts())));
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
        rollout: None,
        refused_replays: Some(gate),
        concurrency: engine.assembly.policy.concurrency,
        consumers: &engine.assembly.consumers,
    }
}

/// Ids of keys that no ring has: one that calibration sends to be rejected, and the decoy of every question.
pub(crate) const RANDOM: KeyId = KeyId(u32::MAX - 1);
pub(crate) const DECOY: KeyId = KeyId(u32::MAX);

#[cfg(test)]
mod tests {
    use keyroll_adapters::evidence::{Level, Statement};

    use super::*;

    fn said(answer: evidence::Answer, level: Level) -> Statement {
        Statement { key: KeyId(1), subject: Subject::Accepts, answer, level, detail: String::new() }
    }

    #[test]
    fn every_login_is_tried_elsewhere_and_everybody_tries_the_logins_of_others() {
        for members in [1_usize, 2, 3, 16, 17, 1_000] {
            let minter = |place: usize| {
                let minter = MemberId(place.to_string());
                vec![Arc::new(CapturedSession { token: keyroll_keyring::Secret::from_text("t"), key: None, minter })]
            };
            let captured: Vec<_> = (0..members).map(minter).collect();
            let tried = replayed_on_each(&captured);
            let others = if members > REPLAYED_ON_ALL { REPLAYED } else { members - 1 };
            let mut times = BTreeMap::new();
            for (place, sessions) in tried.iter().enumerate() {
                assert_eq!(sessions.len(), others, "{members} members");
                assert!(sessions.iter().all(|session| session.minter.0 != place.to_string()), "not its own");
                for session in sessions {
                    *times.entry(session.minter.0.clone()).or_insert(0) += 1;
                }
            }
            assert!(members == 1 || (times.len() == members && times.values().all(|times| *times == others)));
        }
    }

    #[test]
    fn contradicting_witnesses_are_unknown_in_every_order() {
        use evidence::Answer::{No, Unknown, Yes};
        for order in [[Yes, No, Yes], [No, Yes, Yes], [Yes, Yes, No], [Unknown, Yes, No]] {
            let statements: Vec<_> = order.into_iter().map(|answer| said(answer, Level::P3)).collect();
            let claims = combine(&statements);
            assert_eq!(claims.len(), 1);
            assert_eq!(claims[0].answer, Answer::Unknown, "{order:?}");
        }
    }

    #[test]
    fn a_witness_that_knows_nothing_does_not_weaken_one_that_does() {
        let claims = combine(&[said(evidence::Answer::Unknown, Level::P3), said(evidence::Answer::Yes, Level::P2)]);
        assert_eq!((claims[0].answer, claims[0].level), (Answer::Yes, EvidenceLevel::P2));
        let claims = combine(&[said(evidence::Answer::Yes, Level::P2), said(evidence::Answer::Yes, Level::P3)]);
        assert_eq!((claims[0].answer, claims[0].level), (Answer::Yes, EvidenceLevel::P3));
    }

    #[test]
    fn what_is_inferred_never_overrules_what_was_shown() {
        let gate = Gate {
            name: keyroll_rotation::gate::GateName::G1,
            accepts: [KeyId(1)].into(),
            rejects: BTreeSet::new(),
            mints: None,
        };
        let silent = [said(evidence::Answer::Unknown, Level::P3)];
        let mut claims = combine(&silent);
        infer(&mut claims, &gate, &silent, EvidenceLevel::P1);
        assert_eq!((claims[0].answer, claims[0].level), (Answer::Yes, EvidenceLevel::P1));
        let torn = [said(evidence::Answer::Yes, Level::P2), said(evidence::Answer::No, Level::P3)];
        let mut claims = combine(&torn);
        infer(&mut claims, &gate, &torn, EvidenceLevel::P1);
        assert_eq!(claims[0].answer, Answer::Unknown);
    }
}
