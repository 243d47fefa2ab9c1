//! Carrying out one effect: each may be carried out twice, because the process that did it may have died before it said so.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use keyroll_adapters::Timestamp;
use keyroll_adapters::stores::Document;
use keyroll_keyring::{KeyId, KeyState};
use keyroll_rotation::gate::Gate;
use keyroll_rotation::{
    DrainObservation, Effect, Event, Leaving, Millis, ReloadScope, RotationId, Stage, StoreIndex, WorldConfiguration,
};

use crate::driver::commit::{Change, Owned};
use crate::driver::hooks::Moment;
use crate::driver::session::{Seen, Session, Told};
use crate::error::{EngineError, error_chain};
use crate::journal::{Body, Completion};
use crate::meaning::gate_demand;
use crate::members::drain::{DrainBook, Reading, RunReading, opened_by, run_of};
use crate::world::stamp::{KnownKey, Minted};
use crate::world::{self, Identity, Materials};

impl Session<'_> {
    /// Records the intent, carries the effect out, records that it is done. The event is what the machine is to be told.
    pub(crate) async fn carry_out(&mut self, effect: &Effect) -> Result<Event, EngineError> {
        let (before, after) = match effect {
            Effect::Write { store, before, after } => {
                (Some(self.sight(*store, before, Seen::Now)), Some(self.sight(*store, after, Seen::ToBe)))
            }
            _ => (None, None),
        };
        if matches!(
            effect,
            Effect::StageCandidate { .. } | Effect::Sweep { .. } | Effect::Write { .. } | Effect::Reload { .. }
        ) {
            self.know_baseline().await?;
        }
        // To ask once more what was asked a moment ago changes nothing; what comes of it is recorded where it is something else.
        let again = self.told.iter().any(|told| told.effect == *effect);
        if !matches!(effect, Effect::Sweep { .. } | Effect::ObserveDrain { .. }) {
            self.told.clear();
        }
        let intent = match again {
            true => None,
            false => Some(self.note(Body::Intent { effect: effect.clone(), before, after })?),
        };
        let name = effect_name(effect);
        tracing::info!(effect = name, "effect begins");
        self.hook(&name, Moment::Before);
        let done = match effect {
            Effect::StageCandidate { key } => self.stage_candidate(*key).await,
            Effect::Write { store, before, after } => self.write(*store, before, after).await,
            Effect::Reload { attempt, prove, .. } => self.reload(*attempt, prove).await,
            Effect::Sweep { gate } => self.sweep_for(gate).await,
            Effect::StampT0 => self.stamp_t0().await,
            Effect::ObserveDrain { key, since } => self.observe_drain(*key, *since).await,
            Effect::Close { leaving } => self.close(leaving).await,
            Effect::Destroy { key } => self.destroy(&[*key].into()).await.map(|how| (Event::Destroyed, how)),
            Effect::DiscardCandidate { key } => {
                self.destroy(&[*key].into()).await.map(|how| (Event::CandidateDiscarded, how))
            }
            _ => Err(EngineError::RefusedBecause { reason: format!("this keyroll does not know how to {name}") }),
        };
        self.hook(&name, Moment::After);
        match done {
            Ok((event, how)) => {
                let now = match effect {
                    Effect::Write { store, after, .. } => Some(self.sight(*store, after, Seen::Now)),
                    _ => None,
                };
                tracing::info!(effect = name, ?how, "effect done");
                if let Some(intent) = intent {
                    self.note(Body::Done { intent, now, how })?;
                }
                Ok(event)
            }
            Err(error) => {
                let reason = error_chain(&error);
                tracing::warn!(effect = name, reason, "effect failed");
                if let Some(intent) = intent {
                    self.note(Body::Failed { intent, reason })?;
                }
                match error {
                    // The record has the figures; the machine stands still until a person has looked.
                    EngineError::ErrorsRose { .. } => Ok(Event::ReloadStopped { member: None }),
                    error => Err(error),
                }
            }
        }
    }

    /// What an effect does, for the person who watches.
    pub(crate) fn effect_words(&self, effect: &Effect) -> String {
        match effect {
            Effect::StageCandidate { key } => format!("generate {key} and store it where applications do not look"),
            Effect::Write { store, after, .. } => {
                let location = self.views.get(usize::from(store.0)).map_or("the store", |view| view.location.as_str());
                format!("write {location}: {}", world::configuration_words(after))
            }
            Effect::Reload { scope: ReloadScope::All, .. } => "reload the members".into(),
            Effect::Reload { .. } => "reload the members that did not show what they must".into(),
            Effect::Sweep { gate } => format!("{}: ask whether {}", crate::words::gate(gate.name), gate_demand(gate)),
            Effect::StampT0 => "stamp T0: from now on the drain counts".into(),
            Effect::ObserveDrain { key, .. } => format!("look whether sessions are still opened under {key}"),
            Effect::Close { leaving: Leaving::Escrow { key, .. } } => format!("close: {key} goes to escrow"),
            Effect::Close { .. } => "close".into(),
            Effect::Destroy { key } => format!("destroy {key}"),
            Effect::DiscardCandidate { key } => format!("discard {key}"),
            _ => effect_name(effect),
        }
    }

    /// Generates the candidate unless one is found for this rotation, stores it everywhere and reads it back.
    async fn stage_candidate(&mut self, id: KeyId) -> Result<(Event, Completion), EngineError> {
        let rotation = self.rotation_id();
        self.look().await?;
        let found = self
            .views
            .iter()
            .any(|view| view.document.pending.iter().any(|hidden| hidden.id == id && hidden.rotation == rotation.0));
        let how = if found { Completion::FoundDone } else { Completion::Now };
        if !found {
            let candidate = self.engine.assembly.profile.candidate(id)?;
            let fingerprints = &self.engine.assembly.fingerprints;
            let identity = world::identify(&self.stamp.ledger, &self.materials, fingerprints, candidate.parts());
            let Identity::Unknown(Some(fingerprint)) = identity else {
                return Err(EngineError::RefusedBecause {
                    reason:
                        "the generated candidate is weak or equals a known key: the system's randomness is broken; \
                             nothing was stored"
                            .into(),
                });
            };
            self.stamp.ledger.enter(KnownKey {
                id,
                fingerprint: Some(fingerprint),
                state: KeyState::PreActivation,
                rotation: Some(rotation.clone()),
                minted: Minted::Never,
            });
            let parts = world::hidden_parts(&world::hide(&candidate, &rotation.0, None));
            self.materials.insert(fingerprints, id, parts);
        }
        let add: Change<'_> = &|document, materials| {
            add_pending(document, materials, id, &rotation);
            Ok(())
        };
        for place in 0..self.views.len() {
            self.hook("store candidate", Moment::Before);
            self.commit(place, Owned::AsJudged, add).await?;
            self.hook("store candidate", Moment::After);
        }
        // Read back: what the stores give is what was meant, by fingerprint.
        for place in 0..self.views.len() {
            let view = self.engine.read_store(place).await?;
            let hidden = view.document.pending.iter().find(|hidden| hidden.id == id);
            let read = hidden.and_then(|hidden| self.engine.assembly.fingerprints.of(&world::hidden_parts(hidden)));
            if read.is_none() || read != self.mark(id).fingerprint {
                return Err(EngineError::RefusedBecause {
                    reason: format!("{} did not give the candidate back as it was stored", view.location),
                });
            }
        }
        self.note(Body::KeyIdentified { key: self.mark(id) })?;
        Ok((Event::CandidateStored, how))
    }

    /// Writes a configuration to one store: what is there decides whether it is written, found done, or refused.
    async fn write(
        &mut self,
        store: StoreIndex,
        before: &WorldConfiguration,
        after: &WorldConfiguration,
    ) -> Result<(Event, Completion), EngineError> {
        let place = usize::from(store.0);
        let found = self.look().await?;
        if found.get(place).and_then(|found| found.configuration()) == Some(after) {
            return Ok((Event::Written { store, at: self.store_now(place).await? }, Completion::FoundDone));
        }
        let rotation = self.rotation_id();
        let profile = self.engine.assembly.profile.clone();
        let leaving: BTreeSet<KeyId> = before.accept.difference(&after.accept).copied().collect();
        let ledger = &self.stamp.ledger;
        let generated = |id: KeyId| ledger.get(id).is_some_and(|known| known.rotation.as_ref() == Some(&rotation));
        // The copy of a key that was there before waits in escrow, once members do not accept the key any more.
        let moving: BTreeSet<KeyId> = leaving.iter().copied().filter(|id| !generated(*id)).collect();
        let kept_until = Timestamp(
            self.store_now(place)
                .await?
                .0
                .saturating_add(self.machine().map_or(0, |machine| machine.settings.escrow.0)),
        );
        let change: Change<'_> = &|document, materials| {
            document.fields = world::render(&profile, materials, after)?;
            document.pending.retain(|hidden| !moving.contains(&hidden.id));
            for id in &leaving {
                let hidden = document.pending.iter().chain(&document.escrow).any(|hidden| hidden.id == *id);
                if let Some(key) = materials.get(*id)
                    && !hidden
                {
                    document.escrow.push(world::hide(key, &rotation.0, Some(kept_until)));
                }
            }
            keep_copies(document, materials, after, &rotation);
            Ok(())
        };
        // The first store's write is what members may read; nothing is written between the count and it.
        if place == 0 && self.stage() == Some(Stage::CuttingOver) {
            let minted = |key: &&KeyId| {
                // Not only the one that mints now: a key that leaked in the middle of a rotation is the one before.
                **key == before.active
                    || self.stamp.ledger.get(**key).is_some_and(|known| known.minted == Minted::Perhaps)
            };
            let ending: Vec<KeyId> = leaving.iter().filter(minted).copied().collect();
            self.tell_what_ends(&ending).await?;
        }
        self.watch_write().await;
        self.hook(&format!("write store {place}"), Moment::Before);
        let owned = if self.is_doomed(place) { Owned::AsJudged } else { Owned::Are(before) };
        self.commit(place, owned, change).await?;
        self.doomed.remove(&place);
        self.hook(&format!("write store {place}"), Moment::After);
        // The time after the write: settle counts from when it was surely visible.
        let at = self.store_now(place).await?;
        let view = self.engine.read_store(place).await?;
        self.views[place] = view;
        if self.fields(place).configuration() != Some(after) {
            return Err(EngineError::Foreign {
                location: self.views[place].location.clone(),
                found: self.fields(place).words(),
            });
        }
        Ok((Event::Written { store, at }, Completion::Now))
    }

    /// The time from which the drain counts: now, if everybody was proven a moment ago.
    async fn stamp_t0(&mut self) -> Result<(Event, Completion), EngineError> {
        self.proof_lasts(0).await?;
        Ok((Event::Stamped { t0: self.now().await? }, Completion::Now))
    }

    /// Asks everybody whatever the gate demands.
    async fn sweep_for(&mut self, gate: &Gate) -> Result<(Event, Completion), EngineError> {
        self.look_back_on_write().await?;
        let swept = self.sweep(gate).await?;
        Ok((Event::Swept(swept), Completion::Now))
    }

    /// Reads every member's counter and says what the readings prove.
    async fn observe_drain(&mut self, key: KeyId, since: Millis) -> Result<(Event, Completion), EngineError> {
        self.read_counters(key).await?;
        let now = self.now().await?;
        let window = self.drain_window();
        let book = self.drain_book(key)?;
        let unbounded = self
            .machine()
            .is_some_and(|machine| machine.settings.max_lifetime.is_none() && machine.settings.idle_lifetime.is_none());
        let observation = match unbounded {
            true => book.renewed(Timestamp(since.0), window),
            false => book.observe(Timestamp(since.0), window),
        };
        self.tell(Told { effect: Effect::ObserveDrain { key, since }, verdict: vec![drain_verdict(&observation)] });
        Ok((Event::DrainObserved { observation, now }, Completion::Now))
    }

    /// One reading of every member's counter, kept in the state folder.
    pub(crate) async fn read_counters(&mut self, key: KeyId) -> Result<(), EngineError> {
        let Some(witness) = self.engine.assembly.drain.clone() else { return Ok(()) };
        let labelled = |key: KeyId| (key, self.mark(key).fingerprint.map(|fingerprint| fingerprint.to_string()));
        let (outgoing, incoming) = (labelled(key), self.machine().map(|machine| labelled(machine.incoming)));
        let listed = self.engine.list().await?;
        let (witness, outgoing, incoming) = (&witness, &outgoing, &incoming);
        let runs = stream::iter(listed)
            .map(|one| async move {
                let counts = witness.read(&one.member).await.unwrap_or_else(|error| {
                    tracing::info!(%error, "a counter could not be read");
                    None
                });
                let count = |(key, label): &(KeyId, Option<String>)| {
                    counts.as_ref().and_then(|counts| opened_by(counts, &one.member, *key, label.as_deref()))
                };
                let (opened, renewed) = (count(outgoing), incoming.as_ref().and_then(count));
                let (name, restarts) = run_of(&one, counts.as_ref());
                let started_at = one.member.started_at.or_else(|| counts.and_then(|counts| counts.started_at));
                (name, RunReading { opened, renewed, started_at, restarts })
            })
            .buffer_unordered(self.engine.assembly.policy.concurrency.max(1))
            .collect()
            .await;
        let at = Timestamp(self.now().await?.0);
        let mut book = self.drain_book(key)?;
        book.push(Reading { at, runs });
        let bytes = serde_json::to_vec(&book).unwrap_or_default();
        self.engine.replace_state_file(DRAIN_FILE, &bytes)
    }

    fn drain_window(&self) -> Duration {
        self.engine.assembly.policy.drain_window
    }

    fn drain_book(&self, key: KeyId) -> Result<DrainBook, EngineError> {
        let about = format!("{}/{key}", self.rotation_id());
        let path = self.engine.state_dir.join(DRAIN_FILE);
        match std::fs::read(&path) {
            // Readings only save time: what can't be read is read anew from the members, and proves nothing meanwhile.
            Ok(bytes) => Ok(serde_json::from_slice::<DrainBook>(&bytes)
                .ok()
                .filter(|book| book.about == about)
                .unwrap_or_else(|| DrainBook::new(about))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(DrainBook::new(about)),
            Err(source) => Err(EngineError::State { path: path.display().to_string(), what: "read", source }),
        }
    }

    /// Lets what is no longer in use leave, everywhere.
    async fn close(&mut self, leaving: &Leaving) -> Result<(Event, Completion), EngineError> {
        let rotation = self.rotation_id();
        self.look().await?;
        let now = self.now().await?;
        let in_use: BTreeSet<KeyId> = self
            .machine()
            .map(|machine| machine.stores.iter().flat_map(|store| store.accept.iter().copied()).collect())
            .unwrap_or_default();
        match leaving {
            Leaving::Nothing => {
                let change: Change<'_> = &|document, _| {
                    document.pending.retain(|hidden| hidden.rotation != rotation.0 || !in_use.contains(&hidden.id));
                    Ok(())
                };
                self.commit_everywhere("close", Rests::OnProof, change).await?;
            }
            Leaving::Escrow { key, until } => {
                self.stamp.ledger.set_state(*key, KeyState::Deactivated);
                let change: Change<'_> = &|document, materials| {
                    document.pending.retain(|hidden| hidden.rotation != rotation.0);
                    if !document.escrow.iter().any(|hidden| hidden.id == *key)
                        && let Some(key) = materials.get(*key)
                    {
                        document.escrow.push(world::hide(key, &rotation.0, None));
                    }
                    for hidden in &mut document.escrow {
                        if hidden.rotation == rotation.0 {
                            hidden.destroy_after = Some(Timestamp(until.0));
                        }
                    }
                    Ok(())
                };
                self.commit_everywhere("close", Rests::OnProof, change).await?;
                self.note(Body::Escrowed { key: self.mark(*key), until: crate::clock::calendar(*until) })?;
            }
            Leaving::Destroy { keys } => {
                let change: Change<'_> = &|document, _| {
                    document.pending.retain(|hidden| hidden.rotation != rotation.0);
                    Ok(())
                };
                self.commit_everywhere("close", Rests::OnProof, change).await?;
                self.destroy(keys).await?;
            }
        }
        Ok((Event::Closed { now }, Completion::Now))
    }

    pub(crate) async fn commit_everywhere(
        &mut self,
        what: &str,
        rests: Rests,
        change: Change<'_>,
    ) -> Result<(), EngineError> {
        for place in 0..self.views.len() {
            self.hook(&format!("{what} store {place}"), Moment::Before);
            let recorded = self.recorded(place).filter(|_| rests == Rests::OnProof);
            let owned = recorded.as_ref().map_or(Owned::AsJudged, Owned::Are);
            self.commit(place, owned, change).await?;
            self.hook(&format!("{what} store {place}"), Moment::After);
        }
        Ok(())
    }

    async fn store_now(&self, place: usize) -> Result<Millis, EngineError> {
        let store = self.store(place)?;
        Ok(crate::clock::millis(self.engine.with_retries("the store's clock", || store.now()).await?))
    }
}

