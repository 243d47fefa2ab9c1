//! An abstract world around the production machine: stores, members, sessions, a driver that may die, and whoever else
//! writes to the stores.
//!
//! It has two explorers: the random schedules of this module and the model checker in the tests. Both choose among
//! [`World::actions`]; neither has a copy of the protocol. Every decision about the rotation is made by [`Rotation`].

use std::collections::BTreeSet;

use keyroll_keyring::KeyId;

mod cheats;
mod checks;
mod driver;
mod normal;

use driver::Listing;

use super::scenario::{Churn, FRESH, Flaw, Leftover, Life, NEW, OLD, Reissue, Scenario, THIRD};
use crate::gate::{Observation, Unproven};
use crate::wait::Naysayer;
use crate::{
    DrainObservation, Event, Halt, Millis, Mode, Next, ReloadNeed, Revocation, Rotation, Stage, WorldConfiguration,
};

/// Everything that there is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a world is what stands here")]
pub struct World {
    /// The time, by every clock.
    pub now: Millis,
    /// The rotation as the journal has it.
    pub rotation: Rotation,
    /// What the driver's process is in the middle of.
    pub driver: Driver,
    /// The stores.
    pub stores: Vec<Store>,
    /// The members. Each reads the store whose place is its own modulo the number of stores.
    pub members: Vec<Option<Member>>,
    /// The sessions that users hold.
    pub sessions: Vec<Session>,
    /// When a session was last opened under a key, as the counters show it.
    pub opened: Vec<(KeyId, Millis)>,
    /// When it was decided to promote. Only a flawed driver looks at it.
    pub decided_at: Millis,
    /// What is left of the chaos.
    pub left: Left,
    /// What somebody did to this world that no rotation can mend.
    pub excuse: Option<Excuse>,
    /// What a cutover, an emergency or an operator has given up by name.
    pub given_up: GivenUp,
    /// The first invariant that was broken.
    pub broken: Option<Broken>,
    /// The next boot's number.
    pub next_boot: u32,
}

/// What the driver's process is in the middle of.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a driver does one thing at a time")]
pub enum Driver {
    /// Just started: it has to look at the world before it goes on.
    Fresh,
    /// Between two effects.
    Idle,
    /// An effect is done and not recorded yet.
    Did(Event),
    /// Members were asked; they will be listed once more.
    Sweeping {
        /// When it began.
        began: Millis,
        /// What they showed.
        seen: Vec<Observation>,
    },
    /// These boots are still to be reloaded.
    Reloading(BTreeSet<u32>),
}

/// A store.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a store is what it holds and held")]
pub struct Store {
    /// What it holds.
    pub holds: WorldConfiguration,
    /// What a member may still boot from, and since when it is replaced.
    pub earlier: Vec<(WorldConfiguration, Millis)>,
    /// Whether its version moved by another hand since the driver last looked.
    pub touched: Touched,
}

/// Whether a foreign hand moved a store's version.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it did or it did not")]
pub enum Touched {
    /// Only the driver wrote.
    No,
    /// Somebody else did.
    Yes,
}

/// A member.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "a member is what it read and when")]
pub struct Member {
    /// What it read when it started.
    pub config: WorldConfiguration,
    /// Whether it serves.
    pub ready: bool,
    /// When it started.
    pub booted_at: Millis,
    /// Which boot it is.
    pub boot: u32,
}

/// A session.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "a session is a seal and an end")]
pub struct Session {
    /// Under which key it is sealed.
    pub key: KeyId,
    /// When it ends.
    pub ends: Millis,
    /// Whether somebody forged it with a leaked key.
    pub forged: bool,
}

/// What is left of the chaos.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "one count for each trouble")]
pub struct Left {
    /// Foreign writes.
    pub foreign_writes: u8,
    /// Rollbacks.
    pub rollbacks: u8,
    /// Revocations.
    pub revocations: u8,
    /// Crashes.
    pub crashes: u8,
}

