//! What a driver does not do behind anybody's back: every write is made over what it has looked at, and over nothing else.

mod support;

use std::time::Duration;

use keyroll_engine::journal::{JournalError, JournalReader, audit};
use keyroll_engine::{
    CompleteRequest, Compromised, EngineError, ExitKind, RevokeRequest, RollbackRequest, RotateRequest, StoreLeak, Why,
};
use keyroll_rotation::{Mode, Stage};
use support::{FIRST_KEY, Fate, Killed, World, fate, folder, revoke, until};

async fn wait(span: u64) {
    tokio::time::sleep(Duration::from_millis(span)).await;
}

/// A strong key that nobody here has seen.
fn strange(seed: u64) -> String {
    let mut state = seed;
    let mut digits = String::new();
    for _ in 0..8 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        digits.push_str(&format!("{:016x}", state ^ (state >> 29)));
    }
    digits
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_not_closed_over_what_somebody_has_just_written() {
    let dir = folder();
    let world = World::new(2);
    let engine = world.meanwhile(dir.path(), "closing/before close store 0", |world| {
        world.foreign_write("SECRET_KEY_BASE", Some(&strange(1)));
    });
    let outcome = engine.rotate(RotateRequest::default()).await.unwrap();
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::Drift, Some(Stage::Closing)), "{outcome:?}");
    assert_eq!(world.stamp()["open"]["machine"]["closed_at"], serde_json::Value::Null);
    assert_eq!(world.hidden().0, 1, "the candidate's copy was not taken away from beside what nobody knows");
    assert_eq!(world.field("SECRET_KEY_BASE").unwrap(), strange(1).as_bytes());
}

#[tokio::test(start_paused = true)]
async fn the_drain_does_not_begin_over_what_somebody_has_just_written() {
    let dir = folder();
    let world = World::new(2);
    let engine = world.meanwhile(dir.path(), "draining/before write stamp", |world| {
        world.foreign_write("SECRET_KEY_BASE", Some(FIRST_KEY));
    });
    let outcome = engine.rotate(RotateRequest::default()).await.unwrap();
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::Drift, Some(Stage::Draining)), "{outcome:?}");
    assert_eq!(world.stamp()["open"]["machine"]["t0"], serde_json::Value::Null, "a member may mint under the old key");
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_key_is_not_destroyed_beside_what_somebody_has_just_written() {
    let dir = folder();
    let world = World::new(1);
    world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    wait(3_600_000).await;
    let engine = world.meanwhile(dir.path(), "escrow/before destroy store 0", |world| {
        world.foreign_write("SECRET_KEY_BASE", Some(FIRST_KEY));
    });
    let outcome = engine.complete(CompleteRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Drift, "{outcome:?}");
    assert_eq!(world.hidden(), (0, 1), "who wrote the old key back may need it");
}

