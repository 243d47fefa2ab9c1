//! The ring file: a ring as one document that is replaced in one step, so that no reader sees half of a change.
//!
//! The writer gives the same bytes for the same ring. Candidates and the material of retired keys are left out: what
//! applications read holds only what they may accept. `docs/reference/ring-file.md` defines it for other languages.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    Fingerprint, Key, KeyError, KeyId, KeyState, Part, PartName, Ring, RingError, Secret, SecretError, Tombstone,
};

/// The version that [`render`] writes, and the newest that [`parse`] reads.
pub const VERSION: u64 = 1;

/// Reads a ring file. A newer version, an unknown field and an illegal ring are errors; nothing is guessed.
pub fn parse(text: &[u8]) -> Result<Ring, RingFileError> {
    // The version comes before everything else, because a newer file may have fields that this one does not know.
    let Header { version } = serde_json::from_slice(text).map_err(at)?;
    if version > VERSION {
        return Err(RingFileError::Newer { version });
    }
    if version != VERSION {
        return Err(RingFileError::NoSuchVersion { version });
    }
    let file: FileIn<'_> = serde_json::from_slice(text).map_err(at)?;
    let active = file.active.key()?;
    let accept =
        file.accept.iter().map(|entry| Ok((entry.key()?, entry.state))).collect::<Result<_, RingFileError>>()?;
    let gone = file.retired.into_iter().map(RetiredIn::tombstone).collect::<Result<_, _>>()?;
    Ring::assemble(active, accept, gone).map_err(RingFileError::Ring)
}

/// Writes a ring file: the active key, the other accepted ones, newest first, and the ids of those that left.
pub fn render(ring: &Ring) -> Secret {
    let active = KeyOut::new(ring.active(), None);
    let accept = ring.accept_only().map(|key| KeyOut::new(key, ring.state(key.id()))).collect();
    let mut retired: Vec<_> = ring
        .retired()
        .map(|key| RetiredOut { id: key.id(), state: KeyState::Deactivated, fingerprint: None })
        .chain(ring.gone().map(|tombstone| RetiredOut {
            id: tombstone.id,
            state: tombstone.state,
            fingerprint: tombstone.fingerprint.as_ref(),
        }))
        .collect();
    retired.sort_by_key(|entry| std::cmp::Reverse(entry.id));
    let file = FileOut { version: VERSION, active, accept, retired };
    // Room for everything at once: a buffer that grows leaves copies behind that nobody wipes.
    let mut text = Vec::with_capacity(file.room());
    serde_json::to_writer_pretty(&mut text, &file).unwrap_or_else(|_| unreachable!("writing to memory does not fail"));
    text.push(b'\n');
    Secret::from_bytes(text)
}

/// Why a text is not a ring file. It never holds any of the text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RingFileError {
    /// The text is not JSON.
    #[error("the ring file is not JSON (line {line}, column {column})")]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// A field is missing, unknown, doubled or of the wrong type.
    #[error("the ring file has a missing, unknown, doubled or wrongly typed field (line {line}, column {column})")]
    Shape {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// A newer program wrote it.
    #[error("the ring file has version {version}, and this program reads up to {VERSION}; update this program first")]
    Newer {
        /// Its version.
        version: u64,
    },
    /// No program writes this version.
    #[error("the ring file has version {version}, which does not exist")]
    NoSuchVersion {
        /// Its version.
        version: u64,
    },
    /// Material that does not decode.
    #[error("the material of the key {id} in the ring file can't be read")]
    Material {
        /// Which key.
        id: KeyId,
        /// Why.
        #[source]
        source: SecretError,
    },
    /// Material of no bytes.
    #[error("the material of the key {id} in the ring file is empty")]
    EmptyMaterial {
        /// Which key.
        id: KeyId,
    },
    /// A retired key with a fingerprint that is none.
    #[error("the fingerprint of the retired key {id} in the ring file can't be read")]
    Fingerprint {
        /// Which key.
        id: KeyId,
    },
    /// Parts that do not make a key.
    #[error("a key of the ring file is not valid")]
    Key(#[source] KeyError),
    /// Keys that do not make a ring.
    #[error("the keys of the ring file do not make a valid ring")]
    Ring(#[source] RingError),
}

/// The parser's own message can quote what it found, so only the place is kept.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn at(error: serde_json::Error) -> RingFileError {
    let (line, column) = (error.line(), error.column());
    if error.is_data() { RingFileError::Shape { line, column } } else { RingFileError::NotJson { line, column } }
}

#[derive(Deserialize)]
struct Header {
    version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileIn<'a> {
    #[serde(rename = "version")]
    _version: u64,
    #[serde(borrow)]
    active: ActiveIn<'a>,
    #[serde(borrow)]
    accept: Vec<AcceptIn<'a>>,
    #[serde(borrow, default)]
    retired: Vec<RetiredIn<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActiveIn<'a> {
    id: KeyId,
    #[serde(borrow)]
    parts: Vec<PartIn<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptIn<'a> {
    id: KeyId,
    state: KeyState,
    #[serde(borrow)]
    parts: Vec<PartIn<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartIn<'a> {
    name: &'a str,
    /// Borrowed from the text, so that decoding makes the only copy.
    material: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetiredIn<'a> {
    id: KeyId,
    state: KeyState,
    #[serde(borrow, default)]
    fingerprint: Option<&'a str>,
}

impl ActiveIn<'_> {
    fn key(&self) -> Result<Key, RingFileError> {
        key(self.id, &self.parts)
    }
}