/// What somebody did to this world that no rotation can mend.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol names these two")]
pub enum Excuse {
    /// Somebody else wrote a configuration that loses sessions.
    ForeignWrite,
    /// A key leaked while a member could accept it and mint under another: what was forged and then re-issued can't be told
    /// from what was not. It excuses no lost session.
    LeakedBesideAnother,
}

/// What a lost session is not held against the rotation for: the key of the session, or the roll in which it met a member.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the keys and the roll")]
pub struct GivenUp {
    /// Keys that a cutover's write ended, or of which an operator accepted the loss. A gate that proves one accepted by
    /// everybody takes it away again.
    pub keys: BTreeSet<KeyId>,
    /// Whether members may still be at both sides of a cutover.
    pub roll: CutoverRoll,
}

/// Whether members may still be at both sides of a cutover.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "they may or they may not")]
pub enum CutoverRoll {
    /// No cutover was written that somebody could not follow, or a gate has passed since.
    #[default]
    None,
    /// A cutover was written to a key that not everybody accepted, and no gate has passed since.
    Underway,
}

/// An invariant that was broken.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a name and a reason say it all")]
pub struct Broken {
    /// Its name, as `I1`.
    pub invariant: &'static str,
    /// In words.
    pub reason: String,
}

/// Something that may happen next.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Time passes.
    Tick,
    /// The driver takes its next step.
    Drive,
    /// The driver lists the members and gets an empty list.
    DriveWithEmptyList,
    /// The driver dies and is started again.
    Crash,
    /// A member starts; version 0 is what the store holds now, n what it held n writes ago.
    Boot {
        /// Where.
        slot: usize,
        /// What it reads.
        version: usize,
    },
    /// A member becomes ready.
    Ready {
        /// Which.
        slot: usize,
    },
    /// A member is gone.
    Stop {
        /// Which.
        slot: usize,
    },
    /// The driver reloads a member.
    Reload {
        /// Which.
        slot: usize,
        /// What it reads.
        version: usize,
    },
    /// A member re-reads the key by itself.
    Reread {
        /// Which.
        slot: usize,
        /// What it reads.
        version: usize,
    },
    /// A user logs in.
    Mint {
        /// On which member.
        slot: usize,
    },
    /// A user comes back.
    Visit {
        /// With which session.
        session: usize,
        /// To which member.
        slot: usize,
    },
    /// Somebody forges a session under a leaked key.
    Forge,
    /// An operator asks for a rollback.
    Rollback,
    /// An operator revokes.
    Revoke(Leak),
    /// Somebody else writes to a store.
    Foreign {
        /// To which.
        store: usize,
        /// What.
        write: ForeignWrite,
    },
    /// Somebody puts a store back to what the rotation expects.
    Restore {
        /// Which.
        store: usize,
    },
    /// An operator goes on from what the foreign write left.
    Adopt,
    /// An operator resumes, or has the laggards reloaded.
    Resume,
    /// An operator gives up the sessions that are still in use after the drain's limit.
    AcceptLoss,
}

/// What leaked.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "one, the other, or both")]
pub enum Leak {
    /// The key that the rotation began with.
    Old,
    /// The candidate.
    New,
    /// Both.
    Both,
}

/// What somebody else writes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a revert, a runbook's shortcut, or a stranger")]
pub enum ForeignWrite {
    /// Back to what was there before the rotation.
    Revert,
    /// The new key alone.
    NewOnly,
    /// A key that nobody knows.
    Stranger,
}

impl World {
    /// The world before anything happened: every slot has a ready member, and the rotation is planned.
    pub fn new(scenario: &Scenario) -> Result<Self, crate::Illegal> {
        let rotation = Rotation::open(scenario.opening())?.apply(&Event::PreflightPassed)?.rotation;
        let present = scenario.present();
        let store = Store { holds: present.clone(), earlier: Vec::new(), touched: Touched::No };
        let members = (0..)
            .take(scenario.slots)
            .map(|boot| Some(Member { config: present.clone(), ready: true, booted_at: Millis(0), boot }));
        let third = Session { key: THIRD, ends: Millis(u64::MAX), forged: false };
        let chaos = scenario.chaos;
        Ok(Self {
            now: START,
            rotation,
            driver: Driver::Fresh,
            stores: vec![store; scenario.stores],
            members: members.collect(),
            sessions: match scenario.leftover {
                Leftover::None => Vec::new(),
                Leftover::Third => vec![third],
            },
            opened: Vec::new(),
            decided_at: START,
            left: Left {
                foreign_writes: chaos.foreign_writes,
                rollbacks: chaos.rollbacks,
                revocations: chaos.revocations,
                crashes: chaos.crashes,
            },
            excuse: None,
            given_up: GivenUp::default(),
            broken: None,
            next_boot: u32::try_from(scenario.slots).unwrap_or(u32::MAX),
        })
    }

