//! Fingerprints of keys, computed once per process.
//!
//! A fingerprint costs about a tenth of a second on purpose. The cache is keyed by a keyed hash under a key that lives only
//! in this process, so that it holds nothing that a guess could be tested against elsewhere.

use std::collections::HashMap;
use std::sync::Mutex;

use aws_lc_rs::{hmac, rand};
use keyroll_keyring::{Fields, Fingerprint, Part, Secret};

/// The cache.
pub struct Fingerprints {
    blind: hmac::Key,
    known: Mutex<HashMap<Blinded, Option<Fingerprint>>>,
}

/// Key material, blinded: equal for equal material within this process, and useless outside of it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Blinded([u8; 32]);

impl Fingerprints {
    /// An empty cache.
    pub fn new() -> Self {
        let mut seed = [0_u8; 32];
        // Without randomness no key could be generated either; a constant blind only weakens what never leaves memory.
        let _ = rand::fill(&mut seed);
        Self { blind: hmac::Key::new(hmac::HMAC_SHA256, &seed), known: Mutex::new(HashMap::new()) }
    }

    /// The fingerprint of `parts`; none for a key that is too weak to have one.
    pub fn of(&self, parts: &[Part]) -> Option<Fingerprint> {
        let blinded = self.blind(parts);
        let known = self.known.lock().ok().and_then(|known| known.get(&blinded).cloned());
        if let Some(fingerprint) = known {
            return fingerprint;
        }
        let fingerprint = Fingerprint::of(parts).ok();
        if let Ok(mut known) = self.known.lock() {
            known.insert(blinded, fingerprint.clone());
        }
        fingerprint
    }

    /// The blinded material, by which two keys are compared where one of them has no fingerprint.
    pub(crate) fn blind(&self, parts: &[Part]) -> Blinded {
        let mut context = hmac::Context::with_key(&self.blind);
        for part in parts {
            // Lengths first, so that no two lists of parts run together to the same bytes.
            context.update(&(part.name.0.len() as u64).to_be_bytes());
            context.update(part.name.0.as_bytes());
            context.update(&(part.material.expose().len() as u64).to_be_bytes());
            context.update(part.material.expose());
        }
        blinded(context)
    }

    /// The fields of a store, blinded, whatever they hold.
    pub(crate) fn blind_fields(&self, fields: &Fields) -> Blinded {
        let mut context = hmac::Context::with_key(&self.blind);
        for (name, value) in &fields.0 {
            context.update(&(name.0.len() as u64).to_be_bytes());
            context.update(name.0.as_bytes());
            // An empty field is another one than none.
            context.update(&[u8::from(value.is_some())]);
            let bytes = value.as_ref().map(Secret::expose).unwrap_or_default();
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        }
        blinded(context)
    }
}

fn blinded(context: hmac::Context) -> Blinded {
    let tag = context.sign();
    let mut bytes = [0_u8; 32];
    bytes.copy_from_slice(&tag.as_ref()[..32]);
    Blinded(bytes)
}

impl Default for Fingerprints {
    fn default() -> Self {
        Self::new()
    }
}
