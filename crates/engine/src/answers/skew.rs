//! How far the store's clock is from this machine's.
//!
//! The store's time lies somewhere between the question and the answer, so that a slow answer says little: on a busy machine
//! the wait itself would look like a clock that is wrong.

use crate::engine::Engine;
use crate::error::EngineError;

/// What was measured, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Skew {
    /// At least so much.
    pub(crate) least: u64,
    /// At most so much.
    pub(crate) most: u64,
}

impl Engine {
    /// Asks until the answer tells on which side of `limit` the difference is, but not for ever.
    pub(crate) async fn skew(&self, limit: u64) -> Result<Skew, EngineError> {
        let store = self.store(0)?;
        let mut asked = 0;
        loop {
            asked += 1;
            let before = self.clock.now();
            let at = store.now().await?;
            let after = self.clock.now();
            let least = before.0.saturating_sub(at.0).max(at.0.saturating_sub(after.0));
            let most = before.0.abs_diff(at.0).max(after.0.abs_diff(at.0));
            if most <= limit || least > limit || asked == SKEW_ATTEMPTS {
                return Ok(Skew { least, most });
            }
        }
    }
}

/// How often the store is asked.
const SKEW_ATTEMPTS: u32 = 3;
