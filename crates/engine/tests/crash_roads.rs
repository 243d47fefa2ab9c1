//! The driver is killed on every other road than the way forward: rollbacks, cutovers, emergencies, decisions about a foreign
//! write. Whoever types the same command again gets what was asked for, once.
//!
//! `KEYROLL_TEST_DEPTH=full` kills at every point; the usual run at one in a few, the first and the last stage among them.

mod support;

use std::sync::Arc;

use keyroll_engine::journal::{JournalReader, audit};
use keyroll_engine::{
    CompleteRequest, Compromised, Engine, EngineError, ExitKind, Outcome, RollbackRequest, RotateRequest, Why,
};
use keyroll_rotation::{Mode, Stage};
use support::{FIRST_KEY, Fate, World, fate, folder, revoke, until};

/// A command that is killed, in the world in which it is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Road {
    /// Back, from a rotation that stands behind this stage.
    Back(Stage),
    /// One write, and everybody's session ends.
    Cutover,
    /// Back from there, onto the key in escrow.
    BackFromCutover,
    /// The key in use has leaked.
    Revoke(Mode),
    /// It has leaked while a rotation was draining it.
    RevokeInFlight,
    /// Somebody reverted the key, and that is overwritten.
    Overwrite,
    /// Somebody reverted the key, and that is taken over.
    Adopt,
}

/// Which key is to be in use at the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ends {
    OnTheFirst,
    OnTheNext,
}

impl Road {
    /// The world just before the command.
    async fn begin(self, world: &Arc<World>, engine: &Engine) {
        let before = match self {
            Self::Back(stage) => until(stage),
            Self::BackFromCutover => RotateRequest { mode: Some(Mode::Cutover), ..RotateRequest::default() },
            Self::RevokeInFlight | Self::Overwrite | Self::Adopt => until(Stage::Promoting),
            Self::Cutover | Self::Revoke(_) => return,
        };
        engine.rotate(before).await.unwrap();
        if matches!(self, Self::Overwrite | Self::Adopt) {
            world.foreign_write("SECRET_KEY_BASE_ACCEPT", None);
            world.foreign_write("SECRET_KEY_BASE", Some(FIRST_KEY));
            let outcome = engine.rotate(RotateRequest::default()).await.unwrap();
            assert_eq!(outcome.exit, ExitKind::Drift, "{outcome:?}");
        }
    }

    async fn ask(self, engine: &Engine) -> Result<Outcome, EngineError> {
        match self {
            Self::Back(_) | Self::BackFromCutover => engine.rollback(RollbackRequest::default()).await,
            Self::Cutover => {
                engine.rotate(RotateRequest { mode: Some(Mode::Cutover), ..RotateRequest::default() }).await
            }
            Self::Revoke(mode) => engine.revoke(revoke(mode, Compromised::Old)).await,
            Self::RevokeInFlight => engine.revoke(revoke(Mode::HardCutover, Compromised::Old)).await,
            Self::Overwrite => decided(engine, engine.overwrite_foreign_write(Why::default()).await).await,
            Self::Adopt => decided(engine, engine.adopt_foreign_write(Why::default()).await).await,
        }
    }

    fn ends(self) -> Ends {
        match self {
            Self::Back(_) | Self::BackFromCutover => Ends::OnTheFirst,
            Self::Cutover | Self::Revoke(_) | Self::RevokeInFlight | Self::Overwrite | Self::Adopt => Ends::OnTheNext,
        }
    }

    /// Whether sessions end by name on this road.
    fn ends_sessions(self) -> bool {
        matches!(self, Self::Cutover | Self::BackFromCutover | Self::Revoke(_) | Self::RevokeInFlight)
    }
}

/// What was decided about a foreign write is carried on with. Where an earlier, killed attempt had decided it already, there is
/// nothing left to decide.
async fn decided(engine: &Engine, decision: Result<Outcome, EngineError>) -> Result<Outcome, EngineError> {
    match decision {
        Ok(outcome) if outcome.exit == ExitKind::Drift => Ok(outcome),
        // Over a rotation that is closed already, `rotate` would begin the next one.
        Err(EngineError::RefusedBecause { .. })
            if engine.status().await?.rotation.is_some_and(|rotation| rotation.stage == Stage::Escrow) =>
        {
            engine.complete(CompleteRequest::default()).await
        }
        Ok(_) | Err(EngineError::RefusedBecause { .. }) => engine.rotate(RotateRequest::default()).await,
        Err(error) => Err(error),
    }
}

