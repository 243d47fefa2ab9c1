//! What a process fleet is made of: which processes, how they start, how they stop.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use url::Url;

use crate::DirectError;
use crate::evidence::StatusSet;

/// A fleet of local processes. In `argv` and in the values of `env`, `{port}`, `{member}` and `{index}` (from 0) stand for
/// the member's own.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// Program and arguments. The process must stay in the foreground.
    pub argv: Vec<String>,
    /// Where it runs; Keyroll's own folder if none.
    pub folder: Option<PathBuf>,
    /// Variables for the application.
    pub env: BTreeMap<String, String>,
    /// Names of variables that the application inherits from Keyroll, beyond `PATH`, `HOME` and their like.
    pub pass_env: Vec<String>,
    /// Files of variables for the application, read anew at each start, later ones last. They may hold the application's
    /// key.
    pub env_files: Vec<PathBuf>,
    /// The host that a member's address names.
    pub host: String,
    /// The members.
    pub members: Vec<ProcessMember>,
    /// How a member shows that it serves.
    pub health: HealthCheck,
    /// What asks a member to stop.
    pub stop_signal: StopSignal,
    /// How long a member may take to stop before it is killed.
    pub grace: Duration,
    /// Where the record of the running processes lives.
    pub state_folder: PathBuf,
    /// Where their output goes; `logs` in the state folder if none.
    pub log_folder: Option<PathBuf>,
}

/// One member of a process fleet.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a name and a port")]
pub struct ProcessMember {
    /// Its name: letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// The port on which it listens; none for a worker, which serves no requests.
    pub port: Option<u16>,
}

/// How a member shows that it serves.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HealthCheck {
    /// It takes connections.
    Connects,
    /// It answers a GET.
    Answers {
        /// The path.
        path: String,
        /// With one of these.
        status: StatusSet,
    },
    /// It has been running for this time: for members without a port.
    Alive {
        /// How long.
        after: Duration,
    },
}

/// What asks a member to stop.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum StopSignal {
    /// SIGTERM.
    #[default]
    Term,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
    /// SIGHUP.
    Hup,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
    /// SIGKILL, for processes that have nothing to finish.
    Kill,
}

/// Why a description is not one of a fleet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessConfigError {
    /// A host that makes no address.
    #[error("`{host}` is not a host name or an IP address")]
    Host {
        /// As written.
        host: String,
    },
    /// Nothing to run.
    #[error("the command line is empty; name the program to run")]
    EmptyCommand,
    /// A name that can't be the name of a file.
    #[error("`{name}` is not a member's name; use letters, digits, `-`, `_` and `.`")]
    Name {
        /// The name.
        name: String,
    },
    /// Two members with one name.
    #[error("two members are named `{name}`")]
    TwiceNamed {
        /// The name.
        name: String,
    },
    /// Two members on one port.
    #[error("two members listen on port {port}")]
    SamePort {
        /// The port.
        port: u16,
    },
    /// No HTTP client for health checks.
    #[error("the health check can't be set up")]
    Health(#[source] DirectError),
}

impl ProcessConfig {
    /// A fleet that runs `argv` for each of `members`, with the usual ways to stop and to check.
    pub fn new(argv: Vec<String>, members: Vec<ProcessMember>, state_folder: PathBuf) -> Self {
        Self {
            argv,
            folder: None,
            env: BTreeMap::new(),
            pass_env: Vec::new(),
            env_files: Vec::new(),
            host: "127.0.0.1".into(),
            members,
            health: HealthCheck::Connects,
            stop_signal: StopSignal::Term,
            grace: DEFAULT_GRACE,
            state_folder,
            log_folder: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), ProcessConfigError> {
        if self.argv.first().is_none_or(String::is_empty) {
            return Err(ProcessConfigError::EmptyCommand);
        }
        if address_of(&self.host, 1).is_none() {
            return Err(ProcessConfigError::Host { host: self.host.clone() });
        }
        let mut names = BTreeSet::new();
        let mut ports = BTreeSet::new();
        for member in &self.members {
            let name = member.id.clone();
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(fits) {
                return Err(ProcessConfigError::Name { name });
            }
            if !names.insert(&member.id) {
                return Err(ProcessConfigError::TwiceNamed { name });
            }
            if let Some(port) = member.port
                && !ports.insert(port)
            {
                return Err(ProcessConfigError::SamePort { port });
            }
        }
        Ok(())
    }

    /// Fills in what stands for `member`'s own.
    pub(super) fn fill(&self, template: &str, member: &ProcessMember) -> String {
        let index = self.members.iter().position(|other| other == member).unwrap_or_default();
        let port = member.port.map(|port| port.to_string()).unwrap_or_default();
        template.replace("{port}", &port).replace("{index}", &index.to_string()).replace("{member}", &member.id)
    }
}

/// Where a member answers.
pub(super) fn address_of(host: &str, port: u16) -> Option<Url> {
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    let url = Url::parse(&format!("http://{host}:{port}")).ok()?;
    // A host with a slash or an `@` in it would make an address of something else.
    (url.path() == "/" && url.username().is_empty() && url.port_or_known_default() == Some(port)).then_some(url)
}

impl StopSignal {
    pub(super) fn signal(self) -> Signal {
        match self {
            Self::Term => Signal::TERM,
            Self::Int => Signal::INT,
            Self::Quit => Signal::QUIT,
            Self::Hup => Signal::HUP,
            Self::Usr1 => Signal::USR1,
            Self::Usr2 => Signal::USR2,
            Self::Kill => Signal::KILL,
        }
    }
}

const DEFAULT_GRACE: Duration = Duration::from_secs(30);
