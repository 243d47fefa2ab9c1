//! Whole rotations over an application in memory, with users who notice every logout.

mod support;

use keyroll_engine::{ExitKind, RotateRequest};
use support::{FIRST_KEY, World};

#[tokio::test(start_paused = true)]
async fn a_staged_rotation_replaces_the_key_and_loses_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(3);
    let outcome = world.engine(dir.path()).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.lost(), Vec::<String>::new());
    assert_eq!(world.candidates(), 1);
    assert!(!world.accepted_somewhere(FIRST_KEY.as_bytes()));
    assert_eq!(world.minting().len(), 1);
    assert_eq!(world.restarts(), 9, "three rolls of three members, and nobody twice");
}
