//! Writing the two files: the order of the steps, what is looked at between them, and the way back.
//!
//! All bytes are on disk before the first name changes hands, so a full disk is found out while nothing has happened.
//! From then on there are only renames, each of which a crash may follow.

use std::ffi::{OsStr, OsString};
use std::io;

use aws_lc_rs::rand::SecureRandom;
use keyroll_keyring::{Fields, Secret};
use rustix::io::Errno;

use super::disk::{DiskError, Prepared, ReadError, Snapshot};
use super::hidden::{self, Next, State};
use super::load::{self, Loaded, Standing, Target};
use super::{Paired, Syntax, SyntaxError};
use crate::stores::{Revision, StoreError};

impl<S: Syntax> Paired<S> {
    /// Replaces the document if it is still at `expect`.
    pub(super) fn commit(&self, fields: &Fields, state: State, expect: &Revision) -> Result<Revision, StoreError> {
        let target = self.target()?;
        let _lock = self.lock(&target)?;
        let mut loaded = self.load(&target)?;
        if loaded.revision() != *expect {
            return Err(self.conflict());
        }
        if loaded.next().is_some() {
            // A writer died. What the caller saw is what is in force, and stays so; only the files get in order.
            self.settle(&target, &loaded)?;
            loaded = self.load(&target)?;
        }
        if loaded.main.links > 1 {
            return Err(self.refused(format!(
                "the file has {} hard links; replacing it would leave the other names on the old content",
                loaded.main.links
            )));
        }
        let text = self.edit(&loaded, fields)?;
        if text.ct_eq(&loaded.main.bytes) {
            self.commit_hidden(&target, &loaded, &state)
        } else {
            self.commit_both(&target, &loaded, &text, state)
        }
    }

    /// Settles what a writer that died left in flight, and removes its replacements.
    pub(super) fn sweep_now(&self) -> Result<Vec<String>, StoreError> {
        let target = self.target()?;
        let loaded = self.load(&target)?;
        if loaded.next().is_none() && self.temporaries(&target)?.is_empty() {
            // Nothing to do, and so nothing to lock: a folder that can't be written is swept as well as any other.
            return Ok(Vec::new());
        }
        let _lock = self.lock(&target)?;
        let loaded = self.load(&target)?;
        let mut removed: Vec<_> = self.temporaries(&target)?;
        if loaded.next().is_some() {
            self.settle(&target, &loaded)?;
        }
        let left = self.temporaries(&target)?;
        self.remove(&target, &left).map_err(|err| self.unwritable(err))?;
        removed.retain(|name| left.contains(name));
        Ok(removed.iter().map(|name| target.folder.path.join(name).display().to_string()).collect())
    }

    /// The new content of the application's file, read back before it is believed.
    fn edit(&self, loaded: &Loaded, fields: &Fields) -> Result<Secret, StoreError> {
        let text = self.syntax.edit(loaded.main.bytes.expose(), fields).map_err(|err| self.syntax_error(err))?;
        let back = self.syntax.read(text.expose()).map_err(|err| match err {
            SyntaxError::Unreadable(reason) | SyntaxError::Refused(reason) => self.refused(reason),
        })?;
        if same_fields(&back, fields) {
            Ok(text)
        } else {
            Err(self.refused("the values would not read back as they were given".to_owned()))
        }
    }

    /// A write that applications do not see: the hidden file alone.
    fn commit_hidden(&self, target: &Target, loaded: &Loaded, state: &State) -> Result<Revision, StoreError> {
        let tag = self.tag()?;
        let (salt, sequence) = self.salt_and_sequence(loaded)?;
        let name = target.temporary(&tag, "settled");
        let text = self.render(sequence + 1, &salt, state, None)?;
        let before_any_rename = |err| {
            // What can't be removed now is swept later; the error that matters is the first.
            let _ = self.remove(target, std::slice::from_ref(&name));
            self.unwritable(err)
        };
        let settled =
            self.disk.prepare(&target.folder, name.clone(), &text, &loaded.main.likeness).map_err(before_any_rename)?;
        match self.install_hidden(target, &settled, loaded) {
            Ok(()) => {}
            Err(SwapError::Foreign) => {
                let _ = self.remove(target, &[name]);
                return Err(self.conflict());
            }
            Err(SwapError::NotDone(err)) => return Err(before_any_rename(err)),
            Err(SwapError::Stuck(err)) => return Err(self.uncertain(err)),
        }
        self.disk.sync_folder(&target.folder).map_err(|err| self.uncertain(err))?;
        self.remove(target, &[name]).map_err(|err| self.uncertain(err))?;
        let hidden = settled.identity().map_err(|err| self.uncertain(err))?;
        let main = &loaded.main;
        Ok(load::revision(&salt, sequence + 1, &hidden, Standing::Current, &main.identity, main.bytes.expose()))
    }

