//! A small application in memory, with users on it: members that read the key when they start, mint sessions under the
//! active key and open them under every accepted one, and a load balancer that sends everybody everywhere.
//!
//! It decides nothing about rotations. Whether a session was lost is told by the users alone, who try every member at every
//! moment at which the driver might be killed.
#![expect(dead_code, reason = "each test file uses another part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use keyroll_adapters::Timestamp;
use keyroll_adapters::evidence::{
    Answer, DrainWitness, EvidenceError, Level, OpenedCounts, Question, Statement, Subject, Testimony, Witness,
    WitnessDescription,
};
use keyroll_adapters::fleets::{
    BootId, Fleet, FleetDescription, FleetError, Member, MemberId, MemberState, ReloadOutcome, ReloadRequest,
    ReloadStyle, ReloadTarget,
};
use keyroll_adapters::stores::{
    Document, HiddenKey, Residue, Revision, SecretStore, Stamp, StoreDescription, StoreError, SwapStrength, Versioned,
};
use keyroll_engine::config::ConfigHash;
use keyroll_engine::{
    Assembly, Clock, Compromised, Consumer, CrashPoint, Engine, EngineError, EnginePolicy, Fingerprints, Hooks, Notice,
    Observer, Operator, Outcome, Overrides, Patience, RevokeRequest, RotateRequest, Standby, StoreLeak, Why,
};
use keyroll_keyring::profile::Profile;
use keyroll_keyring::{FieldName, Fields, KeyId, Secret};
use keyroll_rotation::gate::{Declared, EvidenceRule, MemberKind};
use keyroll_rotation::{DrainRule, Millis, Mode, ReloadNeed, Settings, Stage};

/// The key with which every simulated application starts.
pub(crate) const FIRST_KEY: &str = "7d0f7ac1f9c04b58bd3ba1d2f0a4f34de3c5b9a8c7d6e5f4a3b2c1d0e9f8a7b60fe1d2c3b4a5968778695a4b3c2d1e0f00112233445566778899aabbccddeeff";

/// How long a session lives.
pub(crate) const LIFETIME: u64 = 60_000;

/// The whole world of a test.
pub(crate) struct World {
    state: Mutex<State>,
    pub(crate) fingerprints: Arc<Fingerprints>,
    profile: Profile,
    epoch: tokio::time::Instant,
}

struct State {
    stores: Vec<Stored>,
    members: Vec<SimMember>,
    sessions: Vec<Session>,
    /// Sessions that were refused at least once while they were alive.
    lost: Vec<String>,
    /// Every candidate that any store ever held, by its bytes.
    candidates: BTreeSet<Vec<u8>>,
    reloads: BTreeSet<(String, String)>,
    /// Every run that was ever started by a reload of ours.
    pub(crate) restarts: usize,
    boots: u32,
    /// What a member that starts reads is so old.
    stale: Duration,
    /// A member needs this long to be ready.
    warm_up: Duration,
    faults: Faults,
    now: u64,
    /// For so long everything slept.
    slept: u64,
    /// So far the clock was set back, which nobody notices who counts time.
    set_back: u64,
}

/// What goes wrong.
#[derive(Default)]
pub(crate) struct Faults {
    /// The next so many writes are done and their answers lost.
    pub(crate) lose_answers: u32,
    /// The next so many calls fail for a moment.
    pub(crate) unavailable: u32,
    /// The next so many listings of the members fail for a moment.
    pub(crate) unlistable: u32,
    /// The next so many writes fail for a moment.
    pub(crate) fail_writes: u32,
    /// What a writer that died has left in the stores' folder.
    pub(crate) lying_about: Vec<String>,
    /// Copies of every key that nobody has told Keyroll of.
    pub(crate) copies: Vec<String>,
    /// This member does not come back from its next reload.
    pub(crate) does_not_come_back: Option<String>,
    /// Members that answer nobody's question.
    pub(crate) silent: BTreeSet<String>,
    /// Members keep their old key however often they are reloaded.
    pub(crate) stuck: BTreeSet<String>,
}

