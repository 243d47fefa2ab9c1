//! The way back. Never "back to old only": it is the way forward with the roles exchanged, entered where it is safe.
//!
//! With several stores the rotation goes back from the stage that any of them may have reached.

use crate::{Abandoned, Candidate, Direction, Event, Illegal, Mode, Permit, Rotation, Stage, Trust};

impl Rotation {
    pub(super) fn roll_back(&mut self) -> Result<(), Illegal> {
        let refuse = |invariant, reason: String| Err(Illegal::Invariant { invariant, reason });
        if self.compromised.contains(&self.outgoing) {
            return refuse("I5", format!("{} is compromised; there is no way back onto it", self.outgoing));
        }
        if self.destroyed.contains(&self.outgoing) {
            return refuse("I5", format!("{} is destroyed; there is only the way forward", self.outgoing));
        }
        let out_of_place = Err(Illegal::OutOfPlace { event: Event::RollbackRequested.name(), stage: self.stage });
        match (self.direction, self.stage) {
            (Direction::Back, _) | (Direction::Forward, Stage::Finished | Stage::Withdrawing) => return out_of_place,
            (Direction::Forward, Stage::Planned) => self.enter(Stage::Closing, Permit::Free),
            (Direction::Forward, Stage::Staged | Stage::Accepting) if !self.promotion_attempted => self.withdraw(),
            (Direction::Forward, Stage::Closing) if self.mode == Mode::Standby => self.withdraw(),
            (Direction::Forward, Stage::CuttingOver) if self.none_cut_over() => {
                // The write was intended, and the world was read since: it did not happen.
                self.promotion_attempted = false;
                self.withdraw();
            }
            (Direction::Forward, Stage::CuttingOver | Stage::Closing | Stage::Escrow) if self.mode != Mode::Staged => {
                self.exchange();
                self.cut_over(Permit::Free);
            }
            (
                Direction::Forward,
                Stage::Staged
                | Stage::Accepting
                | Stage::Promoting
                | Stage::Draining
                | Stage::Retiring
                | Stage::Closing
                | Stage::Escrow
                | Stage::CuttingOver,
            ) => {
                self.exchange();
                if self.trust == Trust::BothEverywhere || self.mints_everywhere(self.incoming) {
                    // Everybody accepts both, or nobody has to change: promoted back at once.
                    self.promote(Permit::Free);
                } else if self.mints_everywhere(self.outgoing) {
                    // Some members may reject the old key: it is trusted everywhere before anybody mints under it.
                    self.enter(Stage::Accepting, Permit::Free);
                } else {
                    self.promote(Permit::Needed);
                }
            }
        }
        if self.is_halted_by_foreign_write() {
            self.abandoned = Abandoned::InSightOfForeignWrite;
        }
        self.direction = Direction::Back;
        self.halt = None;
        Ok(())
    }

    /// Back to where the rotation began, without anything having been minted under the candidate.
    pub(super) fn withdraw(&mut self) {
        match self.candidate {
            Candidate::Fresh => self.enter(Stage::Withdrawing, Permit::Free),
            // It stood there before the rotation and stays.
            Candidate::Standby => self.enter(Stage::Closing, Permit::Free),
        }
    }

    pub(super) fn none_cut_over(&self) -> bool {
        self.mints_everywhere(self.outgoing)
    }

    pub(super) fn exchange(&mut self) {
        std::mem::swap(&mut self.incoming, &mut self.outgoing);
        self.closed_at = None;
        self.forget_drain();
    }
}
