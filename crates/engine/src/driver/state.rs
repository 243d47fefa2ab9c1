//! What is known before anything is locked: the stores' stamps, this machine's journal, and which of the two is newer.
//!
//! The state folder only ever knows more than the stores about what this machine did last. It may be lost, and another machine
//! goes on from the stamps.

use std::sync::Arc;
use std::time::Duration;

use keyroll_adapters::stores::{Revision, SecretStore};
use keyroll_rotation::{Epoch, RotationId};
use serde::{Deserialize, Serialize};

use crate::driver::session::Touched;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::journal::{Body, Journal, JournalError, JournalReader};
use crate::members::roster::Roster;
use crate::world::StoreView;
use crate::world::lock::Vitality;
use crate::world::stamp::StampBody;

impl Engine {
    pub(crate) fn store(&self, place: usize) -> Result<Arc<dyn SecretStore>, EngineError> {
        self.assembly
            .stores
            .get(place)
            .cloned()
            .ok_or_else(|| EngineError::RefusedBecause { reason: "the configuration names no store".into() })
    }

    pub(crate) async fn read_store(&self, place: usize) -> Result<StoreView, EngineError> {
        let store = self.store(place)?;
        let location = store.describe().location;
        let versioned = self.with_retries(&location, || store.read()).await?;
        StoreView::of(location, versioned, &self.assembly.name)
    }

    pub(crate) async fn read_stores(&self) -> Result<Vec<StoreView>, EngineError> {
        let mut views = Vec::new();
        for place in 0..self.assembly.stores.len() {
            views.push(self.read_store(place).await?);
        }
        if views.is_empty() {
            self.store(0)?;
        }
        Ok(views)
    }

    /// The newest state: of the stores' stamps, and of this machine's journal where it knows more of the same rotation.
    ///
    /// Where the stamps are gone (somebody removed what lay beside the key), the journal's own state is all there is.
    ///
    /// A journal that can't be read is no missing one: what it knows more than the stamps would be taken for not having happened.
    pub(crate) fn reconcile(&self, views: &[StoreView]) -> Result<Option<StampBody>, EngineError> {
        let own = self.last_state()?;
        let Some(newest) = newest_stamp(views) else {
            return Ok(own.map(|mut own| {
                own.lock = None;
                own
            }));
        };
        let same =
            |own: &StampBody| own.open.as_ref().map(|open| &open.id) == newest.open.as_ref().map(|open| &open.id);
        Ok(match own {
            Some(mut own) if !newest.newer_than(&own) && same(&own) => {
                own.lock.clone_from(&newest.lock);
                own.requests.clone_from(&newest.requests);
                own.sequence = own.sequence.max(newest.sequence);
                Some(own)
            }
            _ => Some(newest.clone()),
        })
    }

