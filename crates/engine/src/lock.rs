//! The operator lock: who drives, on which machine, since when.
//!
//! It is held in the stamp only while a process drives. A dead holder is proven dead by boot id, pid and start time together,
//! because a pid alone is reused.

use std::fmt;

use keyroll_rotation::{Epoch, RotationId};
use serde::{Deserialize, Serialize};

/// Who holds the lock.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LockHolder {
    /// The operator.
    pub holder: String,
    /// The machine's name.
    pub host: String,
    /// The machine's boot id.
    pub boot_id: String,
    /// The process.
    pub pid: u32,
    /// When the process started, in clock ticks since boot.
    pub pid_start: u64,
    /// What it does.
    pub operation: String,
    /// Since when.
    pub since: jiff::Timestamp,
    /// The rotation that it drives.
    pub rotation: RotationId,
    /// Its epoch: a write that carries an older one is stale.
    pub epoch: Epoch,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` on {} (process {}) has been running `{}` since {}, rotation {}",
            self.holder, self.host, self.pid, self.operation, self.since, self.rotation
        )
    }
}
