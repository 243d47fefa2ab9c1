//! The stamp: what Keyroll keeps beside the key in every store, so that any operator on any machine can go on.
//!
//! It holds no key bytes. A stamp of a newer version is refused rather than half understood: whoever overwrites what it does
//! not understand destroys what somebody else relies on.

use std::collections::BTreeSet;

use keyroll_adapters::stores::{Revision, Stamp};
use keyroll_keyring::{Fingerprint, KeyId, KeyState};
use keyroll_rotation::{Epoch, Rotation, RotationId, Stage, WorldConfiguration};
use serde::{Deserialize, Serialize};

use crate::journal::{Anchor, Why};
use crate::request::{Compromised, Overrides, RevokeRequest, StoreLeak};
use crate::world::lock::LockHolder;

/// What a stamp says.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StampBody {
    /// The version of the format.
    pub(crate) format: u32,
    /// The key's name in `keyroll.yaml`.
    pub(crate) name: String,
    /// Grows with every write of a stamp in any of the key's stores: the copy with the greatest one is the newest.
    pub(crate) sequence: u64,
    /// Grows whenever the lock is taken.
    pub(crate) epoch: Epoch,
    /// Who drives.
    pub(crate) lock: Option<LockHolder>,
    /// The head of the audit chain when this was written.
    pub(crate) audit: Option<Anchor>,
    /// Which keys are known, and every id that was ever used.
    pub(crate) ledger: Ledger,
    /// The accept-only key that waits for the next rotation.
    pub(crate) standby: Option<KeyId>,
    /// The rotation that is open, or in escrow.
    pub(crate) open: Option<OpenRotation>,
    /// A rotation in escrow that a standby run took the place of.
    pub(crate) parked: Option<OpenRotation>,
    /// What operators elsewhere asked the driver to do.
    pub(crate) requests: Vec<PendingRequest>,
    /// The last rotation that was closed.
    pub(crate) last: Option<LastRotation>,
}

/// The keys that are known.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Ledger {
    /// The greatest id that was ever used.
    pub(crate) highest: u32,
    /// Keys, oldest first.
    pub(crate) keys: Vec<KnownKey>,
}

/// One known key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct KnownKey {
    pub(crate) id: KeyId,
    /// None for a key that is too weak to have one.
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) state: KeyState,
    /// The rotation that made it; none for a key that was there before Keyroll.
    pub(crate) rotation: Option<RotationId>,
    /// Whether sessions may exist under it. Its state does not tell: a leaked key is compromised, whatever it was before.
    #[serde(default, skip_serializing_if = "Minted::is_never")]
    pub(crate) minted: Minted,
}

/// Whether a key was ever active in any store.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Minted {
    #[default]
    Never,
    Perhaps,
}

impl Minted {
    fn is_never(&self) -> bool {
        *self == Self::Never
    }
}

/// A rotation that is open.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct OpenRotation {
    pub(crate) id: RotationId,
    /// The machine's state.
    pub(crate) machine: Rotation,
    pub(crate) opened_at: jiff::Timestamp,
    pub(crate) opened_by: String,
    pub(crate) why: Why,
    /// The hash of the world for which it was planned.
    pub(crate) plan_hash: String,
    /// The revocation that it carries out. Asked again in the same words it is the same one: "old" and "new" mean other keys by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<Asked>,
    /// While it stands still for a foreign write: which keys each store was shown to hold, where that can be told. A person
    /// decides about these, and not about what somebody writes later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) shown: Vec<Option<String>>,
}

/// The last rotation that was closed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LastRotation {
    pub(crate) id: RotationId,
    pub(crate) stage: Stage,
    pub(crate) closed_at: jiff::Timestamp,
    /// The revocation that it carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<Asked>,
}

/// What an operator elsewhere asked for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PendingRequest {
    /// Unique, so that it is taken once.
    pub(crate) id: String,
    /// The rotation that it is meant for.
    pub(crate) rotation: RotationId,
    /// Who asked.
    pub(crate) by: String,
    /// When.
    pub(crate) at: jiff::Timestamp,
    pub(crate) why: Why,
    pub(crate) what: Asked,
    /// The store's version over which it was left, where it was left in a store: whoever wrote there since the driver's last look is
    /// not to be hidden behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) over: Option<Revision>,
}

