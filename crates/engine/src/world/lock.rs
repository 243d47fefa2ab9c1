//! The operator lock: who drives, on which machine, since when.
//!
//! It is held in the stamp only while a process drives. A dead holder is proven dead by boot id, process namespace, pid and start
//! time together, because a pid alone is reused. A host's name proves nothing: two containers may carry one name, and then
//! neither sees the other's processes.

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
    /// The machine, as a hash of its id; empty where it has none.
    #[serde(default)]
    pub machine: String,
    /// The process namespace in which `pid` counts; empty where that can't be told.
    #[serde(default)]
    pub pid_namespace: String,
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
    pub(crate) machine: String,
    pub(crate) pid_namespace: String,
    pub(crate) pid: u32,
    pub(crate) start: u64,
}

impl ProcessIdentity {
    /// This process.
    pub(crate) fn own() -> Self {
        let pid = std::process::id();
        Self {
            boot_id: machine_boot_id(),
            machine: machine_id(),
            pid_namespace: pid_namespace(),
            pid,
            start: start_time(pid).unwrap_or(0),
        }
    }
}

impl LockHolder {
    /// Whether the holder is dead, as far as this process can tell.
    pub(crate) fn vitality(&self, host: &str) -> Vitality {
        if self.host != host {
            return Vitality::MayLive;
        }
        self.seen_by(&ProcessIdentity::own(), start_time)
    }

    fn seen_by(&self, here: &ProcessIdentity, start_time: impl Fn(u32) -> Option<u64>) -> Vitality {
        let known = |text: &str| !text.is_empty();
        if !known(&self.boot_id) || !known(&here.boot_id) || !known(&self.pid_namespace) {
            return Vitality::MayLive;
        }
        if self.boot_id != here.boot_id {
            // Another boot is another machine, or this one before it was booted. The id of a container's machine is that of its
            // image, so it tells the two apart only where both processes are in no container.
            let same = known(&self.machine) && self.machine == here.machine;
            let bare = [&self.pid_namespace, &here.pid_namespace].iter().all(|namespace| *namespace == FIRST_NAMESPACE);
            return if same && bare { Vitality::ProvenDead } else { Vitality::MayLive };
        }
        if self.pid_namespace != here.pid_namespace {
            return Vitality::MayLive;
        }
        match start_time(self.pid) {
            Some(start) if start == self.pid_start => Vitality::MayLive,
            Some(_) | None => Vitality::ProvenDead,
        }
    }

    /// Whether `process` is the holder.
    pub(crate) fn is(&self, process: &ProcessIdentity) -> bool {
        self.boot_id == process.boot_id
            && self.machine == process.machine
            && self.pid_namespace == process.pid_namespace
            && self.pid == process.pid
            && self.pid_start == process.start
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

/// The machine's id, hashed: the id itself is for this machine's eyes only.
fn machine_id() -> String {
    let Ok(id) = std::fs::read_to_string("/etc/machine-id") else { return String::new() };
    let id = id.trim();
    if id.is_empty() || id == "uninitialized" {
        return String::new();
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("keyroll lock {id}").as_bytes());
    hex::encode(&digest.as_ref()[..16])
}

/// The namespace in which this process's pid counts, as `pid:[4026531836]`.
fn pid_namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string()).unwrap_or_default()
}

/// The namespace of a machine's own processes, as the kernel numbers it on every machine.
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(process: &ProcessIdentity) -> LockHolder {
        LockHolder {
            holder: "ada".into(),
            host: "here".into(),
            boot_id: process.boot_id.clone(),
            machine: process.machine.clone(),
            pid_namespace: process.pid_namespace.clone(),
            pid: process.pid,
            pid_start: process.start,
            operation: "rotate".into(),
            since: jiff::Timestamp::UNIX_EPOCH,
            rotation: RotationId("r-1".into()),
            epoch: Epoch(1),
        }
    }

    fn on(boot_id: &str, machine: &str, pid_namespace: &str) -> ProcessIdentity {
        ProcessIdentity {
            boot_id: boot_id.into(),
            machine: machine.into(),
            pid_namespace: pid_namespace.into(),
            pid: 7,
            start: 100,
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
        let (before, now) = (on("boot-1", "m", FIRST_NAMESPACE), on("boot-2", "m", FIRST_NAMESPACE));
        assert_eq!(held_by(&before).seen_by(&now, |_| None), Vitality::ProvenDead);
    }

    #[test]
    fn of_two_containers_with_one_name_neither_takes_the_other_for_dead() {
        let dead = |holder: &ProcessIdentity, here: &ProcessIdentity| held_by(holder).seen_by(here, |_| None);
        // On one machine, and each with the other's pid free or taken by somebody else.
        let (one, other) = (on("boot-1", "image", "pid:[11]"), on("boot-1", "image", "pid:[12]"));
        assert_eq!(dead(&one, &other), Vitality::MayLive);
        assert_eq!(held_by(&one).seen_by(&other, |_| Some(9)), Vitality::MayLive);
        assert!(!held_by(&one).is(&other), "nor is it taken for itself, with the same pid and start");
        // Moved to another machine, with the machine id that came with the image.
        let moved = on("boot-2", "image", "pid:[11]");
        assert_eq!(dead(&one, &moved), Vitality::MayLive);
        // Two machines that carry one name, and one that does not know its id.
        let (here, there) = (on("boot-1", "m1", FIRST_NAMESPACE), on("boot-2", "m2", FIRST_NAMESPACE));
        assert_eq!(dead(&here, &there), Vitality::MayLive);
        let nameless = on("boot-2", "", FIRST_NAMESPACE);
        assert_eq!(dead(&on("boot-1", "", FIRST_NAMESPACE), &nameless), Vitality::MayLive);
        // In one and the same container it can be told.
        assert_eq!(dead(&one, &one), Vitality::ProvenDead);
    }

    #[test]
    fn this_process_knows_its_namespace() {
        assert!(pid_namespace().starts_with("pid:["), "{}", pid_namespace());
    }
}
