//! Appending to a journal.
//!
//! [`Journal::append`] returns when the entry is on the disk, not before. After a failed write the journal refuses to go on,
//! because nobody can tell what the disk holds.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use keyroll_rotation::Effect;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::chain::{Chain, LineFault, split};
use super::{Anchor, Body, Draft, Entry, EntryHash, JOURNAL_FILE, JOURNAL_VERSION, JournalError, Seq};

/// A journal that is open for writing. One process at a time: the file is locked until this value is dropped.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    chain: Chain,
    /// The hash of every line, by its number.
    hashes: Vec<EntryHash>,
    /// Where the next line begins.
    end: u64,
    /// Bytes behind `end` that a crash left.
    torn: u64,
    host: Option<String>,
    /// The last effect that was intended, while nothing says what came of it.
    pending: Option<(Seq, Effect)>,
    health: Health,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Health {
    Sound,
    Failed,
}

impl Journal {
    /// Opens the journal in `folder`, or begins one. Reads and checks the whole chain first.
    ///
    /// A torn last line is dropped by the first append, which records it; opening alone changes nothing.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join(JOURNAL_FILE);
        let failed = |action| {
            let path = path.clone();
            move |source| JournalError::Open { path, action, source }
        };
        create_folder(folder).map_err(failed("create its folder"))?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open it"))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(JournalError::InUse { path }),
            Err(errno) => return Err(failed("lock it")(errno.into())),
        }
        // The name of a file that was just made is on the disk only after its folder was synced.
        sync_folder(folder).map_err(failed("sync its folder"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed("read it"))?;
        let (lines, torn) = split(&bytes);
        let mut chain = Chain::EMPTY;
        let mut hashes = Vec::with_capacity(lines.len());
        let mut host = None;
        let mut pending = None;
        for (index, line) in lines.iter().enumerate() {
            let entry = chain.check(line).map_err(|fault| fault_at(&path, index, &fault))?;
            host = Some(entry.host);
            pending = pending_after(pending, entry.seq, entry.body);
            chain.advance(line);
            hashes.push(chain.head);
        }
        let (end, torn) = ((bytes.len() - torn.len()) as u64, torn.len() as u64);
        Ok(Self { path, file, chain, hashes, end, torn, host, pending, health: Health::Sound })
    }

    /// Appends an entry and syncs it. The hash is the new head of the chain.
    pub fn append(&mut self, draft: Draft) -> Result<EntryHash, JournalError> {
        if self.health == Health::Failed {
            return Err(JournalError::Failed { path: self.path.clone() });
        }
        if self.torn > 0 {
            let recovered = Draft { body: Body::Recovered { bytes: self.torn }, ..draft.clone() };
            self.write(recovered)?;
        }
        self.write(draft)
    }

    /// The head of the chain, to be written into a store's stamp. `None` for a journal without entries.
    pub fn anchor(&self) -> Option<Anchor> {
        let last = self.chain.next.0.checked_sub(1)?;
        Some(Anchor { journal: self.chain.first?, host: self.host.clone()?, seq: Seq(last), head: self.chain.head })
    }

    /// Whether everything that a store vouches for is still here. To be asked before the first append: what is appended behind a
    /// loss becomes the new anchor, and then nothing outside of the file tells of the loss any more.
    ///
    /// A journal that knows more than the store is what a crash leaves. Another machine's journal is not this one's to answer for.
    pub fn holds(&self, anchor: &Anchor) -> Result<(), JournalError> {
        if self.chain.first != Some(anchor.journal) {
            return Ok(());
        }
        let path = self.path.clone();
        match usize::try_from(anchor.seq.0).ok().and_then(|seq| self.hashes.get(seq)) {
            Some(hash) if *hash == anchor.head => Ok(()),
            Some(_) => Err(JournalError::Rewritten { path, seq: anchor.seq }),
            None => Err(JournalError::CutOff { path, seq: anchor.seq, last: Seq(self.chain.next.0.saturating_sub(1)) }),
        }
    }

    /// The last effect that was intended and of which nobody has said what came: a process died in the middle of it.
    pub fn pending(&self) -> Option<&(Seq, Effect)> {
        self.pending.as_ref()
    }

    /// The number that the next entry will have, unless a recovery takes it.
    pub fn next_seq(&self) -> Seq {
        self.chain.next
    }

    /// How many bytes a crash has left behind the last good line.
    pub fn torn_bytes(&self) -> u64 {
        self.torn
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes away the right to write, as a disk that turned read-only would.
    #[cfg(test)]
    pub(super) fn break_for_test(&mut self) {
        self.file = File::open(&self.path).unwrap();
    }

    fn write(&mut self, draft: Draft) -> Result<EntryHash, JournalError> {
        let Draft { at, author, rotation, epoch, body } = draft;
        let entry = Entry {
            v: JOURNAL_VERSION,
            seq: self.chain.next,
            prev: self.chain.head,
            at,
            rotation,
            epoch,
            operator: author.operator,
            host: author.host,
            keyroll: author.version,
            body,
        };
        let mut line =
            serde_json::to_vec(&entry).map_err(|source| JournalError::Encode { path: self.path.clone(), source })?;
        line.push(b'\n');
        if let Err(source) = self.put(&line) {
            self.health = Health::Failed;
            return Err(JournalError::Io { path: self.path.clone(), action: "write and sync an entry", source });
        }
        self.chain.advance(&line[..line.len() - 1]);
        self.hashes.push(self.chain.head);
        self.host = Some(entry.host);
        self.pending = pending_after(self.pending.take(), entry.seq, entry.body);
        self.end += line.len() as u64;
        self.torn = 0;
        Ok(self.chain.head)
    }

    /// Writes over torn bytes first and cuts off what is left of them afterwards: a crash in between leaves a torn tail
    /// again, and never a file in which the tail has vanished without an entry.
    fn put(&self, line: &[u8]) -> io::Result<()> {
        self.file.write_all_at(line, self.end)?;
        if self.torn > 0 {
            self.file.set_len(self.end + line.len() as u64)?;
        }
        self.file.sync_all()
    }
}

fn pending_after(before: Option<(Seq, Effect)>, seq: Seq, body: Body) -> Option<(Seq, Effect)> {
    match body {
        Body::Intent { effect, .. } => Some((seq, effect)),
        Body::Done { intent, .. } | Body::Failed { intent, .. } => before.filter(|(pending, _)| *pending != intent),
        _ => before,
    }
}

pub(super) fn fault_at(path: &Path, index: usize, fault: &LineFault) -> JournalError {
    let (path, line) = (path.to_owned(), index as u64 + 1);
    match fault {
        LineFault::Newer(found) => JournalError::Newer { path, line, found: *found },
        LineFault::Unreadable(_) | LineFault::Number { .. } | LineFault::Link => {
            JournalError::Corrupt { path, line, reason: fault.to_string() }
        }
    }
}

/// Makes the folder and those above it, private to the user, and syncs each one's parent. A folder that exists keeps its
/// mode: a team may share it on purpose.
fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_folder(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {}
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        Err(err) => return Err(err),
    }
    sync_folder(parent.unwrap_or_else(|| Path::new(".")))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