#[derive(Default)]
struct Stored {
    fields: BTreeMap<String, Vec<u8>>,
    pending: Vec<Hidden>,
    escrow: Vec<Hidden>,
    stamp: Option<Vec<u8>>,
    revision: u64,
    /// What the fields were before, with the time at which they ceased to be it.
    history: Vec<(u64, BTreeMap<String, Vec<u8>>)>,
}

#[derive(Clone)]
struct Hidden {
    id: KeyId,
    rotation: String,
    parts: Vec<(String, Vec<u8>)>,
    destroy_after: Option<Timestamp>,
}

#[derive(Clone)]
struct SimMember {
    name: String,
    boot: u32,
    started: u64,
    ready_at: u64,
    active: Vec<u8>,
    accept: Vec<Vec<u8>>,
    opened: BTreeMap<Vec<u8>, u64>,
    gone: bool,
}

struct Session {
    key: Vec<u8>,
    minted: u64,
    refused: bool,
    /// Sessions that a named emergency ends are not counted.
    forgiven: bool,
}

impl World {
    /// Members over one store.
    pub(crate) fn new(members: usize) -> Arc<Self> {
        Self::with_stores(members, 1)
    }

    pub(crate) fn with_stores(members: usize, stores: usize) -> Arc<Self> {
        let profile = Profile::builtin("rails").expect("the rails profile is built in");
        let fields = BTreeMap::from([("SECRET_KEY_BASE".to_owned(), FIRST_KEY.as_bytes().to_vec())]);
        let stored = || Stored { fields: fields.clone(), revision: 1, ..Stored::default() };
        let world = Arc::new(Self {
            state: Mutex::new(State {
                stores: (0..stores).map(|_| stored()).collect(),
                members: Vec::new(),
                sessions: Vec::new(),
                lost: Vec::new(),
                candidates: BTreeSet::new(),
                reloads: BTreeSet::new(),
                restarts: 0,
                boots: 0,
                stale: Duration::ZERO,
                warm_up: Duration::ZERO,
                faults: Faults::default(),
                now: START,
                slept: 0,
                set_back: 0,
            }),
            fingerprints: shared_fingerprints(),
            profile,
            epoch: tokio::time::Instant::now(),
        });
        for number in 0..members {
            world.scale_up(&format!("web-{number}"));
        }
        world
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.now = START + u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(0) + state.slept - state.set_back;
        state
    }

    /// A new member, which reads what a new member reads now.
    pub(crate) fn scale_up(&self, name: &str) {
        let mut state = self.lock();
        let member = self.start(&mut state, name);
        state.members.push(member);
    }

    /// A member ends for good.
    pub(crate) fn scale_down(&self, name: &str) {
        self.lock().members.retain(|member| member.name != name);
    }

    /// Somebody else restarts a member.
    pub(crate) fn restart(&self, name: &str) {
        let mut state = self.lock();
        let member = self.start(&mut state, name);
        if let Some(old) = state.members.iter_mut().find(|member| member.name == name) {
            *old = member;
        }
    }

    pub(crate) fn set_stale(&self, stale: Duration) {
        self.lock().stale = stale;
    }

    /// The machine sleeps, and everything with it.
    pub(crate) fn sleep(&self, span: u64) {
        self.lock().slept += span;
    }

    /// Somebody sets the clock back.
    pub(crate) fn set_clock_back(&self, span: u64) {
        self.lock().set_back += span;
    }

    pub(crate) fn set_warm_up(&self, warm_up: Duration) {
        self.lock().warm_up = warm_up;
    }

