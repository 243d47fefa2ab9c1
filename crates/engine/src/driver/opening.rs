//! How a rotation begins: from the world as it is, which need not be the world that Keyroll left.
//!
//! A key that nobody has seen before is adopted here and nowhere else. While a rotation is open, a key like that is a foreign
//! write.

use std::collections::BTreeSet;

use keyroll_keyring::{Key, KeyId, KeyState, Secret};
use keyroll_rotation::{Candidate, Direction, Event, Millis, Mode, Opening, Rotation, WorldConfiguration};

use crate::clock::calendar;
use crate::driver::commit::{Change, Owned};
use crate::driver::hooks::Moment;
use crate::driver::session::Session;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::journal::{Body, HumanAction, Why};
use crate::meaning::going_back_onto;
use crate::report::{Notice, Resumed};
use crate::request::{RevokeRequest, StoreLeak};
use crate::world;
use crate::world::stamp::{Asked, OpenRotation, RETURNED_FIX, StampBody};

impl Engine {
    /// What the machine is told of the world; a plan is made from the same.
    pub(crate) fn opening(
        &self,
        stamp: &StampBody,
        mode: Mode,
        outgoing: KeyId,
        stores: Vec<WorldConfiguration>,
        compromised: &BTreeSet<KeyId>,
        now: Millis,
    ) -> Opening {
        let standby = stamp.standby.filter(|standby| {
            mode != Mode::Standby
                && !compromised.contains(standby)
                && stores.iter().all(|store| store.accept.contains(standby))
        });
        let (incoming, candidate) = match standby {
            Some(standby) => (standby, Candidate::Standby),
            None => (stamp.ledger.next(), Candidate::Fresh),
        };
        // Only keys that are somewhere can be compromised in this rotation; the ledger remembers the others.
        let present: BTreeSet<KeyId> = stores.iter().flat_map(|store| store.accept.iter().copied()).collect();
        Opening {
            mode,
            outgoing,
            incoming,
            candidate,
            compromised: compromised.intersection(&present).copied().collect(),
            stores,
            settings: self.assembly.policy.settings.clone(),
            now,
        }
    }
}

