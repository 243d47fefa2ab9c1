//! The system calls that change the disk, one function each, and what a file is compared by.
//!
//! Every call that changes anything goes through [`Disk`], which asks its [`Faults`] first. In production nothing
//! objects; in this crate's tests a fault stops the writer before any chosen call, so that "a crash between these two
//! calls" is a test and not a hope.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyroll_keyring::Secret;
use rustix::fd::OwnedFd;
use rustix::fs::{Access, AtFlags, Mode, OFlags, RenameFlags, Stat, XattrFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

/// The changing side of the file system.
#[derive(Clone)]
pub(crate) struct Disk {
    faults: Arc<dyn Faults>,
}

/// Asked before each call. An error is taken as if the call had failed with it.
pub(crate) trait Faults: Send + Sync {
    /// `name` is the file that the call is about, within the folder.
    fn before(&self, call: Call, name: &OsStr) -> io::Result<()>;
}

/// The calls, by what they do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    Create,
    Own,
    Write,
    Sync,
    RenameNew,
    RenameOver,
    Exchange,
    Look,
    SyncFolder,
    Unlink,
}

/// The folder that a file lives in, open, so that a rename of the folder does not lead astray.
pub(super) struct Folder {
    fd: OwnedFd,
    pub(super) path: PathBuf,
}

/// A file as it was read.
pub(super) struct Snapshot {
    pub(super) bytes: Secret,
    pub(super) identity: Identity,
    pub(super) likeness: Likeness,
    pub(super) links: u64,
}

/// Which file it is and which state of it. The device number is left out: it can change with a reboot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Identity {
    inode: u64,
    size: i64,
    modified: (i64, u64),
    changed: (i64, u64),
}

/// What a replacement must share with the file that it replaces.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Likeness {
    mode: u32,
    pub(super) uid: u32,
    gid: u32,
    attributes: Vec<(CString, Vec<u8>)>,
}

/// A complete file under a temporary name, synced.
pub(super) struct Prepared {
    pub(super) name: OsString,
    file: File,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("`{}` does not exist", name.display())]
    Absent { name: OsString },
    #[error("`{}` is not a regular file", name.display())]
    NotRegular { name: OsString },
    #[error("`{}` is larger than {LARGEST} bytes", name.display())]
    TooLarge { name: OsString },
    #[error("`{}` changed while it was read", name.display())]
    Changing { name: OsString },
    #[error("`{}` can't be read", name.display())]
    Io {
        name: OsString,
        #[source]
        source: io::Error,
    },
}

