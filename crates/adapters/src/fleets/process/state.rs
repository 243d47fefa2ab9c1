//! The record of a process fleet: which runs were started, so that the next Keyroll adopts them.
//!
//! A run is recorded *before* it is started, under a random token, and again with its pid afterwards. A Keyroll that dies
//! between the two leaves a token whose process is found by its standard input, so that nobody runs unrecorded.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::kernel::Identity;

/// The folder that holds the record, its lock, the runs' input files and the applications' output.
#[derive(Clone, Debug)]
pub(super) struct StateFolder {
    folder: PathBuf,
    logs: PathBuf,
}

/// What is recorded.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    version: u32,
    /// The machine run in which the pids mean something.
    pub(super) machine_boot: String,
    /// By member name.
    pub(super) members: BTreeMap<String, MemberRecord>,
}

/// What is recorded of one member.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MemberRecord {
    /// The token of the latest run; names its input file.
    pub(super) run: Option<String>,
    /// The process of that run; none between the intent to start it and its start.
    pub(super) process: Option<Identity>,
    /// The boot id under which the member was last seen, for a member that is down.
    #[serde(default)]
    pub(super) last_boot: Option<String>,
    /// How much had been printed before the latest run.
    #[serde(default)]
    pub(super) output_from: u64,
    /// What was last begun with it.
    #[serde(default)]
    pub(super) phase: Phase,
    /// The reloads that were carried out, newest last.
    #[serde(default)]
    pub(super) reloads: VecDeque<String>,
}

/// What was last begun with a member. Whoever began it holds the member's lock until it is done; where nobody does, they died over it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Phase {
    /// Nothing: it runs, or has ended by itself.
    #[default]
    Wanted,
    /// To end it, for good.
    Stopping,
    /// To start it, after the run before has been ended.
    Starting,
}

/// Holds a lock until it is dropped.
#[derive(Debug)]
pub(super) struct Locked {
    _file: File,
}

/// Why the record can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error("`{path}` can't be used as the state folder of the fleet")]
    Folder {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("`{path}` can't be read or written")]
    File {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("`{path}` is not a record of running processes; restore it, or stop the processes by hand and remove it")]
    Unreadable {
        path: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("`{path}` was written by a newer Keyroll (version {version}); use that one")]
    Newer { path: String, version: u32 },
    #[error("another Keyroll has been starting or stopping processes of this fleet for more than {seconds} s")]
    Busy { seconds: u64 },
}

impl StateFolder {
    /// Names the folder; it is made when it is first written to.
    pub(super) fn new(folder: PathBuf, logs: PathBuf) -> Self {
        Self { folder, logs }
    }

