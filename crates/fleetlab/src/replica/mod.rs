//! The application that the lab rotates keys under: one real process per replica, in the manner of one of six systems.
//!
//! It reads its key file once, at its start. What differs between the systems is small and decides everything: which keys a
//! replica takes from the file, and what it does with a session that it can't read.

mod app;
mod args;
mod keys;
mod rows;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use keyroll_keyring::Secret;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

pub use app::AppError;
pub use args::{Args, ArgsError};
pub use keys::KeysError;
pub(crate) use keys::{generate, render};

use crate::http::{self, Stopper};
use app::App;
use keys::Keys;

/// Which system a replica stands for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Mode {
    /// Keyroll's own: sealed sessions, a ring file, a report of its keys.
    Sealed,
    /// One key and no other; a cookie that does not open is refused and stays (`actix-session`).
    OneKey,
    /// Rows on the server under one key; a row that does not open is deleted; each use seals the row again.
    Rows,
    /// A current secret and a list of previous ones that nobody reads (an `oauth2-proxy` with a rotation script).
    PreviousIgnored,
    /// A current secret and an old one; a cookie that opens under neither is overwritten by an empty session, and each use
    /// seals the cookie again (Rails).
    SwapAcceptOld,
    /// A list of keys of which the last is active; a session under an unknown key id is refused.
    AppendRing,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Sealed, Self::OneKey, Self::Rows, Self::PreviousIgnored, Self::SwapAcceptOld, Self::AppendRing];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::OneKey => "one-key",
            Self::Rows => "rows",
            Self::PreviousIgnored => "previous-ignored",
            Self::SwapAcceptOld => "swap-accept-old",
            Self::AppendRing => "append-ring",
        }
    }

    /// The mode of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// Serves until SIGTERM or SIGINT, or until its owner is gone; answers what it has begun, and returns.
pub async fn run(args: Args) -> Result<(), ReplicaError> {
    // From here on a signal is a request to stop and no longer the end of the process.
    let mut terminate = signal(SignalKind::terminate()).map_err(ReplicaError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ReplicaError::Signals)?;
    let file = std::fs::read(&args.keys).map(Secret::from_bytes);
    let file = file.map_err(|source| ReplicaError::ReadKeys { path: args.keys.clone(), source })?;
    let keys =
        Keys::parse(args.mode, &file).map_err(|source| ReplicaError::Keys { path: args.keys.clone(), source })?;
    drop(file);
    let app = App::new(&args, keys)?;
    let listener = bind(&args).await?;
    let (stopper, stop) = Stopper::pair();
    let server = tokio::spawn(http::serve(listener, stop, move |request| {
        let app = app.clone();
        async move { app.answer(&request) }
    }));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = gone(args.owner) => {}
    }
    drop(stopper);
    server.await.map_err(|err| ReplicaError::Serve(io::Error::other(err)))?.map_err(ReplicaError::Serve)
}

/// Why a replica does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The process can't be told to stop, so it does not start.
    #[error("signals can't be received")]
    Signals(#[source] io::Error),
    /// The key file can't be read.
    #[error("the key file `{}` can't be read", path.display())]
    ReadKeys {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key file holds no keys for this mode.
    #[error("the key file `{}` does not fit this replica's mode", path.display())]
    Keys {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeysError,
    },
    /// The keys are there and the application can't work with them.
    #[error("the application does not start")]
    App(#[from] AppError),
    /// The port is taken.
    #[error("port {port} can't be listened on")]
    Bind {
        /// Which port.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server broke.
    #[error("the server ended")]
    Serve(#[source] io::Error),
}

/// A replica that is being replaced may hold the port for a moment longer.
async fn bind(args: &Args) -> Result<TcpListener, ReplicaError> {
    let mut attempts = 0;
    loop {
        match TcpListener::bind(args.address()).await {
            Ok(listener) => return Ok(listener),
            Err(err) if err.kind() == io::ErrorKind::AddrInUse && attempts < 50 => {
                attempts += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(source) => return Err(ReplicaError::Bind { port: args.port, source }),
        }
    }
}

/// Returns when the owner is gone; never if there is none.
///
/// The lab ends its replicas itself. This is for the day on which the lab is killed.
async fn gone(owner: Option<u32>) {
    let owner = owner.and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    let Some(owner) = owner else { return std::future::pending().await };
    while rustix::process::test_kill_process(owner) != Err(rustix::io::Errno::SRCH) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
