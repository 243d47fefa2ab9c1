//! Which reloads were carried out: in memory, and in a file if there is one.
//!
//! One JSON line is added for each reload after its command succeeded. A line that was torn by a crash is a reload that is
//! not known to be done; it is repeated, and the command gets the same `{reloadId}` again.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// The reloads that were carried out.
#[derive(Debug)]
pub(super) struct ReloadRecord {
    file: Option<PathBuf>,
    known: Mutex<BTreeSet<(String, String)>>,
}

/// Why it can't be told whether a reload was carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error("the record of reloads `{path}` can't be read or written")]
    File {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("line {line} of the record of reloads `{path}` can't be understood; restore or remove the file")]
    Line { path: String, line: usize },
}

#[derive(Deserialize, Serialize)]
struct Entry {
    reload: String,
    member: String,
}

impl ReloadRecord {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Self { file, known: Mutex::default() }
    }

    /// Whether this reload of this member was carried out.
    pub(super) fn contains(&self, reload: &str, member: &str) -> Result<bool, RecordError> {
        if self.known().contains(&(reload.to_owned(), member.to_owned())) {
            return Ok(true);
        }
        let Some(path) = &self.file else { return Ok(false) };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(RecordError::File { path: path.display().to_string(), source }),
        };
        let mut found = false;
        for (index, line) in text.split_inclusive('\n').enumerate() {
            match serde_json::from_str::<Entry>(line) {
                Ok(entry) => found |= entry.reload == reload && entry.member == member,
                // Only the last line may be torn.
                Err(_) if !line.ends_with('\n') => {}
                Err(_) => return Err(RecordError::Line { path: path.display().to_string(), line: index + 1 }),
            }
        }
        Ok(found)
    }

    /// Notes that it was.
    pub(super) fn note(&self, reload: &str, member: &str) -> Result<(), RecordError> {
        self.known().insert((reload.to_owned(), member.to_owned()));
        let Some(path) = &self.file else { return Ok(()) };
        let failed = |source| RecordError::File { path: path.display().to_string(), source };
        let entry = Entry { reload: reload.to_owned(), member: member.to_owned() };
        let mut line = serde_json::to_string(&entry).map_err(|error| failed(error.into()))?;
        line.push('\n');
        let mut file =
            OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path).map_err(failed)?;
        // A torn last line gets its end first, else this entry would be lost with it.
        if fs::read(path).map_err(failed)?.last().is_some_and(|last| *last != b'\n') {
            let torn = fs::read_to_string(path).map_err(failed)?;
            let whole = torn.rfind('\n').map_or(0, |end| end + 1);
            file.set_len(u64::try_from(whole).unwrap_or(0)).map_err(failed)?;
        }
        file.write_all(line.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<(String, String)>> {
        // A set that only grows is whole even if somebody panicked beside it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_sees_what_was_done() {
        let folder = tempfile::tempdir().unwrap();
        let file = Some(folder.path().join("reloads"));
        ReloadRecord::new(file.clone()).note("r/1", "a").unwrap();
        let other = ReloadRecord::new(file);
        assert!(other.contains("r/1", "a").unwrap());
        assert!(!other.contains("r/1", "b").unwrap());
        assert!(!other.contains("r/2", "a").unwrap());
    }

    #[test]
    fn a_torn_line_is_not_done_and_does_not_swallow_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reloads");
        ReloadRecord::new(Some(path.clone())).note("r/1", "a").unwrap();
        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(br#"{"reload":"r/1","mem"#).unwrap();
        let record = ReloadRecord::new(Some(path.clone()));
        assert!(record.contains("r/1", "a").unwrap());
        assert!(!record.contains("r/1", "b").unwrap());
        record.note("r/1", "b").unwrap();
        let after = ReloadRecord::new(Some(path));
        assert!(after.contains("r/1", "a").unwrap() && after.contains("r/1", "b").unwrap());
    }

    #[test]
    fn a_file_of_something_else_stops() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reloads");
        fs::write(&path, "hello\n").unwrap();
        let record = ReloadRecord::new(Some(path));
        assert!(matches!(record.contains("r/1", "a").unwrap_err(), RecordError::Line { line: 1, .. }));
    }
}
