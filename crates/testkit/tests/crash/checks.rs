//! What must hold however often the driver was killed: one new key, no temporary file, an unbroken journal.
//!
//! A key that was stored and lost again would be invisible at the end, so every key that was ever seen in the store or in the
//! journal is remembered from the first day on.

use std::collections::BTreeSet;
use std::path::Path;

use keyroll_adapters::stores::{Document, FileStore, HiddenKey, SecretStore};
use keyroll_engine::Fingerprints;
use keyroll_engine::config::SessionKey;
use keyroll_engine::journal::audit::{self, AuditVerdict};
use keyroll_engine::journal::{Body, JournalReader};
use keyroll_keyring::{Fingerprint, Part, PartName, ring_file};
use libtest_mimic::Failed;
use serde_json::Value;

use super::lane::Place;

/// Everything that was ever seen of a fleet's keys.
pub(crate) struct Books {
    place: Place,
    store: FileStore,
    fingerprints: Fingerprints,
    /// Every key that was ever in the store or in the journal.
    seen: BTreeSet<Fingerprint>,
    /// How many journal entries were read.
    read: usize,
}

/// The store at one moment.
#[derive(Clone, Debug)]
pub(crate) struct World {
    active: Fingerprint,
    accept_only: usize,
    pending: usize,
    stamp: Value,
    keys_ever: usize,
}

impl World {
    /// Whether a rotation was brought to its end since `began`, and its lock given back.
    pub(crate) fn is_closed_since(&self, began: &Self) -> bool {
        self.active != began.active && self.accept_only == 0 && self.stamp["lock"].is_null()
    }
}

impl Books {
    pub(crate) async fn open(place: &Place) -> Result<Self, Failed> {
        let config = SessionKey::load(&place.config)?;
        let profile = keyroll_engine::profile(&config.profile)?;
        let field = profile.fields().pop().ok_or("the profile has no field")?;
        let mut books = Self {
            store: FileStore::new(&place.keys, field),
            place: place.clone(),
            fingerprints: Fingerprints::new(),
            seen: BTreeSet::new(),
            read: 0,
        };
        books.look().await?;
        Ok(books)
    }

    /// Reads the store, and remembers each key in it.
    pub(crate) async fn look(&mut self) -> Result<World, Failed> {
        let Document { fields, pending, escrow, stamp } = self.store.read().await?.document;
        let text = fields.0.into_values().flatten().next().ok_or("the key file holds no ring")?;
        let ring = ring_file::parse(text.expose())?;
        for key in ring.accepted() {
            self.remember(key.parts())?;
        }
        for HiddenKey { parts, .. } in pending.iter().chain(&escrow) {
            let parts: Vec<Part> = parts
                .iter()
                .map(|(name, material)| Part { name: PartName(name.clone()), material: material.duplicate() })
                .collect();
            self.remember(&parts)?;
        }
        Ok(World {
            active: self.fingerprints.of(ring.active().parts()).ok_or("the active key is weak")?,
            accept_only: ring.accept_only().count(),
            pending: pending.len(),
            stamp: stamp.map_or(Ok(Value::Null), |stamp| serde_json::from_slice(&stamp.0))?,
            keys_ever: self.seen.len(),
        })
    }

    /// Checks everything that must hold when a rotation that began at `began` has ended.
    pub(crate) async fn check_one_rotation(&mut self, began: &World) -> Result<(), Failed> {
        self.read_journal()?;
        let ended = self.check_store(began).await?;
        self.check_audit(&ended)?;
        no_temporary_files(&self.place)
    }

    /// Checks what the store alone shows: finished, and one new key.
    pub(crate) async fn check_store(&mut self, began: &World) -> Result<World, Failed> {
        let ended = self.look().await?;
        if !ended.is_closed_since(began) || ended.pending != 0 {
            return Err(format!("the rotation is not finished: {ended:?}").into());
        }
        match ended.keys_ever - began.keys_ever {
            1 => Ok(ended),
            keys => Err(format!("{keys} candidates were stored for one rotation").into()),
        }
    }

    /// Remembers each key that the journal names.
    fn read_journal(&mut self) -> Result<(), Failed> {
        let records = JournalReader::open(&self.place.state_dir)?.records()?;
        for record in records.iter().skip(self.read) {
            if let Body::State { stamp } = &record.entry.body {
                let keys = stamp["ledger"]["keys"].as_array().ok_or("the journal's state has no ledger")?;
                for key in keys.iter().filter(|key| !key["fingerprint"].is_null()) {
                    self.seen.insert(serde_json::from_value(key["fingerprint"].clone())?);
                }
            }
        }
        self.read = records.len();
        Ok(())
    }

    fn check_audit(&self, ended: &World) -> Result<(), Failed> {
        let journal = JournalReader::open(&self.place.state_dir)?;
        let anchor = serde_json::from_value(ended.stamp["audit"].clone())?;
        let report = audit::verify(&journal, &[anchor]);
        match (report.verdict(), report.torn_bytes) {
            (AuditVerdict::Anchored, 0) => Ok(()),
            _ => Err(format!("the audit chain is not intact: {report:?}").into()),
        }
    }

    fn remember(&mut self, parts: &[Part]) -> Result<(), Failed> {
        self.seen.insert(self.fingerprints.of(parts).ok_or("a weak key is in the store")?);
        Ok(())
    }
}

/// The store's folder holds nothing but what belongs there, and the state folder no file that was not finished.
fn no_temporary_files(place: &Place) -> Result<(), Failed> {
    let mut strangers: Vec<String> = names(&place.folder)?;
    strangers.retain(|name| !AT_HOME.contains(&name.as_str()));
    let mut folders = vec![place.state_dir.clone()];
    while let Some(folder) = folders.pop() {
        for name in names(&folder)? {
            let path = folder.join(&name);
            if path.is_dir() {
                folders.push(path);
            } else if name.starts_with('.') || name.ends_with(".tmp") {
                strangers.push(path.display().to_string());
            }
        }
    }
    match strangers.as_slice() {
        [] => Ok(()),
        _ => Err(format!("files were left behind: {strangers:?}").into()),
    }
}

fn names(folder: &Path) -> Result<Vec<String>, Failed> {
    let entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    Ok(entries.into_iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// What belongs into the store's folder, which in the lab is also the folder of everything else.
const AT_HOME: [&str; 6] = ["keys", ".keys.keyroll", ".keys.keyroll.lock", "keyroll.yaml", "state", "rows"];
