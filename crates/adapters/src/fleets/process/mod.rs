//! `process`: local processes that Keyroll starts and restarts.
//!
//! They outlive Keyroll. Each has a process group of its own, and the next Keyroll finds it again by its record (pid, start
//! time, the machine's boot id) or, where a record is missing or out of date, by the port on which it listens: so a
//! member that somebody restarted by hand is a new run of the same member and not a stranger.
//!
//! A process is gone when nobody of its group and nobody who shares its standard input is left: a worker that outlives its
//! master still holds the key.

mod config;
mod kernel;
mod state;
mod variables;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use rustix::process::Signal;
use url::Url;

use self::kernel::{Identity, Stat};
use self::state::{Locked, MemberRecord, Phase, Record, StateError, StateFolder};
use super::{
    BootId, Fleet, FleetDescription, FleetError, Member, MemberId, MemberState, ReloadOutcome, ReloadRequest,
    ReloadStyle, ReloadTarget,
};
use crate::Timestamp;
use crate::direct::Direct;
use crate::subprocess;

pub use self::config::{HealthCheck, ProcessConfig, ProcessConfigError, ProcessMember, StopSignal};

/// Local processes, started and restarted by Keyroll.
#[derive(Clone, Debug)]
pub struct ProcessFleet {
    config: ProcessConfig,
    state: StateFolder,
    direct: Direct,
}

impl ProcessFleet {
    /// A fleet by its description. Nothing is started.
    pub fn new(config: ProcessConfig) -> Result<Self, ProcessConfigError> {
        config.check()?;
        let logs = config.log_folder.clone().unwrap_or_else(|| config.state_folder.join("logs"));
        let state = StateFolder::new(config.state_folder.clone(), logs);
        let direct = Direct::new(HEALTH_TIMEOUT, None).map_err(ProcessConfigError::Health)?;
        Ok(Self { config, state, direct })
    }

    /// Starts every member that is down. Who runs already is left alone.
    pub async fn start_all(&self) -> Result<(), FleetError> {
        for member in &self.config.members {
            self.start_if_down(member).await.map_err(|source| self.not_done("started", member, source))?;
        }
        Ok(())
    }

    /// Stops every member, all at once, and waits until they are gone.
    pub async fn stop_all(&self) -> Result<(), FleetError> {
        let stops = self.config.members.iter().map(|member| async move {
            self.stop_member(member).await.map_err(|source| self.not_done("stopped", member, source))
        });
        futures_util::future::join_all(stops).await.into_iter().collect()
    }

    /// The file that a member's output goes to.
    pub fn output_of(&self, member: &MemberId) -> PathBuf {
        self.state.output_of(&member.0)
    }

    async fn start_if_down(&self, member: &ProcessMember) -> Result<(), ProcessError> {
        let _member_lock = self.state.lock(&member.id, self.patience()).await?;
        let record = self.record()?;
        match self.find(member, record.members.get(&member.id))? {
            Found::Down { .. } => {
                self.start(member, None).await?;
                Ok(())
            }
            Found::Running { .. } | Found::Remains { .. } | Found::Stranger { .. } => Ok(()),
        }
    }

    async fn stop_member(&self, member: &ProcessMember) -> Result<(), ProcessError> {
        let _member_lock = self.state.lock(&member.id, self.patience()).await?;
        let record = self.record()?;
        let found = self.find(member, record.members.get(&member.id))?;
        self.end(member, record.members.get(&member.id), &found, Phase::Stopping).await
    }

    /// Restarts one member, unless this reload was carried out before or `boot` is not its run any more.
    async fn restart(
        &self,
        member: &ProcessMember,
        reload: &str,
        boot: Option<&BootId>,
    ) -> Result<ReloadOutcome, ProcessError> {
        let _member_lock = self.state.lock(&member.id, self.patience()).await?;
        let record = self.record()?;
        let recorded = record.members.get(&member.id);
        if recorded.is_some_and(|recorded| recorded.reloads.iter().any(|done| done == reload)) {
            return Ok(ReloadOutcome::AlreadyDone);
        }
        let found = self.find(member, recorded)?;
        if boot.is_some_and(|boot| *boot != found.boot(&record.machine_boot)) {
            return Ok(ReloadOutcome::AlreadyDone);
        }
        self.end(member, recorded, &found, Phase::Starting).await?;
        self.start(member, Some(reload)).await?;
        Ok(ReloadOutcome::Started)
    }