    pub(crate) fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.lock().faults);
    }

    pub(crate) fn restarts(&self) -> usize {
        self.lock().restarts
    }

    /// Somebody else writes a field.
    pub(crate) fn foreign_write(&self, field: &str, value: Option<&str>) {
        let stores = self.lock().stores.len();
        for place in 0..stores {
            self.foreign_write_to(place, field, value);
        }
    }

    /// Somebody else writes a field of one store.
    pub(crate) fn foreign_write_to(&self, place: usize, field: &str, value: Option<&str>) {
        let mut state = self.lock();
        let now = state.now;
        let stored = &mut state.stores[place];
        let before = stored.fields.clone();
        stored.history.push((now, before));
        match value {
            Some(value) => stored.fields.insert(field.to_owned(), value.as_bytes().to_vec()),
            None => stored.fields.remove(field),
        };
        stored.revision += 1;
    }

    /// What a field holds.
    pub(crate) fn field(&self, field: &str) -> Option<Vec<u8>> {
        self.lock().stores[0].fields.get(field).cloned()
    }

    /// Somebody edits a neighbour of the key.
    pub(crate) fn touch(&self) {
        self.lock().stores[0].revision += 1;
    }

    /// The stamp is gone.
    pub(crate) fn lose_stamp(&self) {
        for stored in &mut self.lock().stores {
            stored.stamp = None;
            stored.revision += 1;
        }
    }

    /// What the stamp says.
    pub(crate) fn stamp(&self) -> serde_json::Value {
        let state = self.lock();
        serde_json::from_slice(state.stores[0].stamp.as_deref().unwrap_or(b"null")).expect("a stamp is JSON")
    }

    /// Changes the stamp behind the driver's back.
    pub(crate) fn edit_stamp(&self, edit: impl FnOnce(&mut serde_json::Value)) {
        let mut stamp = self.stamp();
        edit(&mut stamp);
        let mut state = self.lock();
        state.stores[0].stamp = Some(serde_json::to_vec(&stamp).unwrap());
        state.stores[0].revision += 1;
    }

    /// Every candidate that any store ever held.
    pub(crate) fn candidates(&self) -> usize {
        self.lock().candidates.len()
    }

    /// Keys that are hidden in the stores now.
    pub(crate) fn hidden(&self) -> (usize, usize) {
        let state = self.lock();
        (
            state.stores.iter().map(|stored| stored.pending.len()).sum(),
            state.stores.iter().map(|stored| stored.escrow.len()).sum(),
        )
    }

    /// Somebody tidied up beside the key: the hidden copies are gone, the stamp is not.
    pub(crate) fn lose_hidden(&self) {
        for stored in &mut self.lock().stores {
            stored.pending.clear();
            stored.escrow.clear();
            stored.revision += 1;
        }
    }

    /// What the stores hold besides key bytes: stamps.
    pub(crate) fn stamps(&self) -> Vec<Vec<u8>> {
        self.lock().stores.iter().filter_map(|stored| stored.stamp.clone()).collect()
    }

    /// Every key that is or was in any field.
    pub(crate) fn every_key(&self) -> BTreeSet<Vec<u8>> {
        let state = self.lock();
        let mut keys = state.candidates.clone();
        keys.insert(FIRST_KEY.as_bytes().to_vec());
        keys
    }

    /// One user logs in on every member, and every user visits every member.
    pub(crate) fn browse(&self) {
        let mut state = self.lock();
        let now = state.now;
        let state = &mut *state;
        for member in state.members.iter().filter(|member| member.serves(now)) {
            if state.sessions.iter().filter(|session| session.minted == now && session.key == member.active).count()
                == 0
            {
                state.sessions.push(Session {
                    key: member.active.clone(),
                    minted: now,
                    refused: false,
                    forgiven: false,
                });
            }
        }
        state.sessions.retain(|session| session.refused || now <= session.minted + LIFETIME);
        for session in state.sessions.iter_mut().filter(|session| !session.refused && !session.forgiven) {
            for member in state.members.iter_mut().filter(|member| member.serves(now)) {
                if now > session.minted + LIFETIME {
                    continue;
                }
                if member.accept.contains(&session.key) {
                    *member.opened.entry(session.key.clone()).or_default() += 1;
                } else {
                    session.refused = true;
                    state.lost.push(format!(
                        "at {} ms `{}` refused a session that was minted at {} ms",
                        now - START,
                        member.name,
                        session.minted - START
                    ));
                }
            }
        }
    }

    /// Users log out: nobody keeps a session that exists now.
    pub(crate) fn forgive(&self) {
        for session in &mut self.lock().sessions {
            session.forgiven = true;
        }
    }

    pub(crate) fn lost(&self) -> Vec<String> {
        self.lock().lost.clone()
    }

    /// The active keys of all members, which are few.
    pub(crate) fn minting(&self) -> BTreeSet<Vec<u8>> {
        self.lock().members.iter().map(|member| member.active.clone()).collect()
    }

    /// Whether any member accepts this key.
    pub(crate) fn accepted_somewhere(&self, key: &[u8]) -> bool {
        self.lock().members.iter().any(|member| member.accept.iter().any(|accepted| accepted == key))
    }

    /// Whether every member accepts this key.
    pub(crate) fn accepted_everywhere(&self, key: &[u8]) -> bool {
        self.lock().members.iter().all(|member| member.accept.iter().any(|accepted| accepted == key))
    }

    pub(crate) fn assembly(self: &Arc<Self>) -> Assembly {
        let stores = self.lock().stores.len();
        Assembly {
            name: "storefront".into(),
            config: ConfigHash("test".into()),
            profile: self.profile.clone(),
            stores: (0..stores)
                .map(|place| Arc::new(SimStore { world: Arc::clone(self), place }) as Arc<dyn SecretStore>)
                .collect(),
            consumers: vec![Consumer {
                name: "web".into(),
                fleet: Arc::new(SimFleet { world: Arc::clone(self) }),
                kind: MemberKind::Serving,
                declared: Declared::Populated,
                parallel: 1,
                surge: 0,
                reload_timeout: Duration::from_secs(30),
            }],
            witnesses: vec![Arc::new(SimWitness { world: Arc::clone(self) })],
            drain: None,
            error_rates: None,
            session_count: None,
            logs: None,
            fingerprints: Arc::clone(&self.fingerprints),
            policy: EnginePolicy {
                poll: Duration::from_millis(500),
                standby: Standby::None,
                ..EnginePolicy::around(settings())
            },
        }
    }

    /// An engine with the test's clock; its users browse at every point at which it might be killed.
    pub(crate) fn engine(self: &Arc<Self>, state_dir: &std::path::Path) -> Engine {
        self.engine_of(self.assembly(), state_dir, "ada", "here")
    }

    pub(crate) fn engine_of(
        self: &Arc<Self>,
        assembly: Assembly,
        state_dir: &std::path::Path,
        operator: &str,
        host: &str,
    ) -> Engine {
        Engine::new(assembly, state_dir, Operator { name: operator.into(), host: host.into() })
            .with_clock(Arc::new(SimClock { world: Arc::clone(self) }))
            .with_hooks(Arc::new(Browsing { world: Arc::clone(self), points: AtomicUsize::new(0), crash_at: None }))
    }

    /// An engine that is killed at the n-th point.
    pub(crate) fn doomed(self: &Arc<Self>, state_dir: &std::path::Path, crash_at: usize) -> Engine {
        self.engine(state_dir).with_hooks(Arc::new(Browsing {
            world: Arc::clone(self),
            points: AtomicUsize::new(0),
            crash_at: Some(crash_at),
        }))
    }

    /// An engine in whose world something happens at a point, such as `closing/before close store 0`.
    pub(crate) fn meanwhile(
        self: &Arc<Self>,
        state_dir: &std::path::Path,
        point: &'static str,
        act: impl FnOnce(&Self) + Send + 'static,
    ) -> Engine {
        let browsing = Browsing { world: Arc::clone(self), points: AtomicUsize::new(0), crash_at: None };
        self.engine(state_dir).with_hooks(Arc::new(Meanwhile { browsing, point, act: Mutex::new(Some(Box::new(act))) }))
    }

    fn start(&self, state: &mut State, name: &str) -> SimMember {
        state.boots += 1;
        let now = state.now;
        let stuck = state.faults.stuck.contains(name);
        let before = state.members.iter().find(|member| member.name == name).cloned();
        let fields = if state.stale.is_zero() {
            state.stores[0].fields.clone()
        } else {
            let then = now.saturating_sub(u64::try_from(state.stale.as_millis()).unwrap_or(0));
            let old = state.stores[0].history.iter().find(|(until, _)| *until > then);
            old.map_or_else(|| state.stores[0].fields.clone(), |(_, fields)| fields.clone())
        };
        let owned = owned_fields(&self.profile, &fields);
        let parsed = self.profile.parse(&owned).expect("the fields hold keys");
        let bytes = |parts: &[keyroll_keyring::Part]| parts[0].material.expose().to_vec();
        let active = bytes(&parsed.active.parts);
        let mut accept = vec![active.clone()];
        accept.extend(parsed.accept_only.iter().map(|key| bytes(&key.parts)));
        let missing = state.faults.does_not_come_back.as_deref() == Some(name);
        let ready_at = if missing { u64::MAX } else { now + u64::try_from(state.warm_up.as_millis()).unwrap_or(0) };
        let mut member = SimMember {
            name: name.to_owned(),
            boot: state.boots,
            started: now,
            ready_at,
            active,
            accept,
            opened: BTreeMap::new(),
            gone: false,
        };
        if let (true, Some(before)) = (stuck, before) {
            member.active = before.active;
            member.accept = before.accept;
        }
        member
    }
}

