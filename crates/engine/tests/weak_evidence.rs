//! Proof that is weaker than a gate asks for: it counts where the operator names it on the run, and nowhere else.

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keyroll_adapters::Timestamp;
use keyroll_adapters::evidence::{Answer, Level, Question, Subject, Testimony, Witness, WitnessDescription};
use keyroll_adapters::fleets::{Fleet, FleetDescription, FleetError, Member, ReloadOutcome, ReloadRequest};
use keyroll_engine::{
    Assembly, Colour, CompleteRequest, Compromised, EngineError, ExitKind, Overrides, Patience, PreflightReport,
    RevokeRequest, RotateRequest, Standby, Why,
};
use keyroll_rotation::gate::{EvidenceLevel, EvidenceRule};
use keyroll_rotation::{Mode, Stage};
use support::{World, folder};

/// What is left of a witness's statements.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Weakness {
    /// Accepting and rejecting are shown as strongly as this, minting as strongly as ever.
    Accepting(Level),
    /// Minting is shown as strongly as this.
    Minting(Level),
    /// Nothing is shown of minting.
    Mute,
    /// Nothing is shown of either.
    Silent,
}

struct Weakened(Arc<dyn Witness>, Weakness);

#[async_trait]
impl Witness for Weakened {
    fn describe(&self) -> WitnessDescription {
        self.0.describe()
    }

    async fn ask(&self, member: &Member, question: &Question<'_>) -> Testimony {
        let mut testimony = self.0.ask(member, question).await;
        for statement in &mut testimony.statements {
            match (self.1, statement.subject) {
                (Weakness::Accepting(level), Subject::Accepts) | (Weakness::Minting(level), Subject::Mints) => {
                    statement.level = level;
                }
                (Weakness::Silent, _) | (Weakness::Mute, Subject::Mints) => statement.answer = Answer::Unknown,
                (Weakness::Accepting(_), Subject::Mints)
                | (Weakness::Minting(_) | Weakness::Mute, Subject::Accepts) => {}
            }
        }
        testimony
    }
}

/// A fleet that does not know when its members started.
struct Timeless(Arc<dyn Fleet>);

#[async_trait]
impl Fleet for Timeless {
    fn describe(&self) -> FleetDescription {
        self.0.describe()
    }

    async fn members(&self) -> Result<Vec<Member>, FleetError> {
        let members = self.0.members().await?;
        Ok(members.into_iter().map(|member| Member { started_at: None, ..member }).collect())
    }

    async fn reload(&self, request: &ReloadRequest) -> Result<ReloadOutcome, FleetError> {
        self.0.reload(request).await
    }
}

/// A fleet whose hosts' clocks are ahead of the store's.
struct Ahead(Arc<dyn Fleet>, u64);

#[async_trait]
impl Fleet for Ahead {
    fn describe(&self) -> FleetDescription {
        self.0.describe()
    }

    async fn members(&self) -> Result<Vec<Member>, FleetError> {
        let ahead = |at: Timestamp| Timestamp(at.0 + self.1);
        let members = self.0.members().await?;
        Ok(members.into_iter().map(|member| Member { started_at: member.started_at.map(ahead), ..member }).collect())
    }

    async fn reload(&self, request: &ReloadRequest) -> Result<ReloadOutcome, FleetError> {
        self.0.reload(request).await
    }
}

fn weakened(world: &Arc<World>, weakness: Weakness) -> Assembly {
    let mut assembly = world.assembly();
    let witness = Arc::clone(&assembly.witnesses[0]);
    assembly.witnesses = vec![Arc::new(Weakened(witness, weakness))];
    assembly
}

fn timeless(world: &Arc<World>) -> Assembly {
    let mut assembly = weakened(world, Weakness::Silent);
    assembly.consumers[0].fleet = Arc::new(Timeless(Arc::clone(&assembly.consumers[0].fleet)));
    assembly
}

fn by_name() -> Overrides {
    Overrides { evidence: Some(EvidenceRule::Weak), ..Overrides::default() }
}

fn weakly() -> RotateRequest {
    RotateRequest { overrides: by_name(), ..RotateRequest::default() }
}

fn fixes(report: &PreflightReport) -> String {
    report.checks.iter().filter_map(|check| check.fix.clone()).collect::<Vec<_>>().join("\n")
}

