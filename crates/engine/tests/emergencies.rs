//! What a revocation must not do in silence: promote a key that was named as leaked, keep one that the leaked store held, be left with
//! nobody, or be taken for one that was done before.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keyroll_engine::{
    CompleteRequest, Compromised, Engine, ExitKind, ReloadRequest, RotateRequest, Standby, StoreLeak, UnlockRequest,
    Why,
};
use keyroll_rotation::{Mode, Stage};
use support::{FIRST_KEY, Fate, Killed, Listening, World, fate, folder, revoke, until};

/// An engine whose policy leaves a candidate for the next rotation.
fn with_standby(world: &Arc<World>, dir: &Path) -> Engine {
    let mut assembly = world.assembly();
    assembly.policy.standby = Standby::Keep;
    world.engine_of(assembly, dir, "ada", "here")
}

#[tokio::test(start_paused = true)]
async fn where_both_keys_leaked_no_standby_is_promoted() {
    let dir = folder();
    let world = World::new(2);
    let engine = || with_standby(&world, dir.path());
    engine().rotate(RotateRequest::default()).await.unwrap();
    let standby = world.field("SECRET_KEY_BASE_ACCEPT").expect("it is accepted already");
    engine().revoke(revoke(Mode::Accelerated, Compromised::Both)).await.unwrap_err();
    assert!(!world.minting().contains(&standby), "there is a leaked key that is accepted and does not mint");
    let outcome = engine().revoke(revoke(Mode::HardCutover, Compromised::Both)).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert!(!world.accepted_somewhere(&standby), "both -> a fresh key");
}

#[tokio::test(start_paused = true)]
async fn a_revocation_says_what_it_did_also_where_a_standby_follows_it() {
    let dir = folder();
    let world = World::new(2);
    let engine = || with_standby(&world, dir.path());
    let outcome = engine().revoke(revoke(Mode::HardCutover, Compromised::Old)).await.unwrap();
    assert!(outcome.summary.contains("k1 is dead: 2 of 2 members"), "{outcome:?}");
    assert!(outcome.summary.contains("k2 is in use"), "{outcome:?}");
    assert!(outcome.announcement.is_some() && outcome.rejected.len() == 1, "{outcome:?}");
    assert_eq!(world.stamp()["standby"], 3);
}

#[tokio::test(start_paused = true)]
async fn where_the_store_leaked_no_key_that_waits_in_it_is_spared() {
    for under_way in [None, Some(Stage::Accepting), Some(Stage::Promoting)] {
        let dir = folder();
        let world = World::new(2);
        let engine = || world.engine(dir.path());
        engine().rotate(RotateRequest::default()).await.unwrap();
        if let Some(stage) = under_way {
            engine().rotate(until(stage)).await.unwrap();
        }
        assert_eq!(world.hidden().1, 1, "the first key is in escrow");
        let mut request = revoke(Mode::HardCutover, Compromised::Old);
        request.store = StoreLeak::Possible;
        let outcome = engine().revoke(request).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "{under_way:?}: {outcome:?}");
        assert_eq!(world.stamp()["ledger"]["keys"][0]["state"], "compromised", "{under_way:?}");
        assert_eq!(world.hidden(), (0, 0), "{under_way:?}: it is destroyed at once");
        engine().complete(CompleteRequest::default()).await.unwrap_err();
    }
}

async fn wait(span: u64) {
    tokio::time::sleep(Duration::from_millis(span)).await;
}

