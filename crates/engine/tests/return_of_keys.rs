//! Keys that come back: from a backup, by a tool that puts a file back, by hand. Nothing in the fields alone tells a good one from
//! one that must never be used again; the record does.

mod support;

use std::sync::Arc;
use std::time::Duration;

use keyroll_engine::{Colour, CompleteRequest, Compromised, EngineError, ExitKind, RotateRequest};
use keyroll_rotation::Mode;
use support::{FIRST_KEY, World, folder, revoke};

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
            put_back(&world, &[("SECRET_KEY_BASE", Some(FIRST_KEY))]);
        });
        let error = engine.rotate(RotateRequest::default()).await.unwrap_err();
        assert!(matches!(&error, EngineError::Preflight { .. } | EngineError::RefusedBecause { .. }), "{error:?}");
        assert!(world.stamp()["open"].is_null() && world.stamp()["lock"].is_null());
        assert_eq!(world.field("SECRET_KEY_BASE").unwrap(), FIRST_KEY.as_bytes());
    }
}
