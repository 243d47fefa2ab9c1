//! The hours in which scheduled work may begin: `Mon-Thu 09:00-16:00 Europe/London`.
//!
//! A window is a time on the wall clock of its zone. In the hour that a clock skips there is no window, and in the hour
//! that it repeats the window is open twice as long; so its length differs on two days of the year.

use std::fmt;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};
use serde::{Serialize, Serializer};

/// One or more spans of a week in one time zone each.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    written: String,
    days: [Opens; 7],
    from: Time,
    until: Time,
    zone: TimeZone,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Opens {
    Yes,
    No,
}

/// Whether a window is open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a window is open or closed")]
pub enum WindowState {
    /// Open until then.
    Open {
        /// When it closes.
        until: Timestamp,
    },
    /// Closed.
    Closed {
        /// When it opens next; `None` where it does not within two years.
        opens: Option<Timestamp>,
    },
}

impl Window {
    /// Days, hours, zone: `Mon-Thu 09:00-16:00 Europe/London`, `daily 02:00-04:00 UTC`, `Sat,Sun 22:00-04:00 Asia/Tokyo`.
    pub fn parse(text: &str) -> Result<Self, WindowError> {
        let mut words: Vec<&str> = text.split_whitespace().collect();
        // `Mon, Wed` and `Mon - Thu` are what people write, too.
        let joined;
        if words.len() > 3 {
            let count = words.len();
            joined = words[..count - 2].concat();
            words = vec![&joined, words[count - 2], words[count - 1]];
        }
        let [days, hours, zone] = words[..] else { return Err(WindowError::Shape) };
        let days = parse_days(days)?;
        let (from, until) = hours.split_once(['-', '\u{2013}']).ok_or_else(|| WindowError::Hours(hours.to_owned()))?;
        // 24:00 is how people write the end of a day, and never its beginning.
        let ends_the_day = until == "24:00";
        let (from, until) = (parse_time(from)?, if ends_the_day { Time::midnight() } else { parse_time(until)? });
        if from == until && !ends_the_day {
            return Err(WindowError::NoTime);
        }
        let zone_known = zone.contains('/') || zone.eq_ignore_ascii_case("UTC");
        let zone = TimeZone::get(zone).ok().filter(|_| zone_known).ok_or_else(|| WindowError::Zone(zone.to_owned()))?;
        Ok(Self { written: text.trim().to_owned(), days, from, until, zone })
    }

    /// As the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Whether it is open now, and when that ends.
    pub fn state(&self, now: Timestamp) -> WindowState {
        let today = now.to_zoned(self.zone.clone()).date();
        // A window that crosses midnight belongs to the day on which it begins, so yesterday's may still be open.
        let first = today.yesterday().unwrap_or(today);
        for date in std::iter::successors(Some(first), |date| date.tomorrow().ok()).take(DAYS_AHEAD) {
            let Some((from, until)) = self.opening_on(date) else { continue };
            if now < from {
                return WindowState::Closed { opens: Some(from) };
            }
            if now < until {
                return WindowState::Open { until: self.open_until(until) };
            }
        }
        WindowState::Closed { opens: None }
    }

    /// `Mon-Sun 12:00-11:59` style windows touch: where one day's opening runs into the next, the end is the later one.
    fn open_until(&self, mut until: Timestamp) -> Timestamp {
        for _ in 0..7 {
            let date = until.to_zoned(self.zone.clone()).date();
            match self.opening_on(date) {
                Some((from, later)) if from <= until && later > until => until = later,
                _ => break,
            }
        }
        until
    }

    /// The opening that begins on `date`, if there is one and a skipped hour does not swallow it.
    fn opening_on(&self, date: Date) -> Option<(Timestamp, Timestamp)> {
        if self.days[usize::from(date.weekday().to_monday_zero_offset().unsigned_abs())] == Opens::No {
            return None;
        }
        let end_date = if self.until <= self.from { date.checked_add(1.day()).ok()? } else { date };
        let from = self.instant(date.to_datetime(self.from), Edge::Opens)?;
        let until = self.instant(end_date.to_datetime(self.until), Edge::Closes)?;
        (from < until).then_some((from, until))
    }

