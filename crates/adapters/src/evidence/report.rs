//! `report` (P2): a JSON endpoint in which each process names its keys by fingerprint.
//!
//! A report can be wrong (right fingerprint, wrong salt), so it proves which key a member mints under, and never by itself
//! that a session is accepted.

use async_trait::async_trait;
use serde_json::Value;

use super::request::{EvidenceConfigError, HttpAccess};
use super::self_report::{self, SelfReport};
use super::workers::Workers;
use super::{Level, Question, Testimony, Witness, WitnessDescription};
use crate::direct::Direct;
use crate::fleets::Member;

/// Where a member reports its keys. The pointers are JSON pointers (RFC 6901).
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers write it out")]
pub struct ReportConfig {
    /// The endpoint.
    pub path: String,
    /// How members are reached.
    pub access: HttpAccess,
    /// To the active key's fingerprint.
    pub active: String,
    /// To the list of accepted fingerprints.
    pub accept: String,
    /// To the time at which the keys were loaded.
    pub loaded_at: Option<String>,
    /// To the boot id.
    pub boot: Option<String>,
    /// To the worker's name.
    pub worker: Option<String>,
    /// The worker processes of a member. Where `worker` points to a name, no header is needed.
    pub workers: Workers,
}

/// Reads members' own reports.
#[derive(Debug)]
pub struct ReportWitness {
    config: ReportConfig,
    direct: Direct,
}

impl ReportConfig {
    /// The fields of the documented report at `path`.
    pub fn at(path: String, access: HttpAccess) -> Self {
        Self {
            path,
            access,
            active: "/active".into(),
            accept: "/accept".into(),
            loaded_at: Some("/loaded_at".into()),
            boot: Some("/boot".into()),
            worker: Some("/worker".into()),
            workers: Workers::default(),
        }
    }
}

impl ReportWitness {
    /// A witness that reads the endpoint of each member.
    pub fn new(config: ReportConfig) -> Result<Self, EvidenceConfigError> {
        let optional = [&config.loaded_at, &config.boot, &config.worker].into_iter().flatten();
        for pointer in [&config.active, &config.accept].into_iter().chain(optional) {
            if !pointer.starts_with('/') {
                return Err(EvidenceConfigError::Pointer { pointer: pointer.clone() });
            }
        }
        let direct = config.access.direct()?;
        Ok(Self { config, direct })
    }

    async fn read(&self, member: &Member) -> Result<Report, String> {
        let address = member.address.as_ref().ok_or("it has no address to report at")?;
        let request = self
            .direct
            .request(reqwest::Method::GET, address, &self.config.path)
            .map_err(|error| error.to_string())?
            .headers(self.config.access.header_map().map_err(|error| error.to_string())?);
        let answer = self.direct.send(address, request, LIMIT).await.map_err(|error| error.to_string())?;
        if !answer.status.is_success() {
            return Err(format!("its report answers with status {}", answer.status.as_u16()));
        }
        let value: Value =
            serde_json::from_slice(&answer.body).map_err(|error| format!("its report is not JSON: {error}"))?;
        let worker =
            self.text(&value, self.config.worker.as_ref()).or_else(|| self.config.workers.name_in(&answer.headers));
        Ok(Report {
            boot: self.text(&value, self.config.boot.as_ref()),
            loaded_at: self.text(&value, self.config.loaded_at.as_ref()),
            keys: SelfReport {
                worker,
                active: vec![fingerprint(&value, &self.config.active)?],
                accept: Some(fingerprints(&value, &self.config.accept)?),
            },
        })
    }

