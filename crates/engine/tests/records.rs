//! What is said and recorded of a command's end, and what is not recorded over and over.

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keyroll_adapters::evidence::{DrainWitness, EvidenceError, OpenedCounts, SessionCount};
use keyroll_adapters::fleets::Member;
use keyroll_engine::{
    CompleteRequest, Compromised, ExitKind, Outcome, Patience, RollbackRequest, RotateRequest, interrupt, journal,
};
use keyroll_rotation::{DrainRule, Mode, Stage};
use support::{LIFETIME, World, folder, revoke, until};

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

#[tokio::test(start_paused = true)]
async fn where_a_key_leaked_nobody_waits_for_a_count_of_the_sessions_that_end() {
    for mode in [Mode::HardCutover, Mode::Accelerated] {
        let dir = folder();
        let world = World::new(1);
        world.engine(dir.path()).rotate(until(Stage::Promoting)).await.unwrap();
        let mut assembly = world.assembly();
        let hangs = ["sleep", "600"].map(str::to_owned).to_vec();
        assembly.session_count = Some(SessionCount::by(hangs, None, Duration::from_secs(300)));
        let engine = world.engine_of(assembly, dir.path(), "ada", "here");
        let began = tokio::time::Instant::now();
        let outcome = engine.revoke(revoke(mode, Compromised::Both)).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "{mode:?}: {outcome:?}");
        assert_eq!(ended(&dir), [1, 2], "{mode:?}: what ends is in the record");
        assert!(began.elapsed() < Duration::from_secs(200), "{mode:?}: it took {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_began_anew_is_a_deviation_in_the_history_and_one_that_a_rollback_ends_is_none() {
    let history = |dir: &tempfile::TempDir| {
        let records = journal::JournalReader::open(dir.path()).unwrap().records().unwrap();
        journal::history(&records).pop().unwrap()
    };
    let void = |row: &journal::HistoryRow| row.deviations.iter().filter(|one| one.what.contains("T0 was void")).count();

    let dir = folder();
    let world = World::new(2);
    let engine = world.engine(dir.path());
    let driving = tokio::spawn(async move { engine.rotate(RotateRequest::default()).await });
    tokio::time::sleep(Duration::from_secs(40)).await;
    let first = history(&dir).t0.unwrap();
    // Whether more than the neighbour was changed meanwhile, and back, can't be told.
    world.touch();
    assert_eq!(driving.await.unwrap().unwrap().exit, ExitKind::Done);
    let row = history(&dir);
    assert_eq!(void(&row), 1, "{:?}", row.deviations);
    assert!(row.t0.unwrap() > first, "the row has the T0 that held");

    let dir = folder();
    let world = World::new(2);
    let request = RotateRequest { patience: Patience::For(Duration::from_secs(40)), ..RotateRequest::default() };
    assert_eq!(world.engine(dir.path()).rotate(request).await.unwrap().stage, Some(Stage::Draining));
    let outcome = world.engine(dir.path()).rollback(RollbackRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(void(&history(&dir)), 0, "the rollback is a deviation, and what it does is none");
}

/// The keys of which the record says that a write ends the sessions under them.
fn ended(dir: &tempfile::TempDir) -> Vec<u64> {
    let entries = recorded(dir);
    let ends = entries.iter().filter(|entry| entry["body"]["kind"] == "sessionsEnd");
    ends.map(|entry| entry["body"]["key"]["id"].as_u64().unwrap()).collect()
}

fn recorded(dir: &tempfile::TempDir) -> Vec<serde_json::Value> {
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

#[tokio::test(start_paused = true)]
async fn days_of_asking_in_vain_are_one_entry_and_what_changes_is_another() {
    let dir = folder();
    let world = World::new(3);
    let waiting =
        |span| RotateRequest { patience: Patience::For(Duration::from_secs(span)), ..RotateRequest::default() };
    // It is there and does not answer, so that no reload would help it and nobody is asked to decide.
    let engine = world.meanwhile(dir.path(), "accepting/before ask every member for G1", |world| {
        world.faults(|faults| faults.silent = ["web-1".to_owned()].into());
    });
    let outcome = engine.rotate(waiting(20)).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Waiting, "{outcome:?}");
    let sweeps = || {
        let entries = recorded(&dir);
        let swept = entries.iter().filter(|entry| entry["body"]["kind"] == "gateSwept");
        swept.map(|entry| entry["body"]["outcome"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(sweeps(), ["unproven"], "one verdict");
    let (before, entries) = (sweeps().len(), recorded(&dir).len());
    let outcome = world.engine(dir.path()).rotate(waiting(120)).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Waiting, "{outcome:?}");
    assert_eq!(sweeps().len(), before + 1, "another command says it once more");
    assert!(recorded(&dir).len() < entries + 20, "two minutes of asking: {} entries", recorded(&dir).len() - entries);
    world.faults(|faults| faults.silent = ["web-1".to_owned(), "web-2".to_owned()].into());
    let driving = {
        let engine = world.engine(dir.path());
        tokio::spawn(async move { engine.rotate(until(Stage::Accepting)).await })
    };
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.faults(|faults| {
        faults.silent.remove("web-2");
    });
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.faults(|faults| faults.silent.clear());
    driving.await.unwrap().unwrap();
    assert_eq!(sweeps()[before + 1..], ["unproven", "unproven", "passed"], "each change, and the one that passes");
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!((outcome.exit, world.lost()), (ExitKind::Done, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn days_of_looking_at_a_drain_that_does_not_end_do_not_fill_the_record() {
    let dir = folder();
    let world = World::new(1);
    let engine = || {
        let mut assembly = world.assembly();
        assembly.policy.settings.drain = DrainRule::Counter;
        assembly.policy.drain_window = Duration::from_secs(5);
        assembly.policy.drain_interval = Duration::from_secs(2);
        assembly.drain = Some(Arc::new(NoCounter));
        world.engine_of(assembly, dir.path(), "ada", "here")
    };
    let waiting =
        |span| RotateRequest { patience: Patience::For(Duration::from_secs(span)), ..RotateRequest::default() };
    let outcome = engine().rotate(waiting(LIFETIME / 1_000 + 20)).await.unwrap();
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::Waiting, Some(Stage::Draining)), "{outcome:?}");
    let looks = || recorded(&dir).iter().filter(|entry| entry["body"]["effect"]["effect"] == "observeDrain").count();
    assert_eq!(looks(), 1);
    let before = recorded(&dir).len();
    engine().rotate(waiting(120)).await.unwrap();
    assert_eq!(looks(), 2, "another command says it once more");
    assert!(recorded(&dir).len() < before + 20, "{} entries", recorded(&dir).len() - before);
}

/// Nobody shows how many sessions were opened under which key.
struct NoCounter;

#[async_trait]
impl DrainWitness for NoCounter {
    async fn read(&self, _member: &Member) -> Result<Option<OpenedCounts>, EvidenceError> {
        Ok(None)
    }
}
