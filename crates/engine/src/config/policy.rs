//! When to rotate, and how patiently.
//!
//! The window is about when a rotation *begins*. What keeps sessions safe is never put off by it: a rotation that is open
//! goes on, and an emergency asks no window.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Period, Window, WindowState};

/// The policy of one key.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Policy {
    /// How old a key may become. Without it nothing is ever due by itself.
    pub rotate_every: Option<Period>,
    /// When a rotation may begin. None means at any time.
    pub windows: Vec<Window>,
    /// Whether a rotation leaves an accept-only candidate for the next one.
    pub standby: Standby,
    /// How long a member could still boot from an older version of the secret.
    pub settle: Period,
    /// How long the outgoing key is kept after the rotation.
    pub escrow: Period,
    /// How often laggards are reloaded again before a person is asked.
    pub reload_attempts: u32,
    /// The least time from the end of one rotation to the beginning of the next scheduled one.
    pub minimum_gap: Period,
}

/// Whether a rotation leaves an accept-only candidate for the next one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "one is left or none is")]
pub enum Standby {
    /// `standby: true`: the next `accelerated` starts with its one write.
    Leave,
    /// None.
    #[default]
    None,
}

/// Whether a scheduled rotation is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "due, not yet, or never by itself")]
pub enum Due {
    /// Since then.
    Since(Timestamp),
    /// Not before then.
    NotBefore(Timestamp),
    /// The policy sets no age.
    Unscheduled,
    /// The last rotation's time is not known, so the key may be of any age: due.
    AgeUnknown,
}

impl Policy {
    /// Whether a scheduled rotation is due, when the last one was closed at `last`.
    pub fn due(&self, last: Option<Timestamp>, now: Timestamp) -> Due {
        let Some(every) = self.rotate_every else { return Due::Unscheduled };
        let Some(last) = last else { return Due::AgeUnknown };
        // An age that leads past the end of the calendar is never reached.
        let at = last.saturating_add(signed(every.max(self.minimum_gap))).unwrap_or(Timestamp::MAX);
        if at <= now { Due::Since(at) } else { Due::NotBefore(at) }
    }

    /// Whether scheduled work may begin now.
    pub fn window(&self, now: Timestamp) -> WindowState {
        if self.windows.is_empty() {
            return WindowState::Open { until: Timestamp::MAX };
        }
        let states: Vec<WindowState> = self.windows.iter().map(|window| window.state(now)).collect();
        let longest = states.iter().filter_map(|state| match state {
            WindowState::Open { until } => Some(*until),
            WindowState::Closed { .. } => None,
        });
        if let Some(until) = longest.max() {
            return WindowState::Open { until };
        }
        let next = states.iter().filter_map(|state| match state {
            WindowState::Closed { opens } => *opens,
            WindowState::Open { .. } => None,
        });
        WindowState::Closed { opens: next.min() }
    }

    /// The first moment at which a scheduled rotation is both due and allowed. `None` where that never comes.
    pub fn next_start(&self, last: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let earliest = match self.due(last, now) {
            Due::Since(_) | Due::AgeUnknown => now,
            Due::NotBefore(at) => at,
            Due::Unscheduled => return None,
        };
        match self.window(earliest) {
            WindowState::Open { .. } => Some(earliest),
            WindowState::Closed { opens } => opens,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            rotate_every: None,
            windows: Vec::new(),
            standby: Standby::None,
            settle: DEFAULT_SETTLE,
            escrow: DEFAULT_ESCROW,
            reload_attempts: DEFAULT_RELOAD_ATTEMPTS,
            minimum_gap: DEFAULT_MINIMUM_GAP,
        }
    }
}

fn signed(period: Period) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(period.millis().0).unwrap_or(i64::MAX))
}

/// The kubelet's sync period and the usual agents' refresh are within it.
const DEFAULT_SETTLE: Period = Period::seconds(60);
const DEFAULT_ESCROW: Period = Period::hours(24);
const DEFAULT_RELOAD_ATTEMPTS: u32 = 3;
const DEFAULT_MINIMUM_GAP: Period = Period::hours(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn policy() -> Policy {
        Policy {
            rotate_every: Some(Period::days(90)),
            windows: vec![Window::parse("Mon-Thu 09:00-16:00 Europe/London").unwrap()],
            ..Policy::default()
        }
    }

    #[test]
    fn a_key_is_due_when_it_is_as_old_as_the_policy_allows() {
        let last = Some(at("2026-08-20T10:00Z"));
        assert_eq!(policy().due(last, at("2026-11-18T09:59Z")), Due::NotBefore(at("2026-11-18T10:00Z")));
        assert_eq!(policy().due(last, at("2026-11-18T10:00Z")), Due::Since(at("2026-11-18T10:00Z")));
    }

    #[test]
    fn a_key_of_unknown_age_is_due() {
        assert_eq!(policy().due(None, at("2026-11-18T10:00Z")), Due::AgeUnknown);
    }

    #[test]
    fn without_an_age_nothing_is_due_by_itself() {
        let policy = Policy::default();
        assert_eq!(policy.due(None, at("2026-11-18T10:00Z")), Due::Unscheduled);
        assert_eq!(policy.next_start(None, at("2026-11-18T10:00Z")), None);
    }

    #[test]
    fn the_minimum_gap_is_kept_even_where_the_age_is_shorter() {
        let policy = Policy { rotate_every: Some(Period::minutes(5)), ..Policy::default() };
        let last = Some(at("2026-11-18T10:00Z"));
        assert_eq!(policy.due(last, at("2026-11-18T10:30Z")), Due::NotBefore(at("2026-11-18T11:00Z")));
    }

    #[test]
    fn the_next_start_is_in_the_window_after_the_due_time() {
        // Due on Friday 2026-11-20, the next window opens on Monday.
        let last = Some(at("2026-08-22T10:00Z"));
        assert_eq!(policy().next_start(last, at("2026-11-01T00:00Z")), Some(at("2026-11-23T09:00Z")));
    }

    #[test]
    fn of_several_windows_the_next_to_open_counts_and_the_last_to_close() {
        let policy = Policy {
            windows: ["Mon 09:00-12:00 UTC", "Mon 11:00-13:00 UTC", "Wed 01:00-02:00 UTC"]
                .map(|text| Window::parse(text).unwrap())
                .into(),
            ..Policy::default()
        };
        // 2026-11-23 is a Monday.
        assert_eq!(policy.window(at("2026-11-23T11:30Z")), WindowState::Open { until: at("2026-11-23T13:00Z") });
        assert_eq!(
            policy.window(at("2026-11-23T13:00Z")),
            WindowState::Closed { opens: Some(at("2026-11-25T01:00Z")) }
        );
    }
}
