//! The ring: one active key, others accept-only, pending or retired. An illegal ring can't be built.
//!
//! The ring has no way to take its active key away: a key leaves the active place only by another one's promotion or by
//! a cutover. And a key that is compromised or destroyed leaves nothing but a tombstone, so that it can't come back.

use std::collections::BTreeMap;

use crate::{Fingerprint, Key, KeyId, KeyState};

/// Every generation of one key: exactly one active, the others by what members do with them.
pub struct Ring {
    active: Key,
    others: BTreeMap<KeyId, Place>,
    /// The largest id ever seen, also of keys that left without a trace.
    highest: KeyId,
}

impl Ring {
    /// A ring with one key.
    pub fn new(active: Key) -> Self {
        Self { highest: active.id(), others: BTreeMap::new(), active }
    }

    /// A ring as it was found: the active key, the other accepted ones with their states, and what is left of the rest.
    pub fn assemble(active: Key, accept_only: Vec<(Key, KeyState)>, gone: Vec<Tombstone>) -> Result<Self, RingError> {
        let mut ring = Self::new(active);
        for (key, state) in accept_only {
            let id = key.id();
            let minted = match state {
                KeyState::ActiveForProcessing => Minted::Never,
                KeyState::Deactivated => Minted::Before,
                state => return Err(RingError::NotAcceptOnly { id, state }),
            };
            ring.refuse_known(&key)?;
            ring.insert(id, Place::AcceptOnly(key, minted));
        }
        for tombstone in gone {
            let id = tombstone.id;
            if !matches!(tombstone.state, KeyState::Deactivated | KeyState::Compromised | KeyState::Destroyed) {
                return Err(RingError::NotGone { id, state: tombstone.state });
            }
            if id == ring.active.id() || ring.others.contains_key(&id) {
                return Err(RingError::DuplicateId { id });
            }
            ring.insert(id, Place::Gone(tombstone));
        }
        ring.refuse_return_of_the_gone()?;
        Ok(ring)
    }

    /// The key that members mint under.
    pub fn active(&self) -> &Key {
        &self.active
    }

