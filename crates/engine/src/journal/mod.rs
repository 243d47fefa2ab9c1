//! The journal: what was intended, what was done, who decided it, and what each gate saw; also the audit record.
//!
//! Nothing is taken back: an entry that was appended is on the disk before the effect that it announces. The last line of
//! a file may be torn by a crash; that line was never confirmed to anybody, so dropping it loses nothing, and the drop is
//! an entry of its own. Anything else that can't be read stops with an error.

pub mod audit;
mod body;
mod chain;
mod entry;
mod export;
mod history;
mod reader;
mod words;
mod writer;

use std::path::PathBuf;

pub use body::{
    Body, Completion, ConfigurationSight, GateEvidence, GateOutcome, HumanAction, KeyMark, MemberProof, Reason,
    UnknownReason, Why,
};
pub use entry::{Anchor, Author, Draft, Entry, EntryHash, Seq};
pub use export::{ExportFormat, UnknownFormat, export};
pub use history::{Deviation, Ending, HistoryRow, history};
pub use reader::{JournalReader, Record};
pub use writer::Journal;

/// The name of the file within the state folder.
pub const JOURNAL_FILE: &str = "journal.jsonl";

/// The version of the format that this release writes. It reads every version up to it.
pub const JOURNAL_VERSION: u32 = 1;

/// Why the journal can't be used. No variant means "there is no state" except [`JournalError::Absent`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// There is no journal here. Only readers say so; a writer begins one.
    #[error("there is no journal at `{}`; nothing was ever rotated from this machine under this name", path.display())]
    Absent {
        /// Where it would be.
        path: PathBuf,
    },
    /// Another process writes to it.
    #[error("`{}` is in use by another keyroll process on this host; nothing was changed; `keyroll status` shows which", path.display())]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// A later release wrote it.
    #[error("`{}` line {line} has version {found}, and this release of keyroll reads versions up to {JOURNAL_VERSION}; nothing was changed; use the newer release", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// The version found.
        found: u64,
    },
    /// A line that is not the last can't be understood, or the chain is broken there.
    #[error("`{}` line {line} can't be trusted: {reason}; nothing was changed; `keyroll audit verify` shows all damage, a backup restores the file", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A store vouches for entries that are not there.
    #[error("`{}` ends with entry {last}, and a store points at entry {seq}: its end was cut off, or an older copy was put in its place; nothing was changed; `keyroll audit verify` shows what is missing; put the file back from a backup, or move it away and keep it, then the record goes on in a new file that says so", path.display())]
    CutOff {
        /// Which file.
        path: PathBuf,
        /// The number of the entry that the store points at.
        seq: Seq,
        /// The number of the last entry that is there.
        last: Seq,
    },
    /// A store vouches for another entry than the one that is there.
    #[error("entry {seq} of `{}` is not the one that a store points at: it, or one before it, was changed; nothing was changed now; `keyroll audit verify` shows it; put the file back from a backup, or move it away and keep it, then the record goes on in a new file that says so", path.display())]
    Rewritten {
        /// Which file.
        path: PathBuf,
        /// The entry's number.
        seq: Seq,
    },
    /// The system refused.
    #[error("`{}`: can't {action}; the last entry may not be on disk, so nothing further is done", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It can't be opened, so nothing was begun.
    #[error("`{}`: can't {action}; nothing was changed; name a folder of yours with `--state-dir`, or make this one writable", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An append failed before, so what is on the disk is not known.
    #[error("`{}`: an earlier write failed, so what is on disk is not known; nothing was written; start keyroll again", path.display())]
    Failed {
        /// Which file.
        path: PathBuf,
    },
    /// An entry can't be written as JSON.
    #[error("an entry for `{}` can't be encoded; nothing was written", path.display())]
    Encode {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// The rotation's and the adapters' milliseconds as a point in time; `None` beyond the calendar's end.
pub fn moment(at: keyroll_rotation::Millis) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()
}

#[cfg(test)]
mod tests;
