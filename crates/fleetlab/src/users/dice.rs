//! Seeded chance, so that every procedure meets the same users.
//!
//! This is `SplitMix64` (Steele, Lea and Flood, 2014). It decides when users browse and leave; no key or session id comes from it.

use std::time::Duration;

/// A sequence of numbers that its seed decides.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The sequence of one of many users under a common seed.
    pub(crate) fn of(seed: u64, user: u32) -> Self {
        // One step separates the sequences of neighbouring users.
        let mut dice = Self(seed ^ u64::from(user).wrapping_mul(GOLDEN));
        Self(dice.roll())
    }

    /// A duration of at least `from` and less than `to`.
    pub(crate) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        // 53 bits fill a float's mantissa: the fraction is even, and below one.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
        let fraction = (self.roll() >> 11) as f64 / (1_u64 << 53) as f64;
        from + to.saturating_sub(from).mul_f64(fraction)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_the_paper() {
        let mut dice = Dice(1_234_567);
        assert_eq!(
            [dice.roll(), dice.roll(), dice.roll()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn a_seed_repeats_itself_and_users_differ() {
        let span = (Duration::from_millis(100), Duration::from_millis(200));
        let take = |seed, user| {
            let mut dice = Dice::of(seed, user);
            (0..100).map(|_| dice.between(span.0, span.1)).collect::<Vec<_>>()
        };
        assert_eq!(take(7, 3), take(7, 3));
        assert_ne!(take(7, 3), take(7, 4));
        assert_ne!(take(7, 3), take(8, 3));
        assert!(take(7, 3).iter().all(|wait| *wait >= span.0 && *wait < span.1));
    }
}