    /// Every key that members open sessions under: the active one, then the others, newest first.
    pub fn accepted(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.active).chain(self.accept_only())
    }

    /// The accepted keys that nobody mints under, newest first.
    pub fn accept_only(&self) -> impl Iterator<Item = &Key> {
        self.others.values().rev().filter_map(|place| match place {
            Place::AcceptOnly(key, _) => Some(key),
            Place::Pending(_) | Place::Retired(_) | Place::Gone(_) => None,
        })
    }

    /// The candidates that no member knows yet, newest first.
    pub fn pending(&self) -> impl Iterator<Item = &Key> {
        self.others.values().rev().filter_map(|place| match place {
            Place::Pending(key) => Some(key),
            Place::AcceptOnly(..) | Place::Retired(_) | Place::Gone(_) => None,
        })
    }

    /// The keys that left `accept` and are still held (escrow), newest first.
    pub fn retired(&self) -> impl Iterator<Item = &Key> {
        self.others.values().rev().filter_map(|place| match place {
            Place::Retired(key) => Some(key),
            Place::Pending(_) | Place::AcceptOnly(..) | Place::Gone(_) => None,
        })
    }

    /// What is left of the keys whose material this ring does not hold, newest first.
    pub fn gone(&self) -> impl Iterator<Item = &Tombstone> {
        self.others.values().rev().filter_map(|place| match place {
            Place::Gone(tombstone) => Some(tombstone),
            Place::Pending(_) | Place::AcceptOnly(..) | Place::Retired(_) => None,
        })
    }

    /// Which key a session that names `id` is to be opened with.
    ///
    /// Ids only grow. So an id below the highest that is not here belonged to a key that has left.
    pub fn lookup(&self, id: KeyId) -> Lookup<'_> {
        if id == self.active.id() {
            return Lookup::Accepted(&self.active);
        }
        match self.others.get(&id) {
            Some(Place::AcceptOnly(key, _)) => Lookup::Accepted(key),
            Some(Place::Retired(_) | Place::Gone(_)) => Lookup::Retired,
            Some(Place::Pending(_)) => Lookup::Unknown,
            None if id < self.highest => Lookup::Retired,
            None => Lookup::Unknown,
        }
    }

    /// The state of the key `id`, in the words of NIST SP 800-57.
    pub fn state(&self, id: KeyId) -> Option<KeyState> {
        if id == self.active.id() {
            return Some(KeyState::Active);
        }
        self.others.get(&id).map(Place::state)
    }

    /// Every id of the ring with its state, in ascending order.
    pub fn states(&self) -> BTreeMap<KeyId, KeyState> {
        let mut states: BTreeMap<_, _> = self.others.iter().map(|(id, place)| (*id, place.state())).collect();
        states.insert(self.active.id(), KeyState::Active);
        states
    }

    /// The id that the next key gets.
    pub fn next_id(&self) -> Result<KeyId, RingError> {
        self.highest.0.checked_add(1).map(KeyId).ok_or(RingError::IdsUsedUp)
    }

    /// Takes in a candidate. Its id must be above every id so far, its material unlike any other.
    ///
    /// Where tombstones carry fingerprints, this computes the candidate's, which takes a while on purpose.
    pub fn stage(&mut self, candidate: Key) -> Result<(), RingError> {
        let id = candidate.id();
        self.refuse_known(&candidate)?;
        if id <= self.highest {
            return Err(RingError::IdDoesNotGrow { id, highest: self.highest });
        }
        self.refuse_return(&candidate)?;
        self.insert(id, Place::Pending(candidate));
        Ok(())
    }

    /// Members are to accept `id` from now on: a candidate, or a retired key that is trusted again (rollback).
    pub fn accept(&mut self, id: KeyId) -> Result<(), RingError> {
        self.transfer(id, |place| match place {
            Place::Pending(key) => Ok(Place::AcceptOnly(key, Minted::Never)),
            Place::Retired(key) => Ok(Place::AcceptOnly(key, Minted::Before)),
            place @ (Place::AcceptOnly(..) | Place::Gone(_)) => Err(place),
        })
    }

    /// Members are to mint under `id` from now on; the key that was active stays accepted. Only a key that is accepted
    /// already can be promoted.
    pub fn promote(&mut self, id: KeyId) -> Result<(), RingError> {
        match self.take(id)? {
            Place::AcceptOnly(key, _) => {
                let before = std::mem::replace(&mut self.active, key);
                self.insert(before.id(), Place::AcceptOnly(before, Minted::Before));
                Ok(())
            }
            place @ (Place::Pending(_) | Place::Retired(_) | Place::Gone(_)) => Err(self.put_back(id, place)),
        }
    }

    /// Members are to reject `id` from now on. Its material is kept until it is destroyed.
    pub fn retire(&mut self, id: KeyId) -> Result<(), RingError> {
        self.transfer(id, |place| match place {
            Place::AcceptOnly(key, _) => Ok(Place::Retired(key)),
            place @ (Place::Pending(_) | Place::Retired(_) | Place::Gone(_)) => Err(place),
        })
    }

    /// The cutover: `id` becomes the only accepted key in one step, and every session under another one ends.
    pub fn cut_over(&mut self, id: KeyId) -> Result<(), RingError> {
        match self.take(id)? {
            Place::Pending(key) | Place::AcceptOnly(key, _) | Place::Retired(key) => {
                let before = std::mem::replace(&mut self.active, key);
                self.insert(before.id(), Place::Retired(before));
            }
            place @ Place::Gone(_) => return Err(self.put_back(id, place)),
        }
        let accepted: Vec<_> = self.accept_only().map(Key::id).collect();
        accepted.into_iter().try_for_each(|id| self.retire(id))
    }

    /// The key `id` is in other hands. It leaves the ring for good; the caller gets what is needed to prove that members
    /// reject it. Its fingerprint, where known, keeps its material from returning under another id.
    pub fn compromise(&mut self, id: KeyId, fingerprint: Option<Fingerprint>) -> Result<Key, RingError> {
        match self.take(id)? {
            Place::Pending(key) | Place::AcceptOnly(key, _) | Place::Retired(key) => {
                self.insert(id, Place::Gone(Tombstone { id, state: KeyState::Compromised, fingerprint }));
                Ok(key)
            }
            place @ Place::Gone(_) => Err(self.put_back(id, place)),
        }
    }

    /// Wipes the material of `id`, which no member may accept any more. Its fingerprint, where known, keeps its material
    /// from returning under another id.
    pub fn destroy(&mut self, id: KeyId, fingerprint: Option<Fingerprint>) -> Result<(), RingError> {
        self.transfer(id, |place| match place {
            Place::Pending(_) | Place::Retired(_) => {
                Ok(Place::Gone(Tombstone { id, state: KeyState::Destroyed, fingerprint }))
            }
            // That it was compromised is worth more to whoever reads this later than that it is also gone.
            Place::Gone(tombstone) if tombstone.state == KeyState::Deactivated => {
                Ok(Place::Gone(Tombstone { state: KeyState::Destroyed, ..tombstone }))
            }
            place @ (Place::AcceptOnly(..) | Place::Gone(_)) => Err(place),
        })
    }

    fn transfer(&mut self, id: KeyId, step: impl FnOnce(Place) -> Result<Place, Place>) -> Result<(), RingError> {
        match step(self.take(id)?) {
            Ok(place) => {
                self.insert(id, place);
                Ok(())
            }
            Err(place) => Err(self.put_back(id, place)),
        }
    }

    fn take(&mut self, id: KeyId) -> Result<Place, RingError> {
        if id == self.active.id() {
            return Err(RingError::StillActive { id });
        }
        self.others.remove(&id).ok_or(RingError::NoSuchKey { id })
    }

    fn put_back(&mut self, id: KeyId, place: Place) -> RingError {
        let state = place.state();
        let error = match &place {
            Place::Gone(_) if matches!(state, KeyState::Compromised | KeyState::Destroyed) => {
                RingError::NeverReturns { id, state }
            }
            Place::Gone(_) => RingError::NoMaterial { id },
            Place::Pending(_) | Place::AcceptOnly(..) | Place::Retired(_) => RingError::NotFromHere { id, state },
        };
        self.insert(id, place);
        error
    }

    fn insert(&mut self, id: KeyId, place: Place) {
        self.highest = self.highest.max(id);
        self.others.insert(id, place);
    }

    fn held(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.active).chain(self.others.values().filter_map(Place::key))
    }

    fn refuse_known(&self, key: &Key) -> Result<(), RingError> {
        let id = key.id();
        if id == self.active.id() || self.others.contains_key(&id) {
            return Err(RingError::DuplicateId { id });
        }
        match self.held().find(|held| held.shares_material(key)) {
            Some(held) => Err(RingError::SharedMaterial { ids: [held.id(), id] }),
            None => Ok(()),
        }
    }

    fn refuse_return_of_the_gone(&self) -> Result<(), RingError> {
        self.held().try_for_each(|key| self.refuse_return(key))
    }

    fn refuse_return(&self, key: &Key) -> Result<(), RingError> {
        let mut gone = self.gone().filter(|tombstone| tombstone.fingerprint.is_some()).peekable();
        if gone.peek().is_none() {
            return Ok(());
        }
        // A key that is too weak for a fingerprint can't be told from those that are gone. It is refused elsewhere.
        let Ok(fingerprint) = key.fingerprint() else { return Ok(()) };
        match gone.find(|tombstone| tombstone.fingerprint.as_ref() == Some(&fingerprint)) {
            Some(tombstone) => Err(RingError::Returned { id: key.id(), gone: tombstone.id, state: tombstone.state }),
            None => Ok(()),
        }
    }
}

