//! Reading a journal while somebody else may be writing it.
//!
//! A reader takes no lock and changes nothing. What it finds behind the last line break may be an entry that is being
//! written right now, so it is counted and left alone.

use std::io;
use std::path::{Path, PathBuf};

use super::chain::{Chain, split};
use super::writer::fault_at;
use super::{Anchor, Entry, EntryHash, JOURNAL_FILE, JournalError, Seq};

/// A journal's content at one moment.
#[derive(Clone, Debug)]
pub struct JournalReader {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// One entry with its hash.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// The entry.
    pub entry: Entry,
    /// Its hash.
    pub hash: EntryHash,
}

impl JournalReader {
    /// Reads the journal in `folder`.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join(JOURNAL_FILE);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Self { path, bytes }),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Err(JournalError::Absent { path }),
            Err(source) => Err(JournalError::Io { path, action: "read it", source }),
        }
    }

    /// All entries, with the chain checked. An entry that can't be trusted is an error, never left out.
    pub fn records(&self) -> Result<Vec<Record>, JournalError> {
        let (lines, _torn) = split(&self.bytes);
        let mut chain = Chain::EMPTY;
        lines
            .iter()
            .enumerate()
            .map(|(index, line)| {
                let entry = chain.check(line).map_err(|fault| fault_at(&self.path, index, &fault))?;
                chain.advance(line);
                Ok(Record { entry, hash: chain.head })
            })
            .collect()
    }

    /// The head of the chain as it stands, unless the chain is broken or empty.
    pub fn anchor(&self) -> Result<Option<Anchor>, JournalError> {
        let records = self.records()?;
        Ok(records.first().zip(records.last()).map(|(first, last)| Anchor {
            journal: first.hash,
            host: last.entry.host.clone(),
            seq: Seq(last.entry.seq.0),
            head: last.hash,
        }))
    }

    /// How many bytes stand behind the last complete line.
    pub fn torn_bytes(&self) -> u64 {
        split(&self.bytes).1.len() as u64
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
