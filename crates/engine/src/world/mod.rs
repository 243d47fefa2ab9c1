//! What the stores hold, in key ids.
//!
//! Most formats carry no id, so a key is known by its fingerprint. A key that is too weak to have one is known only by being
//! the one weak key there is; where there are two, nobody can tell, and that is said instead of guessed.

use std::collections::{BTreeMap, BTreeSet};

use keyroll_adapters::stores::{Document, HiddenKey, Revision, Versioned};
use keyroll_keyring::{Configuration, Fields, Fingerprint, FoundKey, Key, KeyId, KeyState, Part, PartName, Profile};
use keyroll_rotation::WorldConfiguration;

use crate::error::EngineError;
use crate::world::fingerprints::{Blinded, Fingerprints};
use crate::world::stamp::{KnownKey, Ledger, Minted, StampBody, StampError};

pub(crate) mod fingerprints;
pub(crate) mod lock;
pub(crate) mod stamp;

/// One store as it was read.
pub(crate) struct StoreView {
    pub(crate) location: String,
    pub(crate) revision: Revision,
    pub(crate) document: Document,
    pub(crate) stamp: Option<StampBody>,
}

impl StoreView {
    /// Understands what was read.
    pub(crate) fn of(location: String, versioned: Versioned, name: &str) -> Result<Self, EngineError> {
        let stamp = match &versioned.document.stamp {
            None => None,
            Some(stamp) => {
                let body = StampBody::decode(stamp)
                    .map_err(|error| EngineError::Stamp { location: location.clone(), reason: error.to_string() })?;
                if body.name != name {
                    let error = StampError::OtherKey { found: body.name, expected: name.to_owned() };
                    return Err(EngineError::Stamp { location, reason: error.to_string() });
                }
                Some(body)
            }
        };
        Ok(Self { location, revision: versioned.revision, document: versioned.document, stamp })
    }
}

/// The keys whose bytes are in this process's memory, by id.
#[derive(Default)]
pub(crate) struct Materials {
    by_id: BTreeMap<KeyId, Key>,
    ids: BTreeMap<Blinded, KeyId>,
}

impl Materials {
    pub(crate) fn get(&self, id: KeyId) -> Option<&Key> {
        self.by_id.get(&id)
    }

    pub(crate) fn insert(&mut self, fingerprints: &Fingerprints, id: KeyId, parts: Vec<Part>) {
        let blinded = fingerprints.blind(&parts);
        // Parts that do not make a key (none at all, or two of one name) can't be used, and are as good as not there.
        if let Ok(key) = Key::with_parts(id, parts) {
            self.ids.insert(blinded, id);
            self.by_id.insert(id, key);
        }
    }

    pub(crate) fn forget(&mut self, id: KeyId) {
        self.by_id.remove(&id);
        self.ids.retain(|_, known| *known != id);
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.by_id.keys().copied()
    }
}

/// Who a key is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Identity {
    /// A key of the ledger.
    Known(KeyId),
    /// A key that nobody has seen before, with its fingerprint if it is strong enough to have one.
    Unknown(Option<Fingerprint>),
}

/// Finds out who a key is.
pub(crate) fn identify(
    ledger: &Ledger,
    materials: &Materials,
    fingerprints: &Fingerprints,
    parts: &[Part],
) -> Identity {
    if let Some(id) = materials.ids.get(&fingerprints.blind(parts)) {
        return Identity::Known(*id);
    }
    let Some(fingerprint) = fingerprints.of(parts) else {
        let mut weak = ledger.weak();
        return match (weak.next(), weak.next()) {
            // Where its bytes are at hand, other bytes are another key.
            (Some(only), None) if materials.get(only.id).is_none() => Identity::Known(only.id),
            _ => Identity::Unknown(None),
        };
    };
    match ledger.by_fingerprint(&fingerprint) {
        Some(known) => Identity::Known(known.id),
        None => Identity::Unknown(Some(fingerprint)),
    }
}

