//! Reloads that a person asks for: whom they reach, what they must not carry, and what the record says of them.

mod support;

use std::sync::Arc;
use std::time::Duration;

use keyroll_engine::{EngineError, ExitKind, Patience, ReloadRequest, RotateRequest, Why};
use keyroll_rotation::{DrainRule, Stage};
use support::{FIRST_KEY, SimCounters, World, folder, until};

const OTHER_KEY: &str = "a3f1c95e7b2d406188e4d37c5fa09b12c4d6e8f0b1a392745c6d7e8f9a0b1c2d3e4f5061728394a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3";

fn journal(dir: &tempfile::TempDir) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(dir.path().join("journal.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What came of what a person asked for last, as the record has it: nothing asked, no answer, or the answer's kind.
fn answer(dir: &tempfile::TempDir, action: &str) -> Option<String> {
    let entries = journal(dir);
    let asked = entries.iter().rfind(|entry| entry["body"]["action"]["action"] == action)?;
    let answer = entries.iter().find(|entry| entry["body"]["intent"] == asked["seq"]);
    Some(answer.map_or_else(|| "no answer".into(), |entry| entry["body"]["kind"].as_str().unwrap().to_owned()))
}

fn member(name: &str) -> ReloadRequest {
    ReloadRequest::Member(name.into())
}

#[tokio::test(start_paused = true)]
async fn nobody_is_reloaded_onto_what_somebody_else_wrote() {
    let dir = folder();
    let world = World::new(2);
    world.engine(dir.path()).rotate(until(Stage::Promoting)).await.unwrap();
    let (minting, restarts) = (world.minting(), world.restarts());
    world.foreign_write("SECRET_KEY_BASE", Some(OTHER_KEY));
    for request in [member("web-0"), ReloadRequest::Laggards] {
        let error = world.engine(dir.path()).reload(request, Why::default()).await.unwrap_err();
        assert_eq!(error.exit(), ExitKind::HumanMustDecide, "{error:?}");
        assert!(error.to_string().contains("--overwrite-foreign-write"), "{error}");
    }
    assert_eq!((world.minting(), world.restarts()), (minting, restarts));
    assert_eq!((answer(&dir, "reloadMember"), answer(&dir, "reloadLaggards")), (None, None), "nobody decided anything");
}

#[tokio::test(start_paused = true)]
async fn what_a_member_has_counted_is_read_before_a_reload_that_makes_it_count_anew() {
    let dir = folder();
    let world = World::new(2);
    let engine = || {
        let mut assembly = world.assembly();
        assembly.policy.settings.drain = DrainRule::Counter;
        assembly.policy.drain_window = Duration::from_secs(5);
        assembly.policy.drain_interval = Duration::from_secs(2);
        assembly.drain = Some(Arc::new(SimCounters { world: Arc::clone(&world) }));
        world.engine_of(assembly, dir.path(), "ada", "here")
    };
    let request = RotateRequest { patience: Patience::For(Duration::from_secs(20)), ..RotateRequest::default() };
    let outcome = engine().rotate(request).await.unwrap();
    assert_eq!(outcome.stage, Some(Stage::Draining), "{outcome:?}");
    let last = || {
        let text = std::fs::read_to_string(dir.path().join("drain.json")).unwrap();
        let book: serde_json::Value = serde_json::from_str(&text).unwrap();
        book["readings"].as_array().unwrap().last().unwrap().clone()
    };
    let before = last();
    tokio::time::sleep(Duration::from_millis(700)).await;
    world.browse();
    engine().reload(member("web-0"), Why::default()).await.unwrap();
    let after = last();
    assert!(after["at"].as_u64() > before["at"].as_u64(), "{before} {after}");
    let runs = |reading: &serde_json::Value| reading["runs"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(runs(&after), runs(&before), "of the run that ended, and not of the one after it");
    assert_eq!(answer(&dir, "reloadMember").as_deref(), Some("done"));
}

#[tokio::test(start_paused = true)]
async fn the_record_says_whether_a_reload_was_done() {
    let dir = folder();
    let world = World::new(2);
    let error = world.engine(dir.path()).reload(member("web-7"), Why::default()).await.unwrap_err();
    assert!(matches!(error, EngineError::RefusedBecause { .. }), "{error:?}");
    assert_eq!(answer(&dir, "reloadMember"), None, "there is nobody of that name");
    world.faults(|faults| faults.does_not_come_back = Some("web-0".into()));
    world.engine(dir.path()).reload(member("web-0"), Why::default()).await.unwrap_err();
    assert_eq!(answer(&dir, "reloadMember").as_deref(), Some("failed"));
    world.faults(|faults| faults.does_not_come_back = None);
    world.restart("web-0");
    world.engine(dir.path()).reload(member("web-1"), Why::default()).await.unwrap();
    assert_eq!(answer(&dir, "reloadMember").as_deref(), Some("done"));
}

#[tokio::test(start_paused = true)]
async fn laggards_are_reloaded_also_before_the_first_rotation_and_behind_a_hand_that_nobody_halts_for() {
    let dir = folder();
    let world = World::new(3);
    let laggards = || async { world.engine(dir.path()).reload(ReloadRequest::Laggards, Why::default()).await.unwrap() };
    let outcome = laggards().await;
    assert_eq!((outcome.exit, world.restarts()), (ExitKind::Done, 0), "{outcome:?}");
    world.foreign_write("SECRET_KEY_BASE", Some(OTHER_KEY));
    world.restart("web-1");
    let outcome = laggards().await;
    assert_eq!((outcome.exit, world.restarts()), (ExitKind::Done, 2), "{outcome:?}");
    assert_eq!(world.minting(), [OTHER_KEY.as_bytes().to_vec()].into());
    assert_eq!(answer(&dir, "reloadLaggards").as_deref(), Some("done"));
    assert_eq!(world.stamp()["ledger"]["highest"], 0, "ids are given when a rotation begins");
    assert!(!world.accepted_somewhere(FIRST_KEY.as_bytes()));
    world.forgive();
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reload_of_the_laggards_does_not_end_a_pause() {
    let dir = folder();
    let world = World::new(2);
    world.engine(dir.path()).rotate(until(Stage::Accepting)).await.unwrap();
    world.engine(dir.path()).pause(Why::default()).await.unwrap();
    let before = world.restarts();
    let error = world.engine(dir.path()).reload(ReloadRequest::Laggards, Why::default()).await.unwrap_err();
    assert!(error.to_string().contains("it is paused: `keyroll resume`"), "{error}");
    let still = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!((still.exit, world.restarts()), (ExitKind::HumanMustDecide, before), "{still:?}");
    world.engine(dir.path()).reload(member("web-1"), Why::default()).await.unwrap();
    world.engine(dir.path()).resume(Why::default()).await.unwrap();
    let done = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(done.exit, ExitKind::Done, "{done:?}");
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_fleet_of_nobody_has_no_laggards_and_shows_nothing() {
    let dir = folder();
    let world = World::new(0);
    let refused = || async {
        let error = world.engine(dir.path()).reload(ReloadRequest::Laggards, Why::default()).await.unwrap_err();
        assert!(matches!(error, EngineError::RefusedBecause { .. }), "{error:?}");
        assert!(error.to_string().contains("no member is listed"), "{error}");
        assert_eq!(answer(&dir, "reloadLaggards"), None, "nothing was decided, and nothing was done");
    };
    refused().await;
    world.scale_up("web-0");
    world.engine(dir.path()).rotate(until(Stage::Staged)).await.unwrap();
    world.scale_down("web-0");
    refused().await;
}
