//! What the flawed drivers do differently: the negative controls.
//!
//! Each cheats the machine in one place, past every check; none changes the machine.

use super::World;
use crate::simulation::scenario::{Flaw, OLD, Scenario};
use crate::{Attempt, Direction, Permit, ReloadScope, Stage, Step};

impl World {
    /// Says whether the driver did something else instead of what the machine asks for.
    pub(super) fn cheat(&mut self, scenario: &Scenario) -> bool {
        let (stage, step) = (self.rotation.stage, self.rotation.step.clone());
        let forward = self.rotation.direction == Direction::Forward;
        match scenario.flaw {
            Flaw::DistributeAndPromote if stage == Stage::Accepting && step == Step::Write && forward => {
                self.rotation.promotion_attempted = true;
                self.rotation.stage = Stage::Promoting;
                self.write_everywhere();
                true
            }
            Flaw::DropLeftover if stage == Stage::Accepting && step == Step::Write => {
                self.rotation.others.clear();
                self.write_everywhere();
                true
            }
            Flaw::PromoteWithoutG1 | Flaw::RollbackWithoutRetrust => {
                if forward != (scenario.flaw == Flaw::PromoteWithoutG1) {
                    return false;
                }
                if stage == Stage::Accepting && step == Step::Gate {
                    self.rotation.gate_passed(self.now);
                    return true;
                }
                if stage == Stage::Promoting && step == Step::Write {
                    self.rotation.permit = Permit::Passed { at: self.now };
                }
                false
            }
            _ => false,
        }
    }

    /// The stage's configuration to every store, past every check.
    pub(super) fn write_everywhere(&mut self) {
        let Some(target) = self.rotation.target() else { return };
        for store in 0..self.stores.len() {
            self.put(store, target.clone());
        }
        self.rotation.stores = vec![target; self.stores.len()];
        self.rotation.written_at = Some(self.now);
        self.rotation.reloads = Attempt(self.rotation.reloads.0 + 1);
        self.rotation.step = Step::Reload { attempt: self.rotation.reloads, scope: ReloadScope::All };
    }

    /// Says whether the driver rolled back in its own way.
    pub(super) fn cheat_on_rollback(&mut self, scenario: &Scenario) -> bool {
        let minted = matches!(self.rotation.stage, Stage::Promoting | Stage::Draining);
        let least = self.rotation.stores.iter().any(|store| store.active == OLD);
        let cheats = match scenario.flaw {
            Flaw::RollbackToOldOnly => minted,
            Flaw::RollbackByMinimum => minted && least,
            _ => false,
        };
        if cheats {
            self.rotation.direction = Direction::Back;
            self.rotation.promotion_attempted = false;
            self.rotation.stage = Stage::Withdrawing;
            self.write_everywhere();
        }
        cheats
    }
}