    fn instant(&self, wall: DateTime, edge: Edge) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(wall);
        match (ambiguous.offset(), edge) {
            (AmbiguousOffset::Unambiguous { offset }, _) => offset.to_timestamp(wall).ok(),
            (AmbiguousOffset::Fold { before, .. }, Edge::Opens) => before.to_timestamp(wall).ok(),
            (AmbiguousOffset::Fold { after, .. }, Edge::Closes) => after.to_timestamp(wall).ok(),
            // A wall time that is skipped: the moment at which the clock jumps stands for both edges.
            (AmbiguousOffset::Gap { after, .. }, _) => {
                let before_the_jump = after.to_timestamp(wall).ok()?;
                self.zone.following(before_the_jump).next().map(|transition| transition.timestamp())
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Edge {
    Opens,
    Closes,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

/// Why a text is not a window.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WindowError {
    /// Not three words.
    #[error("it needs days, hours and a time zone")]
    Shape,
    /// Not a day.
    #[error("`{0}` is not a day of the week")]
    Day(String),
    /// Not a span of hours.
    #[error("`{0}` is not a span of hours")]
    Hours(String),
    /// It ends when it begins.
    #[error("it ends when it begins, so it is never open")]
    NoTime,
    /// Not a zone of the tz database.
    #[error("`{0}` is not a time zone")]
    Zone(String),
}

fn parse_days(text: &str) -> Result<[Opens; 7], WindowError> {
    let mut days = [Opens::No; 7];
    for item in text.split(',').filter(|item| !item.is_empty()) {
        let (first, last) = match item.to_ascii_lowercase().as_str() {
            "daily" | "everyday" => (0, 6),
            "weekdays" => (0, 4),
            "weekends" => (5, 6),
            _ => match item.split_once(['-', '\u{2013}']) {
                Some((first, last)) => (parse_day(first)?, parse_day(last)?),
                None => (parse_day(item)?, parse_day(item)?),
            },
        };
        // `Sat-Mon` goes round the end of the week.
        let mut day = first;
        loop {
            days[day] = Opens::Yes;
            if day == last {
                break;
            }
            day = (day + 1) % 7;
        }
    }
    if days.contains(&Opens::Yes) { Ok(days) } else { Err(WindowError::Day(text.to_owned())) }
}

fn parse_day(text: &str) -> Result<usize, WindowError> {
    let wanted = text.to_ascii_lowercase();
    DAY_NAMES
        .iter()
        .position(|name| wanted.len() >= 3 && name.starts_with(&wanted))
        .ok_or_else(|| WindowError::Day(text.to_owned()))
}

fn parse_time(text: &str) -> Result<Time, WindowError> {
    let wrong = || WindowError::Hours(text.to_owned());
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    if minute.len() != 2 || hour.is_empty() || hour.len() > 2 {
        return Err(wrong());
    }
    let (hour, minute): (i8, i8) = (hour.parse().map_err(|_| wrong())?, minute.parse().map_err(|_| wrong())?);
    Time::new(hour, minute, 0, 0).map_err(|_| wrong())
}

const DAY_NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Yesterday and two years: a day of the week that never comes within that is none.
const DAYS_AHEAD: usize = 732;

const _: () = assert!(Weekday::Monday as i8 == 1, "`days` counts from Monday");

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn state(window: &str, now: &str) -> WindowState {
        Window::parse(window).unwrap().state(at(now))
    }

    #[test]
    fn a_window_is_open_from_its_first_minute_and_closed_at_its_last() {
        let office = "Mon-Thu 09:00-16:00 Europe/London";
        // 2026-11-19 is a Thursday; London is on UTC then.
        assert_eq!(state(office, "2026-11-19T08:59:59Z"), WindowState::Closed { opens: Some(at("2026-11-19T09:00Z")) });
        assert_eq!(state(office, "2026-11-19T09:00:00Z"), WindowState::Open { until: at("2026-11-19T16:00Z") });
        assert_eq!(state(office, "2026-11-19T15:59:59Z"), WindowState::Open { until: at("2026-11-19T16:00Z") });
        assert_eq!(state(office, "2026-11-19T16:00:00Z"), WindowState::Closed { opens: Some(at("2026-11-23T09:00Z")) });
    }

    #[test]
    fn summer_time_moves_the_window_with_the_wall_clock() {
        let office = "Mon-Thu 09:00-16:00 Europe/London";
        assert_eq!(state(office, "2026-07-01T07:59Z"), WindowState::Closed { opens: Some(at("2026-07-01T08:00Z")) });
        assert_eq!(state(office, "2026-07-01T08:00Z"), WindowState::Open { until: at("2026-07-01T15:00Z") });
    }

    #[test]
    fn a_window_that_crosses_midnight_belongs_to_the_day_on_which_it_begins() {
        let night = "Fri 22:00-04:00 UTC";
        // 2026-11-20 is a Friday.
        assert_eq!(state(night, "2026-11-20T03:00Z"), WindowState::Closed { opens: Some(at("2026-11-20T22:00Z")) });
        assert_eq!(state(night, "2026-11-21T03:59Z"), WindowState::Open { until: at("2026-11-21T04:00Z") });
        assert_eq!(state(night, "2026-11-21T04:00Z"), WindowState::Closed { opens: Some(at("2026-11-27T22:00Z")) });
    }

    #[test]
    fn an_hour_that_the_clock_skips_has_no_window() {
        // London skips 01:00-02:00 on 2026-03-29.
        let swallowed = "daily 01:10-01:50 Europe/London";
        assert_eq!(state(swallowed, "2026-03-29T00:30Z"), WindowState::Closed { opens: Some(at("2026-03-30T00:10Z")) });
        let cut = "daily 01:30-02:10 Europe/London";
        assert_eq!(state(cut, "2026-03-29T00:30Z"), WindowState::Closed { opens: Some(at("2026-03-29T01:00Z")) });
        assert_eq!(state(cut, "2026-03-29T01:05Z"), WindowState::Open { until: at("2026-03-29T01:10Z") });
    }

    #[test]
    fn an_hour_that_the_clock_repeats_is_open_twice() {
        // London repeats 01:00-02:00 on 2026-10-25: first as 00:00-01:00 UTC, then as 01:00-02:00 UTC.
        let doubled = "daily 01:00-02:00 Europe/London";
        assert_eq!(state(doubled, "2026-10-25T00:00Z"), WindowState::Open { until: at("2026-10-25T02:00Z") });
        assert_eq!(state(doubled, "2026-10-25T01:59Z"), WindowState::Open { until: at("2026-10-25T02:00Z") });
        assert_eq!(state(doubled, "2026-10-25T02:00Z"), WindowState::Closed { opens: Some(at("2026-10-26T01:00Z")) });
    }

    #[test]
    fn a_window_that_never_pauses_is_open_for_the_whole_day() {
        assert_eq!(
            state("Sat 00:00-24:00 UTC", "2026-11-21T12:00Z"),
            WindowState::Open { until: at("2026-11-22T00:00Z") }
        );
    }

    #[test]
    fn days_are_read_as_people_write_them() {
        for (days, open, closed) in [
            ("Mon,Wed", "2026-11-18T10:30Z", "2026-11-17T10:30Z"),
            ("Mon, Wed", "2026-11-18T10:30Z", "2026-11-17T10:30Z"),
            ("Sat-Mon", "2026-11-22T10:30Z", "2026-11-18T10:30Z"),
            ("weekdays", "2026-11-18T10:30Z", "2026-11-22T10:30Z"),
            ("wednesday", "2026-11-18T10:30Z", "2026-11-22T10:30Z"),
            ("Tue \u{2013} Wed", "2026-11-18T10:30Z", "2026-11-22T10:30Z"),
        ] {
            let window = format!("{days} 10:00-11:00 UTC");
            assert!(matches!(state(&window, open), WindowState::Open { .. }), "{window}");
            assert!(matches!(state(&window, closed), WindowState::Closed { .. }), "{window}");
        }
    }

    #[test]
    fn what_is_not_a_window_is_refused_with_its_reason() {
        for (text, expected) in [
            ("", WindowError::Shape),
            ("09:00-16:00 UTC", WindowError::Shape),
            ("Mon-Fry 09:00-16:00 UTC", WindowError::Day("Fry".into())),
            ("Mon 9-16 UTC", WindowError::Hours("9".into())),
            ("Mon 09:00 UTC", WindowError::Hours("09:00".into())),
            ("Mon 09:00-25:00 UTC", WindowError::Hours("25:00".into())),
            ("Mon 09:00-09:00 UTC", WindowError::NoTime),
            ("Mon 09:00-16:00 Europe/Lundon", WindowError::Zone("Europe/Lundon".into())),
            ("Mon 09:00-16:00 BST", WindowError::Zone("BST".into())),
        ] {
            assert_eq!(Window::parse(text), Err(expected), "{text}");
        }
    }
}