impl AcceptIn<'_> {
    fn key(&self) -> Result<Key, RingFileError> {
        key(self.id, &self.parts)
    }
}

impl RetiredIn<'_> {
    fn tombstone(self) -> Result<Tombstone, RingFileError> {
        let id = self.id;
        let fingerprint =
            self.fingerprint.map(Fingerprint::parse).transpose().map_err(|_| RingFileError::Fingerprint { id })?;
        Ok(Tombstone { id, state: self.state, fingerprint })
    }
}

fn key(id: KeyId, parts: &[PartIn<'_>]) -> Result<Key, RingFileError> {
    let parts = parts
        .iter()
        .map(|part| {
            let material = Secret::from_base64(part.material.as_bytes())
                .map_err(|source| RingFileError::Material { id, source })?;
            if material.is_empty() {
                return Err(RingFileError::EmptyMaterial { id });
            }
            Ok(Part { name: PartName(part.name.to_owned()), material })
        })
        .collect::<Result<_, _>>()?;
    Key::with_parts(id, parts).map_err(RingFileError::Key)
}

#[derive(Serialize)]
struct FileOut<'a> {
    version: u64,
    active: KeyOut<'a>,
    accept: Vec<KeyOut<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    retired: Vec<RetiredOut<'a>>,
}

#[derive(Serialize)]
struct KeyOut<'a> {
    id: KeyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<KeyState>,
    parts: Vec<PartOut<'a>>,
}

#[derive(Serialize)]
struct PartOut<'a> {
    name: &'a str,
    #[serde(serialize_with = "as_text")]
    material: Zeroizing<String>,
}

#[derive(Serialize)]
struct RetiredOut<'a> {
    id: KeyId,
    state: KeyState,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<&'a Fingerprint>,
}

#[expect(clippy::ptr_arg, reason = "it is what serde gives")]
fn as_text<S: serde::Serializer>(text: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

impl FileOut<'_> {
    /// No less than the length of the text: a name can grow sixfold when it is escaped.
    fn room(&self) -> usize {
        let keys = std::iter::once(&self.active).chain(&self.accept);
        let parts = keys.flat_map(|key| &key.parts);
        let parts: usize = parts.map(|part| 128 + part.name.len() * 6 + part.material.len()).sum();
        256 + parts + 128 * (self.accept.len() + 1) + 192 * self.retired.len()
    }
}

impl<'a> KeyOut<'a> {
    fn new(key: &'a Key, state: Option<KeyState>) -> Self {
        let parts = key
            .parts()
            .iter()
            .map(|part| PartOut {
                name: &part.name.0,
                material: Zeroizing::new(base64_simd::STANDARD.encode_to_string(part.material.expose())),
            })
            .collect();
        Self { id: key.id(), state, parts }
    }
}
