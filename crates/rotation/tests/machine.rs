//! The machine, driven by hand: what it asks for in each stage, what it refuses, and what it says while it waits.
//!
//! The random schedules and the model find what nobody thought of; here stands what somebody did.

use std::collections::BTreeSet;

use keyroll_keyring::KeyId;
use keyroll_rotation::gate::{
    Ability, Answer, Claim, ConsumerCount, Declared, EvidenceLevel, EvidenceRule, Gate, MemberKind, Observation,
    Readiness, Sweep,
};
use keyroll_rotation::{
    Applied, Attempt, Candidate, DrainObservation, DrainRule, Effect, Event, Halt, Illegal, MemberIndex, Millis, Mode,
    Next, Opening, ReloadNeed, ReloadScope, Revocation, Rotation, Settings, Stage, Step, WorldConfiguration,
};

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

fn opened_times(opened: u64, from: Millis, until: Millis) -> DrainObservation {
    DrainObservation::Counter { from, until, opened, coverage_permille: 1000, window_at_least: Millis(0) }
}

/// Carries out whatever is asked, in a world that obeys, until `stop` or the end. Returns the writes.
fn drive(
    rotation: &mut Rotation,
    now: &mut Millis,
    mut stop: impl FnMut(&Rotation) -> bool,
) -> Vec<WorldConfiguration> {
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
                Effect::ObserveDrain { since, .. } => {
                    Event::DrainObserved { observation: opened_times(0, since, *now), now: *now }
                }
                Effect::Close { .. } => Event::Closed { now: *now },
                Effect::Destroy { .. } => Event::Destroyed,
                Effect::DiscardCandidate { .. } => Event::CandidateDiscarded,
                other => panic!("unknown effect {other:?}"),
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

fn at(mode: Mode, stage: Stage) -> (Rotation, Millis) {
    let mut rotation = opened(mode);
    let mut now = Millis(0);
    drive(&mut rotation, &mut now, |rotation| rotation.stage == stage);
    assert_eq!(rotation.stage, stage);
    (rotation, now)
}

fn after(rotation: &Rotation, event: &Event) -> Rotation {
    rotation.apply(event).unwrap().rotation
}

fn invariant(result: Result<Applied, Illegal>) -> &'static str {
    match result.unwrap_err() {
        Illegal::Invariant { invariant, .. } => invariant,
        Illegal::OutOfPlace { .. } => "out of place",
        other => panic!("{other}"),
    }
}

fn revocation(mode: Mode, compromised: &[KeyId]) -> Event {
    Event::Revoked(Revocation { mode, compromised: compromised.iter().copied().collect(), fresh: KeyId(3) })
}

#[test]
fn a_gate_that_was_passed_more_than_a_minute_ago_is_asked_again_before_the_write() {
    let (rotation, now) = at(Mode::Staged, Stage::Promoting);
    assert!(matches!(rotation.next(now.after(Millis(60_000))), Next::Do(Effect::Write { .. })));
    let late = now.after(Millis(60_001));
    let Next::Do(Effect::Sweep { gate }) = rotation.next(late) else { panic!("{:?}", rotation.next(late)) };
    assert_eq!((gate.name, gate.mints), (keyroll_rotation::gate::GateName::G1, None));
    let again = after(&rotation, &Event::Swept(obedient(&gate, late)));
    assert!(matches!(again.next(late), Next::Do(Effect::Write { .. })));
}

#[test]
fn a_gate_is_not_asked_before_settle_and_says_how_long_it_takes() {
    let (mut rotation, mut now) = at(Mode::Staged, Stage::Accepting);
    drive(&mut rotation, &mut now, |rotation| rotation.step == Step::Gate);
    let wait = rotation.why(now);
    assert_eq!(wait.again_at, Some(now.after(Millis(5_000))));
    assert!(matches!(wait.naysayers[..], [keyroll_rotation::Naysayer::Time { .. }]), "{wait:?}");
    let gate = rotation.gate().unwrap();
    let early = after(&rotation, &Event::Swept(obedient(&gate, now)));
    assert_eq!((early.stage, &early.step), (Stage::Accepting, &Step::Gate));
}

