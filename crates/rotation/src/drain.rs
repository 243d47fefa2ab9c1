//! The drain: when enough time has passed, and what counts as evidence that no session is left under the outgoing key.
//!
//! Both are needed. Inconclusive evidence never passes, and no person can accept a loss that nobody has counted.

use crate::{DrainObservation, DrainRule, DrainSeen, Millis, Rotation};

impl Rotation {
    /// When the time part of the drain is over, by the store's clock. `None` before T0.
    pub fn drain_over(&self) -> Option<Millis> {
        let settings = &self.settings;
        let t0 = self.t0?;
        let longest = match (settings.max_lifetime, settings.drain) {
            // Here the time is all there is, so a longer drain is a longer time.
            (Some(lifetime), DrainRule::Lifetime) => lifetime.after(self.drain_extension),
            (Some(lifetime), DrainRule::Counter) => lifetime,
            // Nothing bounds the sessions: the earliest time at which a count can mean something.
            (None, DrainRule::Counter | DrainRule::Lifetime) => settings.idle_lifetime.unwrap_or_default(),
        };
        Some(t0.after(longest).after(settings.leeway))
    }

    /// Past this time, evidence that is still positive needs a person.
    pub fn drain_deadline(&self) -> Option<Millis> {
        Some(self.t0?.after(self.settings.drain_limit?).after(self.drain_extension))
    }

    /// Whether what was seen ends the drain.
    pub(crate) fn ends_drain(&self, seen: &DrainSeen) -> bool {
        let (Some(t0), Some(over)) = (self.t0, self.drain_over()) else {
            return false;
        };
        if seen.at < over {
            return false;
        }
        if let Some(shortfall) = self.drain_shortfall(seen, t0) {
            return match (shortfall, self.accepted_loss) {
                (Shortfall::Opens(opened), Some(accepted)) => opened <= accepted,
                (Shortfall::Opens(_), None) | (Shortfall::Unknown(_), _) => false,
            };
        }
        true
    }

    /// What is missing in what was seen.
    pub(crate) fn drain_shortfall(&self, seen: &DrainSeen, t0: Millis) -> Option<Shortfall> {
        match &seen.observation {
            DrainObservation::Counter { from, until, opened, coverage_permille, window_at_least } => {
                let window = until.0.saturating_sub(from.0);
                let least = window_at_least.0.max(self.settings.idle_lifetime.unwrap_or_default().0);
                if *coverage_permille < LEAST_COVERAGE_PERMILLE {
                    let percent = f64::from(*coverage_permille) / 10.0;
                    Some(Shortfall::Unknown(format!(
                        "only {percent} % of the members' time is covered, 99 % is needed"
                    )))
                } else if *from < t0 {
                    Some(Shortfall::Unknown("the window began before the drain".into()))
                } else if window < least {
                    // What a person gives up has to be known; of the time that was not watched nobody knows anything.
                    let so_far = if *opened > 0 { format!("; {opened} were opened in it") } else { String::new() };
                    Some(Shortfall::Unknown(format!("the window is {window} ms and has to be {least} ms{so_far}")))
                } else if until.after(STALE_AFTER) < seen.at {
                    Some(Shortfall::Unknown("the counters are stale".into()))
                } else if *opened > 0 {
                    Some(Shortfall::Opens(*opened))
                } else if self.settings.max_lifetime.is_none() && self.settings.idle_lifetime.is_none() {
                    // A session that nobody used in the window may come back next year.
                    Some(Shortfall::Unknown("nothing bounds the life of a session, so silence proves nothing".into()))
                } else {
                    None
                }
            }
            DrainObservation::Reissued { reissued, remaining } => {
                let total = reissued.saturating_add(*remaining);
                let share = if total == 0 { 0 } else { u128::from(*reissued) * 1000 / u128::from(total) };
                let enough = self.settings.least_reissued_permille.is_some_and(|least| share >= u128::from(least));
                let limit = self.drain_deadline().is_some_and(|deadline| seen.at >= deadline);
                match (self.settings.max_lifetime, enough, limit) {
                    (None, true, true) => None,
                    _ => Some(Shortfall::Opens(*remaining)),
                }
            }
            // The machine records this itself, when its time has come and the configuration names it.
            DrainObservation::LifetimeElapsed { .. } if self.settings.drain == DrainRule::Lifetime => None,
            DrainObservation::LifetimeElapsed { .. } => {
                Some(Shortfall::Unknown("the lifetime alone was not declared to be enough".into()))
            }
            DrainObservation::Inconclusive { reason } => Some(Shortfall::Unknown(reason.clone())),
        }
    }
}

/// What is missing before a drain may end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Shortfall {
    /// So often was a session opened under the outgoing key. Each that was is in use, so at most that many are; one user who
    /// comes back ten times is ten.
    Opens(u64),
    /// It can't be told, for this reason.
    Unknown(String),
}

/// Counters have to cover this much of the members' time.
const LEAST_COVERAGE_PERMILLE: u16 = 990;

/// A count that is older than this says nothing about now.
const STALE_AFTER: Millis = Millis(300_000);