impl SimMember {
    fn serves(&self, now: u64) -> bool {
        !self.gone && now >= self.ready_at
    }
}

struct SimClock {
    world: Arc<World>,
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.world.lock().now)
    }

    fn boottime(&self) -> Duration {
        self.world.epoch.elapsed() + Duration::from_millis(self.world.lock().slept)
    }

    async fn sleep(&self, span: Duration) {
        self.world.browse();
        tokio::time::sleep(span).await;
        self.world.browse();
    }
}

struct SimStore {
    world: Arc<World>,
    place: usize,
}

impl SimStore {
    fn location(&self) -> String {
        format!("store {}", self.place)
    }

    fn fail_for_a_moment(&self) -> Result<(), StoreError> {
        let mut state = self.world.lock();
        if state.faults.unavailable > 0 {
            state.faults.unavailable -= 1;
            return Err(StoreError::Unavailable { location: self.location(), source: "no route".into() });
        }
        Ok(())
    }
}

#[async_trait]
impl SecretStore for SimStore {
    fn describe(&self) -> StoreDescription {
        StoreDescription {
            kind: "sim",
            location: self.location(),
            fields: Vec::new(),
            swap: SwapStrength::Atomic,
            hidden: "in memory".into(),
        }
    }

    async fn read(&self) -> Result<Versioned, StoreError> {
        self.fail_for_a_moment()?;
        let state = self.world.lock();
        let stored = &state.stores[self.place];
        Ok(Versioned {
            document: Document {
                fields: owned_fields(&self.world.profile, &stored.fields),
                pending: stored.pending.iter().map(shown).collect(),
                escrow: stored.escrow.iter().map(shown).collect(),
                stamp: stored.stamp.clone().map(Stamp),
            },
            revision: Revision(stored.revision.to_string()),
        })
    }

