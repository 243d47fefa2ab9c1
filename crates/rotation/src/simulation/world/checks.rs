//! The invariants of the protocol, checked against the whole world: against members and sessions, which the machine
//! itself never sees.

use std::collections::{BTreeMap, BTreeSet};

use keyroll_keyring::KeyId;

use super::{Broken, CutoverRoll, Excuse, World, say};
use crate::simulation::scenario::{Flaw, OLD, Scenario, THIRD};
use crate::{Mode, Permit, Stage, WorldConfiguration};

impl World {
    /// What has to be true in the moment in which the driver writes.
    pub(super) fn check_write(&mut self, scenario: &Scenario, place: usize, after: &WorldConfiguration) {
        let before = self.stores[place].holds.clone();
        if let Some(key) = after.accept.intersection(&self.rotation.destroyed).next() {
            self.break_with(scenario, "I5", format!("{key} was destroyed and returns"));
        }
        let leaked = self.rotation.compromised.intersection(&after.accept).find(|&&key| key != after.active);
        if let Some(key) = leaked {
            self.break_with(
                scenario,
                "I13",
                format!("{key} is compromised and would be accepted while {} mints", after.active),
            );
        }
        let gentle = match self.rotation.mode {
            Mode::Staged | Mode::Standby => true,
            // Once it has begun, a cutover goes on: half of it is worse than the whole.
            Mode::Accelerated => self.rotation.permit != Permit::Free,
            Mode::Cutover | Mode::HardCutover => false,
        };
        if gentle && before.active != after.active {
            self.decided_at = if self.rotation.stores.contains(after) { self.decided_at } else { self.now };
            let mut stale = self.stores.iter().flat_map(|store| store.earlier.iter().map(|(config, _)| config));
            let member = self.present_members().find(|(_, member)| !member.config.accept.contains(&after.active));
            if let Some((slot, member)) = member {
                let config = say(&member.config);
                self.break_with(
                    scenario,
                    "I4",
                    format!("{} becomes active and member {slot} has {config}", after.active),
                );
            } else if stale.any(|config| !config.accept.contains(&after.active)) {
                self.break_with(
                    scenario,
                    "I4",
                    format!("{} becomes active and a member may boot without it", after.active),
                );
            }
        }
        if self.rotation.stage == Stage::Retiring {
            let gone = self.rotation.outgoing;
            let minting = self.present_members().find(|(_, member)| member.config.active == gone);
            if let Some((slot, _)) = minting {
                self.break_with(scenario, "I4", format!("{gone} leaves and member {slot} mints under it"));
            }
            if self.rotation.t0.is_none() || self.rotation.drained.is_none() {
                self.break_with(scenario, "I6", format!("{gone} leaves without T0 or evidence"));
            }
        }
    }

    /// Whether a session under the key may be refused, by name. Not by the mode: until an emergency's cutover is written, every
    /// session is accepted, and behind its roll every session under a key that it did not end.
    pub(super) fn excused(&self, key: KeyId) -> bool {
        self.excuse == Some(Excuse::ForeignWrite)
            || self.given_up.roll == CutoverRoll::Underway
            || self.given_up.keys.contains(&key)
    }

    /// The invariants that have to hold in every world.
    pub(super) fn check(&mut self, scenario: &Scenario) {
        if self.broken.is_some() {
            return;
        }
        let leaky = scenario.flaw == Flaw::AcceptLeakedWhileMintingNew;
        let broken = self.lost_session(leaky).or_else(|| self.survivor(leaky)).or_else(|| match scenario.flaw {
            Flaw::None => self.lost_mint().or_else(|| self.false_end()),
            _ => None,
        });
        if broken.is_some() {
            self.broken = broken;
        }
    }

    /// I1.
    pub(super) fn lost_session(&self, leaky: bool) -> Option<Broken> {
        for (slot, member) in self.present_members().filter(|(_, member)| member.ready) {
            let accepts = |key: KeyId| member.config.accept.contains(&key);
            let lost = self.sessions.iter().filter(|session| !session.forged && !leaky);
            if let Some(session) = lost.copied().find(|session| !accepts(session.key) && !self.excused(session.key)) {
                let config = say(&member.config);
                let reason = format!("a live session under {} meets member {slot}, which has {config}", session.key);
                return Some(Broken { invariant: "I1", reason });
            }
        }
        None
    }