    /// Starts a new run: recorded before and after, so that a crash in between leaves nobody unknown.
    async fn start(&self, member: &ProcessMember, reload: Option<&str>) -> Result<(), ProcessError> {
        let run = new_run()?;
        let printed = std::fs::metadata(self.state.output_of(&member.id)).map_or(0, |file| file.len());
        self.change(|record| {
            let recorded = record.members.entry(member.id.clone()).or_default();
            recorded.run = Some(run.clone());
            recorded.process = None;
            recorded.phase = Phase::Starting;
            recorded.output_from = printed;
        })
        .await?;
        let process = self.spawn(member, &run)?;
        self.change(|record| {
            let recorded = record.members.entry(member.id.clone()).or_default();
            recorded.process = Some(process);
            recorded.phase = Phase::Wanted;
            recorded.last_boot = Some(boot_of(process, &record.machine_boot));
            if let Some(reload) = reload {
                recorded.note_reload(reload);
            }
        })
        .await?;
        self.state.forget_inputs(&member.id, &run);
        tracing::info!(member = %member.id, pid = process.pid, "process started");
        Ok(())
    }

    fn spawn(&self, member: &ProcessMember, run: &str) -> Result<Identity, ProcessError> {
        let (program, arguments) = self.config.argv.split_first().ok_or(ProcessError::EmptyCommand)?;
        let output_path = self.state.output_of(&member.id);
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&output_path)
            .map_err(|source| ProcessError::file(&output_path, source))?;
        let errors = output.try_clone().map_err(|source| ProcessError::file(&output_path, source))?;
        let mut command = Command::new(self.config.fill(program, member));
        command
            .args(arguments.iter().map(|argument| self.config.fill(argument, member)))
            .env_clear()
            .envs(subprocess::inherited(&self.config.pass_env))
            .envs(self.config.env.iter().map(|(name, value)| (name, self.config.fill(value, member))))
            .stdin(self.state.make_input(&member.id, run)?)
            .stdout(output)
            .stderr(errors)
            .process_group(0);
        for path in &self.config.env_files {
            command.envs(variables::read(path)?);
        }
        if let Some(folder) = &self.config.folder {
            command.current_dir(folder);
        }
        let child = command.spawn().map_err(|source| ProcessError::Start { program: program.clone(), source })?;
        let pid = i32::try_from(child.id()).map_err(|_| ProcessError::Vanished { program: program.clone() })?;
        // It is our child and nobody has waited for it, so even a process that died at once has its entry still.
        Stat::of(pid).map(|stat| stat.identity).ok_or_else(|| ProcessError::Vanished { program: program.clone() })
    }

    /// Ends whatever was found, and waits until nobody of it is left.
    async fn end(
        &self,
        member: &ProcessMember,
        recorded: Option<&MemberRecord>,
        found: &Found,
        then: Phase,
    ) -> Result<(), ProcessError> {
        let leader = match found {
            Found::Down { .. } => return Ok(()),
            Found::Stranger { port, .. } => return Err(ProcessError::Stranger { port: *port }),
            Found::Running { process, .. } => Some(*process),
            Found::Remains { .. } => None,
        };
        self.change(|record| {
            record.members.entry(member.id.clone()).or_default().phase = then;
        })
        .await?;
        let input =
            recorded.and_then(|recorded| recorded.run.as_deref()).map(|run| self.state.input_of(&member.id, run));
        let group = leader.or_else(|| recorded.and_then(|recorded| recorded.process));
        let remains = || -> io::Result<Vec<Identity>> { remains_of(group, input.as_deref()) };

        let deadline = tokio::time::Instant::now() + self.config.grace;
        if let Some(leader) = leader {
            leader.signal(self.config.stop_signal.signal()).map_err(|source| ProcessError::Signal { source })?;
            while leader.is_alive() && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(POLL).await;
            }
        }
        // Workers usually leave with their master; those that do not get a moment, and are then killed with it.
        let deadline = deadline.min(tokio::time::Instant::now() + WORKER_GRACE);
        let mut asked: Vec<Identity> = Vec::new();
        loop {
            let left = remains().map_err(|source| ProcessError::Signal { source })?;
            if left.is_empty() && !leader.is_some_and(Identity::is_alive) {
                break;
            }
            let now = tokio::time::Instant::now();
            if now >= deadline + KILL_PATIENCE {
                return Err(ProcessError::Immortal { pids: left.iter().map(|identity| identity.pid).collect() });
            }
            for process in left.into_iter().chain(leader.filter(|leader| leader.is_alive())) {
                let signal = if now >= deadline {
                    Some(Signal::KILL)
                } else if asked.contains(&process) || Some(process) == leader {
                    None
                } else {
                    asked.push(process);
                    Some(self.config.stop_signal.signal())
                };
                if let Some(signal) = signal {
                    process.signal(signal).map_err(|source| ProcessError::Signal { source })?;
                }
            }
            tokio::time::sleep(POLL).await;
        }
        tracing::info!(member = %member.id, "process ended");
        Ok(())
    }

    /// Who is this member now?
    fn find(&self, member: &ProcessMember, recorded: Option<&MemberRecord>) -> Result<Found, ProcessError> {
        let failed = |source| ProcessError::Kernel { source };
        if let Some(process) = recorded.and_then(|recorded| recorded.process).filter(|process| process.is_alive()) {
            return Ok(Found::Running { process });
        }
        let last_boot = recorded.and_then(|recorded| recorded.last_boot.clone());
        if let Some(run) = recorded.and_then(|recorded| recorded.run.as_deref()) {
            let input = self.state.input_of(&member.id, run);
            let dead = recorded.and_then(|recorded| recorded.process);
            let left = remains_of(dead, Some(&input)).map_err(failed)?;
            if let Some(first) = left.first() {
                return Ok(match dead {
                    // Its leader is dead and workers live on: they hold the key and nobody leads them.
                    Some(dead) => Found::Remains { of: dead },
                    // It was started and never recorded: the Keyroll that started it died.
                    None => Found::Running { process: *first },
                });
            }
        }
        if let Some(port) = member.port
            && let Some(inode) = kernel::listeners().get(&port).copied()
        {
            return Ok(match kernel::holder_of(inode) {
                Some(process) => Found::Running { process },
                None => Found::Stranger { port, inode },
            });
        }
        Ok(Found::Down { last_boot })
    }

    /// One member as it is now.
    async fn observe(&self, member: &ProcessMember, record: &Record) -> Result<Member, ProcessError> {
        let recorded = record.members.get(&member.id);
        let found = self.find(member, recorded)?;
        let phase = recorded.map_or(Phase::Wanted, |recorded| recorded.phase);
        // Whoever began to stop it may have died before the signal was sent, and then it serves on.
        let is_ended_now = phase != Phase::Wanted && self.state.is_held(&member.id);
        let address = member.port.and_then(|port| config::address_of(&self.config.host, port));
        let state = match (&found, phase) {
            (Found::Running { .. } | Found::Remains { .. }, _) if is_ended_now => MemberState::Terminating,
            (Found::Running { process }, _) => self.state_of(address.as_ref(), Some(*process)).await,
            (Found::Stranger { .. }, _) => self.state_of(address.as_ref(), None).await,
            // Workers without a leader: they hold the key, and nobody ends them until it is reloaded.
            (Found::Remains { .. }, _) => MemberState::Unready,
            // A start that was never brought to its end: it is missed, and a reload starts it.
            (Found::Down { .. }, Phase::Starting) => MemberState::Unready,
            (Found::Down { .. }, Phase::Wanted | Phase::Stopping) => MemberState::Down,
        };
        let started_at = match found {
            Found::Running { process } => process.started_at().map(Timestamp),
            _ => None,
        };
        Ok(Member {
            id: MemberId(member.id.clone()),
            boot: found.boot(&record.machine_boot),
            address,
            state,
            started_at,
            workers: Vec::new(),
        })
    }

    async fn state_of(&self, address: Option<&Url>, process: Option<Identity>) -> MemberState {
        if self.is_healthy(address, process).await { MemberState::Ready } else { MemberState::Unready }
    }

    async fn is_healthy(&self, address: Option<&Url>, process: Option<Identity>) -> bool {
        match (&self.config.health, address) {
            (HealthCheck::Alive { after }, _) => process.and_then(Identity::age).is_some_and(|age| age >= *after),
            (HealthCheck::Connects, Some(address)) => {
                let Some((host, port)) = address.host_str().zip(address.port_or_known_default()) else { return false };
                let connect = tokio::net::TcpStream::connect((host.trim_matches(['[', ']']), port));
                matches!(tokio::time::timeout(HEALTH_TIMEOUT, connect).await, Ok(Ok(_)))
            }
            (HealthCheck::Answers { path, status }, Some(address)) => {
                let answer = self.direct.get(address, path, 0).await;
                answer.is_ok_and(|answer| status.contains(answer.status.as_u16()))
            }
            // A worker that is asked for nothing is ready when it runs.
            (HealthCheck::Connects | HealthCheck::Answers { .. }, None) => true,
        }
    }

    /// Changes the record under its lock; short, whatever else goes on.
    async fn change(&self, change: impl FnOnce(&mut Record)) -> Result<(), ProcessError> {
        let held: Locked = self.state.lock(RECORD_LOCK, RECORD_PATIENCE).await?;
        let mut record = self.record()?;
        change(&mut record);
        Ok(self.state.save(&record, &held)?)
    }

    fn record(&self) -> Result<Record, ProcessError> {
        let machine_boot = kernel::machine_boot().map_err(|source| ProcessError::Kernel { source })?;
        Ok(self.state.load(&machine_boot)?)
    }

    /// Whoever holds a member's lock may have to wait for the whole grace, and then to kill.
    fn patience(&self) -> Duration {
        self.config.grace + KILL_PATIENCE + RECORD_PATIENCE
    }

    fn location(&self) -> String {
        let program = self.config.argv.first().map_or("", String::as_str);
        format!("{} local processes of `{program}`", self.config.members.len())
    }

    fn not_done(&self, action: &'static str, member: &ProcessMember, source: ProcessError) -> FleetError {
        FleetError::Control { location: self.location(), member: member.id.clone(), action, source: source.into() }
    }
}

