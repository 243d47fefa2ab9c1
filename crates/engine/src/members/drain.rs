//! The drain's evidence: what readings of counters prove about sessions under the outgoing key.
//!
//! Counters only count since a process started. So what proves is not the last reading but the pairs of readings of the same
//! run, and what lies between two readings of different runs is not covered by anything.

use std::collections::BTreeMap;
use std::time::Duration;

use keyroll_adapters::Timestamp;
use keyroll_adapters::evidence::OpenedCounts;
use keyroll_adapters::fleets::Member;
use keyroll_keyring::KeyId;
use keyroll_rotation::{DrainObservation, Millis};
use serde::{Deserialize, Serialize};

use crate::members::sweep::Listed;

/// Readings, oldest first.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DrainBook {
    /// The rotation and the key that they are about, as `r-.../k1`.
    pub(crate) about: String,
    pub(crate) readings: Vec<Reading>,
}

/// One reading of everybody.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Reading {
    pub(crate) at: Timestamp,
    /// Every run that was listed, by a name that is unique to the run.
    pub(crate) runs: BTreeMap<String, RunReading>,
}

/// One run in one reading.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RunReading {
    /// How often a session was opened under the outgoing key since the run started; none where the member shows no such series.
    pub(crate) opened: Option<u64>,
    /// How often under the incoming key since then; asked for where nothing bounds the life of a session.
    #[serde(default)]
    pub(crate) renewed: Option<u64>,
    /// When the run started, where that is known: then its counter covers the time since.
    pub(crate) started_at: Option<Timestamp>,
    /// Whether a run that took its place would have another name.
    #[serde(default)]
    pub(crate) restarts: Restarts,
}

/// Whether a restart between two readings shows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Restarts {
    /// Another run has another name.
    #[default]
    Seen,
    /// A run that counted past the last reading before the next one looks like the run before it.
    Unseen,
}

/// How a reading names the run that counted: by the list of members, else by what the run says of its own start.
pub(crate) fn run_of(one: &Listed, counts: Option<&OpenedCounts>) -> (String, Restarts) {
    let place = format!("{}/{}", one.consumer, one.member.id.0);
    match (one.member.boot.tells_runs_apart(), counts.and_then(|counts| counts.started_at)) {
        (true, _) => (format!("{place}/{}", one.member.boot.0), Restarts::Seen),
        (false, Some(start)) => (format!("{place}/since-{}", start.0), Restarts::Seen),
        (false, None) => (format!("{place}/{}", one.member.boot.0), Restarts::Unseen),
    }
}

impl DrainBook {
    pub(crate) fn new(about: String) -> Self {
        Self { about, readings: Vec::new() }
    }

    /// Adds a reading, and forgets readings in the middle once there are very many: pairs further apart prove the same.
    pub(crate) fn push(&mut self, reading: Reading) {
        if self.readings.last().is_some_and(|last| last.at == reading.at) {
            self.readings.pop();
        }
        if self.readings.last().is_some_and(|last| last.at > reading.at) {
            // The store's clock went back; what was read before can't be put in order with what comes now.
            self.readings.clear();
        }
        let most = (MOST_RUNS / reading.runs.len().max(1)).clamp(LEAST_READINGS, MOST_READINGS);
        self.readings.push(reading);
        while self.readings.len() > most {
            // Where readings stand closest, one of them is missed least. The first and the last two stay.
            let closest = (1..self.readings.len() - 2)
                .min_by_key(|at| self.readings[at + 1].at.0.saturating_sub(self.readings[at - 1].at.0));
            self.readings.remove(closest.unwrap_or(1));
        }
    }

    /// What the readings prove: the longest window up to now in which nothing was opened and nothing is doubtful, or, where
    /// that is too short, the shortest window that is long enough with what was opened in it.
    pub(crate) fn observe(&self, since: Timestamp, window_at_least: Duration) -> DrainObservation {
        match self.window(since, window_at_least) {
            Err(reason) => DrainObservation::Inconclusive { reason },
            Ok(Window { from, until, at_least, span }) => DrainObservation::Counter {
                from,
                until,
                opened: span.opened,
                coverage_permille: span.permille(),
                window_at_least: at_least,
            },
        }
    }

    /// How often sessions were opened under each of the two keys, over the same window; for sessions without an end, of which
    /// silence proves nothing.
    pub(crate) fn renewed(&self, since: Timestamp, window_at_least: Duration) -> DrainObservation {
        let inconclusive = |reason| DrainObservation::Inconclusive { reason };
        let Window { from, until, at_least, span } = match self.window(since, window_at_least) {
            Err(reason) => return inconclusive(reason),
            Ok(window) => window,
        };
        let length = until.0.saturating_sub(from.0);
        if length < at_least.0 {
            return inconclusive(format!("the window is {length} ms and has to be {} ms", at_least.0));
        }
        if span.permille() < CLEAN_PERMILLE {
            return inconclusive(format!(
                "only {} % of the members' time is covered, 99 % is needed",
                f64::from(span.permille()) / 10.0
            ));
        }
        DrainObservation::Reissued { reissued: span.renewed, remaining: span.opened }
    }

