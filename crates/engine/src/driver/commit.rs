//! Writing to a store: one document by compare-and-swap, over fields that somebody has looked at.
//!
//! Every write reads first and writes what it has just read, changed. So a driver that lost its lock finds another epoch in the
//! stamp and stops; and whoever wrote to the key's fields since they were last held against the record is noticed before the
//! write, even where it changes nothing but the stamp: a stamp says what was found out about the fields beside it.

use std::time::Duration;

use keyroll_adapters::stores::{Document, StoreError};
use keyroll_rotation::WorldConfiguration;

use crate::driver::hooks::Moment;
use crate::driver::session::{Session, Touched};
use crate::error::EngineError;
use crate::world::fingerprints::Blinded;
use crate::world::{self, Materials};

/// What a write to a store changes.
pub(crate) type Change<'c> = &'c (dyn Fn(&mut Document, &Materials) -> Result<(), EngineError> + Send + Sync);

/// What the owned fields of a store have to hold for a write to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owned<'c> {
    /// These keys; and nobody has written beside them since they were proven.
    Are(&'c WorldConfiguration),
    /// What they held when they were last held against the record. Nothing rests on a proof.
    AsJudged,
}

/// The owned fields of a store as they were held against the record.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    blinded: Blinded,
    /// Where only known keys were found.
    configuration: Option<WorldConfiguration>,
}

impl Session<'_> {
    /// Remembers what was just read as what the record knows of.
    pub(crate) fn judge(&mut self) {
        self.judged = (0..self.views.len()).map(|place| self.judged_now(place)).collect();
    }

    fn judged_now(&mut self, place: usize) -> Judged {
        let blinded = self.engine.assembly.fingerprints.blind_fields(&self.views[place].document.fields);
        Judged { blinded, configuration: self.fields(place).configuration().cloned() }
    }

    /// What the open rotation's record says of a store, where it has anything to say about its fields.
    pub(crate) fn recorded(&self, place: usize) -> Option<WorldConfiguration> {
        let machine = self.machine().filter(|machine| machine.abandoned == keyroll_rotation::Abandoned::No)?;
        machine.stores.get(place).cloned()
    }

    /// Writes to one store: the change, and the stamp as it is now, in one compare-and-swap.
    ///
    /// Where the fields hold something else than `owned` says, nothing is written.
    pub(crate) async fn commit(
        &mut self,
        place: usize,
        owned: Owned<'_>,
        change: Change<'_>,
    ) -> Result<(), EngineError> {
        for _ in 0..COMMIT_ATTEMPTS {
            self.refresh(place).await?;
            self.check_owned(place, owned)?;
            let until = match owned {
                Owned::Are(_) => self.proof_lasts(place).await?,
                Owned::AsJudged => Duration::MAX,
            };
            match self.swap(place, until, change).await {
                Err(EngineError::Store(StoreError::Conflict { .. })) => {}
                Err(EngineError::Store(StoreError::Unavailable { .. })) if self.engine.clock.boottime() > until => {
                    return Err(EngineError::OldProof { location: self.views[place].location.clone() });
                }
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
            self.commit(place, Owned::AsJudged, unmoved).await?;
            self.hook("write stamp", Moment::After);
        }
        Ok(())
    }

    /// Until when what was proven allows the write that is due, by the clock that counts suspend.
    pub(crate) async fn proof_lasts(&self, place: usize) -> Result<Duration, EngineError> {
        let Some(machine) = self.machine() else { return Ok(Duration::MAX) };
        let began = self.engine.clock.boottime();
        match machine.may_write_for(self.now().await?) {
            Some(left) => Ok(began.saturating_add(Duration::from_millis(left.0))),
            None => Err(EngineError::OldProof { location: self.views[place].location.clone() }),
        }
    }

    /// Whether the fields, as they were read last, hold what they must.
    fn check_owned(&mut self, place: usize, owned: Owned<'_>) -> Result<(), EngineError> {
        let location = || self.views[place].location.clone();
        if matches!(owned, Owned::Are(_)) && self.touched != Touched::No {
            // The proof on which this write rests is as old as what somebody else has just written over.
            return Err(EngineError::Moved { location: location() });
        }
        let now = self.judged_now(place);
        let same = match (owned, self.judged.get(place)) {
            (Owned::Are(expected), _) => now.configuration.as_ref() == Some(expected),
            (Owned::AsJudged, Some(judged)) => {
                judged.blinded == now.blinded
                    || (now.configuration.is_some() && judged.configuration == now.configuration)
            }
            (Owned::AsJudged, None) => false,
        };
        if same {
            return Ok(());
        }
        let found = self.fields(place).words();
        Err(EngineError::Foreign { location: self.views[place].location.clone(), found })
    }

    /// Writes what was read last, changed, if nobody wrote since.
    ///
    /// No other try is made behind `until`.
    pub(crate) async fn swap(&mut self, place: usize, until: Duration, change: Change<'_>) -> Result<(), EngineError> {
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
        let written = self.engine.with_retries_until(&view.location, until, || store.write(&document, &expect)).await;
        match written {
            Ok(revision) => {
                let view = &mut self.views[place];
                view.revision = revision;
                view.document = document;
                view.stamp = Some(self.stamp.clone());
                self.judged[place] = self.judged_now(place);
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
                if ours {
                    // What was written is what was meant; what is there by now may be another's again.
                    self.views[place].document = document;
                    self.judged[place] = self.judged_now(place);
                }
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
    pub(crate) async fn refresh(&mut self, place: usize) -> Result<(), EngineError> {
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
        let known_requests = known.stamp.as_ref().map(|stamp| stamp.requests.as_slice()).unwrap_or_default();
        let asked = stamp.requests.iter().find(|one| known_requests.iter().all(|other| other.id != one.id));
        // A request is left over what was there then; where that is not what was read here, somebody wrote in between.
        let behind = asked.is_some_and(|one| one.over.as_ref().is_some_and(|over| *over != known.revision));
        if found.revision != known.revision && (Some(stamp.sequence) == ours || behind) {
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
}

/// How often a write is based anew on what somebody else wrote meanwhile.
const COMMIT_ATTEMPTS: u32 = 8;