    /// Everything that may happen now.
    pub fn actions(&self, scenario: &Scenario) -> Vec<Action> {
        let mut actions = vec![Action::Tick];
        if self.broken.is_some() {
            return Vec::new();
        }
        self.driver_actions(&mut actions);
        self.member_actions(scenario, &mut actions);
        self.session_actions(scenario, &mut actions);
        self.people_actions(scenario, &mut actions);
        actions
    }

    fn driver_actions(&self, actions: &mut Vec<Action>) {
        match &self.driver {
            Driver::Fresh | Driver::Did(_) => actions.push(Action::Drive),
            Driver::Idle => {
                if self.has_work() {
                    actions.push(Action::Drive);
                }
            }
            Driver::Sweeping { .. } => actions.extend([Action::Drive, Action::DriveWithEmptyList]),
            Driver::Reloading(left) => {
                let mut done = true;
                for (slot, member) in self.present_members() {
                    if left.contains(&member.boot) {
                        done = false;
                        actions.extend(self.versions(slot).map(|version| Action::Reload { slot, version }));
                    }
                }
                if done {
                    actions.push(Action::Drive);
                }
            }
        }
        if self.left.crashes > 0 && self.driver != Driver::Fresh {
            actions.push(Action::Crash);
        }
    }

    /// Whether the driver would do anything now.
    fn has_work(&self) -> bool {
        let foreign = self.rotation.is_halted_by_foreign_write();
        let touched = self.stores.iter().any(|store| store.touched == Touched::Yes);
        (foreign && touched) || matches!(self.rotation.next(self.now), Next::Do(_))
    }

    fn member_actions(&self, scenario: &Scenario, actions: &mut Vec<Action>) {
        for slot in 0..self.members.len() {
            match &self.members[slot] {
                None if scenario.chaos.churn == Churn::Any => {
                    actions.extend(self.versions(slot).map(|version| Action::Boot { slot, version }));
                }
                None => {}
                Some(member) => {
                    if !member.ready {
                        actions.push(Action::Ready { slot });
                    }
                    if scenario.chaos.churn == Churn::Any {
                        actions.push(Action::Stop { slot });
                    }
                    if scenario.settings.reload == ReloadNeed::HotReload {
                        let versions =
                            self.versions(slot).filter(|&version| *self.version(slot, version) != member.config);
                        actions.extend(versions.map(|version| Action::Reread { slot, version }));
                    }
                }
            }
        }
    }

    fn session_actions(&self, scenario: &Scenario, actions: &mut Vec<Action>) {
        let room = self.sessions.iter().filter(|session| session.ends.0 < u64::MAX).count() < scenario.sessions;
        let mut minting = BTreeSet::new();
        for (slot, member) in self.present_members().filter(|(_, member)| member.ready) {
            if room && minting.insert(member.config.active) {
                actions.push(Action::Mint { slot });
            }
            for (place, session) in self.sessions.iter().enumerate() {
                if member.config.accept.contains(&session.key) && session.ends.0 < u64::MAX {
                    actions.push(Action::Visit { session: place, slot });
                }
            }
        }
        if room && !self.rotation.compromised.is_empty() && !self.sessions.iter().any(|session| session.forged)
            || room && scenario.flaw == Flaw::AcceptLeakedWhileMintingNew
        {
            actions.push(Action::Forge);
        }
    }

