//! Remembers derived keys, so that a probe of a thousand members does not run PBKDF2 a thousand times.
//!
//! It finds a key by id *and* material: two stores may hold different keys under one id, and neither may be taken for the other.

use std::sync::{Arc, Mutex, PoisonError};

use super::DerivedKey;
use crate::codec::MintError;
use crate::{Key, Secret};

/// The keys derived last, wiped with the codec.
#[derive(Default)]
pub(super) struct DerivationCache(Mutex<Vec<Entry>>);

struct Entry {
    material: Secret,
    derived: Arc<DerivedKey>,
}

impl DerivationCache {
    /// The derived form of `key`: remembered, or made by `derive`.
    pub(super) fn get(
        &self,
        key: &Key,
        derive: impl FnOnce(&Key) -> Result<DerivedKey, MintError>,
    ) -> Result<Arc<DerivedKey>, MintError> {
        // The entries are valid after a panic elsewhere: each is pushed whole.
        let find = |entries: &[Entry]| {
            let found =
                entries.iter().find(|entry| entry.derived.id() == key.id() && entry.material.ct_eq(key.material()));
            found.map(|entry| Arc::clone(&entry.derived))
        };
        if let Some(derived) = find(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(derived);
        }
        let derived = Arc::new(derive(key)?);
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES_MAX {
            entries.remove(0);
        }
        entries.push(Entry { material: key.material().duplicate(), derived: Arc::clone(&derived) });
        Ok(derived)
    }
}

/// More than any rotation has in flight.
const ENTRIES_MAX: usize = 8;