    fn window(&self, since: Timestamp, window_at_least: Duration) -> Result<Window, String> {
        let at_least = Millis(u64::try_from(window_at_least.as_millis()).unwrap_or(u64::MAX));
        let readings: Vec<&Reading> = self.readings.iter().filter(|reading| reading.at >= since).collect();
        let Some(last) = readings.last() else {
            return Err("no counter was read yet".into());
        };
        if last.runs.is_empty() {
            return Err("nobody was listed whose counter could be read".into());
        }
        let missing: Vec<&str> =
            last.runs.iter().filter(|(_, run)| run.opened.is_none()).map(|(name, _)| name.as_str()).collect();
        if let Some(first) = missing.first() {
            let others = missing.len() - 1;
            let reason = match others {
                0 => format!("`{first}` shows no counter for the outgoing key"),
                _ => format!("`{first}` and {others} more show no counter for the outgoing key"),
            };
            return Err(reason);
        }
        let unseen: Vec<&str> = last
            .runs
            .iter()
            .filter(|(_, run)| run.restarts == Restarts::Unseen)
            .map(|(name, _)| name.as_str())
            .collect();
        if let Some(first) = unseen.first() {
            let who = match unseen.len() - 1 {
                0 => format!("`{first}` may"),
                others => format!("`{first}` and {others} more may"),
            };
            return Err(format!(
                "{who} have been restarted between two readings without anybody seeing it; {TELL_RUNS_APART}"
            ));
        }
        let mut sum = Span::default();
        let mut best: Option<(Millis, Span)> = None;
        for pair in readings.windows(2).rev() {
            let [before, after] = pair else { continue };
            let span = between(before, after);
            if span.reset {
                break;
            }
            sum = sum.plus(span);
            let from = Millis(before.at.0);
            let long_enough = last.at.0.saturating_sub(from.0) >= at_least.0;
            let known = best.as_ref().is_some_and(|(from, _)| last.at.0.saturating_sub(from.0) >= at_least.0);
            if known && (sum.opened > 0 || sum.permille() < CLEAN_PERMILLE) {
                break;
            }
            best = Some((from, sum));
            if long_enough && sum.opened > 0 {
                break;
            }
        }
        match best {
            None => Err(match readings.len() {
                1 => "the counters were read once; what they were before is not known".into(),
                _ => "a counter was reset between the last two readings".into(),
            }),
            Some((from, span)) => Ok(Window { from, until: Millis(last.at.0), at_least, span }),
        }
    }
}

/// The window that the readings speak of.
#[derive(Debug)]
struct Window {
    from: Millis,
    until: Millis,
    at_least: Millis,
    span: Span,
}

/// What lies between two readings.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    opened: u64,
    /// What is not known to be under the incoming key does not count as if it were.
    renewed: u64,
    member_millis: u128,
    covered_millis: u128,
    reset: bool,
}

impl Span {
    fn plus(self, other: Self) -> Self {
        Self {
            opened: self.opened.saturating_add(other.opened),
            renewed: self.renewed.saturating_add(other.renewed),
            member_millis: self.member_millis + other.member_millis,
            covered_millis: self.covered_millis + other.covered_millis,
            reset: self.reset || other.reset,
        }
    }

    fn permille(self) -> u16 {
        if self.member_millis == 0 {
            return 0;
        }
        u16::try_from(self.covered_millis * 1000 / self.member_millis).unwrap_or(1000)
    }
}

/// How many sessions this run of the member opened under a key, which it names by fingerprint or by id.
pub(crate) fn opened_by(counts: &OpenedCounts, member: &Member, key: KeyId, label: Option<&str>) -> Option<u64> {
    if counts.boot != member.boot {
        return None;
    }
    let series = counts.by_label.iter().find(|(name, _)| Some(name.as_str()) == label || *name == key.to_string());
    series.map(|(_, count)| *count)
}

