//! The drain counter: how many sessions a member opened under each key since it started.
//!
//! A series that is not there is not a series at zero. A process that has not opened any session yet should export its
//! keys at 0; one that exports nothing is unknown.

use async_trait::async_trait;
use serde_json::Value;

use super::metric::Scrape;
use super::request::{EvidenceConfigError, HttpAccess};
use super::{DrainWitness, EvidenceError, OpenedCounts, prometheus};
use crate::fleets::Member;
use crate::{TimeSource, Timestamp};

/// Where the counts are.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CountsAt {
    /// A counter in the Prometheus text format.
    Prometheus {
        /// Its name, with `_total` where it has that.
        name: String,
        /// The label that names the key. Series that differ in other labels (such as the worker) are added up.
        key_label: String,
    },
    /// A JSON object from labels to counts.
    Json {
        /// A JSON pointer to the object.
        pointer: String,
    },
}

/// Scrapes the counter off each member.
#[derive(Debug)]
pub struct DrainScrape {
    scrape: Scrape,
    counts: CountsAt,
    time: TimeSource,
}

impl DrainScrape {
    /// A scraper of `path`; `time` stamps each reading.
    pub fn new(
        path: &str,
        access: &HttpAccess,
        counts: CountsAt,
        time: TimeSource,
    ) -> Result<Self, EvidenceConfigError> {
        if let CountsAt::Json { pointer } = &counts
            && !pointer.is_empty()
            && !pointer.starts_with('/')
        {
            return Err(EvidenceConfigError::Pointer { pointer: pointer.clone() });
        }
        Ok(Self { scrape: Scrape::new(path, access)?, counts, time })
    }
}

#[async_trait]
impl DrainWitness for DrainScrape {
    async fn read(&self, member: &Member) -> Result<Option<OpenedCounts>, EvidenceError> {
        // Stamped before it is asked: what is opened while the answer travels belongs to the next reading.
        let at = self.time.now();
        let text = self.scrape.text(member).await?;
        let garbled = |reason| EvidenceError::Garbled { member: member.id.0.clone(), reason };
        let (started_at, by_label) = match &self.counts {
            CountsAt::Prometheus { name, key_label } => (
                process_start(&text, member).map_err(garbled)?,
                from_exposition(&text, name, key_label).map_err(garbled)?,
            ),
            CountsAt::Json { pointer } => (None, from_json(&text, pointer).map_err(garbled)?),
        };
        Ok(by_label.map(|by_label| OpenedCounts { at, boot: member.boot.clone(), started_at, by_label }))
    }
}

/// When the process says that it began. Of several processes behind one page nobody knows which one answers next.
fn process_start(text: &str, member: &Member) -> Result<Option<Timestamp>, String> {
    let starts = prometheus::samples(text, PROCESS_START).map_err(|error| error.to_string())?;
    let [start] = starts.as_slice() else { return Ok(None) };
    // A process that was started again since it was listed has counted from zero: its reading belongs to another run.
    if let Some(listed) = member.started_at
        && start.value > std::time::Duration::from_millis(listed.0).as_secs_f64() + START_TOLERANCE
    {
        return Err("another run answered than was listed".into());
    }
    Ok(whole((start.value * 1000.0).round()).filter(|millis| *millis > 0).map(Timestamp))
}

fn from_exposition(text: &str, name: &str, key_label: &str) -> Result<Option<Vec<(String, u64)>>, String> {
    let mut by_label: Vec<(String, u64)> = Vec::new();
    for sample in prometheus::samples(text, name).map_err(|error| error.to_string())? {
        let label =
            sample.labels.get(key_label).ok_or_else(|| format!("a series of `{name}` has no label `{key_label}`"))?;
        let count = whole(sample.value).ok_or_else(|| format!("a series of `{name}` is not a count"))?;
        match by_label.iter_mut().find(|(other, _)| other == label) {
            Some((_, sum)) => *sum = sum.saturating_add(count),
            None => by_label.push((label.clone(), count)),
        }
    }
    Ok((!by_label.is_empty()).then_some(by_label))
}

fn from_json(text: &str, pointer: &str) -> Result<Option<Vec<(String, u64)>>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    let Some(found) = value.pointer(pointer) else { return Ok(None) };
    let object = found.as_object().ok_or_else(|| format!("no object of counts stands at `{pointer}`"))?;
    let counts: Option<Vec<_>> = object.iter().map(|(label, count)| Some((label.clone(), count.as_u64()?))).collect();
    let counts = counts.ok_or_else(|| format!("something at `{pointer}` is not a count"))?;
    Ok((!counts.is_empty()).then_some(counts))
}

