//! What every witness must keep, as checks that run against a real one.
//!
//! A check panics with the sentence of the contract that was broken.

use std::collections::BTreeSet;
use std::time::Duration;

use keyroll_keyring::KeyId;

use super::{Answer, Question, Statement, Subject, Testimony, Witness};
use crate::fleets::Member;

/// Runs every check: `honest` is a member that answers, `silent` one of which nothing can be learned (it is down, or its log
/// is not there). The question asks about at least one key that `honest` has.
///
/// # Panics
/// Where the contract is broken.
pub async fn run_all(witness: &dyn Witness, honest: &Member, silent: &Member, question: &Question<'_>) {
    tells_what_it_is(witness);
    learns_something_of_an_honest_member(witness, honest, question).await;
    knows_nothing_of_a_silent_member(witness, silent, question).await;
    says_nothing_where_nothing_is_asked(witness, honest, question).await;
}

/// A description names the kind, and something that it can tell.
pub fn tells_what_it_is(witness: &dyn Witness) {
    let description = witness.describe();
    assert!(!description.kind.is_empty(), "a witness names its kind");
    assert!(description.tells_accepts || description.tells_mints, "a witness can tell something");
}

/// At least one answer is clear, and none goes beyond the question or the description.
pub async fn learns_something_of_an_honest_member(witness: &dyn Witness, honest: &Member, question: &Question<'_>) {
    let testimony = ask(witness, honest, question).await;
    assert!(testimony.statements.iter().any(is_clear), "an honest member shows something: {:?}", testimony.statements);
    stays_within(witness, question, &testimony);
}

/// Everything that was asked in vain is said to be unknown, with a reason.
pub async fn knows_nothing_of_a_silent_member(witness: &dyn Witness, silent: &Member, question: &Question<'_>) {
    let testimony = ask(witness, silent, question).await;
    stays_within(witness, question, &testimony);
    assert!(!testimony.statements.iter().any(is_clear), "silence is no answer: {:?}", testimony.statements);
    for key in asked(question) {
        assert!(
            testimony.statements.iter().any(|statement| statement.key == key && !statement.detail.is_empty()),
            "a question about {key} that got no answer is stated, with the reason"
        );
    }
}

/// A question without keys is answered with nothing, and harms nobody.
pub async fn says_nothing_where_nothing_is_asked(witness: &dyn Witness, honest: &Member, question: &Question<'_>) {
    let nothing = Question {
        keys: Vec::new(),
        open_only: Vec::new(),
        decoy: question.decoy,
        captured: Vec::new(),
        now: question.now,
    };
    let testimony = ask(witness, honest, &nothing).await;
    assert_eq!(testimony.statements, [], "nobody asked about a key");
}

fn stays_within(witness: &dyn Witness, question: &Question<'_>, testimony: &Testimony) {
    let description = witness.describe();
    let asked = asked(question);
    for statement in &testimony.statements {
        assert!(asked.contains(&statement.key), "nobody asked about {}", statement.key);
        assert_eq!(statement.level, description.level, "a witness has one level");
        let can_tell = match statement.subject {
            Subject::Accepts => description.tells_accepts,
            Subject::Mints => description.tells_mints,
        };
        assert!(can_tell || !is_clear(statement), "a witness tells only what it says it can: {statement:?}");
    }
}

async fn ask(witness: &dyn Witness, member: &Member, question: &Question<'_>) -> Testimony {
    let answer = tokio::time::timeout(PATIENCE, witness.ask(member, question)).await;
    answer.expect("a witness has a time limit of its own")
}

fn asked(question: &Question<'_>) -> BTreeSet<KeyId> {
    question.keys.iter().chain(&question.open_only).map(|asked| asked.key.id()).collect()
}

fn is_clear(statement: &Statement) -> bool {
    statement.answer != Answer::Unknown
}

const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use regex::Regex;

    use super::*;
    use crate::evidence::testing::{App, Manner, NOW, about, key, print, rails};
    use crate::evidence::{
        HttpAccess, LogConfig, LogSource, LogWitness, LoginBody, LoginConfig, LoginStep, LoginWitness, Look,
        MetricConfig, MetricWitness, Orchestrator, Probe, ProbeConfig, Reads, ReportConfig, ReportWitness,
        RequestValue, StatusSet,
    };

    #[tokio::test]
    async fn every_witness_keeps_the_contract() {
        let (old, new, decoy) = (key(1), key(2), key(9));
        let prints = [print(1), print(2)];
        let mut question = about(&[&old, &new], &decoy);
        for (asked, print) in question.keys.iter_mut().zip(&prints) {
            asked.fingerprint = Some(print);
        }
        let app = App::start(Manner::Status, &old, &[]).await;
        let report = serde_json::json!({ "active": print(1).as_str(), "accept": [print(1).as_str()] });
        app.page("/report", &report.to_string());
        app.page("/metrics", &format!("key_info{{fingerprint=\"{}\",state=\"active\"}} 1\n", print(1)));
        let logs = tempfile::tempdir().unwrap();
        std::fs::write(logs.path().join("web-1.1"), format!("active {}\n", print(1))).unwrap();

        let mut silent = app.member.clone();
        silent.id.0 = "gone".into();
        silent.started_at = None;
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        silent.address = Some(format!("http://{}", free.local_addr().unwrap()).parse().unwrap());
        drop(free);

        let access = || HttpAccess::within(Duration::from_secs(5));
        let looks = (Look::status([200]), Look::status([401]));
        let probe = ProbeConfig {
            accepted: looks.0.clone(),
            rejected: looks.1.clone(),
            ..ProbeConfig::by_reissue("/me".into(), access())
        };
        let login = LoginConfig {
            steps: vec![LoginStep {
                method: "POST".into(),
                path: "/login".into(),
                headers: Vec::new(),
                body: LoginBody::Form(vec![("password".into(), RequestValue::Literal("hunter2".into()))]),
                expect: StatusSet::success(),
                capture: BTreeMap::new(),
            }],
            access: access(),
            cookie: "_app_session".into(),
            check_path: "/me".into(),
            accepted: looks.0,
            rejected: looks.1,
        };
        let metric = MetricConfig {
            path: "/metrics".into(),
            access: access(),
            name: "key_info".into(),
            key_label: "fingerprint".into(),
            state_label: "state".into(),
            worker_label: None,
        };
        let log = LogConfig {
            pattern: Regex::new("active (?<active>.*)").unwrap(),
            source: LogSource::File(format!("{}/{{member}}.{{boot}}", logs.path().display())),
        };
        let reads = Reads { active: KeyId(1), accept: vec![KeyId(1)] };
        let started = crate::Timestamp(NOW.0 - 120_000);
        let witnesses: [Box<dyn Witness>; 6] = [
            Box::new(Probe::new(rails(), probe).unwrap()),
            Box::new(LoginWitness::new(login, Some(rails())).unwrap()),
            Box::new(ReportWitness::new(ReportConfig::at("/report".into(), access())).unwrap()),
            Box::new(MetricWitness::new(metric).unwrap()),
            Box::new(LogWitness::new(log).unwrap()),
            Box::new(Orchestrator::started_after(started, reads)),
        ];
        for witness in &witnesses {
            run_all(witness.as_ref(), &app.member, &silent, &question).await;
        }
    }
}
