//! `metric` (P2): an info-like metric with one series for each key, in the Prometheus text format.
//!
//! `keyroll_key_info{fingerprint="kf1:...",state="active"} 1`. A series whose value is not 1 does not count: a gauge that
//! was set to 0 is a key that the process has let go.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::request::{EvidenceConfigError, HttpAccess};
use super::self_report::{self, SelfReport};
use super::{EvidenceError, Level, Question, Testimony, Witness, WitnessDescription, prometheus};
use crate::direct::Direct;
use crate::fleets::Member;

/// Which metric names the keys.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers write it out")]
pub struct MetricConfig {
    /// The path of the exposition.
    pub path: String,
    /// How members are reached.
    pub access: HttpAccess,
    /// The metric's name.
    pub name: String,
    /// The label with the fingerprint.
    pub key_label: String,
    /// The label with `active` or `accept`. An active key counts as accepted too.
    pub state_label: String,
    /// The label with the worker's name, where one exposition speaks for several processes.
    pub worker_label: Option<String>,
}

/// Reads the keys off a metric.
#[derive(Debug)]
pub struct MetricWitness {
    config: MetricConfig,
    scrape: Scrape,
}

/// Fetches an exposition.
#[derive(Debug)]
pub(super) struct Scrape {
    path: String,
    access: HttpAccess,
    direct: Direct,
}

impl MetricWitness {
    /// A witness that scrapes each member.
    pub fn new(config: MetricConfig) -> Result<Self, EvidenceConfigError> {
        let scrape = Scrape::new(&config.path, &config.access)?;
        Ok(Self { config, scrape })
    }

    async fn read(&self, member: &Member) -> Result<Vec<SelfReport>, String> {
        let text = self.scrape.text(member).await.map_err(|error| error.to_string())?;
        let samples = prometheus::samples(&text, &self.config.name)
            .map_err(|error| format!("its metrics can't be read: {error}"))?;
        let mut reports: BTreeMap<Option<String>, SelfReport> = BTreeMap::new();
        for sample in samples {
            let label = |name: &str| sample.labels.get(name);
            let missing = |name: &str| format!("a series of `{}` has no label `{name}`", self.config.name);
            let key = label(&self.config.key_label).ok_or_else(|| missing(&self.config.key_label))?;
            let state = label(&self.config.state_label).ok_or_else(|| missing(&self.config.state_label))?;
            let worker = self.config.worker_label.as_deref().and_then(label).cloned();
            let report = reports.entry(worker.clone()).or_insert_with(|| SelfReport {
                worker,
                active: Vec::new(),
                accept: Some(Vec::new()),
            });
            if (sample.value - 1.0).abs() > f64::EPSILON {
                continue;
            }
            let accept = report.accept.get_or_insert_default();
            match state.as_str() {
                "active" => {
                    report.active.push(key.clone());
                    accept.push(key.clone());
                }
                "accept" => accept.push(key.clone()),
                other => return Err(format!("`{}` is neither `active` nor `accept`", other.escape_debug())),
            }
        }
        Ok(reports.into_values().collect())
    }
}

#[async_trait]
impl Witness for MetricWitness {
    fn describe(&self) -> WitnessDescription {
        WitnessDescription { kind: "metric", level: Level::P2, tells_accepts: true, tells_mints: true }
    }

    async fn ask(&self, member: &Member, question: &Question<'_>) -> Testimony {
        let reports = match self.read(member).await {
            Ok(reports) => reports,
            Err(reason) => {
                return Testimony { statements: self_report::nothing(question, &reason), ..Testimony::default() };
            }
        };
        let workers: Vec<(String, u32)> =
            reports.iter().filter_map(|report| Some((report.worker.clone()?, 1))).collect();
        let silent = member.workers.iter().find(|name| !workers.iter().any(|(other, _)| other == *name));
        let unclear = match (silent, reports.is_empty()) {
            (_, true) => Some(format!("it has no series of `{}`", self.config.name)),
            (Some(name), false) => Some(format!("worker `{name}` has no series of `{}`", self.config.name)),
            (None, false) => None,
        };
        let statements = self_report::judge(question, &reports, unclear.as_deref());
        Testimony { statements, workers, ..Testimony::default() }
    }
}

