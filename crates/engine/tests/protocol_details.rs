//! What the protocol says in half a sentence and a fleet lives by: long sweeps, windows, stickiness, several members at a
//! time, what the members' logs say, and a neighbour's edits.

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use keyroll_adapters::evidence::{Answer, Level, Question, Statement, Subject, Testimony, Witness, WitnessDescription};
use keyroll_adapters::fleets::{
    BootId, Fleet, FleetDescription, FleetError, Member, MemberId, MemberState, ReloadOutcome, ReloadRequest,
    ReloadStyle,
};
use keyroll_adapters::stores::EnvFileStore;
use keyroll_engine::{
    Assembly, CompleteRequest, Compromised, Engine, ExitKind, Overrides, Patience, RevokeRequest, RotateRequest,
    Stickiness, StoreLeak, Why, Window, WindowRule,
};
use keyroll_keyring::{Fields, Part, Profile, Secret};
use keyroll_rotation::{DrainRule, Millis, Mode, ReloadNeed, Stage};
use support::{Listening, SimCounters, World, folder};

fn complete(patience: Patience) -> CompleteRequest {
    CompleteRequest { patience, overrides: Overrides::default(), why: Why::default() }
}

fn journal(dir: &tempfile::TempDir) -> String {
    std::fs::read_to_string(dir.path().join("journal.jsonl")).unwrap()
}

/// A fleet of very many members that read the key again by themselves.
struct Crowd(usize);

#[async_trait]
impl Fleet for Crowd {
    fn describe(&self) -> FleetDescription {
        FleetDescription {
            kind: "crowd",
            location: "a crowd".into(),
            reload: ReloadStyle::HotReload,
            cautions: Vec::new(),
        }
    }

    async fn members(&self) -> Result<Vec<Member>, FleetError> {
        let member = |number: usize| Member {
            id: MemberId(format!("web-{number}")),
            boot: BootId("1".into()),
            address: None,
            state: MemberState::Ready,
            started_at: None,
            workers: Vec::new(),
        };
        Ok((0..self.0).map(member).collect())
    }

    async fn reload(&self, _request: &ReloadRequest) -> Result<ReloadOutcome, FleetError> {
        Ok(ReloadOutcome::AlreadyDone)
    }
}

/// Takes its time for each answer, and refuses a session that is older than a probe's lives.
struct Slow {
    world: Arc<World>,
    began: tokio::time::Instant,
    asked: AtomicUsize,
    oldest: AtomicU64,
}

impl Slow {
    fn now(&self) -> u64 {
        START + u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }
}

#[async_trait]
impl Witness for Slow {
    fn describe(&self) -> WitnessDescription {
        WitnessDescription { kind: "slow", level: Level::P3, tells_accepts: true, tells_mints: true }
    }