#[async_trait]
impl Fleet for ProcessFleet {
    fn describe(&self) -> FleetDescription {
        let mut cautions = Vec::new();
        if self.config.members.len() == 1 {
            cautions.push("a single process: nobody serves while it restarts".into());
        }
        FleetDescription { kind: "process", location: self.location(), reload: ReloadStyle::PerMember, cautions }
    }

    async fn members(&self) -> Result<Vec<Member>, FleetError> {
        let failed = |source: ProcessError| FleetError::List { location: self.location(), source: source.into() };
        let record = self.record().map_err(failed)?;
        let looks: Vec<_> = self.config.members.iter().map(|member| self.observe(member, &record)).collect();
        let observed: Vec<_> = futures_util::stream::iter(looks).buffered(HEALTH_CHECKS_AT_ONCE).collect().await;
        observed.into_iter().collect::<Result<_, _>>().map_err(failed)
    }

    async fn output(&self, member: &Member) -> Result<Option<Vec<u8>>, FleetError> {
        let failed = |source: ProcessError| FleetError::Output {
            location: self.location(),
            member: member.id.0.clone(),
            source: source.into(),
        };
        let record = self.record().map_err(failed)?;
        let Some(recorded) = record.members.get(&member.id.0) else { return Ok(None) };
        let ours = recorded.process.is_some_and(|process| boot_of(process, &record.machine_boot) == member.boot.0);
        if !ours {
            return Ok(None);
        }
        let path = self.state.output_of(&member.id.0);
        let read = end_of_output(&path, recorded.output_from);
        read.map(Some).map_err(|source| failed(ProcessError::file(&path, source)))
    }

