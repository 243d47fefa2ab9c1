//! Who starts, restarts and ends the replicas.
//!
//! [`LocalProcesses`] ends them by their process group when it is dropped, also while a panic unwinds. A demo that leaves
//! processes behind would be a poor guest.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::scene::Scene;

/// Starts and restarts the replicas of a scene, which are numbered from 0.
#[async_trait]
pub trait Supervisor: Send + Sync {
    /// Starts all replicas. Returns when they are started, not when they are healthy.
    async fn start(&self) -> Result<(), SupervisorError>;

    /// Lets one replica finish what it has begun, and starts it again. Returns when it is started, not when it is healthy.
    async fn restart(&self, replica: usize) -> Result<(), SupervisorError>;

    /// Ends all replicas.
    async fn stop(&self) -> Result<(), SupervisorError>;
}

/// Replicas as child processes, each in a process group of its own.
#[derive(Debug)]
pub struct LocalProcesses {
    program: PathBuf,
    subcommand: OsString,
    lines: Vec<Vec<OsString>>,
    logs: Vec<PathBuf>,
    children: Mutex<Vec<Option<Group>>>,
}

impl LocalProcesses {
    /// The replicas of `scene`, each started as `program subcommand ...`.
    pub fn of(scene: &Scene, program: impl Into<PathBuf>, subcommand: impl Into<OsString>) -> Self {
        let lines = scene.command_lines();
        Self {
            program: program.into(),
            subcommand: subcommand.into(),
            children: Mutex::new(lines.iter().map(|_| None).collect()),
            logs: (0..lines.len()).map(|replica| scene.log(replica)).collect(),
            lines,
        }
    }

    /// The process ids of the replicas that run, in order.
    pub async fn pids(&self) -> Vec<u32> {
        self.children.lock().await.iter().flatten().filter_map(|group| group.child.id()).collect()
    }

    fn spawn(&self, replica: usize) -> Result<Group, SupervisorError> {
        let spawn = || {
            let log = File::options().create(true).append(true).open(&self.logs[replica])?;
            let mut command = Command::new(&self.program);
            command.arg(&self.subcommand).args(&self.lines[replica]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0).kill_on_drop(true);
            command.spawn()
        };
        let child = spawn().map_err(|source| SupervisorError::new("started", replica, source))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        Ok(Group { child, pid })
    }
}

#[async_trait]
impl Supervisor for LocalProcesses {
    async fn start(&self) -> Result<(), SupervisorError> {
        for (replica, child) in self.children.lock().await.iter_mut().enumerate() {
            *child = Some(self.spawn(replica)?);
        }
        Ok(())
    }

    async fn restart(&self, replica: usize) -> Result<(), SupervisorError> {
        let mut children = self.children.lock().await;
        let slot = children.get_mut(replica).ok_or_else(|| {
            SupervisorError::new("restarted", replica, io::Error::other("there is no replica with this number"))
        })?;
        if let Some(group) = slot.take() {
            group.end().await.map_err(|source| SupervisorError::new("stopped", replica, source))?;
        }
        *slot = Some(self.spawn(replica)?);
        Ok(())
    }

    async fn stop(&self) -> Result<(), SupervisorError> {
        let mut children = self.children.lock().await;
        // All are told before any is waited for.
        for group in children.iter().flatten() {
            group.signal(Signal::TERM);
        }
        for (replica, slot) in children.iter_mut().enumerate() {
            if let Some(group) = slot.take() {
                group.end().await.map_err(|source| SupervisorError::new("stopped", replica, source))?;
            }
        }
        Ok(())
    }
}

/// Why a replica was not started, restarted or stopped.
#[derive(Debug, thiserror::Error)]
#[error("replica {replica} was not {what}")]
pub struct SupervisorError {
    what: &'static str,
    replica: usize,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl SupervisorError {
    /// `what` completes "replica 1 was not ...".
    pub fn new(
        what: &'static str,
        replica: usize,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { what, replica, source: source.into() }
    }
}

/// A replica and whatever it has started.
#[derive(Debug)]
struct Group {
    child: Child,
    pid: Option<Pid>,
}

impl Group {
    /// Asks, waits, and insists where asking does not help.
    async fn end(mut self) -> io::Result<()> {
        self.signal(Signal::TERM);
        if timeout(GRACE, self.child.wait()).await.is_err() {
            self.signal(Signal::KILL);
            self.child.wait().await?;
        }
        // It has been waited for, so its number may belong to somebody else from now on.
        self.pid = None;
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            // A group that is gone needs no signal.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

const GRACE: Duration = Duration::from_secs(6);