    fn people_actions(&self, scenario: &Scenario, actions: &mut Vec<Action>) {
        let between = self.driver == Driver::Idle;
        let done = self.rotation.stage == Stage::Finished;
        if self.left.rollbacks > 0 && between && !done {
            actions.push(Action::Rollback);
        }
        if self.left.revocations > 0 && between && !done {
            actions.extend([Leak::Old, Leak::New, Leak::Both].map(Action::Revoke));
        }
        if self.left.foreign_writes > 0 && !done {
            for store in 0..self.stores.len() {
                let all = [ForeignWrite::Revert, ForeignWrite::NewOnly, ForeignWrite::Stranger];
                let reverts = scenario.flaw == Flaw::ForeignRevertUnseen;
                let writes = all.into_iter().filter(|write| !reverts || *write == ForeignWrite::Revert);
                actions.extend(writes.map(|write| Action::Foreign { store, write }));
            }
        }
        for (store, (held, expected)) in self.stores.iter().zip(&self.rotation.stores).enumerate() {
            if self.excuse == Some(Excuse::ForeignWrite) && between && held.holds != *expected {
                actions.push(Action::Restore { store });
            }
        }
        match &self.rotation.halt {
            Some(Halt::ForeignWrite { .. }) if between && scenario.flaw == Flaw::None => actions.push(Action::Adopt),
            Some(Halt::Paused | Halt::ReloadStopped { .. } | Halt::LaggardsRemain) if between => {
                actions.push(Action::Resume);
            }
            Some(_) | None => {}
        }
        if between && self.gives_up().is_some() {
            actions.push(Action::AcceptLoss);
        }
    }

    /// How many sessions an operator would have to give up for the drain to end, if only a person can end it.
    pub fn gives_up(&self) -> Option<u64> {
        let drains = self.rotation.stage == Stage::Draining && self.rotation.drained.is_none();
        if !drains || self.rotation.drain_deadline().is_none_or(|deadline| self.now < deadline) {
            return None;
        }
        match &self.rotation.drain_seen.as_ref()?.observation {
            DrainObservation::Counter { opened, .. } if *opened > 0 => Some(*opened),
            _ => None,
        }
    }

    /// The world after an action; the same world where it turned out to change nothing.
    #[must_use]
    pub fn after(&self, scenario: &Scenario, action: Action) -> Self {
        let mut next = self.clone();
        next.act(scenario, action);
        next.pass(scenario, Millis(0));
        next.check(scenario);
        next
    }

    /// How far a tick carries the clock. Where only time says no, and that for very many ticks, most of them are one leap:
    /// a drain of hours is as many steps as one of minutes.
    fn leap(&self, scenario: &Scenario) -> Millis {
        let tick = scenario.tick;
        match self.rotation.why(self.now).naysayers.as_slice() {
            [Naysayer::Time { until, .. }] => {
                let left = until.0.saturating_sub(self.now.0);
                if left > tick.0.saturating_mul(LEAP_FROM) { Millis(left / 2) } else { tick }
            }
            _ => tick,
        }
    }

