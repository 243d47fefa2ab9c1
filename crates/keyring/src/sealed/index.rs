//! Finds a key by its id in the same time whatever the number of keys.
//!
//! A table with at least twice as many places as keys, and ids that only grow: nearly every look-up is one step.

use super::SealedRingError;
use crate::KeyId;

/// The ids of a ring.
pub(super) struct Index {
    places: Vec<Place>,
    shift: u32,
}

/// What an id stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Found {
    /// The key at this place of the ring.
    Slot(usize),
    /// A key that the ring remembers by its id only.
    Retired,
    /// No key of the ring.
    Unknown,
}

#[derive(Clone, Copy)]
struct Place {
    id: KeyId,
    // `Unknown` marks a free place.
    found: Found,
}

impl Index {
    /// The index of keys with the ids `slots`, in the ring's order, and of those `retired`.
    pub(super) fn new(slots: impl ExactSizeIterator<Item = KeyId>, retired: &[KeyId]) -> Result<Self, SealedRingError> {
        let bits = ((slots.len() + retired.len()) * 2).next_power_of_two().max(2).trailing_zeros();
        let free = Place { id: KeyId(0), found: Found::Unknown };
        let mut index = Self { places: vec![free; 1 << bits], shift: u32::BITS - bits };
        let slots = slots.enumerate().map(|(at, id)| (id, Found::Slot(at)));
        for (id, found) in slots.chain(retired.iter().map(|&id| (id, Found::Retired))) {
            if index.find(id) != Found::Unknown {
                return Err(SealedRingError::SameId { id });
            }
            let at = index.probe(id);
            index.places[at] = Place { id, found };
        }
        Ok(index)
    }

    /// What `id` stands for.
    pub(super) fn find(&self, id: KeyId) -> Found {
        self.places[self.probe(id)].found
    }

    /// The place of `id`, or the free place where it would be. Half of the places are free, so that there is one.
    fn probe(&self, id: KeyId) -> usize {
        let mut at = (id.0.wrapping_mul(SPREAD) >> self.shift) as usize;
        loop {
            let place = &self.places[at];
            if place.found == Found::Unknown || place.id == id {
                return at;
            }
            at = (at + 1) & (self.places.len() - 1);
        }
    }
}

/// 2^32 divided by the golden ratio: neighbouring ids fall far apart.
const SPREAD: u32 = 0x9e37_79b9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_found_and_no_other() {
        for count in [1, 2, 3, 63, 64, 200] {
            let ids: Vec<KeyId> = (0..count).map(|n| KeyId(n * 65_536 + 7)).collect();
            let retired = [KeyId(1), KeyId(u32::MAX)];
            let index = Index::new(ids.iter().copied(), &retired).expect("the ids are different");
            for (at, &id) in ids.iter().enumerate() {
                assert_eq!(index.find(id), Found::Slot(at));
            }
            assert_eq!(index.find(KeyId(u32::MAX)), Found::Retired);
            assert_eq!(index.find(KeyId(2)), Found::Unknown);
        }
    }

    #[test]
    fn an_id_twice_is_refused() {
        assert!(Index::new([KeyId(1), KeyId(1)].into_iter(), &[]).is_err());
        assert!(Index::new([KeyId(1)].into_iter(), &[KeyId(1)]).is_err());
    }
}
