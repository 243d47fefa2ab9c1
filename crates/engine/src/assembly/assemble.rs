//! From `keyroll.yaml` to what a rotation touches: stores, fleets, witnesses, decisions.
//!
//! Nothing is opened or asked here, so this also works where the fleet is down. What does not fit together is an error with
//! the words of the file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keyroll_adapters::TimeSource;
use keyroll_adapters::evidence::{self, DrainWitness, Witness};
use keyroll_adapters::fleets::{
    self, Fleet, FleetDescription, FleetError, Member, ReloadOutcome, ReloadRequest, ReloadStyle,
};
use keyroll_adapters::stores::{self, EnvFileStore, FileStore, SecretStore};
use keyroll_keyring::codec::{self, SessionCodec};
use keyroll_keyring::profile::Profile;
use keyroll_keyring::{FieldName, ProfileError};
use keyroll_rotation::gate::{EvidenceLevel, EvidenceRule};
use keyroll_rotation::{DrainRule, ReloadNeed, Settings};

use crate::assembly::{Assembly, Consumer, EnginePolicy, ErrorRateWatch, OnRegression, Standby, Stickiness, Window};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, ConsumerKind, Period, ProfileSource, ProfileSpec, ReloadPlan, SessionKey};
use crate::world::fingerprints::Fingerprints;

/// Puts together what `key` names. The fleets keep their records in `state_dir`.
pub fn assemble(key: &SessionKey, state_dir: &Path) -> Result<Assembly, AssembleError> {
    let profile = profile(&key.profile)?;
    let codec = codec_of(key, &profile)?;
    let stores = key.stores.iter().map(|spec| store(spec, &profile)).collect::<Result<Vec<_>, _>>()?;
    let consumers = key.consumers.iter().map(|spec| consumer(spec, state_dir)).collect::<Result<Vec<_>, _>>()?;
    let hot = key.consumers.iter().all(|consumer| consumer.reload == ReloadPlan::Hot);
    Ok(Assembly {
        name: key.name.to_string(),
        config: key.hash(),
        witnesses: witnesses(key, codec.as_ref())?,
        drain: drain(key)?,
        error_rates: error_rates(key)?,
        session_count: key.sessions.count.as_ref().map(|count| {
            let folder = count.working_directory.resolved().to_owned();
            evidence::SessionCount::by(count.command.iter().cloned().collect(), Some(folder), COUNT_LIMIT)
        }),
        logs: log_witness(key)?,
        fingerprints: Arc::new(Fingerprints::new()),
        policy: policy(key, hot),
        profile,
        stores,
        consumers,
    })
}

/// The machine's settings, as the file decides them; `simulate` runs on these alone.
pub fn settings(key: &SessionKey) -> Settings {
    let hot = key.consumers.iter().all(|consumer| consumer.reload == ReloadPlan::Hot);
    policy(key, hot).settings
}

