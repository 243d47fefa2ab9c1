//! The model: every schedule of a small world, and fourteen ways to do it wrong.
//!
//! The model has no protocol of its own. Its actions are those of [`simulation::World`], whose driver asks the
//! production [`Rotation`](keyroll_rotation::Rotation) what to do from every reachable state; only what makes worlds
//! alike is added here. The flawed drivers are the negative controls: each must be refuted, and its counterexample is
//! printed as a story.
//!
//! `KEYROLL_TEST_DEPTH=full` searches the large worlds; see CONTRIBUTING.

#![expect(clippy::print_stdout, reason = "the counterexamples and the size of the search are the result")]
#![expect(clippy::disallowed_methods, reason = "the time that a search takes is printed, and nothing depends on it")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use keyroll_rotation::gate::EvidenceRule;
use keyroll_rotation::simulation::{
    self, Action, Chaos, Churn, Excuse, Flaw, Leftover, Life, Reissue, Scenario, World, ending, tell,
};
use keyroll_rotation::{Candidate, Direction, DrainRule, Millis, Mode, ReloadNeed, Settings, Stage};
use stateright::{Checker, HasDiscoveries, Model, Path, Property};

fn main() -> ExitCode {
    // libtest's arguments: a filter is honoured, `--list` lists, everything else is taken and ignored.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let full = std::env::var("KEYROLL_TEST_DEPTH").is_ok_and(|depth| depth == "full");
    let mut cases: Vec<Case> = Flaw::CONTROLS.into_iter().map(control).collect();
    cases.extend(worlds(full));
    cases.retain(|case| filter.is_none_or(|filter| case.name.contains(filter.as_str())));
    if arguments.iter().any(|argument| argument == "--list") {
        for case in &cases {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    let began = Instant::now();
    let mut failed = Vec::new();
    let mut states = 0;
    println!("\nrunning {} searches", cases.len());
    for case in cases {
        let name = case.name.clone();
        match case.search() {
            Ok(found) => states += found,
            Err(reason) => {
                println!("search {name} ... FAILED: {reason}");
                failed.push(name);
            }
        }
    }
    println!("{states} states explored in {:.1} s, {} searches failed\n", began.elapsed().as_secs_f32(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One search.
struct Case {
    name: String,
    world: Searched,
    expect: Expect,
}

/// What a search has to find.
enum Expect {
    /// A counterexample to this invariant, or to any of several that the flaw breaks at once.
    Refuted,
    /// No counterexample in all reachable states, and these ends among them.
    Holds(Vec<&'static str>),
}

/// A world to be searched.
#[derive(Clone)]
struct Searched {
    scenario: Scenario,
    /// Of how many states one is taken to check that the rotation can be finished from it.
    finish_one_in: u64,
}

impl Case {
    fn search(self) -> Result<usize, String> {
        let began = Instant::now();
        let Self { name, world, expect } = self;
        let scenario = world.scenario.clone();
        // One thread finds the shortest counterexample.
        let threads = match &expect {
            Expect::Refuted => 1,
            Expect::Holds(_) => 2,
        };
        let builder = world.checker().threads(threads).timeout(LIMIT);
        let checker = builder.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let states = checker.unique_state_count();
        let counterexample = ALWAYS.iter().find_map(|property| checker.discovery(property));
        if began.elapsed() >= LIMIT {
            return Err(format!("not all of it was searched within {} s: {states} states", LIMIT.as_secs()));
        }
        let took = began.elapsed().as_secs_f32();
        match (expect, counterexample) {
            (Expect::Refuted, Some(path)) => {
                println!("search {name} ... refuted, as it must be ({states} states, {took:.1} s)");
                story(&scenario, path);
                Ok(states)
            }
            (Expect::Refuted, None) => Err(format!("not refuted in {states} states; the model is too weak to see it")),
            (Expect::Holds(_), Some(path)) => {
                println!("search {name} ... a counterexample in {states} states, {took:.1} s");
                story(&scenario, path);
                Err("the protocol lost".into())
            }
            (Expect::Holds(ends), None) => {
                let missing: Vec<&str> = ends.into_iter().filter(|end| checker.discovery(end).is_none()).collect();
                if !missing.is_empty() {
                    return Err(format!("never reached in {states} states: {missing:?}"));
                }
                let depth = checker.max_depth();
                println!("search {name} ... holds in all {states} states, {depth} deep ({took:.1} s)");
                Ok(states)
            }
        }
    }
}

impl Model for Searched {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut world = World::new(&self.scenario).unwrap();
        world.normalise(&self.scenario);
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions.extend(world.actions(&self.scenario));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.after(&self.scenario, action);
        next.normalise(&self.scenario);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(INVARIANTS, |_, world: &World| world.broken.is_none()),
            Property::always(EXPLAINED, |_, world: &World| !world.rotation.why(world.now).naysayers.is_empty()),
            Property::always(FINISHABLE, |searched: &Self, world: &World| searched.finishable(world)),
            Property::sometimes(FORWARD, |_, world: &World| {
                world.rotation.stage == Stage::Finished && world.rotation.direction == Direction::Forward
            }),
            Property::sometimes(BACK, |_, world: &World| {
                world.rotation.stage == Stage::Finished && world.rotation.direction == Direction::Back
            }),
            Property::sometimes(DISTURBED, |_, world: &World| {
                world.rotation.stage == Stage::Finished && world.excuse == Some(Excuse::ForeignWrite)
            }),
        ]
    }
}

impl Searched {
    /// Runs the production machine from this state to the end of the rotation, for a sample of the states.
    fn finishable(&self, world: &World) -> bool {
        if self.scenario.flaw != Flaw::None || !sample(world).is_multiple_of(self.finish_one_in) {
            return true;
        }
        simulation::finishes(world, &self.scenario).is_some()
    }
}

/// A number that depends on the state alone.
fn sample(world: &World) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// Tells a counterexample. The states of a path are normalised, and members change places in them; so the path is
/// walked again in a world that nobody normalised, by the actions that lead to the same states.
fn story(scenario: &Scenario, path: Path<World, Action>) {
    let steps = path.into_vec();
    let mut world = World::new(scenario).unwrap();
    let mut number = 0;
    for pair in steps.windows(2) {
        let wanted = &pair[1].0;
        let same = world.actions(scenario).into_iter().find_map(|action| {
            let after = world.after(scenario, action);
            let mut alike = after.clone();
            alike.normalise(scenario);
            if alike.broken.is_some() && wanted.broken.is_some() {
                // The reason names members, and those have changed places.
                alike.broken.clone_from(&wanted.broken);
            }
            (alike == *wanted).then_some((action, after))
        });
        let Some((action, after)) = same else {
            println!("       (the rest of the path could not be told)");
            return;
        };
        if let Some(line) = tell(&world, action, &after) {
            number += 1;
            println!("  {number:>3}. {line}");
        }
        if let Some(line) = ending(&after) {
            println!("       => {line}");
        }
        world = after;
    }
}

/// The world in which a flaw shows itself.
fn control(flaw: Flaw) -> Case {
    let mut scenario = Scenario { flaw, ..small(Mode::Staged) };
    match flaw {
        Flaw::DropLeftover => scenario.leftover = Leftover::Third,
        Flaw::ShortDrainWindow => {
            scenario.life = Life::Idle(ticks(2));
            scenario.settings = Settings {
                max_lifetime: None,
                idle_lifetime: Some(ticks(2)),
                drain: DrainRule::Counter,
                drain_limit: Some(ticks(1000)),
                least_reissued_permille: Some(900),
                ..scenario.settings
            };
        }
        Flaw::ForeignRevertUnseen => scenario.chaos.foreign_writes = 1,
        Flaw::RollbackToOldOnly | Flaw::RollbackWithoutRetrust => scenario.chaos.rollbacks = 1,
        Flaw::RollbackByMinimum => {
            scenario.chaos.rollbacks = 1;
            scenario.stores = 2;
        }
        Flaw::AcceptLeakedWhileMintingNew => scenario.reissue = Reissue::OnRead,
        _ => {}
    }
    let name = format!("control: {}", flaw.in_words());
    Case { name, world: Searched { scenario, finish_one_in: 1 }, expect: Expect::Refuted }
}

/// The worlds in which the protocol must hold.
fn worlds(full: bool) -> Vec<Case> {
    let holds = |name: &str, scenario: Scenario, ends: &[&'static str]| Case {
        name: format!("protocol: {name}"),
        world: Searched { scenario, finish_one_in: if full { 16 } else { 64 } },
        expect: Expect::Holds(ends.to_vec()),
    };
    let chaos =
        |rollbacks, foreign_writes, crashes| Chaos { rollbacks, foreign_writes, crashes, ..small(Mode::Staged).chaos };
    // In the normal run one trouble at a time and, where that alone is large, two members; three and the troubles
    // together in the full one.
    let slots = if full { 3 } else { 2 };
    let crash = u8::from(full);
    let mut cases = vec![
        holds("staged, three members, churn and stale boots", small(Mode::Staged), &[FORWARD]),
        holds("staged, crashes", Scenario { slots, chaos: chaos(0, 0, 2), ..small(Mode::Staged) }, &[FORWARD]),
        holds(
            "staged, a rollback from every stage",
            Scenario { slots, chaos: chaos(1, 0, crash), ..small(Mode::Staged) },
            &[FORWARD, BACK],
        ),
        holds(
            "staged, two stores, a rollback",
            Scenario { slots, stores: 2, chaos: chaos(1, 0, 0), ..small(Mode::Staged) },
            &[FORWARD, BACK],
        ),
        holds(
            "staged, a leftover third key, re-issue on read",
            Scenario { slots, leftover: Leftover::Third, reissue: Reissue::OnRead, ..small(Mode::Staged) },
            &[FORWARD],
        ),
        holds(
            "staged, sliding sessions drained by counters",
            Scenario { slots, life: Life::Idle(ticks(1)), settings: sliding(), ..small(Mode::Staged) },
            &[FORWARD],
        ),
        holds(
            "staged, a foreign write, undone or adopted",
            Scenario { slots: 2, sessions: 0, chaos: chaos(0, 1, crash), ..small(Mode::Staged) },
            &[FORWARD, DISTURBED],
        ),
        holds(
            "staged, hot reload",
            Scenario {
                slots,
                settings: Settings { reload: ReloadNeed::HotReload, ..small(Mode::Staged).settings },
                ..small(Mode::Staged)
            },
            &[FORWARD],
        ),
        holds(
            "planned cutover and its rollback",
            Scenario { slots, chaos: chaos(1, 0, 1), ..small(Mode::Cutover) },
            &[FORWARD, BACK],
        ),
        holds(
            "accelerated, a forged session, re-issue on read",
            Scenario { slots, reissue: Reissue::OnRead, chaos: chaos(0, 0, crash), ..small(Mode::Accelerated) },
            &[FORWARD],
        ),
        holds(
            "accelerated from a standby candidate, three members",
            Scenario { candidate: Candidate::Standby, ..small(Mode::Accelerated) },
            &[FORWARD],
        ),
        holds(
            "hard cutover, a crash",
            Scenario { slots, chaos: chaos(0, 0, 1), ..small(Mode::HardCutover) },
            &[FORWARD],
        ),
        holds(
            "a standby candidate, withdrawn or not",
            Scenario { slots, chaos: chaos(1, 0, 0), ..small(Mode::Standby) },
            &[FORWARD, BACK],
        ),
        holds(
            "a rotation in flight, superseded by a revocation",
            Scenario { slots, chaos: Chaos { revocations: 1, ..chaos(0, 0, 0) }, ..small(Mode::Staged) },
            &[FORWARD],
        ),
    ];
    if full {
        cases.push(holds(
            "staged, three members, two stores, a leftover key, a rollback, a crash",
            Scenario {
                stores: 2,
                leftover: Leftover::Third,
                sessions: 0,
                chaos: chaos(1, 0, 1),
                ..small(Mode::Staged)
            },
            &[FORWARD, BACK],
        ));
        cases.push(holds(
            "staged, two stores, a foreign write, a rollback",
            Scenario { slots: 2, stores: 2, sessions: 0, chaos: chaos(1, 1, 0), ..small(Mode::Staged) },
            &[FORWARD, BACK, DISTURBED],
        ));
    }
    cases
}

/// Three members, one store, one session at a time, and times of one tick each: long enough to tell before from after.
fn small(mode: Mode) -> Scenario {
    let settings = Settings {
        settle: ticks(1),
        max_lifetime: Some(ticks(1)),
        idle_lifetime: None,
        leeway: Millis(0),
        drain: DrainRule::Lifetime,
        drain_limit: None,
        least_reissued_permille: None,
        escrow: ticks(1),
        evidence: EvidenceRule::Strong,
        reload_attempts: 1,
        reload: ReloadNeed::Needed,
    };
    let chaos = Chaos { churn: Churn::Any, foreign_writes: 0, rollbacks: 0, revocations: 0, crashes: 0 };
    Scenario { sessions: 1, tick: ticks(1), chaos, ..Scenario::of(mode, 3, settings) }
}

fn sliding() -> Settings {
    Settings {
        max_lifetime: None,
        idle_lifetime: Some(ticks(1)),
        drain: DrainRule::Counter,
        drain_limit: Some(ticks(1000)),
        least_reissued_permille: Some(900),
        ..small(Mode::Staged).settings
    }
}

/// A tick is longer than a passed gate allows the next write to wait.
fn ticks(count: u64) -> Millis {
    Millis(61_000 * count)
}

const INVARIANTS: &str = "every invariant holds";
const EXPLAINED: &str = "every state says why it waits";
const FINISHABLE: &str = "the rotation can be finished from here";
const FORWARD: &str = "a rotation finishes";
const BACK: &str = "a rollback finishes";
const DISTURBED: &str = "a rotation finishes after a foreign write";
const ALWAYS: [&str; 3] = [INVARIANTS, EXPLAINED, FINISHABLE];

/// A search that takes longer has not been made, whatever it found until then.
const LIMIT: Duration = Duration::from_secs(7_200);