    async fn ask(&self, member: &Member, question: &Question<'_>) -> Testimony {
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.asked.fetch_add(1, Ordering::SeqCst);
        let age = self.now().saturating_sub(question.now.0);
        self.oldest.fetch_max(age, Ordering::SeqCst);
        let active = self.world.field("SECRET_KEY_BASE").unwrap();
        let accepted = self.world.field("SECRET_KEY_BASE_ACCEPT").unwrap_or_default();
        let knows = |key: &[u8]| active == key || accepted.split(|byte| *byte == b',').any(|one| one == key);
        let answer = |shown| match (age > PROBE_LIVES, shown) {
            (true, _) => Answer::No,
            (false, true) => Answer::Yes,
            (false, false) => Answer::No,
        };
        let statements = question
            .keys
            .iter()
            .flat_map(|asked| {
                let bytes = asked.key.material().expose();
                let say = |subject, answer| Statement {
                    key: asked.key.id(),
                    subject,
                    answer,
                    level: Level::P3,
                    detail: String::new(),
                };
                [
                    say(Subject::Accepts, answer(knows(bytes))),
                    say(Subject::Mints, if active == bytes { Answer::Yes } else { Answer::No }),
                ]
            })
            .collect();
        // One server forks workers that do not name themselves.
        let residual = (member.id.0 == "web-7").then_some(0.004);
        Testimony { statements, residual, ..Testimony::default() }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_of_ten_thousand_slow_members_sends_each_of_them_a_fresh_session() {
    let dir = folder();
    let world = World::new(0);
    let slow = Arc::new(Slow {
        world: Arc::clone(&world),
        began: tokio::time::Instant::now(),
        asked: AtomicUsize::new(0),
        oldest: AtomicU64::new(0),
    });
    let mut assembly = world.assembly();
    assembly.policy.settings.reload = ReloadNeed::HotReload;
    assembly.consumers[0].fleet = Arc::new(Crowd(10_000));
    assembly.witnesses = vec![Arc::clone(&slow) as Arc<dyn Witness>];
    let began = tokio::time::Instant::now();
    let request = RotateRequest { until: Some(Stage::Promoting), ..RotateRequest::default() };
    let outcome = world.engine_of(assembly, dir.path(), "ada", "here").rotate(request).await.unwrap();
    assert_eq!(outcome.stage, Some(Stage::Draining), "{outcome:?}");
    assert!(slow.asked.load(Ordering::SeqCst) >= 30_000, "preflight, G1 and G2 each asked everybody");
    assert!(began.elapsed() > Duration::from_secs(1_800), "a sweep takes ten minutes, a probe's session lives for one");
    assert!(slow.oldest.load(Ordering::SeqCst) <= 2_000, "and nobody was sent one that was older than the answer took");
    let residual = "the probability that a stale one of a member was never met is at most 0.4000 %";
    assert!(journal(&dir).contains(residual), "what workers without names leave open is in the record");
}

/// A window that opens at one moment.
#[derive(Debug)]
struct OpensAt(u64);

impl Window for OpensAt {
    fn closed_until(&self, now: jiff::Timestamp) -> Option<(jiff::Timestamp, String)> {
        let opens = jiff::Timestamp::from_millisecond(i64::try_from(self.0).unwrap()).unwrap();
        (now < opens).then(|| (opens, "outside of the policy's window".to_owned()))
    }
}

fn windowed(world: &Arc<World>, opens: u64) -> Assembly {
    let mut assembly = world.assembly();
    assembly.policy.window = Some(Arc::new(OpensAt(opens)));
    assembly
}

#[tokio::test(start_paused = true)]
async fn outside_of_the_window_a_rotation_says_policy_and_when_to_come_back() {
    let dir = folder();
    let world = World::new(2);
    let opens = START + 3_600_000;
    let engine = || world.engine_of(windowed(&world, opens), dir.path(), "ada", "here");
    for patience in [Patience::None, Patience::For(Duration::from_secs(1_800))] {
        let outcome = engine().rotate(RotateRequest { patience, ..RotateRequest::default() }).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Waiting, "{outcome:?}");
        let wait = outcome.wait.unwrap();
        assert_eq!(wait.come_back_at.map(jiff::Timestamp::as_millisecond), i64::try_from(opens).ok());
        assert_eq!(serde_json::to_value(wait.naysayers[0].who).unwrap(), "policy");
    }
    assert_eq!((world.candidates(), world.stamps().len()), (0, 0), "nothing was written, not even a lock");
}

#[tokio::test(start_paused = true)]
async fn a_patient_rotation_begins_when_the_window_opens_and_goes_on_when_it_closes() {
    let dir = folder();
    let world = World::new(2);
    let engine = world.engine_of(windowed(&world, START + 3_600_000), dir.path(), "ada", "here");
    let driving = tokio::spawn(async move { engine.rotate(RotateRequest::default()).await });
    tokio::time::sleep(Duration::from_secs(3_590)).await;
    assert_eq!(world.candidates(), 0);
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert_eq!(world.candidates(), 1);
    // Somebody else's file has a window that is closed; the open rotation is not bound by it.
    assert_eq!(driving.await.unwrap().unwrap().exit, ExitKind::Done);
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_open_rotation_and_an_emergency_ask_no_window() {
    let dir = folder();
    let world = World::new(2);
    let staged = RotateRequest { until: Some(Stage::Accepting), ..RotateRequest::default() };
    world.engine(dir.path()).rotate(staged).await.unwrap();
    let never = || world.engine_of(windowed(&world, START * 2), dir.path(), "ada", "here");
    let outcome = never().rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    world.forgive();
    let outcome = never().revoke(revoke(Mode::HardCutover)).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn the_window_is_overridden_by_name_only_and_the_record_says_so() {
    let dir = folder();
    let world = World::new(2);
    let request = RotateRequest { window: WindowRule::Overridden, ..RotateRequest::default() };
    let engine = world.engine_of(windowed(&world, START + 3_600_000), dir.path(), "ada", "here");
    assert_eq!(engine.rotate(request).await.unwrap().exit, ExitKind::Done);
    assert!(journal(&dir).contains("--outside-window"));
    let dir = folder();
    let world = World::new(2);
    let request = RotateRequest { window: WindowRule::Overridden, ..RotateRequest::default() };
    let engine = world.engine_of(windowed(&world, START), dir.path(), "ada", "here");
    assert_eq!(engine.rotate(request).await.unwrap().exit, ExitKind::Done);
    assert!(!journal(&dir).contains("--outside-window"), "an open window was not overridden");
}

fn revoke(mode: Mode) -> RevokeRequest {
    RevokeRequest {
        mode,
        compromised: Compromised::Old,
        store: StoreLeak::Excluded,
        patience: Patience::Forever,
        overrides: Overrides::default(),
        why: Why::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn where_members_fight_over_a_session_stickiness_is_asked_for() {
    let world = World::new(2);
    let dir = folder();
    let fighting = |stickiness| {
        let rails = include_str!("../../keyring/profiles/rails.toml");
        let text = rails.replacen("title =", "different-active-keys = \"fight\"\ntitle =", 1);
        let mut assembly = world.assembly();
        assembly.profile = Profile::from_toml(&text).unwrap();
        assembly.policy.stickiness = stickiness;
        world.engine_of(assembly, dir.path(), "ada", "here")
    };
    let error = fighting(Stickiness::NotDeclared).rotate(RotateRequest::default()).await.unwrap_err();
    assert_eq!(error.exit(), ExitKind::PreflightFailed);
    let report = fighting(Stickiness::NotDeclared).preflight().await;
    let check = report.checks.iter().find(|check| check.name == "profile.stickiness").unwrap();
    assert!(check.fix.as_ref().unwrap().contains("sessions.sticky: true"), "{check:?}");
    let cutover = RotateRequest { mode: Some(Mode::Cutover), until: Some(Stage::Staged), ..RotateRequest::default() };
    assert_eq!(fighting(Stickiness::NotDeclared).rotate(cutover).await.unwrap().exit, ExitKind::Waiting);
    assert_eq!(fighting(Stickiness::Declared).rotate(RotateRequest::default()).await.unwrap().exit, ExitKind::Done);
    for (name, fights) in [("django", true), ("django/signed-cookies", false), ("rails", false), ("flask", false)] {
        let contention = Profile::builtin(name).unwrap().contention();
        assert_eq!(contention == keyroll_keyring::profile::Contention::BetweenActiveKeys, fights, "{name}");
    }
}

/// Counts how many members are away at once.
struct Counting {
    fleet: Arc<dyn Fleet>,
    most_away: AtomicUsize,
    rolls: Mutex<Vec<(String, usize)>>,
}

#[async_trait]
impl Fleet for Counting {
    fn describe(&self) -> FleetDescription {
        self.fleet.describe()
    }

    async fn members(&self) -> Result<Vec<Member>, FleetError> {
        let members = self.fleet.members().await?;
        let away = members.iter().filter(|member| member.state != MemberState::Ready).count();
        self.most_away.fetch_max(away, Ordering::SeqCst);
        if let Some(last) = self.rolls.lock().unwrap().last_mut() {
            last.1 = last.1.max(away);
        }
        Ok(members)
    }

    async fn reload(&self, request: &ReloadRequest) -> Result<ReloadOutcome, FleetError> {
        {
            let mut rolls = self.rolls.lock().unwrap();
            if rolls.last().is_none_or(|(id, _)| *id != request.id.0) {
                rolls.push((request.id.0.clone(), 0));
            }
        }
        self.fleet.reload(request).await
    }
}

fn counting(world: &Arc<World>, parallel: usize, surge: usize) -> (Assembly, Arc<Counting>) {
    let mut assembly = world.assembly();
    let fleet = Arc::clone(&assembly.consumers[0].fleet);
    let counting = Arc::new(Counting { fleet, most_away: AtomicUsize::new(0), rolls: Mutex::new(Vec::new()) });
    assembly.consumers[0].fleet = Arc::clone(&counting) as Arc<dyn Fleet>;
    assembly.consumers[0].parallel = parallel;
    assembly.consumers[0].surge = surge;
    (assembly, counting)
}

#[tokio::test(start_paused = true)]
async fn so_many_members_reload_at_a_time_as_the_file_says_and_no_more() {
    for parallel in [1, 2, 3] {
        let dir = folder();
        let world = World::new(5);
        world.set_warm_up(Duration::from_secs(4));
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (assembly, counting) = counting(&world, parallel, 3);
        let engine = world.engine_of(assembly, dir.path(), "ada", "here");
        assert_eq!(engine.rotate(RotateRequest::default()).await.unwrap().exit, ExitKind::Done);
        assert_eq!(counting.most_away.load(Ordering::SeqCst), parallel, "the surge is for emergencies");
        assert_eq!(world.lost(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn an_emergency_reloads_with_the_surge_and_a_hard_cutover_everybody() {
    for (mode, widest) in [(Mode::Accelerated, 3), (Mode::HardCutover, 5)] {
        let dir = folder();
        let world = World::new(5);
        world.set_warm_up(Duration::from_secs(4));
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (assembly, counting) = counting(&world, 1, 2);
        world.forgive();
        let engine = world.engine_of(assembly, dir.path(), "ada", "here");
        assert_eq!(engine.revoke(revoke(mode)).await.unwrap().exit, ExitKind::Done);
        let rolls = counting.rolls.lock().unwrap().clone();
        assert_eq!(rolls.last().unwrap().1, widest, "{mode:?}: {rolls:?}");
        if mode == Mode::Accelerated {
            assert_eq!(rolls[0].1, 1, "the first roll only adds a key, so nobody is in a hurry: {rolls:?}");
        }
    }
}

/// Members that take their time to answer, and when each of them was reloaded.
struct Hanging {
    inner: Arc<dyn Witness>,
    fleet: Arc<dyn Fleet>,
    reloaded: Mutex<Vec<tokio::time::Instant>>,
}

#[async_trait]
impl Witness for Hanging {
    fn describe(&self) -> WitnessDescription {
        self.inner.describe()
    }

    async fn ask(&self, member: &Member, question: &Question<'_>) -> Testimony {
        tokio::time::sleep(Duration::from_secs(5)).await;
        self.inner.ask(member, question).await
    }
}

#[async_trait]
impl Fleet for Hanging {
    fn describe(&self) -> FleetDescription {
        self.fleet.describe()
    }

    async fn members(&self) -> Result<Vec<Member>, FleetError> {
        self.fleet.members().await
    }

    async fn reload(&self, request: &ReloadRequest) -> Result<ReloadOutcome, FleetError> {
        self.reloaded.lock().unwrap().push(tokio::time::Instant::now());
        self.fleet.reload(request).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_hard_cutover_reloads_everybody_before_slow_members_have_answered_in_turn() {
    let dir = folder();
    let world = World::new(12);
    world.forgive();
    let mut assembly = world.assembly();
    let hanging = Arc::new(Hanging {
        inner: Arc::clone(&assembly.witnesses[0]),
        fleet: Arc::clone(&assembly.consumers[0].fleet),
        reloaded: Mutex::default(),
    });
    assembly.witnesses = vec![Arc::clone(&hanging) as Arc<dyn Witness>];
    assembly.consumers[0].fleet = Arc::clone(&hanging) as Arc<dyn Fleet>;
    let began = tokio::time::Instant::now();
    let engine = world.engine_of(assembly, dir.path(), "ada", "here");
    assert_eq!(engine.revoke(revoke(Mode::HardCutover)).await.unwrap().exit, ExitKind::Done);
    let reloaded = hanging.reloaded.lock().unwrap().clone();
    let last = reloaded[..12].iter().max().unwrap().duration_since(began);
    assert!(last < Duration::from_secs(10), "a leaked key was accepted for {last:?}");
}

/// A fleet that keeps what its members print.
struct Printing {
    fleet: Arc<dyn Fleet>,
    printed: Mutex<String>,
}

#[async_trait]
impl Fleet for Printing {
    fn describe(&self) -> FleetDescription {
        self.fleet.describe()
    }

    async fn members(&self) -> Result<Vec<Member>, FleetError> {
        self.fleet.members().await
    }

    async fn reload(&self, request: &ReloadRequest) -> Result<ReloadOutcome, FleetError> {
        let outcome = self.fleet.reload(request).await?;
        if format!("{:?}", request.target).contains("web-1") {
            self.printed.lock().unwrap().push_str("InvalidMessage of a user\n");
        }
        Ok(outcome)
    }

    async fn output(&self, member: &Member) -> Result<Option<Vec<u8>>, FleetError> {
        let printed = self.printed.lock().unwrap().clone();
        Ok(Some(if member.id.0 == "web-1" { printed.into_bytes() } else { b"all is well\n".to_vec() }))
    }
}

#[tokio::test(start_paused = true)]
async fn verify_fails_on_the_profile_s_error_texts_and_names_the_member_and_never_the_line() {
    let dir = folder();
    let world = World::new(2);
    let text = "ActiveSupport::MessageEncryptor::InvalidMessage";
    let printing = |printed: &str| {
        let mut assembly = world.assembly();
        let fleet = Arc::clone(&assembly.consumers[0].fleet);
        let printed = Mutex::new(printed.to_owned());
        assembly.consumers[0].fleet = Arc::new(Printing { fleet, printed });
        world.engine_of(assembly, dir.path(), "ada", "here")
    };
    assert!(printing("one line\n").verify().await.unwrap().passed());
    let report = printing(&format!("{text} cookie=topsecret\nfine\n{text}\n")).verify().await.unwrap();
    assert!(!report.passed());
    let check =
        report.checks.iter().find(|check| check.name == "errors.texts" && check.object.as_deref() == Some("web-1"));
    let found = &check.unwrap().found;
    assert!(found.contains("2 x") && found.contains(text), "{found}");
    assert!(!serde_json::to_string(&report).unwrap().contains("topsecret"));
    // Without any log nothing is claimed.
    let report = world.engine(dir.path()).verify().await.unwrap();
    let check = report.checks.iter().find(|check| check.name == "errors.texts").unwrap();
    assert!(check.found.contains("no log"), "{check:?}");
}

#[tokio::test(start_paused = true)]
async fn after_each_roll_the_error_texts_that_came_with_it_are_told() {
    let dir = folder();
    let world = World::new(2);
    let rails = include_str!("../../keyring/profiles/rails.toml");
    let text =
        rails.replacen("text = \"ActiveSupport::MessageEncryptor::InvalidMessage\"", "text = \"InvalidMessage of\"", 1);
    let mut assembly = world.assembly();
    assembly.profile = Profile::from_toml(&text).unwrap();
    let fleet = Arc::clone(&assembly.consumers[0].fleet);
    let printed = Mutex::new("InvalidMessage of yesterday\n".to_owned());
    assembly.consumers[0].fleet = Arc::new(Printing { fleet, printed });
    let listening = Arc::new(Listening::default());
    let engine: Engine =
        world.engine_of(assembly, dir.path(), "ada", "here").with_observer(Arc::clone(&listening) as Arc<_>);
    assert_eq!(engine.rotate(RotateRequest::default()).await.unwrap().exit, ExitKind::Done);
    let notices = listening.0.lock().unwrap().clone();
    let told: Vec<_> = notices.iter().filter(|notice| notice.contains("refused sessions")).collect();
    assert_eq!(told.len(), 3, "one for each roll: {told:?}");
    assert!(told.iter().all(|notice| notice.contains("web-1") && !notice.contains("of a user")), "{told:?}");
}

fn unbounded(world: &Arc<World>, limit: u64) -> Assembly {
    let mut assembly = world.assembly();
    assembly.policy.settings.max_lifetime = None;
    assembly.policy.settings.drain = DrainRule::Counter;
    assembly.policy.settings.drain_limit = Some(Millis(limit));
    assembly.policy.settings.least_reissued_permille = Some(950);
    assembly.policy.drain_window = Duration::from_secs(8);
    assembly.policy.drain_interval = Duration::from_secs(2);
    assembly.drain = Some(Arc::new(SimCounters { world: Arc::clone(world) }));
    assembly
}

#[tokio::test(start_paused = true)]
async fn sessions_without_an_end_are_drained_when_the_limit_has_passed_and_enough_of_them_are_renewed() {
    let dir = folder();
    let world = World::new(2);
    let engine = world.engine_of(unbounded(&world, 100_000), dir.path(), "ada", "here");
    let began = tokio::time::Instant::now();
    assert_eq!(engine.rotate(RotateRequest::default()).await.unwrap().exit, ExitKind::Done);
    assert!(began.elapsed() > Duration::from_secs(100), "not before the limit");
    assert_eq!(world.lost(), Vec::<String>::new());
    assert!(journal(&dir).contains("Reissued"), "the share is in the record");
}

#[tokio::test(start_paused = true)]
async fn where_too_few_are_renewed_at_the_limit_a_person_decides_with_the_number_at_hand() {
    let dir = folder();
    let world = World::new(2);
    let engine = world.engine_of(unbounded(&world, 10_000), dir.path(), "ada", "here");
    let outcome = engine.rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::HumanMustDecide, "{outcome:?}");
    assert_eq!(outcome.stage, Some(Stage::Draining));
    let reasons = serde_json::to_string(&outcome.wait).unwrap();
    assert!(reasons.contains("accept the loss of up to"), "{reasons}");
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_life_without_end_and_a_drain_by_time_alone_do_not_pass_preflight() {
    let dir = folder();
    let world = World::new(1);
    let mut assembly = unbounded(&world, 100_000);
    assembly.policy.settings.drain = DrainRule::Lifetime;
    assert!(!world.engine_of(assembly, dir.path(), "ada", "here").preflight().await.passed());
}

#[tokio::test(start_paused = true)]
async fn whoever_writes_beside_the_key_between_a_gate_and_its_write_has_everybody_asked_again() {
    let dir = folder();
    let world = World::new(2);
    let engine = world.engine(dir.path());
    let request = RotateRequest { until: Some(Stage::Accepting), ..RotateRequest::default() };
    assert_eq!(engine.rotate(request).await.unwrap().stage, Some(Stage::Promoting));
    let sweeps = || journal(&dir).matches(r#""kind":"gateSwept""#).count();
    let before = sweeps();
    world.touch();
    // A change and its undoing look like this too, and a member that started in between has read what stood there.
    let request = RotateRequest { until: Some(Stage::Promoting), ..RotateRequest::default() };
    assert_eq!(world.engine(dir.path()).rotate(request).await.unwrap().stage, Some(Stage::Draining));
    assert!(
        journal(&dir).contains(r#""kind":"rebased""#),
        "nobody drove when it happened, and it is seen all the same"
    );
    assert_eq!(sweeps() - before, 2, "G1 once more, and G2");
    assert_eq!(world.lost(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_neighbour_s_edit_while_nobody_drives_stamps_the_drain_anew_and_an_untouched_store_does_not() {
    let dir = folder();
    let world = World::new(2);
    let request = || RotateRequest { patience: Patience::For(Duration::from_secs(20)), ..RotateRequest::default() };
    assert_eq!(world.engine(dir.path()).rotate(request()).await.unwrap().stage, Some(Stage::Draining));
    let t0 = || world.stamp()["open"]["machine"]["t0"].as_u64();
    let first = t0().unwrap();
    world.engine(dir.path()).complete(complete(Patience::For(Duration::from_secs(5)))).await.unwrap();
    assert_eq!(t0(), Some(first));
    world.touch();
    world.engine(dir.path()).complete(complete(Patience::For(Duration::from_secs(10)))).await.unwrap();
    assert!(t0().unwrap() > first, "late, and safe");
    assert_eq!(world.engine(dir.path()).complete(complete(Patience::Forever)).await.unwrap().exit, ExitKind::Done);
    assert_eq!(world.lost(), Vec::<String>::new());
    assert_eq!(BTreeSet::from_iter(world.minting()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_neighbour_s_edit_behind_the_last_look_of_a_command_is_heeded_by_the_next_one() {
    let dir = folder();
    let world = World::new(2);
    let engine = world.meanwhile(dir.path(), "draining/before release lock", World::touch);
    let request = RotateRequest { patience: Patience::For(Duration::from_secs(20)), ..RotateRequest::default() };
    assert_eq!(engine.rotate(request).await.unwrap().stage, Some(Stage::Draining));
    let t0 = || world.stamp()["open"]["machine"]["t0"].as_u64();
    let first = t0().unwrap();
    assert!(!journal(&dir).contains(r#""kind":"rebased""#), "it came behind the last look");
    world.engine(dir.path()).complete(complete(Patience::For(Duration::from_secs(10)))).await.unwrap();
    assert!(journal(&dir).contains(r#""kind":"rebased""#));
    assert!(t0().unwrap() > first, "late, and safe");
}

/// Members that read an env file at every question, and a key of two parts.
struct TwoParts {
    profile: Profile,
    path: std::path::PathBuf,
    pairs: Mutex<BTreeSet<Vec<Vec<u8>>>>,
}

#[async_trait]
impl Witness for TwoParts {
    fn describe(&self) -> WitnessDescription {
        WitnessDescription { kind: "parts", level: Level::P3, tells_accepts: true, tells_mints: true }
    }

    async fn ask(&self, _member: &Member, question: &Question<'_>) -> Testimony {
        let text = std::fs::read_to_string(&self.path).unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.filter(|value| !value.is_empty()).map(|value| Secret::from_bytes(value.as_bytes().to_vec()))
        };
        let fields = self.profile.fields().into_iter().map(|name| (name.clone(), value(&name.0))).collect();
        let found = self.profile.parse(&Fields(fields)).unwrap();
        let bytes =
            |parts: &[Part]| -> Vec<Vec<u8>> { parts.iter().map(|part| part.material.expose().to_vec()).collect() };
        let active = bytes(&found.active.parts);
        let accepted: Vec<_> = found.accept_only.iter().map(|key| bytes(&key.parts)).collect();
        self.pairs.lock().unwrap().extend(accepted.iter().chain([&active]).cloned());
        let yes = |shown| if shown { Answer::Yes } else { Answer::No };
        let statements = question.keys.iter().flat_map(|asked| {
            let key = bytes(asked.key.parts());
            [(Subject::Accepts, active == key || accepted.contains(&key)), (Subject::Mints, active == key)].map(
                |(subject, shown)| Statement {
                    key: asked.key.id(),
                    subject,
                    answer: yes(shown),
                    level: Level::P3,
                    detail: String::new(),
                },
            )
        });
        Testimony { statements: statements.collect(), ..Testimony::default() }
    }
}

#[tokio::test(start_paused = true)]
async fn an_encryption_and_a_signing_key_are_promoted_together() {
    let dir = folder();
    let world = World::new(0);
    let profile = Profile::from_toml(TWO_PARTS).unwrap();
    let path = dir.path().join("app.env");
    let before = format!("PORT=1\nENC={ENC}\nSIG={SIG}\n");
    std::fs::write(&path, &before).unwrap();
    let parts = Arc::new(TwoParts { profile: profile.clone(), path: path.clone(), pairs: Mutex::default() });
    let mut assembly = world.assembly();
    assembly.stores = vec![Arc::new(EnvFileStore::new(&path, profile.fields()))];
    assembly.profile = profile;
    assembly.policy.settings.reload = ReloadNeed::HotReload;
    assembly.policy.settings.max_lifetime = Some(Millis(0));
    // A file has the machine's clock, and the test has its own.
    assembly.policy.max_clock_skew = Duration::MAX;
    assembly.policy.settings.settle = Millis(0);
    assembly.policy.settings.leeway = Millis(0);
    assembly.consumers[0].fleet = Arc::new(Crowd(3));
    assembly.witnesses = vec![Arc::clone(&parts) as Arc<dyn Witness>];
    let state = dir.path().join("state");
    let outcome = world.engine_of(assembly, &state, "ada", "here").rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{outcome:?}");
    let pairs = parts.pairs.lock().unwrap().clone();
    assert_eq!(pairs.len(), 2, "no member ever saw one part of the one key beside the other part of the other");
    let after = std::fs::read_to_string(&path).unwrap();
    for name in ["ENC=", "SIG="] {
        let line = |text: &str| text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        assert_ne!(line(&before), line(&after), "{name}");
    }
    assert!(after.starts_with("PORT=1\n"));
}

const ENC: &str = "61868094c83661d01a4195ebc66a2f48eaba92c9728106eaee8734cef01889ca";
const SIG: &str = "db926858aa1868e662540faa1e00fb9f71170326044b3dbb4a19ba4d09c1663e";
const TWO_PARTS: &str = r#"
schema = 1
name = "two-parts"
title = "An application with two keys"

[[parts]]
name = "encryption"
encoding = "text"
material = "text"
length = { at-least = 32 }
generate = { random-bytes = 32, as = "hex" }

[[parts]]
name = "signing"
encoding = "text"
material = "text"
length = { at-least = 32 }
generate = { random-bytes = 32, as = "hex" }

[layout]
kind = "separate-parts"

[layout.parts]
encryption = { active = "ENC", accept = { kind = "list", field = "ENC_ACCEPT", separator = "," } }
signing = { active = "SIG", accept = { kind = "list", field = "SIG_ACCEPT", separator = "," } }
"#;

/// When every test's world begins.
const START: u64 = 1_790_000_000_000;

/// So long a probe's session lives.
const PROBE_LIVES: u64 = 50_000;
