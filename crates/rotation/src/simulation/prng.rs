//! A tiny source of randomness: `SplitMix64`. The same seed gives the same run on every machine, for ever.

/// The generator.
#[derive(Clone, Debug)]
pub struct Prng(u64);

impl Prng {
    /// A generator that a seed determines.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 where `bound` is 0. The bias is far below anything that a simulation could notice.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// Something that happens that often in a thousand.
    pub fn in_a_thousand(&mut self, times: u64) -> bool {
        self.below(1000) < times
    }

    /// One of the things, if there are any.
    pub fn pick<'a, T>(&mut self, things: &'a [T]) -> Option<&'a T> {
        let place = self.below(things.len() as u64);
        things.get(usize::try_from(place).ok()?)
    }
}
