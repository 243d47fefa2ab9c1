//! For the model checker: worlds that behave alike become one.

use super::{Driver, Member, START, World, member_of};
use crate::gate::Unproven;
use crate::simulation::scenario::Scenario;
use crate::{Attempt, DrainObservation, Event, MemberIndex, Millis, Permit, Rotation, Stage, Step};

impl World {
    /// Shifts all times so that the clock stands still, forgets how long ago long ago was, numbers boots by slot, and
    /// orders members that read the same store.
    pub fn normalise(&mut self, scenario: &Scenario) {
        let (now, floor) = (START, Millis(START.0 - scenario.horizon().0));
        let ago = self.now.0 - START.0;
        let shift = |time: Millis| {
            if time.0 == u64::MAX { time } else { Millis(time.0.saturating_sub(ago)).max(floor) }
        };
        let pending = matches!(self.driver, Driver::Did(Event::Written { .. }));
        let settle_over = self.rotation.settle_over();
        self.normalise_rotation(shift, floor);
        let settled = self.rotation.settle_over();
        for member in self.members.iter_mut().flatten() {
            // Only whether it started before or after settle can ever matter; but a write that is not recorded yet will
            // move settle, so until then the times are kept.
            member.booted_at = match (pending, member.booted_at > settle_over) {
                (true, _) => shift(member.booted_at),
                (false, true) => settled.after(Millis(1)),
                (false, false) => Millis(0),
            };
        }
        self.normalise_members();
        for store in &mut self.stores {
            for (_, replaced) in &mut store.earlier {
                *replaced = shift(*replaced);
            }
        }
        for session in &mut self.sessions {
            session.ends = shift(session.ends);
        }
        self.sessions.sort_unstable();
        let (t0, outgoing) = (self.rotation.t0, self.rotation.outgoing);
        self.opened.retain(|(key, _)| t0.is_some() && *key == outgoing);
        for (_, at) in &mut self.opened {
            *at = shift(*at);
        }
        self.decided_at = shift(self.decided_at);
        match &mut self.driver {
            Driver::Fresh | Driver::Idle | Driver::Reloading(_) => {}
            Driver::Sweeping { began, .. } => *began = shift(*began),
            Driver::Did(event) => match event {
                Event::Written { at, .. } | Event::Stamped { t0: at } | Event::Closed { now: at } => *at = shift(*at),
                _ => {}
            },
        }
        self.now = now;
    }

    fn normalise_rotation(&mut self, shift: impl Fn(Millis) -> Millis, floor: Millis) {
        let (now, settled) = (self.now, self.now > self.rotation.settle_over());
        let rotation = &mut self.rotation;
        let permitted = rotation.permitted(now);
        let draining = rotation.stage == Stage::Draining;
        let reloading = matches!(rotation.step, Step::Reload { .. });
        rotation.written_at = rotation.written_at.map(|at| if settled { floor } else { shift(at) });
        rotation.t0 = rotation.t0.map(|t0| if draining { shift(t0) } else { floor });
        rotation.closed_at = rotation.closed_at.map(&shift);
        rotation.swept_at = rotation.swept_at.filter(|&at| Rotation::too_soon(at, now)).map(&shift);
        rotation.permit = match rotation.permit {
            Permit::Passed { at } => Permit::Passed { at: if permitted { shift(at) } else { floor } },
            permit @ (Permit::Free | Permit::Needed) => permit,
        };
        rotation.reloads = Attempt(0);
        if let Step::Reload { attempt, .. } = &mut rotation.step {
            *attempt = Attempt(0);
        }
        rotation.stage_reloads = rotation.stage_reloads.min(rotation.settings.reload_attempts + 2);
        if !reloading {
            rotation.unproven.clear();
        }
        // What the drain showed matters only as far as it ended it; when it was seen only for pacing.
        rotation.drained = rotation.drained.as_ref().map(|_| DrainObservation::LifetimeElapsed { at: floor });
        if !draining {
            rotation.drain_seen = None;
        }
        if let Some(seen) = &mut rotation.drain_seen {
            seen.observation = DrainObservation::Inconclusive { reason: String::new() };
            seen.at = shift(seen.at);
        }
    }

    fn normalise_members(&mut self) {
        let stores = self.stores.len();
        for store in 0..stores {
            let slots: Vec<usize> = (store..self.members.len()).step_by(stores).collect();
            let mut group: Vec<Option<Member>> = slots.iter().map(|&slot| self.members[slot].take()).collect();
            // Members that are alike differ still in what the driver is about to do with them.
            let driver = &self.driver;
            group.sort_by_cached_key(|member| {
                let boot = member.as_ref().map(|member| member.boot);
                let left = matches!((driver, boot), (Driver::Reloading(left), Some(boot)) if left.contains(&boot));
                let seen = match (driver, boot) {
                    (Driver::Sweeping { seen, .. }, Some(boot)) => seen.iter().find(|seen| seen.member.0 == boot),
                    _ => None,
                };
                let seen = seen.map(|seen| format!("{:?} {:?}", seen.readiness, seen.claims));
                let member = member.as_ref().map(|member| (member.config.clone(), member.ready, member.booted_at));
                (member, left, seen)
            });
            for (slot, member) in slots.into_iter().zip(group) {
                self.members[slot] = member;
            }
        }
        let mut renamed: Vec<(u32, u32)> = Vec::new();
        for (boot, member) in (0..).zip(&mut self.members) {
            if let Some(member) = member {
                renamed.push((member.boot, boot));
                member.boot = boot;
            }
        }
        self.next_boot = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let rename = |boot: u32| renamed.iter().find(|(from, _)| *from == boot).map(|(_, to)| *to);
        match &mut self.driver {
            Driver::Fresh | Driver::Idle | Driver::Did(_) => {}
            // Who left does not matter.
            Driver::Reloading(left) => *left = left.iter().filter_map(|&boot| rename(boot)).collect(),
            Driver::Sweeping { seen, .. } => {
                seen.retain_mut(|seen| match rename(seen.member.0) {
                    Some(boot) => {
                        seen.member = MemberIndex(boot);
                        true
                    }
                    None => false,
                });
                seen.sort_unstable_by_key(|seen| seen.member);
            }
        }
        let unproven = std::mem::take(&mut self.rotation.unproven);
        let mut laggards: Vec<u32> = unproven.iter().filter_map(member_of).filter_map(rename).collect();
        laggards.sort_unstable();
        laggards.dedup();
        self.rotation.unproven =
            laggards.into_iter().map(|boot| Unproven::NotAsked { member: MemberIndex(boot) }).collect();
    }
}
