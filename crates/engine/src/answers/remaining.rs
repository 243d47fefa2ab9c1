//! What is left of the rotation that is open: the machine's own steps from where it stands, in words.
//!
//! It is no plan: it can't be saved, because a rotation that is open needs nobody's consent to go on.

use keyroll_rotation::plan::remaining;
use serde::Serialize;

use crate::answers::plan::About;
use crate::clock::millis;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::members::sweep;
use crate::report::{PlannedStep, RotationStatus, SCHEMA_VERSION, WaitReport};
use crate::world::stamp::StampBody;

/// An open rotation and what is left of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Remaining {
    /// [`SCHEMA_VERSION`].
    #[serde(rename = "schema_version")]
    pub schema_version: u32,
    /// The key's name in `keyroll.yaml`.
    pub name: String,
    /// The rotation.
    pub rotation: RotationStatus,
    /// Writes, reloads and gates from here on, in order.
    pub steps: Vec<PlannedStep>,
    /// Why it waits, if it does.
    pub wait: Option<WaitReport>,
}

impl Engine {
    /// What is left of the rotation that is under way; none where none is. Nothing is written.
    pub async fn remaining(&self) -> Result<Option<Remaining>, EngineError> {
        let views = self.read_stores().await?;
        let Some(stamp) = self.reconcile(&views)? else { return Ok(None) };
        let Some(open) = StampBody::unfinished(&stamp) else { return Ok(None) };
        let machine = &open.machine;
        let members = sweep::list(&self.assembly.consumers).await?.len();
        let now = millis(self.store(0)?.now().await?);
        let about = About { mode: machine.mode, old: machine.outgoing, new: machine.incoming, members };
        let steps = remaining(machine, now).map_err(EngineError::Refused)?;
        Ok(Some(Remaining {
            schema_version: SCHEMA_VERSION,
            name: self.assembly.name.clone(),
            rotation: self.rotation_status(open),
            steps: steps.iter().map(|step| self.step_in_words(&about, &step.what, step.stage)).collect(),
            wait: self.why(&stamp, &views).await?,
        }))
    }
}
