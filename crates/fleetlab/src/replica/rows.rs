//! Server-side sessions in a folder that all replicas share: one file a row, replaced in one step.
//!
//! It stands for Redis. Like Redis it does what it is told: a replica that deletes a row deletes it for all.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// The folder of rows.
#[derive(Debug)]
pub(crate) struct Rows(PathBuf);

impl Rows {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The sealed row, if there is one.
    pub(crate) fn read(&self, id: Uuid) -> io::Result<Option<String>> {
        match std::fs::read_to_string(self.path(id)) {
            Ok(row) => Ok(Some(row)),
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// Writes or replaces a row.
    pub(crate) fn write(&self, id: Uuid, row: &str) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
        file.write_all(row.as_bytes())?;
        file.persist(self.path(id)).map_err(|err| err.error)?;
        Ok(())
    }

    /// Deletes a row for everybody.
    pub(crate) fn delete(&self, id: Uuid) -> io::Result<()> {
        match std::fs::remove_file(self.path(id)) {
            Err(err) if err.kind() != ErrorKind::NotFound => Err(err),
            _ => Ok(()),
        }
    }

    /// An id is not text from outside: it has been parsed, so it can't name another file.
    fn path(&self, id: Uuid) -> PathBuf {
        self.0.join(id.simple().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_for_all_who_share_the_folder_until_one_deletes_it() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other, id) = (Rows::in_folder(folder.path()), Rows::in_folder(folder.path()), Uuid::new_v4());
        assert_eq!(one.read(id).unwrap(), None);
        one.write(id, "a").unwrap();
        other.write(id, "b").unwrap();
        assert_eq!(one.read(id).unwrap().as_deref(), Some("b"));
        other.delete(id).unwrap();
        one.delete(id).unwrap();
        assert_eq!(one.read(id).unwrap(), None);
    }
}
