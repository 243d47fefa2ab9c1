//! What follows when the stores are read: all as expected, a write that is found done, or a foreign hand.
//!
//! A foreign write is shown and never mended in silence (I12). Even when it was undone, members are reloaded and what had
//! been proven is proven again, because a member may have read what stood there in between; and it may have minted under
//! the outgoing key, so the drain begins anew.

use std::collections::BTreeSet;

use keyroll_keyring::KeyId;

use crate::{
    Abandoned, Direction, Halt, Illegal, Millis, Mode, Permit, ReloadNeed, ReloadScope, Rotation, Stage, Step,
    StoreIndex, Trust, WorldConfiguration,
};

impl Rotation {
    pub(super) fn world_observed(&mut self, found: &[Option<WorldConfiguration>], at: Millis) -> Result<(), Illegal> {
        if found.len() != self.stores.len() {
            let reason = format!("{} stores were read and there are {}", found.len(), self.stores.len());
            return Err(Illegal::Invariant { invariant: "I7", reason });
        }
        if self.abandoned == Abandoned::InSightOfForeignWrite {
            return Ok(());
        }
        let pending = if self.step == Step::Write { self.target() } else { None };
        let stranger = found.iter().zip(&self.stores).position(|(found, expected)| {
            found.as_ref() != Some(expected) && (found.is_none() || found.as_ref() != pending.as_ref())
        });
        if let Some(place) = stranger {
            self.halt = Some(Halt::ForeignWrite {
                store: StoreIndex(u16::try_from(place).unwrap_or(u16::MAX)),
                expected: self.stores[place].clone(),
                found: found[place].clone(),
            });
            return Ok(());
        }
        let disturbed = self.is_halted_by_foreign_write();
        for (store, found) in (0..).map(StoreIndex).zip(found) {
            if self.lacking().contains(&store) && found.as_ref() == pending.as_ref() {
                self.written(store, at);
            }
        }
        if disturbed {
            self.halt = None;
            self.prove_again(Intrusion::Seen, at);
        }
        Ok(())
    }

    /// The world is as expected again after a foreign hand was in it. A change and its undoing can't be told from no
    /// change, but a member may have read what stood there in between; so what was proven is proven again, and since
    /// that member may have minted under the outgoing key, the drain begins anew, even where the key had left already.
    pub(super) fn prove_again(&mut self, intrusion: Intrusion, at: Millis) {
        if self.abandoned == Abandoned::InSightOfForeignWrite {
            return;
        }
        if self.stage == Stage::Escrow && intrusion == Intrusion::Possible {
            // The rotation is over; a neighbour that is edited in the days after it does not begin it again.
            return;
        }
        self.written_at = Some(at);
        self.trust = Trust::Unproven;
        self.unproven.clear();
        self.swept_at = None;
        self.stage_reloads = 0;
        match self.stage {
            Stage::Planned | Stage::Staged | Stage::Finished => return,
            Stage::Accepting | Stage::Withdrawing => self.step_again(Permit::Free),
            // Where nobody's active key changes, the write only has a key accepted (again); members can't show that before.
            Stage::Promoting if self.mints_everywhere(self.incoming) => self.step_again(Permit::Free),
            Stage::Promoting => self.step_again(Permit::Needed),
            Stage::Draining => self.void_t0(),
            Stage::Retiring => self.drain_again(),
            Stage::CuttingOver => {
                let begun = self.permit == Permit::Free;
                self.step_again(if begun { Permit::Free } else { Permit::Needed });
            }
            Stage::Closing if self.destroyed.contains(&self.incoming) => {
                // Withdrawn. The candidate is gone; who mints, and who accepts what is left, is asked again.
                self.enter(Stage::Withdrawing, Permit::Free);
                self.step = Step::Gate;
            }
            Stage::Closing | Stage::Escrow => match (self.mode, self.direction) {
                (Mode::Staged, _) if !self.none_retired() => self.drain_again(),
                (Mode::Cutover | Mode::Accelerated | Mode::HardCutover, _) if !self.none_retired() => {
                    self.enter(Stage::CuttingOver, Permit::Free);
                }
                (Mode::Standby, Direction::Forward) => self.enter(Stage::Accepting, Permit::Free),
                // Nothing had been written, so nothing had been proven.
                (Mode::Staged | Mode::Cutover | Mode::Accelerated | Mode::HardCutover | Mode::Standby, _) => return,
            },
        }
        // The stage's write reloads everybody. Where it is done already, or rests on a gate that a member with somebody
        // else's configuration can't pass, nothing else would.
        let waits_for_write = !self.lacking().is_empty() && self.permit == Permit::Free;
        if intrusion == Intrusion::Seen && self.settings.reload == ReloadNeed::Needed && !waits_for_write {
            self.reload(ReloadScope::All);
        }
    }

