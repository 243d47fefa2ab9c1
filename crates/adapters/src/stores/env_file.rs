//! Files of environment variables: dotenv files and systemd's `EnvironmentFile=`.
//!
//! Both look alike and are not: an unquoted ` # note`, a backslash or a dollar sign means different things to different
//! readers. What all readers do not read alike is refused, with line and column, unless the dialect was named and its
//! own rules settle it. Only the lines of owned variables change; all else is kept byte for byte.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use keyroll_keyring::{FieldName, Fields, Secret};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use self::quoting::Quoting;
use super::paired::{Paired, Syntax, SyntaxError};
use super::{Document, Residue, Revision, SecretStore, StoreDescription, StoreError, Versioned, WriteOutlook};
use crate::Timestamp;

mod dotenv;
mod quoting;
mod systemd;
#[cfg(test)]
mod tests;

/// A [`SecretStore`] over some variables of an environment file.
pub struct EnvFileStore {
    pair: Arc<Paired<Variables>>,
}

/// Whose rules an environment file follows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum EnvDialect {
    /// Not said: whatever dotenv readers and systemd read alike, and nothing else.
    #[default]
    Common,
    /// The dotenv libraries (Ruby, Node.js, Python, Compose) and `sh`, as far as they agree.
    Dotenv,
    /// `EnvironmentFile=` of systemd, see systemd.exec(5).
    Systemd,
}

impl EnvFileStore {
    /// The variables `fields` of the file at `path`.
    pub fn new(path: impl Into<PathBuf>, fields: Vec<FieldName>) -> Self {
        Self::with_dialect(path, fields, EnvDialect::Common)
    }

    /// The same, saying whose rules the file follows.
    pub fn with_dialect(path: impl Into<PathBuf>, fields: Vec<FieldName>, dialect: EnvDialect) -> Self {
        Self { pair: Arc::new(Paired::new(path.into(), Variables { fields, dialect })) }
    }
}

#[async_trait]
impl SecretStore for EnvFileStore {
    fn describe(&self) -> StoreDescription {
        self.pair.describe()
    }

    async fn read(&self) -> Result<Versioned, StoreError> {
        self.pair.read().await
    }

    async fn write(&self, document: &Document, expect: &Revision) -> Result<Revision, StoreError> {
        self.pair.write(document, expect).await
    }

    async fn may_write(&self) -> Result<WriteOutlook, StoreError> {
        self.pair.may_write().await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.pair.now().await
    }

    async fn sweep(&self) -> Result<Vec<String>, StoreError> {
        self.pair.sweep().await
    }

    async fn residue(&self, material: &[&Secret]) -> Result<Residue, StoreError> {
        self.pair.residue(material).await
    }
}

/// Some variables of an environment file.
pub(super) struct Variables {
    pub(super) fields: Vec<FieldName>,
    pub(super) dialect: EnvDialect,
}

/// One assignment, by its places in the text.
struct Assignment {
    /// The name, without `export`.
    name: Range<usize>,
    /// From the start of its first line to the end of its last, line break included.
    lines: Range<usize>,
    /// What stands for the value, quotes included, without the blanks and the comment around it.
    value: Range<usize>,
    /// `export `, or whatever else stands before the name in its line.
    prefix: Range<usize>,
}

/// What is wrong, and at which byte.
struct Problem {
    at: usize,
    what: String,
}