/// What the fields of a store say, in key ids.
pub(crate) enum FieldsSay {
    /// Known keys only.
    Configuration(WorldConfiguration),
    /// Something else, in words without secrets.
    Foreign(String),
}

impl FieldsSay {
    pub(crate) fn configuration(&self) -> Option<&WorldConfiguration> {
        match self {
            Self::Configuration(configuration) => Some(configuration),
            Self::Foreign(_) => None,
        }
    }

    pub(crate) fn words(&self) -> String {
        match self {
            Self::Configuration(configuration) => configuration_words(configuration),
            Self::Foreign(words) => words.clone(),
        }
    }
}

/// Reads the fields against the ledger and keeps the bytes of the keys that it recognises.
pub(crate) fn read_fields(
    profile: &Profile,
    ledger: &Ledger,
    materials: &mut Materials,
    fingerprints: &Fingerprints,
    fields: &Fields,
) -> FieldsSay {
    let parsed = match profile.parse(fields) {
        Ok(parsed) => parsed,
        Err(error) => return FieldsSay::Foreign(error.to_string()),
    };
    let mut recognise = |found: FoundKey| -> Result<KeyId, String> {
        match identify(ledger, materials, fingerprints, &found.parts) {
            Identity::Known(id) => {
                if let Some(written) = found.id
                    && written != id
                {
                    return Err(format!("a key that calls itself {written} and is {id}"));
                }
                if materials.get(id).is_none() {
                    materials.insert(fingerprints, id, found.parts);
                }
                Ok(id)
            }
            Identity::Unknown(Some(fingerprint)) => Err(format!("an unknown key with the fingerprint {fingerprint}")),
            Identity::Unknown(None) => Err("an unknown key that is too weak to have a fingerprint".into()),
        }
    };
    // All of them are looked at, so that beside a stranger the bytes of the keys that are known are still at hand.
    let active = recognise(parsed.active);
    let accept_only: Vec<_> = parsed.accept_only.into_iter().map(&mut recognise).collect();
    let active = match active {
        Ok(active) => active,
        Err(words) => return FieldsSay::Foreign(words),
    };
    let mut accept = BTreeSet::from([active]);
    for found in accept_only {
        match found {
            Ok(id) => {
                if !accept.insert(id) {
                    return FieldsSay::Foreign(format!("{id} twice"));
                }
            }
            Err(words) => return FieldsSay::Foreign(words),
        }
    }
    FieldsSay::Configuration(WorldConfiguration { active, accept })
}

/// The keys of the fields, each by its id or its fingerprint, so that no other keys have the same words; none where one of them
/// has neither.
pub(crate) fn identities(
    profile: &Profile,
    ledger: &Ledger,
    materials: &Materials,
    fingerprints: &Fingerprints,
    fields: &Fields,
) -> Option<String> {
    let parsed = profile.parse(fields).ok()?;
    let mut names = Vec::new();
    for found in std::iter::once(parsed.active).chain(parsed.accept_only) {
        let name = match identify(ledger, materials, fingerprints, &found.parts) {
            Identity::Known(id) => id.to_string(),
            Identity::Unknown(fingerprint) => fingerprint?.to_string(),
        };
        names.push(found.id.map_or_else(|| name.clone(), |id| format!("{id}={name}")));
    }
    Some(names.join(" "))
}

