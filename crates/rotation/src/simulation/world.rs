//! An abstract world around the production machine: stores, members, sessions, a driver that may die, and whoever else
//! writes to the stores.
//!
//! It has two explorers: the random schedules of this module and the model checker in the tests. Both choose among
//! [`World::actions`]; neither has a copy of the protocol. Every decision about the rotation is made by [`Rotation`].

use std::collections::BTreeSet;

use keyroll_keyring::KeyId;

use super::scenario::{Churn, FRESH, Flaw, Leftover, Life, NEW, OLD, Reissue, Scenario, THIRD};
use crate::gate::{
    Ability, Answer, Claim, ConsumerCount, Declared, EvidenceLevel, Gate, MemberKind, Observation, Readiness, Sweep,
    Unproven,
};
use crate::invariants::Violation;
use crate::{
    Attempt, Direction, DrainObservation, Effect, Event, Halt, MemberIndex, Millis, Mode, Next, Permit, ReloadNeed,
    ReloadScope, Revocation, Rotation, Stage, Step, WorldConfiguration,
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
    /// Why a lost session is not held against the rotation.
    pub excuse: Option<Excuse>,
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

/// Why a lost session is not held against the rotation.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol names these three")]
pub enum Excuse {
    /// Somebody else wrote a configuration that loses sessions.
    ForeignWrite,
    /// A key leaked while it was in use beside another: what was forged before cannot be told from what was not.
    Revoked,
    /// An operator gave sessions up, by their number.
    LossAccepted,
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
        let foreign = matches!(self.rotation.halt, Some(Halt::ForeignWrite { .. }));
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
            DrainObservation::Counter { opened: remaining, .. } | DrainObservation::Rows { remaining }
                if *remaining > 0 =>
            {
                Some(*remaining)
            }
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

    fn act(&mut self, scenario: &Scenario, action: Action) {
        match action {
            Action::Tick => self.pass(scenario, scenario.tick),
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
                    self.excuse = self.excuse.or(Some(Excuse::LossAccepted));
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
        let revocation = Revocation { mode: Mode::Accelerated, compromised, fresh: FRESH };
        if let Ok(applied) = self.rotation.apply(&Event::Revoked(revocation)) {
            self.rotation = applied.rotation;
            self.left.revocations -= 1;
            // A candidate that was accepted before anybody knew that it leaked is beyond what a rotation can mend.
            self.excuse = self.excuse.or(Some(Excuse::Revoked));
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

    /// The driver reads the stores if it has to. Says whether it may go on.
    fn look(&mut self, scenario: &Scenario) -> bool {
        if self.stores.iter().any(|store| store.touched == Touched::Yes) {
            self.observe(scenario);
            return false;
        }
        true
    }

    fn seen_all(&mut self) {
        for store in &mut self.stores {
            store.touched = Touched::No;
        }
    }

    /// The driver reads the stores and tells the machine.
    fn observe(&mut self, scenario: &Scenario) {
        let touched = self.stores.iter().any(|store| store.touched == Touched::Yes);
        let halted = matches!(self.rotation.halt, Some(Halt::ForeignWrite { .. }));
        let stores = self.stores.iter().map(|store| (store.holds.active != STRANGER).then(|| store.holds.clone()));
        let event = Event::WorldObserved { stores: stores.collect(), at: self.now };
        self.record(scenario, &event);
        // The versions moved and the contents are as they were: a change and its undoing.
        if touched && !halted && self.rotation.halt.is_none() {
            self.record(scenario, &Event::Disturbed { at: self.now });
        }
        self.seen_all();
    }

    fn record(&mut self, scenario: &Scenario, event: &Event) {
        match self.rotation.apply(event) {
            Ok(applied) => self.rotation = applied.rotation,
            Err(illegal) => {
                self.break_with(scenario, "machine", format!("the driver told what it saw and was refused: {illegal}"))
            }
        }
    }

    fn drive(&mut self, scenario: &Scenario, listing: Listing) {
        match std::mem::replace(&mut self.driver, Driver::Idle) {
            Driver::Fresh => {
                if self.rotation.stage != Stage::Finished && scenario.flaw != Flaw::ForeignRevertUnseen {
                    self.observe(scenario);
                }
            }
            Driver::Did(event) => self.record(scenario, &event),
            Driver::Sweeping { began, seen } => self.list(scenario, listing, began, seen),
            Driver::Reloading(left) => {
                if self.present_members().any(|(_, member)| left.contains(&member.boot)) {
                    self.driver = Driver::Reloading(left);
                } else {
                    self.record(scenario, &Event::Reloaded);
                }
            }
            Driver::Idle => self.next_effect(scenario),
        }
    }

    fn next_effect(&mut self, scenario: &Scenario) {
        if self.cheat(scenario) {
            return;
        }
        let blind = scenario.flaw == Flaw::ForeignRevertUnseen;
        if matches!(self.rotation.halt, Some(Halt::ForeignWrite { .. })) {
            self.observe(scenario);
            return;
        }
        let Next::Do(effect) = self.rotation.next(self.now) else {
            return;
        };
        let looks = match effect {
            Effect::ObserveDrain { .. } => false,
            // A gate that never passes may have a foreign write as its reason, and a reload would carry it to the members.
            Effect::Sweep { .. }
            | Effect::Reload { .. }
            | Effect::StageCandidate { .. }
            | Effect::Write { .. }
            | Effect::StampT0
            | Effect::Close { .. }
            | Effect::Destroy { .. }
            | Effect::DiscardCandidate { .. } => true,
        };
        if looks && !blind && !self.look(scenario) {
            return;
        }
        match effect {
            Effect::StageCandidate { .. } => self.driver = Driver::Did(Event::CandidateStored),
            Effect::Write { store, before, after } => {
                let place = usize::from(store.0);
                if self.stores[place].holds != before && !blind {
                    self.observe(scenario);
                    return;
                }
                self.check_write(scenario, place, &after);
                self.put(place, after);
                self.driver = Driver::Did(Event::Written { store, at: self.now });
            }
            Effect::Reload { scope, .. } => {
                let laggards: BTreeSet<u32> = self.rotation.unproven.iter().filter_map(member_of).collect();
                let boots = self.present_members().map(|(_, member)| member.boot);
                let boots = boots.filter(|boot| match scope {
                    ReloadScope::All => true,
                    ReloadScope::Laggards => laggards.contains(boot),
                });
                self.driver = Driver::Reloading(boots.collect());
            }
            Effect::Sweep { gate } => {
                let seen = self.present_members().map(|(_, member)| self.show(scenario, member, &gate)).collect();
                self.driver = Driver::Sweeping { began: self.now, seen };
            }
            Effect::StampT0 => {
                let t0 = if scenario.flaw == Flaw::DrainFromDecision { self.decided_at } else { self.now };
                self.driver = Driver::Did(Event::Stamped { t0 });
            }
            Effect::ObserveDrain { key, since } => {
                let observation = self.look_at_drain(scenario, key, since);
                self.record(scenario, &Event::DrainObserved { observation, now: self.now });
            }
            Effect::Close { .. } => self.driver = Driver::Did(Event::Closed { now: self.now }),
            Effect::Destroy { .. } => self.driver = Driver::Did(Event::Destroyed),
            Effect::DiscardCandidate { .. } => self.driver = Driver::Did(Event::CandidateDiscarded),
        }
    }

    /// What a member shows when it is asked: the truth if it is ready, nothing if it is not.
    fn show(&self, scenario: &Scenario, member: &Member, gate: &Gate) -> Observation {
        let mut claims = Vec::new();
        if member.ready {
            for &key in gate.accepts.union(&gate.rejects) {
                let answer = if member.config.accept.contains(&key) { Answer::Yes } else { Answer::No };
                claims.push(Claim { key, ability: Ability::Accepts, answer, level: EvidenceLevel::P3 });
            }
            if gate.mints.is_some() {
                let key = member.config.active;
                claims.push(Claim { key, ability: Ability::Mints, answer: Answer::Yes, level: EvidenceLevel::P3 });
            }
        }
        let readiness = if member.ready { Readiness::Ready } else { Readiness::Unready };
        // In the same instant it may have read what stood there just before.
        let late = member.booted_at > self.rotation.settle_over();
        let started_after_settle = match (late, scenario.settings.reload) {
            (true, ReloadNeed::Needed) => Answer::Yes,
            (false, ReloadNeed::Needed) => Answer::No,
            (_, ReloadNeed::HotReload) => Answer::Unknown,
        };
        Observation {
            member: MemberIndex(member.boot),
            kind: MemberKind::Serving,
            readiness,
            started_after_settle,
            claims,
        }
    }

    fn list(&mut self, scenario: &Scenario, listing: Listing, began: Millis, seen: Vec<Observation>) {
        let only_ready = scenario.flaw == Flaw::OnlyReadyMembers;
        let listed: Vec<MemberIndex> = match listing {
            Listing::Empty => Vec::new(),
            Listing::True => self
                .present_members()
                .filter(|(_, member)| member.ready || !only_ready)
                .map(|(_, member)| MemberIndex(member.boot))
                .collect(),
        };
        let members = u32::try_from(listed.len()).unwrap_or(u32::MAX);
        let consumers = vec![ConsumerCount { declared: Declared::Populated, members }];
        let mut sweep = Sweep { began, ended: self.now, observed: seen, listed_after: listed, consumers };
        if scenario.flaw == Flaw::EmptyIsConverged && sweep.listed_after.is_empty() {
            sweep = self.invented_sweep(began);
        }
        self.record(scenario, &Event::Swept(sweep));
    }

    /// A sweep in which one member that does not exist shows whatever is wanted.
    fn invented_sweep(&self, began: Millis) -> Sweep {
        let invented = MemberIndex(u32::MAX);
        let gate = self.rotation.gate();
        let demand = |key: &KeyId, ability, answer| Claim { key: *key, ability, answer, level: EvidenceLevel::P3 };
        let mut claims = Vec::new();
        if let Some(gate) = gate {
            claims.extend(gate.accepts.iter().map(|key| demand(key, Ability::Accepts, Answer::Yes)));
            claims.extend(gate.rejects.iter().map(|key| demand(key, Ability::Accepts, Answer::No)));
            claims.extend(gate.mints.iter().map(|key| demand(key, Ability::Mints, Answer::Yes)));
        }
        let observed = Observation {
            member: invented,
            kind: MemberKind::Serving,
            readiness: Readiness::Ready,
            started_after_settle: Answer::Unknown,
            claims,
        };
        let consumers = vec![ConsumerCount { declared: Declared::Populated, members: 1 }];
        Sweep { began, ended: self.now, observed: vec![observed], listed_after: vec![invented], consumers }
    }

    fn look_at_drain(&self, scenario: &Scenario, key: KeyId, since: Millis) -> DrainObservation {
        let live = self.sessions.iter().filter(|session| session.key == key && session.ends.0 < u64::MAX).count();
        let live = u64::try_from(live).unwrap_or(u64::MAX);
        match self.rotation.settings.drain {
            crate::DrainRule::Rows => DrainObservation::Rows { remaining: live },
            crate::DrainRule::Lifetime | crate::DrainRule::Counter => {
                let window = self.rotation.settings.idle_lifetime.unwrap_or(scenario.tick);
                let from = Millis(self.now.0.saturating_sub(window.0)).max(since);
                let used = self.opened.iter().any(|(opened, at)| *opened == key && *at >= from);
                let window_at_least = self.rotation.settings.idle_lifetime.unwrap_or_default();
                DrainObservation::Counter {
                    from,
                    until: self.now,
                    opened: if used { live.max(1) } else { 0 },
                    coverage_permille: 1000,
                    window_at_least,
                }
            }
        }
    }

    /// What has to be true in the moment in which the driver writes.
    fn check_write(&mut self, scenario: &Scenario, place: usize, after: &WorldConfiguration) {
        let before = self.stores[place].holds.clone();
        if let Some(key) = after.accept.intersection(&self.rotation.destroyed).next() {
            self.break_with(scenario, "I5", format!("{key} was destroyed and returns"));
        }
        let leaked = self.rotation.compromised.intersection(&after.accept).find(|&&key| key != after.active);
        if let Some(key) = leaked {
            self.break_with(
                scenario,
                "I13",
                format!("{key} is compromised and would be accepted while {} mints", after.active),
            );
        }
        let gentle = match self.rotation.mode {
            Mode::Staged | Mode::Standby => true,
            // Once it has begun, a cutover goes on: half of it is worse than the whole.
            Mode::Accelerated => self.rotation.permit != Permit::Free,
            Mode::Cutover | Mode::HardCutover => false,
        };
        if gentle && before.active != after.active {
            self.decided_at = if self.rotation.stores.contains(after) { self.decided_at } else { self.now };
            let mut stale = self.stores.iter().flat_map(|store| store.earlier.iter().map(|(config, _)| config));
            let member = self.present_members().find(|(_, member)| !member.config.accept.contains(&after.active));
            // A superseded rotation is cut over at once; nothing is promised to sessions then.
            if self.excuse != Some(Excuse::Revoked) {
                if let Some((slot, member)) = member {
                    let config = say(&member.config);
                    self.break_with(
                        scenario,
                        "I4",
                        format!("{} becomes active and member {slot} has {config}", after.active),
                    );
                } else if stale.any(|config| !config.accept.contains(&after.active)) {
                    self.break_with(
                        scenario,
                        "I4",
                        format!("{} becomes active and a member may boot without it", after.active),
                    );
                }
            }
        }
        if self.rotation.stage == Stage::Retiring {
            let gone = self.rotation.outgoing;
            let minting = self.present_members().find(|(_, member)| member.config.active == gone);
            if let Some((slot, _)) = minting {
                self.break_with(scenario, "I4", format!("{gone} leaves and member {slot} mints under it"));
            }
            if self.rotation.t0.is_none() || self.rotation.drained.is_none() {
                self.break_with(scenario, "I6", format!("{gone} leaves without T0 or evidence"));
            }
        }
    }

    /// Whether a session under the key may be refused in this mode, by name.
    fn excused(&self, key: KeyId) -> bool {
        match (self.excuse, self.rotation.mode) {
            (Some(_), _) | (None, Mode::Cutover | Mode::HardCutover) => true,
            (None, Mode::Accelerated) => key != self.rotation.incoming,
            (None, Mode::Staged | Mode::Standby) => false,
        }
    }

    /// The invariants that have to hold in every world.
    fn check(&mut self, scenario: &Scenario) {
        if self.broken.is_some() {
            return;
        }
        let leaky = scenario.flaw == Flaw::AcceptLeakedWhileMintingNew;
        let broken = self.lost_session(leaky).or_else(|| self.survivor(leaky)).or_else(|| match scenario.flaw {
            Flaw::None => self.lost_mint().or_else(|| self.false_end()),
            _ => None,
        });
        if broken.is_some() {
            self.broken = broken;
        }
    }

    /// I1.
    fn lost_session(&self, leaky: bool) -> Option<Broken> {
        for (slot, member) in self.present_members().filter(|(_, member)| member.ready) {
            let accepts = |key: KeyId| member.config.accept.contains(&key);
            let lost = self.sessions.iter().filter(|session| !session.forged && !leaky);
            if let Some(session) = lost.copied().find(|session| !accepts(session.key) && !self.excused(session.key)) {
                let config = say(&member.config);
                let reason = format!("a live session under {} meets member {slot}, which has {config}", session.key);
                return Some(Broken { invariant: "I1", reason });
            }
        }
        None
    }

    /// I2.
    fn lost_mint(&self) -> Option<Broken> {
        for (slot, member) in self.present_members().filter(|(_, member)| member.ready) {
            for (other, minter) in self.present_members().filter(|(_, minter)| minter.ready) {
                let key = minter.config.active;
                if !member.config.accept.contains(&key) && !self.excused(key) {
                    let config = say(&member.config);
                    let reason = format!("member {other} mints under {key} and member {slot} has {config}");
                    return Some(Broken { invariant: "I2", reason });
                }
            }
        }
        None
    }

    /// I13: what was forged with a leaked key must not live on under another one.
    fn survivor(&self, leaky: bool) -> Option<Broken> {
        if self.excuse.is_some() {
            return None;
        }
        let leaked = |key: &KeyId| self.rotation.compromised.contains(key) || leaky && *key == OLD;
        let forged = self.sessions.iter().find(|session| session.forged && !leaked(&session.key))?;
        let reason = format!("a session that was forged with the leaked key now lives on under {}", forged.key);
        Some(Broken { invariant: "I13", reason })
    }

    /// At the end, every member that exists or may start accepts exactly what its store says.
    fn false_end(&self) -> Option<Broken> {
        let ended = matches!(self.rotation.stage, Stage::Closing | Stage::Escrow | Stage::Finished);
        if !ended || self.excuse == Some(Excuse::ForeignWrite) {
            return None;
        }
        let promised = |config: &WorldConfiguration| -> BTreeSet<KeyId> {
            match self.rotation.mode {
                // A cutover proves that the old key and whatever leaked is dead; it asks nothing about leftover keys.
                Mode::Cutover | Mode::Accelerated | Mode::HardCutover => {
                    let leftover = &self.rotation.others - &self.rotation.compromised;
                    &config.accept - &leftover
                }
                Mode::Staged | Mode::Standby => config.accept.clone(),
            }
        };
        let (slot, member) = self.present_members().find(|(slot, member)| {
            promised(&member.config) != promised(&self.stores[slot % self.stores.len()].holds)
        })?;
        let config = say(&member.config);
        Some(Broken { invariant: "G3", reason: format!("the rotation is closed and member {slot} has {config}") })
    }

    fn break_with(&mut self, scenario: &Scenario, invariant: &'static str, reason: String) {
        // Of a flawed driver it is known that it breaks rules. The question is what its users lose.
        if self.broken.is_none() && scenario.flaw == Flaw::None {
            self.broken = Some(Broken { invariant, reason });
        }
    }
}

/// What the flawed drivers do differently. Each cheats the machine in one place; none changes the machine.
impl World {
    /// Says whether the driver did something else instead of what the machine asks for.
    fn cheat(&mut self, scenario: &Scenario) -> bool {
        let (stage, step) = (self.rotation.stage, self.rotation.step.clone());
        let forward = self.rotation.direction == Direction::Forward;
        match scenario.flaw {
            Flaw::DistributeAndPromote if stage == Stage::Accepting && step == Step::Write && forward => {
                self.rotation.promotion_attempted = true;
                self.rotation.stage = Stage::Promoting;
                self.write_everywhere();
                true
            }
            Flaw::DropLeftover if stage == Stage::Accepting && step == Step::Write => {
                self.rotation.others.clear();
                self.write_everywhere();
                true
            }
            Flaw::PromoteWithoutG1 | Flaw::RollbackWithoutRetrust => {
                if forward != (scenario.flaw == Flaw::PromoteWithoutG1) {
                    return false;
                }
                if stage == Stage::Accepting && step == Step::Gate {
                    self.rotation.gate_passed(self.now);
                    return true;
                }
                if stage == Stage::Promoting && step == Step::Write {
                    self.rotation.permit = Permit::Passed { at: self.now };
                }
                false
            }
            _ => false,
        }
    }

    /// The stage's configuration to every store, past every check.
    fn write_everywhere(&mut self) {
        let Some(target) = self.rotation.target() else { return };
        for store in 0..self.stores.len() {
            self.put(store, target.clone());
        }
        self.rotation.stores = vec![target; self.stores.len()];
        self.rotation.written_at = Some(self.now);
        self.rotation.reloads = Attempt(self.rotation.reloads.0 + 1);
        self.rotation.step = Step::Reload { attempt: self.rotation.reloads, scope: ReloadScope::All };
    }

    /// Says whether the driver rolled back in its own way.
    fn cheat_on_rollback(&mut self, scenario: &Scenario) -> bool {
        let minted = matches!(self.rotation.stage, Stage::Promoting | Stage::Draining);
        let least = self.rotation.stores.iter().any(|store| store.active == OLD);
        let cheats = match scenario.flaw {
            Flaw::RollbackToOldOnly => minted,
            Flaw::RollbackByMinimum => minted && least,
            _ => false,
        };
        if cheats {
            self.rotation.direction = Direction::Back;
            self.rotation.promotion_attempted = false;
            self.rotation.stage = Stage::Withdrawing;
            self.write_everywhere();
        }
        cheats
    }
}

/// What a listing of the members gives.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Listing {
    True,
    Empty,
}

/// For the model checker: worlds that behave alike become one.
impl World {
    /// Shifts all times so that the clock stands still, forgets how long ago long ago was, numbers boots by slot, and
    /// orders members that read the same store.
    pub fn normalise(&mut self, scenario: &Scenario) {
        let (now, floor) = (START, Millis(START.0 - scenario.horizon().0));
        let ago = self.now.0 - START.0;
        let shift = |time: Millis| {
            if time.0 == u64::MAX { time } else { Millis(time.0.saturating_sub(ago)).max(floor) }
        };
        let pending = matches!(self.driver, Driver::Did(Event::Written { .. }));
        let settle_over = self.rotation.settle_over();
        self.normalise_rotation(shift, floor);
        let settled = self.rotation.settle_over();
        for member in self.members.iter_mut().flatten() {
            // Only whether it started before or after settle can ever matter; but a write that is not recorded yet will
            // move settle, so until then the times are kept.
            member.booted_at = match (pending, member.booted_at > settle_over) {
                (true, _) => shift(member.booted_at),
                (false, true) => settled.after(Millis(1)),
                (false, false) => Millis(0),
            };
        }
        self.normalise_members();
        for store in &mut self.stores {
            for (_, replaced) in &mut store.earlier {
                *replaced = shift(*replaced);
            }
        }
        for session in &mut self.sessions {
            session.ends = shift(session.ends);
        }
        self.sessions.sort_unstable();
        let (t0, outgoing) = (self.rotation.t0, self.rotation.outgoing);
        self.opened.retain(|(key, _)| t0.is_some() && *key == outgoing);
        for (_, at) in &mut self.opened {
            *at = shift(*at);
        }
        self.decided_at = shift(self.decided_at);
        match &mut self.driver {
            Driver::Fresh | Driver::Idle | Driver::Reloading(_) => {}
            Driver::Sweeping { began, .. } => *began = shift(*began),
            Driver::Did(event) => match event {
                Event::Written { at, .. } | Event::Stamped { t0: at } | Event::Closed { now: at } => *at = shift(*at),
                _ => {}
            },
        }
        self.now = now;
    }

    fn normalise_rotation(&mut self, shift: impl Fn(Millis) -> Millis, floor: Millis) {
        let (now, settled) = (self.now, self.now > self.rotation.settle_over());
        let rotation = &mut self.rotation;
        let permitted = rotation.permitted(now);
        let draining = rotation.stage == Stage::Draining;
        let reloading = matches!(rotation.step, Step::Reload { .. });
        rotation.written_at = rotation.written_at.map(|at| if settled { floor } else { shift(at) });
        rotation.t0 = rotation.t0.map(|t0| if draining { shift(t0) } else { floor });
        rotation.closed_at = rotation.closed_at.map(&shift);
        rotation.swept_at = rotation.swept_at.filter(|&at| Rotation::too_soon(at, now)).map(&shift);
        rotation.permit = match rotation.permit {
            Permit::Passed { at } => Permit::Passed { at: if permitted { shift(at) } else { floor } },
            permit @ (Permit::Free | Permit::Needed) => permit,
        };
        rotation.reloads = Attempt(0);
        if let Step::Reload { attempt, .. } = &mut rotation.step {
            *attempt = Attempt(0);
        }
        rotation.stage_reloads = rotation.stage_reloads.min(rotation.settings.reload_attempts + 2);
        if !reloading {
            rotation.unproven.clear();
        }
        // What the drain showed matters only as far as it ended it; when it was seen only for pacing.
        rotation.drained = rotation.drained.as_ref().map(|_| DrainObservation::Rows { remaining: 0 });
        if !draining {
            rotation.drain_seen = None;
        }
        if let Some(seen) = &mut rotation.drain_seen {
            seen.observation = DrainObservation::Rows { remaining: 0 };
            seen.at = shift(seen.at);
        }
    }

    fn normalise_members(&mut self) {
        let stores = self.stores.len();
        for store in 0..stores {
            let slots: Vec<usize> = (store..self.members.len()).step_by(stores).collect();
            let mut group: Vec<Option<Member>> = slots.iter().map(|&slot| self.members[slot].take()).collect();
            // Members that are alike differ still in what the driver is about to do with them.
            let driver = &self.driver;
            group.sort_by_cached_key(|member| {
                let boot = member.as_ref().map(|member| member.boot);
                let left = matches!((driver, boot), (Driver::Reloading(left), Some(boot)) if left.contains(&boot));
                let seen = match (driver, boot) {
                    (Driver::Sweeping { seen, .. }, Some(boot)) => seen.iter().find(|seen| seen.member.0 == boot),
                    _ => None,
                };
                let seen = seen.map(|seen| format!("{:?} {:?}", seen.readiness, seen.claims));
                let member = member.as_ref().map(|member| (member.config.clone(), member.ready, member.booted_at));
                (member, left, seen)
            });
            for (slot, member) in slots.into_iter().zip(group) {
                self.members[slot] = member;
            }
        }
        let mut renamed: Vec<(u32, u32)> = Vec::new();
        for (boot, member) in (0..).zip(&mut self.members) {
            if let Some(member) = member {
                renamed.push((member.boot, boot));
                member.boot = boot;
            }
        }
        self.next_boot = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let rename = |boot: u32| renamed.iter().find(|(from, _)| *from == boot).map(|(_, to)| *to);
        match &mut self.driver {
            Driver::Fresh | Driver::Idle | Driver::Did(_) => {}
            // Who left does not matter.
            Driver::Reloading(left) => *left = left.iter().filter_map(|&boot| rename(boot)).collect(),
            Driver::Sweeping { seen, .. } => {
                seen.retain_mut(|seen| match rename(seen.member.0) {
                    Some(boot) => {
                        seen.member = MemberIndex(boot);
                        true
                    }
                    None => false,
                });
                seen.sort_unstable_by_key(|seen| seen.member);
            }
        }
        let unproven = std::mem::take(&mut self.rotation.unproven);
        let mut laggards: Vec<u32> = unproven.iter().filter_map(member_of).filter_map(rename).collect();
        laggards.sort_unstable();
        laggards.dedup();
        self.rotation.unproven =
            laggards.into_iter().map(|boot| Unproven::NotAsked { member: MemberIndex(boot) }).collect();
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

impl From<Violation> for Broken {
    fn from(Violation { invariant, reason }: Violation) -> Self {
        Self { invariant, reason }
    }
}

/// A key that nobody knows.
const STRANGER: KeyId = KeyId(99);

/// Where every simulated clock begins; far enough from zero that "long ago" exists.
const START: Millis = Millis(1_000_000_000);
