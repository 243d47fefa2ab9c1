//! One process's hold on a key: the lock in every store, the journal, and what was read last.
//!
//! Whoever holds it has looked at what the stores hold: what it writes later is written over that, and over nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use keyroll_adapters::evidence::Traffic;
use keyroll_adapters::fleets::{BootId, MemberId};
use keyroll_adapters::stores::{SecretStore, StoreError};
use keyroll_keyring::{Key, KeyId};
use keyroll_rotation::gate::EvidenceLevel;
use keyroll_rotation::{
    Direction, Effect, Epoch, Illegal, Millis, Mode, Rotation, RotationId, Stage, StoreIndex, WorldConfiguration,
};

use crate::clock::{calendar, millis};
use crate::driver::commit::{Change, Judged, Owned};
use crate::driver::foreign::Sight;
use crate::driver::hooks::{CrashPoint, Moment};
use crate::driver::regression::ErrorWatch;
use crate::driver::state::SinceRelease;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::journal::{Author, Body, ConfigurationSight, Draft, Journal, KeyMark, Seq};
use crate::members::roster::Roster;
use crate::members::sweep::{self, RunKey};
use crate::report::{MemberStatus, Notice, Resumed};
use crate::world::fingerprints::Blinded;
use crate::world::lock::{LockHolder, ProcessIdentity, Vitality};
use crate::world::stamp::{OpenRotation, StampBody};
use crate::world::{self, FieldsSay, Materials, StoreView};

/// A hold on a key.
pub(crate) struct Session<'e> {
    pub(crate) engine: &'e Engine,
    pub(crate) journal: Journal,
    /// The stamp as this process will write it next.
    pub(crate) stamp: StampBody,
    /// Each store as it was read or written last.
    pub(crate) views: Vec<StoreView>,
    /// What the owned fields of each store held when they were last held against the record.
    pub(crate) judged: Vec<Judged>,
    /// What a hard cutover was told to write over, by the store's place.
    pub(crate) doomed: BTreeMap<usize, Blinded>,
    pub(crate) materials: Materials,
    pub(crate) roster: Roster,
    /// What the last sweep showed, for people.
    pub(crate) members: Vec<MemberStatus>,
    pub(crate) decoy: Key,
    /// Whether this process opened the rotation that it drives.
    pub(crate) resumed: Resumed,
    /// How the lock was had.
    pub(crate) taken: Taken,
    /// Whether a store's version moved while its fields stayed the same, since it was last asked.
    pub(crate) touched: Touched,
    /// Whether the stores moved since this machine gave them back.
    pub(crate) since_release: SinceRelease,
    /// Whether the foreign write that is there was shown before.
    pub(crate) sight: Sight,
    /// Requests that this process has taken, so that a stamp that still holds one does not bring it back.
    pub(crate) taken_requests: BTreeSet<String>,
    /// Runs that were proven while it drains.
    pub(crate) sworn: BTreeSet<(u16, MemberId, BootId)>,
    /// Why the machine refused the last request, if it did.
    pub(crate) refused: Option<Illegal>,
    /// Whose lock was taken over.
    pub(crate) dead: Option<LockHolder>,
    /// Which way a rotation went that this process brought to its end.
    pub(crate) ended_back: Direction,
    /// What that rotation was.
    pub(crate) ended: Option<Ended>,
    /// How strongly each member was shown to reject a key, as the last gate that demanded it passed.
    pub(crate) rejected_by: BTreeMap<KeyId, BTreeMap<String, Option<EvidenceLevel>>>,
    /// The gate and the drain that were looked at last in vain, as the record has it already.
    pub(crate) told: Vec<Told>,
    /// What this process itself sent to each run of each member.
    pub(crate) sent: BTreeMap<RunKey, Traffic>,
    /// What it knows of requests that fail.
    pub(crate) errors: ErrorWatch,
}

/// Something that was looked at and that the record has already, so that days of waiting for it do not fill the record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) effect: Effect,
    pub(crate) verdict: Vec<String>,
}

/// Whether the record has something already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Telling {
    New,
    Again,
}

/// A rotation of which nothing is left to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) mode: Mode,
    pub(crate) outgoing: KeyId,
    pub(crate) active: KeyId,
    /// When it was closed.
    pub(crate) at: jiff::Timestamp,
}

/// What is done about a holder that may be alive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Claim {
    /// It keeps the lock.
    Ordinary,
    /// A person says that it is dead.
    Seize,
}

/// How a lock was had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Taken {
    /// Nobody had it.
    Free,
    /// From a holder that is proven dead.
    FromTheDead,
}

/// Whether a foreign hand was in a store without changing the owned fields, as far as can be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Touched {
    /// No.
    No,
    /// The version moved; the fields are as they were.
    Yes {
        /// Where.
        location: String,
    },
}

