//! What goes wrong around a rotation: foreign hands, second operators, members that do not obey, stores that stammer.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use keyroll_adapters::Timestamp;
use keyroll_adapters::stores::{Document, Revision, SecretStore, StoreDescription, StoreError, Versioned};
use keyroll_engine::{
    Colour, CompleteRequest, EngineError, ExitKind, Overrides, Patience, RevokeRequest, RollbackRequest, RotateRequest,
    UnlockRequest, Why,
};
use keyroll_rotation::{RotationId, Stage};
use support::{FIRST_KEY, Faults, World, folder, until};
use tokio::task::JoinHandle;

async fn wait(span: u64) {
    tokio::time::sleep(Duration::from_millis(span)).await;
}

/// Makes the world stammer every so many milliseconds, until it is aborted.
fn again_and_again(world: &Arc<World>, every: u64, change: fn(&mut Faults)) -> JoinHandle<()> {
    let world = Arc::clone(world);
    tokio::spawn(async move {
        loop {
            wait(every).await;
            world.faults(change);
        }
    })
}

#[tokio::test(start_paused = true)]
async fn of_two_operators_one_goes_on_and_the_other_hears_its_name() {
    let (here, there) = (folder(), folder());
    let world = World::new(2);
    let ada = world.engine_of(world.assembly(), here.path(), "ada", "here");
    let grace = world.engine_of(world.assembly(), there.path(), "grace", "there");
    let (one, other) = tokio::join!(ada.rotate(RotateRequest::default()), grace.rotate(RotateRequest::default()));
    let (won, lost, name) = match (one, other) {
        (Ok(won), Err(lost)) => (won, lost, "ada"),
        (Err(lost), Ok(won)) => (won, lost, "grace"),
        both => panic!("{both:?}"),
    };
    assert_eq!(won.exit, ExitKind::Done);
    assert_eq!(lost.exit(), ExitKind::Locked);
    assert!(lost.to_string().contains(&format!("`{name}`")), "{lost}");
    assert_eq!(world.candidates(), 1);
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn whose_preflight_fails_because_another_has_begun_meanwhile_hears_the_other_s_name() {
    let (here, there) = (folder(), folder());
    let world = World::new(2);
    let ada = world.engine_of(world.assembly(), here.path(), "ada", "here");
    let mut assembly = world.assembly();
    let store = assembly.stores.remove(0);
    assembly.stores.push(Arc::new(Slow { store, looks: AtomicUsize::new(1), clocks: AtomicUsize::new(0) }));
    let grace = world.engine_of(assembly, there.path(), "grace", "there");
    let (lost, won) = tokio::join!(grace.rotate(RotateRequest::default()), ada.rotate(RotateRequest::default()));
    assert_eq!(won.unwrap().exit, ExitKind::Done);
    let error = lost.unwrap_err();
    assert!(matches!(&error, EngineError::Locked { holder } if holder.holder == "ada"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_answers_slowly_is_not_taken_for_a_clock_that_is_wrong() {
    let dir = folder();
    let world = World::new(2);
    let clock_found = async |slow_answers: usize| {
        let mut assembly = world.assembly();
        let store = assembly.stores.remove(0);
        let looks = AtomicUsize::new(usize::MAX);
        // The n-th answer from now on is quick.
        let clocks = AtomicUsize::new(slow_answers);
        assembly.stores.push(Arc::new(Slow { store, looks, clocks }));
        let report = world.engine_of(assembly, dir.path(), "ada", "here").preflight().await;
        report.checks.iter().find(|check| check.name == "clock.skew").expect("it is checked").colour
    };
    assert_eq!(clock_found(0).await, Colour::Green);
    assert_eq!(clock_found(2).await, Colour::Green, "the third answer tells enough");
    assert_eq!(clock_found(9).await, Colour::Unknown);
}

/// A store whose answers take their time: looks after the first `looks`, and the first `clocks` questions for the time.
struct Slow {
    store: Arc<dyn SecretStore>,
    looks: AtomicUsize,
    clocks: AtomicUsize,
}

/// Counts down; whether there was anything left.
fn taken(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl SecretStore for Slow {
    fn describe(&self) -> StoreDescription {
        self.store.describe()
    }

    async fn read(&self) -> Result<Versioned, StoreError> {
        if !taken(&self.looks) {
            wait(5_000).await;
        }
        self.store.read().await
    }

    async fn write(&self, document: &Document, expect: &Revision) -> Result<Revision, StoreError> {
        self.store.write(document, expect).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        let at = self.store.now().await;
        if taken(&self.clocks) {
            wait(45_000).await;
        }
        at
    }

    async fn sweep(&self) -> Result<Vec<String>, StoreError> {
        self.store.sweep().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_process_on_the_same_host_is_told_who_drives() {
    let dir = folder();
    let world = World::new(2);
    let engine = world.engine(dir.path());
    let driving = tokio::spawn(async move { engine.rotate(RotateRequest::default()).await });
    wait(20_000).await;
    let error = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap_err();
    assert!(matches!(&error, EngineError::Locked { holder } if holder.holder == "ada"), "{error:?}");
    assert_eq!(driving.await.unwrap().unwrap().exit, ExitKind::Done);
}

#[tokio::test(start_paused = true)]
async fn pause_and_rollback_from_elsewhere_are_taken_between_two_effects() {
    let (here, there) = (folder(), folder());
    let world = World::new(2);
    let engine = world.engine(here.path());
    let driving = tokio::spawn(async move { engine.rotate(RotateRequest::default()).await });
    wait(30_000).await;
    let elsewhere = world.engine_of(world.assembly(), there.path(), "grace", "there");
    let left = elsewhere.pause(Why::default()).await.unwrap();
    assert_eq!(left.exit, ExitKind::Done);
    let outcome = driving.await.unwrap().unwrap();
    assert_eq!(outcome.exit, ExitKind::HumanMustDecide, "{outcome:?}");
    // Nobody drives now, so the next word is carried out where it is said.
    assert_eq!(elsewhere.resume(Why::default()).await.unwrap().exit, ExitKind::Done);
    let engine = world.engine(here.path());
    let driving = tokio::spawn(async move { engine.rotate(RotateRequest::default()).await });
    wait(5_000).await;
    assert_eq!(elsewhere.rollback(RollbackRequest::default()).await.unwrap().exit, ExitKind::Done);
    let outcome = driving.await.unwrap().unwrap();
    assert_eq!(outcome.exit, ExitKind::RolledBack, "{outcome:?}");
    assert_eq!(world.minting(), [FIRST_KEY.as_bytes().to_vec()].into());
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_request_does_not_hide_who_wrote_to_the_store_before_it() {
    for touched in [false, true] {
        let (here, there) = (folder(), folder());
        let world = World::new(2);
        let engine = world.engine(here.path());
        let driving = tokio::spawn(async move { engine.rotate(RotateRequest::default()).await });
        wait(30_000).await;
        assert!(world.stamp()["open"]["machine"]["t0"].is_u64());
        // Both between two looks of the driver: a change and its undoing, and a request.
        if touched {
            world.touch();
        }
        let elsewhere = world.engine_of(world.assembly(), there.path(), "grace", "there");
        assert_eq!(elsewhere.pause(Why::default()).await.unwrap().exit, ExitKind::Done);
        let outcome = driving.await.unwrap().unwrap();
        assert_eq!(outcome.exit, ExitKind::HumanMustDecide, "{outcome:?}");
        let journal = std::fs::read_to_string(here.path().join("journal.jsonl")).unwrap();
        assert_eq!(journal.contains(r#""kind":"rebased""#), touched);
        assert_eq!(world.stamp()["open"]["machine"]["t0"].is_null(), touched, "the drain begins anew");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_of_another_host_stands_until_a_person_unlocks_it_by_its_id() {
    let (here, there) = (folder(), folder());
    let world = World::new(2);
    world.engine(here.path()).rotate(until(Stage::Accepting)).await.unwrap();
    let id = world.stamp()["open"]["id"].as_str().unwrap().to_owned();
    world.edit_stamp(|stamp| {
        stamp["lock"] = serde_json::json!({
            "holder": "grace", "host": "elsewhere", "bootId": "x", "pid": 1, "pidStart": 1, "operation": "rotate",
            "since": "2026-11-21T00:00:00Z", "rotation": id, "epoch": stamp["epoch"],
        });
    });
    let engine = world.engine_of(world.assembly(), there.path(), "ada", "here");
    let error = engine.rotate(RotateRequest::default()).await.unwrap_err();
    assert!(matches!(&error, EngineError::Locked { holder } if holder.holder == "grace"), "{error:?}");
    let wrong = UnlockRequest { id: RotationId("r-WRONG".into()), why: Why::default() };
    assert!(matches!(engine.unlock(wrong).await, Err(EngineError::RefusedBecause { .. })));
    let right = UnlockRequest { id: RotationId(id), why: Why::default() };
    assert_eq!(engine.unlock(right).await.unwrap().exit, ExitKind::Done);
    assert_eq!(engine.rotate(RotateRequest::default()).await.unwrap().exit, ExitKind::Done);
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_stale_operator_stops_when_another_has_taken_over() {
    let (here, there) = (folder(), folder());
    let world = World::new(2);
    let engine = world.engine(here.path());
    let driving = tokio::spawn(async move { engine.rotate(RotateRequest::default()).await });
    wait(30_000).await;
    let id = RotationId(world.stamp()["open"]["id"].as_str().unwrap().to_owned());
    let grace = world.engine_of(world.assembly(), there.path(), "grace", "there");
    grace.unlock(UnlockRequest { id, why: Why::default() }).await.unwrap();
    let error = driving.await.unwrap().unwrap_err();
    assert!(matches!(error, EngineError::Superseded { .. }), "{error:?}");
    assert_eq!(grace.rotate(RotateRequest::default()).await.unwrap().exit, ExitKind::Done);
    assert_eq!(world.candidates(), 1);
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_foreign_write_halts_the_rotation_and_is_shown_and_its_undoing_lets_it_go_on() {
    let dir = folder();
    let world = World::new(2);
    world.engine(dir.path()).rotate(until(Stage::Promoting)).await.unwrap();
    let before = world.field("SECRET_KEY_BASE").unwrap();
    world.foreign_write("SECRET_KEY_BASE", Some(&"e7".repeat(64)));
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Drift, "{outcome:?}");
    assert_eq!(world.field("SECRET_KEY_BASE").unwrap(), "e7".repeat(64).as_bytes(), "nothing was mended in silence");
    world.foreign_write("SECRET_KEY_BASE", Some(std::str::from_utf8(&before).unwrap()));
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_foreign_write_can_be_overwritten_by_name() {
    let dir = folder();
    let world = World::new(2);
    world.engine(dir.path()).rotate(until(Stage::Promoting)).await.unwrap();
    world.foreign_write("SECRET_KEY_BASE_ACCEPT", None);
    world.foreign_write("SECRET_KEY_BASE", Some(FIRST_KEY));
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Drift, "{outcome:?}");
    let outcome = world.engine(dir.path()).overwrite_foreign_write(Why::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.candidates(), 1, "the candidate was still hidden in the store");
    assert_eq!(world.lost(), Vec::<String>::new());
}

/// In each stage: somebody reverts the key, a member starts and mints under what it found, and the revert is overwritten.
#[tokio::test(start_paused = true)]
async fn after_an_overwritten_revert_every_member_is_proven_again_and_what_was_minted_meanwhile_is_drained() {
    for stage in [Stage::Draining, Stage::Retiring, Stage::Closing] {
        let dir = folder();
        let world = World::new(2);
        // Behind `Closing` lies escrow.
        world.engine(dir.path()).rotate(until(stage)).await.unwrap();
        let before = world.stamp()["open"]["machine"]["t0"].as_u64();
        let (active, accept) = (world.field("SECRET_KEY_BASE").unwrap(), world.field("SECRET_KEY_BASE_ACCEPT"));
        // In escrow the new key's bytes are nowhere else; who overwrites those leaves nothing to put back.
        let kept = std::str::from_utf8(&active).unwrap().to_owned();
        world.foreign_write("SECRET_KEY_BASE_ACCEPT", (stage == Stage::Closing).then_some(kept.as_str()));
        world.foreign_write("SECRET_KEY_BASE", Some(FIRST_KEY));
        let outcome = world.engine(dir.path()).complete(CompleteRequest::default()).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Drift, "{stage:?}: {outcome:?}");
        world.restart("web-1");
        // What the two mint now, each rejects of the other: that is the foreign write's own loss.
        let outcome = world.engine(dir.path()).overwrite_foreign_write(Why::default()).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "{stage:?}: {outcome:?}");
        assert!(outcome.summary.contains("drains from the beginning"), "{stage:?}: {outcome:?}");
        assert_eq!(world.field("SECRET_KEY_BASE").unwrap(), active);
        assert_eq!(world.field("SECRET_KEY_BASE_ACCEPT"), accept);
        let restarts = world.restarts();
        let outcome = world.engine(dir.path()).rotate(until(Stage::Promoting)).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Waiting, "{stage:?}: {outcome:?}");
        assert!(world.restarts() > restarts, "{stage:?}: who had read the revert was reloaded");
        assert_eq!(world.minting(), [active].into(), "{stage:?}");
        assert!(
            world.accepted_everywhere(FIRST_KEY.as_bytes()),
            "{stage:?}: what was minted under it is still accepted"
        );
        let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "{stage:?}: {outcome:?}");
        assert!(world.stamp()["open"]["machine"]["t0"].as_u64() > before, "{stage:?}: the drain began anew");
        assert!(!world.accepted_somewhere(FIRST_KEY.as_bytes()), "{stage:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_t0_becomes_now_which_is_late_and_safe() {
    let (here, there) = (folder(), folder());
    let world = World::new(2);
    let request = RotateRequest { patience: Patience::For(Duration::from_secs(40)), ..RotateRequest::default() };
    let outcome = world.engine(here.path()).rotate(request).await.unwrap();
    assert_eq!(outcome.stage, Some(Stage::Draining), "{outcome:?}");
    let before = world.stamp()["open"]["machine"]["t0"].as_u64().unwrap();
    world.edit_stamp(|stamp| stamp["open"]["machine"]["t0"] = serde_json::Value::Null);
    let elsewhere = world.engine_of(world.assembly(), there.path(), "grace", "there");
    let request = RotateRequest { patience: Patience::For(Duration::from_secs(5)), ..RotateRequest::default() };
    elsewhere.rotate(request).await.unwrap();
    let after = world.stamp()["open"]["machine"]["t0"].as_u64().unwrap();
    assert!(after > before + 30_000, "{before} {after}");
    assert_eq!(elsewhere.rotate(RotateRequest::default()).await.unwrap().exit, ExitKind::Done);
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_neighbour_that_is_edited_during_the_drain_is_recorded_and_the_drain_begins_anew() {
    let dir = folder();
    let world = World::new(2);
    let engine = world.engine(dir.path());
    let driving = tokio::spawn(async move { engine.rotate(RotateRequest::default()).await });
    wait(40_000).await;
    let before = world.stamp()["open"]["machine"]["t0"].as_u64().unwrap();
    world.touch();
    wait(20_000).await;
    let after = world.stamp()["open"]["machine"]["t0"].as_u64().unwrap();
    assert!(after > before, "{before} {after}");
    assert_eq!(driving.await.unwrap().unwrap().exit, ExitKind::Done);
    let journal = std::fs::read_to_string(dir.path().join("journal.jsonl")).unwrap();
    assert!(journal.contains("rebased"));
}

#[tokio::test(start_paused = true)]
async fn a_newer_stamp_is_refused_and_an_unreadable_one_is_an_error() {
    let dir = folder();
    let world = World::new(2);
    world.engine(dir.path()).rotate(until(Stage::Accepting)).await.unwrap();
    let good = world.stamp();
    world.edit_stamp(|stamp| stamp["format"] = 99.into());
    let error = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap_err();
    assert!(error.to_string().contains("newer keyroll"), "{error}");
    world.edit_stamp(|stamp| *stamp = serde_json::json!({"format": 1}));
    assert!(matches!(world.engine(dir.path()).rotate(RotateRequest::default()).await, Err(EngineError::Stamp { .. })));
    world.edit_stamp(|stamp| *stamp = good);
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_come_back_stops_the_roll_before_the_next_one() {
    let dir = folder();
    let world = World::new(3);
    world.faults(|faults| faults.does_not_come_back = Some("web-1".into()));
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::HumanMustDecide, "{outcome:?}");
    assert_eq!(world.restarts(), 2, "web-2 was left alone");
    world.faults(|faults| faults.does_not_come_back = None);
    world.restart("web-1");
    world.engine(dir.path()).resume(Why::default()).await.unwrap();
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn members_that_boot_from_an_older_version_are_reloaded_again_when_settle_has_passed() {
    let dir = folder();
    let world = World::new(2);
    world.set_stale(Duration::from_millis(1_500));
    world.set_warm_up(Duration::from_millis(700));
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert!(world.restarts() > 6, "somebody had to be reloaded again: {}", world.restarts());
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn churn_and_foreign_restarts_do_not_starve_a_gate() {
    let dir = folder();
    let world = World::new(3);
    let churn = {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            for round in 0.. {
                wait(1_300).await;
                world.scale_up(&format!("extra-{round}"));
                world.restart("web-0");
                if round > 1 {
                    world.scale_down(&format!("extra-{}", round - 2));
                }
            }
        })
    };
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    churn.abort();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn lost_answers_and_short_outages_are_lived_through() {
    let dir = folder();
    let world = World::new(2);
    let stammer = again_and_again(&world, 9_000, |faults| {
        faults.lose_answers = 1;
        faults.unavailable = 3;
    });
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    stammer.abort();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.candidates(), 1);
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_can_not_be_listed_for_a_moment_does_not_end_a_rotation() {
    let dir = folder();
    let world = World::new(2);
    let stammer = again_and_again(&world, 7_000, |faults| faults.unlistable = 3);
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await;
    stammer.abort();
    assert_eq!(outcome.unwrap().exit, ExitKind::Done);
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn members_that_never_obey_end_in_a_question_to_a_person_that_names_them() {
    let dir = folder();
    let world = World::new(2);
    world.faults(|faults| {
        faults.stuck.insert("web-1".into());
    });
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::HumanMustDecide, "{outcome:?}");
    assert_eq!(world.minting(), [FIRST_KEY.as_bytes().to_vec()].into(), "nobody was promoted");
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn preflight_fails_where_the_probe_proves_nothing_and_nothing_is_written() {
    let dir = folder();
    let world = World::new(2);
    let mut assembly = world.assembly();
    assembly.witnesses.clear();
    let error =
        world.engine_of(assembly, dir.path(), "ada", "here").rotate(RotateRequest::default()).await.unwrap_err();
    assert_eq!(error.exit(), ExitKind::PreflightFailed, "{error:?}");
    assert!(world.stamps().is_empty());
    let empty = World::new(0);
    let error = empty.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap_err();
    assert_eq!(error.exit(), ExitKind::PreflightFailed, "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn complete_and_revoke_without_anything_open_say_so_or_begin() {
    let dir = folder();
    let world = World::new(1);
    let request = CompleteRequest { patience: Patience::None, overrides: Overrides::default(), why: Why::default() };
    assert!(matches!(world.engine(dir.path()).complete(request).await, Err(EngineError::NothingOpen { .. })));
    let request = RevokeRequest {
        mode: keyroll_rotation::Mode::HardCutover,
        compromised: keyroll_engine::Compromised::Old,
        store: keyroll_engine::StoreLeak::Possible,
        patience: Patience::Forever,
        overrides: Overrides::default(),
        why: Why::default(),
    };
    assert_eq!(world.engine(dir.path()).revoke(request).await.unwrap().exit, ExitKind::Done);
}