impl Syntax for Variables {
    fn kind(&self) -> &'static str {
        "envFile"
    }

    fn fields(&self) -> Vec<FieldName> {
        self.fields.clone()
    }

    fn read(&self, text: &[u8]) -> Result<Fields, SyntaxError> {
        let mut fields = Fields(self.fields.iter().map(|name| (name.clone(), None)).collect());
        for (name, assignment) in self.owned(text)? {
            let value = self.decode(text, &assignment).map_err(|problem| unreadable(text, &problem))?;
            fields.0.insert(name.clone(), Some(value));
        }
        Ok(fields)
    }

    fn edit(&self, text: &[u8], fields: &Fields) -> Result<Secret, SyntaxError> {
        // The text is edited as if its last line were ended, and its end is put back as it was.
        let line_break = line_break(text);
        let is_ended = text.is_empty() || text.ends_with(b"\n") || text.ends_with(b"\r");
        let mut base = Zeroizing::new(Vec::with_capacity(text.len() + line_break.len()));
        base.extend_from_slice(text);
        if !is_ended {
            base.extend_from_slice(line_break);
        }
        let owned = self.owned(&base)?;

        let mut edits = Vec::new();
        let mut addition = Zeroizing::new(Vec::new());
        // A new variable follows the last owned one, after the same `export` if that has one; else it ends the file.
        let anchor = owned.iter().map(|(_, place)| place).max_by_key(|place| place.lines.end);
        let position = anchor.map_or(base.len(), |place| place.lines.end);
        for name in &self.fields {
            let place = owned.iter().find(|(other, _)| *other == name).map(|(_, place)| place);
            match (place, fields.0.get(name).and_then(Option::as_ref)) {
                (None, None) => {}
                (Some(place), None) => edits.push((place.lines.clone(), Zeroizing::new(Vec::new()))),
                (Some(place), Some(value)) => {
                    // A value that is right already stays as it is spelled.
                    if !self.decode(&base, place).is_ok_and(|found| found.ct_eq(value)) {
                        let quoting = Quoting::of(&base[place.value.clone()]);
                        edits.push((place.value.clone(), self.encode(name, value, quoting)?));
                    }
                }
                (None, Some(value)) => {
                    let value = self.encode(name, value, Quoting::Bare)?;
                    let prefix = anchor.map_or(&[][..], |place| &base[place.prefix.clone()]);
                    let line = [prefix, name.0.as_bytes(), b"=", &value, line_break];
                    let mut longer = Zeroizing::new(Vec::with_capacity(
                        addition.len() + line.iter().map(|part| part.len()).sum::<usize>(),
                    ));
                    longer.extend_from_slice(&addition);
                    line.iter().for_each(|part| longer.extend_from_slice(part));
                    addition = longer;
                }
            }
        }
        edits.push((position..position, addition));
        edits.sort_by_key(|(range, _)| (range.start, range.end));

        let mut out = Vec::with_capacity(base.len() + edits.iter().map(|(_, new)| new.len()).sum::<usize>());
        let mut done = 0;
        for (range, new) in &edits {
            out.extend_from_slice(&base[done..range.start]);
            out.extend_from_slice(new);
            done = range.end;
        }
        out.extend_from_slice(&base[done..]);
        // The line that is last now may end in another way than the file's first one did.
        if !is_ended && out.ends_with(b"\n") {
            let ending = if out.ends_with(b"\r\n") { 2 } else { 1 };
            out.truncate(out.len() - ending);
        }
        let out = Secret::from_bytes(out);
        self.check_siblings(&base, out.expose())?;
        Ok(out)
    }
}

impl Variables {
    /// The assignments of owned variables, each at most once, found in the same places by every reader that counts.
    fn owned(&self, text: &[u8]) -> Result<Vec<(&FieldName, Assignment)>, SyntaxError> {
        if let Some(bad) = self.fields.iter().find(|name| !is_name(name.0.as_bytes())) {
            return Err(SyntaxError::Refused(format!("`{}` can't be the name of an environment variable", bad.0)));
        }
        let found = match self.dialect {
            EnvDialect::Dotenv => self.find(text, dotenv::assignments)?,
            EnvDialect::Systemd => self.find(text, systemd::assignments)?,
            EnvDialect::Common => {
                let dotenv = self.find(text, dotenv::assignments)?;
                let systemd = self.find(text, systemd::assignments)?;
                for (ours, theirs) in [(&dotenv, &systemd), (&systemd, &dotenv)] {
                    for (name, place) in ours {
                        if !theirs.iter().any(|(other, there)| other == name && there.lines == place.lines) {
                            return Err(unreadable(text, &Problem::unlike(place.name.start, name)));
                        }
                    }
                }
                dotenv
            }
        };
        Ok(found)
    }

