//! What a revocation must not do in silence: promote a key that was named as leaked, keep one that the leaked store held, be left with
//! nobody, or be taken for one that was done before.

mod support;

use std::path::Path;
use std::sync::Arc;

use keyroll_engine::{CompleteRequest, Compromised, Engine, ExitKind, RotateRequest, Standby, StoreLeak};
use keyroll_rotation::{Mode, Stage};
use support::{World, folder, revoke, until};

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
