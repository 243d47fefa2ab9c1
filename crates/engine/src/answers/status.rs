//! The picture of everything, without secrets: for `status`, for a live view, and in `status.json` for a second terminal.

use std::collections::BTreeSet;

use keyroll_keyring::{KeyId, KeyState};
use keyroll_rotation::gate::Answer;
use keyroll_rotation::{Next, Rotation, Stage, Trust};

use crate::answers::explain::Names;
use crate::clock::{calendar, millis, spoken};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::journal::Anchor;
use crate::meaning::{goes_on, halt_words, step_words};
use crate::report::{
    KeyStatus, MemberStatus, NaysayerReport, Reach, RotationStatus, SCHEMA_VERSION, Status, StatusSource, StoreStatus,
    WaitReport, Who,
};
use crate::world::fingerprints::Fingerprints;
use crate::world::stamp::{OpenRotation, RETURNED_FIX, StampBody};
use crate::world::{self, Materials, StoreView};

impl Engine {
    /// Where everything stands: from the stores, with what a driver on this machine saw of the members.
    pub async fn status(&self) -> Result<Status, EngineError> {
        let (views, stamp) = self.settle(self.read_stores().await?).await?;
        let stamp = stamp.unwrap_or_else(|| StampBody::new(&self.assembly.name));
        let stamp = self.as_seen(&stamp, &views);
        let unseen = stamp.ledger.keys.is_empty();
        let sighted = if unseen { self.sight(Some(stamp.clone()), &views).stores } else { Vec::new() };
        let members = self.last_members(&stamp);
        let mut status = self.picture(&stamp, &views, &members, StatusSource::Stores);
        status.stores = self.store_status(&stamp, &views);
        // Before the first rotation no key has an id, and that is no problem; what can't be read as keys is one.
        for (store, said) in status.stores.iter_mut().zip(&sighted) {
            if said.configuration().is_none() {
                store.problem = Some(said.words());
            }
        }
        status.wait = self.why(&stamp, &views).await?;
        if let Some(lock) = &status.lock
            && !self.may_drive(lock)
        {
            let next = stamp.open.as_ref().map_or("keyroll rotate", |open| goes_on(&open.machine));
            status.requests.push(format!("the lock's holder is dead ({lock}); `{next}` takes over"));
        }
        Ok(status)
    }

    /// What the stores' stamps say of the audit record; empty where no store has a stamp yet.
    pub async fn anchors(&self) -> Result<Vec<Anchor>, EngineError> {
        let views = self.read_stores().await?;
        Ok(views.into_iter().filter_map(|view| view.stamp?.audit).collect())
    }

    /// Why it waits; `None` where nothing is open.
    pub async fn explain(&self) -> Result<Option<WaitReport>, EngineError> {
        let (views, stamp) = self.settle(self.read_stores().await?).await?;
        match stamp {
            Some(stamp) => self.why(&stamp, &views).await,
            None => Ok(None),
        }
    }

    pub(crate) async fn why(&self, stamp: &StampBody, views: &[StoreView]) -> Result<Option<WaitReport>, EngineError> {
        let seen = self.as_seen(stamp, views);
        let Some(open) = &seen.open else { return Ok(None) };
        let now = millis(self.store(0)?.now().await?);
        if let Next::Do(_) = open.machine.next(now) {
            // Nothing is in the way of the next step but that somebody has to take it.
            return match &stamp.lock {
                Some(holder) if self.may_drive(holder) => Ok(None),
                _ => Ok(Some(nobody_drives(&open.machine))),
            };
        }
        let roster = self.load_roster()?;
        let (consumers, stores) = (self.consumer_names(), self.locations());
        let materials = self.sight(Some(stamp.clone()), views).materials;
        let names = Names {
            roster: &roster,
            consumers: &consumers,
            stores: &stores,
            materials: &materials,
            ledger: &stamp.ledger,
        };
        Ok(Some(names.report(&open.machine.why(now), Some(&open.machine))))
    }

    pub(crate) fn locations(&self) -> Vec<String> {
        self.assembly.stores.iter().map(|store| store.describe().location).collect()
    }

    pub(crate) fn consumer_names(&self) -> Vec<String> {
        self.assembly.consumers.iter().map(|consumer| consumer.name.clone()).collect()
    }

    /// What members showed to the last driver on this machine, if it was about the same rotation.
    pub(crate) fn last_members(&self, stamp: &StampBody) -> Vec<MemberStatus> {
        let of_this = |seen: &Status| {
            seen.rotation.as_ref().map(|rotation| &rotation.id) == stamp.open.as_ref().map(|open| &open.id)
        };
        self.last_picture().filter(of_this).map(|seen| seen.members).unwrap_or_default()
    }

    /// What a driver on this machine showed last. It only adds the members to what the stores say, so what can't be read
    /// is left out.
    fn last_picture(&self) -> Option<Status> {
        serde_json::from_slice(&std::fs::read(self.state_dir.join(STATUS_FILE)).ok()?).ok()
    }

