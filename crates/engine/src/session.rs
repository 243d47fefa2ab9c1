//! One process's hold on a key: the lock in every store, the journal, and what was read last.
//!
//! Every write goes through [`Session::commit`], which reads first and writes by compare-and-swap what it has just read. So a
//! driver that lost its lock finds another epoch in the stamp and stops; it never overwrites.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use keyroll_adapters::fleets::{BootId, MemberId};
use keyroll_adapters::stores::{Document, SecretStore, StoreError};
use keyroll_keyring::{Key, KeyId};
use keyroll_rotation::{
    Direction, Epoch, Illegal, Millis, Rotation, RotationId, Stage, StoreIndex, WorldConfiguration,
};

use crate::clock::{calendar, millis};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::hooks::{CrashPoint, Moment};
use crate::journal::{Author, Body, ConfigurationSight, Draft, Journal, JournalError, JournalReader, KeyMark, Seq};
use crate::lock::{LockHolder, ProcessIdentity, Vitality};
use crate::report::{MemberStatus, Notice};
use crate::roster::Roster;
use crate::stamp::{OpenRotation, StampBody};
use crate::world::{self, FieldsSay, Materials, StoreView};

/// A hold on a key.
pub(crate) struct Session<'e> {
    pub(crate) engine: &'e Engine,
    pub(crate) journal: Journal,
    /// The stamp as this process will write it next.
    pub(crate) stamp: StampBody,
    /// Each store as it was read or written last.
    pub(crate) views: Vec<StoreView>,
    pub(crate) materials: Materials,
    pub(crate) roster: Roster,
    /// What the last sweep showed, for people.
    pub(crate) members: Vec<MemberStatus>,
    pub(crate) decoy: Key,
    /// How the lock was had.
    pub(crate) taken: Taken,
    /// Whether a store's version moved while its fields stayed the same, since it was last asked.
    pub(crate) touched: Touched,
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

