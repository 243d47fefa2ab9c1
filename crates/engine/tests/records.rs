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
