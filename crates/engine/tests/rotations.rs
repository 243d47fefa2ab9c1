//! Whole rotations over an application in memory, with users who notice every logout.

mod support;

use std::sync::Arc;
use std::time::Duration;

use keyroll_engine::journal::audit::{self, AuditVerdict};
use keyroll_engine::journal::{JOURNAL_FILE, JournalReader};
use keyroll_engine::{
    Colour, CompleteRequest, Compromised, Engine, EngineError, ExitKind, Outcome, Patience, RollbackRequest,
    RotateRequest, Standby, interrupt,
};
use keyroll_rotation::{DrainRule, Mode, Stage};
use support::{FIRST_KEY, LIFETIME, Listening, SimCounters, World, folder, revoke, until};

fn no_patience() -> RotateRequest {
    RotateRequest { patience: Patience::None, ..RotateRequest::default() }
}

async fn wait(span: u64) {
    tokio::time::sleep(Duration::from_millis(span)).await;
}

fn first() -> Vec<u8> {
    FIRST_KEY.as_bytes().to_vec()
}

#[tokio::test(start_paused = true)]
async fn a_staged_rotation_replaces_the_key_and_loses_nobody() {
    let dir = folder();
    let world = World::new(3);
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.lost(), Vec::<String>::new());
    assert_eq!(world.candidates(), 1);
    assert!(!world.accepted_somewhere(FIRST_KEY.as_bytes()));
    assert_eq!(world.minting().len(), 1);
    assert_eq!(world.restarts(), 9, "three rolls of three members, and nobody twice");
    assert_eq!(world.hidden(), (0, 1), "no candidate is left, and the old key is in escrow");
}