    fn text(&self, value: &Value, pointer: Option<&String>) -> Option<String> {
        match value.pointer(pointer?)? {
            Value::String(text) if !text.is_empty() && text.len() <= 100 => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

#[async_trait]
impl Witness for ReportWitness {
    fn describe(&self) -> WitnessDescription {
        WitnessDescription { kind: "report", level: Level::P2, tells_accepts: true, tells_mints: true }
    }

    async fn ask(&self, member: &Member, question: &Question<'_>) -> Testimony {
        let mut workers = self.config.workers.clone();
        if self.config.worker.is_some() && (workers.count.is_some() || !member.workers.is_empty()) {
            // The report names its worker; the header's name only tells `Workers` that names are to be had.
            workers.header.get_or_insert_default();
        }
        let rounds = workers.rounds(member);
        let mut reports: Vec<Report> = Vec::new();
        let mut answers: Vec<(String, u32)> = Vec::new();
        for round in 0..rounds.most {
            let names = answers.iter().map(|(name, _)| name.as_str());
            if round >= rounds.least && (workers.header.is_none() || workers.missing(member, names).is_none()) {
                break;
            }
            match self.read(member).await {
                Err(reason) => {
                    return Testimony { statements: self_report::nothing(question, &reason), ..Testimony::default() };
                }
                Ok(report) => {
                    if let Some(name) = &report.keys.worker {
                        match answers.iter_mut().find(|(other, _)| other == name) {
                            Some((_, count)) => *count += 1,
                            None => answers.push((name.clone(), 1)),
                        }
                    }
                    if !reports.contains(&report) {
                        reports.push(report);
                    }
                }
            }
        }
        let names = answers.iter().map(|(name, _)| name.as_str());
        let mut unclear = workers.missing(member, names);
        let two_runs = reports.iter().enumerate().find(|(at, one)| {
            reports[..*at].iter().any(|other| other.keys.worker == one.keys.worker && other.boot != one.boot)
        });
        if two_runs.is_some() {
            unclear =
                Some("two runs answered at one address; it was restarted just now, or it is a load balancer".into());
        }
        let loaded = reports.iter().filter_map(|report| report.loaded_at.as_deref()).max().map(str::to_owned);
        let keys: Vec<SelfReport> = reports.into_iter().map(|report| report.keys).collect();
        let mut statements = self_report::judge(question, &keys, unclear.as_deref());
        if let Some(loaded) = loaded {
            for statement in &mut statements {
                statement.detail.push_str(&format!(" (loaded at {loaded})"));
            }
        }
        let expected = workers.expected(member);
        let residual =
            (workers.header.is_none() && expected > 1).then(|| super::workers::residual(expected, rounds.most));
        Testimony { statements, workers: answers, residual, ..Testimony::default() }
    }
}

#[derive(Eq, PartialEq)]
struct Report {
    boot: Option<String>,
    loaded_at: Option<String>,
    keys: SelfReport,
}

fn fingerprint(value: &Value, pointer: &str) -> Result<String, String> {
    let found = value.pointer(pointer).ok_or_else(|| format!("its report has nothing at `{pointer}`"))?;
    found.as_str().map(str::to_owned).ok_or_else(|| format!("its report has no text at `{pointer}`"))
}

fn fingerprints(value: &Value, pointer: &str) -> Result<Vec<String>, String> {
    let found = value.pointer(pointer).ok_or_else(|| format!("its report has nothing at `{pointer}`"))?;
    let list = found.as_array().ok_or_else(|| format!("its report has no list at `{pointer}`"))?;
    list.iter()
        .map(|entry| {
            entry.as_str().map(str::to_owned).ok_or_else(|| format!("its report has no list of texts at `{pointer}`"))
        })
        .collect()
}

const LIMIT: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::evidence::testing::{App, Manner, about, key, print};
    use crate::evidence::{Answer, Subject};

    async fn ask(body: Option<&str>) -> Vec<(Answer, String)> {
        let (old, new) = (key(1), key(2));
        let app = App::start(Manner::Status, &old, &[]).await;
        if let Some(body) = body {
            app.page("/keys", body);
        }
        let witness =
            ReportWitness::new(ReportConfig::at("/keys".into(), HttpAccess::within(Duration::from_secs(5)))).unwrap();
        let mut question = about(&[&old, &new], &old);
        let prints = [print(1), print(2)];
        for (asked, print) in question.keys.iter_mut().zip(&prints) {
            asked.fingerprint = Some(print);
        }
        let testimony = witness.ask(&app.member, &question).await;
        assert!(testimony.statements.iter().all(|one| one.level == Level::P2));
        assert_eq!(testimony.statements[1].subject, Subject::Mints);
        testimony.statements.into_iter().map(|one| (one.answer, one.detail)).collect()
    }

    #[tokio::test]
    async fn a_report_tells_what_is_accepted_and_minted() {
        let body = serde_json::json!({
            "active": print(1).as_str(), "accept": [print(1).as_str()], "loaded_at": "2026-11-21T12:00:00Z", "worker": 7
        });
        let said = ask(Some(&body.to_string())).await;
        let answers: Vec<Answer> = said.iter().map(|(answer, _)| *answer).collect();
        assert_eq!(answers, [Answer::Yes, Answer::Yes, Answer::No, Answer::No]);
        assert!(said[0].1.contains("2026-11-21T12:00:00Z"));
    }

    #[tokio::test]
    async fn missing_contradictory_and_foreign_reports_are_unknown_with_the_reason() {
        for (body, reason) in [
            (None, "status 401"),
            (Some("<html>"), "not JSON"),
            (Some("{}"), "nothing at `/active`"),
            (Some(r#"{"active":"kf1:x"}"#), "nothing at `/accept`"),
            (Some(r#"{"active":"a","accept":"a"}"#), "no list at `/accept`"),
            (Some(r#"{"active":"a","accept":["b"]}"#), "contradicts itself"),
        ] {
            for (answer, detail) in ask(body).await {
                assert_eq!(answer, Answer::Unknown);
                assert!(detail.contains(reason), "{detail}");
            }
        }
    }
}