/// Somebody on another machine.
fn elsewhere(world: &Arc<World>, dir: &Path) -> Engine {
    world.engine_of(world.assembly(), dir, "grace", "there")
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_the_process_with_the_lock_never_hears_is_carried_out_by_whoever_asked() {
    let (here, there) = (folder(), folder());
    let world = World::new(2);
    world.set_warm_up(Duration::from_secs(10));
    wait(20_000).await;
    // It reloads one member and drives nothing.
    let engine = world.engine(here.path());
    let reloading =
        tokio::spawn(async move { engine.reload(ReloadRequest::Member("web-0".into()), Why::default()).await });
    wait(3_000).await;
    assert_eq!(world.stamp()["lock"]["operation"], "reload");
    let outcome = elsewhere(&world, there.path()).revoke(revoke(Mode::HardCutover, Compromised::Old)).await.unwrap();
    assert_eq!(reloading.await.unwrap().unwrap().exit, ExitKind::Done);
    assert!(outcome.exit == ExitKind::Done && outcome.summary.contains("k1 is dead"), "{outcome:?}");
    assert!(!world.accepted_somewhere(FIRST_KEY.as_bytes()));
    assert_eq!(world.stamp()["requests"], serde_json::json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_revocation_is_taken_up_by_the_process_that_drives_before_it_is_called_so() {
    let (here, there) = (folder(), folder());
    let world = World::new(2);
    let engine = world.engine(here.path());
    let driving = tokio::spawn(async move { engine.rotate(RotateRequest::default()).await });
    wait(30_000).await;
    assert_eq!(world.stamp()["open"]["machine"]["stage"], "draining");
    let outcome = elsewhere(&world, there.path()).revoke(revoke(Mode::HardCutover, Compromised::Old)).await.unwrap();
    assert!(outcome.exit == ExitKind::Done && outcome.summary.contains("has taken it up"), "{outcome:?}");
    assert!(!world.stamp()["open"]["revoked"].is_null());
    let outcome = driving.await.unwrap().unwrap();
    assert!(outcome.exit == ExitKind::Done && outcome.summary.contains("k1 is dead"), "{outcome:?}");
    assert!(!world.accepted_somewhere(FIRST_KEY.as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn a_revocation_left_for_a_dead_process_of_another_machine_is_not_called_done() {
    let (here, there) = (folder(), folder());
    let world = World::new(2);
    world.engine(here.path()).rotate(until(Stage::Accepting)).await.unwrap();
    let id = world.stamp()["open"]["id"].as_str().unwrap().to_owned();
    world.edit_stamp(|stamp| {
        stamp["lock"] = serde_json::json!({
            "holder": "ada", "host": "gone", "bootId": "x", "pid": 1, "pidStart": 1, "operation": "rotate",
            "since": "2026-11-21T00:00:00Z", "rotation": id, "epoch": stamp["epoch"],
        });
    });
    let ask = || async { elsewhere(&world, there.path()).revoke(revoke(Mode::HardCutover, Compromised::Old)).await };
    let outcome = ask().await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Locked, "{outcome:?}");
    assert!(outcome.summary.starts_with("nothing was revoked yet"), "{outcome:?}");
    assert_eq!(outcome.next.as_deref(), Some(format!("keyroll unlock --id {id}").as_str()));
    assert!(world.accepted_somewhere(FIRST_KEY.as_bytes()));
    let unlock = UnlockRequest { id: keyroll_rotation::RotationId(id), why: Why::default() };
    elsewhere(&world, there.path()).unlock(unlock).await.unwrap();
    let outcome = ask().await.unwrap();
    assert!(outcome.exit == ExitKind::Done && outcome.summary.contains("k1 is dead"), "{outcome:?}");
    assert!(!world.accepted_somewhere(FIRST_KEY.as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_died_behind_its_end_says_that_it_was_done_and_that_another_leak_is_another_one() {
    let dir = folder();
    let world = World::new(2);
    let ask = || revoke(Mode::HardCutover, Compromised::Old);
    let engine = world.meanwhile(dir.path(), "-/before release lock", |_| std::panic::panic_any(Killed("end".into())));
    assert!(matches!(fate(async move { engine.revoke(ask()).await }).await, Fate::Killed(_)));
    let day = world.stamp()["last"]["closedAt"].as_str().unwrap()[..10].to_owned();
    wait(3 * 24 * 3_600_000).await;
    let listening = Arc::new(Listening::default());
    let engine = world.engine(dir.path()).with_observer(Arc::clone(&listening) as Arc<dyn keyroll_engine::Observer>);
    let outcome = engine.revoke(ask()).await.unwrap();
    assert_eq!((outcome.exit, world.candidates()), (ExitKind::Done, 1), "it is the same one: {outcome:?}");
    assert!(outcome.summary.contains("k2 is in use"), "{outcome:?}");
    assert!(outcome.announcement.as_ref().unwrap().starts_with(&format!("On {day}")), "it was then: {outcome:?}");
    let said = listening.0.lock().unwrap().join("\n");
    assert!(said.contains("had been carried out") && said.contains("ask once more"), "{said}");
    let outcome = world.engine(dir.path()).revoke(ask()).await.unwrap();
    assert!(outcome.summary.contains("k2 is dead") && outcome.summary.contains("k3 is in use"), "{outcome:?}");
}