#[test]
fn a_laggard_is_reloaded_as_often_as_allowed_and_then_a_person_is_asked() {
    let (mut rotation, mut now) = at(Mode::Staged, Stage::Accepting);
    drive(&mut rotation, &mut now, |rotation| rotation.step == Step::Gate);
    now = rotation.settle_over();
    let mut reloads = Vec::new();
    while rotation.halt.is_none() {
        let mut sweep = obedient(&rotation.gate().unwrap(), now);
        for claim in &mut sweep.observed[1].claims {
            claim.answer = if claim.key == NEW { Answer::No } else { claim.answer };
        }
        rotation = after(&rotation, &Event::Swept(sweep));
        if let Step::Reload { attempt, scope: ReloadScope::Laggards } = rotation.step {
            reloads.push(attempt);
            rotation = after(&rotation, &Event::Reloaded);
        }
    }
    assert_eq!(reloads, [Attempt(2), Attempt(3)]);
    assert_eq!(rotation.halt, Some(Halt::LaggardsRemain));
    assert!(matches!(rotation.next(now), Next::Wait(_)));
    let asked = after(&rotation, &Event::LaggardReloadRequested);
    assert_eq!(asked.step, Step::Reload { attempt: Attempt(4), scope: ReloadScope::Laggards });
}

#[test]
fn a_foreign_write_halts_and_only_the_expected_world_or_a_person_goes_on() {
    let (rotation, now) = at(Mode::Staged, Stage::Draining);
    let rotation = after(&rotation, &Event::Stamped { t0: now });
    let reverted = WorldConfiguration::new(OLD, []);
    let seen = |first: &WorldConfiguration| Event::WorldObserved {
        stores: vec![Some(first.clone()), Some(rotation.stores[1].clone())],
        at: now,
    };
    let halted = after(&rotation, &seen(&reverted));
    assert!(matches!(halted.halt, Some(Halt::ForeignWrite { .. })));
    assert_eq!(invariant(halted.apply(&Event::RollbackRequested)), "I12");
    assert_eq!(invariant(halted.apply(&Event::Resumed)), "out of place");
    // The world is as expected again: everything is proven again, and the drain starts anew.
    let back = after(&halted, &seen(&rotation.stores[0]));
    assert_eq!((back.halt.clone(), back.t0, back.stage), (None, None, Stage::Promoting));
    assert!(matches!(back.step, Step::Reload { scope: ReloadScope::All, .. }), "{:?}", back.step);
    // A third key is never adopted.
    let third = WorldConfiguration::new(OLD, [KeyId(9)]);
    let adopted = |store: WorldConfiguration| Event::ForeignWriteAdopted { stores: vec![store; 2], at: now };
    assert_eq!(invariant(halted.apply(&adopted(third))), "I12");
    let repaired = after(&halted, &adopted(reverted));
    assert_eq!((repaired.stage, repaired.promotion_attempted), (Stage::Accepting, true));
}

/// Somebody reverts both stores, and what the rotation expects is there again.
fn intruded(rotation: &Rotation, now: Millis) -> Rotation {
    let reverted = vec![Some(WorldConfiguration::new(OLD, [])); 2];
    let halted = after(rotation, &Event::WorldObserved { stores: reverted, at: now });
    assert!(matches!(halted.halt, Some(Halt::ForeignWrite { .. })), "{:?}", rotation.stage);
    let back = rotation.stores.iter().cloned().map(Some).collect();
    after(&halted, &Event::WorldObserved { stores: back, at: now })
}