    /// A write that applications see.
    fn commit_both(
        &self,
        target: &Target,
        loaded: &Loaded,
        text: &Secret,
        state: State,
    ) -> Result<Revision, StoreError> {
        let tag = self.tag()?;
        let (salt, sequence) = self.salt_and_sequence(loaded)?;
        let names = [target.temporary(&tag, "main"), target.temporary(&tag, "next"), target.temporary(&tag, "settled")];
        let [main_name, next_name, settled_name] = names.clone();
        let next = Next {
            state,
            before: load::hash_of(&salt, loaded.main.bytes.expose()),
            after: load::hash_of(&salt, text.expose()),
            replacement: main_name
                .to_str()
                .map(str::to_owned)
                .ok_or_else(|| self.refused("the name of the file is not valid UTF-8".to_owned()))?,
        };
        let next_text = self.render(sequence + 1, &salt, &loaded.state(), Some(&next))?;
        let settled_text = self.render(sequence + 2, &salt, &next.state, None)?;

        let before_any_rename = |err| {
            // What can't be removed now is swept later; the error that matters is the first.
            let _ = self.remove(target, &names);
            self.unwritable(err)
        };
        let prepare = |name, bytes: &[u8]| {
            self.disk.prepare(&target.folder, name, bytes, &loaded.main.likeness).map_err(before_any_rename)
        };
        let main = prepare(main_name, text.expose())?;
        let next_file = prepare(next_name, &next_text)?;
        let settled = prepare(settled_name, &settled_text)?;

        // 1. The hidden file says what is about to happen. It must be on disk before the exchange can be.
        match self.install_hidden(target, &next_file, loaded) {
            Ok(()) => {}
            Err(SwapError::Foreign) => {
                let _ = self.remove(target, &names);
                return Err(self.conflict());
            }
            Err(SwapError::NotDone(err)) => return Err(before_any_rename(err)),
            Err(SwapError::Stuck(err)) => return Err(self.uncertain(err)),
        }
        if let Err(err) = self.disk.sync_folder(&target.folder) {
            self.give_up(target);
            return Err(self.unwritable(err));
        }

        // 2. The application's file changes: this step is the write.
        let swapped = match self.swap(target, &main, &target.name, |found| unchanged(found, &loaded.main)) {
            Ok(swapped) => swapped,
            Err(SwapError::Foreign) => {
                self.give_up(target);
                return Err(self.conflict());
            }
            Err(SwapError::NotDone(err)) => {
                self.give_up(target);
                return Err(self.unwritable(err));
            }
            Err(SwapError::Stuck(err)) => return Err(self.uncertain(err)),
        };
        self.disk.sync_folder(&target.folder).map_err(|err| self.uncertain(err))?;
        match swapped {
            // Whoever had the old file open for writing has had the time of a sync to finish; and a link that was
            // pointed elsewhere meanwhile is somebody's write too.
            Swapped::Exchanged => {
                let old = self.disk.look(&target.folder, &main.name).map_err(|err| self.uncertain(err))?;
                if !unchanged(&old, &loaded.main) || !target.is_at(&self.path) {
                    self.put_back(target, &main.name, &target.name, |found| main.is(found))
                        .map_err(|err| self.uncertain(err))?;
                    self.give_up(target);
                    return Err(self.conflict());
                }
            }
            Swapped::Renamed if !target.is_at(&self.path) => {
                return Err(self.uncertain("the link was pointed elsewhere during the write"));
            }
            Swapped::Renamed => {}
        }

        // 3. The hidden file is settled. A failure leaves the document written, and the next reader sees that it is.
        match self
            .swap(target, &settled, &target.hidden(), |found| found.as_ref().is_ok_and(|found| next_file.is(found)))
        {
            Ok(_) => {}
            Err(SwapError::Foreign) => return Err(self.uncertain("the hidden file was changed by somebody else")),
            Err(SwapError::NotDone(err) | SwapError::Stuck(err)) => return Err(self.uncertain(err)),
        }
        self.disk.sync_folder(&target.folder).map_err(|err| self.uncertain(err))?;
        self.remove(target, &names).map_err(|err| self.uncertain(err))?;

        let hidden = settled.identity().map_err(|err| self.uncertain(err))?;
        let main = main.identity().map_err(|err| self.uncertain(err))?;
        Ok(load::revision(&salt, sequence + 2, &hidden, Standing::Current, &main, text.expose()))
    }

