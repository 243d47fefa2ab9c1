//! Two files that are one document: the file that applications read, and a hidden one beside it.
//!
//! No file system replaces two files in one step, so the hidden file is written twice around the other one: first it
//! says what is about to happen, with keyed hashes of the application's file before and after; then the application's
//! file is exchanged, and that one step is the moment of the write; then the hidden file is settled. Whoever reads in
//! between, or after a crash, compares hashes and knows which half is in force. Reading never writes and takes no lock.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use keyroll_keyring::{FieldName, Fields, Secret};
use rustix::fs::{OFlags, Timespec, Timestamps, UTIME_NOW};

use self::disk::{Call, Disk, DiskError, Identity, ReadError};
use self::hidden::State;
use self::load::Target;
use crate::Timestamp;
use crate::stores::{Document, Residue, Revision, StoreDescription, StoreError, SwapStrength, Versioned, WriteOutlook};

mod commit;
mod disk;
mod hidden;
mod load;
mod lock;
mod residue;
#[cfg(test)]
mod tests;

/// A document in two files, for a syntax of the application's file.
pub(super) struct Paired<S> {
    path: PathBuf,
    syntax: S,
    disk: Disk,
}

/// How the application's file holds the fields. Pure: it gets the file's bytes.
pub(super) trait Syntax: Send + Sync + 'static {
    /// The kind of store, as `keyroll.yaml` writes it.
    fn kind(&self) -> &'static str;

    /// The owned fields.
    fn fields(&self) -> Vec<FieldName>;

    /// Finds every owned field.
    fn read(&self, bytes: &[u8]) -> Result<Fields, SyntaxError>;

    /// The same file with other values, and every other byte as it was. `fields` names every owned field and no other.
    fn edit(&self, bytes: &[u8], fields: &Fields) -> Result<Secret, SyntaxError>;
}

/// Why a syntax can't do it. Never holds a value.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum SyntaxError {
    /// The file as it is can't be understood.
    Unreadable(String),
    /// The file can't hold what is to be written.
    Refused(String),
}

impl<S: Syntax> Paired<S> {
    pub(super) fn new(path: PathBuf, syntax: S) -> Self {
        Self { path, syntax, disk: Disk::new() }
    }

    #[cfg(test)]
    pub(super) fn with_faults(path: PathBuf, syntax: S, faults: Arc<dyn disk::Faults>) -> Self {
        Self { path, syntax, disk: Disk::with_faults(faults) }
    }

    pub(super) fn describe(&self) -> StoreDescription {
        let hidden = match self.target() {
            Ok(target) => target.folder.path.join(target.hidden()).display().to_string(),
            Err(_) => "`.<name>.keyroll` beside it".to_owned(),
        };
        StoreDescription {
            kind: self.syntax.kind(),
            location: self.location(),
            fields: self.syntax.fields(),
            swap: self.swap_strength(),
            hidden: format!(
                "`{hidden}`, with the mode, owner and access list of the file beside it: a candidate until it is \
                 promoted or given up, copies of the keys in use until the rotation is closed, an escrowed key until the date on which it is to be destroyed; then it is gone \
                 from the folder (its blocks are freed, not overwritten)"
            ),
        }
    }

    pub(super) async fn read(self: &Arc<Self>) -> Result<Versioned, StoreError> {
        self.blocking("read", |this| {
            let loaded = this.load(&this.target()?)?;
            let fields = this.fields_of(loaded.main.bytes.expose())?;
            let revision = loaded.revision();
            let state = loaded.state();
            let document = Document { fields, pending: state.pending(), escrow: state.escrow(), stamp: state.stamp() };
            Ok(Versioned { document, revision })
        })
        .await
    }

    pub(super) async fn write(
        self: &Arc<Self>,
        document: &Document,
        expect: &Revision,
    ) -> Result<Revision, StoreError> {
        self.check_fields(&document.fields)?;
        let fields = duplicate(&document.fields);
        let state = State::of(document);
        let expect = expect.clone();
        self.blocking("write", move |this| this.commit(&fields, state, &expect)).await
    }

    /// Whether files can be made in the folder: a read-only file system, or a folder of somebody else. A full disk shows by a write only.
    pub(super) async fn may_write(self: &Arc<Self>) -> Result<WriteOutlook, StoreError> {
        self.blocking("read", |this| {
            let target = this.target()?;
            match target.folder.may_write() {
                Ok(()) => Ok(WriteOutlook::Allowed),
                Err(source) => Err(this.unwritable(DiskError { call: Call::Create, name: target.name, source })),
            }
        })
        .await
    }

    /// The file system's clock, read off the lock file, which is the same for every host that shares the folder. Whoever
    /// may not write there gets the host's clock: such a caller can't stamp a T0 nor act on one.
    pub(super) async fn now(self: &Arc<Self>) -> Result<Timestamp, StoreError> {
        self.blocking("read", |this| {
            let target = this.target()?;
            let touched = match target.folder.open_existing(&target.lock(), OFlags::RDONLY | OFlags::NONBLOCK) {
                Ok(Some(file)) => {
                    // Both times to now: that alone is allowed to whoever may write the file, not to its owner only.
                    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
                    rustix::fs::futimens(&file, &Timestamps { last_access: now, last_modification: now })
                        .map_err(io::Error::from)
                        .and_then(|()| Identity::of_file(&file))
                        .ok()
                }
                // No lock file: nobody has ever written here, so there is no T0 to compare with.
                Ok(None) | Err(_) => None,
            };
            Ok(touched.map_or_else(host_clock, |identity| Timestamp(identity.modified_millis())))
        })
        .await
    }

