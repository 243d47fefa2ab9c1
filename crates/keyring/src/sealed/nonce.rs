//! Random nonces, drawn many at a time.
//!
//! Drawing 24 bytes costs the generator about as much as drawing 768, and more than everything else in sealing together. A forked
//! child must not go on with its parent's bytes, because one nonce under two messages gives the key away; each use therefore
//! compares the process id with the one that drew them.

use std::cell::RefCell;

use crate::codec::MintError;
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
    drawn_by: u32,
    used: usize,
    bytes: [u8; BATCH_LEN],
}

impl Batch {
    fn draw(&mut self) -> Result<[u8; NONCE_LEN], MintError> {
        let process = std::process::id();
        if self.drawn_by != process || self.used == BATCH_LEN {
            // Until the new bytes are there the batch counts as used up.
            self.used = BATCH_LEN;
            aws_lc_rs::rand::fill(&mut self.bytes).map_err(|_| MintError::Randomness)?;
            self.drawn_by = process;
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
    static BATCH: RefCell<Batch> = const {
        RefCell::new(Batch { drawn_by: 0, used: BATCH_LEN, bytes: [0; BATCH_LEN] })
    };
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
    fn a_batch_that_another_process_drew_is_thrown_away_and_what_was_handed_out_is_wiped() {
        let mut batch = Batch { drawn_by: 0, used: BATCH_LEN, bytes: [0; BATCH_LEN] };
        let first = batch.draw().expect("random bytes");
        assert_eq!(batch.bytes[..NONCE_LEN], [0; NONCE_LEN]);
        let next: [u8; NONCE_LEN] = batch.bytes[NONCE_LEN..2 * NONCE_LEN].try_into().expect("24 bytes");
        // The child of a fork finds the parent's batch, with the parent's process id in it.
        batch.drawn_by = batch.drawn_by.wrapping_add(1);
        let second = batch.draw().expect("random bytes");
        assert_ne!(second, next);
        assert_ne!(second, first);
        assert_eq!(batch.used, NONCE_LEN);
    }
}
