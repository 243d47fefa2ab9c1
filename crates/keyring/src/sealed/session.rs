//! An opened session.
//!
//! The payload stays in the buffer in which the token was decoded and decrypted, and is wiped there: one allocation for each opening.

use std::ops::Range;

use crate::token::Mint;
use crate::wipe::wipe;
use crate::{KeyId, Secret, UnixTime};

/// What a sealed token held. The payload is wiped when this is dropped.
pub struct Session {
    pub(super) key: KeyId,
    pub(super) issued_at: UnixTime,
    pub(super) expires_at: UnixTime,
    pub(super) buffer: Vec<u8>,
    pub(super) payload: Range<usize>,
}

impl Session {
    /// The key that sealed it. Where this is not the active one, the answer to the client should carry the session sealed again.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// When it began.
    pub fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// When it ends.
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// The application's own bytes.
    pub fn payload(&self) -> &[u8] {
        &self.buffer[self.payload.clone()]
    }

    /// The payload by itself.
    pub fn to_secret(&self) -> Secret {
        Secret::from_bytes(self.payload().to_vec())
    }

    /// The same session, to be sealed again: both times stay.
    pub(crate) fn as_mint(&self) -> Mint<'_> {
        Mint { payload: self.payload(), issued_at: self.issued_at, expires_at: Some(self.expires_at) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        wipe(&mut self.buffer[self.payload.clone()]);
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("key", &self.key)
            .field("issued_at", &self.issued_at)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