/// What can be asked of a driver from elsewhere.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub(crate) enum Asked {
    Pause {},
    Resume {},
    Rollback {},
    Revoke { mode: keyroll_rotation::Mode, compromised: Compromised, store: StoreLeak },
    Override { accept_loss: Option<u64>, extend_drain_ms: Option<u64>, weak_evidence: WeakEvidence },
    ReloadLaggards {},
}

/// Whether weak evidence was asked for by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum WeakEvidence {
    Accepted,
    NotAsked,
}

/// Why a stamp can't be understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StampError {
    #[error("it is of version {found}, and this keyroll knows versions up to {STAMP_FORMAT}; use a newer keyroll")]
    Newer { found: u64 },
    #[error("it is not a stamp: {0}")]
    Malformed(String),
    #[error("it belongs to `{found}`, not to `{expected}`; two keys must not share one secret")]
    OtherKey { found: String, expected: String },
}

impl StampBody {
    /// A stamp for a secret that has none.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            format: STAMP_FORMAT,
            name: name.to_owned(),
            sequence: 0,
            epoch: Epoch(0),
            lock: None,
            audit: None,
            ledger: Ledger::default(),
            standby: None,
            open: None,
            parked: None,
            requests: Vec::new(),
            last: None,
        }
    }

    /// Reads a stamp; unreadable is an error, and never "none".
    pub(crate) fn decode(stamp: &Stamp) -> Result<Self, StampError> {
        Self::of(serde_json::from_slice(&stamp.0).map_err(|error| StampError::Malformed(place(&error)))?)
    }

    /// The same of what the journal holds.
    pub(crate) fn of(value: serde_json::Value) -> Result<Self, StampError> {
        let format = value
            .get("format")
            .and_then(serde_json::Value::as_u64)
            .ok_or_else(|| StampError::Malformed("it has no version".into()))?;
        if format > u64::from(STAMP_FORMAT) {
            return Err(StampError::Newer { found: format });
        }
        serde_json::from_value(value).map_err(|error| StampError::Malformed(place(&error)))
    }

    /// Writes it. What a member showed last is left out: ten thousand members would not fit beside a key.
    pub(crate) fn encode(&self) -> Result<Stamp, StampError> {
        let mut lean = self.clone();
        for open in lean.open.iter_mut().chain(lean.parked.iter_mut()) {
            open.machine.unproven.truncate(UNPROVEN_KEPT);
        }
        lean.ledger.prune();
        serde_json::to_vec(&lean).map(Stamp).map_err(|error| StampError::Malformed(error.to_string()))
    }

    /// Whether `self` was written later than `other`.
    pub(crate) fn newer_than(&self, other: &Self) -> bool {
        (self.epoch, self.sequence) > (other.epoch, other.sequence)
    }
}

impl KnownKey {
    fn is_ended(&self) -> bool {
        matches!(self.state, KeyState::Compromised | KeyState::Destroyed)
    }
}

/// What there is to do about a key that came back and must not.
pub(crate) const RETURNED_FIX: &str = "find out who put it back; put back the key that was in use (`keyroll status` lists it) and reload every \
     member, or, where nobody has that any more, `keyroll revoke --mode hard-cutover --leaked old --store-leaked no` replaces \
     whatever is there by a new key, and ends the sessions";

impl Ledger {
    pub(crate) fn get(&self, id: KeyId) -> Option<&KnownKey> {
        self.keys.iter().find(|key| key.id == id)
    }

    pub(crate) fn by_fingerprint(&self, fingerprint: &Fingerprint) -> Option<&KnownKey> {
        self.keys.iter().find(|key| key.fingerprint.as_ref() == Some(fingerprint))
    }