    async fn reload(&self, request: &ReloadRequest) -> Result<ReloadOutcome, FleetError> {
        let failed = |member: &str, source: ProcessError| FleetError::Reload {
            location: self.location(),
            member: member.to_owned(),
            source: source.into(),
        };
        match &request.target {
            ReloadTarget::Member { id, boot } => {
                let member = self
                    .config
                    .members
                    .iter()
                    .find(|member| member.id == id.0)
                    .ok_or_else(|| FleetError::NoSuchMember { location: self.location(), member: id.0.clone() })?;
                self.restart(member, &request.id.0, Some(boot)).await.map_err(|source| failed(&id.0, source))
            }
            ReloadTarget::All => {
                let restarts = self.config.members.iter().map(|member| async move {
                    let outcome = self.restart(member, &request.id.0, None).await;
                    outcome.map_err(|source| failed(&member.id, source))
                });
                let mut all = ReloadOutcome::AlreadyDone;
                for outcome in futures_util::future::join_all(restarts).await {
                    if outcome? == ReloadOutcome::Started {
                        all = ReloadOutcome::Started;
                    }
                }
                Ok(all)
            }
        }
    }
}

/// Who a member is.
enum Found {
    /// A process that we know by pid and start.
    Running { process: Identity },
    /// Its leader is dead, its workers are not.
    Remains { of: Identity },
    /// Somebody listens on its port whom we may not see: another user's process.
    Stranger { port: u16, inode: u64 },
    /// Nobody.
    Down { last_boot: Option<String> },
}

