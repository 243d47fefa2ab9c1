//! What a revocation must not do in silence: promote a key that was named as leaked, keep one that the leaked store held, be left with
//! nobody, or be taken for one that was done before.

mod support;

use std::path::Path;
use std::sync::Arc;

use keyroll_engine::{Compromised, Engine, Standby};
use keyroll_rotation::Mode;
use support::{World, folder, revoke};

/// An engine whose policy leaves a candidate for the next rotation.
fn with_standby(world: &Arc<World>, dir: &Path) -> Engine {
    let mut assembly = world.assembly();
    assembly.policy.standby = Standby::Keep;
    world.engine_of(assembly, dir, "ada", "here")
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