    /// Keys that are too weak to have a fingerprint and are still somewhere.
    pub(crate) fn weak(&self) -> impl Iterator<Item = &KnownKey> {
        self.keys.iter().filter(|key| key.fingerprint.is_none() && key.state != KeyState::Destroyed)
    }

    /// Gives a key that was never seen its id.
    pub(crate) fn adopt(
        &mut self,
        fingerprint: Option<Fingerprint>,
        state: KeyState,
        rotation: Option<RotationId>,
    ) -> KeyId {
        let id = self.next();
        self.enter(KnownKey { id, fingerprint, state, rotation, minted: Minted::Never });
        id
    }

    /// The id that the next new key gets.
    pub(crate) fn next(&self) -> KeyId {
        KeyId(self.highest.saturating_add(1))
    }

    /// Enters a key, or updates it.
    pub(crate) fn enter(&mut self, key: KnownKey) {
        self.highest = self.highest.max(key.id.0);
        match self.keys.iter_mut().find(|known| known.id == key.id) {
            Some(known) => *known = key,
            None => self.keys.push(key),
        }
    }

    pub(crate) fn set_state(&mut self, id: KeyId, state: KeyState) {
        // An id that the record speaks of is used up, also where the key was never stored.
        self.highest = self.highest.max(id.0);
        if let Some(known) = self.keys.iter_mut().find(|known| known.id == id) {
            // A compromised key stays compromised, whatever else becomes of it: it must be known again if it returns. So does a
            // destroyed one, but for the leak that its return may have been.
            match (known.state, state) {
                (KeyState::Compromised, _) => {}
                (KeyState::Destroyed, KeyState::Compromised) => known.state = state,
                (KeyState::Destroyed, _) => {}
                (_, _) => known.state = state,
            }
        }
    }

    pub(crate) fn compromised(&self) -> BTreeSet<KeyId> {
        self.keys.iter().filter(|key| key.state == KeyState::Compromised).map(|key| key.id).collect()
    }

    /// Keys that must never be used again: compromised and destroyed ones.
    pub(crate) fn ended(&self) -> BTreeSet<KeyId> {
        self.keys.iter().filter(|key| key.is_ended()).map(|key| key.id).collect()
    }

    /// The keys of a configuration that must never have come back, in words: none where there is none.
    pub(crate) fn returned(&self, configuration: &WorldConfiguration) -> Option<String> {
        let ended = self.keys.iter().filter(|key| key.is_ended() && configuration.accept.contains(&key.id));
        let words: Vec<_> = ended
            .map(|key| {
                let state = if key.state == KeyState::Destroyed { "destroyed" } else { "compromised" };
                let place = if key.id == configuration.active { "active" } else { "accepted" };
                format!("{} is {state} and must never return, and it is {place}", key.id)
            })
            .collect();
        (!words.is_empty()).then(|| words.join("; "))
    }

    /// Forgets destroyed keys but the last few. Compromised ones are never forgotten.
    fn prune(&mut self) {
        let destroyed: Vec<_> =
            self.keys.iter().filter(|key| key.state == KeyState::Destroyed).map(|key| key.id).collect();
        let forget = &destroyed[..destroyed.len().saturating_sub(DESTROYED_KEPT)];
        self.keys.retain(|key| !forget.contains(&key.id));
    }
}