    async fn write(&self, document: &Document, expect: &Revision) -> Result<Revision, StoreError> {
        self.fail_for_a_moment()?;
        let mut state = self.world.lock();
        let now = state.now;
        let state = &mut *state;
        if state.faults.fail_writes > 0 {
            state.faults.fail_writes -= 1;
            return Err(StoreError::Unavailable { location: self.location(), source: "no route".into() });
        }
        let stored = &mut state.stores[self.place];
        if expect.0 != stored.revision.to_string() {
            return Err(StoreError::Conflict { location: self.location() });
        }
        let before = stored.fields.clone();
        for (name, value) in &document.fields.0 {
            match value {
                Some(value) => stored.fields.insert(name.0.clone(), value.expose().to_vec()),
                None => stored.fields.remove(&name.0),
            };
        }
        if stored.fields != before {
            stored.history.push((now, before.clone()));
        }
        let held = stored.history.iter().map(|(_, fields)| fields).chain([&before]);
        let in_use: Vec<Vec<u8>> = held.flat_map(|fields| fields.values().cloned()).collect();
        stored.pending = document.pending.iter().map(kept).collect();
        stored.escrow = document.escrow.iter().map(kept).collect();
        stored.stamp = document.stamp.as_ref().map(|stamp| stamp.0.clone());
        stored.revision += 1;
        let revision = Revision(stored.revision.to_string());
        for hidden in &stored.pending {
            let bytes = &hidden.parts[0].1;
            // A copy of what the fields hold is no candidate; a candidate was hidden before it was written there.
            if !in_use.iter().any(|field| field.windows(bytes.len()).any(|window| window == bytes)) {
                state.candidates.insert(bytes.clone());
            }
        }
        if state.faults.lose_answers > 0 {
            state.faults.lose_answers -= 1;
            return Err(StoreError::Uncertain { location: self.location(), source: "connection reset".into() });
        }
        Ok(revision)
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(Timestamp(self.world.lock().now))
    }

