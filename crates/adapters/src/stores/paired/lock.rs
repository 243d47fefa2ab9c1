//! One Keyroll at a time: an advisory lock on a file beside the document.
//!
//! The lock keeps Keyroll processes from undoing each other's work in progress. It is not what makes a write safe
//! against others: that is the exchange, and what is looked at after it.

use std::fs::File;
use std::io;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use super::disk::{Call, DiskError, Identity};
use super::load::Target;
use super::{Paired, Syntax};
use crate::stores::StoreError;

/// Held while it lives.
pub(super) struct Lock {
    _file: File,
}

impl<S: Syntax> Paired<S> {
    /// Waits for the lock, but not forever.
    pub(super) fn lock(&self, target: &Target) -> Result<Lock, StoreError> {
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(PAUSE);
            }
            let file = self.open_lock(target)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK | Errno::INTR) => continue,
                Err(errno) => return Err(self.lock_error(target, errno.into())),
            }
            // Somebody may have removed the file between our opening and locking it; then we hold a lock on nothing.
            let mine = Identity::of_file(&file).map_err(|err| self.lock_error(target, err))?;
            let there = target.folder.identify(&target.lock()).map_err(|err| self.lock_error(target, err))?;
            if there.is_some_and(|there| there.same_file(&mine)) {
                return Ok(Lock { _file: file });
            }
        }
        Err(StoreError::Unavailable {
            location: self.location(),
            source: format!("another process has held the lock file `{}` for long", target.lock().display()).into(),
        })
    }

    fn open_lock(&self, target: &Target) -> Result<File, StoreError> {
        let name = target.lock();
        loop {
            match target.folder.open_existing(&name, OFlags::RDONLY | OFlags::NONBLOCK) {
                Ok(Some(file)) => return Ok(file),
                Ok(None) => {}
                Err(err) => return Err(self.lock_error(target, err)),
            }
            // Like the application's file, so that whoever may rotate its key may also lock.
            let like = target.folder.read(&target.name).map_err(|err| self.read_error(err))?.likeness;
            match self.disk.create(&target.folder, &name, &like) {
                Ok(file) => return Ok(file),
                Err(DiskError { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(err) => return Err(self.unwritable(err)),
            }
        }
    }

    fn lock_error(&self, target: &Target, source: io::Error) -> StoreError {
        self.unwritable(DiskError { call: Call::Create, name: target.lock(), source })
    }
}

/// Ten seconds: a write takes milliseconds, and a stopped process should be heard of.
const ATTEMPTS: u32 = 2000;
const PAUSE: Duration = Duration::from_millis(5);