    /// Puts the files in order after a writer that died: what is in force stays in force.
    fn settle(&self, target: &Target, loaded: &Loaded) -> Result<(), StoreError> {
        let (Some((hidden, _)), Some(next)) = (&loaded.hidden, loaded.next()) else { return Ok(()) };
        if loaded.standing == Standing::Displaced {
            let ours = |found: &Snapshot| load::hash_of(&hidden.salt.0, found.bytes.expose()) == next.after;
            self.put_back(target, OsStr::new(&next.replacement), &target.name, ours)
                .and_then(|()| self.disk.sync_folder(&target.folder))
                .map_err(|err| self.uncertain(err))?;
        }
        let text = self.render(hidden.sequence + 1, &hidden.salt.0, &loaded.state(), None)?;
        let name = target.temporary(&self.tag()?, "settled");
        let settled = self
            .disk
            .prepare(&target.folder, name, &text, &loaded.main.likeness)
            .map_err(|err| self.unwritable(err))?;
        match self.install_hidden(target, &settled, loaded) {
            Ok(()) => {}
            Err(SwapError::Foreign) => return Err(self.conflict()),
            Err(SwapError::NotDone(err)) => return Err(self.unwritable(err)),
            Err(SwapError::Stuck(err)) => return Err(self.uncertain(err)),
        }
        // The replacement may hold the only copy of a key until the settled file is on disk.
        self.disk.sync_folder(&target.folder).map_err(|err| self.uncertain(err))?;
        self.remove(target, &self.temporaries(target)?).map_err(|err| self.uncertain(err))
    }

    /// Settles a write that did not happen, as far as that goes: what is left undone here is done by a sweep, and until
    /// then every reader sees that it did not happen.
    fn give_up(&self, target: &Target) {
        if let Ok(loaded) = self.load(target) {
            let _ = self.settle(target, &loaded);
        }
    }

    /// Puts a new hidden file in the place of the one that was read, or where none was.
    fn install_hidden(&self, target: &Target, prepared: &Prepared, loaded: &Loaded) -> Result<(), SwapError> {
        let name = target.hidden();
        match &loaded.hidden {
            Some((_, snapshot)) => self.swap(target, prepared, &name, |found| unchanged(found, snapshot)).map(|_| ()),
            None => match self.disk.rename_new(&target.folder, prepared, &name) {
                Ok(()) => Ok(()),
                Err(err) if err.source.kind() == io::ErrorKind::AlreadyExists => Err(SwapError::Foreign),
                Err(err) if is_unsupported(&err) => match target.folder.identify(&name) {
                    Ok(None) => {
                        self.disk.rename_over(&target.folder, &prepared.name, &name).map_err(SwapError::NotDone)
                    }
                    Ok(Some(_)) => Err(SwapError::Foreign),
                    Err(_) => Err(SwapError::NotDone(err)),
                },
                Err(err) => Err(SwapError::NotDone(err)),
            },
        }
    }

    /// Puts `prepared` in the place of `name` if `expected` comes out; else what came out goes back.
    fn swap(
        &self,
        target: &Target,
        prepared: &Prepared,
        name: &OsStr,
        expected: impl Fn(&Result<Snapshot, ReadError>) -> bool,
    ) -> Result<Swapped, SwapError> {
        match self.disk.exchange(&target.folder, &prepared.name, name) {
            Ok(()) => {
                let out = self.disk.look(&target.folder, &prepared.name).map_err(SwapError::Stuck)?;
                if expected(&out) {
                    return Ok(Swapped::Exchanged);
                }
                self.put_back(target, &prepared.name, name, |found| prepared.is(found)).map_err(SwapError::Stuck)?;
                Err(SwapError::Foreign)
            }
            // Somebody removed the file: there is nothing to exchange with, and nothing was touched.
            Err(err) if err.source.kind() == io::ErrorKind::NotFound => Err(SwapError::Foreign),
            Err(err) if is_unsupported(&err) => {
                let there = self.disk.look(&target.folder, name).map_err(SwapError::NotDone)?;
                if !expected(&there) {
                    return Err(SwapError::Foreign);
                }
                self.disk.rename_over(&target.folder, &prepared.name, name).map_err(SwapError::NotDone)?;
                Ok(Swapped::Renamed)
            }
            Err(err) => Err(SwapError::NotDone(err)),
        }
    }