    async fn sweep(&self) -> Result<Vec<String>, StoreError> {
        Ok(std::mem::take(&mut self.world.lock().faults.lying_about))
    }

    async fn residue(&self, material: &[&Secret]) -> Result<Residue, StoreError> {
        let state = self.world.lock();
        let stored = &state.stores[self.place];
        let hidden = stored.pending.iter().chain(&stored.escrow).flat_map(|hidden| &hidden.parts);
        let here = hidden.map(|(_, bytes)| bytes).chain(stored.fields.values());
        let document: Vec<_> = here
            .filter(|bytes| material.iter().any(|secret| secret.expose() == bytes.as_slice()))
            .map(|_| self.location())
            .collect();
        let found = document.iter().chain(&state.faults.copies).cloned().collect();
        Ok(Residue { searched: vec![self.location()], found, document, beyond: "backups".into() })
    }
}

struct SimFleet {
    world: Arc<World>,
}

#[async_trait]
impl Fleet for SimFleet {
    fn describe(&self) -> FleetDescription {
        FleetDescription {
            kind: "sim",
            location: "the simulated fleet".into(),
            reload: ReloadStyle::PerMember,
            cautions: Vec::new(),
        }
    }

    async fn members(&self) -> Result<Vec<Member>, FleetError> {
        let mut state = self.world.lock();
        if state.faults.unlistable > 0 {
            state.faults.unlistable -= 1;
            return Err(FleetError::Unavailable { location: "sim".into(), source: "no route".into() });
        }
        Ok(state.members.iter().map(|member| listed(member, state.now)).collect())
    }

    async fn reload(&self, request: &ReloadRequest) -> Result<ReloadOutcome, FleetError> {
        let ReloadTarget::Member { id, boot } = &request.target else {
            return Err(FleetError::NoSuchMember { location: "sim".into(), member: "all".into() });
        };
        let done = (request.id.0.clone(), id.0.clone());
        let mut state = self.world.lock();
        let here = state.members.iter().any(|member| member.name == id.0 && member.boot.to_string() == boot.0);
        if !here || !state.reloads.insert(done) {
            return Ok(ReloadOutcome::AlreadyDone);
        }
        state.restarts += 1;
        let member = self.world.start(&mut state, &id.0);
        if let Some(old) = state.members.iter_mut().find(|member| member.name == id.0) {
            *old = member;
        }
        Ok(ReloadOutcome::Started)
    }
}