/// Whether the command that was killed had done everything.
fn over(world: &World, ends: Ends) -> bool {
    let stamp = world.stamp();
    let closed = matches!(stamp["open"]["machine"]["stage"].as_str(), None | Some("escrow" | "finished"));
    let first: std::collections::BTreeSet<_> = [FIRST_KEY.as_bytes().to_vec()].into();
    let minting = world.minting();
    stamp["lock"].is_null()
        && closed
        && match ends {
            Ends::OnTheFirst => minting == first,
            Ends::OnTheNext => minting.is_disjoint(&first) && !world.accepted_somewhere(FIRST_KEY.as_bytes()),
        }
}

/// Kills the command at the n-th point, gives it again, and looks at what has come of it. None behind the last point.
async fn killed_at(road: Road, point: usize) -> Option<String> {
    let dir = folder();
    let world = World::new(2);
    road.begin(&world, &world.engine(dir.path())).await;
    let doomed = world.doomed(dir.path(), point);
    let Fate::Killed(at) = fate(async move { road.ask(&doomed).await }).await else { return None };
    let told = format!("{road:?}, killed at `{at}` (point {point})");
    for _ in 0..ATTEMPTS {
        if over(&world, road.ends()) {
            break;
        }
        let outcome = road.ask(&world.engine(dir.path())).await.unwrap_or_else(|error| panic!("{told}: {error:?}"));
        // A decision about what was shown to somebody else first is shown once more.
        assert!(matches!(outcome.exit, ExitKind::Done | ExitKind::Drift), "{told}: {outcome:?}");
    }
    assert!(over(&world, road.ends()), "{told}: {}", world.stamp());
    assert!(road.ends_sessions() || world.lost().is_empty(), "{told}: {:?}", world.lost());
    assert_eq!(world.stamp()["ledger"]["highest"], 2, "{told}: a key was made twice");
    let journal = JournalReader::open(dir.path()).unwrap();
    let anchor = serde_json::from_value(world.stamp()["audit"].clone()).unwrap();
    let report = audit::verify(&journal, &[anchor]);
    assert_eq!(report.verdict(), audit::AuditVerdict::Anchored, "{told}: {report:?}");
    Some(at)
}

/// How often a command is given again before it counts as stuck.
const ATTEMPTS: usize = 3;

/// Walks down a road; says how many points were met.
async fn walk(road: Road) {
    let full = std::env::var("KEYROLL_TEST_DEPTH").is_ok_and(|depth| depth == "full");
    let stride = if full { 1 } else { SAMPLE };
    let (mut point, mut met) = (0, 0);
    while killed_at(road, point).await.is_some() {
        met += 1;
        point += stride;
    }
    // The last points one by one: behind the end, the same words may mean something else.
    point = point.saturating_sub(stride) + 1;
    while killed_at(road, point).await.is_some() {
        met += 1;
        point += 1;
    }
    tell(&format!("crashes on {road:?}: killed at {met} points, one in {stride}"));
    assert!(met >= 2, "{road:?} has fewer points than it had: {met}");
}

#[tokio::test(start_paused = true)]
async fn a_killed_rollback_that_only_withdraws_the_candidate_is_taken_up() {
    walk(Road::Back(Stage::Staged)).await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_rollback_from_each_later_stage_is_taken_up() {
    for stage in [Stage::Accepting, Stage::Promoting, Stage::Draining, Stage::Retiring, Stage::Closing] {
        walk(Road::Back(stage)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_cutover_and_its_killed_rollback_are_taken_up() {
    walk(Road::Cutover).await;
    walk(Road::BackFromCutover).await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_revocation_is_taken_up_in_either_mode() {
    walk(Road::Revoke(Mode::Accelerated)).await;
    walk(Road::Revoke(Mode::HardCutover)).await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_revocation_of_a_rotation_in_flight_is_taken_up() {
    walk(Road::RevokeInFlight).await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_decision_about_a_foreign_write_is_taken_up() {
    walk(Road::Overwrite).await;
    walk(Road::Adopt).await;
}

#[expect(clippy::print_stderr, reason = "the figures are what the person who runs this wants to see")]
fn tell(line: &str) {
    eprintln!("{line}");
}

/// A prime, so that the points of a repeated pattern are all met in the end.
const SAMPLE: usize = 17;