    /// Puts what an exchange brought out (now under `from`) back in its place, until what comes out is ours: if others
    /// keep writing meanwhile, the last of them stays in place.
    fn put_back(
        &self,
        target: &Target,
        from: &OsStr,
        name: &OsStr,
        is_ours: impl Fn(&Snapshot) -> bool,
    ) -> Result<(), DiskError> {
        loop {
            match self.disk.exchange(&target.folder, from, name) {
                Ok(()) => match self.disk.look(&target.folder, from)? {
                    Ok(found) if is_ours(&found) => return Ok(()),
                    // Another writer's once more, or one that is being written right now.
                    Ok(_) | Err(_) => {}
                },
                Err(err) if err.source.kind() == io::ErrorKind::NotFound => {
                    // Somebody removed ours. The other writer's version must not be lost with it.
                    return self.disk.rename_over(&target.folder, from, name);
                }
                Err(err) => return Err(err),
            }
        }
    }

    fn temporaries(&self, target: &Target) -> Result<Vec<OsString>, StoreError> {
        let mut names =
            target.folder.names().map_err(|source| self.unreadable(source.raw_os_error(), Box::new(source)))?;
        names.retain(|name| target.is_temporary(name));
        Ok(names)
    }

    /// Removes files and makes that last: a key that is said to be gone must not come back with a power cut.
    fn remove(&self, target: &Target, names: &[OsString]) -> Result<(), DiskError> {
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            self.disk.unlink(&target.folder, name)?;
        }
        self.disk.sync_folder(&target.folder)
    }

    fn render(
        &self,
        sequence: u64,
        salt: &Secret,
        current: &State,
        next: Option<&Next>,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, StoreError> {
        hidden::render(sequence, salt, current, next)
            .map_err(|source| StoreError::Unwritable { location: self.location(), source: source.into() })
    }

    fn salt_and_sequence(&self, loaded: &Loaded) -> Result<(Secret, u64), StoreError> {
        match &loaded.hidden {
            Some((hidden, _)) => Ok((hidden.salt.0.duplicate(), hidden.sequence)),
            None => {
                let mut salt = vec![0; 32];
                self.random(&mut salt)?;
                Ok((Secret::from_bytes(salt), 0))
            }
        }
    }

    /// Part of the names of one write's replacements.
    fn tag(&self) -> Result<String, StoreError> {
        let mut tag = [0; 8];
        self.random(&mut tag)?;
        Ok(hex::encode(tag))
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), StoreError> {
        aws_lc_rs::rand::SystemRandom::new()
            .fill(bytes)
            .map_err(|source| StoreError::Unavailable { location: self.location(), source: source.into() })
    }
}

/// How a file got into its place.
#[derive(Clone, Copy)]
enum Swapped {
    /// What was there before lies under the replacement's name.
    Exchanged,
    /// What was there before is gone: the file system can't exchange.
    Renamed,
}

/// Why a file did not get into its place.
enum SwapError {
    /// Something else was there, and is there again.
    Foreign,
    /// Nothing was touched.
    NotDone(DiskError),
    /// It is not known what is in place now.
    Stuck(DiskError),
}

impl Prepared {
    /// Whether this is what came out, whoever else wrote into it meanwhile.
    fn is(&self, found: &Snapshot) -> bool {
        self.identity().is_ok_and(|mine| mine.same_file(&found.identity))
    }
}

/// Whether a file is the one that was read, with the content, mode, owner and attributes that it had. Its times may have
/// moved with the renaming.
fn unchanged(found: &Result<Snapshot, ReadError>, read: &Snapshot) -> bool {
    found.as_ref().is_ok_and(|found| {
        found.identity.same_file(&read.identity) && found.bytes.ct_eq(&read.bytes) && found.likeness == read.likeness
    })
}

fn same_fields(left: &Fields, right: &Fields) -> bool {
    left.0.len() == right.0.len()
        && left.0.iter().zip(&right.0).all(|((left_name, left), (right_name, right))| {
            left_name == right_name
                && match (left, right) {
                    (None, None) => true,
                    (Some(left), Some(right)) => left.ct_eq(right),
                    _ => false,
                }
        })
}

fn is_unsupported(err: &DiskError) -> bool {
    matches!(err.source.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP))
}