/// Whether a write is made because of what members were shown to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rests {
    OnProof,
    OnNothing,
}

/// Hides a copy of every key that the fields hold, in the same document, until the rotation is closed. Anybody may write to the
/// fields, and sessions that are alive are sealed under the old key as well as under the candidate; so a foreign write takes
/// nobody's only copy away. A leaked key is no exception: without its bytes no member can be shown to reject it.
pub(crate) fn keep_copies(
    document: &mut Document,
    materials: &Materials,
    fields: &WorldConfiguration,
    rotation: &RotationId,
) {
    // A key that is in the fields is not in escrow.
    document.escrow.retain(|hidden| !fields.accept.contains(&hidden.id));
    for id in &fields.accept {
        add_pending(document, materials, *id, rotation);
    }
}

/// Hides a copy of a key, once.
fn add_pending(document: &mut Document, materials: &Materials, id: KeyId, rotation: &RotationId) {
    if let Some(key) = materials.get(id)
        && !document.pending.iter().any(|hidden| hidden.id == id)
    {
        document.pending.push(world::hide(key, &rotation.0, None));
    }
}

/// The effect in a few words.
pub(crate) fn effect_name(effect: &Effect) -> String {
    match effect {
        Effect::StageCandidate { .. } => "stage the candidate".into(),
        Effect::Write { store, .. } => format!("write the configuration to store {}", store.0),
        Effect::Reload { attempt, .. } => format!("reload, attempt {}", attempt.0),
        Effect::Sweep { gate } => format!("ask every member for {}", crate::words::gate(gate.name)),
        Effect::StampT0 => "stamp T0".into(),
        Effect::ObserveDrain { key, .. } => format!("look whether {key} is still in use"),
        Effect::Close { .. } => "close the rotation".into(),
        Effect::Destroy { key } => format!("destroy {key}"),
        Effect::DiscardCandidate { key } => format!("discard {key}"),
        _ => "do what this release does not know".into(),
    }
}

/// What a look at the drain says, but for figures that every look has others of.
pub(crate) fn drain_verdict(observation: &DrainObservation) -> String {
    match observation {
        DrainObservation::Counter { opened: 0, .. } => "unused".to_owned(),
        DrainObservation::Counter { .. } => "in use".to_owned(),
        DrainObservation::Inconclusive { reason } => reason.chars().filter(|char| !char.is_ascii_digit()).collect(),
        _ => "counted".to_owned(),
    }
}

const DRAIN_FILE: &str = "drain.json";
