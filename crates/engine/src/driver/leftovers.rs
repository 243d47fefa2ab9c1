//! Keys that are still in escrow when the rotation that put them there is over or was superseded.
//!
//! No open rotation ends them, so without a word here they would lie in the stores for as long as nobody rotates again.

use std::collections::BTreeMap;

use keyroll_keyring::{KeyId, KeyState};
use keyroll_rotation::{Millis, Stage};

use crate::answers::sighting::Sighting;
use crate::clock::{calendar, millis, spoken};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::report::{NaysayerReport, WaitReport, Who};
use crate::world::StoreView;

/// When each key in escrow may be destroyed; none for one that was put there without a time.
pub(crate) type Leftovers = BTreeMap<KeyId, Option<Millis>>;

impl Engine {
    /// Keys in the stores' escrow that no application accepts.
    pub(crate) fn leftovers(&self, views: &[StoreView]) -> Result<Leftovers, EngineError> {
        let Sighting { stamp, stores, .. } = self.sight_keys(views)?;
        let in_use =
            |id: KeyId| stores.iter().filter_map(|said| said.configuration()).any(|fields| fields.accept.contains(&id));
        let mut kept = Leftovers::new();
        for hidden in views.iter().flat_map(|view| &view.document.escrow).filter(|hidden| !in_use(hidden.id)) {
            let leaked = stamp.ledger.get(hidden.id).is_some_and(|known| known.state == KeyState::Compromised);
            let until = if leaked { Some(Millis(0)) } else { hidden.destroy_after.map(millis) };
            let known = kept.entry(hidden.id).or_insert(until);
            // What is due in one store is destroyed in all of them.
            *known = [*known, until].into_iter().flatten().min();
        }
        Ok(kept)
    }
}

/// Whether there is a key whose time is over.
pub(crate) fn any_due(kept: &Leftovers, now: Millis) -> bool {
    kept.values().flatten().any(|until| *until <= now)
}

/// Until when each of them is kept.
pub(crate) fn still_kept(kept: &Leftovers) -> WaitReport {
    let naysayer = |(key, until): (&KeyId, &Option<Millis>)| {
        let until = until.map(calendar);
        let (who, text) = match until {
            Some(until) => (
                Who::Time,
                format!(
                    "{key} of a rotation that is over is kept in escrow until {}; `keyroll complete` destroys it then",
                    spoken(until)
                ),
            ),
            None => (
                Who::Human,
                format!("{key} is kept in escrow without a time; the next rotation that puts it there sets one"),
            ),
        };
        NaysayerReport { who, text, gate: None, members: Vec::new(), until }
    };
    WaitReport {
        stage: crate::words::stage(Stage::Escrow).to_owned(),
        naysayers: kept.iter().map(naysayer).collect(),
        come_back_at: kept.values().flatten().min().copied().map(calendar),
    }
}
