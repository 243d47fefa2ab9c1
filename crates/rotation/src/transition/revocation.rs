//! Emergencies that take over a rotation in flight.
//!
//! The rule behind each case is I13: while a key is compromised, no configuration accepts it and mints under another.

use std::collections::BTreeSet;

use keyroll_keyring::KeyId;

use crate::{Abandoned, Candidate, Direction, Illegal, Mode, Permit, Revocation, Rotation, Stage, Trust};

impl Rotation {
    /// An emergency takes over. The key that survives is the candidate if it is sound, else the old key, else a new one.
    pub(super) fn revoke(&mut self, revocation: &Revocation) -> Result<(), Illegal> {
        let refuse = |invariant, reason: String| Err(Illegal::Invariant { invariant, reason });
        if self.abandoned == Abandoned::InSightOfForeignWrite {
            let reason =
                "this rotation was given up and no longer knows what the stores hold; finish it and open another";
            return refuse("I12", reason.into());
        }
        match revocation.mode {
            Mode::Accelerated | Mode::HardCutover => {}
            Mode::Staged | Mode::Cutover | Mode::Standby => {
                return refuse("I13", "only an accelerated rotation or a hard cutover answers a leak".into());
            }
        }
        let leaked: BTreeSet<KeyId> = &self.compromised | &revocation.compromised;
        let accepted: BTreeSet<KeyId> = self.stores.iter().flat_map(|store| store.accept.iter().copied()).collect();
        let known: BTreeSet<KeyId> = &accepted | &[self.incoming, self.outgoing].into();
        if known.is_disjoint(&leaked) {
            return refuse("I13", "none of the keys of this rotation is named as compromised".into());
        }
        let sound = |key: &KeyId| !leaked.contains(key) && !self.destroyed.contains(key);
        let retired = matches!(self.stage, Stage::Closing | Stage::Escrow);
        if retired && accepted.is_disjoint(&leaked) {
            // No member accepts it any more; it only must not come back, nor wait in escrow.
            self.compromised = leaked;
            self.halt = None;
            return Ok(());
        }
        let stored = accepted.contains(&self.incoming) || self.direction == Direction::Back;
        let (incoming, outgoing, stored) = if sound(&self.incoming) {
            (self.incoming, self.outgoing, stored)
        } else if sound(&self.outgoing) {
            (self.outgoing, self.incoming, true)
        } else {
            let fresh = revocation.fresh;
            if known.iter().chain(&leaked).chain(&self.destroyed).max() >= Some(&fresh) {
                return refuse("I5", format!("{fresh} is not greater than every id ever used"));
            }
            let active = self.stores.iter().map(|store| store.active).find(|active| leaked.contains(active));
            (fresh, active.unwrap_or(self.outgoing), false)
        };
        self.compromised.clone_from(&leaked);
        self.halt = None;
        if incoming == self.outgoing {
            // What leaked is the candidate.
            if self.stage == Stage::Withdrawing {
                // It is on its way out already, and its gate proves that it is gone.
                return Ok(());
            }
            if self.direction == Direction::Forward && self.written_at.is_none() && accepted.is_disjoint(&leaked) {
                // No member was ever shown it: it is enough to forget it.
                self.direction = Direction::Back;
                self.enter(Stage::Withdrawing, Permit::Free);
                return Ok(());
            }
        }
        self.mode = revocation.mode;
        self.trust = Trust::Unproven;
        self.closed_at = None;
        self.forget_drain();
        self.incoming = incoming;
        self.outgoing = outgoing;
        // A leaked key counts even where no store accepts it any more, because a member may.
        let present = known.into_iter().filter(|key| accepted.contains(key) || leaked.contains(key));
        self.others =
            present.filter(|key| ![incoming, outgoing].contains(key) && !self.destroyed.contains(key)).collect();
        self.direction = Direction::Forward;
        // Accelerated is safe only while the one leaked key that is accepted is the one that mints.
        let gentle = self.stores.iter().all(|store| {
            store.active == outgoing && store.accept.intersection(&self.compromised).all(|&key| key == outgoing)
        });
        if !gentle {
            self.mode = Mode::HardCutover;
        }
        if stored {
            self.after_staging();
        } else {
            self.candidate = Candidate::Fresh;
            self.enter(Stage::Staged, Permit::Free);
        }
        Ok(())
    }
}
