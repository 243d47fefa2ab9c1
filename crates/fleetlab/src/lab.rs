//! A run from its first user to its last: the replicas of a scene, the front before them, the users on it.
//!
//! Whoever rotates does so between [`Lab::start`] and [`Lab::finish`]. The lab does not know who it is.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use keyroll_fleetlab::lab::{Lab, LabOptions};
//! use keyroll_fleetlab::procedures::{Pace, Procedure};
//! use keyroll_fleetlab::scene::{Scene, SceneOptions};
//! use keyroll_fleetlab::supervisor::LocalProcesses;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let procedure = Procedure::AppendToRing;
//! let lifetime = Duration::from_secs(20);
//! let (scene, first_key) = Scene::prepare(SceneOptions { mode: procedure.mode(), replicas: 3, lifetime })?;
//! let scene = Arc::new(scene);
//! let processes = Arc::new(LocalProcesses::of(&scene, std::env::current_exe()?, "demo-replica"));
//! let lab = Lab::start(scene, processes, LabOptions::default()).await?;
//! let run = lab.run(procedure, &first_key, Pace::default()).await?;
//! assert!(run.sessions.lost > 0);
//! # Ok(())
//! # }
//! ```

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyroll_keyring::Key;

use crate::front::Front;
use crate::procedures::{self, Pace, Procedure, ProcedureError};
use crate::report::{Run, Sessions};
use crate::scene::Scene;
use crate::supervisor::{Supervisor, SupervisorError};
use crate::users::{Crowd, CrowdError, CrowdOptions, Gauge, Tally};

/// A fleet in use.
pub struct Lab {
    // In this order: users go before the front, the front before the replicas, the folder last.
    crowd: Crowd,
    front: Front,
    supervisor: Arc<dyn Supervisor>,
    scene: Arc<Scene>,
    options: LabOptions,
    began: Instant,
}

/// What is equal in all runs that are to be compared.
#[derive(Clone, Copy, Debug)]
pub struct LabOptions {
    /// How many users.
    pub users: u32,
    /// What decides their doings.
    pub seed: u64,
    /// Between two requests of a user, at least and at most.
    pub think: (Duration, Duration),
    /// How long the users browse before anything happens.
    pub warm_up: Duration,
    /// How long they browse after it.
    pub tail: Duration,
    /// When they go home at the latest; a run that takes longer is not judged.
    pub longest: Duration,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self {
            users: 60,
            seed: 1,
            think: (Duration::from_millis(100), Duration::from_millis(200)),
            warm_up: Duration::from_millis(1500),
            tail: Duration::from_millis(1500),
            longest: Duration::from_secs(300),
        }
    }
}

impl Lab {
    /// Starts the replicas, waits until they are healthy, and lets the users in.
    pub async fn start(
        scene: Arc<Scene>,
        supervisor: Arc<dyn Supervisor>,
        options: LabOptions,
    ) -> Result<Self, LabError> {
        let began = now();
        supervisor.start().await?;
        procedures::all_healthy(&scene).await?;
        let addresses = scene.addresses();
        let front = Front::start(addresses.clone()).await.map_err(LabError::Front)?;
        let crowd = Crowd::start(CrowdOptions {
            front: front.address(),
            users: options.users,
            replicas: u32::try_from(addresses.len()).unwrap_or(u32::MAX),
            lifetime: scene.lifetime(),
            think: options.think,
            longest: options.longest,
            seed: options.seed,
        });
        Ok(Self { crowd, front, supervisor, scene, options, began })
    }

    /// Carries out a naive procedure, from warm-up to judgement.
    pub async fn run(self, procedure: Procedure, old: &Key, pace: Pace) -> Result<Run, LabError> {
        self.warm_up().await;
        procedure.perform(&self.scene, &*self.supervisor, old, pace).await?;
        self.finish(procedure.name()).await
    }

    /// Lets the users browse for a while before anything happens.
    pub async fn warm_up(&self) {
        tokio::time::sleep(self.options.warm_up).await;
    }

    /// Where the users knock.
    pub fn front(&self) -> std::net::SocketAddr {
        self.front.address()
    }

    /// The scene.
    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// A view of what the users see, for a display.
    pub fn gauge(&self) -> Gauge {
        self.crowd.gauge()
    }

    /// Lets the users browse for a while longer, has them judge, and ends everything.
    pub async fn finish(self, procedure: impl Into<String>) -> Result<Run, LabError> {
        tokio::time::sleep(self.options.tail).await;
        if self.began.elapsed() >= self.options.longest {
            return Err(LabError::TooLong { longest: self.options.longest });
        }
        let (tally, sessions) = self.crowd.finish().await?;
        let seconds = self.began.elapsed().as_secs_f64();
        self.front.stop().await;
        self.supervisor.stop().await?;
        Ok(run(procedure.into(), &self.scene, &self.options, tally, sessions, seconds))
    }
}

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The round-robin does not listen.
    #[error("the round-robin in front of the replicas can't listen")]
    Front(#[source] io::Error),
    /// The replicas do not run.
    #[error("the replicas can't be started or stopped")]
    Supervisor(#[from] SupervisorError),
    /// The procedure stopped half way.
    #[error("the procedure was not carried out to its end")]
    Procedure(#[from] ProcedureError),
    /// The users have gone home.
    #[error("the run took longer than {} s, and its users have gone home; it was not judged", longest.as_secs())]
    TooLong {
        /// Their limit.
        longest: Duration,
    },
    /// The users were interrupted.
    #[error("the run was not judged")]
    Crowd(#[from] CrowdError),
}

fn run(procedure: String, scene: &Scene, options: &LabOptions, tally: Tally, sessions: Sessions, seconds: f64) -> Run {
    Run {
        procedure,
        replicas: u32::try_from(scene.addresses().len()).unwrap_or(u32::MAX),
        users: options.users,
        requests: tally.requests,
        sessions,
        refused: tally.refused,
        // Tenths are what a person compares.
        seconds: (seconds * 10.0).round() / 10.0,
    }
}

#[expect(clippy::disallowed_methods, reason = "a run takes place in real time")]
fn now() -> Instant {
    Instant::now()
}