fn listed(member: &SimMember, now: u64) -> Member {
    Member {
        id: MemberId(member.name.clone()),
        boot: BootId(member.boot.to_string()),
        address: None,
        state: if member.serves(now) { MemberState::Ready } else { MemberState::Unready },
        started_at: Some(Timestamp(member.started)),
        workers: Vec::new(),
    }
}

struct SimWitness {
    world: Arc<World>,
}

#[async_trait]
impl Witness for SimWitness {
    fn describe(&self) -> WitnessDescription {
        WitnessDescription { kind: "sim", level: Level::P3, tells_accepts: true, tells_mints: true }
    }

    async fn ask(&self, member: &Member, question: &Question<'_>) -> Testimony {
        let state = self.world.lock();
        let found = state.members.iter().find(|one| one.name == member.id.0 && one.boot.to_string() == member.boot.0);
        let answering = found.filter(|one| one.serves(state.now) && !state.faults.silent.contains(&one.name));
        let mut statements = Vec::new();
        let mut say = |key: KeyId, subject, answer| {
            statements.push(Statement { key, subject, answer, level: Level::P3, detail: "simulated".into() });
        };
        let yes = |shown: bool| if shown { Answer::Yes } else { Answer::No };
        for asked in &question.keys {
            let bytes = asked.key.material().expose().to_vec();
            match answering {
                None => {
                    say(asked.key.id(), Subject::Accepts, Answer::Unknown);
                    say(asked.key.id(), Subject::Mints, Answer::Unknown);
                }
                Some(one) => {
                    say(asked.key.id(), Subject::Accepts, yes(one.accept.contains(&bytes)));
                    say(asked.key.id(), Subject::Mints, yes(one.active == bytes));
                }
            }
        }
        for asked in &question.open_only {
            if let Some(one) = answering {
                say(asked.key.id(), Subject::Mints, yes(one.active == asked.key.material().expose()));
            }
        }
        Testimony { statements, ..Testimony::default() }
    }
}

/// Counters of sessions opened, by fingerprint.
pub(crate) struct SimCounters {
    pub(crate) world: Arc<World>,
}

#[async_trait]
impl DrainWitness for SimCounters {
    async fn read(&self, member: &Member) -> Result<Option<OpenedCounts>, EvidenceError> {
        let state = self.world.lock();
        let Some(found) = state.members.iter().find(|one| one.name == member.id.0) else { return Ok(None) };
        let by_label = found
            .accept
            .iter()
            .filter_map(|key| {
                let part = keyroll_keyring::Part::main(Secret::from_bytes(key.clone()));
                let label = self.world.fingerprints.of(std::slice::from_ref(&part))?.to_string();
                Some((label, found.opened.get(key).copied().unwrap_or(0)))
            })
            .collect();
        Ok(Some(OpenedCounts { at: Timestamp(state.now), boot: member.boot.clone(), started_at: None, by_label }))
    }
}

/// Lets users browse at every point, and kills the driver at one of them.
pub(crate) struct Browsing {
    world: Arc<World>,
    points: AtomicUsize,
    crash_at: Option<usize>,
}

impl Hooks for Browsing {
    fn at(&self, point: &CrashPoint) {
        self.world.browse();
        let number = self.points.fetch_add(1, Ordering::SeqCst);
        if self.crash_at == Some(number) {
            std::panic::panic_any(Killed(point.to_string()));
        }
    }
}

/// Lets something happen in the world at a point, the first time that the driver comes to it.
pub(crate) struct Meanwhile {
    browsing: Browsing,
    point: &'static str,
    act: Mutex<Option<Act>>,
}

type Act = Box<dyn FnOnce(&World) + Send>;