    pub(super) async fn sweep(self: &Arc<Self>) -> Result<Vec<String>, StoreError> {
        self.blocking("write", |this| this.sweep_now()).await
    }

    pub(super) async fn residue(self: &Arc<Self>, material: &[&Secret]) -> Result<Residue, StoreError> {
        let material: Vec<Secret> = material.iter().map(|secret| secret.duplicate()).collect();
        self.blocking("read", move |this| this.search(&material)).await
    }

    /// File systems block, and a lock may be waited for: never on a thread of the async runtime. If the caller goes away
    /// in the middle, the work is finished all the same.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        action: &'static str,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let this = Arc::clone(self);
        match tokio::task::spawn_blocking(move || work(&this)).await {
            Ok(result) => result,
            Err(source) if action == "write" => {
                Err(StoreError::Uncertain { location: self.location(), source: source.into() })
            }
            Err(source) => Err(StoreError::Unavailable { location: self.location(), source: source.into() }),
        }
    }

    fn location(&self) -> String {
        format!("`{}`", self.path.display())
    }

    fn target(&self) -> Result<Target, StoreError> {
        Target::resolve(&self.path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StoreError::NotFound { location: self.location() },
            _ => self.unreadable(source.raw_os_error(), Box::new(source)),
        })
    }

    fn fields_of(&self, bytes: &[u8]) -> Result<Fields, StoreError> {
        self.syntax.read(bytes).map_err(|err| self.syntax_error(err))
    }

    fn check_fields(&self, fields: &Fields) -> Result<(), StoreError> {
        let owned = self.syntax.fields();
        if let Some(stranger) = fields.0.keys().find(|name| !owned.contains(name)) {
            return Err(self.refused(format!("`{}` is not a field that Keyroll owns here", stranger.0)));
        }
        if let Some(missing) = owned.iter().find(|name| !fields.0.contains_key(name)) {
            return Err(self.refused(format!("nothing was said about the field `{}`", missing.0)));
        }
        Ok(())
    }

    fn swap_strength(&self) -> SwapStrength {
        let known = self.target().and_then(|target| {
            target.folder.file_system().map_err(|source| self.unreadable(source.raw_os_error(), Box::new(source)))
        });
        match known {
            Ok(magic) if EXCHANGING.contains(&magic) => SwapStrength::Atomic,
            _ => SwapStrength::Advisory {
                gap: "this file system is not known to exchange two files in one step; where it can't, a writer who \
                      does not take Keyroll's lock can slip between the last look at the file and its replacement"
                    .to_owned(),
            },
        }
    }

    fn corrupt(&self, reason: impl fmt::Display) -> StoreError {
        StoreError::Corrupt { location: self.location(), reason: reason.to_string() }
    }

    fn refused(&self, reason: String) -> StoreError {
        StoreError::Refused { location: self.location(), reason }
    }

    fn conflict(&self) -> StoreError {
        StoreError::Conflict { location: self.location() }
    }

    fn syntax_error(&self, err: SyntaxError) -> StoreError {
        match err {
            SyntaxError::Unreadable(reason) => self.corrupt(reason),
            SyntaxError::Refused(reason) => self.refused(reason),
        }
    }

    fn read_error(&self, err: ReadError) -> StoreError {
        match err {
            ReadError::Absent { .. } => StoreError::NotFound { location: self.location() },
            ReadError::NotRegular { .. } | ReadError::TooLarge { .. } => self.corrupt(err),
            ReadError::Changing { .. } => StoreError::Unavailable { location: self.location(), source: err.into() },
            ReadError::Io { ref source, .. } => self.unreadable(source.raw_os_error(), err.into()),
        }
    }

    fn unreadable(&self, errno: Option<i32>, source: crate::stores::BoxError) -> StoreError {
        let location = self.location();
        match errno.map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => {
                StoreError::Denied { action: "read", location, source }
            }
            Some(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR | rustix::io::Errno::ISDIR) => {
                self.corrupt("its path does not lead to a file")
            }
            _ => StoreError::Unavailable { location, source },
        }
    }

    /// A call failed before anything that applications or Keyroll read was touched.
    fn unwritable(&self, err: DiskError) -> StoreError {
        use rustix::io::Errno;
        let location = self.location();
        match err.source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::ACCESS | Errno::PERM) => StoreError::Denied { action: "write", location, source: err.into() },
            Some(Errno::STALE | Errno::TIMEDOUT | Errno::INTR | Errno::AGAIN) => {
                StoreError::Unavailable { location, source: err.into() }
            }
            _ => StoreError::Unwritable { location, source: err.into() },
        }
    }

    fn uncertain(&self, source: impl Into<crate::stores::BoxError>) -> StoreError {
        StoreError::Uncertain { location: self.location(), source: source.into() }
    }
}

fn duplicate(fields: &Fields) -> Fields {
    Fields(fields.0.iter().map(|(name, value)| (name.clone(), value.as_ref().map(Secret::duplicate))).collect())
}

fn host_clock() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "a store has a clock of its own, and on one host this is it")]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// File systems whose driver exchanges two names (`RENAME_EXCHANGE`), by their magic numbers: ext2 to ext4, XFS, Btrfs,
/// tmpfs, F2FS, overlay, bcachefs.
const EXCHANGING: [u64; 7] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0xF2F5_2010, 0x794C_7630, 0xCA45_1A4E];
