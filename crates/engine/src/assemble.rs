//! From the configuration file to what the engine drives: the one place that knows both the file's words and the adapters.
//!
//! A new store, fleet or kind of evidence gets its line here.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keyroll_adapters::fleets::{self, Fleet};
use keyroll_adapters::stores::{self, SecretStore};
use keyroll_keyring::codec::{self, SessionCodec};
use keyroll_keyring::{FieldName, Profile};
use keyroll_rotation::gate::EvidenceRule;
use keyroll_rotation::{DrainRule, ReloadNeed, Settings};

use crate::assembly::{Assembly, Consumer, EnginePolicy, OnRegression, Standby, Window};
use crate::config::{
    self, CommandLine, ConsumerKind, Dialect, Drain, FileContent, Instances, MaxLifetime, Period, ProfileSource,
    ReadyCheck, ReloadPlan, SessionKey, StopSignal, StoreSpec, WindowState,
};
use crate::fingerprints::Fingerprints;

/// Builds everything that `config` names. Nothing is contacted and nothing is written. `state_dir` is where records of
/// process fleets live.
pub fn assemble(config: &SessionKey, state_dir: &Path) -> Result<Assembly, AssembleError> {
    let profile = profile(config)?;
    let codec = codec_of(config, &profile)?;
    let stores = config.stores.iter().map(|spec| store(spec, &profile)).collect();
    let consumers = config
        .consumers
        .iter()
        .map(|consumer| self::consumer(consumer, state_dir))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Assembly {
        name: config.name.as_str().to_owned(),
        config: config.hash(),
        witnesses: crate::witnesses::build(config, codec.as_ref())?,
        drain: crate::witnesses::drain(config)?,
        profile,
        stores,
        consumers,
        fingerprints: Arc::new(Fingerprints::default()),
        policy: policy(config),
    })
}

/// The machine's settings, as the file decides them. `simulate` runs on these alone.
pub fn settings(config: &SessionKey) -> Settings {
    let (max_lifetime, limit, least_reissued) = match config.sessions.max_lifetime {
        MaxLifetime::Bounded(lifetime) => (Some(lifetime.millis()), None, None),
        MaxLifetime::Unbounded { drain_limit, least_reissued } => {
            (None, Some(drain_limit.millis()), Some(least_reissued.get()))
        }
        MaxLifetime::Undeclared => (None, None, None),
    };
    let hot = config.consumers.iter().all(|consumer| matches!(consumer.reload, ReloadPlan::Hot));
    Settings {
        settle: config.policy.settle.millis(),
        max_lifetime,
        idle_lifetime: config.sessions.idle.map(Period::millis),
        leeway: config.sessions.leeway.millis(),
        drain: match config.sessions.drain {
            Drain::Chosen(rule) => rule,
            Drain::Undeclared if config.evidence.counter.is_some() => DrainRule::Counter,
            Drain::Undeclared => DrainRule::Lifetime,
        },
        drain_limit: config.sessions.drain_limit.map(Period::millis).or(limit),
        least_reissued_permille: least_reissued,
        escrow: config.policy.escrow.millis(),
        evidence: EvidenceRule::Strong,
        reload_attempts: config.policy.reload_attempts,
        reload: if hot { ReloadNeed::HotReload } else { ReloadNeed::Needed },
    }
}

/// The profile that the file names, under the file's own field names.
pub fn profile(config: &SessionKey) -> Result<Profile, AssembleError> {
    let spec = &config.profile;
    let profile = match &spec.source {
        ProfileSource::BuiltIn(name) => Profile::builtin(name),
        ProfileSource::File(path) => {
            let text = std::fs::read_to_string(path.resolved()).map_err(|source| AssembleError::ProfileFile {
                path: path.written().to_owned(),
                source,
            })?;
            Profile::from_toml(&text)
        }
    };
    let profile = profile.map_err(AssembleError::Profile)?;
    let profile = match &spec.active {
        Some(active) => {
            let names = [("active".to_owned(), FieldName(active.clone()))].into();
            profile.with_names(&names).map_err(AssembleError::Profile)?
        }
        None => profile,
    };
    let accept: Vec<FieldName> = spec.accept.iter().cloned().map(FieldName).collect();
    if accept.is_empty() { Ok(profile) } else { profile.with_accept_fields(&accept).map_err(AssembleError::Profile) }
}

