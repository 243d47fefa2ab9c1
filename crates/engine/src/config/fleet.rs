//! Who uses the key, and how it is told to read it again.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};

use keyroll_rotation::gate::{Declared, MemberKind};
use serde::Serialize;
use url::Url;

use super::{FilePath, NonEmpty, Period, StatusSet};

/// A group of members that reload in the same way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Consumer {
    /// Unique within the document: as written, or the kind with a number.
    pub name: String,
    /// What they are.
    pub kind: ConsumerKind,
    /// Whether they answer requests (`worker: true` says no).
    pub role: MemberKind,
    /// Whether there may be none of them (`mayBeEmpty: true`).
    pub emptiness: Declared,
    /// How they reload.
    pub reload: ReloadPlan,
}

/// What members are.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ConsumerKind {
    /// Local processes that Keyroll starts and restarts.
    Process(ProcessFleet),
    /// The user's own commands list and reload them.
    Command(CommandFleet),
    /// Addresses that never change; the members read the key again by themselves.
    Static(StaticFleet),
}

/// How members take up a new configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ReloadPlan {
    /// They read the key again by themselves.
    Hot,
    /// They are restarted, or signalled by the user's command.
    Roll {
        /// How many at a time.
        parallel: NonZeroU32,
        /// How many more than usual may run during an emergency's roll; zero where the fleet can't.
        surge: u32,
    },
}

/// Local processes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ProcessFleet {
    /// Program and arguments; `{port}` and `{index}` stand for the instance's own.
    pub command: NonEmpty<String>,
    /// How many, and where they listen.
    pub instances: Instances,
    /// The host that a member's address names.
    pub host: String,
    /// The folder in which they run; the file's own folder unless it is given.
    pub working_directory: FilePath,
    /// Environment files that are read at every start, later ones last.
    pub env_files: Vec<FilePath>,
    /// Further variables that are no secrets; `{port}` and `{index}` as in `command`.
    pub env: BTreeMap<String, String>,
    /// When an instance counts as ready.
    pub ready: Readiness,
    /// How an instance is ended.
    pub stop: Stopping,
    /// The folder for their output; the state folder unless it is given.
    pub logs: Option<FilePath>,
}

/// How many processes there are.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "a process has a port or it has none")]
pub enum Instances {
    /// One for each port.
    Ports(NonEmpty<NonZeroU16>),
    /// Without ports: workers.
    Count(NonZeroU16),
}

impl Instances {
    /// How many.
    pub fn count(&self) -> usize {
        match self {
            Self::Ports(ports) => ports.len(),
            Self::Count(count) => usize::from(count.get()),
        }
    }
}

/// When a process counts as ready.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Readiness {
    /// What shows it.
    pub check: ReadyCheck,
    /// How long it may take.
    pub timeout: Period,
}

/// What shows that a process is ready.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ReadyCheck {
    /// A GET answers with one of these states.
    Http {
        /// The path.
        path: String,
        /// The states.
        status: StatusSet,
    },
    /// The port takes connections.
    Connect,
    /// It is still running after this time: for processes without a port.
    Alive {
        /// How long.
        after: Period,
    },
}

/// How a process is ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Stopping {
    /// The signal that asks it to.
    pub signal: StopSignal,
    /// How long it has before it is killed.
    pub grace: Period,
}

/// The signals that ask a process to end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
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
    /// SIGKILL.
    Kill,
}

/// Members behind the user's own commands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CommandFleet {
    /// Lists the members.
    pub list: CommandLine,
    /// Reloads one; absent where only all of them can be reloaded, or where they read the key again by themselves.
    pub reload: Option<CommandLine>,
    /// Reloads all.
    pub reload_all: Option<CommandLine>,
    /// How long each command may take.
    pub timeout: Period,
    /// The folder in which they run.
    pub working_directory: FilePath,
}

/// A command of the user's.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "with a shell or without one")]
pub enum CommandLine {
    /// Program and arguments, handed over as they are.
    Argv(NonEmpty<String>),
    /// A line for `sh -c`, because `shell: true` asked for it.
    Shell(String),
}

/// Members whose addresses never change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StaticFleet {
    /// Where they answer.
    pub members: NonEmpty<Url>,
}
