//! The keys that the stores hold, by the ids that the record gives them.

use keyroll_keyring::Fields;

use crate::engine::Engine;
use crate::error::EngineError;
use crate::world::stamp::StampBody;
use crate::world::{self, FieldsSay, Materials, StoreView};

/// The keys of the stores as a rotation would find them, without anything being written.
pub(crate) struct Sighting {
    pub(crate) stamp: StampBody,
    pub(crate) materials: Materials,
    /// What each store says.
    pub(crate) stores: Vec<FieldsSay>,
}

impl Engine {
    /// What the stores hold, for those who do not know the state yet.
    pub(crate) fn sight_keys(&self, views: &[StoreView]) -> Result<Sighting, EngineError> {
        Ok(self.sight(self.reconcile(views)?, views))
    }

    /// What the stores hold in the light of the state, with ids for keys that were never seen. Nothing is written.
    pub(crate) fn sight(&self, stamp: Option<StampBody>, views: &[StoreView]) -> Sighting {
        let mut stamp = stamp.unwrap_or_else(|| StampBody::new(&self.assembly.name));
        let mut materials = Materials::default();
        let fingerprints = &self.assembly.fingerprints;
        for view in views {
            world::read_hidden(&mut materials, fingerprints, &view.document);
        }
        let read = |stamp: &StampBody, materials: &mut Materials, fields: &Fields| {
            world::read_fields(&self.assembly.profile, &stamp.ledger, materials, fingerprints, fields)
        };
        if stamp.unfinished().is_none() {
            for view in views {
                // What can't be adopted can't be read either, and is reported there.
                let _ = world::adopt(
                    &self.assembly.profile,
                    &mut stamp.ledger,
                    &mut materials,
                    fingerprints,
                    &view.document.fields,
                );
            }
        }
        let stores = views.iter().map(|view| read(&stamp, &mut materials, &view.document.fields)).collect();
        Sighting { stamp, materials, stores }
    }
}