impl<'e> Session<'e> {
    /// Takes the lock for `operation`.
    pub(crate) async fn take(engine: &'e Engine, operation: &str) -> Result<Self, EngineError> {
        Self::claim(engine, operation, Claim::Ordinary).await
    }

    /// Takes the lock from a holder of whom a person says that it is dead.
    pub(crate) async fn seize(engine: &'e Engine) -> Result<Self, EngineError> {
        Self::claim(engine, "unlock", Claim::Seize).await
    }

    async fn claim(engine: &'e Engine, operation: &str, claim: Claim) -> Result<Self, EngineError> {
        let journal = engine.open_journal().await?;
        engine.sweep_state_folder();
        let mut session = Self {
            engine,
            journal,
            stamp: StampBody::new(&engine.assembly.name),
            views: Vec::new(),
            judged: Vec::new(),
            materials: Materials::default(),
            roster: engine.load_roster()?,
            members: Vec::new(),
            decoy: engine.assembly.profile.candidate(sweep::DECOY)?,
            resumed: Resumed::Continued,
            taken: Taken::Free,
            touched: Touched::No,
            since_release: SinceRelease::Unknown,
            sight: Sight::Known,
            taken_requests: BTreeSet::new(),
            sworn: BTreeSet::new(),
            refused: None,
            dead: None,
            ended_back: Direction::Forward,
            ended: None,
            rejected_by: BTreeMap::new(),
            doomed: BTreeMap::new(),
            told: Vec::new(),
            sent: BTreeMap::new(),
            errors: ErrorWatch::default(),
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            match session.try_take(operation, claim).await {
                Err(EngineError::Store(StoreError::Conflict { .. })) if attempts < TAKE_ATTEMPTS => {}
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        if session.stamp.open.is_some() {
            // What the fields hold now is held against the record before anything is said of it, also in escrow.
            session.look_and_compare().await?;
        }
        if session.stamp.unfinished().is_some() {
            session.heed_touch().await?;
            session.lock_is_for_what_is_open().await?;
        }
        // Where no rotation is open, nothing is proven that somebody could have written over.
        session.touched = Touched::No;
        Ok(session)
    }

    /// A rotation in escrow in which somebody wrote, and took it back, is proven again: whoever came to begin another one drives it.
    async fn lock_is_for_what_is_open(&mut self) -> Result<(), EngineError> {
        let (Some(open), Some(lock)) = (&self.stamp.open, &mut self.stamp.lock) else { return Ok(()) };
        if lock.rotation == open.id {
            return Ok(());
        }
        lock.rotation = open.id.clone();
        self.commit_stamp().await
    }

    async fn try_take(&mut self, operation: &str, claim: Claim) -> Result<(), EngineError> {
        let engine = self.engine;
        self.views = engine.read_stores().await?;
        for anchor in self.views.iter().filter_map(|view| view.stamp.as_ref()?.audit.as_ref()) {
            // Before anything is appended, because the next stamp points at whatever is the end then.
            self.journal.holds(anchor)?;
        }
        self.stamp = engine.reconcile(&self.views)?.unwrap_or_else(|| StampBody::new(&engine.assembly.name));
        self.since_release = engine.since_release(&self.views)?;
        if let SinceRelease::Moved { location } = &self.since_release {
            self.touched = Touched::Yes { location: location.clone() };
        }
        let own = ProcessIdentity::own();
        let before = self.stamp.lock.take();
        self.taken = match &before {
            None => Taken::Free,
            // Threads of one process are kept apart by the journal's own lock, so this is what a failed attempt left.
            Some(holder) if holder.is(&own) && holder.host == engine.operator.host => Taken::FromTheDead,
            Some(holder) => match holder.vitality(&engine.operator.host) {
                Vitality::ProvenDead => Taken::FromTheDead,
                Vitality::MayLive if claim == Claim::Ordinary => {
                    return Err(EngineError::Locked { holder: Box::new(holder.clone()) });
                }
                Vitality::MayLive => Taken::Free,
            },
        };
        self.stamp.epoch = Epoch(self.stamp.epoch.0.saturating_add(1));
        // Whoever begins a rotation over one in escrow does not drive that one. The id tells the two apart for whoever takes
        // over: behind its end there is nothing left to do, before its beginning there is everything.
        let begins = operation == ROTATE && self.stamp.unfinished().is_none();
        let rotation = match (&self.stamp.open, &before) {
            (Some(open), _) if !begins => open.id.clone(),
            (_, Some(dead)) if begins && self.taken == Taken::FromTheDead && dead.operation == ROTATE => {
                dead.rotation.clone()
            }
            _ => engine.new_rotation_id()?,
        };
        self.stamp.lock = Some(LockHolder {
            holder: engine.operator.name.clone(),
            host: engine.operator.host.clone(),
            boot_id: own.boot_id,
            machine: own.machine,
            pid_namespace: own.pid_namespace,
            pid: own.pid,
            pid_start: own.start,
            operation: operation.to_owned(),
            since: calendar(millis(engine.clock.now())),
            rotation,
            epoch: self.stamp.epoch,
        });
        self.learn_materials();
        self.judge();
        if self.taken == Taken::FromTheDead {
            self.dead.clone_from(&before);
        }
        let continued = self.stamp.audit.clone().filter(|from| {
            // Another machine's journal holds what came before; the record says where it is to be read on.
            self.journal.anchor().is_none_or(|own| own.journal != from.journal)
        });
        self.lock_stores(before).await?;
        if let Some(from) = continued {
            if from.host == engine.operator.host {
                self.caution(format!(
                    "the record up to entry {} lies in another journal of this host, which is not in `{}`; it goes on here in a \
                     new one that says so",
                    from.seq,
                    engine.state_dir.display()
                ));
            }
            self.note(Body::Continued { from })?;
        }
        for place in 0..self.views.len() {
            // What a writer that was killed left lying is removed, now that nobody else writes.
            let removed = self.store(place)?.sweep().await?;
            if !removed.is_empty() {
                self.note(Body::Swept { store: place_index(place), removed })?;
            }
        }
        Ok(())
    }

    /// Writes the lock into each store.
    async fn lock_stores(&mut self, before: Option<LockHolder>) -> Result<(), EngineError> {
        match (self.taken, before) {
            (Taken::FromTheDead, Some(dead)) => {
                self.note(Body::LockTakenOver { from: dead.holder, host: dead.host, epoch: dead.epoch })?;
            }
            (Taken::Free | Taken::FromTheDead, _) => {
                self.note(Body::LockTaken)?;
            }
        }
        for place in 0..self.views.len() {
            let unmoved: Change<'_> = &|_, _| Ok(());
            self.hook("take lock", Moment::Before);
            // The first time the guard is the revision alone: what was read without a lock must still be there.
            self.swap(place, Duration::MAX, unmoved).await?;
            self.hook("take lock", Moment::After);
        }
        Ok(())
    }

    /// Gives the lock back. The stamps then say everything that this process knows.
    ///
    /// Somebody may write to a key's fields at this very moment; that is held against the record and kept for whoever comes
    /// next, and the lock is given back all the same.
    pub(crate) async fn release(mut self) -> Result<(), EngineError> {
        self.note(Body::LockReleased)?;
        let lock = self.stamp.lock.clone();
        let mut attempts = 0;
        loop {
            self.stamp.lock = None;
            attempts += 1;
            match self.give_back().await {
                Err(EngineError::Foreign { location, found }) if attempts < TAKE_ATTEMPTS => {
                    self.caution(format!("{location} was written by somebody else just now: {found}"));
                    self.stamp.lock.clone_from(&lock);
                    self.look_and_compare().await?;
                }
                done => break done?,
            }
        }
        // A write that is halted for is shown, and whatever comes of it is proven again.
        let shown = self.machine().is_some_and(Rotation::is_halted_by_foreign_write);
        if shown {
            self.touched = Touched::No;
        }
        self.engine.remember_release(&self.views, &self.touched)
    }

    async fn give_back(&mut self) -> Result<(), EngineError> {
        self.hook("release lock", Moment::Before);
        let unmoved: Change<'_> = &|_, _| Ok(());
        for place in (0..self.views.len()).rev() {
            self.commit(place, Owned::AsJudged, unmoved).await?;
        }
        self.hook("release lock", Moment::After);
        Ok(())
    }

    /// The open rotation's id, or the one that a new rotation will have.
    pub(crate) fn rotation_id(&self) -> RotationId {
        match (&self.stamp.open, &self.stamp.lock) {
            (Some(open), _) => open.id.clone(),
            (None, Some(lock)) => lock.rotation.clone(),
            (None, None) => RotationId(String::new()),
        }
    }

    pub(crate) fn open(&self) -> Option<&OpenRotation> {
        self.stamp.open.as_ref()
    }

    pub(crate) fn machine(&self) -> Option<&Rotation> {
        self.stamp.open.as_ref().map(|open| &open.machine)
    }

    pub(crate) fn stage(&self) -> Option<Stage> {
        self.machine().map(|machine| machine.stage)
    }

    /// Appends to the journal, in the name of this operator.
    pub(crate) fn note(&mut self, body: Body) -> Result<Seq, EngineError> {
        let by = self.engine.operator.name.clone();
        self.note_by(by, body)
    }

    /// Appends to the journal, in the name of whoever asked.
    pub(crate) fn note_by(&mut self, operator: String, body: Body) -> Result<Seq, EngineError> {
        let kind = match &body {
            Body::Intent { .. } => "journal intent",
            Body::State { .. } => "journal state",
            _ => "journal entry",
        };
        self.hook(kind, Moment::Before);
        self.journal.append(Draft {
            at: calendar(millis(self.engine.clock.now())),
            author: Author {
                operator,
                host: self.engine.operator.host.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            rotation: self.stamp.open.as_ref().map(|open| open.id.clone()),
            epoch: Some(self.stamp.epoch),
            body,
        })?;
        self.hook(kind, Moment::After);
        Ok(Seq(self.journal.next_seq().0.saturating_sub(1)))
    }

    /// Records everything that this process knows, so that it can be taken up from here.
    pub(crate) fn note_state(&mut self) -> Result<(), EngineError> {
        let stamp = serde_json::to_value(&self.stamp)
            .map_err(|error| EngineError::Stamp { location: "the journal".into(), reason: error.to_string() })?;
        self.note(Body::State { stamp }).map(drop)
    }

    /// Remembers what a look in vain showed, in place of what the look of this kind before it showed.
    pub(crate) fn tell(&mut self, told: Told) -> Telling {
        if self.told.contains(&told) {
            return Telling::Again;
        }
        self.told.retain(|before| discriminant(&before.effect) != discriminant(&told.effect));
        self.told.push(told);
        Telling::New
    }

    pub(crate) fn hook(&self, what: &str, moment: Moment) {
        self.engine.hooks.at(&CrashPoint { stage: self.stage(), what: what.to_owned(), moment });
    }

    pub(crate) fn caution(&self, what: impl Into<String>) {
        let what = what.into();
        tracing::warn!(what);
        self.engine.observer.notice(&Notice::Caution { what });
    }

    /// The first store's clock.
    pub(crate) async fn now(&self) -> Result<Millis, EngineError> {
        let store = self.store(0)?;
        Ok(millis(self.engine.with_retries("the clock of the first store", || store.now()).await?))
    }

    pub(crate) fn store(&self, place: usize) -> Result<Arc<dyn SecretStore>, EngineError> {
        self.engine.store(place)
    }

    /// Reads every store again, takes over what others left in the stamps, and finds out whether the lock is still held.
    pub(crate) async fn look(&mut self) -> Result<Vec<FieldsSay>, EngineError> {
        for place in 0..self.views.len() {
            self.refresh(place).await?;
        }
        Ok((0..self.views.len()).map(|place| self.fields(place)).collect())
    }

    /// What the fields of a store say, as it was read last.
    pub(crate) fn fields(&mut self, place: usize) -> FieldsSay {
        let assembly = &self.engine.assembly;
        world::read_fields(
            &assembly.profile,
            &self.stamp.ledger,
            &mut self.materials,
            &assembly.fingerprints,
            &self.views[place].document.fields,
        )
    }

    pub(crate) async fn read(&self, place: usize) -> Result<StoreView, EngineError> {
        self.engine.read_store(place).await
    }

    pub(crate) fn learn_materials(&mut self) {
        let fingerprints = &self.engine.assembly.fingerprints;
        for view in &self.views {
            world::read_hidden(&mut self.materials, fingerprints, &view.document);
        }
        for place in 0..self.views.len() {
            self.fields(place);
        }
    }

    /// A key by its public names.
    pub(crate) fn mark(&self, id: KeyId) -> KeyMark {
        KeyMark { id, fingerprint: self.stamp.ledger.get(id).and_then(|known| known.fingerprint.clone()) }
    }

    /// A configuration by the public names of its keys.
    pub(crate) fn sight(&self, store: StoreIndex, world: &WorldConfiguration, seen: Seen) -> ConfigurationSight {
        let revision = match seen {
            Seen::Now => self.views.get(usize::from(store.0)).map(|view| view.revision.clone()),
            Seen::ToBe => None,
        };
        ConfigurationSight {
            revision,
            active: self.mark(world.active),
            accept: world.accept.iter().map(|id| self.mark(*id)).collect(),
        }
    }
}

/// Whether a configuration is there or is to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Seen {
    /// It is there.
    Now,
    /// It is to be written.
    ToBe,
}

/// A store's place as the record has it.
pub(crate) fn place_index(place: usize) -> StoreIndex {
    StoreIndex(u16::try_from(place).unwrap_or(u16::MAX))
}

/// Operations by which the next process knows what a dead one was about.
pub(crate) const ROTATE: &str = "rotate";
pub(crate) const COMPLETE: &str = "complete";
pub(crate) const ROLLBACK: &str = "rollback";
pub(crate) const REVOKE: &str = "revoke";

/// How often the lock is tried for when somebody else writes at the same time.
const TAKE_ATTEMPTS: u32 = 5;