/// A call that changes the disk failed.
#[derive(Debug, thiserror::Error)]
#[error("can't {} `{}`", call.verb(), name.display())]
pub(super) struct DiskError {
    pub(super) call: Call,
    pub(super) name: OsString,
    #[source]
    pub(super) source: io::Error,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self { faults: Arc::new(NoFaults) }
    }

    #[cfg(test)]
    pub(super) fn with_faults(faults: Arc<dyn Faults>) -> Self {
        Self { faults }
    }

    /// Creates `name`, which must not exist, gives it the owner, mode and attributes of `like`, and only then writes into
    /// it: there is no moment at which the bytes are readable to more people than those of the file it will replace.
    pub(super) fn prepare(
        &self,
        folder: &Folder,
        name: OsString,
        bytes: &[u8],
        like: &Likeness,
    ) -> Result<Prepared, DiskError> {
        let file = self.create(folder, &name, like)?;
        let mut prepared = Prepared { name, file };
        for chunk in bytes.chunks(CHUNK) {
            let name = &prepared.name;
            self.call(Call::Write, name, || prepared.file.write_all(chunk))?;
        }
        self.call(Call::Sync, &prepared.name, || prepared.file.sync_all())?;
        Ok(prepared)
    }

    /// Creates an empty file that is like another one.
    pub(super) fn create(&self, folder: &Folder, name: &OsStr, like: &Likeness) -> Result<File, DiskError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.call(Call::Create, name, || {
            Ok(File::from(rustix::fs::openat(&folder.fd, name, flags, Mode::RUSR | Mode::WUSR)?))
        })?;
        self.call(Call::Own, name, || like.impose(&file))?;
        Ok(file)
    }

    /// Gives `prepared` the name `name`, if nothing has that name yet.
    pub(super) fn rename_new(&self, folder: &Folder, prepared: &Prepared, name: &OsStr) -> Result<(), DiskError> {
        self.call(Call::RenameNew, name, || {
            rustix::fs::renameat_with(&folder.fd, &prepared.name, &folder.fd, name, RenameFlags::NOREPLACE)
                .map_err(Into::into)
        })
    }

    /// Puts `prepared` in the place of `name`, whatever is there.
    pub(super) fn rename_over(&self, folder: &Folder, prepared: &OsStr, name: &OsStr) -> Result<(), DiskError> {
        self.call(Call::RenameOver, name, || {
            rustix::fs::renameat(&folder.fd, prepared, &folder.fd, name).map_err(Into::into)
        })
    }

    /// Swaps two names in one step.
    pub(super) fn exchange(&self, folder: &Folder, prepared: &OsStr, name: &OsStr) -> Result<(), DiskError> {
        self.call(Call::Exchange, name, || {
            rustix::fs::renameat_with(&folder.fd, prepared, &folder.fd, name, RenameFlags::EXCHANGE).map_err(Into::into)
        })
    }

    /// Reads a file in the course of a write, to see what an exchange brought out.
    pub(super) fn look(&self, folder: &Folder, name: &OsStr) -> Result<Result<Snapshot, ReadError>, DiskError> {
        self.call(Call::Look, name, || Ok(folder.read(name)))
    }

    pub(super) fn sync_folder(&self, folder: &Folder) -> Result<(), DiskError> {
        self.call(Call::SyncFolder, folder.path.as_os_str(), || {
            // The folder's own descriptor may be a path only, which can't be synced.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&folder.fd, ".", flags, Mode::empty())?;
            rustix::fs::fsync(fd).map_err(Into::into)
        })
    }

    /// Removes a file; that it is gone already is as good.
    pub(super) fn unlink(&self, folder: &Folder, name: &OsStr) -> Result<(), DiskError> {
        self.call(Call::Unlink, name, || match rustix::fs::unlinkat(&folder.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        })
    }

    fn call<T>(&self, call: Call, name: &OsStr, act: impl FnOnce() -> io::Result<T>) -> Result<T, DiskError> {
        self.faults.before(call, name).and_then(|()| act()).map_err(|source| DiskError {
            call,
            name: name.to_owned(),
            source,
        })
    }
}

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Whether files may be made in it.
    pub(super) fn may_write(&self) -> io::Result<()> {
        let access = Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::accessat(&self.fd, ".", access, AtFlags::empty()).map_err(Into::into)
    }

    /// Reads a file whole, if it stands still while it is read.
    pub(super) fn read(&self, name: &OsStr) -> Result<Snapshot, ReadError> {
        let failed = |errno: Errno| match errno {
            Errno::NOENT => ReadError::Absent { name: name.to_owned() },
            // A symlink here was put there by nobody that we know: the path was resolved before.
            Errno::LOOP => ReadError::NotRegular { name: name.to_owned() },
            errno => ReadError::Io { name: name.to_owned(), source: errno.into() },
        };
        // Not blocking, so that a pipe in the file's place is refused instead of waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(failed)?;
        let before = rustix::fs::fstat(&fd).map_err(failed)?;
        if !is_regular(&before) {
            return Err(ReadError::NotRegular { name: name.to_owned() });
        }
        let size = usize::try_from(before.st_size).unwrap_or(usize::MAX);
        if size > LARGEST {
            return Err(ReadError::TooLarge { name: name.to_owned() });
        }
        let likeness = Likeness::of(&fd, &before).map_err(failed)?;
        // One byte more than the file is said to have: the buffer is never reallocated, so no copy of a key stays behind.
        let mut bytes = Zeroizing::new(vec![0; size + 1]);
        let mut filled = 0;
        let mut file = File::from(fd);
        while filled < bytes.len() {
            match file.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ReadError::Io { name: name.to_owned(), source }),
            }
        }
        let after = rustix::fs::fstat(&file).map_err(failed)?;
        if filled != size || Identity::of(&before) != Identity::of(&after) {
            return Err(ReadError::Changing { name: name.to_owned() });
        }
        bytes.truncate(size);
        Ok(Snapshot {
            bytes: Secret::from_bytes(std::mem::take(&mut *bytes)),
            identity: Identity::of(&after),
            likeness,
            links: after.st_nlink as u64,
        })
    }

    /// Which file has this name now; `None` if there is none.
    pub(super) fn identify(&self, name: &OsStr) -> io::Result<Option<Identity>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Identity::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens a file without creating it.
    pub(super) fn open_existing(&self, name: &OsStr, access: OFlags) -> io::Result<Option<File>> {
        match rustix::fs::openat(&self.fd, name, access | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The names in the folder, sorted.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, ".", flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(fd)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The magic number of the file system.
    pub(super) fn file_system(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatfs(&self.fd)?;
        // The type differs between architectures.
        Ok(stat.f_type as u64)
    }
}

impl Prepared {
    /// The state of the file now, by its descriptor: under whatever name it is, and untouched by whoever took its place.
    pub(super) fn identity(&self) -> io::Result<Identity> {
        Ok(Identity::of(&rustix::fs::fstat(&self.file)?))
    }
}

impl Identity {
    #[expect(clippy::unnecessary_cast, reason = "the types behind these fields differ between architectures")]
    fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino as u64,
            size: stat.st_size as i64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        }
    }

    /// Whether it is the same file, in whatever state.
    pub(super) fn same_file(&self, other: &Self) -> bool {
        self.inode == other.inode
    }

    /// A form to be hashed.
    pub(super) fn to_text(&self) -> String {
        let Self { inode, size, modified, changed } = self;
        format!("{inode} {size} {}.{:09} {}.{:09}", modified.0, modified.1, changed.0, changed.1)
    }

    /// The time of the last modification in milliseconds since the Unix epoch.
    pub(super) fn modified_millis(&self) -> u64 {
        u64::try_from(self.modified.0).unwrap_or(0) * 1000 + self.modified.1 / 1_000_000
    }

    pub(super) fn of_file(file: &File) -> io::Result<Self> {
        Ok(Self::of(&rustix::fs::fstat(file)?))
    }
}