/// The number as a count, if it is one. Larger ones than this can't be told apart in the format.
pub(super) fn whole(value: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked just before")]
    ((0.0..=EXACT).contains(&value) && value.fract() == 0.0).then_some(value as u64)
}

/// 2^53: the largest count that a floating point number holds exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// As every client library of Prometheus exports it.
const PROCESS_START: &str = "process_start_time_seconds";
/// Seconds between what an orchestrator and a process call the start.
const START_TOLERANCE: f64 = 30.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::evidence::testing::{App, Manner, NOW, key};

    async fn read(text: &str, counts: CountsAt) -> Result<Option<OpenedCounts>, EvidenceError> {
        let app = App::start(Manner::Status, &key(1), &[]).await;
        app.page("/metrics", text);
        let access = HttpAccess::within(Duration::from_secs(5));
        DrainScrape::new("/metrics", &access, counts, TimeSource::new(|| NOW)).unwrap().read(&app.member).await
    }

    fn counter() -> CountsAt {
        CountsAt::Prometheus { name: "opened_total".into(), key_label: "key".into() }
    }

    #[tokio::test]
    async fn workers_are_added_up_and_boot_and_time_are_recorded() {
        let text =
            "opened_total{key=\"old\",w=\"1\"} 3\nopened_total{key=\"old\",w=\"2\"} 4\nopened_total{key=\"new\"} 0\n";
        let counts = read(text, counter()).await.unwrap().unwrap();
        assert_eq!(counts.by_label, [("old".to_owned(), 7), ("new".to_owned(), 0)]);
        assert_eq!((counts.at, counts.boot.0.as_str()), (NOW, "1"));
    }

    #[tokio::test]
    async fn a_missing_series_is_not_a_zero() {
        assert_eq!(read("up 1\n", counter()).await.unwrap(), None);
        assert_eq!(read("{}", CountsAt::Json { pointer: "/opened".into() }).await.unwrap(), None);
    }

    #[tokio::test]
    async fn json_counts_are_read() {
        let at = || CountsAt::Json { pointer: "/opened".into() };
        let counts = read(r#"{"opened":{"old":3}}"#, at()).await.unwrap().unwrap();
        assert_eq!(counts.by_label, [("old".to_owned(), 3)]);
        assert!(read(r#"{"opened":{"old":"3"}}"#, at()).await.is_err());
        assert!(read(r#"{"opened":[1]}"#, at()).await.is_err());
    }

    #[tokio::test]
    async fn what_is_not_a_count_is_garbled() {
        for value in ["-1", "NaN", "+Inf", "1.5", "1e300"] {
            let error = read(&format!("opened_total{{key=\"old\"}} {value}\n"), counter()).await.unwrap_err();
            assert!(matches!(error, EvidenceError::Garbled { .. }), "{value}");
        }
    }

    #[tokio::test]
    async fn a_run_that_began_after_the_listing_is_another_one() {
        let started = NOW.0 / 1000 + 5;
        let text = format!("process_start_time_seconds {started}\nopened_total{{key=\"old\"}} 0\n");
        assert!(matches!(read(&text, counter()).await.unwrap_err(), EvidenceError::Garbled { .. }));
    }

    #[tokio::test]
    async fn the_start_of_the_process_is_read_and_of_several_processes_none() {
        let page = |starts: &str| format!("{starts}opened_total{{key=\"old\"}} 0\n");
        let started = |counts: Option<OpenedCounts>| counts.unwrap().started_at;
        let one = page("process_start_time_seconds 1.7e9\n");
        assert_eq!(started(read(&one, counter()).await.unwrap()), Some(Timestamp(1_700_000_000_000)));
        let two = page("process_start_time_seconds{w=\"1\"} 1.7e9\nprocess_start_time_seconds{w=\"2\"} 1.8e9\n");
        for silent in [page(""), two, page("process_start_time_seconds NaN\n"), page("process_start_time_seconds 0\n")]
        {
            assert_eq!(started(read(&silent, counter()).await.unwrap()), None, "{silent}");
        }
    }

    #[tokio::test]
    async fn a_member_that_does_not_answer_is_an_error_and_not_none() {
        let app = App::start(Manner::Broken, &key(1), &[]).await;
        let access = HttpAccess::within(Duration::from_secs(5));
        let scrape = DrainScrape::new("/metrics", &access, counter(), TimeSource::new(|| NOW)).unwrap();
        assert!(scrape.read(&app.member).await.is_err());
    }
}
