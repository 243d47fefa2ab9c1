//! From the file's words about proof to witnesses.
//!
//! A member is asked by every witness, and what contradicts itself counts as unknown; so a further witness never weakens proof.

use std::sync::Arc;
use std::time::Duration;

use keyroll_adapters::TimeSource;
use keyroll_adapters::evidence::{
    self, CountsAt, Credential, DrainScrape, DrainWitness, EvidenceConfigError, HeaderLook, HttpAccess, LogConfig,
    LogWitness, LoginConfig, LoginWitness, Look, MetricConfig, MetricWitness, ProbeConfig, ReportConfig, ReportWitness,
    TextLook, Witness,
};
use keyroll_keyring::codec::SessionCodec;

use crate::assemble::AssembleError;
use crate::clock::{Clock, SystemClock};
use crate::config::{
    self, CaptureFrom, Expectation, FilePath, LogWhere, LoginBody, LoginStep, NonEmpty, Payload, Probe, Reissue,
    RequestValue, SecretReference, SessionKey, StatusSet, TextMatch,
};

/// Every witness that the file names.
pub(crate) fn build(
    config: &SessionKey,
    codec: Option<&Arc<dyn SessionCodec>>,
) -> Result<Vec<Arc<dyn Witness>>, AssembleError> {
    let mut witnesses: Vec<Arc<dyn Witness>> = Vec::new();
    if let Some(probe) = &config.probe {
        if let Some(codec) = codec {
            witnesses.push(Arc::new(self::probe(probe, codec)?));
        }
        if let Some(steps) = &probe.login {
            witnesses.push(Arc::new(login(config, probe, steps, codec)?));
        }
    }
    if let Some(report) = &config.evidence.report {
        witnesses.push(Arc::new(self::report(report)?));
    }
    if let Some(log) = &config.evidence.log {
        let source = match &log.source {
            LogWhere::File(path) => evidence::LogSource::File(path.resolved().to_string_lossy().into_owned()),
            LogWhere::Command(argv) => {
                evidence::LogSource::Command { argv: argv.as_slice().to_vec(), limit: LOG_COMMAND_LIMIT }
            }
        };
        let settings = LogConfig { pattern: log.pattern.regex().clone(), source };
        witnesses.push(Arc::new(LogWitness::new(settings).map_err(refused("evidence.log"))?));
    }
    if let Some(metric) = &config.evidence.metric {
        let settings = MetricConfig {
            path: metric.path.clone(),
            access: HttpAccess::within(metric.timeout.std()),
            name: metric.name.clone(),
            key_label: metric.key_label.clone(),
            state_label: metric.state_label.clone(),
            worker_label: None,
        };
        witnesses.push(Arc::new(MetricWitness::new(settings).map_err(refused("evidence.metric"))?));
    }
    Ok(witnesses)
}

/// What counts sessions opened under each key, if the file names something.
pub(crate) fn drain(config: &SessionKey) -> Result<Option<Arc<dyn DrainWitness>>, AssembleError> {
    let Some(counter) = &config.evidence.counter else { return Ok(None) };
    let counts = CountsAt::Prometheus { name: counter.name.clone(), key_label: counter.key_label.clone() };
    let access = HttpAccess::within(counter.timeout.std());
    let scrape = DrainScrape::new(&counter.path, &access, counts, TimeSource::new(|| SystemClock.now()))
        .map_err(refused("evidence.counter"))?;
    Ok(Some(Arc::new(scrape)))
}

fn report(report: &config::Report) -> Result<ReportWitness, AssembleError> {
    let settings = ReportConfig {
        active: report.active.clone(),
        accept: report.accept.clone(),
        loaded_at: Some(report.loaded_at.clone()),
        boot: Some(report.boot.clone()),
        worker: Some(report.worker.clone()),
        ..ReportConfig::at(report.path.clone(), HttpAccess::within(report.timeout.std()))
    };
    ReportWitness::new(settings).map_err(refused("evidence.report"))
}

fn login(
    config: &SessionKey,
    probe: &Probe,
    steps: &NonEmpty<LoginStep>,
    codec: Option<&Arc<dyn SessionCodec>>,
) -> Result<LoginWitness, AssembleError> {
    let cookie = match (codec, config.profile.parameters.get("cookie")) {
        (Some(codec), _) => codec.cookie_name().to_owned(),
        (None, Some(cookie)) => cookie.clone(),
        (None, None) => return Err(AssembleError::NoCookie),
    };
    let settings = LoginConfig {
        steps: steps.iter().map(login_step).collect(),
        access: access(probe),
        cookie,
        check_path: probe.path.clone(),
        accepted: look(&probe.accepted),
        rejected: look(&probe.rejected),
    };
    LoginWitness::new(settings, codec.cloned()).map_err(refused("probe.login"))
}