impl Scrape {
    pub(super) fn new(path: &str, access: &HttpAccess) -> Result<Self, EvidenceConfigError> {
        Ok(Self { path: path.to_owned(), access: access.clone(), direct: access.direct()? })
    }

    /// The whole body as text.
    pub(super) async fn text(&self, member: &Member) -> Result<String, EvidenceError> {
        let name = || member.id.0.clone();
        let no_answer = |reason: String| EvidenceError::NoAnswer { member: name(), reason };
        let address = member.address.as_ref().ok_or_else(|| no_answer("it has no address".into()))?;
        let request = self
            .direct
            .request(reqwest::Method::GET, address, &self.path)
            .map_err(|error| no_answer(error.to_string()))?
            .headers(self.access.header_map().map_err(|error| no_answer(error.to_string()))?);
        let answer = self.direct.send(address, request, LIMIT).await.map_err(|error| no_answer(error.to_string()))?;
        let garbled = |reason: String| EvidenceError::Garbled { member: name(), reason };
        if !answer.status.is_success() {
            return Err(garbled(format!("status {}", answer.status.as_u16())));
        }
        if answer.body.len() >= LIMIT {
            return Err(garbled(format!("it is longer than {LIMIT} bytes")));
        }
        String::from_utf8(answer.body).map_err(|_| garbled("it is not text".into()))
    }
}

const LIMIT: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::evidence::Answer;
    use crate::evidence::testing::{App, Manner, about, key, print};

    async fn ask(text: &str) -> Vec<(Answer, String)> {
        let (old, new) = (key(1), key(2));
        let app = App::start(Manner::Status, &old, &[]).await;
        app.page("/metrics", text);
        let witness = MetricWitness::new(MetricConfig {
            path: "/metrics".into(),
            access: HttpAccess::within(Duration::from_secs(5)),
            name: "key_info".into(),
            key_label: "fingerprint".into(),
            state_label: "state".into(),
            worker_label: Some("worker".into()),
        })
        .unwrap();
        let prints = [print(1), print(2)];
        let mut question = about(&[&old, &new], &old);
        for (asked, print) in question.keys.iter_mut().zip(&prints) {
            asked.fingerprint = Some(print);
        }
        let testimony = witness.ask(&app.member, &question).await;
        testimony.statements.into_iter().map(|one| (one.answer, one.detail)).collect()
    }

    fn series(id: u32, state: &str, worker: &str, value: u32) -> String {
        format!("key_info{{fingerprint=\"{}\",state=\"{state}\",worker=\"{worker}\"}} {value}\n", print(id))
    }

    fn answers(said: &[(Answer, String)]) -> Vec<Answer> {
        said.iter().map(|(answer, _)| *answer).collect()
    }

    #[tokio::test]
    async fn each_worker_speaks_and_a_series_at_zero_is_silent() {
        let text = series(1, "active", "a", 1)
            + &series(2, "accept", "a", 1)
            + &series(1, "active", "b", 1)
            + &series(2, "accept", "b", 0);
        assert_eq!(answers(&ask(&text).await), [Answer::Yes, Answer::Yes, Answer::Unknown, Answer::No]);
        let text = series(1, "active", "a", 1) + &series(2, "accept", "a", 1);
        assert_eq!(answers(&ask(&text).await), [Answer::Yes, Answer::Yes, Answer::Yes, Answer::No]);
    }

    #[tokio::test]
    async fn an_exposition_without_the_series_or_with_a_bad_line_is_unknown() {
        for (text, reason) in [
            ("up 1\n".to_owned(), "no series of `key_info`"),
            (series(1, "active", "a", 1) + "garbage{\n", "line 2"),
            (series(1, "odd", "a", 1), "neither `active` nor `accept`"),
            ("key_info{state=\"active\"} 1\n".into(), "no label `fingerprint`"),
        ] {
            let said = ask(&text).await;
            assert_eq!(answers(&said), [Answer::Unknown; 4]);
            assert!(said[0].1.contains(reason), "{}", said[0].1);
        }
    }
}