/// Why what the file says can't be put together. It holds no secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// The profile is not there or not right.
    #[error("the profile can't be used")]
    Profile(#[source] ProfileError),
    /// A file can't be read.
    #[error("`{path}` can't be read")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The cookie format's parameters are not right.
    #[error("the session format can't be used; its parameters stand under `profile.parameters`")]
    Codec(#[source] codec::CodecConfigError),
    /// A witness can't be built.
    #[error("`{section}` can't be used")]
    Evidence {
        /// Which part of the file.
        section: &'static str,
        /// Why.
        #[source]
        source: evidence::EvidenceConfigError,
    },
    /// A process fleet can't be built.
    #[error("the consumer `{consumer}` can't be used")]
    Process {
        /// Its name.
        consumer: String,
        /// Why.
        #[source]
        source: fleets::ProcessConfigError,
    },
    /// A command fleet can't be built.
    #[error("the consumer `{consumer}` can't be used")]
    Command {
        /// Its name.
        consumer: String,
        /// Why.
        #[source]
        source: fleets::CommandConfigError,
    },
    /// Two parts of the file do not fit together.
    #[error("{what}: {reason}")]
    Unfit {
        /// Which part of the file.
        what: String,
        /// Why, and what to do.
        reason: String,
    },
}

/// The profile that the file names, under the file's own field names.
pub fn profile(spec: &ProfileSpec) -> Result<Profile, AssembleError> {
    let profile = match &spec.source {
        ProfileSource::BuiltIn(name) => Profile::builtin(name),
        ProfileSource::File(path) => {
            let text = std::fs::read_to_string(path.resolved())
                .map_err(|source| AssembleError::File { path: path.written().to_owned(), source })?;
            Profile::from_toml(&text)
        }
    }
    .map_err(AssembleError::Profile)?;
    let mut names = BTreeMap::new();
    if let Some(active) = &spec.active {
        names.insert("active".to_owned(), FieldName(active.clone()));
    }
    for (place, name) in spec.accept.iter().enumerate() {
        let role = if place == 0 { "accept".to_owned() } else { format!("accept-{}", place + 1) };
        names.insert(role, FieldName(name.clone()));
    }
    profile.with_names(&names).map_err(AssembleError::Profile)
}

/// The session format, where something needs it.
fn codec_of(key: &SessionKey, profile: &Profile) -> Result<Option<Arc<dyn SessionCodec>>, AssembleError> {
    if key.probe.is_none() {
        return Ok(None);
    }
    let Some((name, defaults)) = profile.codec() else { return Ok(None) };
    let mut params = defaults.clone();
    params.extend(key.profile.parameters.clone());
    codec::build(name, &params).map(|codec| Some(Arc::from(codec))).map_err(AssembleError::Codec)
}

fn store(spec: &config::StoreSpec, profile: &Profile) -> Result<Arc<dyn SecretStore>, AssembleError> {
    let mut fields = profile.fields();
    Ok(match spec {
        config::StoreSpec::EnvFile { path, dialect } => {
            let dialect = match dialect {
                config::Dialect::Systemd => stores::EnvDialect::Systemd,
                config::Dialect::Dotenv => stores::EnvDialect::Dotenv,
            };
            Arc::new(EnvFileStore::with_dialect(path.resolved(), fields, dialect))
        }
        config::StoreSpec::File { path, content } => {
            let (Some(field), true) = (fields.pop(), fields.is_empty()) else {
                return Err(AssembleError::Unfit {
                    what: "store.file".into(),
                    reason: format!(
                        "a file holds one field, and the profile `{}` has several; use `store.envFile`",
                        profile.name()
                    ),
                });
            };
            let content = match content {
                config::FileContent::Text => stores::FileContent::Text,
                config::FileContent::Bytes => stores::FileContent::Raw,
            };
            Arc::new(FileStore::with_content(path.resolved(), field, content))
        }
    })
}

fn consumer(spec: &config::Consumer, state_dir: &Path) -> Result<Consumer, AssembleError> {
    let (fleet, reload_timeout): (Arc<dyn Fleet>, Duration) = match &spec.kind {
        ConsumerKind::Process(process) => {
            let fleet = process_fleet(&spec.name, process, state_dir)?;
            // A member has its time to stop and its time to start.
            let limit = span(process.ready.timeout) + span(process.stop.grace);
            (Arc::new(fleet), limit)
        }
        ConsumerKind::Command(command) => {
            (Arc::new(command_fleet(&spec.name, command, state_dir)?), span(command.timeout).max(LEAST_TO_BE_BACK))
        }
        ConsumerKind::Static(listed) => {
            (Arc::new(fleets::StaticFleet::new(listed.members.iter().cloned().collect())), LEAST_TO_BE_BACK)
        }
    };
    let (fleet, parallel, surge) = match spec.reload {
        ReloadPlan::Hot => (Arc::new(Hot(fleet)) as Arc<dyn Fleet>, 1, 0),
        ReloadPlan::Roll { parallel, surge } => {
            (fleet, usize::try_from(parallel.get()).unwrap_or(1), usize::try_from(surge).unwrap_or(0))
        }
    };
    Ok(Consumer {
        name: spec.name.clone(),
        fleet,
        kind: spec.role,
        declared: spec.emptiness,
        parallel,
        surge,
        reload_timeout,
    })
}

/// The processes of a `process` consumer. `keyroll demo` starts and stops them by this as well.
pub fn process_fleet(
    name: &str,
    spec: &config::ProcessFleet,
    state_dir: &Path,
) -> Result<fleets::ProcessFleet, AssembleError> {
    let id = |index: usize, port: Option<u16>| match port {
        Some(port) => format!("{name}-{port}"),
        None => format!("{name}-{index}"),
    };
    let members = match &spec.instances {
        config::Instances::Ports(ports) => ports
            .iter()
            .enumerate()
            .map(|(index, port)| fleets::ProcessMember { id: id(index, Some(port.get())), port: Some(port.get()) })
            .collect(),
        config::Instances::Count(count) => (0..usize::from(count.get()))
            .map(|index| fleets::ProcessMember { id: id(index, None), port: None })
            .collect(),
    };
    let folder = state_dir.join(format!("fleet-{name}"));
    let mut config = fleets::ProcessConfig::new(spec.command.iter().cloned().collect(), members, folder);
    config.folder = Some(spec.working_directory.resolved().to_owned());
    config.host.clone_from(&spec.host);
    config.log_folder = spec.logs.as_ref().map(|logs| logs.resolved().to_owned());
    config.env = spec.env.clone();
    config.env_files = spec.env_files.iter().map(|file| file.resolved().to_owned()).collect();
    config.health = match &spec.ready.check {
        config::ReadyCheck::Http { path, status } => fleets::HealthCheck::Answers {
            path: path.clone(),
            status: evidence::StatusSet::of(status.ranges().iter().copied()),
        },
        config::ReadyCheck::Connect => fleets::HealthCheck::Connects,
        config::ReadyCheck::Alive { after } => fleets::HealthCheck::Alive { after: span(*after) },
    };
    config.stop_signal = match spec.stop.signal {
        config::StopSignal::Term => fleets::StopSignal::Term,
        config::StopSignal::Int => fleets::StopSignal::Int,
        config::StopSignal::Quit => fleets::StopSignal::Quit,
        config::StopSignal::Hup => fleets::StopSignal::Hup,
        config::StopSignal::Usr1 => fleets::StopSignal::Usr1,
        config::StopSignal::Usr2 => fleets::StopSignal::Usr2,
        config::StopSignal::Kill => fleets::StopSignal::Kill,
    };
    config.grace = span(spec.stop.grace);
    fleets::ProcessFleet::new(config).map_err(|source| AssembleError::Process { consumer: name.to_owned(), source })
}

fn command_fleet(
    name: &str,
    spec: &config::CommandFleet,
    state_dir: &Path,
) -> Result<fleets::CommandFleet, AssembleError> {
    let line = |line: &config::CommandLine| match line {
        config::CommandLine::Argv(argv) => fleets::CommandLine::Argv(argv.iter().cloned().collect()),
        config::CommandLine::Shell(text) => fleets::CommandLine::Shell(text.clone()),
    };
    let mut config = fleets::CommandConfig::new(
        name.to_owned(),
        line(&spec.list),
        spec.reload.as_ref().map(line),
        spec.reload_all.as_ref().map(line),
    );
    config.list_limit = span(spec.timeout);
    config.reload_limit = span(spec.timeout);
    config.folder = Some(spec.working_directory.resolved().to_owned());
    config.record = Some(state_dir.join(format!("reloads-{name}.jsonl")));
    fleets::CommandFleet::new(config).map_err(|source| AssembleError::Command { consumer: name.to_owned(), source })
}

fn witnesses(key: &SessionKey, codec: Option<&Arc<dyn SessionCodec>>) -> Result<Vec<Arc<dyn Witness>>, AssembleError> {
    let mut witnesses: Vec<Arc<dyn Witness>> = Vec::new();
    if let Some(probe) = &key.probe {
        let failed = |source| AssembleError::Evidence { section: "probe", source };
        if let Some(codec) = codec {
            let config = probe_config(probe)?;
            witnesses.push(Arc::new(evidence::Probe::new(Arc::clone(codec), config).map_err(failed)?));
        }
        if let Some(steps) = &probe.login {
            let failed = |source| AssembleError::Evidence { section: "probe.login", source };
            let config = login_config(key, probe, steps.as_slice(), codec.map(AsRef::as_ref))?;
            witnesses.push(Arc::new(evidence::LoginWitness::new(config, codec.cloned()).map_err(failed)?));
        }
    }
    if let Some(report) = &key.evidence.report {
        let config = evidence::ReportConfig {
            path: report.path.clone(),
            access: evidence::HttpAccess::within(span(report.timeout)),
            active: report.active.clone(),
            accept: report.accept.clone(),
            loaded_at: Some(report.loaded_at.clone()),
            boot: Some(report.boot.clone()),
            worker: Some(report.worker.clone()),
            workers: key.probe.as_ref().map(|probe| workers(&probe.workers)).unwrap_or_default(),
        };
        let failed = |source| AssembleError::Evidence { section: "evidence.report", source };
        witnesses.push(Arc::new(evidence::ReportWitness::new(config).map_err(failed)?));
    }
    if let Some(log) = log_witness(key)? {
        witnesses.push(log);
    }
    if let Some(metric) = &key.evidence.metric {
        let config = evidence::MetricConfig {
            path: metric.path.clone(),
            access: evidence::HttpAccess::within(span(metric.timeout)),
            name: metric.name.clone(),
            key_label: metric.key_label.clone(),
            state_label: metric.state_label.clone(),
            worker_label: None,
        };
        let failed = |source| AssembleError::Evidence { section: "evidence.metric", source };
        witnesses.push(Arc::new(evidence::MetricWitness::new(config).map_err(failed)?));
    }
    Ok(witnesses)
}

fn log_witness(key: &SessionKey) -> Result<Option<Arc<evidence::LogWitness>>, AssembleError> {
    let Some(log) = &key.evidence.log else { return Ok(None) };
    let source = match &log.source {
        config::LogWhere::File(path) => evidence::LogSource::File(path.resolved().display().to_string()),
        config::LogWhere::Command { argv, working_directory } => evidence::LogSource::Command {
            argv: argv.iter().cloned().collect(),
            folder: Some(working_directory.resolved().to_owned()),
            limit: LOG_COMMAND_LIMIT,
        },
    };
    let config = evidence::LogConfig { pattern: log.pattern.regex().clone(), source };
    let failed = |source| AssembleError::Evidence { section: "evidence.log", source };
    evidence::LogWitness::new(config).map(|log| Some(Arc::new(log))).map_err(failed)
}

fn probe_config(probe: &config::Probe) -> Result<evidence::ProbeConfig, AssembleError> {
    let payload = match &probe.payload {
        None => evidence::Payload::default(),
        Some(config::Payload::Json(value)) => evidence::Payload::Json(value.clone()),
        Some(config::Payload::Text(text)) => evidence::Payload::Text(text.clone()),
        Some(config::Payload::File(path)) => evidence::Payload::Bytes(
            std::fs::read(path.resolved())
                .map_err(|source| AssembleError::File { path: path.written().to_owned(), source })?,
        ),
    };
    Ok(evidence::ProbeConfig {
        method: probe.method.clone(),
        path: probe.path.clone(),
        access: access(&probe.headers, probe.timeout),
        payload,
        accepted: look(&probe.accepted),
        rejected: look(&probe.rejected),
        workers: workers(&probe.workers),
    })
}

fn login_config(
    key: &SessionKey,
    probe: &config::Probe,
    steps: &[config::LoginStep],
    codec: Option<&dyn SessionCodec>,
) -> Result<evidence::LoginConfig, AssembleError> {
    let cookie = match (codec, key.profile.parameters.get("cookie")) {
        (Some(codec), _) => codec.cookie_name().to_owned(),
        (None, Some(cookie)) => cookie.clone(),
        (None, None) => {
            return Err(AssembleError::Unfit {
                what: "probe.login".into(),
                reason: "nothing names the session cookie; say `profile: { name: .., cookie: .. }`".into(),
            });
        }
    };
    let without_reissue = |expectation| evidence::Look { reissue: evidence::Reissue::NotAsked, ..look(expectation) };
    Ok(evidence::LoginConfig {
        steps: steps.iter().map(login_step).collect(),
        access: access(&probe.headers, probe.timeout),
        cookie,
        check_path: probe.path.clone(),
        accepted: without_reissue(&probe.accepted),
        rejected: without_reissue(&probe.rejected),
    })
}

fn login_step(step: &config::LoginStep) -> evidence::LoginStep {
    let values = |values: &BTreeMap<String, config::RequestValue>| {
        values.iter().map(|(name, value)| (name.clone(), request_value(value))).collect::<Vec<_>>()
    };
    evidence::LoginStep {
        method: step.method.clone(),
        path: step.path.clone(),
        headers: values(&step.headers),
        body: match &step.body {
            config::LoginBody::Empty => evidence::LoginBody::Empty,
            config::LoginBody::Form(form) => evidence::LoginBody::Form(values(form)),
            config::LoginBody::Json(json) => evidence::LoginBody::Json(values(json)),
        },
        expect: evidence::StatusSet::of(step.expect.ranges().iter().copied()),
        capture: step
            .capture
            .iter()
            .map(|(name, capture)| {
                let from = match &capture.from {
                    config::CaptureFrom::Body => evidence::CaptureFrom::Body,
                    config::CaptureFrom::Header(name) => evidence::CaptureFrom::Header(name.clone()),
                };
                (name.clone(), evidence::Capture { from, pattern: capture.pattern.regex().clone() })
            })
            .collect(),
    }
}

fn look(expectation: &config::Expectation) -> evidence::Look {
    evidence::Look {
        status: expectation.status.as_ref().map(|set| evidence::StatusSet::of(set.ranges().iter().copied())),
        headers: expectation
            .headers
            .iter()
            .map(|header| evidence::HeaderLook { name: header.name.clone(), value: text_look(&header.value) })
            .collect(),
        body: expectation.body.as_ref().map(text_look),
        reissue: match expectation.reissue {
            config::Reissue::SameSession => evidence::Reissue::SameSession,
            config::Reissue::NotTheSame => evidence::Reissue::NotTheSame,
            config::Reissue::NotAsked => evidence::Reissue::NotAsked,
        },
    }
}

fn text_look(text: &config::TextMatch) -> evidence::TextLook {
    match text {
        config::TextMatch::Contains(part) => evidence::TextLook::Contains(part.clone()),
        config::TextMatch::Matches(pattern) => evidence::TextLook::Matches(pattern.regex().clone()),
        config::TextMatch::Lacks(part) => evidence::TextLook::Lacks(part.clone()),
    }
}

fn request_value(value: &config::RequestValue) -> evidence::RequestValue {
    match value {
        config::RequestValue::Literal(text) => evidence::RequestValue::Literal(text.clone()),
        config::RequestValue::Captured(name) => evidence::RequestValue::Captured(name.clone()),
        config::RequestValue::Secret(config::SecretReference::Env(name)) => {
            evidence::RequestValue::Secret(evidence::Credential::Env(name.clone()))
        }
        config::RequestValue::Secret(config::SecretReference::File(path)) => {
            evidence::RequestValue::Secret(evidence::Credential::File(path.resolved().to_owned()))
        }
    }
}

fn access(headers: &BTreeMap<String, config::RequestValue>, timeout: Period) -> evidence::HttpAccess {
    let mut access = evidence::HttpAccess::within(span(timeout));
    access.headers = headers.iter().map(|(name, value)| (name.clone(), request_value(value))).collect();
    access
}

fn workers(workers: &config::Workers) -> evidence::Workers {
    evidence::Workers { count: workers.count, header: workers.header.clone() }
}

fn drain(key: &SessionKey) -> Result<Option<Arc<dyn DrainWitness>>, AssembleError> {
    let Some(counter) = &key.evidence.counter else { return Ok(None) };
    let access = evidence::HttpAccess::within(span(counter.timeout));
    let counts = evidence::CountsAt::Prometheus { name: counter.name.clone(), key_label: counter.key_label.clone() };
    let scrape = evidence::DrainScrape::new(&counter.path, &access, counts, system_time())
        .map_err(|source| AssembleError::Evidence { section: "evidence.counter", source })?;
    Ok(Some(Arc::new(scrape)))
}

fn error_rates(key: &SessionKey) -> Result<Option<ErrorRateWatch>, AssembleError> {
    let Some(rule) = &key.evidence.error_rate else { return Ok(None) };
    let access = evidence::HttpAccess::within(span(rule.timeout));
    let source =
        evidence::ErrorRates::new(&rule.path, &access, rule.name.clone(), rule.status_label.clone(), system_time())
            .map_err(|source| AssembleError::Evidence { section: "evidence.errorRate", source })?;
    Ok(Some(ErrorRateWatch {
        source: Arc::new(source),
        threshold_permille: rule.threshold.get(),
        over: span(rule.over),
        then: match rule.then {
            config::OnErrors::Halt => OnRegression::Hold,
            config::OnErrors::RollBack => OnRegression::RollBack,
        },
    }))
}

fn policy(key: &SessionKey, hot: bool) -> EnginePolicy {
    let sessions = &key.sessions;
    let (max_lifetime, unbounded_limit, least_reissued) = match sessions.max_lifetime {
        config::MaxLifetime::Bounded(period) => (Some(period.millis()), None, None),
        config::MaxLifetime::Unbounded { drain_limit, least_reissued } => {
            (None, Some(drain_limit.millis()), Some(least_reissued.get()))
        }
        // Preflight says so: nothing that drains can be started.
        config::MaxLifetime::Undeclared => (None, None, None),
    };
    let counters = key.evidence.counter.as_ref();
    let settings = Settings {
        settle: key.policy.settle.millis(),
        max_lifetime,
        idle_lifetime: sessions.idle.map(Period::millis),
        leeway: sessions.leeway.millis(),
        drain: match sessions.drain {
            config::Drain::Chosen(rule) => rule,
            // Without counters preflight refuses this rule, and names the two ways out.
            config::Drain::Undeclared => DrainRule::Counter,
        },
        drain_limit: sessions.drain_limit.map(Period::millis).or(unbounded_limit),
        least_reissued_permille: least_reissued,
        escrow: key.policy.escrow.millis(),
        // A file is written once and read for years: what weakens a gate is named on the run.
        evidence: EvidenceRule::Strong,
        reload_attempts: key.policy.reload_attempts,
        reload: if hot { ReloadNeed::HotReload } else { ReloadNeed::Needed },
    };
    let every = counters.map_or(DEFAULT_DRAIN_INTERVAL, |counter| span(counter.every));
    let drain_window = match (sessions.idle, unbounded_limit) {
        (Some(idle), _) => span(idle),
        // A share of what is in use means something only over a good part of the drain, as far as readings are kept.
        (None, Some(limit)) => (Duration::from_millis(limit.0) / 10).min(every * KEPT_READINGS).max(every * 2),
        (None, None) => every * 2,
    };
    EnginePolicy {
        drain_window,
        drain_interval: every,
        standby: match key.policy.standby {
            config::Standby::Leave => Standby::Keep,
            config::Standby::None => Standby::None,
        },
        max_clock_skew: Duration::from_millis(sessions.leeway.millis().0).max(LEAST_SKEW),
        rotate_every: key.policy.rotate_every.map(span),
        window: Some(Arc::new(PolicyWindow(key.policy.clone()))),
        stickiness: match sessions.sticky {
            config::Sticky::Declared => Stickiness::Declared,
            config::Sticky::NotDeclared => Stickiness::NotDeclared,
        },
        believed: key.evidence.orchestrator.map(|level| match level {
            config::OrchestratorLevel::P0 => EvidenceLevel::P0,
            config::OrchestratorLevel::P1 => EvidenceLevel::P1,
        }),
        ..EnginePolicy::around(settings)
    }
}

/// The windows of the file.
#[derive(Debug)]
struct PolicyWindow(config::Policy);

impl Window for PolicyWindow {
    fn closed_until(&self, now: jiff::Timestamp) -> Option<(jiff::Timestamp, String)> {
        match self.0.window(now) {
            config::WindowState::Open { .. } => None,
            config::WindowState::Closed { opens } => {
                let opens = opens.unwrap_or(jiff::Timestamp::MAX);
                Some((opens, "outside of the policy's window".into()))
            }
        }
    }
}

/// A fleet whose members read the key again by themselves, whatever else it could do.
struct Hot(Arc<dyn Fleet>);

#[async_trait]
impl Fleet for Hot {
    fn describe(&self) -> FleetDescription {
        FleetDescription { reload: ReloadStyle::HotReload, ..self.0.describe() }
    }

    async fn members(&self) -> Result<Vec<Member>, FleetError> {
        self.0.members().await
    }

    async fn reload(&self, request: &ReloadRequest) -> Result<ReloadOutcome, FleetError> {
        self.0.reload(request).await
    }

    async fn output(&self, member: &Member) -> Result<Option<Vec<u8>>, FleetError> {
        self.0.output(member).await
    }
}

fn system_time() -> TimeSource {
    TimeSource::new(|| SystemClock.now())
}

fn span(period: Period) -> Duration {
    Duration::from_millis(period.millis().0)
}

const LEAST_TO_BE_BACK: Duration = Duration::from_secs(60);
const COUNT_LIMIT: Duration = Duration::from_secs(30);
const LOG_COMMAND_LIMIT: Duration = Duration::from_secs(10);
/// So many readings are surely kept while a rotation drains.
const KEPT_READINGS: u32 = 1_000;
const DEFAULT_DRAIN_INTERVAL: Duration = Duration::from_secs(30);
const LEAST_SKEW: Duration = Duration::from_secs(2);
