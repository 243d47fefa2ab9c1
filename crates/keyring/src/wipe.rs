//! Wiping on hot paths.
//!
//! `zeroize` writes byte by byte, which for a session takes as long as a third of its decryption. This is one `memset` that the
//! compiler may not leave out, by the same crate's barrier.

use std::ops::{Deref, DerefMut};

/// Overwrites `bytes` with zeros.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    zeroize::optimization_barrier(bytes);
}

/// Bytes of a session that are wiped when this is dropped. They must not grow: a reallocation would leave a copy.
pub(crate) struct Wiping(Vec<u8>);

impl Wiping {
    /// Takes over `bytes`.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Hands the bytes out without a copy; now they are the caller's to wipe.
    pub(crate) fn into_inner(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl Deref for Wiping {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Wiping {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Wiping {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_zero_afterwards_and_survive_being_handed_out() {
        let mut bytes = [7; 100];
        wipe(&mut bytes);
        assert_eq!(bytes, [0; 100]);
        assert_eq!(Wiping::new(vec![7; 3]).into_inner(), [7; 3]);
    }
}