    fn act(&mut self, scenario: &Scenario, action: Action) {
        match action {
            Action::Tick => self.pass(scenario, self.leap(scenario)),
            Action::Drive => self.drive(scenario, Listing::True),
            Action::DriveWithEmptyList => self.drive(scenario, Listing::Empty),
            Action::Crash => {
                self.left.crashes -= 1;
                self.driver = Driver::Fresh;
            }
            Action::Boot { slot, version } => self.boot(slot, version),
            Action::Reload { slot, version } => {
                if let (Driver::Reloading(left), Some(member)) = (&mut self.driver, &self.members[slot]) {
                    left.remove(&member.boot);
                }
                self.boot(slot, version);
            }
            Action::Reread { slot, version } => {
                let config = self.version(slot, version).clone();
                if let Some(member) = &mut self.members[slot] {
                    member.config = config;
                }
            }
            Action::Ready { slot } => {
                if let Some(member) = &mut self.members[slot] {
                    member.ready = true;
                }
            }
            Action::Stop { slot } => self.members[slot] = None,
            Action::Mint { slot } => {
                if let Some(member) = &self.members[slot] {
                    let key = member.config.active;
                    self.sessions.push(Session { key, ends: self.end_of_life(scenario), forged: false });
                }
            }
            Action::Visit { session, slot } => self.visit(scenario, session, slot),
            Action::Forge => {
                let leaked = self.rotation.compromised.iter().next().copied().unwrap_or(OLD);
                self.sessions.push(Session { key: leaked, ends: self.end_of_life(scenario), forged: true });
            }
            Action::Rollback => self.roll_back(scenario),
            Action::Revoke(leak) => self.revoke(scenario, leak),
            Action::Foreign { store, write } => self.foreign(scenario, store, write),
            Action::Restore { store } => {
                let expected = self.rotation.stores[store].clone();
                self.put(store, expected);
                self.stores[store].touched = Touched::Yes;
            }
            Action::AcceptLoss => {
                if let Some(sessions) = self.gives_up() {
                    self.record(scenario, &Event::LossAccepted { sessions });
                    self.given_up.keys.insert(self.rotation.outgoing);
                }
            }
            Action::Adopt => {
                let stores: Vec<WorldConfiguration> = self.stores.iter().map(|store| store.holds.clone()).collect();
                if let Ok(applied) = self.rotation.apply(&Event::ForeignWriteAdopted { stores, at: self.now }) {
                    self.rotation = applied.rotation;
                    self.seen_all();
                }
            }
            Action::Resume => {
                let wanted = [Event::LaggardReloadRequested, Event::Resumed];
                let applied = wanted.iter().find_map(|event| self.rotation.apply(event).ok());
                if let Some(applied) = applied {
                    self.rotation = applied.rotation;
                }
            }
        }
    }

    /// Time passes; what has ended is gone.
    pub fn pass(&mut self, scenario: &Scenario, span: Millis) {
        self.now = self.now.after(span);
        let now = self.now;
        self.sessions.retain(|session| now < session.ends);
        for store in &mut self.stores {
            store.earlier.retain(|(_, replaced)| now < replaced.after(scenario.staleness));
        }
    }

    /// The members that exist, with their slots.
    pub fn present_members(&self) -> impl Iterator<Item = (usize, &Member)> {
        self.members.iter().enumerate().filter_map(|(slot, member)| member.as_ref().map(|member| (slot, member)))
    }

    /// Every configuration that a member has, or may have a moment later.
    fn readable(&self) -> impl Iterator<Item = &WorldConfiguration> {
        let held = self.stores.iter().map(|store| &store.holds);
        let earlier = self.stores.iter().flat_map(|store| store.earlier.iter().map(|(config, _)| config));
        let read = self.members.iter().flatten().map(|member| &member.config);
        held.chain(earlier).chain(read)
    }

    /// A cutover is about to be written: what it ends by name, and whether somebody can't follow it at once.
    fn cut_over_to(&mut self, after: &WorldConfiguration) {
        let ended: BTreeSet<KeyId> =
            self.readable().flat_map(|config| config.accept.difference(&after.accept).copied()).collect();
        if self.readable().any(|config| !config.accept.contains(&after.active)) {
            self.given_up.roll = CutoverRoll::Underway;
        }
        self.given_up.keys.extend(ended);
    }

    fn versions(&self, slot: usize) -> std::ops::Range<usize> {
        0..1 + self.stores[slot % self.stores.len()].earlier.len()
    }

    fn version(&self, slot: usize, version: usize) -> &WorldConfiguration {
        let store = &self.stores[slot % self.stores.len()];
        match version.checked_sub(1).and_then(|place| store.earlier.get(place)) {
            Some((config, _)) => config,
            None => &store.holds,
        }
    }

    fn boot(&mut self, slot: usize, version: usize) {
        let config = self.version(slot, version).clone();
        self.members[slot] = Some(Member { config, ready: false, booted_at: self.now, boot: self.next_boot });
        self.next_boot += 1;
    }

    fn end_of_life(&self, scenario: &Scenario) -> Millis {
        match scenario.life {
            Life::Absolute(span) | Life::Idle(span) => self.now.after(span),
        }
    }