/// What [`Ring::lookup`] found.
#[expect(clippy::exhaustive_enums, reason = "an id is accepted, was accepted, or is not known")]
pub enum Lookup<'a> {
    /// Sessions under this key are opened.
    Accepted(&'a Key),
    /// The key is known and no longer accepted.
    Retired,
    /// No key here ever had that id; perhaps the members here have not yet read it.
    Unknown,
}

/// What is left of a key whose material a ring does not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tombstone {
    /// Its id, which is never used again.
    pub id: KeyId,
    /// [`KeyState::Deactivated`] (held elsewhere), [`KeyState::Compromised`] or [`KeyState::Destroyed`].
    pub state: KeyState,
    /// Its fingerprint, where it had one: the same material does not return under another id.
    pub fingerprint: Option<Fingerprint>,
}

/// Why a ring does not take a step. The ring is as it was.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// An id names one key only.
    #[error("there is a key {id} already")]
    DuplicateId {
        /// Which id.
        id: KeyId,
    },
    /// One secret under two ids would outlive its own retirement.
    #[error("the keys {} and {} have the same material", ids[0], ids[1])]
    SharedMaterial {
        /// Both ids.
        ids: [KeyId; 2],
    },
    /// An id below the highest is taken for that of a retired key.
    #[error("a new key needs an id above {highest}, not {id}")]
    IdDoesNotGrow {
        /// The id that was offered.
        id: KeyId,
        /// The highest id so far.
        highest: KeyId,
    },
    /// There is no id above the highest.
    #[error("there are no more ids")]
    IdsUsedUp,
    /// No such key.
    #[error("there is no key {id}")]
    NoSuchKey {
        /// Which id.
        id: KeyId,
    },
    /// The active key leaves its place only by another one's promotion.
    #[error("the key {id} is the active one; promote or cut over to another key first")]
    StillActive {
        /// Which key.
        id: KeyId,
    },
    /// The step does not begin in the key's state.
    #[error("this step is not open to the key {id}, which is {state}")]
    NotFromHere {
        /// Which key.
        id: KeyId,
        /// Its state.
        state: KeyState,
    },
    /// A compromised or destroyed key never returns.
    #[error("the key {id} is {state} and never returns")]
    NeverReturns {
        /// Which key.
        id: KeyId,
        /// Its state.
        state: KeyState,
    },
    /// The ring knows of the key, but does not hold it.
    #[error("the material of the key {id} is not here")]
    NoMaterial {
        /// Which key.
        id: KeyId,
    },
    /// The material of a key that is gone came back under another id.
    #[error("the key {id} has the material of the key {gone}, which is {state} and never returns")]
    Returned {
        /// The id that was offered.
        id: KeyId,
        /// The id that it had before.
        gone: KeyId,
        /// What became of it.
        state: KeyState,
    },
    /// A state that no accepted key has.
    #[error("the key {id} is to be accepted, but its state is {state}")]
    NotAcceptOnly {
        /// Which key.
        id: KeyId,
        /// The state that was given.
        state: KeyState,
    },
    /// A state that no retired key has.
    #[error("the key {id} is to be retired, but its state is {state}")]
    NotGone {
        /// Which key.
        id: KeyId,
        /// The state that was given.
        state: KeyState,
    },
}

