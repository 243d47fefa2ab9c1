//! What the kernel knows of processes, read from `/proc`.
//!
//! A pid alone names nobody, because pids are used again. A pid with its start time names one process for as long as the
//! machine runs, and the machine's boot id says whether it is still the same machine run.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// One process of this machine run.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Its pid.
    pub(super) pid: i32,
    /// When it started, in clock ticks since the machine booted.
    pub(super) start: u64,
}

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stat {
    pub(super) identity: Identity,
    pub(super) parent: i32,
    pub(super) group: i32,
    zombie: bool,
}

impl Identity {
    /// Whether this very process runs. A zombie has let go of its memory and does not count; ours are reaped here.
    pub(super) fn is_alive(self) -> bool {
        match Stat::of(self.pid) {
            Some(stat) if stat.identity != self => false,
            Some(stat) if stat.zombie => {
                if stat.parent == rustix::process::getpid().as_raw_pid() {
                    reap(self.pid);
                }
                false
            }
            Some(_) => true,
            None => false,
        }
    }

    /// Sends `signal` to this very process; a process that took over its pid is never hit. Nobody there is success.
    pub(super) fn signal(self, signal: Signal) -> io::Result<()> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(()) };
        let handle: OwnedFd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // The handle holds whoever has the pid now. Only after that may the start time be compared.
        if Stat::of(self.pid).is_none_or(|stat| stat.identity != self) {
            return Ok(());
        }
        match rustix::process::pidfd_send_signal(&handle, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// How long it has been running, by the clock that its start is told by.
    pub(super) fn age(self) -> Option<Duration> {
        let up = nanoseconds(ClockId::Boottime)?;
        Some(Duration::from_nanos(u64::try_from(up.saturating_sub(self.after_boot())).ok()?))
    }

    /// When it started, in milliseconds since the Unix epoch, rounded down so that it is never later than the truth.
    pub(super) fn started_at(self) -> Option<u64> {
        // Between the two readings time passes, so that the difference is never too large.
        let now = nanoseconds(ClockId::Realtime)?;
        let booted_at = now.checked_sub(nanoseconds(ClockId::Boottime)?)?;
        u64::try_from((booted_at + self.after_boot()) / TICK.as_nanos() * TICK.as_millis()).ok()
    }

    /// When it started, in nanoseconds since the machine booted.
    fn after_boot(self) -> u128 {
        u128::from(self.start) * 1_000_000_000 / u128::from(rustix::param::clock_ticks_per_second().max(1))
    }
}

/// What a clock of the kernel shows.
fn nanoseconds(clock: ClockId) -> Option<u128> {
    let time = clock_gettime(clock);
    Some(u128::try_from(time.tv_sec).ok()? * 1_000_000_000 + u128::try_from(time.tv_nsec).ok()?)
}

/// Nothing finer is known of a start.
const TICK: Duration = Duration::from_millis(10);

impl Stat {
    /// What the kernel says of `pid` now.
    pub(super) fn of(pid: i32) -> Option<Self> {
        Self::parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The command name stands in parentheses and may itself hold spaces and parentheses, so the fields are counted from
    /// the last one.
    fn parse(pid: i32, text: &str) -> Option<Self> {
        let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let start = fields.nth(16)?.parse().ok()?;
        Some(Self { identity: Identity { pid, start }, parent, group, zombie: matches!(state, "Z" | "X" | "x") })
    }
}

/// Every process that is not a zombie.
pub(super) fn everybody() -> io::Result<Vec<Stat>> {
    Ok(pids()?.filter_map(Stat::of).filter(|stat| !stat.zombie).collect())
}

/// Every process whose standard input is the file `path`. Children inherit it, so this finds a run whose pid was never
/// recorded, and workers that outlived it.
pub(super) fn reading_from(path: &Path) -> io::Result<Vec<Identity>> {
    let wanted = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut found: Vec<Identity> = pids()?
        .filter(|pid| fs::read_link(format!("/proc/{pid}/fd/0")).is_ok_and(|target| target == wanted))
        .filter_map(Stat::of)
        .filter(|stat| !stat.zombie)
        .map(|stat| stat.identity)
        .collect();
    found.sort_by_key(|identity| (identity.start, identity.pid));
    Ok(found)
}

/// Who listens on which TCP port: the socket's inode, by port.
pub(super) fn listeners() -> BTreeMap<u16, u64> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().skip(1).filter_map(listener).collect::<Vec<_>>())
        .collect()
}

/// The oldest process that holds the socket `inode`, where we may see it.
pub(super) fn holder_of(inode: u64) -> Option<Identity> {
    let wanted = PathBuf::from(format!("socket:[{inode}]"));
    pids()
        .ok()?
        .filter(|pid| {
            fs::read_dir(format!("/proc/{pid}/fd"))
                .is_ok_and(|files| files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| to == wanted)))
        })
        .filter_map(Stat::of)
        .filter(|stat| !stat.zombie)
        .map(|stat| stat.identity)
        .min_by_key(|identity| (identity.start, identity.pid))
}

/// The machine's boot id: another one means that no recorded process can be alive.
pub(super) fn machine_boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn pids() -> io::Result<impl Iterator<Item = i32>> {
    Ok(fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

fn reap(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // Whoever else reaped it first is welcome; the process is gone either way.
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// One line of the kernel's table of sockets, if it is a listening one: its port and inode.
fn listener(line: &str) -> Option<(u16, u64)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let port = u16::from_str_radix(fields.get(1)?.rsplit(':').next()?, 16).ok()?;
    (*fields.get(3)? == LISTENING).then_some(())?;
    Some((port, fields.get(9)?.parse().ok()?))
}

/// The state of a listening socket in the kernel's table.
const LISTENING: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_does_not_shift_the_fields() {
        let text = "42 (a) b (c)) S 7 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3";
        let stat = Stat::parse(42, text).unwrap();
        assert_eq!(stat, Stat { identity: Identity { pid: 42, start: 987_654 }, parent: 7, group: 42, zombie: false });
    }

    #[test]
    fn this_process_is_alive_and_its_namesake_with_another_start_is_not() {
        let pid = rustix::process::getpid().as_raw_pid();
        let myself = Stat::of(pid).unwrap().identity;
        assert!(myself.is_alive());
        assert!(!Identity { start: myself.start + 1, ..myself }.is_alive());
    }

    #[test]
    fn a_signal_to_a_namesake_is_not_delivered() {
        let pid = rustix::process::getpid().as_raw_pid();
        let start = Stat::of(pid).unwrap().identity.start;
        // Were it delivered, this test would end here.
        Identity { pid, start: start + 1 }.signal(Signal::KILL).unwrap();
    }

    #[test]
    fn a_listening_socket_is_found_with_its_holder() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = listeners()[&socket.local_addr().unwrap().port()];
        assert_eq!(holder_of(inode).unwrap().pid, rustix::process::getpid().as_raw_pid());
    }
}