fn login_step(step: &LoginStep) -> evidence::LoginStep {
    let pairs = |fields: &std::collections::BTreeMap<String, RequestValue>| {
        fields.iter().map(|(name, value)| (name.clone(), request_value(value))).collect::<Vec<_>>()
    };
    evidence::LoginStep {
        method: step.method.clone(),
        path: step.path.clone(),
        headers: pairs(&step.headers),
        body: match &step.body {
            LoginBody::Empty => evidence::LoginBody::Empty,
            LoginBody::Form(fields) => evidence::LoginBody::Form(pairs(fields)),
            LoginBody::Json(fields) => evidence::LoginBody::Json(pairs(fields)),
        },
        expect: status_set(&step.expect),
        capture: step
            .capture
            .iter()
            .map(|(name, capture)| {
                let from = match &capture.from {
                    CaptureFrom::Body => evidence::CaptureFrom::Body,
                    CaptureFrom::Header(header) => evidence::CaptureFrom::Header(header.clone()),
                };
                (name.clone(), evidence::Capture { from, pattern: capture.pattern.regex().clone() })
            })
            .collect(),
    }
}

fn access(probe: &Probe) -> HttpAccess {
    HttpAccess {
        headers: probe.headers.iter().map(|(name, value)| (name.clone(), request_value(value))).collect(),
        ..HttpAccess::within(probe.timeout.std())
    }
}

fn refused(what: &'static str) -> impl FnOnce(EvidenceConfigError) -> AssembleError {
    move |source| AssembleError::Evidence { what, source }
}

fn probe(probe: &Probe, codec: &Arc<dyn SessionCodec>) -> Result<evidence::Probe, AssembleError> {
    let payload = match &probe.payload {
        Some(Payload::Json(value)) => evidence::Payload::Json(value.clone()),
        Some(Payload::Text(text)) => evidence::Payload::Text(text.clone()),
        Some(Payload::File(path)) => evidence::Payload::Bytes(read(path)?),
        None => evidence::Payload::default(),
    };
    let settings = ProbeConfig {
        method: probe.method.clone(),
        path: probe.path.clone(),
        access: access(probe),
        payload,
        accepted: look(&probe.accepted),
        rejected: look(&probe.rejected),
        workers: evidence::Workers { count: probe.workers.count, header: probe.workers.header.clone() },
    };
    evidence::Probe::new(Arc::clone(codec), settings).map_err(refused("probe"))
}

fn look(expectation: &Expectation) -> Look {
    Look {
        status: expectation.status.as_ref().map(status_set),
        headers: expectation
            .headers
            .iter()
            .map(|header| HeaderLook { name: header.name.clone(), value: text_look(&header.value) })
            .collect(),
        body: expectation.body.as_ref().map(text_look),
        reissue: match expectation.reissue {
            Reissue::SameSession => evidence::Reissue::SameSession,
            Reissue::NotTheSame => evidence::Reissue::NotTheSame,
            Reissue::NotAsked => evidence::Reissue::NotAsked,
        },
    }
}

fn text_look(text: &TextMatch) -> TextLook {
    match text {
        TextMatch::Contains(text) => TextLook::Contains(text.clone()),
        TextMatch::Matches(pattern) => TextLook::Matches(pattern.regex().clone()),
        TextMatch::Lacks(text) => TextLook::Lacks(text.clone()),
    }
}

fn status_set(set: &StatusSet) -> evidence::StatusSet {
    evidence::StatusSet::of(set.ranges().iter().copied())
}

fn request_value(value: &RequestValue) -> evidence::RequestValue {
    match value {
        RequestValue::Literal(text) => evidence::RequestValue::Literal(text.clone()),
        RequestValue::Secret(SecretReference::Env(name)) => evidence::RequestValue::Secret(Credential::Env(name.clone())),
        RequestValue::Secret(SecretReference::File(path)) => {
            evidence::RequestValue::Secret(Credential::File(path.resolved().to_owned()))
        }
        RequestValue::Captured(name) => evidence::RequestValue::Captured(name.clone()),
    }
}

fn read(path: &FilePath) -> Result<Vec<u8>, AssembleError> {
    std::fs::read(path.resolved())
        .map_err(|source| AssembleError::PayloadFile { path: path.written().to_owned(), source })
}

/// How long a command that prints a log may take.
const LOG_COMMAND_LIMIT: Duration = Duration::from_secs(20);
