//! Where keys live.
//!
//! # Contract
//! - A [`Document`] is one unit: fields, pending, escrow and stamp are written in one compare-and-swap, or an
//!   implementation makes it so (it says how in its module page). A crash leaves the document before or the document after.
//! - [`SecretStore::write`] succeeds only if the document is still at `expect`. Whoever else wrote meanwhile wins, and the
//!   caller gets [`StoreError::Conflict`].
//! - Siblings (fields that the document does not name) survive every write, byte for byte.
//! - Pending and escrowed keys are never visible to the applications that read the fields.
//! - Absent is not empty, and unreadable is not absent.

use std::fmt;

use async_trait::async_trait;
use keyroll_keyring::{FieldName, Fields, KeyId, Secret};
use serde::{Deserialize, Serialize};

use crate::Timestamp;

pub use env_file::{EnvDialect, EnvFileStore};
pub use file::{FileContent, FileStore};

pub mod conformance;
mod env_file;
mod file;
mod paired;

/// A place where the secret of one key lives. Constructed for one secret and the fields that Keyroll owns in it.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// What this store is and what it can promise.
    fn describe(&self) -> StoreDescription;

    /// Reads the document as it is now, never from a cache.
    async fn read(&self) -> Result<Versioned, StoreError>;

    /// Replaces the document if it is still at `expect`.
    async fn write(&self, document: &Document, expect: &Revision) -> Result<Revision, StoreError>;

    /// Whether a write would be let through, as far as that can be told without one. The error is the one that a write would meet.
    ///
    /// A store that can't tell says so by this default.
    async fn may_write(&self) -> Result<WriteOutlook, StoreError> {
        Ok(WriteOutlook::NotKnown)
    }

    /// The store's own clock.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// Removes what a writer that died may have left (replacement files), for this store only, and says what that was.
    async fn sweep(&self) -> Result<Vec<String>, StoreError>;

    /// Looks for key bytes in everything that this store can still see, so that a key that left the document is known to
    /// be gone and not only believed to be.
    ///
    /// A store that can't look says so by this default, which proves nothing.
    async fn residue(&self, material: &[&Secret]) -> Result<Residue, StoreError> {
        let _ = material;
        Ok(Residue { beyond: "this store can't look for remains".to_owned(), ..Residue::default() })
    }
}

/// What can be told of a write without one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "what stands in its way is an error")]
pub enum WriteOutlook {
    /// Nothing that can be seen stands in its way.
    Allowed,
    /// Only a write would tell.
    NotKnown,
}

/// What Keyroll keeps in a store.
#[derive(Default)]
pub struct Document {
    /// What applications read. Every owned field has an entry; `None` is absent.
    pub fields: Fields,
    /// Candidates, and while a rotation is open copies of what the fields hold; hidden from applications.
    pub pending: Vec<HiddenKey>,
    /// Keys that left the ring and are kept for a stated time, hidden from applications.
    pub escrow: Vec<HiddenKey>,
    /// The engine's record, opaque here. It holds no key bytes.
    pub stamp: Option<Stamp>,
}

/// A key that applications do not see: its parts in the profile's encoding, by name.
pub struct HiddenKey {
    /// The key's id.
    pub id: KeyId,
    /// Which rotation put it there: a candidate is found again by this, and never generated twice.
    pub rotation: String,
    /// The decoded material of each part.
    pub parts: Vec<(String, Secret)>,
    /// When it is to be destroyed; `None` for candidates.
    pub destroy_after: Option<Timestamp>,
}

/// The engine's record in a store: opaque bytes without key material (JSON text).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stamp(pub Vec<u8>);

/// A document and the version at which it was read.
pub struct Versioned {
    /// The document.
    pub document: Document,
    /// Its version.
    pub revision: Revision,
}

/// What a search for key bytes found.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Residue {
    /// What was searched, in words that an operator recognises.
    pub searched: Vec<String>,
    /// Where key bytes were found (raw, hexadecimal, base64 or base64url).
    pub found: Vec<String>,
    /// Which of these are the document itself, which holds a key until it is taken out.
    pub document: Vec<String>,
    /// What was not searched, or can't be.
    pub beyond: String,
}

impl Residue {
    /// Whether something was searched and nothing was found.
    pub fn is_clean(&self) -> bool {
        !self.searched.is_empty() && self.found.is_empty()
    }
}

/// The version of a document, opaque, comparable for equality only.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub String);

/// What a store is and promises, for plans, preflight and the audit record.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct StoreDescription {
    /// The kind, as `keyroll.yaml` writes it.
    pub kind: &'static str,
    /// Which one, in words that an operator recognises; without secrets.
    pub location: String,
    /// The fields that Keyroll owns.
    pub fields: Vec<FieldName>,
    /// How strong the compare-and-swap is.
    pub swap: SwapStrength,
    /// Where candidate, escrow and stamp live.
    pub hidden: String,
}

/// How strongly a store guards against a write between read and write.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "strength", rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "it is atomic or the gap is stated")]
pub enum SwapStrength {
    /// No writer can slip between.
    Atomic,
    /// Somebody who does not take our lock can slip into a short gap.
    Advisory {
        /// Which gap, in words.
        gap: String,
    },
}

/// Why a store did not do it. The world is unchanged unless the variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such secret.
    #[error("{location} does not exist")]
    NotFound {
        /// Which.
        location: String,
    },
    /// Somebody else wrote since it was read.
    #[error("{location} was changed by somebody else since it was read; nothing was written")]
    Conflict {
        /// Which.
        location: String,
    },
    /// We may not.
    #[error("not allowed to {action} {location}")]
    Denied {
        /// `read` or `write`.
        action: &'static str,
        /// Which.
        location: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// What is there can't be understood; it is never taken as "nothing there".
    #[error("{location} can't be understood: {reason}")]
    Corrupt {
        /// Which.
        location: String,
        /// What and where, without secrets.
        reason: String,
    },
    /// The store can't hold what was to be written.
    #[error("{location} can't hold what was to be written: {reason}; nothing was written")]
    Refused {
        /// Which.
        location: String,
        /// Why, without secrets.
        reason: String,
    },
    /// A transient failure, worth another try.
    #[error("{location} can't be reached")]
    Unavailable {
        /// Which.
        location: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// A lasting failure: disk full, read-only folder. What was there is intact.
    #[error("{location} can't be written; what was there is intact")]
    Unwritable {
        /// Which.
        location: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The answer to a write was lost: it may or may not have happened. Read again.
    #[error("{location}: it is not known whether the write happened")]
    Uncertain {
        /// Which.
        location: String,
        /// Why.
        #[source]
        source: BoxError,
    },
}

/// The private error of an adapter. It never holds key bytes.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
