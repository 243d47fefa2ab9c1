//! Reading the two files as one document, and the rule by which a write in flight counts or does not.
//!
//! Nothing here writes or locks. Two readings of the hidden file around the other reading make sure that all parts
//! belong together; a document that never stands still long enough is an error.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use keyroll_keyring::Secret;

use super::disk::{Folder, Identity, ReadError, Snapshot};
use super::hidden::{Hidden, Next, State};
use super::{Paired, Syntax};
use crate::stores::{Revision, StoreError};

/// The file that a path leads to, symlinks followed: two paths to one file share one hidden file.
pub(super) struct Target {
    pub(super) folder: Folder,
    pub(super) name: OsString,
}

/// Both files as they were at one moment.
pub(super) struct Loaded {
    /// What applications read; in the middle of an exchange that must be undone, what they will read again.
    pub(super) main: Snapshot,
    pub(super) hidden: Option<(Hidden, Snapshot)>,
    pub(super) standing: Standing,
}

/// What a write in flight amounts to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// None is in flight, or it has not happened: `current` is in force.
    Current,
    /// The exchange happened: `next` is in force.
    Next,
    /// The exchange threw out another writer's version, and the writer died before putting it back: that version is what
    /// applications should read, and `current` is in force.
    Displaced,
}

impl Target {
    pub(super) fn resolve(path: &Path) -> io::Result<Self> {
        let path = std::fs::canonicalize(path)?;
        let not_a_file = || io::Error::from(io::ErrorKind::IsADirectory);
        let name = path.file_name().ok_or_else(not_a_file)?.to_owned();
        let folder = Folder::open(path.parent().ok_or_else(not_a_file)?)?;
        Ok(Self { folder, name })
    }

    /// Whether `path` still leads here.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        std::fs::canonicalize(path).is_ok_and(|path| path == self.folder.path.join(&self.name))
    }

    pub(super) fn hidden(&self) -> OsString {
        self.beside(b"")
    }

    pub(super) fn lock(&self) -> OsString {
        self.beside(b".lock")
    }

    /// A name for a replacement: recognised by [`Self::is_temporary`] whoever made it.
    pub(super) fn temporary(&self, tag: &str, of: &str) -> OsString {
        self.beside(format!(".{tag}.{of}{TEMPORARY}").as_bytes())
    }

    pub(super) fn is_temporary(&self, name: &OsStr) -> bool {
        let mut prefix = self.hidden().into_vec();
        prefix.push(b'.');
        name.as_bytes().starts_with(&prefix) && name.as_bytes().ends_with(TEMPORARY.as_bytes())
    }

    fn beside(&self, suffix: &[u8]) -> OsString {
        let mut name = vec![b'.'];
        name.extend_from_slice(self.name.as_bytes());
        name.extend_from_slice(b".keyroll");
        name.extend_from_slice(suffix);
        OsString::from_vec(name)
    }
}

impl Loaded {
    pub(super) fn state(&self) -> State {
        match (&self.hidden, self.standing) {
            (None, _) => State::empty(),
            (Some((Hidden { next: Some(next), .. }, _)), Standing::Next) => next.state.duplicate(),
            (Some((hidden, _)), _) => hidden.current.duplicate(),
        }
    }

    pub(super) fn next(&self) -> Option<&Next> {
        self.hidden.as_ref().and_then(|(hidden, _)| hidden.next.as_ref())
    }

    pub(super) fn revision(&self) -> Revision {
        match &self.hidden {
            None => revision_without_salt(&self.main.identity),
            Some((hidden, snapshot)) => revision(
                &hidden.salt.0,
                hidden.sequence,
                &snapshot.identity,
                self.standing,
                &self.main.identity,
                self.main.bytes.expose(),
            ),
        }
    }
}