/// Preflight refuses it with exit 4 and the flag to name, and nothing was written.
async fn refused(world: &Arc<World>, assembly: Assembly, request: RotateRequest) -> PreflightReport {
    let dir = folder();
    let error = world.engine_of(assembly, dir.path(), "ada", "here").rotate(request).await.unwrap_err();
    assert_eq!(error.exit(), ExitKind::PreflightFailed);
    let EngineError::Preflight { report } = error else { panic!("{error:?}") };
    assert_eq!(world.candidates(), 0);
    *report
}

async fn journal_of(world: &Arc<World>, assembly: Assembly, request: RotateRequest) -> String {
    let dir = folder();
    let outcome = world.engine_of(assembly, dir.path(), "ada", "here").rotate(request).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.lost(), Vec::<String>::new());
    std::fs::read_to_string(dir.path().join("journal.jsonl")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_a_report_or_less_says_of_accepting_passes_no_gate_unless_it_is_named_and_then_it_is_recorded() {
    for level in [Level::P0, Level::P1, Level::P2] {
        let world = World::new(2);
        let weakness = Weakness::Accepting(level);
        let report = refused(&world, weakened(&world, weakness), RotateRequest::default()).await;
        assert!(fixes(&report).contains("keyroll rotate --evidence weak"), "{report:?}");
        let journal = journal_of(&world, weakened(&world, weakness), weakly()).await;
        assert!(journal.contains(r#""action":"weakEvidence""#), "who named it is recorded");
        assert!(journal.contains(r#""rule":"Weak""#), "and each gate says what it took");
    }
}

#[tokio::test(start_paused = true)]
async fn what_less_than_a_report_says_of_minting_passes_no_gate_unless_it_is_named() {
    for level in [Level::P0, Level::P1] {
        let world = World::new(2);
        let report = refused(&world, weakened(&world, Weakness::Minting(level)), RotateRequest::default()).await;
        assert!(fixes(&report).contains("keyroll rotate --evidence weak"), "{report:?}");
        journal_of(&world, weakened(&world, Weakness::Minting(level)), weakly()).await;
    }
    let world = World::new(2);
    let journal = journal_of(&world, weakened(&world, Weakness::Minting(Level::P2)), RotateRequest::default()).await;
    assert!(!journal.contains("weakEvidence"), "a report of minting is as much as G2 asks for");
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_start_counts_by_name_only_whatever_the_file_believes() {
    let world = World::new(2);
    for believed in [None, Some(EvidenceLevel::P1), Some(EvidenceLevel::P0)] {
        let mut assembly = weakened(&world, Weakness::Silent);
        assembly.policy.believed = believed;
        refused(&world, assembly, RotateRequest::default()).await;
    }
    let journal = journal_of(&world, weakened(&world, Weakness::Silent), weakly()).await;
    assert!(journal.contains(r#""level":"P1""#) && !journal.contains(r#""level":"P0""#));
}

#[tokio::test(start_paused = true)]
async fn a_rollout_s_own_word_counts_only_where_the_file_and_the_operator_both_name_it() {
    let world = World::new(3);
    refused(&world, timeless(&world), weakly()).await;
    let believing = || {
        let mut assembly = timeless(&world);
        assembly.policy.believed = Some(EvidenceLevel::P0);
        assembly
    };
    refused(&world, believing(), RotateRequest::default()).await;
    let journal = journal_of(&world, believing(), weakly()).await;
    assert!(journal.contains(r#""level":"P0""#));
    assert!(!world.accepted_somewhere(support::FIRST_KEY.as_bytes()), "every member was rolled all the same");
}

#[tokio::test(start_paused = true)]
async fn a_gate_whose_proof_grew_weak_meanwhile_waits_until_somebody_names_it() {
    let dir = folder();
    let world = World::new(2);
    let staged = RotateRequest { until: Some(Stage::Staged), ..RotateRequest::default() };
    world.engine(dir.path()).rotate(staged).await.unwrap();
    let engine = || world.engine_of(weakened(&world, Weakness::Accepting(Level::P2)), dir.path(), "ada", "here");
    let complete = |patience, overrides| CompleteRequest { patience, overrides, why: Why::default() };
    let a_while = Patience::For(Duration::from_secs(600));
    let outcome = engine().complete(complete(a_while, Overrides::default())).await.unwrap();
    assert_ne!(outcome.exit, ExitKind::Done);
    assert_eq!(outcome.stage, Some(Stage::Accepting), "{outcome:?}");
    let outcome = engine().complete(complete(Patience::Forever, by_name())).await.unwrap();
    // A roll that had stopped asks for a person first; naming the evidence is not resuming.
    let outcome = match outcome.exit {
        ExitKind::HumanMustDecide => {
            engine().resume(Why::default()).await.unwrap();
            engine().complete(complete(Patience::Forever, Overrides::default())).await.unwrap()
        }
        _ => outcome,
    };
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_was_named_for_a_run_counts_for_the_standby_that_it_leaves() {
    let world = World::new(2);
    let mut assembly = weakened(&world, Weakness::Silent);
    assembly.policy.standby = Standby::Keep;
    let journal = journal_of(&world, assembly, weakly()).await;
    assert_eq!(journal.matches(r#""action":"weakEvidence""#).count(), 2, "for the rotation and for the standby");
}

/// A member that starts within settle may read the old version, and its host says that it started later than it did.
#[tokio::test(start_paused = true)]
async fn a_start_by_a_clock_that_is_ahead_is_no_proof_within_the_leeway_for_clocks() {
    let world = World::new(2);
    world.set_stale(Duration::from_millis(1_900));
    let mut assembly = weakened(&world, Weakness::Silent);
    assembly.consumers[0].fleet = Arc::new(Ahead(Arc::clone(&assembly.consumers[0].fleet), 3_000));
    assert!(assembly.policy.max_clock_skew >= Duration::from_secs(3));
    journal_of(&world, assembly, weakly()).await;
    assert!(!world.accepted_somewhere(support::FIRST_KEY.as_bytes()), "who was believed had read what it should");
}

#[tokio::test(start_paused = true)]
async fn weak_evidence_that_was_named_for_a_rotation_does_not_show_that_a_leaked_key_is_dead() {
    let (dir, world) = (folder(), World::new(2));
    let engine = || world.engine_of(weakened(&world, Weakness::Silent), dir.path(), "ada", "here");
    engine().rotate(RotateRequest { until: Some(Stage::Promoting), ..weakly() }).await.unwrap();
    assert_eq!(world.stamp()["open"]["machine"]["settings"]["evidence"], "Weak");
    let a_while = Patience::For(Duration::from_secs(600));
    let leak = RevokeRequest { patience: a_while, ..support::revoke(Mode::HardCutover, Compromised::Old) };
    let outcome = engine().revoke(leak).await.unwrap();
    assert_ne!(outcome.exit, ExitKind::Done, "nobody was asked, and nobody has named that again: {outcome:?}");
    assert_eq!(outcome.stage, Some(Stage::CuttingOver));
    let complete = |overrides| CompleteRequest { patience: Patience::Forever, overrides, why: Why::default() };
    let outcome = engine().complete(complete(by_name())).await.unwrap();
    let outcome = match outcome.exit {
        ExitKind::HumanMustDecide => {
            engine().resume(Why::default()).await.unwrap();
            engine().complete(complete(Overrides::default())).await.unwrap()
        }
        _ => outcome,
    };
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    assert!(outcome.summary.contains("0 of 2 members were shown to reject it"), "{outcome:?}");
    assert!(outcome.summary.contains("2 of 2 members restarted since, not asked"), "{outcome:?}");
    assert!(outcome.rejected.is_empty(), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn verify_is_not_green_where_nobody_knows_which_key_a_member_mints_with() {
    let (dir, world) = (folder(), World::new(2));
    let report = world.engine(dir.path()).verify().await.unwrap();
    assert!(report.passed(), "{report:?}");
    let report = world.engine_of(weakened(&world, Weakness::Mute), dir.path(), "ada", "here").verify().await.unwrap();
    let members: Vec<_> = report.checks.iter().filter(|check| check.name == "member.keys").collect();
    assert_eq!(members.len(), 2);
    for check in members {
        assert_eq!(check.colour, Colour::Unknown);
        assert!(check.found.contains("which key it mints with"), "{check:?}");
    }
    assert!(!report.passed());
}