/// What a write to a store changes.
pub(crate) type Change<'c> = &'c (dyn Fn(&mut Document, &Materials) -> Result<(), EngineError> + Send + Sync);

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
            materials: Materials::default(),
            roster: engine.load_roster()?,
            members: Vec::new(),
            decoy: engine.assembly.profile.candidate(DECOY)?,
            taken: Taken::Free,
            touched: Touched::No,
            taken_requests: BTreeSet::new(),
            sworn: BTreeSet::new(),
            refused: None,
            dead: None,
            ended_back: Direction::Forward,
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            match session.try_take(operation, claim).await {
                Err(EngineError::Store(StoreError::Conflict { .. })) if attempts < TAKE_ATTEMPTS => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(session),
            }
        }
    }

    async fn try_take(&mut self, operation: &str, claim: Claim) -> Result<(), EngineError> {
        let engine = self.engine;
        self.views = engine.read_stores().await?;
        self.stamp = engine.reconcile(&self.views).unwrap_or_else(|| StampBody::new(&engine.assembly.name));
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
            pid: own.pid,
            pid_start: own.start,
            operation: operation.to_owned(),
            since: calendar(millis(engine.clock.now())),
            rotation,
            epoch: self.stamp.epoch,
        });
        self.learn_materials();
        if self.taken == Taken::FromTheDead {
            self.dead.clone_from(&before);
        }
        self.lock_stores(before).await
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
            self.swap(place, unmoved).await?;
            self.hook("take lock", Moment::After);
        }
        Ok(())
    }

    /// Gives the lock back. The stamps then say everything that this process knows.
    pub(crate) async fn release(mut self) -> Result<(), EngineError> {
        self.note(Body::LockReleased)?;
        self.stamp.lock = None;
        self.hook("release lock", Moment::Before);
        let unmoved: Change<'_> = &|_, _| Ok(());
        for place in (0..self.views.len()).rev() {
            self.commit(place, None, unmoved).await?;
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

    /// Writes to one store: the change, and the stamp as it is now, in one compare-and-swap.
    ///
    /// `expect` is what the owned fields must hold; where they hold something else, nothing is written.
    pub(crate) async fn commit(
        &mut self,
        place: usize,
        expect: Option<&WorldConfiguration>,
        change: Change<'_>,
    ) -> Result<(), EngineError> {
        for _ in 0..COMMIT_ATTEMPTS {
            self.refresh(place).await?;
            if let Some(expected) = expect {
                let found = self.fields(place);
                if found.configuration() != Some(expected) {
                    return Err(EngineError::Foreign {
                        location: self.views[place].location.clone(),
                        found: found.words(),
                    });
                }
            }
            match self.swap(place, change).await {
                Err(EngineError::Store(StoreError::Conflict { .. })) => {}
                done => return done,
            }
        }
        let location = self.views[place].location.clone();
        Err(StoreError::Conflict { location }.into())
    }

    /// Writes the stamp alone, into every store.
    pub(crate) async fn commit_stamp(&mut self) -> Result<(), EngineError> {
        let unmoved: Change<'_> = &|_, _| Ok(());
        for place in 0..self.views.len() {
            self.hook("write stamp", Moment::Before);
            self.commit(place, None, unmoved).await?;
            self.hook("write stamp", Moment::After);
        }
        Ok(())
    }

    /// Writes what was read last, changed, if nobody wrote since.
    async fn swap(&mut self, place: usize, change: Change<'_>) -> Result<(), EngineError> {
        let store = self.store(place)?;
        self.stamp.sequence = self.stamp.sequence.saturating_add(1);
        self.stamp.audit = self.journal.anchor();
        let view = &self.views[place];
        let mut document = world::copy_document(&view.document);
        change(&mut document, &self.materials)?;
        document.stamp = Some(
            self.stamp
                .encode()
                .map_err(|error| EngineError::Stamp { location: view.location.clone(), reason: error.to_string() })?,
        );
        let expect = view.revision.clone();
        let written = self.engine.with_retries(&view.location, || store.write(&document, &expect)).await;
        match written {
            Ok(revision) => {
                let view = &mut self.views[place];
                view.revision = revision;
                view.document = document;
                view.stamp = Some(self.stamp.clone());
                Ok(())
            }
            // It may have happened. The stamp that is there now says whether it did.
            Err(error @ StoreError::Uncertain { .. }) => {
                let now = self.read(place).await?;
                let ours = now
                    .stamp
                    .as_ref()
                    .is_some_and(|stamp| (stamp.epoch, stamp.sequence) == (self.stamp.epoch, self.stamp.sequence));
                let unchanged = now.revision == expect;
                let location = now.location.clone();
                self.views[place] = now;
                match (ours, unchanged) {
                    (true, _) => Ok(()),
                    (false, true) => Err(error.into()),
                    (false, false) => Err(StoreError::Conflict { location }.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads one store again.
    async fn refresh(&mut self, place: usize) -> Result<(), EngineError> {
        let found = self.read(place).await?;
        let known = &self.views[place];
        let Some(stamp) = &found.stamp else {
            return Err(EngineError::Superseded { rotation: self.rotation_id(), holder: None });
        };
        if stamp.epoch != self.stamp.epoch {
            let holder = stamp.lock.clone().map(Box::new);
            return Err(EngineError::Superseded { rotation: self.rotation_id(), holder });
        }
        let ours = known.stamp.as_ref().map(|stamp| stamp.sequence);
        if found.revision != known.revision && Some(stamp.sequence) == ours {
            self.touched = Touched::Yes { location: found.location.clone() };
        }
        // An operator elsewhere leaves requests in the stamp, under a sequence of its own.
        self.stamp.sequence = self.stamp.sequence.max(stamp.sequence);
        for request in &stamp.requests {
            if !self.stamp.requests.iter().any(|known| known.id == request.id)
                && !self.taken_requests.contains(&request.id)
            {
                self.stamp.requests.push(request.clone());
            }
        }
        self.views[place] = found;
        self.learn_materials();
        Ok(())
    }

    async fn read(&self, place: usize) -> Result<StoreView, EngineError> {
        self.engine.read_store(place).await
    }

    fn learn_materials(&mut self) {
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

impl Engine {
    pub(crate) fn store(&self, place: usize) -> Result<Arc<dyn SecretStore>, EngineError> {
        self.assembly
            .stores
            .get(place)
            .cloned()
            .ok_or_else(|| EngineError::RefusedBecause { reason: "the configuration names no store".into() })
    }

    pub(crate) async fn read_store(&self, place: usize) -> Result<StoreView, EngineError> {
        let store = self.store(place)?;
        let location = store.describe().location;
        let versioned = self.with_retries(&location, || store.read()).await?;
        StoreView::of(location, versioned, &self.assembly.name)
    }

    pub(crate) async fn read_stores(&self) -> Result<Vec<StoreView>, EngineError> {
        let mut views = Vec::new();
        for place in 0..self.assembly.stores.len() {
            views.push(self.read_store(place).await?);
        }
        if views.is_empty() {
            self.store(0)?;
        }
        Ok(views)
    }

    /// The newest state: of the stores' stamps, and of this machine's journal where it knows more of the same rotation.
    ///
    /// Where the stamps are gone (somebody removed what lay beside the key), the journal's own state is all there is.
    pub(crate) fn reconcile(&self, views: &[StoreView]) -> Option<StampBody> {
        let own = self.last_state();
        let Some(newest) = newest_stamp(views) else {
            return own.map(|mut own| {
                own.lock = None;
                own
            });
        };
        let same =
            |own: &StampBody| own.open.as_ref().map(|open| &open.id) == newest.open.as_ref().map(|open| &open.id);
        match own {
            Some(mut own) if !newest.newer_than(&own) && same(&own) => {
                own.lock.clone_from(&newest.lock);
                own.requests.clone_from(&newest.requests);
                own.sequence = own.sequence.max(newest.sequence);
                Some(own)
            }
            _ => Some(newest.clone()),
        }
    }

    /// The last state that this machine's journal holds.
    pub(crate) fn last_state(&self) -> Option<StampBody> {
        let records = JournalReader::open(&self.state_dir).ok()?.records().ok()?;
        records.into_iter().rev().find_map(|record| match record.entry.body {
            Body::State { stamp } => serde_json::from_value(stamp).ok(),
            _ => None,
        })
    }

    async fn open_journal(&self) -> Result<Journal, EngineError> {
        let mut attempts = 0;
        loop {
            let in_use = match Journal::open(&self.state_dir) {
                Ok(journal) => return Ok(journal),
                Err(error @ JournalError::InUse { .. }) => error,
                Err(error) => return Err(error.into()),
            };
            // Another process on this machine has the journal, so it drives. It opens the journal before it writes its lock,
            // so for a moment the stamp names nobody, or the dead process from which it takes over.
            let views = self.read_stores().await?;
            let holder = newest_stamp(&views).and_then(|stamp| stamp.lock.clone());
            if let Some(holder) = holder.filter(|holder| holder.vitality(&self.operator.host) == Vitality::MayLive) {
                return Err(EngineError::Locked { holder: Box::new(holder) });
            }
            attempts += 1;
            if attempts == JOURNAL_ATTEMPTS {
                return Err(in_use.into());
            }
            self.clock.sleep(JOURNAL_PAUSE).await;
        }
    }

    pub(crate) fn load_roster(&self) -> Result<Roster, EngineError> {
        let path = self.state_dir.join(ROSTER_FILE);
        let failed = |what| {
            let path = path.display().to_string();
            move |source| EngineError::State { path, what, source }
        };
        match std::fs::read(&path) {
            Ok(bytes) => Roster::decode(&bytes).map_err(|error| failed("read")(error.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Roster::default()),
            Err(error) => Err(failed("read")(error)),
        }
    }

    /// Keeps the table, so that members have their names in a process after this one.
    pub(crate) fn save_roster(&self, roster: &Roster) -> Result<(), EngineError> {
        self.replace_state_file(ROSTER_FILE, &serde_json::to_vec(roster).unwrap_or_default())
    }

    /// Replaces a file of the state folder in one step.
    pub(crate) fn replace_state_file(&self, name: &str, bytes: &[u8]) -> Result<(), EngineError> {
        let path = self.state_dir.join(name);
        let failed =
            |source: std::io::Error| EngineError::State { path: path.display().to_string(), what: "replaced", source };
        let mut file = tempfile::Builder::new()
            .prefix(REPLACEMENT_PREFIX)
            .suffix(REPLACEMENT_SUFFIX)
            .tempfile_in(&self.state_dir)
            .map_err(failed)?;
        std::io::Write::write_all(&mut file, bytes).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// Removes replacements that a killed process never put in place. Only whoever has the journal open makes any, so none
    /// of another process is in the making while this one has it.
    fn sweep_state_folder(&self) {
        let Ok(entries) = std::fs::read_dir(&self.state_dir) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let ours = name
                .to_str()
                .is_some_and(|name| name.starts_with(REPLACEMENT_PREFIX) && name.ends_with(REPLACEMENT_SUFFIX));
            if ours {
                // It holds no secret; one that stays is met again by the next process.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    pub(crate) fn new_rotation_id(&self) -> Result<RotationId, EngineError> {
        let mut random = [0_u8; 10];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| EngineError::RefusedBecause { reason: "the system gave no random bytes".into() })?;
        let mut bytes = [0_u8; 16];
        bytes[..6].copy_from_slice(&self.clock.now().0.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        Ok(RotationId(format!("r-{}", crockford(u128::from_be_bytes(bytes)))))
    }
}

fn newest_stamp(views: &[StoreView]) -> Option<&StampBody> {
    views.iter().filter_map(|view| view.stamp.as_ref()).max_by_key(|stamp| (stamp.epoch, stamp.sequence))
}

/// 26 digits, most significant first, so that ids sort by time.
fn crockford(value: u128) -> String {
    (0..26).rev().map(|digit| char::from(CROCKFORD[((value >> (5 * digit)) & 31) as usize])).collect()
}

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// No key of a ring has this id; the decoy never leaves memory.
const DECOY: KeyId = KeyId(u32::MAX);

const ROSTER_FILE: &str = "members.json";

/// The operation that begins rotations.
pub(crate) const ROTATE: &str = "rotate";

/// What the replacement of a file in the state folder is called until it is put in place.
const REPLACEMENT_PREFIX: &str = ".keyroll-";
const REPLACEMENT_SUFFIX: &str = ".tmp";

/// How long whoever has the journal is waited for until the stamp says who it is.
const JOURNAL_ATTEMPTS: u32 = 50;
const JOURNAL_PAUSE: Duration = Duration::from_millis(100);

/// How often the lock is tried for when somebody else writes at the same time.
const TAKE_ATTEMPTS: u32 = 5;

/// How often a write is based anew on what somebody else wrote meanwhile.
const COMMIT_ATTEMPTS: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_ids_sort_by_time() {
        assert_eq!(crockford(0), "0".repeat(26));
        assert!(crockford(1 << 80) > crockford((1 << 80) - 1));
        assert_eq!(crockford(u128::MAX).len(), 26);
    }
}