    /// I2.
    pub(super) fn lost_mint(&self) -> Option<Broken> {
        // Who mints under each key: few keys, however many members there are.
        let mut minters: BTreeMap<KeyId, usize> = BTreeMap::new();
        for (slot, member) in self.present_members().filter(|(_, member)| member.ready) {
            minters.entry(member.config.active).or_insert(slot);
        }
        minters.retain(|key, _| !self.excused(*key));
        for (slot, member) in self.present_members().filter(|(_, member)| member.ready) {
            if let Some((key, other)) = minters.iter().find(|(key, _)| !member.config.accept.contains(key)) {
                let config = say(&member.config);
                let reason = format!("member {other} mints under {key} and member {slot} has {config}");
                return Some(Broken { invariant: "I2", reason });
            }
        }
        None
    }

    /// I13: what was forged with a leaked key must not live on under another one.
    pub(super) fn survivor(&self, leaky: bool) -> Option<Broken> {
        if self.excuse.is_some() {
            return None;
        }
        let leaked = |key: &KeyId| self.rotation.compromised.contains(key) || leaky && *key == OLD;
        let forged = self.sessions.iter().find(|session| session.forged && !leaked(&session.key))?;
        let reason = format!("a session that was forged with the leaked key now lives on under {}", forged.key);
        Some(Broken { invariant: "I13", reason })
    }

    /// At the end, every member that exists or may start accepts exactly what its store says.
    pub(super) fn false_end(&self) -> Option<Broken> {
        let ended = matches!(self.rotation.stage, Stage::Closing | Stage::Escrow | Stage::Finished);
        if !ended || self.excuse == Some(Excuse::ForeignWrite) {
            return None;
        }
        let promised = |config: &WorldConfiguration| -> BTreeSet<KeyId> {
            match self.rotation.mode {
                // A cutover proves that the old key and whatever leaked is dead; it asks nothing about leftover keys.
                Mode::Cutover | Mode::Accelerated | Mode::HardCutover => {
                    let leftover = &(&self.rotation.others | &[THIRD].into()) - &self.rotation.compromised;
                    &config.accept - &leftover
                }
                Mode::Staged | Mode::Standby => config.accept.clone(),
            }
        };
        let (slot, member) = self.present_members().find(|(slot, member)| {
            promised(&member.config) != promised(&self.stores[slot % self.stores.len()].holds)
        })?;
        let config = say(&member.config);
        Some(Broken { invariant: "G3", reason: format!("the rotation is closed and member {slot} has {config}") })
    }

    pub(super) fn break_with(&mut self, scenario: &Scenario, invariant: &'static str, reason: String) {
        // Of a flawed driver it is known that it breaks rules. The question is what its users lose.
        if self.broken.is_none() && scenario.flaw == Flaw::None {
            self.broken = Some(Broken { invariant, reason });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::EvidenceRule;
    use crate::simulation::scenario::NEW;
    use crate::simulation::{Session, World};
    use crate::{DrainRule, Millis, ReloadNeed, Settings};

    /// A session under `key`, and a member that accepts the old key alone.
    fn meeting(key: KeyId) -> World {
        let settings = Settings {
            settle: Millis(1_000),
            max_lifetime: Some(Millis(10_000)),
            idle_lifetime: None,
            leeway: Millis(0),
            drain: DrainRule::Lifetime,
            drain_limit: None,
            least_reissued_permille: None,
            escrow: Millis(0),
            evidence: EvidenceRule::Strong,
            reload_attempts: 1,
            reload: ReloadNeed::Needed,
        };
        let mut world = World::new(&Scenario::of(Mode::Accelerated, 1, settings)).unwrap();
        world.sessions = vec![Session { key, ends: Millis(u64::MAX), forged: false }];
        world
    }

    #[test]
    fn an_emergency_excuses_no_loss_but_that_of_sessions_under_keys_which_its_write_has_ended() {
        // Before the write nothing is given up, whatever the mode, and also where a revocation came in between.
        let mut world = meeting(NEW);
        world.excuse = Some(Excuse::LeakedBesideAnother);
        assert_eq!(world.lost_session(false).unwrap().invariant, "I1");
        let revoked = WorldConfiguration::new(NEW, []);
        let everybody = WorldConfiguration::new(OLD, [NEW]);
        world.stores[0].holds = everybody.clone();
        world.members[0].as_mut().unwrap().config = everybody;
        world.cut_over_to(&revoked);
        world.stores[0].holds = revoked;
        assert_eq!(world.given_up.roll, CutoverRoll::None, "everybody accepted the new key");
        assert_eq!(world.given_up.keys, [OLD].into());
        assert!(!world.excused(NEW) && world.excused(OLD));
        // A hard one, to a key that a member does not know yet: until a gate has passed, the roll itself is the excuse.
        let mut world = meeting(NEW);
        world.cut_over_to(&WorldConfiguration::new(NEW, []));
        assert_eq!(world.given_up.roll, CutoverRoll::Underway);
        assert!(world.lost_session(false).is_none());
    }
}
