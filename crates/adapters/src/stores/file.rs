//! A plain file whose whole content is one secret.
//!
//! A text file nearly always ends in a line break that is no part of the secret. As [`FileContent::Text`] one final line
//! break belongs to the file and is kept as it is found; as [`FileContent::Raw`] every byte is the secret.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use keyroll_keyring::{FieldName, Fields, Secret};

use super::paired::{Paired, Syntax, SyntaxError};
use super::{Document, Residue, Revision, SecretStore, StoreDescription, StoreError, Versioned, WriteOutlook};
use crate::Timestamp;

/// A [`SecretStore`] over one file.
pub struct FileStore {
    pair: Arc<Paired<Whole>>,
}

/// What the bytes of a file are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a final line break belongs to the secret or to the file")]
pub enum FileContent {
    /// Every byte belongs to the secret.
    #[default]
    Raw,
    /// UTF-8; one final line break belongs to the file.
    Text,
}

impl FileStore {
    /// The file at `path`, whose content is the field `field` (by convention `content`).
    pub fn new(path: impl Into<PathBuf>, field: FieldName) -> Self {
        Self::with_content(path, field, FileContent::Raw)
    }

    /// The same, saying what its bytes are.
    pub fn with_content(path: impl Into<PathBuf>, field: FieldName, content: FileContent) -> Self {
        Self { pair: Arc::new(Paired::new(path.into(), Whole { field, content })) }
    }
}

#[async_trait]
impl SecretStore for FileStore {
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

/// The whole content as one field.
pub(super) struct Whole {
    pub(super) field: FieldName,
    pub(super) content: FileContent,
}

impl Syntax for Whole {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn fields(&self) -> Vec<FieldName> {
        vec![self.field.clone()]
    }

    fn read(&self, bytes: &[u8]) -> Result<Fields, SyntaxError> {
        let (secret, _) = self.split(bytes);
        if self.content == FileContent::Text
            && let Err(err) = std::str::from_utf8(secret)
        {
            return Err(SyntaxError::Unreadable(format!(
                "it is not UTF-8 text from byte {} on",
                err.valid_up_to() + 1
            )));
        }
        Ok(Fields([(self.field.clone(), Some(Secret::from_bytes(secret.to_vec())))].into()))
    }

    fn edit(&self, bytes: &[u8], fields: &Fields) -> Result<Secret, SyntaxError> {
        let Some(Some(secret)) = fields.0.get(&self.field) else {
            return Err(SyntaxError::Refused(
                "the file is the whole secret, and Keyroll does not remove a file that applications read".to_owned(),
            ));
        };
        let (_, end) = self.split(bytes);
        let mut text = Vec::with_capacity(secret.expose().len() + end.len());
        text.extend_from_slice(secret.expose());
        text.extend_from_slice(end);
        Ok(Secret::from_bytes(text))
    }
}

impl Whole {
    /// The secret, and the line break that belongs to the file.
    fn split<'a>(&self, bytes: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let end = match self.content {
            FileContent::Raw => 0,
            FileContent::Text if bytes.ends_with(b"\r\n") => 2,
            FileContent::Text if bytes.ends_with(b"\n") => 1,
            FileContent::Text => 0,
        };
        bytes.split_at(bytes.len() - end)
    }
}
