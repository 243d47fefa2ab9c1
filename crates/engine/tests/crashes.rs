//! The driver is killed at every point at which it could be, and started again.

mod support;

use keyroll_engine::journal::{JournalReader, audit};
use keyroll_engine::{Compromised, ExitKind, RollbackRequest, RotateRequest};
use keyroll_rotation::{Mode, Stage};
use support::{FIRST_KEY, Fate, World, fate, folder, revoke, until};

/// Kills a rotation at the n-th point (and again at the n-th point of the run that takes it up), until it ends.
async fn killed_at(point: usize, kills: usize) -> Option<String> {
    let dir = folder();
    let world = World::new(2);
    let mut killed = None;
    for _ in 0..kills {
        let engine = world.doomed(dir.path(), point);
        match fate(async move { engine.rotate(RotateRequest::default()).await }).await {
            Fate::Killed(at) => {
                killed = Some(at);
                if finished(&world) {
                    break;
                }
            }
            Fate::Ended(outcome) => {
                let outcome = (*outcome).unwrap();
                assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
                break;
            }
        }
    }
    let at = killed?;
    if !finished(&world) {
        let outcome = world
            .engine(dir.path())
            .rotate(RotateRequest::default())
            .await
            .unwrap_or_else(|error| panic!("killed at `{at}` (point {point}): {error:?}"));
        assert_eq!(outcome.exit, ExitKind::Done, "killed at `{at}` (point {point}): {outcome:?}");
    }
    assert_eq!(world.lost(), Vec::<String>::new(), "killed at `{at}` (point {point})");
    assert_eq!(world.candidates(), 1, "killed at `{at}` (point {point})");
    assert!(!world.accepted_somewhere(FIRST_KEY.as_bytes()), "killed at `{at}` (point {point})");
    assert!(world.stamp()["lock"].is_null(), "killed at `{at}` (point {point})");
    let journal = JournalReader::open(dir.path()).unwrap();
    let anchor = serde_json::from_value(world.stamp()["audit"].clone()).unwrap();
    let report = audit::verify(&journal, &[anchor]);
    assert_eq!(report.verdict(), audit::AuditVerdict::Anchored, "killed at `{at}`: {report:?}");
    Some(at)
}

/// Behind the very last point everything is done and the lock is given back: there is nothing to take up, and the same
/// command would begin the next rotation.
fn finished(world: &World) -> bool {
    !world.accepted_somewhere(FIRST_KEY.as_bytes()) && world.stamp()["lock"].is_null()
}

#[tokio::test(start_paused = true)]
async fn a_driver_killed_at_any_point_is_taken_up_and_loses_nobody() {
    every_point(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_killed_twice_in_a_row_is_taken_up_and_loses_nobody() {
    every_point(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_is_killed_and_asked_again_ends_no_other_key() {
    let mut point = 0;
    loop {
        let dir = folder();
        let world = World::new(2);
        world.engine(dir.path()).rotate(until(Stage::Promoting)).await.unwrap();
        let engine = world.doomed(dir.path(), point);
        let Fate::Killed(at) =
            fate(async move { engine.revoke(revoke(Mode::HardCutover, Compromised::New)).await }).await
        else {
            break;
        };
        // At the last points nothing is open any more, and there is no new key that could be named.
        if !at.starts_with("-/") && !world.stamp()["lock"].is_null() {
            let outcome = world.engine(dir.path()).revoke(revoke(Mode::HardCutover, Compromised::New)).await;
            let outcome = outcome.unwrap_or_else(|error| panic!("killed at `{at}` (point {point}): {error:?}"));
            assert_eq!(outcome.exit, ExitKind::Done, "killed at `{at}` (point {point}): {outcome:?}");
        }
        assert!(
            world.accepted_somewhere(FIRST_KEY.as_bytes()),
            "killed at `{at}` (point {point}): the sound key ended"
        );
        assert_eq!(world.stamp()["ledger"]["highest"], 2, "killed at `{at}` (point {point}): a third key was made");
        point += SAMPLE;
    }
    assert!(point > SAMPLE * 3, "a revocation has fewer points than it had: {point}");
}

#[tokio::test(start_paused = true)]
async fn a_leaked_key_dies_also_where_a_killed_rollback_was_on_its_way_back_to_it() {
    let mut point = 0;
    loop {
        let dir = folder();
        let world = World::new(2);
        world.engine(dir.path()).rotate(until(Stage::Accepting)).await.unwrap();
        let engine = world.doomed(dir.path(), point);
        let Fate::Killed(at) = fate(async move { engine.rollback(RollbackRequest::default()).await }).await else {
            break;
        };
        let outcome = world.engine(dir.path()).revoke(revoke(Mode::HardCutover, Compromised::Old)).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("killed at `{at}` (point {point}): {error:?}"));
        assert_eq!(outcome.exit, ExitKind::Done, "killed at `{at}` (point {point}): {outcome:?}");
        assert!(
            !world.accepted_somewhere(FIRST_KEY.as_bytes()),
            "killed at `{at}` (point {point}): the leaked key lives"
        );
        point += SAMPLE;
    }
    assert!(point > SAMPLE * 3, "a rollback has fewer points than it had: {point}");
}

/// Every point with `KEYROLL_TEST_DEPTH=full`; otherwise one in a few, so that each stage and each kind of point is met.
async fn every_point(kills: usize) {
    let full = std::env::var("KEYROLL_TEST_DEPTH").is_ok_and(|depth| depth == "full");
    let stride = if full { 1 } else { SAMPLE };
    let (mut point, mut met) = (0, Vec::new());
    while let Some(at) = killed_at(point, kills).await {
        met.push(at);
        point += stride;
    }
    let stages: std::collections::BTreeSet<_> = met.iter().filter_map(|at| at.split('/').next()).collect();
    tell(&format!(
        "crashes in process: killed at {} points over {} stages, {kills} times in a row at most, sessions lost 0",
        met.len(),
        stages.len()
    ));
    assert!(met.len() * stride > 100, "the rotation has fewer crash points than it had: {met:#?}");
    for stage in ["planned", "staged", "accepting", "promoting", "draining", "retiring", "closing"] {
        assert!(met.iter().any(|at| at.starts_with(stage)), "{stage} was never killed: {met:#?}");
    }
}

/// A prime, so that the points of a repeated pattern are all met in the end.
#[expect(clippy::print_stderr, reason = "the figures are what the person who runs this wants to see")]
fn tell(line: &str) {
    eprintln!("{line}");
}

const SAMPLE: usize = 7;