/// The session format: the profile's, with the file's parameters. `None` where the profile knows none.
pub fn codec_of(config: &SessionKey, profile: &Profile) -> Result<Option<Arc<dyn SessionCodec>>, AssembleError> {
    let Some((name, defaults)) = profile.codec() else { return Ok(None) };
    let mut parameters = defaults.clone();
    parameters.extend(config.profile.parameters.clone());
    let codec = codec::build(name, &parameters).map_err(AssembleError::Codec)?;
    Ok(Some(Arc::from(codec)))
}

/// Why the configuration can't be put together. Nothing was contacted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// The profile.
    #[error("the profile can't be used")]
    Profile(#[source] keyroll_keyring::ProfileError),
    /// The profile's file.
    #[error("the profile `{path}` can't be read")]
    ProfileFile {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The session format.
    #[error("the session format can't be set up")]
    Codec(#[source] codec::CodecConfigError),
    /// A fleet of processes.
    #[error("the consumer `{consumer}` can't be set up")]
    Process {
        /// Which.
        consumer: String,
        /// Why.
        #[source]
        source: fleets::ProcessConfigError,
    },
    /// A fleet behind commands.
    #[error("the consumer `{consumer}` can't be set up")]
    Command {
        /// Which.
        consumer: String,
        /// Why.
        #[source]
        source: fleets::CommandConfigError,
    },
    /// The probe's payload.
    #[error("the probe's payload `{path}` can't be read")]
    PayloadFile {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A login without a cookie.
    #[error("`probe.login` does not know the session cookie's name; give it under `profile.cookie`")]
    NoCookie,
    /// Evidence.
    #[error("`{what}` can't be set up")]
    Evidence {
        /// Which part of the file.
        what: &'static str,
        /// Why.
        #[source]
        source: keyroll_adapters::evidence::EvidenceConfigError,
    },
}

fn store(spec: &StoreSpec, profile: &Profile) -> Arc<dyn SecretStore> {
    match spec {
        StoreSpec::EnvFile { path, dialect } => {
            let dialect = match dialect {
                Dialect::Dotenv => stores::EnvDialect::Dotenv,
                Dialect::Systemd => stores::EnvDialect::Systemd,
            };
            Arc::new(stores::EnvFileStore::with_dialect(path.resolved(), profile.fields(), dialect))
        }
        StoreSpec::File { path, content } => {
            let content = match content {
                FileContent::Text => stores::FileContent::Text,
                FileContent::Bytes => stores::FileContent::Raw,
            };
            let field = profile.fields().into_iter().next().unwrap_or_else(|| FieldName("content".to_owned()));
            Arc::new(stores::FileStore::with_content(path.resolved(), field, content))
        }
    }
}

fn consumer(consumer: &config::Consumer, state_dir: &Path) -> Result<Consumer, AssembleError> {
    let (fleet, patience): (Arc<dyn Fleet>, Duration) = match &consumer.kind {
        ConsumerKind::Process(process) => (Arc::new(process_fleet(consumer, process, state_dir)?), process.ready.timeout.std()),
        ConsumerKind::Command(command) => {
            let mut settings = fleets::CommandConfig::new(
                consumer.name.clone(),
                command_line(&command.list),
                command.reload.as_ref().map(command_line),
                command.reload_all.as_ref().map(command_line),
            );
            settings.list_limit = command.timeout.std();
            settings.reload_limit = command.timeout.std();
            settings.folder = Some(command.working_directory.resolved().to_owned());
            settings.record = Some(state_dir.join(format!("reloads-{}.json", consumer.name)));
            let fleet = fleets::CommandFleet::new(settings)
                .map_err(|source| AssembleError::Command { consumer: consumer.name.clone(), source })?;
            (Arc::new(fleet), command.timeout.std())
        }
        ConsumerKind::Static(list) => {
            (Arc::new(fleets::StaticFleet::new(list.members.as_slice().to_vec())), DEFAULT_RETURN)
        }
    };
    Ok(Consumer {
        name: consumer.name.clone(),
        fleet,
        kind: consumer.role,
        declared: consumer.emptiness,
        parallel: match consumer.reload {
            ReloadPlan::Roll { parallel, .. } => parallel.get() as usize,
            ReloadPlan::Hot => 1,
        },
        reload_timeout: patience.max(DEFAULT_RETURN),
    })
}

/// The processes of a `process` consumer. `keyroll demo` starts and stops them by this as well.
pub fn process_fleet(
    consumer: &config::Consumer,
    process: &config::ProcessFleet,
    state_dir: &Path,
) -> Result<fleets::ProcessFleet, AssembleError> {
    let member = |index: usize, port: Option<u16>| fleets::ProcessMember { id: format!("{}-{}", consumer.name, index + 1), port };
    let members = match &process.instances {
        Instances::Ports(ports) => {
            ports.iter().enumerate().map(|(index, port)| member(index, Some(port.get()))).collect()
        }
        Instances::Count(count) => (0..usize::from(count.get())).map(|index| member(index, None)).collect(),
    };
    let mut settings = fleets::ProcessConfig::new(
        process.command.as_slice().to_vec(),
        members,
        process.logs.as_ref().map_or_else(|| state_dir.join("processes"), |logs| logs.resolved().to_owned()),
    );
    settings.folder = Some(process.working_directory.resolved().to_owned());
    settings.env = process.env.clone();
    settings.env_files = process.env_files.iter().map(|file| file.resolved().to_owned()).collect();
    settings.health = match &process.ready.check {
        ReadyCheck::Http { path, .. } => fleets::HealthCheck::Answers { path: path.clone() },
        _ => fleets::HealthCheck::Connects,
    };
    settings.stop_signal = match process.stop.signal {
        StopSignal::Int => fleets::StopSignal::Int,
        StopSignal::Quit => fleets::StopSignal::Quit,
        StopSignal::Hup => fleets::StopSignal::Hup,
        _ => fleets::StopSignal::Term,
    };
    settings.grace = process.stop.grace.std();
    fleets::ProcessFleet::new(settings)
        .map_err(|source| AssembleError::Process { consumer: consumer.name.clone(), source })
}

fn command_line(line: &CommandLine) -> fleets::CommandLine {
    match line {
        CommandLine::Argv(words) => fleets::CommandLine::Argv(words.as_slice().to_vec()),
        CommandLine::Shell(line) => fleets::CommandLine::Shell(line.clone()),
    }
}

fn policy(config: &SessionKey) -> EnginePolicy {
    let mut policy = EnginePolicy::around(settings(config));
    if let Some(counter) = &config.evidence.counter {
        policy.drain_interval = counter.every.std();
        let idle = config.sessions.idle.map_or(Duration::ZERO, Period::std);
        policy.drain_window = idle.max(counter.every.std() * 2);
    }
    policy.standby = match config.policy.standby {
        config::Standby::Leave => Standby::Keep,
        config::Standby::None => Standby::None,
    };
    policy.rotate_every = config.policy.rotate_every.map(Period::std);
    if !config.policy.windows.is_empty() {
        policy.window = Some(Arc::new(Windows(config.policy.clone())));
    }
    if let Some(rule) = &config.evidence.error_rate {
        policy.on_regression = match rule.then {
            config::OnErrors::RollBack => OnRegression::RollBack,
            config::OnErrors::Halt => OnRegression::Hold,
        };
    }
    policy
}

/// The file's windows as the engine asks for them.
#[derive(Debug)]
struct Windows(config::Policy);

impl Window for Windows {
    fn closed_until(&self, now: jiff::Timestamp) -> Option<(jiff::Timestamp, String)> {
        match self.0.window(now) {
            WindowState::Open { .. } => None,
            WindowState::Closed { opens } => {
                let windows: Vec<&str> = self.0.windows.iter().map(config::Window::as_str).collect();
                let until = opens.unwrap_or(jiff::Timestamp::MAX);
                Some((until, format!("the policy's window `{}` is closed", windows.join("`, `"))))
            }
        }
    }
}

/// How long a reloaded member may take to be back where the file says nothing longer.
const DEFAULT_RETURN: Duration = Duration::from_secs(60);