/// Gives keys that were there before Keyroll their ids: the last accept-only key the smallest, the active one the greatest.
pub(crate) fn adopt(
    profile: &Profile,
    ledger: &mut Ledger,
    materials: &mut Materials,
    fingerprints: &Fingerprints,
    fields: &Fields,
) -> Result<Vec<KeyId>, EngineError> {
    let parsed = profile.parse(fields)?;
    let mut adopted = Vec::new();
    let found = parsed
        .accept_only
        .into_iter()
        .rev()
        .map(|key| (key, KeyState::ActiveForProcessing))
        .chain([(parsed.active, KeyState::Active)]);
    for (key, state) in found {
        if let Identity::Unknown(fingerprint) = identify(ledger, materials, fingerprints, &key.parts) {
            let id = match key.id {
                Some(id) if ledger.get(id).is_none() => {
                    ledger.enter(KnownKey { id, fingerprint, state, rotation: None, minted: Minted::Never });
                    id
                }
                _ => ledger.adopt(fingerprint, state, None),
            };
            materials.insert(fingerprints, id, key.parts);
            adopted.push(id);
        }
    }
    Ok(adopted)
}

/// Keeps the bytes of the hidden keys of a document.
pub(crate) fn read_hidden(materials: &mut Materials, fingerprints: &Fingerprints, document: &Document) {
    for hidden in document.pending.iter().chain(&document.escrow) {
        if materials.get(hidden.id).is_none() {
            materials.insert(fingerprints, hidden.id, hidden_parts(hidden));
        }
    }
}

/// The fields for `configuration`, newest accept-only key first.
pub(crate) fn render(
    profile: &Profile,
    materials: &Materials,
    configuration: &WorldConfiguration,
) -> Result<Fields, EngineError> {
    let material = |id: KeyId| {
        materials.get(id).ok_or_else(|| EngineError::HumanMustDecide {
            decision: format!(
                "the bytes of {id} are in no store any more, so that it can't be written; nothing was changed. \
                 If you have a copy, put it back where it was, or run `keyroll rollback --key-from FILE`"
            ),
        })
    };
    let active = material(configuration.active)?;
    let accept_only = configuration
        .accept
        .iter()
        .rev()
        .filter(|id| **id != configuration.active)
        .map(|id| material(*id))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(profile.render(&Configuration { active, accept_only })?)
}

/// A second copy of a document, by name: secrets have no `Clone`.
pub(crate) fn copy_document(document: &Document) -> Document {
    Document {
        fields: Fields(
            document
                .fields
                .0
                .iter()
                .map(|(name, value)| (name.clone(), value.as_ref().map(keyroll_keyring::Secret::duplicate)))
                .collect(),
        ),
        pending: document.pending.iter().map(copy_hidden).collect(),
        escrow: document.escrow.iter().map(copy_hidden).collect(),
        stamp: document.stamp.clone(),
    }
}

/// A key as a store hides it.
pub(crate) fn hide(key: &Key, rotation: &str, destroy_after: Option<keyroll_adapters::Timestamp>) -> HiddenKey {
    HiddenKey {
        id: key.id(),
        rotation: rotation.to_owned(),
        parts: key.parts().iter().map(|part| (part.name.0.clone(), part.material.duplicate())).collect(),
        destroy_after,
    }
}

/// The parts of a hidden key.
pub(crate) fn hidden_parts(hidden: &HiddenKey) -> Vec<Part> {
    hidden
        .parts
        .iter()
        .map(|(name, material)| Part { name: PartName(name.clone()), material: material.duplicate() })
        .collect()
}

/// A configuration in words: `k2 active, k1 accepted`.
pub(crate) fn configuration_words(configuration: &WorldConfiguration) -> String {
    let others: Vec<_> =
        configuration.accept.iter().rev().filter(|id| **id != configuration.active).map(ToString::to_string).collect();
    if others.is_empty() {
        format!("{} active and nothing else accepted", configuration.active)
    } else {
        format!("{} active, {} accepted", configuration.active, others.join(" and "))
    }
}

fn copy_hidden(hidden: &HiddenKey) -> HiddenKey {
    HiddenKey {
        id: hidden.id,
        rotation: hidden.rotation.clone(),
        parts: hidden.parts.iter().map(|(name, material)| (name.clone(), material.duplicate())).collect(),
        destroy_after: hidden.destroy_after,
    }
}
