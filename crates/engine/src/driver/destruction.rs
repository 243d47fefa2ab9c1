//! The end of a key: it is looked for, taken out of every store, looked for again, and forgotten.
//!
//! The first search comes before the key is taken out, because afterwards nobody has its bytes any more: a process that is killed
//! in between leaves a record that says what else holds it.

use std::collections::BTreeSet;

use keyroll_adapters::stores::{Document, Residue};
use keyroll_keyring::{KeyId, KeyState};
use keyroll_rotation::{Effect, Rotation, Stage};

use crate::clock::millis;
use crate::driver::commit::Change;
use crate::driver::effects::Rests;
use crate::driver::session::{Session, place_index};
use crate::error::EngineError;
use crate::journal::{Body, Completion};

impl Session<'_> {
    /// Removes keys from every store, and looks whether they are gone.
    pub(crate) async fn destroy(&mut self, keys: &BTreeSet<KeyId>) -> Result<Completion, EngineError> {
        self.look().await?;
        let there = |document: &Document| {
            document.pending.iter().chain(&document.escrow).any(|hidden| keys.contains(&hidden.id))
        };
        let how = match self.views.iter().any(|view| there(&view.document)) {
            true => Completion::Now,
            false => Completion::FoundDone,
        };
        let mut before = Vec::new();
        for place in 0..self.views.len() {
            for id in keys {
                before.push(self.search(place, *id, None).await?);
            }
        }
        for id in keys {
            self.stamp.ledger.set_state(*id, KeyState::Destroyed);
        }
        let change: Change<'_> = &|document, _| {
            document.pending.retain(|hidden| !keys.contains(&hidden.id));
            document.escrow.retain(|hidden| !keys.contains(&hidden.id));
            Ok(())
        };
        self.commit_everywhere("destroy", Rests::OnNothing, change).await?;
        let mut before = before.into_iter();
        for place in 0..self.views.len() {
            let view = self.engine.read_store(place).await?;
            if there(&view.document) {
                return Err(EngineError::RefusedBecause {
                    reason: format!("{} still holds a key that was to be destroyed", view.location),
                });
            }
            for id in keys {
                self.search(place, *id, before.next().flatten()).await?;
                self.note(Body::Destroyed { key: self.mark(*id), store: place_index(place) })?;
            }
        }
        for id in keys {
            self.materials.forget(*id);
        }
        Ok(how)
    }

    /// Looks for a key in everything that a store can see besides the document that it leaves. What is found is recorded and
    /// said: a backup that an editor left is for a person to remove. What was found `before` is not said twice.
    async fn search(
        &mut self,
        place: usize,
        id: KeyId,
        before: Option<Vec<String>>,
    ) -> Result<Option<Vec<String>>, EngineError> {
        let store = self.store(place)?;
        let Residue { searched, mut found, document, beyond } = {
            let Some(key) = self.materials.get(id) else { return Ok(None) };
            let material: Vec<_> = key.parts().iter().map(|part| &part.material).collect();
            store.residue(&material).await?
        };
        if before.is_none() {
            found.retain(|place| !document.contains(place));
        }
        if searched.is_empty() || before.as_ref() == Some(&found) {
            return Ok(Some(found));
        }
        if !found.is_empty() {
            self.caution(format!(
                "{id} leaves {}, and these hold it too: {}",
                self.views[place].location,
                found.join(", ")
            ));
        }
        self.note(Body::Searched { key: self.mark(id), store: place_index(place), found: found.clone(), beyond })?;
        Ok(Some(found))
    }

    /// Destroys what no rotation under way has to do with and nobody may keep any longer: keys whose time in escrow is over, and
    /// keys that have leaked. Each is an effect like every other, and one that a dead process began is brought to its end.
    pub(crate) async fn destroy_due(&mut self) -> Result<(), EngineError> {
        if self.machine().is_some_and(Rotation::is_halted_by_foreign_write) {
            return Ok(());
        }
        self.look().await?;
        let now = self.now().await?;
        let machines = self.machine().into_iter().chain(self.stamp.parked.as_ref().map(|parked| &parked.machine));
        let mut ours: BTreeSet<KeyId> = machines.flat_map(|machine| [machine.incoming, machine.outgoing]).collect();
        // Until the gate has passed, members are asked for every key that leaves, and that takes its bytes.
        let asked = self.machine().filter(|machine| !matches!(machine.stage, Stage::Escrow | Stage::Finished));
        ours.extend(asked.into_iter().flat_map(|machine| machine.others.iter().copied()));
        for place in 0..self.views.len() {
            // What applications accept is not hidden here only.
            ours.extend(
                self.fields(place).configuration().into_iter().flat_map(|fields| fields.accept.iter().copied()),
            );
        }
        let leaked = self.stamp.ledger.compromised();
        let escrow = |view: &crate::world::StoreView| {
            let hidden = view.document.escrow.iter();
            let due = hidden.filter(|hidden| {
                leaked.contains(&hidden.id) || hidden.destroy_after.is_some_and(|after| millis(after) <= now)
            });
            due.map(|hidden| hidden.id).collect::<Vec<_>>()
        };
        let mut due: BTreeSet<KeyId> = self.views.iter().flat_map(escrow).collect();
        if let Some((_, Effect::Destroy { key })) = self.journal.pending() {
            due.insert(*key);
        }
        for key in due.into_iter().filter(|key| !ours.contains(key)) {
            // What becomes of a key of an earlier rotation is no event of this one.
            self.carry_out(&Effect::Destroy { key }).await?;
            self.note_state()?;
        }
        Ok(())
    }
}