    /// The last state that this machine's journal holds.
    fn last_state(&self) -> Result<Option<StampBody>, EngineError> {
        let journal = match JournalReader::open(&self.state_dir) {
            Ok(journal) => journal,
            Err(JournalError::Absent { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut records = journal.records()?.into_iter().rev();
        let stamp = records.find_map(|record| match record.entry.body {
            Body::State { stamp } => Some(stamp),
            _ => None,
        });
        let location = || format!("`{}`", journal.path().display());
        stamp
            .map(StampBody::of)
            .transpose()
            .map_err(|error| EngineError::Stamp { location: location(), reason: error.to_string() })
    }

    pub(crate) async fn open_journal(&self) -> Result<Journal, EngineError> {
        let mut attempts = 0;
        loop {
            let in_use = match Journal::open(&self.state_dir) {
                Ok(journal) => return Ok(journal),
                Err(error @ JournalError::InUse { .. }) => error,
                Err(error) => return Err(error.into()),
            };
            // Another process on this machine has the journal, so it drives. It opens the journal before it writes its lock,
            // so for a moment the stamp names nobody, or the dead process from which it takes over.
            let views = self.read_stores().await?;
            let holder = newest_stamp(&views).and_then(|stamp| stamp.lock.clone());
            if let Some(holder) = holder.filter(|holder| holder.vitality(&self.operator.host) == Vitality::MayLive) {
                return Err(EngineError::Locked { holder: Box::new(holder) });
            }
            attempts += 1;
            if attempts == JOURNAL_ATTEMPTS {
                return Err(in_use.into());
            }
            self.clock.sleep(JOURNAL_PAUSE).await;
        }
    }

    pub(crate) fn load_roster(&self) -> Result<Roster, EngineError> {
        let path = self.state_dir.join(ROSTER_FILE);
        let failed = |what| {
            let path = path.display().to_string();
            move |source| EngineError::State { path, what, source }
        };
        match std::fs::read(&path) {
            Ok(bytes) => Roster::decode(&bytes).map_err(|error| failed("read")(error.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Roster::default()),
            Err(error) => Err(failed("read")(error)),
        }
    }

    /// Keeps the table, so that members have their names in a process after this one.
    pub(crate) fn save_roster(&self, roster: &Roster) -> Result<(), EngineError> {
        self.replace_state_file(ROSTER_FILE, &serde_json::to_vec(roster).unwrap_or_default())
    }

    /// Replaces a file of the state folder in one step.
    pub(crate) fn replace_state_file(&self, name: &str, bytes: &[u8]) -> Result<(), EngineError> {
        let path = self.state_dir.join(name);
        let failed =
            |source: std::io::Error| EngineError::State { path: path.display().to_string(), what: "replaced", source };
        let mut file = tempfile::Builder::new()
            .prefix(REPLACEMENT_PREFIX)
            .suffix(REPLACEMENT_SUFFIX)
            .tempfile_in(&self.state_dir)
            .map_err(failed)?;
        std::io::Write::write_all(&mut file, bytes).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// Remembers at which versions this machine gave the stores back. Where somebody wrote to one between the last look and
    /// that, the next command is told so: nobody has proven anything since.
    pub(crate) fn remember_release(&self, views: &[StoreView], touched: &Touched) -> Result<(), EngineError> {
        let unheeded = |view: &StoreView| matches!(touched, Touched::Yes { location } if *location == view.location);
        let of = |view: &StoreView| {
            let seen = Seen::of(view)?;
            Some(Seen { revision: seen.revision.filter(|_| !unheeded(view)), ..seen })
        };
        let seen: Vec<Option<Seen>> = views.iter().map(of).collect();
        let bytes = serde_json::to_vec(&seen).unwrap_or_default();
        self.replace_state_file(SEEN_FILE, &bytes)
    }

    /// Whether somebody wrote to a store since this machine gave it back, whom Keyroll does not know: it carries the same stamp
    /// at another version. On another machine, and after a crash, nobody can tell.
    pub(crate) fn since_release(&self, views: &[StoreView]) -> Result<SinceRelease, EngineError> {
        let path = self.state_dir.join(SEEN_FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(SinceRelease::Unknown),
            Err(source) => return Err(EngineError::State { path: path.display().to_string(), what: "read", source }),
        };
        // It only adds doubt: what can't be read is what a machine knows that never had it.
        let seen: Vec<Option<Seen>> = serde_json::from_slice(&bytes).unwrap_or_default();
        if seen.len() != views.len() {
            return Ok(SinceRelease::Unknown);
        }
        let mut since = SinceRelease::Unmoved;
        for (view, then) in views.iter().zip(seen) {
            match (Seen::of(view), then) {
                (Some(now), Some(then)) if (now.epoch, now.sequence) == (then.epoch, then.sequence) => {
                    if then.revision.is_none() || now.revision != then.revision {
                        return Ok(SinceRelease::Moved { location: view.location.clone() });
                    }
                }
                (_, _) => since = SinceRelease::Unknown,
            }
        }
        Ok(since)
    }

    /// Removes replacements that a killed process never put in place. Only whoever has the journal open makes any, so none
    /// of another process is in the making while this one has it.
    pub(crate) fn sweep_state_folder(&self) {
        let Ok(entries) = std::fs::read_dir(&self.state_dir) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let ours = name
                .to_str()
                .is_some_and(|name| name.starts_with(REPLACEMENT_PREFIX) && name.ends_with(REPLACEMENT_SUFFIX));
            if ours {
                // It holds no secret; one that stays is met again by the next process.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    pub(crate) fn new_rotation_id(&self) -> Result<RotationId, EngineError> {
        let mut random = [0_u8; 10];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| EngineError::RefusedBecause { reason: "the system gave no random bytes".into() })?;
        let mut bytes = [0_u8; 16];
        bytes[..6].copy_from_slice(&self.clock.now().0.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        Ok(RotationId(format!("r-{}", crockford(u128::from_be_bytes(bytes)))))
    }
}

fn newest_stamp(views: &[StoreView]) -> Option<&StampBody> {
    views.iter().filter_map(|view| view.stamp.as_ref()).max_by_key(|stamp| (stamp.epoch, stamp.sequence))
}

/// 26 digits, most significant first, so that ids sort by time.
fn crockford(value: u128) -> String {
    (0..26).rev().map(|digit| char::from(CROCKFORD[((value >> (5 * digit)) & 31) as usize])).collect()
}

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

const ROSTER_FILE: &str = "members.json";

/// One store as this machine gave it back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    epoch: Epoch,
    sequence: u64,
    /// None where somebody wrote after the last look at it.
    revision: Option<Revision>,
}

impl Seen {
    fn of(view: &StoreView) -> Option<Self> {
        let stamp = view.stamp.as_ref()?;
        Some(Self { epoch: stamp.epoch, sequence: stamp.sequence, revision: Some(view.revision.clone()) })
    }
}

/// Whether the stores are as this machine gave them back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum SinceRelease {
    /// They are.
    Unmoved,
    /// Somebody else wrote to this one.
    Moved { location: String },
    /// Nobody can tell.
    Unknown,
}

const SEEN_FILE: &str = "seen.json";

/// What the replacement of a file in the state folder is called until it is put in place.
const REPLACEMENT_PREFIX: &str = ".keyroll-";
const REPLACEMENT_SUFFIX: &str = ".tmp";

/// How long whoever has the journal is waited for until the stamp says who it is.
const JOURNAL_ATTEMPTS: u32 = 50;
const JOURNAL_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_ids_sort_by_time() {
        assert_eq!(crockford(0), "0".repeat(26));
        assert!(crockford(1 << 80) > crockford((1 << 80) - 1));
        assert_eq!(crockford(u128::MAX).len(), 26);
    }
}