#[tokio::test(start_paused = true)]
async fn only_the_foreign_write_that_was_shown_is_overwritten() {
    let dir = folder();
    let world = World::new(2);
    world.engine(dir.path()).rotate(until(Stage::Promoting)).await.unwrap();
    world.foreign_write("SECRET_KEY_BASE", Some(&strange(1)));
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Drift, "{outcome:?}");
    // Nobody has seen this one, neither where it comes between two commands nor where it comes in the middle of one.
    world.foreign_write("SECRET_KEY_BASE_ACCEPT", None);
    world.foreign_write("SECRET_KEY_BASE", Some(FIRST_KEY));
    let outcome = world.engine(dir.path()).overwrite_foreign_write(Why::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Drift, "{outcome:?}");
    assert_eq!(world.field("SECRET_KEY_BASE").unwrap(), FIRST_KEY.as_bytes());
    assert!(!journal(&dir).contains("overwrite-foreign-write"), "what was not done does not stand in the record");
    let engine = world.meanwhile(dir.path(), "draining/before overwrite store 0", |world| {
        world.foreign_write("SECRET_KEY_BASE", Some(&strange(2)));
        world.foreign_write("SECRET_KEY_BASE_ACCEPT", Some(FIRST_KEY));
    });
    let outcome = engine.overwrite_foreign_write(Why::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Drift, "{outcome:?}");
    assert_eq!(world.field("SECRET_KEY_BASE").unwrap(), strange(2).as_bytes());
    assert!(journal(&dir).contains(r#""kind":"failed""#));
    // It was shown now.
    let outcome = world.engine(dir.path()).overwrite_foreign_write(Why::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn of_weak_keys_that_nobody_can_tell_apart_only_one_that_nobody_wrote_over_is_overwritten() {
    let (here, there) = (folder(), folder());
    let world = World::new(2);
    world.engine(here.path()).rotate(until(Stage::Promoting)).await.unwrap();
    world.foreign_write("SECRET_KEY_BASE", Some("changeme"));
    let outcome = world.engine(here.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Drift, "{outcome:?}");
    world.foreign_write("SECRET_KEY_BASE", Some("secret"));
    let elsewhere = || world.engine_of(world.assembly(), there.path(), "grace", "there");
    let outcome = elsewhere().overwrite_foreign_write(Why::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Drift, "{outcome:?}");
    let outcome = world.engine(here.path()).overwrite_foreign_write(Why::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Drift, "{outcome:?}");
    let outcome = world.engine(here.path()).overwrite_foreign_write(Why::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_end_was_cut_off_is_not_continued_as_if_it_were_whole() {
    let (dir, there) = (folder(), folder());
    let world = World::new(2);
    world.engine(dir.path()).rotate(until(Stage::Accepting)).await.unwrap();
    let path = dir.path().join("journal.jsonl");
    let cut: String = journal(&dir).lines().take(9).map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, &cut).unwrap();
    let stamp = world.stamp();
    for _ in 0..2 {
        let error = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap_err();
        assert!(matches!(&error, EngineError::Journal(JournalError::CutOff { .. })), "{error:?}");
    }
    assert_eq!((journal(&dir), world.stamp()), (cut, stamp), "neither the record nor what vouches for it moved");
    let anchors = world.engine(dir.path()).anchors().await.unwrap();
    let report = audit::verify(&JournalReader::open(dir.path()).unwrap(), &anchors);
    assert_eq!(report.verdict(), audit::AuditVerdict::Broken, "the loss is still found");
    // Whoever has nothing at all goes on, and so does whoever moves the file away; both records say where they begin.
    let elsewhere = world.engine_of(world.assembly(), there.path(), "grace", "there");
    elsewhere.rotate(until(Stage::Promoting)).await.unwrap();
    assert!(journal(&there).lines().next().unwrap().contains(r#""kind":"lockTaken""#));
    assert!(journal(&there).contains(r#""kind":"continued""#));
    std::fs::rename(&path, dir.path().join("kept")).unwrap();
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert!(journal(&dir).contains(r#""kind":"continued""#));
    // What is there is whole, and it is said that it is not all.
    let anchors = world.engine(dir.path()).anchors().await.unwrap();
    let report = audit::verify(&JournalReader::open(dir.path()).unwrap(), &anchors);
    assert_eq!(report.verdict(), audit::AuditVerdict::Anchored);
    let before = &report.continues[0];
    assert_eq!((report.continues.len(), before.host.as_str()), (1, "there"));
    let told = format!("up to entry {}, in another journal of host `there`", before.seq);
    assert!(report.limits().iter().any(|limit| limit.contains(&told)), "{:?}", report.limits());
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_went_stale_while_the_lock_was_taken_is_refused() {
    let dir = folder();
    let world = World::new(2);
    let plan = world.engine(dir.path()).plan(Mode::Staged).await.unwrap();
    let engine = world.meanwhile(dir.path(), "-/after take lock", |world| {
        world.foreign_write("SECRET_KEY_BASE", Some(&strange(1)));
        world.restart("web-0");
        world.restart("web-1");
    });
    let request = RotateRequest { plan: Some(plan), ..RotateRequest::default() };
    let error = engine.rotate(request).await.unwrap_err();
    assert!(matches!(&error, EngineError::StalePlan { .. }), "{error:?}");
    assert!(world.stamp()["open"].is_null() && world.stamp()["lock"].is_null());
    assert_eq!(world.candidates(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_preflight_found_is_asked_again_under_the_lock() {
    let dir = folder();
    let world = World::new(2);
    let engine = world.meanwhile(dir.path(), "-/after take lock", |world| {
        world.scale_down("web-0");
        world.scale_down("web-1");
    });
    let error = engine.rotate(RotateRequest::default()).await.unwrap_err();
    assert_eq!(error.exit(), ExitKind::PreflightFailed, "{error:?}");
    assert!(world.stamp()["open"].is_null() && world.stamp()["lock"].is_null());
}

/// How often G1 was asked again before the promoting write.
fn asked_again(dir: &tempfile::TempDir) -> usize {
    journal(dir).matches(r#""kind":"gateSwept","gate":"G1","stage":"promoting","outcome":"passed""#).count()
}

#[tokio::test(start_paused = true)]
async fn a_write_that_comes_a_minute_after_its_gate_has_everybody_asked_again() {
    for (span, again) in [(50_000, 0), (61_000, 1)] {
        let dir = folder();
        let world = World::new(2);
        // The decision to write was made in time, and then the machine slept.
        let engine = world.meanwhile(dir.path(), "promoting/before write store 0", move |world| world.sleep(span));
        let outcome = engine.rotate(RotateRequest::default()).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
        assert_eq!(asked_again(&dir), again, "{span} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_a_stammering_store_holds_up_for_a_minute_has_everybody_asked_again() {
    let dir = folder();
    let world = World::new(2);
    let engine = world.meanwhile(dir.path(), "promoting/before write store 0", |world| {
        world.sleep(45_000);
        world.faults(|faults| faults.fail_writes = 20);
    });
    let outcome = engine.rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert!(asked_again(&dir) > 0);
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_was_passed_in_the_future_was_not_passed() {
    let dir = folder();
    let world = World::new(2);
    let engine = world.meanwhile(dir.path(), "promoting/before journal state", |world| world.set_clock_back(30_000));
    let outcome = engine.rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(asked_again(&dir), 1);
}

#[tokio::test(start_paused = true)]
async fn a_leaked_key_in_escrow_is_destroyed_also_where_the_revocation_was_killed() {
    let request = || RevokeRequest { store: StoreLeak::Possible, ..revoke(Mode::HardCutover, Compromised::Old) };
    let mut point = 0;
    loop {
        let dir = folder();
        let world = World::new(1);
        world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
        assert_eq!(world.hidden(), (0, 1));
        let engine = world.doomed(dir.path(), point);
        let Fate::Killed(at) = fate(async move { engine.revoke(request()).await }).await else { break };
        let outcome = world.engine(dir.path()).revoke(request()).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "killed at `{at}`: {outcome:?}");
        assert_eq!(world.hidden(), (0, 0), "killed at `{at}`: the key that leaked with its store is still kept");
        assert_eq!(world.stamp()["ledger"]["keys"][0]["state"], "compromised", "killed at `{at}`");
        let (intents, ended) = destructions(&dir);
        assert!(intents > 0 && ended == intents, "killed at `{at}`: {intents} announced and {ended} ended");
        point += 11;
    }
    assert!(point > 30, "a revocation has fewer points than it had: {point}");
}

/// How many destructions of the first key were announced, but for those that were announced again after a crash, and how many
/// came to their end.
fn destructions(dir: &tempfile::TempDir) -> (usize, usize) {
    let journal = journal(dir);
    let entries: Vec<serde_json::Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ours =
        |entry: &&serde_json::Value| entry["body"]["effect"] == serde_json::json!({"effect": "destroy", "key": 1});
    let intents: Vec<_> = entries.iter().filter(ours).map(|entry| entry["seq"].clone()).collect();
    let ended = entries.iter().filter(|entry| entry["body"]["kind"] == "done");
    let ended = ended.filter(|entry| intents.contains(&entry["body"]["intent"])).count();
    (intents.len().min(1), ended.min(1))
}

#[tokio::test(start_paused = true)]
async fn what_else_holds_a_destroyed_key_is_in_the_record_also_after_a_crash() {
    for killed_at in ["escrow/before destroy store 0", "escrow/after destroy store 0", "escrow/after destroy k1"] {
        let dir = folder();
        let world = World::new(1);
        world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
        wait(3_600_000).await;
        world.faults(|faults| faults.copies = vec!["keys.env~".into()]);
        let engine = world.meanwhile(dir.path(), killed_at, move |world| {
            world.faults(|faults| faults.lying_about = vec![".keys.env.keyroll-tmp".into()]);
            std::panic::panic_any(Killed(killed_at.into()));
        });
        let killed = fate(async move { engine.complete(CompleteRequest::default()).await }).await;
        assert!(matches!(killed, Fate::Killed(_)), "{killed_at}");
        let outcome = world.engine(dir.path()).complete(CompleteRequest::default()).await.unwrap();
        assert_eq!((outcome.exit, world.hidden()), (ExitKind::Done, (0, 0)), "{killed_at}: {outcome:?}");
        let journal = journal(&dir);
        let searched = journal.lines().filter(|line| line.contains(r#""kind":"searched""#));
        let found = searched.filter(|line| line.contains(r#""found":["keys.env~"]"#)).count();
        assert!(found > 0, "{killed_at}: nobody would ever know of the copy");
        assert!(journal.contains(r#""kind":"swept","store":0,"removed":[".keys.env.keyroll-tmp"]"#), "{killed_at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_escrow_is_over_goes_by_an_effect_that_is_announced_first() {
    let dir = folder();
    let world = World::new(1);
    world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    // The next one is open when the time of the first key is over.
    wait(3_590_000).await;
    world.engine(dir.path()).rotate(until(Stage::Accepting)).await.unwrap();
    wait(60_000).await;
    let engine = world.meanwhile(dir.path(), "promoting/after destroy store 0", |_| {
        std::panic::panic_any(Killed("destroy".into()));
    });
    let killed = fate(async move { engine.rotate(RotateRequest::default()).await }).await;
    assert!(matches!(killed, Fate::Killed(_)));
    assert!(journal(&dir).contains(r#""effect":{"effect":"destroy","key":1}"#), "it was announced");
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(destructions(&dir), (1, 1));
    assert!(journal(&dir).contains(r#""how":"foundDone""#), "the world shows that it was done");
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_can_not_be_read_stops_every_answer_and_is_never_no_record() {
    let dir = folder();
    let world = World::new(2);
    world.engine(dir.path()).rotate(until(Stage::Accepting)).await.unwrap();
    let path = dir.path().join("journal.jsonl");
    let good = journal(&dir);
    let broken = good.replacen("ada", "eve", 1);
    let (before, last) = good.rsplit_once(r#""stamp":{"#).unwrap();
    let newer = format!(r#"{before}"stamp":{{{}"#, last.replacen(r#""format":1"#, r#""format":9"#, 1));
    // The chain is whole where nothing follows the line that was changed.
    let newer: String = newer.lines().take(before.lines().count()).map(|line| format!("{line}\n")).collect();
    for bad in [broken, newer] {
        std::fs::write(&path, &bad).unwrap();
        let engine = world.engine(dir.path());
        let failed = [
            engine.status().await.map(drop),
            engine.explain().await.map(drop),
            engine.plan(Mode::Staged).await.map(drop),
            engine.verify().await.map(drop),
            engine.rotate(RotateRequest::default()).await.map(drop),
        ];
        for error in failed.map(Result::unwrap_err) {
            assert!(matches!(error, EngineError::Journal(_) | EngineError::Stamp { .. }), "{error:?}");
        }
        assert!(!engine.preflight().await.passed());
        assert_eq!(journal(&dir), bad);
    }
    std::fs::write(&path, &good).unwrap();
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
}

fn journal(dir: &tempfile::TempDir) -> String {
    std::fs::read_to_string(dir.path().join("journal.jsonl")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_id_of_a_candidate_that_was_given_up_before_it_was_stored_is_used_by_no_other_key() {
    let dir = folder();
    let world = World::new(1);
    let engine =
        world.meanwhile(dir.path(), "staged/before store candidate", |_| std::panic::panic_any(Killed("stage".into())));
    let killed = fate(async move { engine.rotate(RotateRequest::default()).await }).await;
    assert!(matches!(killed, Fate::Killed(_)));
    world.engine(dir.path()).rollback(RollbackRequest::default()).await.unwrap();
    assert_eq!(world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap().exit, ExitKind::Done);
    let active = world.engine(dir.path()).status().await.unwrap().rotation.unwrap().incoming;
    assert_eq!(active.0, 3, "the record says that k2 is destroyed");
}