#[test]
fn after_a_foreign_write_at_any_stage_every_member_is_reloaded_and_the_drain_begins_anew() {
    for stage in [Stage::Accepting, Stage::Promoting, Stage::Draining, Stage::Retiring, Stage::Closing, Stage::Escrow] {
        for step in [Step::Write, Step::Gate, Step::Act] {
            let mut rotation = opened(Mode::Staged);
            let mut now = Millis(0);
            drive(&mut rotation, &mut now, |rotation| rotation.stage == stage && rotation.step == step);
            let fresh = stage == Stage::Accepting && step == Step::Write;
            if (rotation.stage, &rotation.step) != (stage, &step) || fresh {
                continue;
            }
            let (t0, writes_done) = (rotation.t0, rotation.written_at.is_some());
            now = now.after(Millis(500));
            let mut rotation = intruded(&rotation, now);
            assert!(rotation.t0.is_none(), "{stage:?} {step:?}: {rotation:?}");
            let retired = !rotation.stores[0].accept.contains(&OLD);
            let mut reloads = Vec::new();
            let retrust = WorldConfiguration::new(NEW, [OLD]);
            let writes = drive(&mut rotation, &mut now, |rotation| {
                if let Step::Reload { scope, .. } = rotation.step {
                    reloads.push((rotation.stage, scope));
                }
                rotation.stage == Stage::Escrow
            });
            assert!(writes_done && reloads.contains(&(Stage::Promoting, ReloadScope::All)), "{stage:?} {step:?}");
            assert!(!retired || writes.first() == Some(&retrust), "{stage:?} {step:?}: {writes:?}");
            assert!(rotation.t0 > t0, "{stage:?} {step:?}: the drain begins anew");
            assert_eq!(rotation.stores, vec![WorldConfiguration::new(NEW, []); 2]);
        }
    }
}

#[test]
fn a_cutover_is_proven_again_after_a_foreign_write_also_in_escrow() {
    for stage in [Stage::Closing, Stage::Escrow] {
        let (rotation, now) = at(Mode::Cutover, stage);
        let again = intruded(&rotation, now);
        assert_eq!(again.stage, Stage::CuttingOver);
        assert!(matches!(again.step, Step::Reload { scope: ReloadScope::All, .. }), "{:?}", again.step);
        assert_eq!(again.closed_at, rotation.closed_at, "escrow does not get longer");
    }
}

#[test]
fn a_key_that_leaked_is_not_trusted_again_because_of_a_foreign_write() {
    let (rotation, now) = at(Mode::Staged, Stage::Escrow);
    let leaked = after(&rotation, &revocation(Mode::HardCutover, &[OLD]));
    assert_eq!(leaked.stage, Stage::Escrow);
    let mut again = intruded(&leaked, now);
    assert_eq!((again.stage, again.gate().unwrap().rejects), (Stage::Retiring, [OLD].into()));
    let mut now = now;
    assert_eq!(drive(&mut again, &mut now, |_| false), Vec::new());
    assert_eq!(again.destroyed, [OLD].into());
}

#[test]
fn members_of_a_withdrawn_rotation_are_proven_again_without_a_session_under_the_key_that_is_gone() {
    let (rotation, mut now) = at(Mode::Staged, Stage::Accepting);
    let mut rotation = after(&rotation, &Event::RollbackRequested);
    drive(&mut rotation, &mut now, |rotation| rotation.stage == Stage::Closing);
    let leftover = vec![Some(WorldConfiguration::new(NEW, [])); 2];
    let halted = after(&rotation, &Event::WorldObserved { stores: leftover, at: now });
    let back = rotation.stores.iter().cloned().map(Some).collect();
    let mut again = after(&halted, &Event::WorldObserved { stores: back, at: now });
    assert!(matches!(again.step, Step::Reload { scope: ReloadScope::All, .. }), "{:?}", again.step);
    let gate = again.gate().unwrap();
    assert_eq!((gate.rejects, gate.mints), (BTreeSet::new(), Some(OLD)));
    drive(&mut again, &mut now, |_| false);
    assert_eq!(again.stage, Stage::Finished);
}

#[test]
fn a_neighbours_edit_in_escrow_does_not_begin_the_rotation_again() {
    let (rotation, now) = at(Mode::Staged, Stage::Escrow);
    assert_eq!(after(&rotation, &Event::Disturbed { at: now }), rotation);
    let (rotation, mut now) = at(Mode::Staged, Stage::Closing);
    let again = after(&rotation, &Event::Disturbed { at: now });
    assert_eq!((again.stage, again.t0), (Stage::Promoting, None), "before the end it does");
    // And once more, before the write that has the old key accepted again.
    let mut again = after(&again, &Event::Disturbed { at: now });
    assert!(matches!(again.next(now), Next::Do(Effect::Write { .. })), "{:?}", again.next(now));
    drive(&mut again, &mut now, |rotation| rotation.t0.is_some());
    assert_eq!(again.stores, vec![WorldConfiguration::new(NEW, [OLD]); 2]);
}