impl Found {
    fn boot(&self, machine_boot: &str) -> BootId {
        BootId(match self {
            Self::Running { process, .. } | Self::Remains { of: process } => boot_of(*process, machine_boot),
            Self::Stranger { inode, .. } => format!("socket:{inode}"),
            Self::Down { last_boot } => last_boot.clone().unwrap_or_else(|| NEVER_STARTED.into()),
        })
    }
}

/// Why a process was not started, stopped or found.
#[derive(Debug, thiserror::Error)]
enum ProcessError {
    #[error("the command line is empty")]
    EmptyCommand,
    #[error("`{program}` can't be started")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("`{program}` was started and can't be found; is `/proc` mounted")]
    Vanished { program: String },
    #[error("`{path}` can't be read or written")]
    File {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("port {port} is held by a process of another user; stop it, or run as that user")]
    Stranger { port: u16 },
    #[error("the process can't be told to stop; was it started by another user")]
    Signal {
        #[source]
        source: io::Error,
    },
    #[error("processes {pids:?} do not end even when killed; they wait for a device, and hold the key until then")]
    Immortal { pids: Vec<i32> },
    #[error("the processes of this machine can't be listed; `/proc` is needed")]
    Kernel {
        #[source]
        source: io::Error,
    },
    #[error("no randomness from the system")]
    Random,
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Variables(#[from] variables::VariablesError),
}

impl ProcessError {
    fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.display().to_string(), source }
    }
}

fn boot_of(process: Identity, machine_boot: &str) -> String {
    format!("{}.{}.{}", process.pid, process.start, machine_boot.get(..8).unwrap_or(machine_boot))
}

/// Everybody who belongs to a run besides its leader: by process group, and by standard input.
fn remains_of(leader: Option<Identity>, input: Option<&Path>) -> io::Result<Vec<Identity>> {
    let mut found = match input {
        Some(input) => kernel::reading_from(input)?,
        None => Vec::new(),
    };
    if let Some(leader) = leader {
        let everybody = kernel::everybody()?;
        // While the group has members its number is nobody's pid but the leader's. A younger process with that pid means
        // that the group died out and its number was given away.
        let given_away = everybody.iter().any(|stat| stat.identity.pid == leader.pid && stat.identity != leader);
        if !given_away {
            found.extend(everybody.iter().filter(|stat| stat.group == leader.pid).map(|stat| stat.identity));
        }
    }
    found.retain(|process| Some(*process) != leader);
    found.sort_by_key(|process| (process.start, process.pid));
    found.dedup();
    Ok(found)
}

/// What was printed from `from` on; a file that was cut meanwhile, from its beginning.
fn end_of_output(path: &Path, from: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let from = if from <= length { from } else { 0 };
    file.seek(SeekFrom::Start(from.max(length.saturating_sub(OUTPUT_LIMIT))))?;
    let mut bytes = Vec::new();
    file.take(OUTPUT_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A name that no other run has.
fn new_run() -> Result<String, ProcessError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| ProcessError::Random)?;
    Ok(hex::encode(bytes))
}

const OUTPUT_LIMIT: u64 = 8 * 1024 * 1024;
const RECORD_LOCK: &str = "record";
const NEVER_STARTED: &str = "never-started";
const POLL: Duration = Duration::from_millis(10);
const WORKER_GRACE: Duration = Duration::from_secs(1);
const KILL_PATIENCE: Duration = Duration::from_secs(5);
const RECORD_PATIENCE: Duration = Duration::from_secs(10);
/// As long as a probe waits. A member that is gone refuses at once; on a busy machine one that is well may take more than a second.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
const HEALTH_CHECKS_AT_ONCE: usize = 64;

#[cfg(test)]
mod tests;
