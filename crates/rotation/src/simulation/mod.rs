//! A simulated fleet around the production machine: random schedules with crashes, stale boots, scale-ups, foreign
//! writes and operators who change their minds; every invariant is checked after every event.
//!
//! A run is a function of its seed and its scenario. Whatever it finds can be replayed, and told as a story.

mod prng;
mod scenario;
mod story;
mod world;

pub use prng::Prng;
pub use scenario::{Chaos, Churn, FRESH, Flaw, Leftover, Life, NEW, OLD, Reissue, Scenario, THIRD};
pub use story::{ending, tell};
pub use world::{
    Action, Broken, CutoverRoll, Driver, Excuse, ForeignWrite, GivenUp, Leak, Left, Member, Session, Store, Touched,
    World,
};

use crate::{Halt, Illegal, Millis, Next, Stage, WorldConfiguration};

/// What a run came to.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The seed; with the scenario it gives the same run again.
    pub seed: u64,
    /// How many things happened.
    pub events: u32,
    /// How much time passed in the simulated world.
    pub took: Millis,
    /// How many sessions users were given.
    pub sessions: u32,
    /// How many times a user came back.
    pub visits: u32,
    /// How often a live session was refused: by name where the mode says so, or because a foreign hand caused it.
    pub refused_by_name: u32,
    /// How many rotations members were restarted, stores written, drivers killed.
    pub crashes: u32,
    /// Where the rotation ended.
    pub stage: Stage,
    /// What the stores hold at the end.
    pub holds: Vec<WorldConfiguration>,
    /// The first invariant that was broken, if one was. This includes a rotation that did not finish.
    pub broken: Option<Broken>,
    /// What happened, a line each; empty unless it was asked for with [`replay`].
    pub story: Vec<String>,
}

/// One random schedule: trouble first, then a phase in which members still come and go but the rotation must finish.
pub fn run(seed: u64, scenario: &Scenario) -> Result<Report, Illegal> {
    Run::new(seed, scenario, Telling::Silent)?.into_report()
}

/// The same run again, with its story.
pub fn replay(seed: u64, scenario: &Scenario) -> Result<Report, Illegal> {
    Run::new(seed, scenario, Telling::Aloud)?.into_report()
}

/// Whether the rotation can be finished from this world if no more trouble comes: members get ready, people answer
/// what they are asked, time passes. Runs the production machine until then, and says in how many steps.
pub fn finishes(world: &World, scenario: &Scenario) -> Option<u32> {
    let mut world = world.clone();
    for steps in 0..steps_to_finish(scenario) {
        if world.rotation.stage == Stage::Finished {
            return Some(steps);
        }
        if world.broken.is_some() {
            return None;
        }
        let action = fair(&world, scenario);
        world = world.after(scenario, action);
    }
    None
}

/// What brings the world nearer to the end.
fn fair(world: &World, scenario: &Scenario) -> Action {
    for (slot, member) in world.members.iter().enumerate() {
        let store = &world.stores[slot % world.stores.len()];
        match member {
            Some(member) if !member.ready => return Action::Ready { slot },
            Some(member)
                if scenario.settings.reload == crate::ReloadNeed::HotReload && member.config != store.holds =>
            {
                return Action::Reread { slot, version: 0 };
            }
            Some(_) => {}
            None if world.present_members().next().is_none() => return Action::Boot { slot, version: 0 },
            None => {}
        }
    }
    if world.driver == Driver::Idle {
        if world.gives_up().is_some() {
            return Action::AcceptLoss;
        }
        match &world.rotation.halt {
            Some(Halt::ForeignWrite { .. }) => {
                let differs = world.stores.iter().zip(&world.rotation.stores);
                for (store, (held, expected)) in differs.enumerate() {
                    if held.holds != *expected {
                        return Action::Restore { store };
                    }
                }
                return Action::Drive;
            }
            Some(_) => return Action::Resume,
            None => {}
        }
    }
    if let Driver::Reloading(left) = &world.driver {
        let next = world.present_members().find(|(_, member)| left.contains(&member.boot));
        if let Some((slot, _)) = next {
            return Action::Reload { slot, version: 0 };
        }
    }
    let waits = world.driver == Driver::Idle && matches!(world.rotation.next(world.now), Next::Wait(_));
    if waits { Action::Tick } else { Action::Drive }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Telling {
    Silent,
    Aloud,
}

struct Run<'a> {
    scenario: &'a Scenario,
    prng: Prng,
    world: World,
    began: Millis,
    telling: Telling,
    report: Report,
}

impl<'a> Run<'a> {
    fn new(seed: u64, scenario: &'a Scenario, telling: Telling) -> Result<Self, Illegal> {
        let world = World::new(scenario)?;
        let report = Report {
            seed,
            events: 0,
            took: Millis(0),
            sessions: 0,
            visits: 0,
            refused_by_name: 0,
            crashes: 0,
            stage: world.rotation.stage,
            holds: Vec::new(),
            broken: None,
            story: Vec::new(),
        };
        Ok(Self { scenario, prng: Prng::new(seed), began: world.now, world, telling, report })
    }

