//! From the command line to an engine: the file is read, the adapters are built, Ctrl-C is wired.

use std::future::Future;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use keyroll_engine::config::{LoadError, SessionKey};
use keyroll_engine::{Engine, InterruptSender, Operator, interrupt};

use crate::args::Global;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::view::View;

/// A configuration that was read, and where its records live.
pub(crate) struct Setup {
    pub(crate) config: SessionKey,
    pub(crate) state_dir: PathBuf,
    pub(crate) operator: Operator,
}

impl Setup {
    /// Reads the file that the command line names.
    pub(crate) fn load(global: &Global) -> Result<Self, Failure> {
        let config = load_config(global)?;
        let state_dir = state_root(global)?.join(config.name.as_str());
        let operator = Operator { name: operator_name(global), host: host_name() };
        Ok(Self { config, state_dir, operator })
    }

    /// An engine over this configuration, with `view` watching it.
    pub(crate) fn engine(&self, view: &Arc<View>) -> Result<(Engine, Stop), Failure> {
        let assembly = keyroll_engine::assemble(&self.config, &self.state_dir)
            .map_err(|err| Failure::from_error(Exit::Usage, &err))?;
        let (sender, receiver) = interrupt();
        let engine = Engine::new(assembly, &self.state_dir, self.operator.clone())
            .with_document(self.config.clone())
            .with_observer(view.clone())
            .with_interrupt(receiver);
        Ok((engine, Stop::new(sender, view)))
    }
}

/// How Ctrl-C stops what runs.
pub(crate) struct Stop {
    sender: InterruptSender,
    view: Arc<View>,
}

impl Stop {
    /// Asks through `sender`, and says so in `view`.
    pub(crate) fn new(sender: InterruptSender, view: &Arc<View>) -> Self {
        Self { sender, view: Arc::clone(view) }
    }

    /// The first Ctrl-C (or SIGTERM) asks to stop where the rotation can be resumed; nothing is cut in two. Whoever can't wait
    /// for that says it again: a process may die anywhere, and this one is then as good as killed.
    async fn heed(self) {
        stop_signal().await;
        self.view
            .line("stopping behind the step that is being taken … (Ctrl-C again: at once, which can be resumed too)");
        self.sender.interrupt();
        stop_signal().await;
        self.view.finish();
        std::process::exit(i32::from(Exit::Interrupted.code()));
    }
}

/// Reads and checks the configuration file; its errors show the place.
pub(crate) fn load_config(global: &Global) -> Result<SessionKey, Failure> {
    SessionKey::load(&global.config).map_err(|err| config_failure(&err))
}

/// A configuration that can't be read, every mistake with its place.
pub(crate) fn config_failure(err: &LoadError) -> Failure {
    match err {
        LoadError::Invalid(errors) => Failure::new(Exit::Usage, format!("the configuration is not valid\n{errors}")),
        LoadError::Read { source, .. } if source.kind() == ErrorKind::NotFound => {
            Failure::from_error(Exit::Usage, err).next("write one with `keyroll init`, or name another with --config")
        }
        other => Failure::from_error(Exit::Usage, other)
            .next("it has to be a text file that this user may read; name another with --config"),
    }
}

/// Runs `work` to its end.
pub(crate) fn block_on<T>(stop: Option<Stop>, work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|err| Failure::new(Exit::Failed, format!("the process can't start its threads: {err}")))?;
    Ok(runtime.block_on(async move {
        if let Some(stop) = stop {
            tokio::spawn(stop.heed());
        }
        work.await
    }))
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

fn state_root(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(dir) = &global.state_dir {
        return Ok(dir.clone());
    }
    if let Some(dir) = std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty()) {
        return Ok(PathBuf::from(dir).join("keyroll"));
    }
    std::env::var_os("HOME").filter(|dir| !dir.is_empty()).map_or_else(
        || {
            Err(Failure::new(Exit::Usage, "there is no place for the journal: HOME is not set")
                .next("give --state-dir DIR"))
        },
        |home| Ok(PathBuf::from(home).join(".local/state/keyroll")),
    )
}

fn operator_name(global: &Global) -> String {
    global
        .operator
        .clone()
        .or_else(|| std::env::var("USER").ok())
        .or_else(|| std::env::var("LOGNAME").ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| user_name(rustix::process::getuid().as_raw()))
}

/// The user's name where the environment does not say it, as under cron or in a container.
fn user_name(uid: u32) -> String {
    let number = uid.to_string();
    std::fs::read_to_string("/etc/passwd")
        .ok()
        .and_then(|users| {
            let mut fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
            fields.find(|fields| fields.get(2) == Some(&number.as_str())).map(|fields| fields[0].to_owned())
        })
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| format!("uid {uid}"))
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
