//! The ring file: a ring as one document that is replaced in one step, so that no reader sees half of a change.
//!
//! The writer gives the same bytes for the same ring. Candidates and the material of retired keys are left out: what
//! applications read holds only what they may accept. `docs/reference/ring-file.md` defines it for other languages.

use std::borrow::Cow;

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
    let room = file.room();
    let mut text = Vec::with_capacity(room);
    serde_json::to_writer_pretty(&mut text, &file).unwrap_or_else(|_| unreachable!("writing to memory does not fail"));
    text.push(b'\n');
    debug_assert!(text.len() <= room, "the buffer grew and left a copy behind");
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
    #[serde(borrow)]
    name: Cow<'a, str>,
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
            Ok(Part { name: PartName(part.name.clone().into_owned()), material })
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../vectors/ring-file.json")).expect("vectors are JSON")
    }

    fn entries<'a>(vectors: &'a Value, list: &str) -> &'a [Value] {
        let entries = vectors[list].as_array().expect("a list");
        assert!(!entries.is_empty());
        entries
    }

    fn text(entry: &Value) -> &str {
        entry["text"].as_str().expect("text")
    }

    fn described(key: &Key, state: Option<KeyState>) -> Value {
        let parts: Vec<_> = key
            .parts()
            .iter()
            .map(|part| serde_json::json!([part.name.0, hex::encode(part.material.expose())]))
            .collect();
        match state {
            Some(state) => serde_json::json!({"id": key.id(), "state": state, "parts": parts}),
            None => serde_json::json!({"id": key.id(), "parts": parts}),
        }
    }

    #[test]
    fn a_valid_ring_file_is_read_and_written_back_byte_for_byte() {
        for entry in entries(&vectors(), "valid") {
            let ring = parse(text(entry).as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", entry["name"]));
            assert_eq!(described(ring.active(), None), entry["active"], "{}", entry["name"]);
            let accept: Vec<_> = ring.accept_only().map(|key| described(key, ring.state(key.id()))).collect();
            assert_eq!(Value::from(accept), entry["accept"], "{}", entry["name"]);
            let gone: Vec<_> = ring
                .gone()
                .map(|gone| serde_json::json!({"id": gone.id, "state": gone.state, "fingerprint": gone.fingerprint}))
                .collect();
            assert_eq!(Value::from(gone), entry["retired"], "{}", entry["name"]);
            assert_eq!(render(&ring).expose(), text(entry).as_bytes(), "{}", entry["name"]);
        }
    }

    #[test]
    fn the_example_of_the_reference_page_is_what_the_writer_gives() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/ring-file.md");
        let page = std::fs::read_to_string(page).expect("the page is in the repository");
        let example = page.split("```").nth(1).and_then(|block| block.strip_prefix("json\n")).expect("an example");
        let ring = parse(example.as_bytes()).expect("a ring file");
        assert_eq!(render(&ring).expose_text(), Ok(example));
    }

    #[test]
    fn what_is_not_exactly_a_ring_file_is_refused_without_quoting_it() {
        for entry in entries(&vectors(), "refused") {
            let Err(error) = parse(text(entry).as_bytes()) else { panic!("{} was read", entry["name"]) };
            let shown = format!("{error:?} {error}");
            assert!(!shown.contains("fq4x6Tx8"), "{}: {shown}", entry["name"]);
        }
        let newer = parse(br#"{"version": 2, "something": "new"}"#);
        assert!(matches!(newer, Err(RingFileError::Newer { version: 2 })));
    }

    #[test]
    fn an_error_never_quotes_what_stands_in_the_file() {
        let secret = "c2VjcmV0LW1hdGVyaWFsLXRoYXQtbXVzdC1ub3Qtc2hvdw==";
        for text in [
            format!(r#"{{"version": "{secret}"}}"#),
            format!(r#"{{"version": 1, "{secret}": 1, "active": 1}}"#),
            format!(r#"{{"version": 1, "active": "{secret}", "accept": []}}"#),
            format!(
                r#"{{"version": 1, "active": {{"id": 1, "parts": [{{"name": "main", "material": "{secret}!"}}]}}, "accept": []}}"#
            ),
            format!(r#"{{"version": 1, "active": {{"id": "{secret}", "parts": []}}, "accept": []}}"#),
            format!(r#"{{"version": 1, "active": {{"id": 1, "parts": "{secret}"}}, "accept": "{secret}"}}"#),
        ] {
            let Err(error) = parse(text.as_bytes()) else { panic!("it was read: {text}") };
            let mut shown = format!("{error:?}");
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = cause {
                shown.push_str(&error.to_string());
                cause = error.source();
            }
            assert!(!shown.contains(&secret[..8]), "{shown}");
        }
    }

    #[test]
    fn candidates_and_the_material_of_retired_keys_stay_out_of_the_file() {
        let key = |id, fill: u8| Key::single(KeyId(id), Secret::from_bytes(vec![fill; 32]));
        let mut ring = Ring::new(key(1, 0x11));
        ring.stage(key(2, 0x22)).expect("a candidate");
        ring.accept(KeyId(2)).expect("accepted");
        ring.promote(KeyId(2)).expect("promoted");
        ring.retire(KeyId(1)).expect("retired");
        ring.stage(key(3, 0x33)).expect("a candidate");
        let text = render(&ring);
        let again = parse(text.expose()).expect("a ring file");
        assert_eq!(again.active().id(), KeyId(2));
        assert_eq!(
            again.states().into_iter().collect::<Vec<_>>(),
            [(KeyId(1), KeyState::Deactivated), (KeyId(2), KeyState::Active)]
        );
        let text = text.expose_text().expect("text");
        assert!(text.contains(&base64_simd::STANDARD.encode_to_string([0x22; 32])));
        assert!(!text.contains("ERER") && !text.contains("MzMz"), "{text}");
    }

    #[test]
    fn the_room_for_a_file_is_never_too_small() {
        let odd = PartName("\u{1}\"".repeat(50));
        let part =
            |name: &PartName, fill: u8| Part { name: name.clone(), material: Secret::from_bytes(vec![fill; 100]) };
        let active = Key::with_parts(KeyId(u32::MAX), vec![part(&odd, 1)]).expect("a key");
        let accept = (2..40)
            .map(|fill| {
                (
                    Key::with_parts(KeyId(fill), vec![part(&odd, fill as u8)]).expect("a key"),
                    KeyState::ActiveForProcessing,
                )
            })
            .collect();
        let gone =
            (40..60).map(|id| Tombstone { id: KeyId(id), state: KeyState::Compromised, fingerprint: None }).collect();
        let ring = Ring::assemble(active, accept, gone).expect("a ring");
        // The file is written into one buffer that must not grow; `render` says so in debug builds.
        let again = parse(render(&ring).expose()).expect("a ring file");
        assert_eq!(again.states(), ring.states());
        assert_eq!(again.active().parts()[0].name, odd);
    }
}