    /// The outgoing key is trusted again, everywhere, before its drain begins anew: a member that read somebody else's
    /// configuration may have minted under it after T0. A key that must not return is only proven to be gone.
    fn drain_again(&mut self) {
        if self.compromised.contains(&self.outgoing) || self.destroyed.contains(&self.outgoing) {
            self.enter(Stage::Retiring, Permit::Needed);
        } else if self.none_retired() {
            self.void_t0();
        } else {
            self.closed_at = None;
            self.forget_drain();
            self.enter(Stage::Promoting, Permit::Free);
        }
    }

    pub(super) fn mints_everywhere(&self, key: KeyId) -> bool {
        self.stores.iter().all(|store| store.active == key)
    }

    pub(super) fn step_again(&mut self, permit: Permit) {
        self.permit = permit;
        self.step = match (self.lacking().is_empty(), &self.step) {
            (_, Step::Reload { attempt, scope }) => Step::Reload { attempt: *attempt, scope: *scope },
            (true, Step::Act | Step::Write | Step::Gate) => Step::Gate,
            (false, Step::Act | Step::Write | Step::Gate) => Step::Write,
        };
    }

    /// A person goes on from what a foreign hand left, where that is safe: only known keys, and each key that a member
    /// may hold is accepted before another one mints.
    pub(super) fn adopt(&mut self, found: &[WorldConfiguration], at: Millis) -> Result<(), Illegal> {
        let refuse = |invariant, reason: String| Err(Illegal::Invariant { invariant, reason });
        let Some(first) = found.first().filter(|_| found.len() == self.stores.len()) else {
            return refuse("I7", format!("{} stores were read and there are {}", found.len(), self.stores.len()));
        };
        if found == self.stores {
            // It was put back before anybody decided.
            self.halt = None;
            self.prove_again(Intrusion::Seen, at);
            return Ok(());
        }
        if let Some(gone) = [self.incoming, self.outgoing].iter().find(|key| self.destroyed.contains(key)) {
            return refuse("I5", format!("{gone} is destroyed; the store has to be put back"));
        }
        if self.compromised.contains(&self.incoming) {
            return refuse("I5", format!("{} is compromised; the store has to be put back", self.incoming));
        }
        let pair: BTreeSet<KeyId> = [self.incoming, self.outgoing].into();
        let leftover = |store: &WorldConfiguration| -> BTreeSet<KeyId> { &store.accept - &pair };
        let others = leftover(first);
        for store in found {
            if !store.accept.contains(&store.active) {
                return refuse("I3", format!("{} is active and not accepted", store.active));
            }
            if let Some(third) = store.accept.iter().find(|key| !pair.contains(key) && !self.others.contains(key)) {
                return refuse("I12", format!("{third} is a third key; this rotation knows nothing of it"));
            }
            if leftover(store) != others {
                return refuse("I12", "the stores accept different leftover keys; make them equal first".into());
            }
            if let Some(gone) = store.accept.intersection(&self.destroyed).next() {
                return refuse("I5", format!("{gone} was destroyed"));
            }
            if !pair.contains(&store.active) {
                return refuse("I12", format!("{} is active; it is neither the old key nor the new one", store.active));
            }
        }
        let on_incoming = found.iter().filter(|store| store.active == self.incoming).count();
        let both = found.iter().all(|store| pair.is_subset(&store.accept));
        let everywhere = on_incoming == found.len();
        let withdrawing = self.stage == Stage::Withdrawing && !self.promotion_attempted && on_incoming == 0;
        let (stage, permit) = match self.mode {
            _ if withdrawing => (Stage::Withdrawing, Permit::Free),
            Mode::Cutover | Mode::HardCutover => (Stage::CuttingOver, Permit::Free),
            Mode::Staged | Mode::Accelerated | Mode::Standby if on_incoming == 0 => (Stage::Accepting, Permit::Free),
            Mode::Accelerated => (Stage::CuttingOver, Permit::Free),
            Mode::Staged if everywhere => (Stage::Promoting, Permit::Free),
            Mode::Staged if both => (Stage::Promoting, Permit::Needed),
            Mode::Staged => return refuse("I4", "the stores have different active keys and do not accept both".into()),
            Mode::Standby => return refuse("I12", format!("the standby {} is active", self.incoming)),
        };
        if self.mode == Mode::Accelerated && stage == Stage::CuttingOver {
            // Nothing is promised any more about who accepts the new key first.
            self.mode = Mode::HardCutover;
        }
        self.others = others;
        self.stores = found.to_vec();
        self.written_at = Some(at);
        self.promotion_attempted |= on_incoming > 0;
        self.trust = Trust::Unproven;
        self.halt = None;
        self.closed_at = None;
        self.forget_drain();
        self.enter(stage, permit);
        Ok(())
    }
}

/// What is known of a foreign hand whose work is gone again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Intrusion {
    /// Somebody else's configuration stood in a store.
    Seen,
    /// A store's version moved; it may have been a neighbour's edit.
    Possible,
}