fn between(before: &Reading, after: &Reading) -> Span {
    let length = u128::from(after.at.0.saturating_sub(before.at.0));
    let mut span = Span::default();
    for (name, now) in &after.runs {
        match before.runs.get(name) {
            Some(then) => {
                span.member_millis += length;
                let renewed = now.renewed.zip(then.renewed).map_or(0, |(now, then)| now.saturating_sub(then));
                span.renewed = span.renewed.saturating_add(renewed);
                match (then.opened, now.opened) {
                    (Some(then), Some(now)) if now >= then => {
                        span.opened = span.opened.saturating_add(now - then);
                        span.covered_millis += length;
                    }
                    (Some(_), Some(_)) => span.reset = true,
                    (None, _) | (_, None) => {}
                }
            }
            None => match (now.started_at, now.opened) {
                // It started in between, so its counter has seen its whole life.
                (Some(started), Some(opened)) if started >= before.at => {
                    let life = u128::from(after.at.0.saturating_sub(started.0));
                    span.opened = span.opened.saturating_add(opened);
                    span.renewed = span.renewed.saturating_add(now.renewed.unwrap_or(0));
                    span.member_millis += life;
                    span.covered_millis += life;
                }
                _ => span.member_millis += length,
            },
        }
    }
    // Who is gone took the end of its count along.
    span.member_millis += length * before.runs.keys().filter(|name| !after.runs.contains_key(*name)).count() as u128;
    span
}

/// What makes the restart of a member show.
pub(crate) const TELL_RUNS_APART: &str = "have the members export `process_start_time_seconds` beside the counter, or list them with \
     a `command` that tells their boot ids, or say `sessions.drain: lifetime`";

/// Below this, an older reading would spoil a window that is good without it.
const CLEAN_PERMILLE: u16 = 990;

const MOST_READINGS: usize = 2_000;
const LEAST_READINGS: usize = 16;

