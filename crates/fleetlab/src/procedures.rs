//! The five orders that runbooks prescribe today, as code.
//!
//! Each follows its runbook to the letter, the wait included; only a runbook's days are one session lifetime here. Nothing is done
//! badly on purpose: every replica is restarted alone, gracefully, and the next one only when it is healthy again. The loss
//! comes from the order alone.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use keyroll_keyring::{Key, KeyId};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use crate::http;
use crate::replica::{self, KeysError, Mode};
use crate::scene::{Scene, SceneError};
use crate::supervisor::{Supervisor, SupervisorError};

/// A procedure that does not know Keyroll.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the demo compares with these five")]
pub enum Procedure {
    /// One key, overwritten; rolling restart.
    OverwriteOneKey,
    /// The key of the rows on the server, overwritten; rolling restart. Unreadable rows are deleted by the application.
    OverwriteRows,
    /// The new secret is current, the old one goes into a variable that the application never reads.
    PreviousIgnored,
    /// The new secret is active and the old one accepted, in one write.
    SwapAndAcceptOld,
    /// The new key is appended to a ring whose last key is active.
    AppendToRing,
}

/// How fast things go.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From one replica's return to the restart of the next, as a rollout's readiness delay has it.
    pub between_restarts: Duration,
    /// The runbook's wait before the old key is removed.
    pub before_removal: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { between_restarts: Duration::from_millis(1500), before_removal: Duration::from_secs(20) }
    }
}

impl Procedure {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::OverwriteOneKey, Self::OverwriteRows, Self::PreviousIgnored, Self::SwapAndAcceptOld, Self::AppendToRing];

    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::OverwriteOneKey => "overwrite-one-key",
            Self::OverwriteRows => "overwrite-rows",
            Self::PreviousIgnored => "previous-ignored",
            Self::SwapAndAcceptOld => "swap-and-accept-old",
            Self::AppendToRing => "append-to-ring",
        }
    }

    /// The application that it is written for.
    pub fn mode(self) -> Mode {
        match self {
            Self::OverwriteOneKey => Mode::OneKey,
            Self::OverwriteRows => Mode::Rows,
            Self::PreviousIgnored => Mode::PreviousIgnored,
            Self::SwapAndAcceptOld => Mode::SwapAcceptOld,
            Self::AppendToRing => Mode::AppendRing,
        }
    }

    /// What its runbook says, in a line.
    pub fn summary(self) -> &'static str {
        match self {
            Self::OverwriteOneKey => "overwrite the one key, rolling restart",
            Self::OverwriteRows => "overwrite the key of server-side sessions, rolling restart",
            Self::PreviousIgnored => {
                "new secret current, old one in a `previous` variable, rolling restart, wait, remove"
            }
            Self::SwapAndAcceptOld => "new key active and old key accepted in one write, rolling restart, wait, remove",
            Self::AppendToRing => "append the new key to the ring (last is active), rolling restart, wait, remove",
        }
    }

    /// Carries it out, from `old` to a new key.
    pub async fn perform(
        self,
        scene: &Scene,
        supervisor: &dyn Supervisor,
        old: &Key,
        pace: Pace,
    ) -> Result<(), ProcedureError> {
        let new = replica::generate(self.mode(), KeyId(old.id().0 + 1))?;
        let still_there = match self {
            Self::OverwriteOneKey | Self::OverwriteRows => None,
            Self::PreviousIgnored | Self::SwapAndAcceptOld | Self::AppendToRing => Some(old),
        };
        scene.write_keys(&replica::render(self.mode(), &new, still_there)?)?;
        rolling_restart(scene, supervisor, pace).await?;
        if still_there.is_some() {
            sleep(pace.before_removal).await;
            scene.write_keys(&replica::render(self.mode(), &new, None)?)?;
            rolling_restart(scene, supervisor, pace).await?;
        }
        Ok(())
    }
}

/// Waits until every replica of `scene` is healthy.
pub async fn all_healthy(scene: &Scene) -> Result<(), ProcedureError> {
    for replica in 0..scene.addresses().len() {
        healthy(scene, replica, None).await?;
    }
    Ok(())
}

/// Why a procedure stopped half way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcedureError {
    /// No new key.
    #[error("there is no new key; nothing was changed")]
    Keys(#[from] KeysError),
    /// The key file was not written.
    #[error("the keys were not written")]
    Write(#[from] SceneError),
    /// A replica was not restarted.
    #[error("the rolling restart stopped")]
    Restart(#[from] SupervisorError),
    /// A replica did not come back.
    #[error("replica {replica} at {address} is not healthy after {} s{}", DEADLINE.as_secs(), quoted(said))]
    NotBack {
        /// Which one.
        replica: usize,
        /// Where it should be.
        address: SocketAddr,
        /// The last line of its log, if it wrote any.
        said: Option<String>,
    },
}

async fn rolling_restart(scene: &Scene, supervisor: &dyn Supervisor, pace: Pace) -> Result<(), ProcedureError> {
    for (replica, address) in scene.addresses().into_iter().enumerate() {
        if replica > 0 {
            sleep(pace.between_restarts).await;
        }
        let before = boot(address).await;
        supervisor.restart(replica).await?;
        healthy(scene, replica, before.as_deref()).await?;
    }
    Ok(())
}

/// Waits until another process than the one that booted as `before` is healthy.
async fn healthy(scene: &Scene, replica: usize, before: Option<&str>) -> Result<(), ProcedureError> {
    let address = scene.addresses()[replica];
    let back = async {
        loop {
            if let Some(boot) = boot(address).await
                && Some(boot.as_str()) != before
            {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(DEADLINE, back).await.map_err(|_| {
        let log = std::fs::read_to_string(scene.log(replica)).ok();
        let said = log.as_deref().and_then(|log| log.lines().last()).map(str::to_owned);
        ProcedureError::NotBack { replica, address, said }
    })
}

fn quoted(said: &Option<String>) -> String {
    said.as_ref().map(|line| format!("; it said: {line}")).unwrap_or_default()
}

async fn boot(address: SocketAddr) -> Option<String> {
    #[derive(Deserialize)]
    struct Health {
        boot: String,
    }
    let request = Request::get("/healthz").header("host", "lab.invalid").body(Full::default()).ok()?;
    let response = http::exchange(address, request).await.ok()?;
    let health: Health = serde_json::from_slice(response.body()).ok()?;
    response.status().is_success().then_some(health.boot)
}

const DEADLINE: Duration = Duration::from_secs(15);
