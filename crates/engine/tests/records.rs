//! What is said and recorded of a command's end, and what is not recorded over and over.

mod support;

use std::sync::Arc;
use std::time::Duration;

use keyroll_engine::{CompleteRequest, Compromised, ExitKind, Outcome, RollbackRequest, RotateRequest, interrupt};
use keyroll_rotation::{Mode, Stage};
use support::{World, folder, revoke, until};

/// Runs a command and presses Ctrl-C in the middle of it.
async fn interrupted<F>(
    world: &Arc<World>,
    dir: &std::path::Path,
    command: impl FnOnce(keyroll_engine::Engine) -> F,
) -> Outcome
where
    F: Future<Output = Result<Outcome, keyroll_engine::EngineError>> + Send + 'static,
{
    let (sender, interrupt) = interrupt();
    let driving = tokio::spawn(command(world.engine(dir).with_interrupt(interrupt)));
    tokio::time::sleep(Duration::from_millis(900)).await;
    sender.interrupt();
    let outcome = driving.await.unwrap().unwrap();
    assert_eq!(outcome.exit, ExitKind::Interrupted, "{outcome:?}");
    outcome
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_command_names_the_one_that_goes_on_with_it() {
    let dir = folder();
    let world = World::new(2);
    let outcome =
        interrupted(&world, dir.path(), |engine| async move { engine.rotate(RotateRequest::default()).await }).await;
    assert_eq!(outcome.next.as_deref(), Some("keyroll rotate"));
    let outcome =
        interrupted(&world, dir.path(), |engine| async move { engine.complete(CompleteRequest::default()).await })
            .await;
    assert_eq!(outcome.next.as_deref(), Some("keyroll complete"));
    let outcome =
        interrupted(&world, dir.path(), |engine| async move { engine.rollback(RollbackRequest::default()).await })
            .await;
    assert_eq!(outcome.next.as_deref(), Some("keyroll rollback"));
    let outcome = world.engine(dir.path()).rollback(RollbackRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    world.engine(dir.path()).rotate(until(Stage::Promoting)).await.unwrap();
    let outcome = interrupted(&world, dir.path(), |engine| async move {
        engine.revoke(revoke(Mode::HardCutover, Compromised::Old)).await
    })
    .await;
    assert_eq!(outcome.next.as_deref(), Some("keyroll revoke --mode hard-cutover --leaked old --store-leaked no"));
    let outcome = world.engine(dir.path()).revoke(revoke(Mode::HardCutover, Compromised::Old)).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
}

/// The keys of which the record says that a write ends the sessions under them.
fn ended(dir: &tempfile::TempDir) -> Vec<u64> {
    let entries = journal(dir);
    let ends = entries.iter().filter(|entry| entry["body"]["kind"] == "sessionsEnd");
    ends.map(|entry| entry["body"]["key"]["id"].as_u64().unwrap()).collect()
}

fn journal(dir: &tempfile::TempDir) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(dir.path().join("journal.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn whose_sessions_a_revocation_ends_is_recorded_in_whichever_stage_it_comes() {
    for (stage, leak, ends) in [
        (Stage::Accepting, Compromised::Old, vec![1]),
        (Stage::Accepting, Compromised::New, vec![]),
        (Stage::Promoting, Compromised::Old, vec![1]),
        (Stage::Draining, Compromised::Old, vec![1]),
        (Stage::Promoting, Compromised::New, vec![2]),
        (Stage::Promoting, Compromised::Both, vec![1, 2]),
    ] {
        let dir = folder();
        let world = World::new(1);
        world.engine(dir.path()).rotate(until(stage)).await.unwrap();
        let outcome = world.engine(dir.path()).revoke(revoke(Mode::HardCutover, leak)).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "{stage:?} {leak:?}: {outcome:?}");
        assert_eq!(ended(&dir), ends, "{stage:?} {leak:?}");
    }
}
