//! The operator lock: who drives, on which machine, since when.
//!
//! It is held in the stamp only while a process drives. A dead holder is proven dead by boot id, pid and start time together,
//! because a pid alone is reused.

use std::fmt;

use keyroll_rotation::{Epoch, RotationId};
use serde::{Deserialize, Serialize};

use crate::clock::spoken;

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
            self.holder,
            self.host,
            self.pid,
            self.operation,
            spoken(self.since),
            self.rotation
        )
    }
}

/// What is known of a holder, seen from this machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Vitality {
    /// It may be alive: it runs, or it is on another machine, from where nobody can tell.
    MayLive,
    /// It is gone: the machine was booted since, or no process has its pid and start time.
    ProvenDead,
}

/// A process as the lock names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ProcessIdentity {
    pub(crate) boot_id: String,
    pub(crate) pid: u32,
    pub(crate) start: u64,
}

impl ProcessIdentity {
    /// This process.
    pub(crate) fn own() -> Self {
        let pid = std::process::id();
        Self { boot_id: machine_boot_id(), pid, start: start_time(pid).unwrap_or(0) }
    }
}

impl LockHolder {
    /// Whether the holder is dead, as far as this machine can tell.
    pub(crate) fn vitality(&self, host: &str) -> Vitality {
        if self.host != host || self.boot_id.is_empty() {
            return Vitality::MayLive;
        }
        let boot_id = machine_boot_id();
        if boot_id.is_empty() {
            return Vitality::MayLive;
        }
        // Two machines may carry one name, but not one boot id; a name that returns with another boot id was booted anew
        // only if it is the same machine, which the state folder's own lock has shown by now.
        if self.boot_id != boot_id {
            return Vitality::ProvenDead;
        }
        match start_time(self.pid) {
            Some(start) if start == self.pid_start => Vitality::MayLive,
            Some(_) | None => Vitality::ProvenDead,
        }
    }

    /// Whether `process` is the holder.
    pub(crate) fn is(&self, process: &ProcessIdentity) -> bool {
        self.boot_id == process.boot_id && self.pid == process.pid && self.pid_start == process.start
    }
}

/// When the process with this pid started, in clock ticks since boot; none if there is no such process.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses and may itself hold spaces and parentheses.
    let after = stat.rsplit_once(')')?.1;
    let mut fields = after.split_whitespace();
    // A zombie has ended and only waits to be buried.
    if fields.next() == Some("Z") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn machine_boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(process: &ProcessIdentity) -> LockHolder {
        LockHolder {
            holder: "ada".into(),
            host: "here".into(),
            boot_id: process.boot_id.clone(),
            pid: process.pid,
            pid_start: process.start,
            operation: "rotate".into(),
            since: jiff::Timestamp::UNIX_EPOCH,
            rotation: RotationId("r-1".into()),
            epoch: Epoch(1),
        }
    }

    #[test]
    fn a_process_that_runs_is_not_dead_and_a_reused_pid_is() {
        let own = ProcessIdentity::own();
        assert_eq!(held_by(&own).vitality("here"), Vitality::MayLive);
        assert!(held_by(&own).is(&own));
        let reused = ProcessIdentity { start: own.start + 1, ..own };
        assert_eq!(held_by(&reused).vitality("here"), Vitality::ProvenDead);
    }

    #[test]
    fn nobody_is_proven_dead_from_another_machine() {
        let gone = ProcessIdentity { pid: u32::MAX, ..ProcessIdentity::own() };
        assert_eq!(held_by(&gone).vitality("here"), Vitality::ProvenDead);
        assert_eq!(held_by(&gone).vitality("there"), Vitality::MayLive);
    }

    #[test]
    fn a_machine_that_was_booted_since_has_no_holder_left() {
        let before = ProcessIdentity { boot_id: "another-boot".into(), ..ProcessIdentity::own() };
        assert_eq!(held_by(&before).vitality("here"), Vitality::ProvenDead);
    }
}
