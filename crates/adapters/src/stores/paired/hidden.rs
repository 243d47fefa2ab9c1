//! The hidden file beside the one that applications read: candidates, escrow, stamp, and the state of a write in flight.
//!
//! It is versioned JSON with secrets in base64, and parsed strictly: a field that is not known, or a newer version, is
//! an error and never "nothing there". Its salt keys every hash that leaves the folder, so a revision in a journal lets
//! nobody test guesses of a weak key.

use std::fmt;

use keyroll_keyring::{KeyId, Secret};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::Timestamp;
use crate::stores::{Document, HiddenKey, Stamp};

/// The hidden file's content.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Hidden {
    #[serde(rename = "keyroll")]
    _format: Format,
    #[serde(rename = "version")]
    _version: Version,
    /// Grows by one with each write.
    pub(super) sequence: u64,
    /// Random, drawn once when the file is created.
    pub(super) salt: Material,
    /// What is in force, unless `next` is.
    pub(super) current: State,
    /// A write in flight, or one whose writer died.
    #[serde(default)]
    pub(super) next: Option<Next>,
}

/// Everything of a document that applications do not see.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct State {
    pending: Vec<Entry>,
    escrow: Vec<Entry>,
    stamp: Option<Opaque>,
}

/// The other half of a write that changes what applications read.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Next {
    pub(super) state: State,
    /// The keyed hash of the application's file before.
    pub(super) before: String,
    /// The keyed hash of it after.
    pub(super) after: String,
    /// The name of the replacement within the folder; after the exchange, of what was replaced.
    pub(super) replacement: String,
}

/// Why the hidden file can't be understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum HiddenError {
    #[error("it is of version {found}, and this Keyroll knows {VERSION}; use the newer Keyroll that wrote it")]
    Newer { found: u64 },
    /// serde's message can quote what it found, which may be a secret: the place alone is kept.
    #[error("line {line}, column {column} of the hidden file is not as Keyroll writes it")]
    Malformed { line: usize, column: usize },
    #[error("its replacement `{name}` is not a name that Keyroll gives")]
    Name { name: String },
}

impl Hidden {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, HiddenError> {
        #[derive(Deserialize)]
        struct Header {
            version: u64,
        }
        let header: Header = serde_json::from_slice(bytes).map_err(malformed)?;
        if header.version > u64::from(VERSION) {
            return Err(HiddenError::Newer { found: header.version });
        }
        let hidden: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        if let Some(next) = &hidden.next
            && (next.replacement.contains('/') || !next.replacement.starts_with('.'))
        {
            // It will be renamed and removed: a path that leads elsewhere must not get that far.
            return Err(HiddenError::Name { name: next.replacement.clone() });
        }
        Ok(hidden)
    }
}

/// The text of a hidden file.
pub(super) fn render(
    sequence: u64,
    salt: &Secret,
    current: &State,
    next: Option<&Next>,
) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Out<'a> {
        keyroll: Format,
        version: Version,
        sequence: u64,
        salt: &'a Secret64<'a>,
        current: &'a State,
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<&'a Next>,
    }
    let out = Out { keyroll: Format, version: Version, sequence, salt: &Secret64(salt), current, next };
    // Measured first, so that the buffer is not reallocated and leaves no copy of a key behind.
    let mut measure = Measure(0);
    serde_json::to_writer_pretty(&mut measure, &out)?;
    let mut text = Zeroizing::new(Vec::with_capacity(measure.0 + 1));
    serde_json::to_writer_pretty(&mut *text, &out)?;
    text.push(b'\n');
    Ok(text)
}

impl State {
    pub(super) fn empty() -> Self {
        Self { pending: Vec::new(), escrow: Vec::new(), stamp: None }
    }

    pub(super) fn of(document: &Document) -> Self {
        Self {
            pending: document.pending.iter().map(Entry::of).collect(),
            escrow: document.escrow.iter().map(Entry::of).collect(),
            stamp: document.stamp.as_ref().map(|stamp| Opaque(stamp.0.clone())),
        }
    }

    pub(super) fn pending(&self) -> Vec<HiddenKey> {
        self.pending.iter().map(Entry::to_key).collect()
    }

    pub(super) fn escrow(&self) -> Vec<HiddenKey> {
        self.escrow.iter().map(Entry::to_key).collect()
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.stamp.as_ref().map(|stamp| Stamp(stamp.0.clone()))
    }

    /// A second copy, by name: it holds keys.
    pub(super) fn duplicate(&self) -> Self {
        Self {
            pending: self.pending.iter().map(Entry::duplicate).collect(),
            escrow: self.escrow.iter().map(Entry::duplicate).collect(),
            stamp: self.stamp.as_ref().map(|stamp| Opaque(stamp.0.clone())),
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    id: KeyId,
    rotation: String,
    parts: Vec<EntryPart>,
    destroy_after: Option<Timestamp>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EntryPart {
    name: String,
    material: Material,
}

impl Entry {
    fn of(key: &HiddenKey) -> Self {
        Self {
            id: key.id,
            rotation: key.rotation.clone(),
            parts: key
                .parts
                .iter()
                .map(|(name, material)| EntryPart { name: name.clone(), material: Material(material.duplicate()) })
                .collect(),
            destroy_after: key.destroy_after,
        }
    }

    fn to_key(&self) -> HiddenKey {
        HiddenKey {
            id: self.id,
            rotation: self.rotation.clone(),
            parts: self.parts.iter().map(|part| (part.name.clone(), part.material.0.duplicate())).collect(),
            destroy_after: self.destroy_after,
        }
    }

    fn duplicate(&self) -> Self {
        Self::of(&self.to_key())
    }
}

/// Secret bytes, in base64 on disk.
pub(super) struct Material(pub(super) Secret);

impl Serialize for Material {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Secret64(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Material {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64;
        impl Visitor<'_> for Base64 {
            type Value = Material;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Material, E> {
                Secret::from_base64(text.as_bytes()).map(Material).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Base64)
    }
}

/// Bytes that are no secret, in base64 on disk, because nothing says that they are text.
struct Opaque(Vec<u8>);

impl Serialize for Opaque {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64_simd::STANDARD.encode_to_string(&self.0))
    }
}

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Material::deserialize(deserializer).map(|material| Self(material.0.expose().to_vec()))
    }
}

struct Secret64<'a>(&'a Secret);

impl Serialize for Secret64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(base64_simd::STANDARD.encode_to_string(self.0.expose()));
        serializer.serialize_str(&text)
    }
}

/// The word by which a person who finds the file knows what it is.
struct Format;

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(FORMAT)
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            FORMAT => Ok(Self),
            _ => Err(de::Error::custom("another format")),
        }
    }
}

struct Version;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(VERSION)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            VERSION => Ok(Self),
            _ => Err(de::Error::custom("another version")),
        }
    }
}

struct Measure(usize);

impl std::io::Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is the shape that `map_err` takes")]
fn malformed(err: serde_json::Error) -> HiddenError {
    HiddenError::Malformed { line: err.line(), column: err.column() }
}

const FORMAT: &str = "hidden-document";

const VERSION: u32 = 1;
