//! Somebody else's hand in a store: how it is noticed, shown, overwritten or adopted.
//!
//! What a person decides about is what that person was shown. So the stamp remembers which keys were shown, and where others
//! stand there when the decision comes, it is not carried out: it is shown again.

use keyroll_keyring::{KeyId, KeyState};
use keyroll_rotation::{Event, Halt, Millis, Revocation, Rotation, Stage, Step, WorldConfiguration};

use crate::driver::commit::{Change, Owned};
use crate::driver::drive::Stop;
use crate::driver::effects::keep_copies;
use crate::driver::hooks::Moment;
use crate::driver::session::{Session, Touched};
use crate::driver::state::SinceRelease;
use crate::error::{EngineError, error_chain};
use crate::journal::{Body, HumanAction, Why};
use crate::meaning::{copy_of, cut_through, is_over_for, leaked_words, must_not_return, replaces};
use crate::world;
use crate::world::stamp::Asked;

/// Whether a foreign write that is in a store was shown before this command began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sight {
    /// There is none, or it was shown.
    Known,
    /// This command is the first to show it.
    New,
}

impl Session<'_> {
    /// Reads every store and holds it against the record. The time is the store's, from after that.
    pub(crate) async fn look_and_compare(&mut self) -> Result<Millis, EngineError> {
        self.look().await?;
        let now = self.now().await?;
        self.compare(now).await?;
        Ok(now)
    }

    /// Tells the machine where the stores, as they were read last, hold something else than it knows.
    async fn compare(&mut self, now: Millis) -> Result<(), EngineError> {
        self.judge();
        let stores: Vec<_> = (0..self.views.len()).map(|place| self.counts_as(place)).collect();
        let Some(machine) = self.machine().filter(|machine| machine.stage != Stage::Finished) else { return Ok(()) };
        let same = machine.stores.len() == stores.len()
            && machine.stores.iter().zip(&stores).all(|(known, found)| found.as_ref() == Some(known));
        let known = match &machine.halt {
            Some(Halt::ForeignWrite { store, found: seen, .. }) => {
                !same && stores.get(usize::from(store.0)).is_some_and(|found| found == seen)
            }
            _ => same,
        };
        if !known {
            self.apply(&Event::WorldObserved { stores, at: now }).await?;
        }
        self.remember_shown().await
    }

    /// What a store's fields hold, but for what a hard cutover is about to write over, by name: the record does not mind that.
    fn counts_as(&mut self, place: usize) -> Option<WorldConfiguration> {
        let doomed = self.is_doomed(place);
        match self.machine().filter(|machine| doomed && replaces(machine, place)) {
            Some(machine) => machine.stores.get(place).cloned(),
            None => self.fields(place).configuration().cloned(),
        }
    }

    /// Whether a store holds what a hard cutover was told to write over.
    pub(crate) fn is_doomed(&self, place: usize) -> bool {
        let fields = || self.engine.assembly.fingerprints.blind_fields(&self.views[place].document.fields);
        self.doomed.get(&place).is_some_and(|doomed| *doomed == fields())
    }

    /// Lets a hard cutover through that stands before a foreign write: it replaces whatever the fields hold, and a leaked key does
    /// not wait until somebody has decided about what is gone a moment later. Only what was shown before is written over, and
    /// only where this process writes it; a process that dies before that leaves the foreign write to be decided about again.
    pub(crate) async fn doom_foreign_write(&mut self, asked: &Asked, why: &Why) -> Result<(), EngineError> {
        let halted = self.machine().filter(|machine| machine.is_halted_by_foreign_write()).cloned();
        let (Some(machine), Sight::Known) = (halted, self.sight) else { return Ok(()) };
        let Asked::Revoke { mode, compromised, store } = asked else { return Ok(()) };
        let revocation = match self.stamp.carries_out(asked) {
            // A process died over it: "old" and "new" are others by now, and it only has to go on.
            true => None,
            false => Some(Revocation {
                mode: *mode,
                compromised: self.leaked(*compromised, *store),
                fresh: self.stamp.ledger.next(),
            }),
        };
        let at = self.now().await?;
        let Some(after) = cut_through(&machine, revocation, at) else { return Ok(()) };
        let foreign: Vec<usize> =
            (0..self.views.len()).filter(|place| !self.holds_expected(*place, &machine)).collect();
        let written = foreign.iter().all(|place| replaces(&after, *place));
        let at_hand = after.stage == Stage::Staged || self.materials.get(after.incoming).is_some();
        if !written || !at_hand {
            return Ok(());
        }
        for place in foreign {
            let fields = &self.views[place].document.fields;
            let blinded = self.engine.assembly.fingerprints.blind_fields(fields);
            self.doomed.insert(place, blinded);
        }
        let action = HumanAction::Override {
            name: "revoke --mode hard-cutover".into(),
            gives_up: "what somebody else wrote into the key's own fields".into(),
        };
        self.note(Body::Human { action, why: why.clone() })?;
        self.caution("somebody else's write is in the key's own fields; this replaces it with all the rest".to_owned());
        let stores = machine.stores.iter().cloned().map(Some).collect();
        self.apply(&Event::WorldObserved { stores, at }).await
    }

    fn holds_expected(&mut self, place: usize, machine: &Rotation) -> bool {
        self.fields(place).configuration() == machine.stores.get(place)
    }

    /// What there is to do after a copy of a key was kept beside a foreign write; nothing where no foreign write is there.
    pub(crate) fn kept_beside_foreign_write(&self) -> Option<Stop> {
        let machine = self.machine().filter(|machine| machine.is_halted_by_foreign_write())?;
        let mut report = self.report_wait(&machine.why(crate::clock::millis(self.engine.clock.now())));
        if let Some(first) = report.naysayers.first_mut() {
            first.text = format!(
                "the copy of {} is kept beside the key, and the key's own fields were not touched. {}",
                crate::meaning::going_back_onto(machine),
                first.text
            );
        }
        Some(Stop::Drift(report))
    }

    /// Keeps in the stamp what a foreign write left, as it is shown now, for the command that decides about it.
    async fn remember_shown(&mut self) -> Result<(), EngineError> {
        let halted = self.machine().is_some_and(Rotation::is_halted_by_foreign_write);
        let shown: Vec<Option<String>> = match halted {
            true => (0..self.views.len()).map(|place| self.identities(place)).collect(),
            false => Vec::new(),
        };
        let Some(open) = &mut self.stamp.open else { return Ok(()) };
        if open.shown == shown {
            // Where it can't be told which keys stand there, it is the same only if nobody has written since.
            if shown.iter().any(Option::is_none) && self.since_release != SinceRelease::Unmoved {
                self.sight = Sight::New;
            }
            return Ok(());
        }
        open.shown = shown;
        if !halted {
            return Ok(());
        }
        self.sight = Sight::New;
        self.note_state()?;
        self.commit_stamp().await
    }

    /// The keys that a store's fields hold, so that no others have the same words; none where that can't be told.
    fn identities(&self, place: usize) -> Option<String> {
        let assembly = &self.engine.assembly;
        let fields = &self.views.get(place)?.document.fields;
        world::identities(&assembly.profile, &self.stamp.ledger, &self.materials, &assembly.fingerprints, fields)
    }

    /// A store's version moved and its fields are as they were: somebody edited a neighbour, or changed the key and changed it
    /// back. The first is harmless; the second is not, and nobody can tell them apart.
    ///
    /// The fields were held against the record before: where they are not as they were, that was said already, and what was
    /// proven is proven again when they are.
    pub(crate) async fn heed_touch(&mut self) -> Result<(), EngineError> {
        let Touched::Yes { location } = std::mem::replace(&mut self.touched, Touched::No) else { return Ok(()) };
        if self.machine().is_some_and(Rotation::is_halted_by_foreign_write) {
            return Ok(());
        }
        let proven = self.machine().map(|machine| (machine.stage, machine.written_at, machine.t0));
        let again = match proven {
            None | Some((Stage::Planned | Stage::Staged | Stage::Escrow | Stage::Finished, ..)) => "",
            Some((_, None, _)) => "",
            Some((_, Some(_), None)) => "; what was proven is proven again",
            Some((_, Some(_), Some(_))) => {
                "; what was proven is proven again, and the start of the drain is stamped anew"
            }
        };
        self.caution(format!(
            "{location} was written by somebody else, and what keyroll owns there is as it was; this rotation goes on from the \
             new version{again}"
        ));
        self.note(Body::Rebased { location })?;
        if again.is_empty() {
            return Ok(());
        }
        let at = self.now().await?;
        self.apply(&Event::Disturbed { at }).await
    }

    pub(crate) async fn overwrite_foreign_write(&mut self, why: Why) -> Result<Stop, EngineError> {
        self.look_and_compare().await?;
        let machine = self.halted_by_foreign_write()?;
        if self.sight == Sight::New {
            return self.drift();
        }
        let profile = self.engine.assembly.profile.clone();
        for expected in &machine.stores {
            // What can't be written is refused before it is decided, and so is what must not be.
            if let Some(leaked) = must_not_return(&machine, expected, &self.stamp.ledger) {
                let decision = format!("{}; nothing was changed", leaked_words(leaked));
                return Err(EngineError::HumanMustDecide { decision });
            }
            world::render(&profile, &self.materials, expected)?;
        }
        let action = HumanAction::Override {
            name: "--overwrite-foreign-write".into(),
            gives_up: "what somebody else wrote into the key's own fields".into(),
        };
        let decided = self.note(Body::Human { action, why })?;
        let rotation = self.rotation_id();
        for (place, expected) in machine.stores.iter().enumerate() {
            if self.fields(place).configuration() == Some(expected) {
                continue;
            }
            let change: Change<'_> = &|document, materials| {
                document.fields = world::render(&profile, materials, expected)?;
                keep_copies(document, materials, expected, &rotation);
                Ok(())
            };
            self.hook(&format!("overwrite store {place}"), Moment::Before);
            if let Err(error) = self.commit(place, Owned::AsJudged, change).await {
                self.note(Body::Failed { intent: decided, reason: error_chain(&error) })?;
                let EngineError::Foreign { .. } = error else { return Err(error) };
                self.look_and_compare().await?;
                return self.drift();
            }
            self.hook(&format!("overwrite store {place}"), Moment::After);
        }
        self.look_and_compare().await?;
        if self.halted_by_foreign_write().is_ok() {
            return self.drift();
        }
        let follows = self.machine().map_or(NOTHING_WAS_PROVEN, what_follows);
        Ok(Stop::Decided(format!("the foreign write was overwritten; {follows}")))
    }

    /// Shows what stands in a store, for somebody who has decided about something else or about nothing yet.
    fn drift(&self) -> Result<Stop, EngineError> {
        let Some(machine) = self.machine() else { return Err(self.engine.nothing_open("resume")) };
        let now = crate::clock::millis(self.engine.clock.now());
        let mut report = self.report_wait(&machine.why(now));
        if let Some(first) = report.naysayers.first_mut() {
            first.text = format!(
                "what stands there is not what was shown before, so nothing was done about it; look at it, then ask again. {}",
                first.text
            );
        }
        Ok(Stop::Drift(report))
    }

    pub(crate) async fn adopt_foreign_write(&mut self, why: Why) -> Result<Stop, EngineError> {
        let at = self.look_and_compare().await?;
        let machine = self.halted_by_foreign_write()?;
        if self.sight == Sight::New {
            return self.drift();
        }
        let found: Vec<_> = (0..self.views.len()).map(|place| self.fields(place)).collect();
        let known: Vec<_> = found.iter().map(|found| found.configuration().cloned()).collect();
        if is_over_for(&machine, &known, &self.stamp.ledger, &self.materials) {
            return self.end_in_sight(&known, why).await;
        }
        let stores =
            found.iter().map(|found| found.configuration().cloned()).collect::<Option<Vec<_>>>().ok_or_else(|| {
                EngineError::RefusedBecause {
                    reason: "a store holds a key that nobody knows; put it back as it was, or \
                             `keyroll resume --overwrite-foreign-write`"
                        .into(),
                }
            })?;
        let needed = [machine.outgoing, machine.incoming];
        if let Some(gone) = needed.into_iter().find(|id| self.materials.get(*id).is_none()) {
            return Err(EngineError::HumanMustDecide {
                decision: format!(
                    "the bytes of {gone} are in no store any more, so that a rotation which goes on from here could not be brought \
                     to its end; nothing was changed. Put the store back as it was{}",
                    copy_of(gone, &machine)
                ),
            });
        }
        let event = Event::ForeignWriteAdopted { stores, at };
        // What is refused was not decided, and does not stand in the record as if it were.
        machine.apply(&event).map_err(EngineError::Refused)?;
        let action = HumanAction::Override {
            name: "--adopt-foreign-write".into(),
            gives_up: "the stage that was reached; the rotation goes on from what somebody else wrote".into(),
        };
        self.note(Body::Human { action, why })?;
        self.apply(&event).await?;
        let stage = self.stage().map_or("its beginning", crate::words::stage);
        Ok(Stop::Decided(format!(
            "the foreign write was adopted; the rotation goes on from {stage}, and proves everything again"
        )))
    }

    /// A closed rotation ends, and what somebody else wrote is what the stores hold from now on. The key in escrow stays there until
    /// its time, like that of every rotation that is over.
    async fn end_in_sight(&mut self, known: &[Option<WorldConfiguration>], why: Why) -> Result<Stop, EngineError> {
        let Some(machine) = self.machine().cloned() else { return Err(self.engine.nothing_open("resume")) };
        let action = HumanAction::Override {
            name: "--adopt-foreign-write".into(),
            gives_up: "the rotation in escrow, and the way back onto its old key".into(),
        };
        self.note(Body::Human { action, why })?;
        let accepted = |id: KeyId| known.iter().flatten().any(|store| store.accept.contains(&id));
        for gone in machine.stores.iter().flat_map(|store| &store.accept).filter(|id| !accepted(**id)) {
            self.stamp.ledger.set_state(*gone, KeyState::Deactivated);
        }
        for store in known.iter().flatten() {
            self.stamp.ledger.set_state(store.active, KeyState::Active);
        }
        self.stamp.open = None;
        self.note_state()?;
        self.commit_stamp().await?;
        self.publish(None)?;
        Ok(Stop::Decided(
            "the closed rotation is over, and what somebody else wrote is what the store holds from now on; `keyroll verify` says \
             who has it, and the next `keyroll rotate` begins from it"
                .to_owned(),
        ))
    }

    /// What stands still for a foreign write goes on by a named decision only, and what does not stand still just goes on.
    pub(crate) fn can_resume(&self) -> Result<(), EngineError> {
        match self.machine().and_then(|machine| machine.halt.as_ref()) {
            None => Err(EngineError::RefusedBecause {
                reason: "the rotation does not stand still; `keyroll rotate` goes on".into(),
            }),
            Some(halt @ Halt::ForeignWrite { .. }) => {
                Err(EngineError::HumanMustDecide { decision: self.decision(halt) })
            }
            Some(_) => Ok(()),
        }
    }

    /// The open rotation, where a foreign write is what it stands still for.
    fn halted_by_foreign_write(&self) -> Result<Rotation, EngineError> {
        match self.machine() {
            None => Err(self.engine.nothing_open("resume")),
            Some(machine) if machine.is_halted_by_foreign_write() => Ok(machine.clone()),
            Some(_) => Err(EngineError::RefusedBecause {
                reason: "no store holds a foreign write; `keyroll rotate` goes on".into(),
            }),
        }
    }
}

/// What the end of a foreign write leads to, in the words of whoever decided it.
fn what_follows(after: &Rotation) -> &'static str {
    let reloads = matches!(after.step, Step::Reload { .. });
    match after.stage {
        Stage::Planned | Stage::Staged | Stage::Closing | Stage::Finished => NOTHING_WAS_PROVEN,
        Stage::Promoting => {
            "`keyroll rotate` proves every member again and reloads who fails it, and then the old key drains from the \
             beginning, because a member may have minted under it meanwhile"
        }
        _ if reloads => "`keyroll rotate` proves every member again and reloads who fails it",
        _ => "`keyroll rotate` proves every member again",
    }
}

const NOTHING_WAS_PROVEN: &str =
    "nothing had been proven yet, so nobody is reloaded; a member that started meanwhile shows it in `keyroll verify`";