#[test]
fn there_is_no_way_back_onto_a_compromised_or_destroyed_key() {
    let mut leaked = opening(Mode::Accelerated);
    leaked.compromised = [OLD].into();
    let rotation = Rotation::open(leaked).unwrap();
    assert_eq!(invariant(rotation.apply(&Event::RollbackRequested)), "I5");
    let (mut rotation, mut now) = at(Mode::Staged, Stage::Escrow);
    drive(&mut rotation, &mut now, |_| false);
    assert_eq!(invariant(rotation.apply(&Event::RollbackRequested)), "I5");
}

#[test]
fn a_revocation_in_flight_leaves_the_sound_key_alone() {
    for (leaked, survivor) in [(vec![OLD], NEW), (vec![NEW], OLD), (vec![OLD, NEW], KeyId(3))] {
        let (rotation, mut now) = at(Mode::Staged, Stage::Draining);
        let mut rotation = after(&rotation, &revocation(Mode::HardCutover, &leaked));
        drive(&mut rotation, &mut now, |_| false);
        assert_eq!(rotation.stores, vec![WorldConfiguration::new(survivor, []); 2], "{leaked:?}");
        assert!(leaked.iter().all(|key| rotation.destroyed.contains(key)), "{leaked:?}");
    }
}

#[test]
fn an_accelerated_revocation_never_mints_the_new_key_beside_the_leaked_one() {
    let (rotation, mut now) = at(Mode::Staged, Stage::Accepting);
    let mut rotation = after(&rotation, &revocation(Mode::Accelerated, &[OLD]));
    for written in drive(&mut rotation, &mut now, |_| false) {
        assert!(written.active == OLD || !written.accept.contains(&OLD), "{written:?}");
    }
    assert_eq!(rotation.destroyed, [OLD].into());
}

#[test]
fn positive_evidence_past_the_limit_holds_until_a_person_accepts_that_many() {
    let mut opening = opening(Mode::Staged);
    opening.settings.drain = DrainRule::Counter;
    opening.settings.drain_limit = Some(Millis(30_000));
    let mut rotation = after(&Rotation::open(opening).unwrap(), &Event::PreflightPassed);
    let mut now = Millis(0);
    drive(&mut rotation, &mut now, |rotation| rotation.t0.is_some());
    let since = now;
    now = now.after(Millis(40_000));
    let observation = opened_times(7, since, now);
    rotation = after(&rotation, &Event::DrainObserved { observation, now });
    let wait = rotation.why(now);
    let human = wait.naysayers.iter().any(
        |naysayer| matches!(naysayer, keyroll_rotation::Naysayer::Human { decision } if decision.contains("were still opened 7 times") && decision.contains("the loss of up to 7 sessions")),
    );
    assert!(human, "{wait:?}");
    assert_eq!(after(&rotation, &Event::LossAccepted { sessions: 6 }).drained, None);
    assert!(after(&rotation, &Event::LossAccepted { sessions: 7 }).drained.is_some());
    let extended = after(&rotation, &Event::DrainExtended { by: Millis(60_000) }).why(now);
    assert!(!extended.naysayers.iter().any(|naysayer| matches!(naysayer, keyroll_rotation::Naysayer::Human { .. })));
}

#[test]
fn inconclusive_evidence_never_ends_a_drain_whatever_loss_is_accepted() {
    let mut opening = opening(Mode::Staged);
    opening.settings.drain = DrainRule::Counter;
    let mut rotation = after(&Rotation::open(opening).unwrap(), &Event::PreflightPassed);
    let mut now = Millis(0);
    drive(&mut rotation, &mut now, |rotation| rotation.t0.is_some());
    let from = now;
    now = now.after(Millis(40_000));
    let counter = |opened, coverage_permille, window_at_least| DrainObservation::Counter {
        from,
        until: now,
        opened,
        coverage_permille,
        window_at_least,
    };
    rotation = after(&rotation, &Event::LossAccepted { sessions: u64::MAX });
    for observation in [
        DrainObservation::Inconclusive { reason: "a counter was reset".into() },
        counter(0, 989, Millis(0)),
        counter(0, 1000, Millis(40_001)),
        counter(3, 989, Millis(0)),
        counter(3, 1000, Millis(40_001)),
        DrainObservation::Counter {
            from: Millis(from.0 - 1),
            until: now,
            opened: 3,
            coverage_permille: 1000,
            window_at_least: Millis(0),
        },
    ] {
        assert_eq!(after(&rotation, &Event::DrainObserved { observation, now }).drained, None);
    }
    let stale = counter(3, 1000, Millis(0));
    let late = now.after(Millis(300_001));
    assert_eq!(after(&rotation, &Event::DrainObserved { observation: stale, now: late }).drained, None);
    for opened in [0, 3] {
        let observation = counter(opened, 990, Millis(40_000));
        assert!(
            after(&rotation, &Event::DrainObserved { observation, now }).drained.is_some(),
            "a known loss, accepted"
        );
    }
}

