//! The one source of time.
//!
//! Two clocks, because one is not enough: the wall clock can be set, and a monotonic clock of the usual kind stands still
//! while a laptop sleeps. A gate that passed before the lid was closed is not a gate that passed sixty seconds ago.

use std::time::Duration;

use async_trait::async_trait;
use keyroll_adapters::Timestamp;
use keyroll_rotation::Millis;

/// Tells the time and waits.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// Time since the machine booted, suspend included.
    fn boottime(&self) -> Duration;

    /// Waits. May return late, never early.
    async fn sleep(&self, span: Duration);
}

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0))
    }

    fn boottime(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

/// An adapter's time in the machine's words.
pub(crate) fn millis(at: Timestamp) -> Millis {
    Millis(at.0)
}

/// A time as people and JSON write it. A time past the calendar's end becomes its end.
pub(crate) fn calendar(at: Millis) -> jiff::Timestamp {
    i64::try_from(at.0)
        .ok()
        .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
        .unwrap_or(jiff::Timestamp::MAX)
}

/// A time in a sentence: in whole seconds, and never earlier than it is.
pub(crate) fn spoken(at: jiff::Timestamp) -> String {
    let late = at.subsec_nanosecond() > 0;
    let second = if late { at.as_second().saturating_add(1) } else { at.as_second() };
    jiff::Timestamp::from_second(second).unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_of_the_system_move_forward() {
        let clock = SystemClock;
        let (now, boot) = (clock.now(), clock.boottime());
        assert!(now.0 > 1_700_000_000_000);
        assert!(boot > Duration::ZERO);
        assert!(clock.boottime() >= boot);
    }

    #[test]
    fn a_time_is_spoken_in_whole_seconds_and_not_too_early() {
        assert_eq!(spoken(calendar(Millis(1_000))), "1970-01-01T00:00:01Z");
        assert_eq!(spoken(calendar(Millis(1_001))), "1970-01-01T00:00:02Z");
        assert_eq!(spoken(jiff::Timestamp::MAX), jiff::Timestamp::MAX.to_string());
    }

    #[test]
    fn a_time_past_the_calendar_is_its_end_and_not_a_panic() {
        assert_eq!(calendar(Millis(u64::MAX)), jiff::Timestamp::MAX);
    }
}