impl<S: Syntax> Paired<S> {
    /// Reads until everything belongs together.
    pub(super) fn load(&self, target: &Target) -> Result<Loaded, StoreError> {
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(PAUSE);
            }
            match self.load_once(target) {
                Ok(loaded) => return Ok(loaded),
                Err(Unsteady::Moving(err)) => last = Some(err),
                Err(Unsteady::Lasting(err)) => return Err(err),
            }
        }
        Err(last.unwrap_or_else(|| self.conflict()))
    }

    fn load_once(&self, target: &Target) -> Result<Loaded, Unsteady> {
        let folder = &target.folder;
        let hidden_name = target.hidden();
        let hidden = match folder.read(&hidden_name) {
            Ok(snapshot) => {
                let hidden = Hidden::parse(snapshot.bytes.expose())
                    .map_err(|err| Unsteady::Lasting(self.corrupt(format!("`{}`: {err}", hidden_name.display()))))?;
                Some((hidden, snapshot))
            }
            Err(ReadError::Absent { .. }) => None,
            Err(err) => return Err(self.unsteady(err)),
        };
        let main = folder.read(&target.name).map_err(|err| self.unsteady(err))?;
        if let Some((_, snapshot)) = &hidden {
            // Somebody who may create files in the folder must not be able to hand us a candidate.
            let uid = snapshot.likeness.uid;
            if uid != main.likeness.uid && uid != 0 && uid != rustix::process::geteuid().as_raw() {
                return Err(Unsteady::Lasting(self.corrupt(format!(
                    "`{}` belongs to user {uid}, who owns neither the file beside it nor the machine",
                    hidden_name.display()
                ))));
            }
        }
        let replacement = match hidden.as_ref().and_then(|(hidden, _)| hidden.next.as_ref()) {
            None => None,
            Some(next) => match folder.read(OsStr::new(&next.replacement)) {
                Ok(snapshot) => Some(snapshot),
                Err(ReadError::Absent { .. }) => None,
                Err(err) => return Err(self.unsteady(err)),
            },
        };
        self.stands_still(target, &hidden_name, hidden.as_ref().map(|(_, snapshot)| &snapshot.identity))?;
        self.stands_still(target, &target.name, Some(&main.identity))?;
        let Some((hidden, snapshot)) = hidden else {
            return Ok(Loaded { main, hidden: None, standing: Standing::Current });
        };
        let Some(next) = &hidden.next else {
            return Ok(Loaded { main, hidden: Some((hidden, snapshot)), standing: Standing::Current });
        };
        self.stands_still(target, OsStr::new(&next.replacement), replacement.as_ref().map(|file| &file.identity))?;
        let is = |file: &Snapshot, hash: &str| hash_of(&hidden.salt.0, file.bytes.expose()) == hash;
        let standing = match &replacement {
            // What was replaced lies there, so the exchange happened, whatever somebody wrote since.
            Some(old) if is(old, &next.before) => Standing::Next,
            Some(new) if is(new, &next.after) && !is(&main, &next.after) => Standing::Current,
            Some(other) if is(&main, &next.after) && !is(other, &next.after) => Standing::Displaced,
            Some(_) if is(&main, &next.before) => Standing::Current,
            Some(_) if is(&main, &next.after) => Standing::Next,
            Some(_) => {
                return Err(Unsteady::Moving(self.corrupt(format!(
                    "a write was interrupted while others wrote too, and both `{}` and `{}` hold a version that Keyroll \
                     did not write; see which is right, put it in place, and remove the other",
                    target.name.display(),
                    next.replacement
                ))));
            }
            // Gone, because a plain rename took it where files can't be exchanged, or by somebody's hand.
            None if is(&main, &next.before) => Standing::Current,
            None => Standing::Next,
        };
        let main = match (standing, replacement) {
            (Standing::Displaced, Some(displaced)) => displaced,
            _ => main,
        };
        Ok(Loaded { main, hidden: Some((hidden, snapshot)), standing })
    }

    fn stands_still(&self, target: &Target, name: &OsStr, seen: Option<&Identity>) -> Result<(), Unsteady> {
        let now = target
            .folder
            .identify(name)
            .map_err(|source| self.unsteady(ReadError::Io { name: name.to_owned(), source }))?;
        if now.as_ref() == seen { Ok(()) } else { Err(self.unsteady(ReadError::Changing { name: name.to_owned() })) }
    }

    fn unsteady(&self, err: ReadError) -> Unsteady {
        match err {
            ReadError::Changing { .. } => Unsteady::Moving(self.read_error(err)),
            err => Unsteady::Lasting(self.read_error(err)),
        }
    }
}

/// Why one reading gave nothing.
enum Unsteady {
    /// Another reading may do better.
    Moving(StoreError),
    /// It would not.
    Lasting(StoreError),
}

/// The keyed hash of the application's file. Without the salt, which never leaves the folder, nobody can test a guess.
pub(super) fn hash_of(salt: &Secret, bytes: &[u8]) -> String {
    keyed(salt, &[b"file", bytes])
}

/// The version of a document whose hidden file exists.
pub(super) fn revision(
    salt: &Secret,
    sequence: u64,
    hidden: &Identity,
    standing: Standing,
    main: &Identity,
    bytes: &[u8],
) -> Revision {
    let standing = match standing {
        Standing::Current => "current",
        Standing::Next => "next",
        Standing::Displaced => "displaced",
    };
    let facts = format!("{sequence}\n{}\n{standing}\n{}", hidden.to_text(), main.to_text());
    let hash = keyed(salt, &[b"revision", facts.as_bytes(), bytes]);
    Revision(format!("f1:{sequence}:{}", &hash[..32]))
}

/// The version of a document that Keyroll has not written yet. There is no salt, so the content has no part in it: the
/// inode and its times to the nanosecond tell versions apart.
fn revision_without_salt(main: &Identity) -> Revision {
    let hash = digest::digest(&digest::SHA256, main.to_text().as_bytes());
    Revision(format!("f0:{}", &hex::encode(hash.as_ref())[..32]))
}

fn keyed(salt: &Secret, parts: &[&[u8]]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, salt.expose());
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    hex::encode(context.sign().as_ref())
}

const TEMPORARY: &str = ".tmp";

/// A document is steady again within a few system calls of its writer; a second is for slow disks.
const ATTEMPTS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);