#[tokio::test(start_paused = true)]
async fn the_escrowed_key_is_destroyed_when_its_time_has_come_and_not_before() {
    let dir = folder();
    let world = World::new(1);
    world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    world.engine(dir.path()).complete(CompleteRequest::default()).await.unwrap();
    assert_eq!(world.hidden(), (0, 1));
    wait(3_600_000).await;
    let outcome = world.engine(dir.path()).complete(CompleteRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done);
    assert_eq!(world.hidden(), (0, 0));
    let error = world.engine(dir.path()).rollback(RollbackRequest::default()).await.unwrap_err();
    assert!(matches!(error, EngineError::NothingOpen { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_second_rotation_follows_the_first_and_ids_only_grow() {
    let dir = folder();
    let world = World::new(2);
    for round in 1..=3_u32 {
        let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
        let status = world.engine(dir.path()).status().await.unwrap();
        assert_eq!(status.stores[0].active.unwrap().0, round + 1);
    }
    assert_eq!(world.lost(), Vec::<String>::new());
    assert_eq!(world.candidates(), 3);
    wait(3_700_000).await;
    world.engine(dir.path()).complete(CompleteRequest::default()).await.unwrap();
    assert_eq!(world.hidden(), (0, 0), "every escrow has ended");
}

#[tokio::test(start_paused = true)]
async fn two_stores_move_in_step() {
    let dir = folder();
    let world = World::with_stores(2, 2);
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.lost(), Vec::<String>::new());
    let status = world.engine(dir.path()).status().await.unwrap();
    assert_eq!(status.stores.len(), 2);
    assert_eq!(status.stores[0].active, status.stores[1].active);
}

#[tokio::test(start_paused = true)]
async fn a_drain_by_counters_ends_when_nobody_uses_the_old_key_any_more() {
    let dir = folder();
    let world = World::new(2);
    let mut assembly = world.assembly();
    assembly.policy.settings.drain = DrainRule::Counter;
    assembly.policy.drain_window = Duration::from_secs(5);
    assembly.policy.drain_interval = Duration::from_secs(2);
    assembly.drain = Some(Arc::new(SimCounters { world: Arc::clone(&world) }));
    let outcome = world.engine_of(assembly, dir.path(), "ada", "here").rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn wait_none_returns_with_the_time_to_come_back_and_complete_goes_on() {
    let dir = folder();
    let world = World::new(2);
    let mut returns = 0;
    let mut outcome = world.engine(dir.path()).rotate(no_patience()).await.unwrap();
    while outcome.exit == ExitKind::Waiting {
        returns += 1;
        assert!(returns < 50, "{outcome:?}");
        let wait_report = outcome.wait.unwrap();
        assert!(!wait_report.naysayers.is_empty());
        assert!(wait_report.come_back_at.is_some(), "{wait_report:?}");
        assert!(world.stamp()["lock"].is_null(), "nobody holds the lock while nobody drives");
        wait(20_000).await;
        world.browse();
        let request = CompleteRequest { patience: Patience::None, ..CompleteRequest::default() };
        outcome = world.engine(dir.path()).complete(request).await.unwrap();
    }
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert!(returns >= 4, "settle three times and the drain: {returns}");
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn until_stops_behind_the_stage_and_another_machine_goes_on_without_local_files() {
    let (here, there) = (folder(), folder());
    let world = World::new(2);
    let outcome = world.engine(here.path()).rotate(until(Stage::Accepting)).await.unwrap();
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::Waiting, Some(Stage::Promoting)), "{outcome:?}");
    assert_eq!(world.minting(), [first()].into(), "nobody mints under the new key yet");
    let outcome = world
        .engine_of(world.assembly(), there.path(), "grace", "there")
        .rotate(RotateRequest::default())
        .await
        .unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.candidates(), 1);
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_rollback_from_every_stage_ends_on_the_old_key_and_loses_nobody() {
    for stage in [Stage::Staged, Stage::Accepting, Stage::Promoting, Stage::Draining, Stage::Retiring] {
        let dir = folder();
        let world = World::new(2);
        world.engine(dir.path()).rotate(until(stage)).await.unwrap();
        let outcome = world.engine(dir.path()).rollback(RollbackRequest::default()).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "from {stage:?}: {outcome:?}");
        assert_eq!(world.field("SECRET_KEY_BASE"), Some(first()), "from {stage:?}");
        assert_eq!(world.minting(), [first()].into(), "from {stage:?}");
        assert_eq!(world.lost(), Vec::<String>::new(), "from {stage:?}");
        assert_eq!(world.hidden().0, 0, "from {stage:?}: no candidate is left");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_during_escrow_trusts_the_old_key_again_before_it_mints() {
    let dir = folder();
    let world = World::new(2);
    world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    let outcome = world.engine(dir.path()).rollback(RollbackRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.minting(), [first()].into());
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_cutover_ends_sessions_and_its_rollback_ends_the_others() {
    let dir = folder();
    let world = World::new(2);
    world.browse();
    world.forgive();
    let request = RotateRequest { mode: Some(Mode::Cutover), ..RotateRequest::default() };
    let outcome = world.engine(dir.path()).rotate(request).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert!(!world.accepted_somewhere(FIRST_KEY.as_bytes()));
    assert!(!world.lost().is_empty(), "sessions that were minted during the roll end too");
    let outcome = world.engine(dir.path()).rollback(RollbackRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.minting(), [first()].into());
}

#[tokio::test(start_paused = true)]
async fn a_leaked_key_that_no_store_accepts_any_more_is_named_beforehand() {
    let dir = folder();
    let world = World::new(2);
    world.engine(dir.path()).rotate(until(Stage::Retiring)).await.unwrap();
    let affected = world.engine(dir.path()).affected(&revoke(Mode::HardCutover, Compromised::Old)).await.unwrap();
    assert!(affected.sessions.is_empty());
    let said = affected.clients_notice;
    assert!(said.contains("no store accepts k1,") && !said.contains("  "), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_is_dead_on_every_member_and_destroyed_and_never_rolled_back_onto() {
    for mode in [Mode::Accelerated, Mode::HardCutover] {
        let dir = folder();
        let world = World::new(2);
        let outcome = world.engine(dir.path()).revoke(revoke(mode, Compromised::Old)).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "{mode:?}: {outcome:?}");
        assert!(outcome.announcement.is_some());
        assert!(!world.accepted_somewhere(FIRST_KEY.as_bytes()), "{mode:?}");
        assert_eq!(world.hidden(), (0, 0), "{mode:?}: a compromised key is not kept");
        assert!(world.engine(dir.path()).rollback(RollbackRequest::default()).await.is_err(), "{mode:?}");
        // It is remembered for ever: bringing it back by hand is seen.
        world.foreign_write("SECRET_KEY_BASE", Some(FIRST_KEY));
        world.restart("web-0");
        world.restart("web-1");
        let error = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap_err();
        assert!(matches!(error, EngineError::Refused(_) | EngineError::Preflight { .. }), "{mode:?}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_supersedes_a_rotation_in_flight_whichever_key_leaked() {
    for (stage, leak) in [
        (Stage::Accepting, Compromised::Old),
        (Stage::Accepting, Compromised::New),
        (Stage::Promoting, Compromised::New),
        (Stage::Promoting, Compromised::Both),
    ] {
        let dir = folder();
        let world = World::new(2);
        world.engine(dir.path()).rotate(until(stage)).await.unwrap();
        let outcome = world.engine(dir.path()).revoke(revoke(Mode::HardCutover, leak)).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "{stage:?} {leak:?}: {outcome:?}");
        let old_lives = world.accepted_somewhere(FIRST_KEY.as_bytes());
        assert_eq!(old_lives, leak == Compromised::New, "{stage:?} {leak:?}");
        let told = outcome.announcement.unwrap();
        assert_eq!(told.contains("everybody else stays logged in"), old_lives, "{stage:?} {leak:?}: {told}");
        assert_eq!(world.minting().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_standby_makes_an_emergency_one_write_long() {
    let dir = folder();
    let world = World::new(2);
    let assembly = || {
        let mut assembly = world.assembly();
        assembly.policy.standby = Standby::Keep;
        assembly
    };
    let engine = || world.engine_of(assembly(), dir.path(), "ada", "here");
    let outcome = engine().rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.candidates(), 2, "the new key and the one behind it");
    let (restarts, known) = (world.restarts(), world.every_key());
    let outcome = engine().revoke(revoke(Mode::Accelerated, Compromised::Old)).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert!(world.minting().is_subset(&known), "the emergency waited for no new key");
    assert_eq!(world.restarts() - restarts, 4, "one roll, and one for the next standby behind it");
    assert_eq!(world.candidates(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_is_possible_while_a_standby_stands_behind_the_new_key() {
    let dir = folder();
    let world = World::new(2);
    let mut assembly = world.assembly();
    assembly.policy.standby = Standby::Keep;
    world.engine_of(assembly, dir.path(), "ada", "here").rotate(RotateRequest::default()).await.unwrap();
    let outcome = world.engine(dir.path()).rollback(RollbackRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.minting(), [first()].into());
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_leaves_a_rotation_that_the_same_command_resumes() {
    let dir = folder();
    let world = World::new(2);
    let (sender, interrupt) = interrupt();
    let engine = world.engine(dir.path()).with_interrupt(interrupt);
    let driving = tokio::spawn(async move { engine.rotate(RotateRequest::default()).await });
    wait(LIFETIME / 2).await;
    sender.interrupt();
    let outcome = driving.await.unwrap().unwrap();
    assert_eq!((outcome.exit, outcome.next.as_deref()), (ExitKind::Interrupted, Some("keyroll rotate")));
    assert!(world.stamp()["lock"].is_null());
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done);
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_was_made_for_another_world_is_refused_with_the_difference() {
    let dir = folder();
    let world = World::new(2);
    let plan = world.engine(dir.path()).plan(Mode::Staged).await.unwrap();
    assert!(plan.steps.iter().any(|step| step.stage == "draining" && step.at_least_ms >= LIFETIME));
    let copy = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(plan, copy);
    world.scale_up("web-9");
    let again = world.engine(dir.path()).plan(Mode::Staged).await.unwrap();
    assert_eq!(plan.world_hash, again.world_hash, "a scale-up does not make a plan stale");
    world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    let request = RotateRequest { plan: Some(plan), ..RotateRequest::default() };
    match world.engine(dir.path()).rotate(request).await.unwrap_err() {
        EngineError::StalePlan { difference } => {
            assert!(difference.contains("- store 0: active k1"), "{difference}");
            assert!(difference.contains("+ store 0: active k2"), "{difference}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_goes_on_with_the_rotation_that_it_was_made_for_and_with_no_other() {
    let dir = folder();
    let world = World::new(2);
    let plan = world.engine(dir.path()).plan(Mode::Staged).await.unwrap();
    let by_plan = || RotateRequest { plan: Some(plan.clone()), ..RotateRequest::default() };
    let stopped = world
        .engine(dir.path())
        .rotate(RotateRequest { plan: Some(plan.clone()), ..until(Stage::Accepting) })
        .await
        .unwrap();
    assert_eq!(stopped.exit, ExitKind::Waiting);
    let outcome = world.engine(dir.path()).rotate(by_plan()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "it is the plan of the rotation that was open");

    world.engine(dir.path()).rotate(until(Stage::Accepting)).await.unwrap();
    let before = world.stamps();
    let refused = world.engine(dir.path()).rotate(by_plan()).await.unwrap_err();
    assert_eq!(refused.exit(), ExitKind::Drift);
    match refused {
        EngineError::PlanOfAnother { stage, world, .. } => {
            assert_eq!(stage, "promoting");
            assert!(world.contains("- store 0: active k1"), "{world}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.stamps(), before, "nothing was written");
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done);
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn who_watches_the_driver_is_shown_the_keys_that_status_shows() {
    let dir = folder();
    let world = World::new(2);
    world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    world.engine(dir.path()).rotate(until(Stage::Accepting)).await.unwrap();
    let text = std::fs::read_to_string(dir.path().join("status.json")).unwrap();
    let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    let asked = serde_json::to_value(world.engine(dir.path()).status().await.unwrap()).unwrap();
    assert_eq!(shown["keys"], asked["keys"]);
    assert_eq!(shown["keys"].as_array().unwrap().len(), 3);
    assert!(shown["keys"][2]["destroyAfter"].is_string(), "k1 waits in escrow: {shown}");
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_recorded_or_shown_holds_a_key() {
    let dir = folder();
    let world = World::new(2);
    let listening = Arc::new(Listening::default());
    let engine = || world.engine(dir.path()).with_observer(Arc::clone(&listening) as Arc<dyn keyroll_engine::Observer>);
    let mut shown = Vec::new();
    let mut keep = |outcome: Result<Outcome, EngineError>| shown.push(format!("{outcome:?}"));
    keep(engine().rotate(until(Stage::Promoting)).await);
    keep(engine().rollback(RollbackRequest::default()).await);
    keep(engine().rotate(RotateRequest::default()).await);
    keep(engine().revoke(revoke(Mode::HardCutover, Compromised::Old)).await);
    shown.push(format!("{:?}", engine().verify().await));
    shown.push(serde_json::to_string(&engine().status().await.unwrap()).unwrap());
    shown.push(serde_json::to_string(&engine().preflight().await).unwrap());
    shown.extend(listening.0.lock().unwrap().iter().cloned());
    shown.extend(world.stamps().into_iter().map(|stamp| String::from_utf8(stamp).unwrap()));
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        shown.push(String::from_utf8_lossy(&std::fs::read(entry.unwrap().path()).unwrap()).into_owned());
    }
    let keys = world.every_key();
    assert!(keys.len() >= 4);
    for key in keys {
        for window in key.windows(8) {
            let window = std::str::from_utf8(window).unwrap();
            let hex: String = window.bytes().map(|byte| format!("{byte:02x}")).collect();
            for text in &shown {
                assert!(!text.contains(window) && !text.contains(&hex), "a piece of a key is in: {text}");
            }
        }
    }
}

/// An engine's commands run on a server's tasks.
#[tokio::test(start_paused = true)]
async fn verify_is_green_after_a_rotation_and_names_the_member_that_is_not_right() {
    let dir = folder();
    let world = World::new(3);
    let engine: Engine = world.engine(dir.path());
    engine.rotate(RotateRequest::default()).await.unwrap();
    let report = engine.verify().await.unwrap();
    assert!(report.passed(), "{report:?}");
    world.foreign_write("SECRET_KEY_BASE", Some(&"d1".repeat(64)));
    world.restart("web-1");
    let report = engine.verify().await.unwrap();
    assert!(!report.passed(), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn verify_looks_at_every_store_and_not_only_at_the_first() {
    let dir = folder();
    let world = World::with_stores(2, 2);
    let engine: Engine = world.engine(dir.path());
    engine.rotate(RotateRequest::default()).await.unwrap();
    let report = engine.verify().await.unwrap();
    assert!(report.passed(), "{report:?}");
    world.foreign_write_to(1, "SECRET_KEY_BASE_ACCEPT", Some(FIRST_KEY));
    let report = engine.verify().await.unwrap();
    let red: Vec<_> =
        report.checks.iter().filter(|check| check.colour == Colour::Red).map(|check| &check.name).collect();
    assert_eq!(red, ["keys.record", "keys.equal"], "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn the_stores_vouch_for_the_record_and_notice_when_its_end_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(2);
    assert_eq!(world.engine(dir.path()).anchors().await.unwrap(), [], "no stamp was written yet");
    world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    let anchors = world.engine(dir.path()).anchors().await.unwrap();
    assert!(!anchors.is_empty());
    let verdict = || audit::verify(&JournalReader::open(dir.path()).unwrap(), &anchors).verdict();
    assert_eq!(verdict(), AuditVerdict::Anchored);
    // The chain of what is left is whole, so only the anchor can tell.
    let journal = dir.path().join(JOURNAL_FILE);
    let text = std::fs::read_to_string(&journal).unwrap();
    let kept: String = text.lines().take(3).map(|line| format!("{line}\n")).collect();
    std::fs::write(&journal, kept).unwrap();
    assert_eq!(verdict(), AuditVerdict::Broken);
}