    pub(crate) fn picture(
        &self,
        stamp: &StampBody,
        views: &[StoreView],
        members: &[MemberStatus],
        source: StatusSource,
    ) -> Status {
        let hidden: BTreeSet<KeyId> = views
            .iter()
            .flat_map(|view| view.document.pending.iter().chain(&view.document.escrow))
            .map(|hidden| hidden.id)
            .collect();
        let kept_until = |id: KeyId| {
            let entry = views.iter().flat_map(|view| &view.document.escrow).rfind(|entry| entry.id == id)?;
            entry.destroy_after.map(|at| calendar(millis(at)))
        };
        let machine = stamp.open.as_ref().map(|open| &open.machine);
        let mut keys: Vec<_> = stamp
            .ledger
            .keys
            .iter()
            .filter(|known| known.state != KeyState::Destroyed)
            .map(|known| KeyStatus {
                id: known.id,
                fingerprint: known.fingerprint.clone(),
                state: known.state,
                reach: reach(machine, &hidden, known.id, known.state, members),
                destroy_after: kept_until(known.id),
            })
            .collect();
        keys.reverse();
        Status {
            schema_version: SCHEMA_VERSION,
            name: self.assembly.name.clone(),
            taken_at: calendar(millis(self.clock.now())),
            source,
            rotation: stamp.open.as_ref().map(|open| self.rotation_status(open)),
            keys,
            members: members.to_vec(),
            wait: None,
            lock: stamp.lock.clone(),
            requests: stamp
                .requests
                .iter()
                .map(|request| format!("`{}` by `{}`, since {}", request.what.words(), request.by, spoken(request.at)))
                .collect(),
            stores: Vec::new(),
        }
    }

    pub(crate) fn rotation_status(&self, open: &OpenRotation) -> RotationStatus {
        let machine = &open.machine;
        RotationStatus {
            id: open.id.clone(),
            mode: machine.mode,
            direction: machine.direction,
            stage: machine.stage,
            step: step_words(machine),
            incoming: machine.incoming,
            outgoing: machine.outgoing,
            opened_at: open.opened_at,
            opened_by: open.opened_by.clone(),
            why: open.why.clone(),
            t0: machine.t0.map(calendar),
            gate: machine.gate().map(|gate| gate.name),
            halt: machine.halt.as_ref().map(|halt| halt_words(halt, &self.locations())),
        }
    }

    pub(crate) fn store_status(&self, stamp: &StampBody, views: &[StoreView]) -> Vec<StoreStatus> {
        let fingerprints: &Fingerprints = &self.assembly.fingerprints;
        // While a revocation is under way its key is still there; that is what the rotation is about.
        let halted = stamp.open.as_ref().map(|open| &open.machine);
        let halted = halted.filter(|machine| machine.is_halted_by_foreign_write());
        let revocation = stamp.unfinished().filter(|open| !open.machine.compromised.is_empty());
        self.assembly
            .stores
            .iter()
            .zip(views)
            .enumerate()
            .map(|(place, (store, view))| {
                let mut status = StoreStatus::of(&store.describe());
                let mut materials = Materials::default();
                let fields = &view.document.fields;
                let said =
                    world::read_fields(&self.assembly.profile, &stamp.ledger, &mut materials, fingerprints, fields);
                match said.configuration() {
                    Some(configuration) => {
                        status.active = Some(configuration.active);
                        status.accept_only = configuration
                            .accept
                            .iter()
                            .rev()
                            .copied()
                            .filter(|id| *id != configuration.active)
                            .collect();
                        let expected = halted.and_then(|machine| machine.stores.get(place));
                        status.problem = match (expected.filter(|expected| *expected != configuration), revocation) {
                            (Some(expected), _) => Some(format!(
                                "somebody else wrote it: it should have {}, and has {}",
                                world::configuration_words(expected),
                                world::configuration_words(configuration)
                            )),
                            (None, Some(_)) => None,
                            (None, None) => {
                                stamp.ledger.returned(configuration).map(|found| format!("{found}: {RETURNED_FIX}"))
                            }
                        };
                    }
                    None if stamp.ledger.keys.is_empty() => {}
                    None => status.problem = Some(said.words()),
                }
                status
            })
            .collect()
    }
}

/// The next step could be taken now.
fn nobody_drives(machine: &Rotation) -> WaitReport {
    WaitReport {
        stage: crate::words::stage(machine.stage).to_owned(),
        naysayers: vec![NaysayerReport {
            who: Who::Human,
            text: match machine.stage {
                Stage::Escrow => {
                    format!(
                        "the escrow is over, and nobody has ended it: `keyroll complete` destroys {}",
                        machine.outgoing
                    )
                }
                _ => "nobody drives it: `keyroll rotate` goes on at any time".to_owned(),
            },
            gate: None,
            members: Vec::new(),
            until: None,
        }],
        come_back_at: None,
    }
}

/// A state is everywhere where every member has shown it; only members can say so.
fn reach(
    machine: Option<&Rotation>,
    hidden: &BTreeSet<KeyId>,
    id: KeyId,
    state: KeyState,
    members: &[MemberStatus],
) -> Reach {
    let written = match machine {
        Some(machine) => machine.stores.iter().any(|store| store.accept.contains(&id)),
        None => matches!(state, KeyState::Active | KeyState::ActiveForProcessing),
    };
    if !written {
        return if hidden.contains(&id) { Reach::StoreOnly } else { Reach::Gone };
    }
    if machine.is_some_and(|machine| {
        machine.stage == Stage::Draining
            && machine.trust == Trust::BothEverywhere
            && [machine.incoming, machine.outgoing].contains(&id)
    }) {
        // Every member has shown what it does with either key, before the drain began; while it drains nobody is asked about the
        // old one, because a probe under it would count as a session.
        return Reach::Everywhere;
    }
    let shown = |member: &MemberStatus| {
        member.keys.iter().any(|key| {
            let mints = match state {
                KeyState::Active => key.mints == Answer::Yes,
                KeyState::Deactivated => key.mints != Answer::Yes,
                _ => true,
            };
            key.key == id && key.accepts == Answer::Yes && mints
        })
    };
    if !members.is_empty() && members.iter().all(shown) { Reach::Everywhere } else { Reach::Rumoured }
}

pub(crate) const STATUS_FILE: &str = "status.json";