    fn into_report(mut self) -> Result<Report, Illegal> {
        let length = 20 + self.prng.below(180);
        for _ in 0..length {
            if self.over() {
                break;
            }
            let action = self.any();
            self.happen(action);
        }
        // No more trouble from here on, except that members keep coming and going.
        self.world.left = Left { foreign_writes: 0, rollbacks: 0, revocations: 0, crashes: 0 };
        let (mut steps, enough) = (0, steps_to_finish(self.scenario));
        while !self.over() && steps < enough {
            steps += 1;
            let churns = self.scenario.chaos.churn == Churn::Any && self.prng.in_a_thousand(30);
            let action = if churns { self.churn() } else { None };
            let action = action.unwrap_or_else(|| {
                if self.prng.in_a_thousand(150) { self.user() } else { None }
                    .unwrap_or_else(|| fair(&self.world, self.scenario))
            });
            self.happen(action);
        }
        if self.world.broken.is_none() && self.world.rotation.stage != Stage::Finished {
            let wait = self.world.rotation.why(self.world.now);
            let reason = format!("the rotation did not finish in {steps} steps: {:?}", wait.naysayers);
            self.world.broken = Some(Broken { invariant: "progress", reason });
        }
        if let (Telling::Aloud, Some(ending)) = (self.telling, ending(&self.world)) {
            self.report.story.push(ending);
        }
        self.report.took = Millis(self.world.now.0 - self.began.0);
        self.report.stage = self.world.rotation.stage;
        self.report.holds = self.world.stores.iter().map(|store| store.holds.clone()).collect();
        self.report.broken = self.world.broken;
        Ok(self.report)
    }

    fn over(&self) -> bool {
        self.world.broken.is_some() || self.world.rotation.stage == Stage::Finished
    }

    fn happen(&mut self, action: Action) {
        self.count(action);
        let after = self.world.after(self.scenario, action);
        if self.telling == Telling::Aloud
            && let Some(line) = tell(&self.world, action, &after)
        {
            // Every line has its time; that it passed needs none of its own.
            if action != Action::Tick {
                let seconds = (self.world.now.0 - self.began.0) / 1000;
                self.report.story.push(format!("{seconds:>6} s  {line}"));
            }
        }
        self.world = after;
        self.report.events += 1;
    }

    fn count(&mut self, action: Action) {
        match action {
            Action::Mint { .. } => self.report.sessions += 1,
            Action::Crash => self.report.crashes += 1,
            Action::Visit { session, slot } => {
                self.report.visits += 1;
                let (Some(session), Some(member)) = (self.world.sessions.get(session), &self.world.members[slot])
                else {
                    return;
                };
                if !member.config.accept.contains(&session.key) {
                    self.report.refused_by_name += 1;
                }
            }
            _ => {}
        }
    }

    /// Anything that may happen, the driver and the users more often than trouble.
    fn any(&mut self) -> Action {
        let actions = self.world.actions(self.scenario);
        let kind = self.prng.below(100);
        let fitting: Vec<Action> = actions.iter().copied().filter(|action| kind_of(*action, kind)).collect();
        if kind < USERS
            && let Some(action) = self.user()
        {
            return action;
        }
        self.prng.pick(&fitting).or_else(|| self.prng.clone().pick(&actions)).copied().unwrap_or(Action::Tick)
    }

    /// A member comes or goes; the last one stays.
    fn churn(&mut self) -> Option<Action> {
        let several = self.world.present_members().count() > 1;
        let actions = self.world.actions(self.scenario).into_iter().filter(|action| match action {
            Action::Boot { .. } => true,
            Action::Stop { .. } => several,
            _ => false,
        });
        self.prng.pick(&actions.collect::<Vec<_>>()).copied()
    }

    /// A user logs in, or comes back to whatever member the load balancer chooses.
    fn user(&mut self) -> Option<Action> {
        let ready: Vec<usize> =
            self.world.present_members().filter(|(_, member)| member.ready).map(|(slot, _)| slot).collect();
        let slot = *self.prng.pick(&ready)?;
        let count = self.world.sessions.len();
        if count < self.scenario.sessions && self.prng.in_a_thousand(300) || count == 0 {
            return Some(Action::Mint { slot });
        }
        let session = usize::try_from(self.prng.below(u64::try_from(count).unwrap_or(0))).ok()?;
        (self.world.sessions[session].ends.0 < u64::MAX).then_some(Action::Visit { session, slot })
    }
}

/// Which kinds of action a throw of the dice stands for.
fn kind_of(action: Action, kind: u64) -> bool {
    match action {
        Action::Mint { .. } | Action::Visit { .. } => kind < USERS,
        Action::Drive | Action::Reload { .. } => (USERS..70).contains(&kind),
        Action::Tick => (70..80).contains(&kind),
        Action::Ready { .. } | Action::Reread { .. } | Action::Resume => (80..88).contains(&kind),
        Action::Boot { .. } | Action::Stop { .. } => (88..95).contains(&kind),
        Action::Crash | Action::DriveWithEmptyList | Action::Restore { .. } => (95..98).contains(&kind),
        Action::Forge
        | Action::Rollback
        | Action::Revoke(_)
        | Action::Foreign { .. }
        | Action::Adopt
        | Action::AcceptLoss => kind >= 98,
    }
}

/// Of a hundred things that happen, this many are done by users.
const USERS: u64 = 25;

/// A rotation that needs more steps than this when nothing stands in its way is stuck. It reloads everybody some times, and whoever
/// is reloaded stops, starts and gets ready.
fn steps_to_finish(scenario: &Scenario) -> u32 {
    let members = u32::try_from(scenario.slots).unwrap_or(u32::MAX);
    STEPS_AT_LEAST.saturating_add(members.saturating_mul(STEPS_OF_A_MEMBER))
}

const STEPS_AT_LEAST: u32 = 6_000;
const STEPS_OF_A_MEMBER: u32 = 40;