/// All readings of all members together: the book is written anew with each reading, and of a thousand members two thousand
/// readings would be a hundred megabytes.
const MOST_RUNS: usize = 50_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reading(at: u64, runs: &[(&str, Option<u64>)]) -> Reading {
        Reading {
            at: Timestamp(at),
            runs: runs
                .iter()
                .map(|(name, opened)| {
                    (
                        (*name).to_owned(),
                        RunReading { opened: *opened, renewed: None, started_at: None, restarts: Restarts::Seen },
                    )
                })
                .collect(),
        }
    }

    fn observe(readings: &[Reading], window: u64) -> DrainObservation {
        let mut book = DrainBook::new("r/k1".into());
        for reading in readings {
            book.push(reading.clone());
        }
        book.observe(Timestamp(0), Duration::from_millis(window))
    }

    #[test]
    fn silence_on_every_member_over_the_window_is_evidence() {
        let readings = [reading(0, &[("a", Some(5)), ("b", Some(7))]), reading(100, &[("a", Some(5)), ("b", Some(7))])];
        assert_eq!(
            observe(&readings, 100),
            DrainObservation::Counter {
                from: Millis(0),
                until: Millis(100),
                opened: 0,
                coverage_permille: 1000,
                window_at_least: Millis(100)
            }
        );
    }

    #[test]
    fn a_second_reading_in_the_same_moment_takes_the_place_of_the_first() {
        let readings =
            [reading(0, &[("a", Some(1))]), reading(100, &[("a", Some(1))]), reading(100, &[("a", Some(1))])];
        assert!(matches!(observe(&readings, 100), DrainObservation::Counter { from: Millis(0), opened: 0, .. }));
    }

    #[test]
    fn use_before_the_window_does_not_spoil_it_and_use_within_it_is_counted() {
        let before = [reading(0, &[("a", Some(1))]), reading(50, &[("a", Some(4))]), reading(150, &[("a", Some(4))])];
        assert!(matches!(observe(&before, 100), DrainObservation::Counter { from: Millis(50), opened: 0, .. }));
        let within = [reading(0, &[("a", Some(1))]), reading(50, &[("a", Some(1))]), reading(150, &[("a", Some(4))])];
        assert!(matches!(observe(&within, 100), DrainObservation::Counter { opened: 3, .. }));
    }

    #[test]
    fn a_missing_series_a_reset_a_lone_reading_and_nobody_are_inconclusive() {
        for readings in [
            vec![reading(0, &[("a", Some(1))]), reading(100, &[("a", None)])],
            vec![reading(0, &[("a", Some(9))]), reading(100, &[("a", Some(1))])],
            vec![reading(0, &[("a", Some(1))])],
            vec![reading(0, &[("a", Some(1))]), reading(100, &[])],
            vec![],
        ] {
            assert!(matches!(observe(&readings, 100), DrainObservation::Inconclusive { .. }), "{readings:?}");
        }
    }

    #[test]
    fn a_member_that_vanished_or_came_from_nowhere_is_time_that_nothing_covers() {
        let vanished = [reading(0, &[("a", Some(1)), ("b", Some(1))]), reading(100, &[("a", Some(1))])];
        let came = [reading(0, &[("a", Some(1))]), reading(100, &[("a", Some(1)), ("b", Some(0))])];
        for readings in [vanished, came] {
            assert!(
                matches!(observe(&readings, 100), DrainObservation::Counter { coverage_permille: 500, .. }),
                "{readings:?}"
            );
        }
    }

    /// Restarted between the two readings, its sessions under the old key lost with the count, and as many opened since.
    #[test]
    fn a_run_that_nobody_can_tell_from_the_one_before_proves_nothing() {
        let mut readings = [reading(0, &[("a/unknown", Some(5))]), reading(100, &[("a/unknown", Some(5))])];
        for reading in &mut readings {
            reading.runs.get_mut("a/unknown").unwrap().restarts = Restarts::Unseen;
        }
        let DrainObservation::Inconclusive { reason } = observe(&readings, 100) else { panic!("it passed") };
        assert!(reason.contains("`a/unknown` may have been restarted") && reason.contains("process_start"), "{reason}");
    }

    #[test]
    fn a_member_that_started_in_between_is_covered_from_its_start() {
        let mut readings = [reading(0, &[("a", Some(1))]), reading(100, &[("a", Some(1)), ("b", Some(0))])];
        readings[1].runs.get_mut("b").unwrap().started_at = Some(Timestamp(40));
        assert!(matches!(
            observe(&readings, 100),
            DrainObservation::Counter { opened: 0, coverage_permille: 1000, .. }
        ));
    }

    #[test]
    fn the_book_stays_small_and_what_it_proves_stays_the_same() {
        let mut book = DrainBook::new("r/k1".into());
        for at in 0..500_u64 {
            let runs = (0..1_000).map(|member| {
                (
                    format!("m{member}"),
                    RunReading { opened: Some(7), renewed: None, started_at: None, restarts: Restarts::Seen },
                )
            });
            book.push(Reading { at: Timestamp(at * 15_000), runs: runs.collect() });
        }
        assert_eq!(book.readings.len(), 50);
        let gaps: Vec<u64> = book.readings.windows(2).map(|pair| pair[1].at.0 - pair[0].at.0).collect();
        assert!(gaps.iter().all(|gap| *gap <= 60 * 15_000), "no long gap: {gaps:?}");
        assert!(matches!(
            book.observe(Timestamp(0), Duration::from_secs(3_600)),
            DrainObservation::Counter { from: Millis(0), opened: 0, coverage_permille: 1000, .. }
        ));
    }

    #[test]
    fn the_share_that_is_renewed_needs_the_whole_window_and_every_member() {
        let share = |readings: &[(u64, u64, Option<u64>)], window: u64| {
            let mut book = DrainBook::new("r/k1".into());
            for (at, opened, renewed) in readings {
                let run =
                    RunReading { opened: Some(*opened), renewed: *renewed, started_at: None, restarts: Restarts::Seen };
                book.push(Reading { at: Timestamp(*at), runs: [("a".to_owned(), run)].into() });
            }
            book.renewed(Timestamp(0), Duration::from_millis(window))
        };
        let two = [(0, 5, Some(10)), (100, 6, Some(109))];
        assert_eq!(share(&two, 100), DrainObservation::Reissued { reissued: 99, remaining: 1 });
        assert!(matches!(share(&two, 101), DrainObservation::Inconclusive { .. }));
        // A member that shows nothing of the incoming key has renewed nothing.
        let silent = [(0, 5, None), (100, 6, None)];
        assert_eq!(share(&silent, 100), DrainObservation::Reissued { reissued: 0, remaining: 1 });
        let reset = [(0, 5, Some(10)), (100, 1, Some(2))];
        assert!(matches!(share(&reset, 100), DrainObservation::Inconclusive { .. }));
    }

    proptest! {
        /// However readings are missing, restarted or shuffled between members: if sessions were opened under the outgoing
        /// key within the window that is reported, the report never says "zero, and covered".
        #[test]
        fn a_use_within_the_reported_window_is_never_reported_as_silence(
            uses in prop::collection::vec((0_u64..40, 0_usize..3), 0..6),
            restarts in prop::collection::vec((0_u64..40, 0_usize..3), 0..4),
            times in prop::collection::btree_set(0_u64..40, 1..10),
            window in 1_u64..40,
        ) {
            let boots = |member: usize, at: u64| restarts.iter().filter(|(when, who)| *who == member && *when <= at).count();
            let readings: Vec<Reading> = times.iter().map(|at| Reading {
                at: Timestamp(*at),
                runs: (0..3).map(|member| {
                    let run = boots(member, *at);
                    let opened = uses.iter()
                        .filter(|(when, who)| *who == member && when <= at && boots(member, *when) == run)
                        .count() as u64;
                    (format!("{member}/{run}"), RunReading { opened: Some(opened), renewed: None, started_at: None, restarts: Restarts::Seen })
                }).collect(),
            }).collect();
            if let DrainObservation::Counter { from, until, opened: 0, coverage_permille: 1000, .. } = observe(&readings, window)

            {
                let used = uses.iter().any(|(when, _)| *when > from.0 && *when <= until.0);
                prop_assert!(!used, "{from:?}..{until:?}");
            }
        }
    }
}