    /// Waits for a lock. Each start and stop of a member holds the member's, each change of the record the record's.
    pub(super) async fn lock(&self, name: &str, patience: Duration) -> Result<Locked, StateError> {
        self.prepare()?;
        let path = self.folder.join("locks").join(name);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(PRIVATE)
            .open(&path)
            .map_err(|source| StateError::File { path: shown(&path), source })?;
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Locked { _file: file }),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                    if tokio::time::Instant::now() >= deadline {
                        return Err(StateError::Busy { seconds: patience.as_secs() });
                    }
                    tokio::time::sleep(LOCK_POLL).await;
                }
                Err(errno) => return Err(StateError::File { path: shown(&path), source: errno.into() }),
            }
        }
    }

    /// Whether somebody starts or stops this member now. Nothing is made or changed, and who can't be asked is taken to.
    pub(super) fn is_held(&self, name: &str) -> bool {
        match File::open(self.folder.join("locks").join(name)) {
            Ok(file) => rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// The record as it is on disk. No file is a fleet that was never started; an unreadable one is an error.
    pub(super) fn load(&self, machine_boot: &str) -> Result<Record, StateError> {
        let path = self.folder.join(RECORD);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Record { version: VERSION, machine_boot: machine_boot.to_owned(), ..Record::default() });
            }
            Err(source) => return Err(StateError::File { path: shown(&path), source }),
        };
        let unreadable = |source| StateError::Unreadable { path: shown(&path), source };
        let version: OnlyVersion = serde_json::from_slice(&text).map_err(unreadable)?;
        if version.version > VERSION {
            return Err(StateError::Newer { path: shown(&path), version: version.version });
        }
        let mut record: Record = serde_json::from_slice(&text).map_err(unreadable)?;
        if record.machine_boot != machine_boot {
            // The machine was restarted: the pids of its last run are other people's now. The tokens stay, so that a
            // member that is down keeps its last name.
            machine_boot.clone_into(&mut record.machine_boot);
            for member in record.members.values_mut() {
                member.process = None;
            }
        }
        Ok(record)
    }

    /// Replaces the record, all or nothing, and syncs it: nothing is started or stopped before this returned.
    pub(super) fn save(&self, record: &Record, _held: &Locked) -> Result<(), StateError> {
        let path = self.folder.join(RECORD);
        let failed = |source| StateError::File { path: shown(&path), source };
        let text = serde_json::to_vec_pretty(record)
            .map_err(|source| StateError::File { path: shown(&path), source: source.into() })?;
        let mut replacement =
            tempfile::Builder::new().prefix(REPLACEMENT_PREFIX).tempfile_in(&self.folder).map_err(failed)?;
        replacement.write_all(&text).map_err(failed)?;
        replacement.as_file().sync_all().map_err(failed)?;
        replacement.persist(&path).map_err(|error| failed(error.error))?;
        self.sweep();
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Removes replacements that a killed Keyroll never put in place. The record's lock is held, so none is in the making.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(REPLACEMENT_PREFIX)) {
                // It holds no secret; one that stays is met again by the next change.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The file that is the standard input of a run. It is empty; its name is what finds the run again.
    pub(super) fn input_of(&self, member: &str, run: &str) -> PathBuf {
        self.folder.join("runs").join(format!("{member}.{run}"))
    }

    /// Makes the input file of a run.
    pub(super) fn make_input(&self, member: &str, run: &str) -> Result<File, StateError> {
        let path = self.input_of(member, run);
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(PRIVATE)
            .open(&path)
            .and_then(|_| File::open(&path))
            .map_err(|source| StateError::File { path: shown(&path), source })
    }

    /// Removes the input files of a member's runs that ended.
    pub(super) fn forget_inputs(&self, member: &str, except: &str) {
        let Ok(entries) = fs::read_dir(self.folder.join("runs")) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let ended = name
                .to_str()
                .and_then(|name| name.rsplit_once('.'))
                .is_some_and(|(owner, run)| owner == member && run != except);
            if ended {
                // A file that stays is empty and harms nobody.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Where a member's output goes.
    pub(super) fn output_of(&self, member: &str) -> PathBuf {
        self.logs.join(format!("{member}.log"))
    }

    fn prepare(&self) -> Result<(), StateError> {
        for folder in [&self.folder, &self.folder.join("locks"), &self.folder.join("runs"), &self.logs] {
            // What applications print is theirs and nobody else's business; a folder that was there keeps its mode.
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|source| StateError::Folder { path: shown(folder), source })?;
        }
        Ok(())
    }
}

impl MemberRecord {
    /// Notes that a reload was carried out. Old names are forgotten: a repeat comes soon or never.
    pub(super) fn note_reload(&mut self, id: &str) {
        self.reloads.push_back(id.to_owned());
        while self.reloads.len() > REMEMBERED_RELOADS {
            self.reloads.pop_front();
        }
    }
}

#[derive(Deserialize)]
struct OnlyVersion {
    version: u32,
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

const VERSION: u32 = 2;
/// What the replacement of the record is called until it is put in place.
const REPLACEMENT_PREFIX: &str = ".fleet";
const RECORD: &str = "fleet.json";
const PRIVATE: u32 = 0o600;
const LOCK_POLL: Duration = Duration::from_millis(20);
const REMEMBERED_RELOADS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unreadable_record_stops_and_is_never_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::new(folder.path().to_owned(), folder.path().join("logs"));
        fs::write(folder.path().join(RECORD), "{").unwrap();
        assert!(matches!(state.load("b").unwrap_err(), StateError::Unreadable { .. }));
        fs::write(folder.path().join(RECORD), r#"{"version":3,"surprise":1}"#).unwrap();
        assert!(matches!(state.load("b").unwrap_err(), StateError::Newer { version: 3, .. }));
    }

    #[tokio::test]
    async fn after_a_restart_of_the_machine_no_pid_is_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::new(folder.path().to_owned(), folder.path().join("logs"));
        let held = state.lock("web-1", Duration::from_secs(1)).await.unwrap();
        let mut record = state.load("before").unwrap();
        record.members.entry("web-1".into()).or_default().process = Some(Identity { pid: 1, start: 1 });
        state.save(&record, &held).unwrap();
        assert!(state.load("before").unwrap().members["web-1"].process.is_some());
        assert!(state.load("after").unwrap().members["web-1"].process.is_none());
    }

    #[tokio::test]
    async fn the_lock_keeps_a_second_one_out_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::new(folder.path().to_owned(), folder.path().join("logs"));
        let held = state.lock("web-1", Duration::from_secs(1)).await.unwrap();
        let second = state.lock("web-1", Duration::ZERO).await;
        assert!(matches!(second.unwrap_err(), StateError::Busy { .. }));
        drop(held);
        state.lock("web-1", Duration::ZERO).await.unwrap();
    }
}
