//! Sealed sessions for Rust applications: opaque bytes that a client may hold and nobody but the ring can read or change.
//!
//! The form is `docs/reference/sealed-token.md`. A token names its key in the clear, so that opening costs the same with one key
//! and with 64, and an operator can count by key without any key. It also carries a *commitment* to its key: AES-GCM alone lets
//! somebody who knows two keys make one token that opens under both, and a leaked old key is exactly such a key.

use crate::token::{Mint, MintError, OpenError, ResealError};
use crate::{Key, KeyId, UnixTime};

mod context;
mod index;
mod nonce;
mod session;
mod slot;
mod token;
mod xaes;

pub use context::Context;
pub use session::Session;
pub use token::{PAYLOAD_MAX, SKEW_SECONDS, TEXT_MAX, TokenHeader, inspect};

use index::{Found, Index};
pub(crate) use slot::Slot;

/// A key of a [`SealedRing`] and what the ring does with it.
#[derive(Clone, Copy)]
#[expect(clippy::exhaustive_enums, reason = "these are all the things that a ring can do with a key")]
pub enum Member<'a> {
    /// Sessions are sealed and opened under it.
    Active(&'a Key),
    /// Sessions are opened under it.
    AcceptOnly(&'a Key),
    /// Sessions under it are refused, and the refusal says why. Its material is not needed and may be gone.
    Retired(KeyId),
}

/// Seals and opens sessions under a set of keys, of which exactly one is active.
///
/// All that depends on a key alone is worked out once, here. Build it once per change of the keys, not per request.
///
/// ```
/// use keyroll_keyring::sealed::{Context, Member, SealedRing};
/// use keyroll_keyring::codec::Mint;
/// use keyroll_keyring::{Key, KeyId, Secret, UnixTime};
///
/// # let material = |n: u8| Secret::from_bytes((0..32).map(|i| i * 7 + n).collect());
/// let (old, new) = (Key::single(KeyId(1), material(1)), Key::single(KeyId(2), material(2)));
/// let ring = SealedRing::new([Member::AcceptOnly(&old), Member::Active(&new)])?;
///
/// let context = Context::new("session", "login", "");
/// let now = UnixTime(1_800_000_000);
/// let session = Mint { payload: b"user=42", issued_at: now, expires_at: Some(UnixTime(now.0 + 3600)) };
/// let text = ring.seal(&context, &session)?;
/// assert_eq!(ring.open(&context, &text, now)?.payload(), b"user=42");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SealedRing {
    slots: Vec<Slot>,
    active: usize,
    index: Index,
}

impl SealedRing {
    /// A ring of `members`, in any order.
    pub fn new<'a>(members: impl IntoIterator<Item = Member<'a>>) -> Result<Self, SealedRingError> {
        let mut slots: Vec<Slot> = Vec::new();
        let mut retired = Vec::new();
        let mut active = None;
        for member in members {
            let key = match member {
                Member::Retired(id) => {
                    retired.push(id);
                    continue;
                }
                Member::Active(key) | Member::AcceptOnly(key) => key,
            };
            let slot = Slot::new(key)?;
            if let Some(twin) = slots.iter().find(|other| other.commits_as(&slot)) {
                return Err(SealedRingError::SameMaterial { first: twin.id(), second: slot.id() });
            }
            if let Member::Active(key) = member
                && let Some(first) = active.replace(slots.len())
            {
                return Err(SealedRingError::SecondActive { first: slots[first].id(), second: key.id() });
            }
            slots.push(slot);
        }
        let active = active.ok_or(SealedRingError::NoActive)?;
        let index = Index::new(slots.iter().map(Slot::id), &retired)?;
        Ok(Self { slots, active, index })
    }

    /// The key that sessions are sealed under.
    pub fn active(&self) -> KeyId {
        self.slots[self.active].id()
    }

    /// Seals `session` for `context` under the active key. A sealed session must end: without an expiry no key could ever retire.
    pub fn seal(&self, context: &Context, session: &Mint<'_>) -> Result<String, MintError> {
        self.slots[self.active].seal(context, session)
    }

    /// Opens `text`, which must have been sealed for `context`.
    pub fn open(&self, context: &Context, text: &str, now: UnixTime) -> Result<Session, OpenError> {
        let token = token::decode(text)?;
        match self.index.find(token.key) {
            Found::Slot(slot) => self.slots[slot].open(context, token, now),
            Found::Retired => Err(OpenError::RetiredKey),
            Found::Unknown => Err(OpenError::UnknownKey),
        }
    }

    /// Seals the session in `text` again under the active key, with both of its times as they were.
    pub fn reseal(&self, context: &Context, text: &str, now: UnixTime) -> Result<String, ResealError> {
        let session = self.open(context, text, now).map_err(ResealError::Open)?;
        self.seal(context, &session.as_mint()).map_err(ResealError::Mint)
    }
}

impl std::fmt::Debug for SealedRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<KeyId> = self.slots.iter().map(Slot::id).collect();
        f.debug_struct("SealedRing").field("active", &self.active()).field("keys", &keys).finish_non_exhaustive()
    }
}

/// Why keys do not make a ring.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SealedRingError {
    /// Nothing could be sealed.
    #[error("no key is active")]
    NoActive,
    /// It would be open under which key to seal.
    #[error("keys `{first}` and `{second}` are both active")]
    SecondActive {
        /// The key given first.
        first: KeyId,
        /// The key given second.
        second: KeyId,
    },
    /// An id names one key only.
    #[error("the id `{id}` is there twice")]
    SameId {
        /// The id.
        id: KeyId,
    },
    /// A leak of one would be a leak of the other.
    #[error("keys `{first}` and `{second}` have the same material")]
    SameMaterial {
        /// The key given first.
        first: KeyId,
        /// The key given second.
        second: KeyId,
    },
    /// The material does not have the one length that the format takes.
    #[error("key `{id}` has {length} bytes, and a sealed session needs exactly 32")]
    Length {
        /// The key.
        id: KeyId,
        /// The length of its material.
        length: usize,
    },
    /// The cryptographic library did not take it.
    #[error("key `{id}` was not accepted by the cryptographic library")]
    Refused {
        /// The key.
        id: KeyId,
    },
}
