//! One line of the journal, and what points at it.

use std::fmt;

use jiff::Timestamp;
use keyroll_rotation::{Epoch, RotationId};
use serde::{Deserialize, Deserializer, Serialize};

use super::Body;

/// One entry as it stands in the file. The order of fields is the order on the line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Entry {
    /// The version of the format.
    pub v: u32,
    /// Its number, from 0, without a gap.
    pub seq: Seq,
    /// The hash of the line before; [`EntryHash::GENESIS`] for the first.
    pub prev: EntryHash,
    /// When, by this machine's clock.
    pub at: Timestamp,
    /// The rotation that it belongs to.
    pub rotation: Option<RotationId>,
    /// Under which epoch.
    pub epoch: Option<Epoch>,
    /// Who, as `--operator` or the user's name says.
    pub operator: String,
    /// On which host.
    pub host: String,
    /// With which release of keyroll.
    pub keyroll: String,
    /// What.
    pub body: Body,
}

/// An entry to be appended; the journal adds number and chain.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "callers build it")]
pub struct Draft {
    /// When.
    pub at: Timestamp,
    /// Who, where, with which release.
    pub author: Author,
    /// The rotation that it belongs to.
    pub rotation: Option<RotationId>,
    /// Under which epoch.
    pub epoch: Option<Epoch>,
    /// What.
    pub body: Body,
}

/// Who writes.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "callers build it")]
pub struct Author {
    /// As `--operator` or the user's name says.
    pub operator: String,
    /// The host's name.
    pub host: String,
    /// The release of keyroll.
    pub version: String,
}

/// The number of an entry, from 0.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// SHA-256 over one line without its line break.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct EntryHash([u8; 32]);

impl EntryHash {
    /// What the first entry has as the hash of the line before.
    pub const GENESIS: Self = Self([0; 32]);

    /// The hash of a line.
    pub fn of_line(line: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, line);
        let mut hash = [0; 32];
        hash.copy_from_slice(digest.as_ref());
        Self(hash)
    }
}

impl fmt::Display for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryHash({self})")
    }
}

impl Serialize for EntryHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntryHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut hash = [0; 32];
        // One spelling only: a hash in capitals would be another line with the same meaning.
        if hex::decode_to_slice(&text, &mut hash).is_err() || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(serde::de::Error::custom("a hash is 64 lower-case hexadecimal digits"));
        }
        Ok(Self(hash))
    }
}

/// A point of a journal's chain that is written down elsewhere: in the store's stamp.
///
/// A rotation may be continued on another machine, which has a journal of its own. So an anchor says in whose journal it
/// stands: a journal is named by the hash of its first line.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "it travels in the stamp, whose version guards it")]
pub struct Anchor {
    /// The hash of the journal's first line.
    pub journal: EntryHash,
    /// The host on which that journal lies.
    pub host: String,
    /// The entry's number.
    pub seq: Seq,
    /// The entry's hash.
    pub head: EntryHash,
}