#[test]
fn a_present_world_that_is_not_valid_opens_nothing_but_a_hard_cutover() {
    for (mode, opens) in [(Mode::Staged, false), (Mode::Cutover, false), (Mode::HardCutover, true)] {
        let mut differing = opening(mode);
        differing.stores[1] = WorldConfiguration::new(OLD, [KeyId(0)]);
        assert_eq!(Rotation::open(differing).is_ok(), opens, "{mode:?}");
    }
    let mut used = opening(Mode::Staged);
    used.incoming = KeyId(1);
    assert!(Rotation::open(used).is_err());
}

#[test]
fn an_unbounded_lifetime_demands_a_limit_and_a_share() {
    let mut unbounded = opening(Mode::Staged);
    unbounded.settings.max_lifetime = None;
    unbounded.settings.drain = DrainRule::Counter;
    assert!(Rotation::open(unbounded.clone()).is_err());
    unbounded.settings.drain_limit = Some(Millis(30_000));
    assert!(Rotation::open(unbounded.clone()).is_err());
    unbounded.settings.least_reissued_permille = Some(900);
    assert!(Rotation::open(unbounded).is_ok());
}

#[test]
fn a_paused_rotation_does_nothing_until_it_is_resumed() {
    let (rotation, now) = at(Mode::Staged, Stage::Promoting);
    let paused = after(&rotation, &Event::Paused);
    assert!(matches!(paused.next(now), Next::Wait(_)));
    assert_eq!(after(&paused, &Event::Resumed), rotation);
}

#[test]
fn a_rotation_reads_back_as_it_was_written_and_refuses_unknown_fields() {
    for stage in [Stage::Staged, Stage::Accepting, Stage::Draining, Stage::Retiring, Stage::Escrow] {
        let (rotation, _) = at(Mode::Staged, stage);
        let text = serde_json::to_string(&rotation).unwrap();
        assert_eq!(serde_json::from_str::<Rotation>(&text).unwrap(), rotation);
        let more = text.replacen('{', "{\"surprise\":1,", 1);
        assert!(serde_json::from_str::<Rotation>(&more).is_err());
    }
}

#[test]
fn a_rotation_that_wrote_nothing_can_be_given_up_in_sight_of_a_foreign_write() {
    let rotation = opened(Mode::Staged);
    let strange = Event::WorldObserved { stores: vec![None, None], at: Millis(1) };
    let halted = after(&rotation, &strange);
    assert!(matches!(halted.halt, Some(Halt::ForeignWrite { .. })));
    let mut given_up = after(&after(&halted, &Event::RollbackRequested), &strange);
    // It no longer knows what the stores hold, so no emergency can take it over.
    assert_eq!(invariant(given_up.apply(&revocation(Mode::HardCutover, &[OLD]))), "I12");
    let writes = drive(&mut given_up, &mut Millis(1), |_| false);
    assert_eq!((writes, given_up.stage), (Vec::new(), Stage::Finished));
}

#[test]
fn a_foreign_write_that_brings_a_leaked_candidate_back_is_not_adopted() {
    let rotation = after(&opened(Mode::Staged), &revocation(Mode::HardCutover, &[NEW]));
    let leaked = WorldConfiguration::new(NEW, []);
    let halted = after(&rotation, &Event::WorldObserved { stores: vec![Some(leaked.clone()); 2], at: Millis(1) });
    assert!(matches!(halted.halt, Some(Halt::ForeignWrite { .. })));
    let adopted = Event::ForeignWriteAdopted { stores: vec![leaked; 2], at: Millis(1) };
    assert_eq!(invariant(halted.apply(&adopted)), "I5");
}