    fn find(&self, text: &[u8], assignments: Assignments) -> Result<Vec<(&FieldName, Assignment)>, SyntaxError> {
        let owned: Vec<&str> = self.fields.iter().map(|name| name.0.as_str()).collect();
        let all = assignments(text, &owned).map_err(|problem| unreadable(text, &problem))?;
        let mut found: Vec<(&FieldName, Assignment)> = Vec::new();
        for assignment in all {
            let name = &text[assignment.name.clone()];
            let Some(field) = self.fields.iter().find(|field| field.0.as_bytes() == name) else { continue };
            if let Some((_, first)) = found.iter().find(|(other, _)| *other == field) {
                return Err(SyntaxError::Unreadable(format!(
                    "`{}` is assigned twice, in line {} and in line {}; remove the one that does not count",
                    field.0,
                    position(text, first.name.start).0,
                    position(text, assignment.name.start).0
                )));
            }
            found.push((field, assignment));
        }
        Ok(found)
    }

    fn decode(&self, text: &[u8], place: &Assignment) -> Result<Secret, Problem> {
        match self.dialect {
            EnvDialect::Dotenv => dotenv::decode(text, place),
            EnvDialect::Systemd => systemd::decode(text, place),
            EnvDialect::Common => {
                let dotenv = dotenv::decode(text, place)?;
                // The places agree in their lines; the value may still reach further for systemd, over a comment.
                let again = systemd::assignments(text, &[])?;
                let theirs = again.iter().find(|other| other.lines == place.lines);
                match theirs.map(|other| systemd::decode(text, other)).transpose()? {
                    Some(systemd) if systemd.ct_eq(&dotenv) => Ok(dotenv),
                    _ => Err(Problem {
                        at: place.value.start,
                        what: "dotenv readers and systemd read this value differently; name the file's `dialect`"
                            .into(),
                    }),
                }
            }
        }
    }

    fn encode(&self, name: &FieldName, value: &Secret, like: Quoting) -> Result<Zeroizing<Vec<u8>>, SyntaxError> {
        quoting::encode(value.expose(), like, self.dialect)
            .map_err(|reason| SyntaxError::Refused(format!("the value of `{}` {reason}", name.0)))
    }

    /// The assignments that are not owned, from name to value, as they are spelled.
    fn siblings<'a>(&self, text: &'a [u8], assignments: Assignments) -> Result<Vec<&'a [u8]>, SyntaxError> {
        let all = assignments(text, &[]).map_err(|problem| unreadable(text, &problem))?;
        let is_owned = |name: &[u8]| self.fields.iter().any(|field| field.0.as_bytes() == name);
        Ok(all
            .iter()
            .filter(|place| !is_owned(&text[place.name.clone()]))
            .map(|place| &text[place.name.start..place.value.end])
            .collect())
    }

    /// Whether all that is not owned is read after an edit as it was before.
    fn check_siblings(&self, before: &[u8], after: &[u8]) -> Result<(), SyntaxError> {
        let readers: &[Assignments] = match self.dialect {
            EnvDialect::Dotenv => &[dotenv::assignments],
            EnvDialect::Systemd => &[systemd::assignments],
            EnvDialect::Common => &[dotenv::assignments, systemd::assignments],
        };
        for reader in readers {
            if self.siblings(before, *reader)? != self.siblings(after, *reader)? {
                return Err(SyntaxError::Refused("the other variables would not be read as before".to_owned()));
            }
        }
        Ok(())
    }
}

/// Finds every assignment; fails where a reader could not tell, or where an owned name stands in no assignment.
type Assignments = fn(&[u8], &[&str]) -> Result<Vec<Assignment>, Problem>;

impl Problem {
    fn unlike(at: usize, name: &FieldName) -> Self {
        Self {
            at,
            what: format!("dotenv readers and systemd do not both find `{}` here; name the file's `dialect`", name.0),
        }
    }
}

fn unreadable(text: &[u8], problem: &Problem) -> SyntaxError {
    let (line, column) = position(text, problem.at);
    SyntaxError::Unreadable(format!("line {line}, column {column}: {}", problem.what))
}

/// Line and column, from 1, in bytes.
fn position(text: &[u8], at: usize) -> (usize, usize) {
    let before = &text[..at.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    (line, column)
}

fn is_name(name: &[u8]) -> bool {
    matches!(name.first(), Some(first) if first.is_ascii_alphabetic() || *first == b'_')
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// The line break that the file uses.
fn line_break(text: &[u8]) -> &'static [u8] {
    match text.iter().position(|byte| *byte == b'\n') {
        Some(at) if at > 0 && text[at - 1] == b'\r' => b"\r\n",
        _ => b"\n",
    }
}
