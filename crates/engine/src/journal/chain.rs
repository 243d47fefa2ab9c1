//! Walking over the lines of a journal: where each begins, what it hashes to, whether it follows the one before.
//!
//! A line ends with a line break. Bytes after the last line break are torn: whoever wrote them never came to the sync.

use serde::Deserialize;

use super::{Entry, EntryHash, JOURNAL_VERSION, Seq};

/// What is known after a number of good lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    /// The hash of the first line.
    pub(super) first: Option<EntryHash>,
    /// The hash of the last line.
    pub(super) head: EntryHash,
    /// The number of the next entry.
    pub(super) next: Seq,
}

impl Chain {
    pub(super) const EMPTY: Self = Self { first: None, head: EntryHash::GENESIS, next: Seq(0) };

    /// Checks a line (without its line break) against what came before it.
    pub(super) fn check(&self, line: &[u8]) -> Result<Entry, LineFault> {
        let entry = read_line(line)?;
        if entry.seq != self.next {
            return Err(LineFault::Number { expected: self.next, found: entry.seq });
        }
        if entry.prev != self.head {
            return Err(LineFault::Link);
        }
        Ok(entry)
    }

    /// Takes a line as the last one.
    pub(super) fn advance(&mut self, line: &[u8]) {
        self.head = EntryHash::of_line(line);
        self.first.get_or_insert(self.head);
        self.next = self.next.next();
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum LineFault {
    #[error("it is not a journal entry ({0})")]
    Unreadable(String),
    #[error("it has version {0}, which is newer than this release reads")]
    Newer(u64),
    #[error("it has number {found} where {expected} must stand: an entry was removed, added or moved")]
    Number { expected: Seq, found: Seq },
    #[error("it does not follow from the line before: one of the two was changed")]
    Link,
}

/// Reads one line by itself.
pub(super) fn read_line(line: &[u8]) -> Result<Entry, LineFault> {
    #[derive(Deserialize)]
    struct Version {
        v: u64,
    }
    // serde's message tells position and expectation; it repeats a field's name at most, never a value of the record.
    let unreadable = |err: serde_json::Error| {
        LineFault::Unreadable(format!("{:?} error at column {}", err.classify(), err.column()))
    };
    let version: Version = serde_json::from_slice(line).map_err(unreadable)?;
    if version.v > u64::from(JOURNAL_VERSION) {
        return Err(LineFault::Newer(version.v));
    }
    if version.v == 0 {
        return Err(LineFault::Unreadable("there is no version 0".to_owned()));
    }
    serde_json::from_slice(line).map_err(unreadable)
}

/// The complete lines of a journal's bytes, and the torn rest.
pub(super) fn split(bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let (complete, torn) = bytes.split_at(end);
    let lines = complete.split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1]).collect();
    (lines, torn)
}
