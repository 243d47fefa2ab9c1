//! Keys that come back: from a backup, by a tool that puts a file back, by hand. Nothing in the fields alone tells a good one from
//! one that must never be used again; the record does.

mod support;

use std::sync::Arc;
use std::time::Duration;

use keyroll_engine::{Colour, CompleteRequest, Compromised, EngineError, ExitKind, Reach, RotateRequest, Status, Why};
use keyroll_rotation::{Mode, Stage};
use support::{FIRST_KEY, World, folder, revoke, until};

async fn wait(span: u64) {
    tokio::time::sleep(Duration::from_millis(span)).await;
}

fn put_back(world: &World, fields: &[(&str, Option<&str>)]) {
    for (field, value) in fields {
        world.foreign_write(field, *value);
    }
    world.forgive();
    for member in ["web-0", "web-1"] {
        world.restart(member);
    }
}

/// How the first key ends before it comes back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Compromised,
    Destroyed,
}

async fn end(world: &Arc<World>, dir: &std::path::Path, end: End) {
    match end {
        End::Compromised => {
            world.engine(dir).revoke(revoke(Mode::HardCutover, Compromised::Old)).await.unwrap();
        }
        End::Destroyed => {
            world.engine(dir).rotate(RotateRequest::default()).await.unwrap();
            wait(3_600_000).await;
            world.engine(dir).complete(CompleteRequest::default()).await.unwrap();
        }
    }
    assert_eq!(world.hidden(), (0, 0));
    let state = world.stamp()["ledger"]["keys"][0]["state"].clone();
    assert_eq!(state, if end == End::Destroyed { "destroyed" } else { "compromised" });
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_ended_and_comes_back_is_called_healthy_by_nobody_and_can_be_got_rid_of() {
    for how in [End::Compromised, End::Destroyed] {
        let dir = folder();
        let world = World::new(2);
        let engine = || world.engine(dir.path());
        end(&world, dir.path(), how).await;
        assert!(engine().preflight().await.passed() && engine().verify().await.unwrap().passed());
        put_back(&world, &[("SECRET_KEY_BASE", Some(FIRST_KEY))]);

        let preflight = engine().preflight().await;
        let red = |check: &&keyroll_engine::Check| check.name == "keys.ended" && check.colour == Colour::Red;
        let check = preflight.checks.iter().find(red).unwrap_or_else(|| panic!("{how:?}: {preflight:?}"));
        assert!(check.fix.as_deref().unwrap().contains("revoke --mode hard-cutover"), "{check:?}");
        let verify = engine().verify().await.unwrap();
        assert!(verify.checks.iter().any(|check| red(&check)), "{how:?}: {verify:?}");
        let accepted =
            |check: &keyroll_engine::Check| check.colour == Colour::Red && check.found.contains("accepts k1");
        assert!(verify.checks.iter().any(accepted), "{how:?}: the members do what nobody may: {verify:?}");
        let status = engine().status().await.unwrap();
        let problem = status.stores[0].problem.as_deref().unwrap_or_else(|| panic!("{how:?}: {status:?}"));
        assert!(problem.contains("k1 is") && problem.contains("revoke"), "{problem}");

        let error = engine().rotate(RotateRequest::default()).await.unwrap_err();
        assert_eq!(error.exit(), ExitKind::PreflightFailed, "{how:?}: {error:?}");
        assert_eq!(world.field("SECRET_KEY_BASE").unwrap(), FIRST_KEY.as_bytes());

        let outcome = engine().revoke(revoke(Mode::HardCutover, Compromised::Old)).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "{how:?}: {outcome:?}");
        assert!(!world.accepted_somewhere(FIRST_KEY.as_bytes()));
        assert_eq!(
            world.stamp()["ledger"]["keys"][0]["state"],
            "compromised",
            "{how:?}: in whose hands it was is not known"
        );
        assert!(engine().preflight().await.passed() && engine().verify().await.unwrap().passed(), "{how:?}");
        assert_eq!(engine().status().await.unwrap().stores[0].problem, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_ended_and_is_only_accepted_again_is_found_too_and_the_fields_can_be_put_back() {
    for how in [End::Compromised, End::Destroyed] {
        let dir = folder();
        let world = World::new(2);
        let engine = || world.engine(dir.path());
        end(&world, dir.path(), how).await;
        put_back(&world, &[("SECRET_KEY_BASE_ACCEPT", Some(FIRST_KEY))]);
        assert!(!engine().preflight().await.passed() && !engine().verify().await.unwrap().passed(), "{how:?}");
        assert!(engine().status().await.unwrap().stores[0].problem.is_some(), "{how:?}");
        engine().rotate(RotateRequest::default()).await.unwrap_err();
        put_back(&world, &[("SECRET_KEY_BASE_ACCEPT", None)]);
        let outcome = engine().rotate(RotateRequest::default()).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "{how:?}: {outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_back_behind_preflight_is_not_rotated_from_either() {
    for how in [End::Compromised, End::Destroyed] {
        let dir = folder();
        let world = World::new(2);
        end(&world, dir.path(), how).await;
        let engine = world.meanwhile(dir.path(), "-/after take lock", |world| {
            put_back(world, &[("SECRET_KEY_BASE", Some(FIRST_KEY))]);
        });
        let error = engine.rotate(RotateRequest::default()).await.unwrap_err();
        assert!(matches!(&error, EngineError::Preflight { .. } | EngineError::RefusedBecause { .. }), "{error:?}");
        assert!(world.stamp()["open"].is_null() && world.stamp()["lock"].is_null());
        assert_eq!(world.field("SECRET_KEY_BASE").unwrap(), FIRST_KEY.as_bytes());
    }
}

/// Rotated once, the first key in escrow; then somebody puts the old file back, and the members read it.
async fn reverted_in_escrow(world: &Arc<World>, dir: &std::path::Path) -> Vec<u8> {
    world.engine(dir).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(world.stamp()["open"]["machine"]["stage"], "escrow");
    let good = world.field("SECRET_KEY_BASE").unwrap();
    put_back(world, &[("SECRET_KEY_BASE", Some(FIRST_KEY))]);
    good
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_put_back_during_the_escrow_is_seen_by_everybody_who_looks() {
    let dir = folder();
    let world = World::new(2);
    let engine = || world.engine(dir.path());
    reverted_in_escrow(&world, dir.path()).await;
    let before = world.stamp();
    let status = engine().status().await.unwrap();
    let halt = status.rotation.as_ref().unwrap().halt.as_deref().expect("seen before any driver runs");
    assert!(halt.contains("k2 active") && halt.contains("k1 active"), "{halt}");
    assert!(status.stores[0].problem.as_deref().unwrap().contains("should have k2 active"), "{status:?}");
    let says = |wait: &keyroll_engine::WaitReport| wait.naysayers[0].text.contains("should have k2 active");
    assert!(says(status.wait.as_ref().unwrap()), "{status:?}");
    assert!(says(&engine().explain().await.unwrap().unwrap()));
    let verify = engine().verify().await.unwrap();
    assert!(verify.checks.iter().any(|check| check.name == "keys.record" && check.colour == Colour::Red), "{verify:?}");
    let preflight = engine().preflight().await;
    assert_eq!(preflight.exit(), ExitKind::Drift, "{preflight:?}");
    assert_eq!(world.stamp(), before, "looking changes nothing");
}

#[tokio::test(start_paused = true)]
async fn no_rotation_begins_over_a_foreign_write_in_escrow() {
    let dir = folder();
    let world = World::new(2);
    let engine = || world.engine(dir.path());
    reverted_in_escrow(&world, dir.path()).await;
    let open = world.stamp()["open"]["id"].clone();
    for _ in 0..2 {
        let outcome = engine().rotate(RotateRequest::default()).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Drift, "{outcome:?}");
        assert_eq!(world.stamp()["open"]["id"], open, "the rotation in escrow is still the one that is open");
        assert!(world.stamp()["lock"].is_null());
    }
    let journal = std::fs::read_to_string(dir.path().join("journal.jsonl")).unwrap();
    assert_eq!(journal.matches(r#""kind":"halted""#).count(), 1, "it is in the record, once");
    assert_eq!((world.candidates(), world.hidden()), (1, (0, 1)));
    // The bytes of k2 were nowhere else: overwriting takes somebody's copy, and until then nothing is changed.
    let refused = engine().overwrite_foreign_write(Why::default()).await.unwrap_err();
    assert_eq!(refused.exit(), ExitKind::HumanMustDecide, "{refused:?}");
    assert_eq!(
        (world.stamp()["open"]["id"].clone(), world.field("SECRET_KEY_BASE").unwrap()),
        (open, FIRST_KEY.into())
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_put_right_by_hand_in_escrow_is_proven_again_before_anything_else_begins() {
    let dir = folder();
    let world = World::new(2);
    let engine = || world.engine(dir.path());
    let good = reverted_in_escrow(&world, dir.path()).await;
    let open = world.stamp()["open"]["id"].clone();
    assert_eq!(engine().rotate(RotateRequest::default()).await.unwrap().exit, ExitKind::Drift);
    world.foreign_write("SECRET_KEY_BASE", Some(std::str::from_utf8(&good).unwrap()));
    // "Old" would be another key now.
    let error = engine().revoke(revoke(Mode::HardCutover, Compromised::Old)).await.unwrap_err();
    assert_eq!(error.exit(), ExitKind::HumanMustDecide, "{error:?}");
    assert!(world.stamp()["lock"].is_null());
    let outcome = engine().rotate(RotateRequest::default()).await.unwrap();
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::Done, Some(Stage::Escrow)), "{outcome:?}");
    assert_eq!((world.stamp()["open"]["id"].clone(), world.minting()), (open.clone(), [good].into()));
    // Then the next one begins.
    engine().rotate(RotateRequest::default()).await.unwrap();
    assert_ne!(world.stamp()["open"]["id"], open);
}

/// A strong key that nobody here has seen.
const STRANGE: &str = "5f1d7a0c93e84b26af5d3c7719e2b8046c0de91f83a75b42d6907e31cf58a2b4907b3e6d2f81c5a40e96d7b3281fc5a49d0e7b63f2c8154aae0d96b7c1f38254";

#[tokio::test(start_paused = true)]
async fn what_somebody_wrote_in_escrow_and_nobody_can_undo_is_what_the_next_rotation_begins_from() {
    for written in [FIRST_KEY, STRANGE] {
        let dir = folder();
        let world = World::new(2);
        let engine = || world.engine(dir.path());
        engine().rotate(RotateRequest::default()).await.unwrap();
        put_back(&world, &[("SECRET_KEY_BASE", Some(written))]);
        // It is shown before anybody can decide about it, and the decision is offered.
        let error = engine().adopt_foreign_write(Why::default()).await;
        assert_eq!(error.unwrap().exit, ExitKind::Drift);
        let shown = engine().rotate(RotateRequest::default()).await.unwrap();
        let said = shown.wait.unwrap().naysayers[0].text.clone();
        assert!(said.contains("--adopt-foreign-write` ends this closed rotation"), "{said}");
        let explained = engine().explain().await.unwrap().unwrap();
        assert!(explained.naysayers[0].text.contains("ends this closed rotation"), "{explained:?}");
        let outcome = engine().adopt_foreign_write(Why::default()).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
        assert_eq!(world.hidden(), (0, 1), "the key in escrow stays until its time");
        assert!(engine().verify().await.unwrap().passed());
        let outcome = engine().rotate(RotateRequest::default()).await.unwrap();
        assert_eq!((outcome.exit, outcome.stage), (ExitKind::Done, Some(Stage::Escrow)), "{outcome:?}");
        assert_eq!(world.lost(), Vec::<String>::new(), "nobody who logged in since is logged out");
        wait(3_600_000).await;
        engine().complete(CompleteRequest::default()).await.unwrap();
        assert_eq!(world.hidden(), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_must_not_return_is_not_taken_for_what_the_store_holds() {
    let dir = folder();
    let world = World::new(2);
    let engine = || world.engine(dir.path());
    end(&world, dir.path(), End::Compromised).await;
    engine().rotate(RotateRequest::default()).await.unwrap();
    put_back(&world, &[("SECRET_KEY_BASE", Some(FIRST_KEY))]);
    let shown = engine().rotate(RotateRequest::default()).await.unwrap();
    let said = shown.wait.unwrap().naysayers[0].text.clone();
    assert!(!said.contains("--adopt-foreign-write"), "{said}");
    engine().adopt_foreign_write(Why::default()).await.unwrap_err();
    assert_eq!(world.stamp()["open"]["machine"]["stage"], "escrow");
}

#[tokio::test(start_paused = true)]
async fn an_emergency_does_not_wait_for_a_foreign_write_in_escrow_and_it_is_recorded_all_the_same() {
    let dir = folder();
    let world = World::new(2);
    reverted_in_escrow(&world, dir.path()).await;
    let outcome = world.engine(dir.path()).revoke(revoke(Mode::HardCutover, Compromised::Old)).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert!(!world.accepted_somewhere(FIRST_KEY.as_bytes()));
    let journal = std::fs::read_to_string(dir.path().join("journal.jsonl")).unwrap();
    assert!(journal.contains(r#""kind":"halted""#));
}

#[tokio::test(start_paused = true)]
async fn a_foreign_write_of_known_keys_is_seen_before_a_driver_runs() {
    let dir = folder();
    let world = World::new(2);
    let engine = || world.engine(dir.path());
    engine().rotate(until(Stage::Promoting)).await.unwrap();
    assert_eq!(engine().status().await.unwrap().stores[0].problem, None);
    world.foreign_write("SECRET_KEY_BASE_ACCEPT", None);
    let status = engine().status().await.unwrap();
    assert!(status.stores[0].problem.is_some() && status.rotation.unwrap().halt.is_some());
    let explained = engine().explain().await.unwrap().unwrap();
    assert!(explained.naysayers[0].text.contains("written by somebody else"), "{explained:?}");
    assert!(engine().verify().await.unwrap().checks.iter().any(|check| check.name == "keys.record"));
    assert_eq!(engine().preflight().await.exit(), ExitKind::Drift);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_a_finished_rotation_left_in_escrow_is_named_with_its_time_and_destroyed_then() {
    let dir = folder();
    let world = World::new(2);
    let engine = || world.engine(dir.path());
    engine().rotate(RotateRequest::default()).await.unwrap();
    engine().revoke(revoke(Mode::HardCutover, Compromised::Old)).await.unwrap();
    assert!(world.stamp()["open"].is_null());
    assert_eq!(world.hidden(), (0, 1), "the key before the one that leaked is still kept");
    assert_eq!(reach(&engine().status().await.unwrap(), 1), Reach::StoreOnly);
    let before = world.stamp();
    let outcome = engine().complete(CompleteRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Waiting, "{outcome:?}");
    let wait_report = outcome.wait.unwrap();
    assert!(wait_report.naysayers[0].text.starts_with("k1 "), "{wait_report:?}");
    assert!(wait_report.naysayers[0].until.is_some() && wait_report.come_back_at == wait_report.naysayers[0].until);
    assert_eq!(world.stamp(), before, "nothing was touched");
    wait(3_600_000).await;
    let outcome = engine().complete(CompleteRequest::default()).await.unwrap();
    assert_eq!((outcome.exit, world.hidden()), (ExitKind::Done, (0, 0)), "{outcome:?}");
    assert_eq!(world.stamp()["ledger"]["keys"][0]["state"], "destroyed");
    assert_eq!(reach(&engine().status().await.unwrap(), 2), Reach::Gone);
    let error = engine().complete(CompleteRequest::default()).await.unwrap_err();
    assert!(matches!(error, EngineError::NothingOpen { .. }), "{error:?}");
}

fn reach(status: &Status, id: u32) -> Reach {
    status.keys.iter().find(|key| key.id.0 == id).unwrap().reach
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_in_no_store_is_not_shown_as_hidden_in_one() {
    let dir = folder();
    let world = World::new(2);
    reverted_in_escrow(&world, dir.path()).await;
    world.engine(dir.path()).revoke(revoke(Mode::HardCutover, Compromised::Old)).await.unwrap();
    let status = world.engine(dir.path()).status().await.unwrap();
    assert_eq!(reach(&status, 2), Reach::Gone, "its bytes went with the file that was put back: {status:?}");
    assert_eq!(reach(&status, 3), Reach::Everywhere);
}
