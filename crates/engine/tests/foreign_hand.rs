//! A foreign hand in the key's own fields: no write of somebody else's takes away the only copy of a key, and there is a way out.

mod support;

use keyroll_engine::{Compromised, EngineError, ExitKind, RollbackRequest, RotateRequest, Why};
use keyroll_keyring::Secret;
use keyroll_rotation::{Mode, Stage};
use support::{FIRST_KEY, Fate, World, fate, folder, revoke, until};

/// A strong key that nobody here has seen.
fn strange() -> String {
    (0..8_u64).map(|digit| format!("{:016x}", (digit + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
}

/// Somebody puts a key of their own over both.
fn overwrite_all(world: &World) {
    world.foreign_write("SECRET_KEY_BASE", Some(&strange()));
    world.foreign_write("SECRET_KEY_BASE_ACCEPT", None);
}

/// Drives until the foreign write is shown.
async fn shown(world: &std::sync::Arc<World>, dir: &tempfile::TempDir) {
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Drift, "{outcome:?}");
}

fn journal(dir: &tempfile::TempDir) -> String {
    std::fs::read_to_string(dir.path().join("journal.jsonl")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_foreign_write_takes_away_nobodys_only_copy_of_the_old_key() {
    for stage in [Stage::Accepting, Stage::Promoting, Stage::Draining] {
        let dir = folder();
        let world = World::new(2);
        world.engine(dir.path()).rotate(until(stage)).await.unwrap();
        overwrite_all(&world);
        shown(&world, &dir).await;
        let outcome = world.engine(dir.path()).overwrite_foreign_write(Why::default()).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "{stage:?}: {outcome:?}");
        let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "{stage:?}: {outcome:?}");
        assert_eq!(world.lost(), Vec::<String>::new(), "{stage:?}");
        assert_eq!(
            (world.hidden(), world.candidates()),
            ((0, 1), 1),
            "{stage:?}: what is left is the old key in escrow"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_own_copy_of_the_old_key_is_what_a_foreign_write_can_be_overwritten_with() {
    let dir = folder();
    let world = World::new(2);
    world.engine(dir.path()).rotate(until(Stage::Promoting)).await.unwrap();
    world.lose_hidden();
    world.foreign_write("SECRET_KEY_BASE_ACCEPT", Some(&strange()));
    shown(&world, &dir).await;
    let error = world.engine(dir.path()).overwrite_foreign_write(Why::default()).await.unwrap_err();
    assert!(error.to_string().contains("--key-from"), "{error}");
    let request = || RollbackRequest { key_from: Some(Secret::from_text(FIRST_KEY)), ..RollbackRequest::default() };
    let outcome = world.engine(dir.path()).rollback(request()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Drift, "{outcome:?}");
    let said = outcome.wait.unwrap().naysayers[0].text.clone();
    assert!(said.contains("is kept beside the key") && said.contains("--overwrite-foreign-write"), "{said}");
    assert_eq!(world.hidden(), (0, 1), "the copy was stored");
    assert!(journal(&dir).contains("rollbackWithOwnCopy"));
    let outcome = world.engine(dir.path()).overwrite_foreign_write(Why::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!((world.lost(), world.hidden()), (Vec::new(), (0, 1)));
}

#[tokio::test(start_paused = true)]
async fn an_emergency_replaces_what_somebody_else_wrote() {
    for compromised in [Compromised::Old, Compromised::New, Compromised::Both] {
        let dir = folder();
        let world = World::new(2);
        world.engine(dir.path()).rotate(until(Stage::Promoting)).await.unwrap();
        overwrite_all(&world);
        let request = |mode| revoke(mode, compromised);
        let error = world.engine(dir.path()).revoke(request(Mode::HardCutover)).await.unwrap_err();
        assert!(matches!(error, EngineError::ForeignWriteFirst { .. }), "nobody has seen it yet: {error:?}");
        assert!(error.to_string().contains("revoke --mode hard-cutover"), "{error}");
        let error = world.engine(dir.path()).revoke(request(Mode::Accelerated)).await.unwrap_err();
        assert!(matches!(error, EngineError::ForeignWriteFirst { .. }), "{error:?}");
        assert!(!journal(&dir).contains(r#""action":"revoke""#), "what was refused was not decided");
        let outcome = world.engine(dir.path()).revoke(request(Mode::HardCutover)).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "{compromised:?}: {outcome:?}");
        assert_ne!(world.field("SECRET_KEY_BASE").unwrap(), strange().as_bytes());
        assert!(!world.accepted_somewhere(strange().as_bytes()));
        let old = world.accepted_somewhere(FIRST_KEY.as_bytes());
        assert_eq!(old, compromised == Compromised::New, "{compromised:?}");
        assert!(journal(&dir).contains("what somebody else wrote"), "it is in the record what was written over");
        let copies: usize = if compromised == Compromised::Both { 0 } else { world.hidden().1 };
        assert_eq!(world.hidden(), (0, copies), "{compromised:?}: a leaked key is not kept");
    }
}

#[tokio::test(start_paused = true)]
async fn an_emergency_that_dies_over_a_foreign_write_leads_out_when_it_is_asked_for_again() {
    let mut point = 0;
    loop {
        let dir = folder();
        let world = World::new(1);
        world.engine(dir.path()).rotate(until(Stage::Promoting)).await.unwrap();
        overwrite_all(&world);
        shown(&world, &dir).await;
        let engine = world.doomed(dir.path(), point);
        let request = || revoke(Mode::HardCutover, Compromised::Both);
        let Fate::Killed(at) = fate(async move { engine.revoke(request()).await }).await else { break };
        // What it died over may have to be shown once more.
        let (mut exits, mut said) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let done = world.engine(dir.path()).revoke(request()).await;
            exits.push(done.as_ref().map_or_else(EngineError::exit, |outcome| outcome.exit));
            said.push(format!("{done:?}"));
            if exits.last() == Some(&ExitKind::Done) {
                break;
            }
        }
        assert_eq!(exits.last(), Some(&ExitKind::Done), "killed at `{at}`: {said:#?}");
        assert_eq!(world.hidden(), (0, 0), "killed at `{at}`: a leaked key is still kept");
        assert!(!world.accepted_somewhere(FIRST_KEY.as_bytes()), "killed at `{at}`");
        point += 7;
    }
    assert!(point > 20, "a revocation has fewer points than it had: {point}");
}

#[tokio::test(start_paused = true)]
async fn an_adoption_leads_into_a_rotation_that_comes_to_its_end_or_is_not_offered() {
    let dir = folder();
    let world = World::new(2);
    world.engine(dir.path()).rotate(until(Stage::Promoting)).await.unwrap();
    world.foreign_write("SECRET_KEY_BASE_ACCEPT", None);
    shown(&world, &dir).await;
    let outcome = world.engine(dir.path()).adopt_foreign_write(Why::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.lost(), Vec::<String>::new());

    let dir = folder();
    let world = World::new(2);
    world.engine(dir.path()).rotate(until(Stage::Promoting)).await.unwrap();
    world.lose_hidden();
    world.foreign_write("SECRET_KEY_BASE_ACCEPT", None);
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    let said = outcome.wait.unwrap().naysayers[0].text.clone();
    assert!(!said.contains("--adopt-foreign-write") && said.contains("--key-from"), "{said}");
    let stamp = world.stamp()["open"]["machine"].clone();
    let error = world.engine(dir.path()).adopt_foreign_write(Why::default()).await.unwrap_err();
    assert!(matches!(error, EngineError::HumanMustDecide { .. }), "{error:?}");
    assert_eq!(world.stamp()["open"]["machine"], stamp, "nothing was adopted");
    assert!(!journal(&dir).contains("adopt-foreign-write"));
}

#[tokio::test(start_paused = true)]
async fn a_leaked_key_is_not_written_back_over_what_somebody_else_wrote() {
    for mode in [Mode::Accelerated, Mode::HardCutover] {
        let dir = folder();
        let world = World::new(2);
        let point = match mode {
            // It is still the one that mints, and nobody else is to accept it again.
            Mode::Accelerated => "accepting/before reload a member",
            _ => {
                world.engine(dir.path()).rotate(until(Stage::Promoting)).await.unwrap();
                "cutting-over/before write store 0"
            }
        };
        let engine = world.meanwhile(dir.path(), point, overwrite_all);
        let outcome = engine.revoke(revoke(mode, Compromised::Old)).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Drift, "{mode:?}: {outcome:?}");
        let said = outcome.wait.unwrap().naysayers[0].text.clone();
        assert!(!said.contains("--overwrite-foreign-write") && said.contains("revoke --mode hard-cutover"), "{said}");
        let error = world.engine(dir.path()).overwrite_foreign_write(Why::default()).await.unwrap_err();
        assert!(error.to_string().contains("k1 has leaked and must not return"), "{mode:?}: {error}");
        assert_eq!(world.field("SECRET_KEY_BASE").unwrap(), strange().as_bytes(), "{mode:?}");
        assert_eq!(world.field("SECRET_KEY_BASE_ACCEPT"), None, "{mode:?}");
        let outcome = world.engine(dir.path()).revoke(revoke(Mode::HardCutover, Compromised::Old)).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "{mode:?}: {outcome:?}");
        assert!(!world.accepted_somewhere(FIRST_KEY.as_bytes()), "{mode:?}");
    }
}
