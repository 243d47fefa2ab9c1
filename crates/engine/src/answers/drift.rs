//! What the stores say, held against the record, by whoever only looks.
//!
//! A driver asks the machine and records what it answers. Here a copy is asked, so that nothing is decided by looking; and because
//! somebody may drive at the same time, only what two looks in a row show is taken for a foreign write.

use keyroll_rotation::{Abandoned, Event, Rotation, Stage, WorldConfiguration};

use crate::answers::checks::Checks;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::meaning::halt_words;
use crate::report::Check;
use crate::world::stamp::StampBody;
use crate::world::{self, Materials, StoreView};

impl Engine {
    /// The stores and the state as they belong together: where they contradict each other, a driver may have written between the
    /// two, so they are read again.
    pub(crate) async fn settle(
        &self,
        mut views: Vec<StoreView>,
    ) -> Result<(Vec<StoreView>, Option<StampBody>), EngineError> {
        for _ in 0..LOOKS {
            let stamp = self.reconcile(&views)?;
            if stamp.as_ref().is_none_or(|stamp| self.halted_by_what_is_there(stamp, &views).is_none()) {
                return Ok((views, stamp));
            }
            let again = self.read_stores().await?;
            if again.iter().map(|view| &view.revision).eq(views.iter().map(|view| &view.revision)) {
                return Ok((again, stamp));
            }
            views = again;
        }
        let stamp = self.reconcile(&views)?;
        Ok((views, stamp))
    }

    /// The open rotation, in escrow or not, as a driver would let it stand still for what the stores hold; none where it wouldn't.
    pub(crate) fn halted_by_what_is_there(&self, stamp: &StampBody, views: &[StoreView]) -> Option<Rotation> {
        let machine = &stamp.open.as_ref()?.machine;
        if machine.stage == Stage::Finished || machine.abandoned != Abandoned::No {
            return None;
        }
        let stores = self.recognised(stamp, views);
        let at = machine.written_at.unwrap_or_default();
        let seen = machine.apply(&Event::WorldObserved { stores, at }).ok()?.rotation;
        seen.is_halted_by_foreign_write().then_some(seen)
    }

    /// The state as a driver would have it after a look.
    pub(crate) fn as_seen(&self, stamp: &StampBody, views: &[StoreView]) -> StampBody {
        let mut seen = stamp.clone();
        if let (Some(open), Some(machine)) = (&mut seen.open, self.halted_by_what_is_there(stamp, views)) {
            open.machine = machine;
        }
        seen
    }

    /// Says of the stores that they are not as the record has them, if so.
    pub(crate) fn check_record(&self, stamp: &StampBody, views: &[StoreView], checks: &mut Checks) {
        let Some(halt) = self.halted_by_what_is_there(stamp, views).and_then(|machine| machine.halt) else { return };
        let fix = "find out who wrote it; put it back as it was, or decide by `keyroll resume`: `keyroll explain` lists the ways";
        checks.red(Check::RECORD, None, halt_words(&halt, &self.locations()), fix);
    }

    /// What each store holds, where it holds known keys only.
    fn recognised(&self, stamp: &StampBody, views: &[StoreView]) -> Vec<Option<WorldConfiguration>> {
        let assembly = &self.assembly;
        let mut materials = Materials::default();
        for view in views {
            world::read_hidden(&mut materials, &assembly.fingerprints, &view.document);
        }
        let mut read = |view: &StoreView| {
            let (ledger, fields) = (&stamp.ledger, &view.document.fields);
            let said = world::read_fields(&assembly.profile, ledger, &mut materials, &assembly.fingerprints, fields);
            said.configuration().cloned()
        };
        views.iter().map(&mut read).collect()
    }
}

/// How often is looked while somebody writes between two looks.
const LOOKS: u32 = 5;