impl Session<'_> {
    /// Opens a rotation from the world as it is, and gives keys that were there before Keyroll their ids.
    pub(crate) async fn open_rotation(
        &mut self,
        mode: Mode,
        why: &Why,
        leak: Option<&RevokeRequest>,
    ) -> Result<(), EngineError> {
        self.look().await?;
        let engine = self.engine;
        for view in &self.views {
            world::adopt(
                &engine.assembly.profile,
                &mut self.stamp.ledger,
                &mut self.materials,
                &engine.assembly.fingerprints,
                &view.document.fields,
            )?;
        }
        let mut stores = Vec::new();
        for place in 0..self.views.len() {
            match self.fields(place) {
                world::FieldsSay::Configuration(configuration) => stores.push(configuration),
                world::FieldsSay::Foreign(found) => {
                    return Err(EngineError::Foreign { location: self.views[place].location.clone(), found });
                }
            }
        }
        let Some(outgoing) = stores.first().map(|store| store.active) else {
            return Err(EngineError::RefusedBecause { reason: "the configuration names no store".into() });
        };
        if leak.is_none() {
            // Preflight has said so already, unless it came back since.
            for (store, view) in stores.iter().zip(&self.views) {
                if let Some(found) = self.stamp.ledger.returned(store) {
                    let reason = format!("{}: {found}; {RETURNED_FIX}", view.location);
                    return Err(EngineError::RefusedBecause { reason });
                }
            }
        }
        // A destroyed key that is back is in whose hands nobody knows, and is treated like one that leaked.
        let mut compromised = self.stamp.ledger.ended();
        if let Some(leak) = leak {
            compromised.insert(outgoing);
            if leak.spares_no_candidate() {
                compromised.extend(self.stamp.standby);
            }
            if leak.store == StoreLeak::Possible {
                compromised.extend(stores.iter().flat_map(|store| store.accept.iter().copied()));
            }
        }
        let now = self.now().await?;
        let opening = engine.opening(&self.stamp, mode, outgoing, stores, &compromised, now);
        let incoming = opening.incoming;
        let machine = Rotation::open(opening).map_err(EngineError::Refused)?;
        let id = match &self.stamp.lock {
            Some(lock) if self.stamp.open.as_ref().is_none_or(|open| open.id != lock.rotation) => lock.rotation.clone(),
            _ => engine.new_rotation_id()?,
        };
        let plan_hash = engine.world_hash(&self.views)?;
        self.resumed = Resumed::New;
        if let Some(leak) = leak.filter(|leak| leak.spares_no_candidate()) {
            // No member accepts it any more; it only must not come back, nor wait in escrow. It is in the same write as the
            // rotation, so that whoever takes that up destroys it too.
            let closed = self.stamp.open.iter().chain(&self.stamp.parked);
            let mut escrowed: BTreeSet<KeyId> = closed.map(|open| open.machine.outgoing).collect();
            if leak.store == StoreLeak::Possible {
                escrowed.extend(self.escrowed());
            }
            for key in escrowed {
                self.stamp.ledger.set_state(key, KeyState::Compromised);
            }
        }
        if leak.is_some() {
            self.stamp.parked = None;
        }
        self.stamp.open = Some(OpenRotation {
            id: id.clone(),
            machine,
            opened_at: calendar(now),
            opened_by: engine.operator.name.clone(),
            why: why.clone(),
            plan_hash,
            revoked: leak.map(Asked::revoke),
            shown: Vec::new(),
        });
        if let Some(lock) = &mut self.stamp.lock {
            lock.rotation = id;
        }
        let body = Body::Opened {
            mode,
            outgoing: self.mark(outgoing),
            incoming: self.mark(incoming),
            config: engine.assembly.config.clone(),
            plan: self.open().map(|open| open.plan_hash.clone()),
            why: why.clone(),
        };
        self.note(body)?;
        self.note_state()?;
        self.commit_stamp().await?;
        if let Some(open) = self.open() {
            engine.observer.notice(&Notice::TakenUp {
                rotation: open.id.clone(),
                mode,
                stage: open.machine.stage,
                resumed: Resumed::New,
            });
        }
        self.publish(None)
    }

    /// The operator's own copy of the key that is to be rolled back onto; it must be that key, by fingerprint.
    ///
    /// Everything is checked before anything is written, so that a key which must not return does not even reach a store. Where the
    /// fields hold a foreign write, the copy is kept all the same: it is what that can be overwritten with.
    pub(crate) async fn take_own_copy(&mut self, copy: &Secret, why: &Why) -> Result<(), EngineError> {
        let Some(machine) = self.machine().cloned() else { return Err(self.engine.nothing_open("roll back")) };
        let wanted = going_back_onto(&machine);
        let refuse = |reason: String| Err(EngineError::RefusedBecause { reason });
        let state = self.stamp.ledger.get(wanted).map(|known| known.state);
        if machine.compromised.contains(&wanted) || state == Some(KeyState::Compromised) {
            return refuse(format!("{wanted} is compromised; there is no way back onto it, whoever has a copy"));
        }
        if machine.destroyed.contains(&wanted) || state == Some(KeyState::Destroyed) {
            return refuse(format!("{wanted} is destroyed; there is only the way forward: `keyroll rotate`"));
        }
        let turns = machine.direction == Direction::Forward && !machine.is_halted_by_foreign_write();
        if turns {
            // What is refused was not decided: it is found out before the copy is recorded, or even stored.
            machine.apply(&Event::RollbackRequested).map_err(EngineError::Refused)?;
        }
        // What the fields hold, and not what the record believes of them.
        let in_use = (0..self.views.len()).all(|place| {
            self.fields(place).configuration().is_some_and(|configuration| configuration.accept.contains(&wanted))
        });
        let (key, form) = match (self.is_copy_of(wanted, copy)?, copy.stripped()) {
            (Some(key), _) => (key, Form::AsItIs),
            // Files that people make end with a newline. The fingerprint tells whether the key does.
            (None, Some(stripped)) => match self.is_copy_of(wanted, &stripped)? {
                Some(key) => (key, Form::Stripped),
                None => return refuse(not_the_key(wanted)),
            },
            (None, None) => return refuse(not_the_key(wanted)),
        };
        if form == Form::Stripped {
            self.caution(format!("a newline or spaces stand around the copy of {wanted}; it was taken without them"));
        }
        let fingerprints = &self.engine.assembly.fingerprints;
        let parts = world::hidden_parts(&world::hide(&key, "", None));
        self.materials.insert(fingerprints, wanted, parts);
        let action = HumanAction::RollbackWithOwnCopy { key: self.mark(wanted) };
        self.note(Body::Human { action, why: why.clone() })?;
        if in_use {
            return Ok(());
        }
        let rotation = self.rotation_id();
        let change: Change<'_> = &|document, materials| {
            let there = document.pending.iter().chain(&document.escrow).any(|hidden| hidden.id == wanted);
            if let Some(key) = materials.get(wanted)
                && !there
            {
                document.escrow.push(world::hide(key, &rotation.0, None));
            }
            Ok(())
        };
        for place in 0..self.views.len() {
            self.hook("store own copy", Moment::Before);
            self.commit(place, Owned::AsJudged, change).await?;
            self.hook("store own copy", Moment::After);
        }
        Ok(())
    }

    /// The copy as a key, if it is `wanted`.
    fn is_copy_of(&self, wanted: KeyId, copy: &Secret) -> Result<Option<Key>, EngineError> {
        let key = match self.engine.assembly.profile.key_from_field(wanted, copy) {
            Ok(key) => key,
            // What can't even be decoded may be right without the newline behind it.
            Err(_) if copy.stripped().is_some() => return Ok(None),
            Err(error) => {
                return Err(EngineError::RefusedBecause {
                    reason: format!(
                        "the copy can't be read as {wanted}: {}; give what stood in the active key's field before the rotation, \
                         and nothing else",
                        crate::error::error_chain(&error)
                    ),
                });
            }
        };
        let fingerprints = &self.engine.assembly.fingerprints;
        let same = match (fingerprints.of(key.parts()), self.mark(wanted).fingerprint) {
            (Some(given), Some(known)) => given == known,
            // A weak key has no fingerprint; it can only be compared with the bytes that are still there.
            _ => self
                .materials
                .get(wanted)
                .is_some_and(|there| fingerprints.blind(there.parts()) == fingerprints.blind(key.parts())),
        };
        Ok(same.then_some(key))
    }
}

/// How the copy was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    AsItIs,
    /// With whitespace around it that is not part of the key.
    Stripped,
}

fn not_the_key(wanted: KeyId) -> String {
    format!("the key that was given is not {wanted}: its fingerprint is another one, or it has none to compare")
}