impl Hooks for Meanwhile {
    fn at(&self, point: &CrashPoint) {
        if point.to_string() == self.point {
            let act = self.act.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            if let Some(act) = act {
                act(&self.browsing.world);
            }
        }
        self.browsing.at(point);
    }
}

/// The panic of a driver that a test has killed.
pub(crate) struct Killed(pub(crate) String);

/// What became of a driver.
pub(crate) enum Fate {
    /// It was killed at this point.
    Killed(String),
    /// It came to an end.
    Ended(Box<Result<Outcome, EngineError>>),
}

/// Runs a driver that may be killed.
pub(crate) async fn fate(run: impl Future<Output = Result<Outcome, EngineError>> + Send + 'static) -> Fate {
    silence_kills();
    match tokio::spawn(run).await {
        Ok(ended) => Fate::Ended(Box::new(ended)),
        Err(error) => match error.into_panic().downcast::<Killed>() {
            Ok(killed) => Fate::Killed(killed.0),
            Err(panic) => std::panic::resume_unwind(panic),
        },
    }
}

fn silence_kills() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<Killed>().is_none() {
                usual(info);
            }
        }));
    });
}

/// A rotation that stops behind `stage`.
pub(crate) fn until(stage: Stage) -> RotateRequest {
    RotateRequest { until: Some(stage), ..RotateRequest::default() }
}

/// A revocation of what leaked, the store excluded.
pub(crate) fn revoke(mode: Mode, compromised: Compromised) -> RevokeRequest {
    RevokeRequest {
        mode,
        compromised,
        store: StoreLeak::Excluded,
        patience: Patience::Forever,
        overrides: Overrides::default(),
        why: Why::default(),
    }
}

/// A state folder in memory where there is one, because a journal syncs every line.
pub(crate) fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a temporary folder can be made")
}

/// Keeps every notice, as JSON.
#[derive(Default)]
pub(crate) struct Listening(pub(crate) Mutex<Vec<String>>);

impl Observer for Listening {
    fn notice(&self, notice: &Notice) {
        let text = serde_json::to_string(notice).expect("a notice is JSON");
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(text);
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        settle: Millis(2_000),
        max_lifetime: Some(Millis(LIFETIME)),
        idle_lifetime: None,
        leeway: Millis(1_000),
        drain: DrainRule::Lifetime,
        drain_limit: None,
        least_reissued_permille: None,
        escrow: Millis(3_600_000),
        evidence: EvidenceRule::Strong,
        reload_attempts: 2,
        reload: ReloadNeed::Needed,
    }
}

fn shared_fingerprints() -> Arc<Fingerprints> {
    static SHARED: std::sync::OnceLock<Arc<Fingerprints>> = std::sync::OnceLock::new();
    Arc::clone(SHARED.get_or_init(|| Arc::new(Fingerprints::new())))
}

fn owned_fields(profile: &Profile, fields: &BTreeMap<String, Vec<u8>>) -> Fields {
    Fields(
        profile
            .fields()
            .into_iter()
            .map(|FieldName(name)| {
                let value = fields.get(&name).map(|bytes| Secret::from_bytes(bytes.clone()));
                (FieldName(name), value)
            })
            .collect(),
    )
}

fn shown(hidden: &Hidden) -> HiddenKey {
    HiddenKey {
        id: hidden.id,
        rotation: hidden.rotation.clone(),
        parts: hidden.parts.iter().map(|(name, bytes)| (name.clone(), Secret::from_bytes(bytes.clone()))).collect(),
        destroy_after: hidden.destroy_after,
    }
}

fn kept(hidden: &HiddenKey) -> Hidden {
    Hidden {
        id: hidden.id,
        rotation: hidden.rotation.clone(),
        parts: hidden.parts.iter().map(|(name, secret)| (name.clone(), secret.expose().to_vec())).collect(),
        destroy_after: hidden.destroy_after,
    }
}

/// When every test begins.
const START: u64 = 1_790_000_000_000;