impl Likeness {
    fn of(fd: &OwnedFd, stat: &Stat) -> Result<Self, Errno> {
        Ok(Self { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, attributes: attributes(fd)? })
    }

    /// Makes `file`, which is empty and readable to its owner alone, like this. The owner comes before the mode, and the
    /// access list before the mode too, so that no step opens the file to people whom the last step shuts out.
    fn impose(&self, file: &File) -> io::Result<()> {
        use rustix::fs::{Gid, Uid};
        let stat = rustix::fs::fstat(file)?;
        let uid = (stat.st_uid != self.uid).then(|| Uid::from_raw(self.uid));
        let gid = (stat.st_gid != self.gid).then(|| Gid::from_raw(self.gid));
        if uid.is_some() || gid.is_some() {
            rustix::fs::fchown(file, uid, gid)?;
        }
        let inherited = attributes(file)?;
        for (name, _) in &inherited {
            // An access list that the folder hands down would give the file readers that the original does not have.
            if name.as_bytes() == ACCESS_LIST && !self.attributes.iter().any(|(other, _)| other == name) {
                rustix::fs::fremovexattr(file, name.as_c_str())?;
            }
        }
        for (name, value) in &self.attributes {
            if !inherited.iter().any(|(other, found)| other == name && found == value) {
                rustix::fs::fsetxattr(file, name.as_c_str(), value, XattrFlags::empty())?;
            }
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))?;
        Ok(())
    }
}

impl Call {
    fn verb(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Own => "give the owner, mode and attributes of the original to",
            Self::Write => "write",
            Self::Sync | Self::SyncFolder => "sync",
            Self::RenameNew | Self::RenameOver | Self::Exchange => "put the new version in the place of",
            Self::Look => "look at",
            Self::Unlink => "remove",
        }
    }
}

/// Production: every call goes through.
struct NoFaults;

impl Faults for NoFaults {
    fn before(&self, _: Call, _: &OsStr) -> io::Result<()> {
        Ok(())
    }
}

fn is_regular(stat: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile
}

/// The extended attributes: access lists, security labels, a user's own. Signatures over the content are left out, as they
/// can't fit other content.
fn attributes(fd: impl rustix::fd::AsFd + Copy) -> Result<Vec<(CString, Vec<u8>)>, Errno> {
    let mut names = vec![0; ATTRIBUTES];
    let length = match rustix::fs::flistxattr(fd, &mut names) {
        Ok(length) => length,
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    names.truncate(length);
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if SIGNATURES.contains(&name) {
            continue;
        }
        let Ok(name) = CString::new(name) else { continue };
        let mut value = vec![0; ATTRIBUTES];
        match rustix::fs::fgetxattr(fd, name.as_c_str(), &mut value) {
            Ok(length) => value.truncate(length),
            // Listed and gone again, or not ours to read: it can't be kept, and a write will say so if it matters.
            Err(Errno::NODATA) => continue,
            Err(errno) => return Err(errno),
        }
        found.push((name, value));
    }
    found.sort();
    Ok(found)
}

/// The kernel's own limits for a list of names and for one value.
const ATTRIBUTES: usize = 65_536;

const ACCESS_LIST: &[u8] = b"system.posix_acl_access";

const SIGNATURES: [&[u8]; 2] = [b"security.ima", b"security.evm"];

/// A writer that is killed in the middle leaves part of a file: written in pieces, so that tests can stop there.
const CHUNK: usize = 16 * 1024;

/// No file of secrets is this large; a wrong path may well be.
const LARGEST: usize = 16 * 1024 * 1024;