/// Where a key other than the active one is.
enum Place {
    Pending(Key),
    AcceptOnly(Key, Minted),
    Retired(Key),
    Gone(Tombstone),
}

impl Place {
    fn key(&self) -> Option<&Key> {
        match self {
            Self::Pending(key) | Self::AcceptOnly(key, _) | Self::Retired(key) => Some(key),
            Self::Gone(_) => None,
        }
    }

    fn state(&self) -> KeyState {
        match self {
            Self::Pending(_) => KeyState::PreActivation,
            Self::AcceptOnly(_, Minted::Never) => KeyState::ActiveForProcessing,
            Self::AcceptOnly(_, Minted::Before) | Self::Retired(_) => KeyState::Deactivated,
            Self::Gone(tombstone) => tombstone.state,
        }
    }
}

/// Whether a key that nobody mints under has been active before.
#[derive(Clone, Copy)]
enum Minted {
    Never,
    Before,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::Secret;

    fn key(id: u32, fill: u8) -> Key {
        Key::single(KeyId(id), Secret::from_bytes(vec![fill; 32]))
    }

    /// A strong key, for tests that need fingerprints.
    fn strong(id: u32, seed: u8) -> Key {
        let bytes = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[seed]);
        Key::single(KeyId(id), Secret::from_bytes(bytes.as_ref().to_vec()))
    }

    fn ids<'a>(keys: impl Iterator<Item = &'a Key>) -> Vec<u32> {
        keys.map(|key| key.id().0).collect()
    }

    #[test]
    fn a_rotation_and_its_rollback_go_through_the_ring() {
        let mut ring = Ring::new(key(1, 1));
        ring.stage(key(2, 2)).expect("staged");
        assert!(matches!(ring.lookup(KeyId(2)), Lookup::Unknown), "no member knows a candidate");
        assert_eq!(
            ring.promote(KeyId(2)),
            Err(RingError::NotFromHere { id: KeyId(2), state: KeyState::PreActivation })
        );
        ring.accept(KeyId(2)).expect("accepted");
        assert_eq!(ring.state(KeyId(2)), Some(KeyState::ActiveForProcessing));
        ring.promote(KeyId(2)).expect("promoted");
        assert_eq!((ring.active().id(), ids(ring.accept_only())), (KeyId(2), vec![1]));
        assert_eq!(ring.state(KeyId(1)), Some(KeyState::Deactivated));
        ring.retire(KeyId(1)).expect("retired");
        assert!(matches!(ring.lookup(KeyId(1)), Lookup::Retired));
        // Rollback from the last stages: trusted again first, then promoted.
        ring.accept(KeyId(1)).expect("trusted again");
        ring.promote(KeyId(1)).expect("promoted again");
        ring.retire(KeyId(2)).expect("retired");
        ring.destroy(KeyId(2), None).expect("destroyed");
        assert_eq!(ring.accept(KeyId(2)), Err(RingError::NeverReturns { id: KeyId(2), state: KeyState::Destroyed }));
        assert_eq!(ids(ring.accepted()), [1]);
        assert_eq!(ring.next_id(), Ok(KeyId(3)));
    }

    #[test]
    fn a_cutover_leaves_one_accepted_key_and_what_it_replaced_can_come_back() {
        let mut ring = Ring::new(key(1, 1));
        ring.stage(key(2, 2)).expect("staged");
        ring.accept(KeyId(2)).expect("accepted");
        ring.stage(key(3, 3)).expect("staged");
        ring.cut_over(KeyId(3)).expect("cut over");
        assert_eq!(ids(ring.accepted()), [3]);
        assert_eq!(ids(ring.retired()), [2, 1]);
        ring.cut_over(KeyId(1)).expect("rolled back");
        assert_eq!(ids(ring.accepted()), [1]);
    }

    #[test]
    fn a_compromised_key_never_returns_under_its_own_or_another_id() {
        let mut ring = Ring::new(strong(1, 1));
        ring.stage(strong(2, 2)).expect("staged");
        assert!(matches!(ring.compromise(KeyId(1), None), Err(RingError::StillActive { .. })));
        ring.cut_over(KeyId(2)).expect("cut over");
        let fingerprint = strong(1, 1).fingerprint().expect("a strong key");
        let taken = ring.compromise(KeyId(1), Some(fingerprint)).expect("compromised");
        assert!(taken.shares_material(&strong(9, 1)), "the caller proves with it that members reject it");
        let never = RingError::NeverReturns { id: KeyId(1), state: KeyState::Compromised };
        assert_eq!(ring.accept(KeyId(1)), Err(never.clone()));
        assert_eq!(ring.cut_over(KeyId(1)), Err(never.clone()));
        assert_eq!(ring.promote(KeyId(1)), Err(never));
        let returned = RingError::Returned { id: KeyId(5), gone: KeyId(1), state: KeyState::Compromised };
        assert_eq!(ring.stage(strong(5, 1)), Err(returned));
        ring.stage(strong(5, 5)).expect("another key");
    }

    #[test]
    fn an_id_that_left_is_retired_and_one_that_never_came_is_unknown() {
        let mut ring = Ring::new(key(4, 4));
        assert!(matches!(ring.lookup(KeyId(3)), Lookup::Retired));
        assert!(matches!(ring.lookup(KeyId(5)), Lookup::Unknown));
        assert_eq!(ring.stage(key(3, 3)), Err(RingError::IdDoesNotGrow { id: KeyId(3), highest: KeyId(4) }));
        let ring = Ring::new(key(u32::MAX, 1));
        assert_eq!(ring.next_id(), Err(RingError::IdsUsedUp));
    }

    #[test]
    fn one_shared_part_is_shared_material() {
        let part = |name: &str, fill| crate::Part {
            name: crate::PartName(name.into()),
            material: Secret::from_bytes(vec![fill; 32]),
        };
        let mut ring = Ring::new(Key::with_parts(KeyId(1), vec![part("a", 1), part("b", 2)]).expect("a key"));
        let crossed = Key::with_parts(KeyId(2), vec![part("a", 3), part("b", 1)]).expect("a key");
        assert_eq!(ring.stage(crossed), Err(RingError::SharedMaterial { ids: [KeyId(1), KeyId(2)] }));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Stage { id: u32, fill: u8 },
        Accept(u32),
        Promote(u32),
        Retire(u32),
        CutOver(u32),
        Compromise(u32),
        Destroy(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        let id = 0_u32..12;
        prop_oneof![
            4 => (id.clone(), 0_u8..14).prop_map(|(id, fill)| Step::Stage { id, fill }),
            3 => id.clone().prop_map(Step::Accept),
            3 => id.clone().prop_map(Step::Promote),
            2 => id.clone().prop_map(Step::Retire),
            1 => id.clone().prop_map(Step::CutOver),
            1 => id.clone().prop_map(Step::Compromise),
            1 => id.prop_map(Step::Destroy),
        ]
    }

    fn take(ring: &mut Ring, step: Step) -> Result<(), RingError> {
        match step {
            Step::Stage { id, fill } => ring.stage(key(id, fill)),
            Step::Accept(id) => ring.accept(KeyId(id)),
            Step::Promote(id) => ring.promote(KeyId(id)),
            Step::Retire(id) => ring.retire(KeyId(id)),
            Step::CutOver(id) => ring.cut_over(KeyId(id)),
            Step::Compromise(id) => ring.compromise(KeyId(id), None).map(drop),
            Step::Destroy(id) => ring.destroy(KeyId(id), None),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn no_sequence_of_steps_makes_an_illegal_ring(steps in prop::collection::vec(step(), 0..60)) {
            let mut ring = Ring::new(key(0, 0));
            let mut dead = BTreeSet::new();
            for step in steps {
                let before = (ring.states(), ids(ring.accepted()), ring.highest);
                let active_before = ring.active().id();
                let outcome = take(&mut ring, step);
                let states = ring.states();
                if outcome.is_err() {
                    prop_assert_eq!(&before, &(states, ids(ring.accepted()), ring.highest), "a refused step changes nothing");
                    continue;
                }
                // Exactly one active key, and it is accepted.
                prop_assert_eq!(states.values().filter(|state| **state == KeyState::Active).count(), 1);
                prop_assert_eq!(ids(ring.accepted())[0], ring.active().id().0);
                // A key becomes active only from among the accepted ones, cutovers by name excepted.
                if ring.active().id() != active_before && !matches!(step, Step::CutOver(_)) {
                    prop_assert!(before.1.contains(&ring.active().id().0));
                    prop_assert!(ids(ring.accepted()).contains(&active_before.0), "promotion takes nobody away");
                }
                // Nothing leaves the ring's memory, ids only grow, and no two keys share material.
                prop_assert!(before.0.keys().all(|id| states.contains_key(id)));
                prop_assert!(states.keys().filter(|id| !before.0.contains_key(id)).all(|id| *id > before.2));
                let held: Vec<_> = ring.held().collect();
                for (index, key) in held.iter().enumerate() {
                    prop_assert!(held[..index].iter().all(|earlier| !earlier.shares_material(key)));
                }
                // What is compromised or destroyed stays so.
                let now_dead: BTreeSet<_> = states
                    .iter()
                    .filter(|(_, state)| matches!(state, KeyState::Compromised | KeyState::Destroyed))
                    .map(|(id, _)| *id)
                    .collect();
                prop_assert!(now_dead.is_superset(&dead));
                prop_assert!(ring.accepted().all(|key| !now_dead.contains(&key.id())));
                dead = now_dead;
                // Whoever reads the file sees the same accepted keys.
                let again = crate::ring_file::parse(crate::ring_file::render(&ring).expose()).expect("a ring file");
                prop_assert_eq!(ids(again.accepted()), ids(ring.accepted()));
                for key in ring.accepted() {
                    prop_assert!(matches!(again.lookup(key.id()), Lookup::Accepted(found) if found.shares_material(key)));
                }
            }
        }
    }
}
