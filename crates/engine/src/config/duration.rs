//! Durations in words that people write: `3h`, `90d`, `1h 30m`, `15 minutes`.
//!
//! A day is 24 hours here. Months and years are refused, because nobody can say how long they are.

use std::fmt;
use std::time::Duration;

use jiff::SpanRelativeTo;
use keyroll_rotation::Millis;
use serde::{Deserialize, Serialize};

/// A length of time in whole milliseconds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Period(u64);

impl Period {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// So many minutes.
    pub const fn minutes(minutes: u64) -> Self {
        Self::seconds(minutes.saturating_mul(60))
    }

    /// So many hours.
    pub const fn hours(hours: u64) -> Self {
        Self::minutes(hours.saturating_mul(60))
    }

    /// So many days of 24 hours.
    pub const fn days(days: u64) -> Self {
        Self::hours(days.saturating_mul(24))
    }

    /// So many milliseconds.
    pub const fn milliseconds(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Reads words.
    pub fn parse(text: &str) -> Result<Self, PeriodError> {
        let text = text.trim();
        if text == "0" {
            return Ok(Self::ZERO);
        }
        if text.is_empty() {
            return Err(PeriodError::Empty);
        }
        if text.parse::<f64>().is_ok() {
            return Err(PeriodError::NoUnit);
        }
        let span: jiff::Span = text.parse().map_err(|_| PeriodError::NotADuration)?;
        if span.is_negative() {
            return Err(PeriodError::Negative);
        }
        if span.get_months() != 0 || span.get_years() != 0 {
            return Err(PeriodError::Calendar);
        }
        let exact = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| PeriodError::TooLong)?;
        let milliseconds = u64::try_from(exact.as_millis()).map_err(|_| PeriodError::TooLong)?;
        // A century is more than any session or policy means, and sums of such periods can't overflow.
        if milliseconds > LONGEST.0 {
            return Err(PeriodError::TooLong);
        }
        if milliseconds == 0 && !exact.is_zero() {
            return Err(PeriodError::TooShort);
        }
        Ok(Self(milliseconds))
    }

    /// As the rotation counts time.
    pub const fn millis(self) -> Millis {
        Millis(self.0)
    }

    /// As the standard library counts time.
    pub const fn std(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        let mut gap = "";
        for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            let count = rest / size;
            rest %= size;
            if count > 0 {
                write!(f, "{gap}{count}{unit}")?;
                gap = " ";
            }
        }
        Ok(())
    }
}

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PeriodError {
    /// Nothing is there.
    #[error("there is nothing there")]
    Empty,
    /// A bare number.
    #[error("a number alone does not say seconds, minutes or hours")]
    NoUnit,
    /// Something else.
    #[error("it is not a number with a unit")]
    NotADuration,
    /// Below zero.
    #[error("it is negative")]
    Negative,
    /// Months or years.
    #[error("months and years have no fixed length")]
    Calendar,
    /// More than a century.
    #[error("it is longer than a century")]
    TooLong,
    /// Less than a millisecond.
    #[error("it is shorter than a millisecond")]
    TooShort,
}

const LONGEST: Period = Period::days(36_525);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_words_that_people_write() {
        for (text, expected) in [
            ("3h", Period::hours(3)),
            ("90d", Period::days(90)),
            ("1h 30m", Period::minutes(90)),
            ("1h30m", Period::minutes(90)),
            ("15 minutes", Period::minutes(15)),
            ("1 hour", Period::hours(1)),
            ("1 day, 2 hours", Period::hours(26)),
            ("2w", Period::days(14)),
            ("2 weeks", Period::days(14)),
            ("20 s", Period::seconds(20)),
            ("20 sec", Period::seconds(20)),
            ("500ms", Period::milliseconds(500)),
            ("1.5h", Period::minutes(90)),
            ("PT3H", Period::hours(3)),
            ("0", Period::ZERO),
            ("0s", Period::ZERO),
        ] {
            assert_eq!(Period::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused_with_its_reason() {
        for (text, expected) in [
            ("", PeriodError::Empty),
            ("30", PeriodError::NoUnit),
            ("1.5", PeriodError::NoUnit),
            ("soon", PeriodError::NotADuration),
            ("3 fortnights", PeriodError::NotADuration),
            ("-3h", PeriodError::Negative),
            ("3 months", PeriodError::Calendar),
            ("1y", PeriodError::Calendar),
            ("200000d", PeriodError::TooLong),
            ("10us", PeriodError::TooShort),
        ] {
            assert_eq!(Period::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for period in [0, 1, 999, 1000, 61_000, 5_400_000, 7_776_000_000, 86_400_001].map(Period::milliseconds) {
            assert_eq!(Period::parse(&period.to_string()), Ok(period), "{period}");
        }
    }
}