    fn visit(&mut self, scenario: &Scenario, session: usize, slot: usize) {
        let (Some(member), Some(session)) = (&self.members[slot], self.sessions.get_mut(session)) else {
            return;
        };
        if !member.config.accept.contains(&session.key) {
            return;
        }
        let key = session.key;
        match scenario.reissue {
            Reissue::OnRead => session.key = member.config.active,
            Reissue::Never => {}
        }
        match scenario.life {
            Life::Idle(span) => session.ends = self.now.after(span),
            Life::Absolute(_) => {}
        }
        self.opened.retain(|(opened, _)| *opened != key);
        self.opened.push((key, self.now));
    }

    fn put(&mut self, store: usize, config: WorldConfiguration) {
        let now = self.now;
        let store = &mut self.stores[store];
        let held = std::mem::replace(&mut store.holds, config);
        if held != store.holds {
            store.earlier.retain(|(earlier, _)| *earlier != held);
            store.earlier.insert(0, (held, now));
        }
    }

    fn foreign(&mut self, scenario: &Scenario, store: usize, write: ForeignWrite) {
        let config = match write {
            ForeignWrite::Revert => scenario.present(),
            ForeignWrite::NewOnly => WorldConfiguration::new(NEW, []),
            ForeignWrite::Stranger => WorldConfiguration::new(STRANGER, []),
        };
        self.left.foreign_writes -= 1;
        if scenario.flaw != Flaw::ForeignRevertUnseen {
            self.excuse = Some(Excuse::ForeignWrite);
        }
        self.put(store, config);
        self.stores[store].touched = Touched::Yes;
    }

    fn revoke(&mut self, scenario: &Scenario, leak: Leak) {
        let compromised = match leak {
            Leak::Old => BTreeSet::from([OLD]),
            Leak::New => BTreeSet::from([NEW]),
            Leak::Both => BTreeSet::from([OLD, NEW]),
        };
        if !self.look(scenario) {
            return;
        }
        // A candidate that was accepted before anybody knew that it leaked is beyond what a rotation can mend.
        let beside =
            self.readable().any(|config| config.accept.intersection(&compromised).any(|&key| key != config.active));
        let revocation = Revocation { mode: Mode::Accelerated, compromised, fresh: FRESH };
        if let Ok(applied) = self.rotation.apply(&Event::Revoked(revocation)) {
            self.rotation = applied.rotation;
            self.left.revocations -= 1;
            if beside {
                self.excuse = self.excuse.or(Some(Excuse::LeakedBesideAnother));
            }
        }
    }

    fn roll_back(&mut self, scenario: &Scenario) {
        if !self.look(scenario) {
            return;
        }
        if self.cheat_on_rollback(scenario) {
            self.left.rollbacks -= 1;
        } else if let Ok(applied) = self.rotation.apply(&Event::RollbackRequested) {
            self.rotation = applied.rotation;
            self.left.rollbacks -= 1;
        }
    }
}

fn member_of(unproven: &Unproven) -> Option<u32> {
    match unproven {
        Unproven::Contradicts { member, .. }
        | Unproven::Lacks { member, .. }
        | Unproven::CannotAnswer { member, .. }
        | Unproven::NotAsked { member } => Some(member.0),
        Unproven::EmptyConsumer { .. } | Unproven::NoMembers | Unproven::Settling { .. } => None,
    }
}

/// A configuration as people write it: `k3 of {k2, k3}`.
pub(super) fn say(config: &WorldConfiguration) -> String {
    let accept: Vec<String> = config.accept.iter().map(ToString::to_string).collect();
    format!("({}, {{{}}})", config.active, accept.join(", "))
}

/// A key that nobody knows.
const STRANGER: KeyId = KeyId(99);

/// Where every simulated clock begins; far enough from zero that "long ago" exists.
const START: Millis = Millis(1_000_000_000);

/// From how many ticks on a wait is worth a leap. No scenario that is drawn from a seed waits as long.
const LEAP_FROM: u64 = 1_000;