impl Asked {
    /// In words, for `status` and the record.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Pause {} => "pause".into(),
            Self::Resume {} => "resume".into(),
            Self::Rollback {} => "rollback".into(),
            Self::Revoke { mode, .. } => format!("revoke --mode {}", crate::words::mode(*mode)),
            Self::Override { accept_loss, extend_drain_ms, weak_evidence } => {
                let mut words = Vec::new();
                if let Some(sessions) = accept_loss {
                    words.push(format!("--accept-loss {sessions}"));
                }
                if let Some(span) = extend_drain_ms {
                    words.push(format!("--extend-drain {span}ms"));
                }
                if *weak_evidence == WeakEvidence::Accepted {
                    words.push("--evidence weak".into());
                }
                words.join(" ")
            }
            Self::ReloadLaggards {} => "reload --laggards".into(),
        }
    }

    /// What asks for the same thing again, where that takes more than a word.
    pub(crate) fn command(&self) -> String {
        let Self::Revoke { compromised, store, .. } = self else { return self.words() };
        let leaked = match compromised {
            Compromised::Old => "old",
            Compromised::New => "new",
            Compromised::Both => "both",
        };
        let store = match store {
            StoreLeak::Excluded => "no",
            StoreLeak::Possible => "yes",
        };
        format!("{} --leaked {leaked} --store-leaked {store}", self.words())
    }

    /// A revocation as something that can be asked of a driver.
    pub(crate) fn revoke(request: &RevokeRequest) -> Self {
        Self::Revoke { mode: request.mode, compromised: request.compromised, store: request.store }
    }

    /// The overrides as something that can be asked of a driver, if there are any.
    pub(crate) fn overrides(overrides: &Overrides) -> Option<Self> {
        if *overrides == Overrides::default() {
            return None;
        }
        let weak = overrides.evidence == Some(keyroll_rotation::gate::EvidenceRule::Weak);
        Some(Self::Override {
            accept_loss: overrides.accept_loss,
            extend_drain_ms: overrides.extend_drain.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
            weak_evidence: if weak { WeakEvidence::Accepted } else { WeakEvidence::NotAsked },
        })
    }
}

/// Where JSON is broken, without what stands there.
fn place(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

/// The version that this code writes.
pub(crate) const STAMP_FORMAT: u32 = 1;

/// How many unproven members a stamp names.
const UNPROVEN_KEPT: usize = 20;

/// How many destroyed keys a stamp remembers.
const DESTROYED_KEPT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_as_it_was_written() {
        let mut body = StampBody::new("storefront");
        body.sequence = 7;
        body.requests.push(PendingRequest {
            id: "q1".into(),
            rotation: RotationId("r-1".into()),
            by: "ada".into(),
            at: jiff::Timestamp::UNIX_EPOCH,
            why: Why::default(),
            what: Asked::Pause {},
            over: None,
        });
        assert_eq!(StampBody::decode(&body.encode().unwrap()).unwrap(), body);
    }

    #[test]
    fn a_newer_stamp_is_refused_and_garbage_is_not_no_stamp() {
        let newer = Stamp(br#"{"format":2,"later":"fields"}"#.to_vec());
        assert!(matches!(StampBody::decode(&newer), Err(StampError::Newer { found: 2 })));
        for garbage in [&b""[..], b"{}", b"null", br#"{"format":1}"#] {
            assert!(matches!(StampBody::decode(&Stamp(garbage.to_vec())), Err(StampError::Malformed(_))));
        }
    }

    #[test]
    fn a_compromised_key_is_never_forgotten_and_ids_only_grow() {
        let mut body = StampBody::new("storefront");
        for _ in 0..40 {
            body.ledger.adopt(None, KeyState::Destroyed, None);
        }
        let leaked = KeyId(3);
        body.ledger.keys.iter_mut().find(|key| key.id == leaked).unwrap().state = KeyState::Compromised;
        body.ledger.set_state(leaked, KeyState::Destroyed);
        let back = StampBody::decode(&body.encode().unwrap()).unwrap();
        assert_eq!(back.ledger.compromised(), [leaked].into());
        assert_eq!(back.ledger.keys.len(), DESTROYED_KEPT + 1);
        assert_eq!(back.ledger.next(), KeyId(41));
    }

    #[test]
    fn a_destroyed_key_stays_destroyed_unless_it_is_found_to_have_leaked() {
        let mut ledger = Ledger::default();
        let id = ledger.adopt(None, KeyState::Destroyed, None);
        for state in [KeyState::Active, KeyState::ActiveForProcessing, KeyState::Deactivated] {
            ledger.set_state(id, state);
            assert_eq!(ledger.get(id).unwrap().state, KeyState::Destroyed);
        }
        ledger.set_state(id, KeyState::Compromised);
        ledger.set_state(id, KeyState::Active);
        assert_eq!(ledger.get(id).unwrap().state, KeyState::Compromised);
    }
}
