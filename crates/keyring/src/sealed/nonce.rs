//! Random nonces, drawn many at a time.
//!
//! Drawing 24 bytes costs the generator about as much as drawing 768, and more than everything else in sealing together. A forked
//! child must not go on with its parent's bytes, because one nonce under two messages gives the key away; each use therefore asks
//! whether the C library's `fork` has run since. Asking the kernel for the process id instead would be a quarter of a seal. What
//! neither sees is a copy made by something else than `fork`: a restored snapshot of the whole machine, or a bare `clone` system call.

use std::cell::RefCell;

use crate::token::MintError;
use crate::wipe::wipe;

/// The length of an extended nonce.
pub(super) const NONCE_LEN: usize = 24;

/// A nonce that nobody has had before.
pub(super) fn draw() -> Result<[u8; NONCE_LEN], MintError> {
    // A thread that is being torn down has no batch any more and draws for itself.
    BATCH.try_with(|batch| batch.borrow_mut().draw()).unwrap_or_else(|_| {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| MintError::Randomness)?;
        Ok(nonce)
    })
}

struct Batch {
    fork: forkguard::Guard,
    used: usize,
    bytes: [u8; BATCH_LEN],
}

impl Batch {
    fn new() -> Self {
        Self { fork: forkguard::new(), used: BATCH_LEN, bytes: [0; BATCH_LEN] }
    }

    fn draw(&mut self) -> Result<[u8; NONCE_LEN], MintError> {
        if self.fork.detected_fork() {
            self.used = BATCH_LEN;
        }
        if self.used == BATCH_LEN {
            // Until the new bytes are there the batch counts as used up.
            aws_lc_rs::rand::fill(&mut self.bytes).map_err(|_| MintError::Randomness)?;
            self.used = 0;
        }
        let mut nonce = [0; NONCE_LEN];
        let bytes = &mut self.bytes[self.used..self.used + NONCE_LEN];
        nonce.copy_from_slice(bytes);
        // Nothing that was handed out stays behind to be handed out again.
        wipe(bytes);
        self.used += NONCE_LEN;
        Ok(nonce)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        wipe(&mut self.bytes);
    }
}

thread_local! {
    static BATCH: RefCell<Batch> = RefCell::new(Batch::new());
}

const BATCH_LEN: usize = 32 * NONCE_LEN;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_nonce_comes_twice_over_many_batches_and_threads() {
        let threads: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| (0..1000).map(|_| draw().expect("random bytes")).collect::<Vec<_>>()))
            .collect();
        let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 4000);
    }

    #[test]
    fn what_was_handed_out_is_wiped() {
        let mut batch = Batch::new();
        let first = batch.draw().expect("random bytes");
        assert_ne!(first, [0; NONCE_LEN]);
        assert_eq!(batch.bytes[..NONCE_LEN], [0; NONCE_LEN]);
        assert_ne!(batch.bytes[NONCE_LEN..2 * NONCE_LEN], [0; NONCE_LEN]);
    }
}
