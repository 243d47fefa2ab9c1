//! A fleet of real processes with users on it, and a driver that is killed while it rotates there.
//!
//! One fleet lives through many rotations: each begins where the last one ended, as in a real installation, so the key of the
//! one before is destroyed at the beginning of the next.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use keyroll_adapters::fleets::{Fleet, MemberState, ProcessFleet};
use keyroll_engine::ExitKind;
use keyroll_engine::config::{ConsumerKind, SessionKey};
use keyroll_engine::journal::JournalReader;
use keyroll_fleetlab::lab::{Lab, LabOptions};
use keyroll_fleetlab::procedures::{Pace, Procedure};
use keyroll_fleetlab::replica::Mode;
use keyroll_fleetlab::report::Run;
use keyroll_fleetlab::scene::{Described, Scene, SceneOptions};
use keyroll_fleetlab::supervisor::{LocalProcesses, Supervisor, SupervisorError};
use libtest_mimic::Failed;
use tokio::process::{Child, Command};

use super::checks::{Books, World};

/// A fleet, its users, and what its keys' store has ever held.
pub(crate) struct Lane {
    lab: Lab,
    books: Books,
    place: Place,
}

/// Where the drivers of a lane find what they drive.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The folder of the key file.
    pub(crate) folder: PathBuf,
    /// The key file.
    pub(crate) keys: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) state_dir: PathBuf,
}

/// When a driver is killed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kill {
    /// By itself, at the first point of this name.
    At(String),
    /// By itself, at the n-th point that it passes.
    AtNumber(u64),
    /// From outside, after this time.
    After(Duration),
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(name) => f.write_str(name),
            Self::AtNumber(number) => write!(f, "point number {number} of the run that takes it up"),
            Self::After(time) => write!(f, "after {} ms", time.as_millis()),
        }
    }
}

/// What became of a rotation.
pub(crate) struct Told {
    /// The kills that happened, in order.
    pub(crate) killed: Vec<Kill>,
    /// The kills that never came to pass, because the rotation had ended.
    pub(crate) missed: Vec<Kill>,
}

impl Lane {
    /// Starts the fleet, lets the users in, and rotates once without being killed.
    pub(crate) async fn start(seed: u64) -> Result<Self, Failed> {
        let (scene, _) = Scene::prepare(scene_options(Mode::Sealed))?;
        let scene = Arc::new(scene);
        let config = scene.folder().join("keyroll.yaml");
        let described =
            Described { name: "crash", program: Path::new(CRASH_POINT), subcommand: "demo-replica", escrow: "1s" };
        std::fs::write(&config, scene.keyroll_yaml(&described))?;
        let place = Place {
            folder: scene.folder().to_owned(),
            keys: scene.keys(),
            state_dir: scene.folder().join("state"),
            config,
        };
        let supervisor = Arc::new(Processes { fleet: fleet_of(&place)? });
        let lab = Lab::start(scene, supervisor, lab_options(seed)).await?;
        lab.warm_up().await;
        let books = Books::open(&place).await?;
        let mut lane = Self { lab, books, place };
        lane.rotate(Vec::new()).await?;
        Ok(lane)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// One rotation, with a driver that is killed and started again as often as `kills` says. All that must hold is checked
    /// after each kill and at the end.
    pub(crate) async fn rotate(&mut self, kills: Vec<Kill>) -> Result<Told, Failed> {
        let story = format!("{kills:?}");
        self.killed_and_resumed(kills).await.map_err(|error| in_story(&story, &error))
    }

    async fn killed_and_resumed(&mut self, kills: Vec<Kill>) -> Result<Told, Failed> {
        let began = self.books.look().await?;
        let answered = self.answered();
        let mut told = Told { killed: Vec::new(), missed: Vec::new() };
        let mut ended = false;
        for kill in kills {
            if ended || (!told.killed.is_empty() && self.books.look().await?.is_closed_since(&began)) {
                told.missed.push(kill);
                continue;
            }
            match driven(&self.place, "ada", &[], Some(&kill)).await? {
                End::Killed => told.killed.push(kill),
                End::Exit(code, said) => {
                    done(code, &said)?;
                    told.missed.push(kill);
                    ended = true;
                }
            }
            self.books.look().await?;
            self.nobody_lost()?;
        }
        if !ended {
            // What an operator would type: the same command again. Behind its very end that would begin the next rotation.
            let again = match !told.killed.is_empty() && self.books.look().await?.is_closed_since(&began) {
                true => "complete",
                false => "rotate",
            };
            match driven(&self.place, "ada", &[again], None).await? {
                End::Killed => return Err("a driver was killed by somebody else".into()),
                End::Exit(code, said) => done(code, &said)?,
            }
        }
        self.books.check_one_rotation(&began).await?;
        self.nobody_lost()?;
        self.everybody_serves().await?;
        match self.answered() - answered {
            // Whoever asks nothing notices nothing.
            few @ 0..FEWEST_ANSWERS => Err(format!("the users had only {few} answers during the rotation").into()),
            _ => Ok(told),
        }
    }

    /// What the rotation has to be after whatever drove it has ended.
    pub(crate) async fn check_one_rotation(&mut self, began: &World) -> Result<(), Failed> {
        self.books.check_one_rotation(began).await?;
        self.nobody_lost()
    }

    /// The same for a rotation that was driven from another state folder, whose journal is not at hand.
    pub(crate) async fn check_store(&mut self, began: &World) -> Result<(), Failed> {
        self.books.check_store(began).await?;
        self.nobody_lost()
    }

    pub(crate) async fn look(&mut self) -> Result<World, Failed> {
        self.books.look().await
    }

    /// One rotation that nobody kills.
    pub(crate) async fn points(&mut self) -> Result<Points, Failed> {
        let began = self.books.look().await?;
        let started = now();
        let End::Exit(code, said) = driven(&self.place, "ada", &["--count"], None).await? else {
            return Err("a driver was killed by somebody else".into());
        };
        let took = started.elapsed();
        done(code, &said)?;
        self.check_one_rotation(&began).await?;
        let all: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("point ")).collect();
        let mut seen = BTreeSet::new();
        let names = all.iter().filter(|name| seen.insert(**name)).map(|name| (*name).to_owned()).collect();
        Ok(Points { names, passed: all.len(), took })
    }

    /// Sends the users home, and hears what they have to say.
    pub(crate) async fn finish(self) -> Result<Run, Failed> {
        let run = self.lab.finish("keyroll").await?;
        match run.sessions.lost {
            0 => Ok(run),
            lost => Err(format!("{lost} of {} sessions were lost", run.sessions.established).into()),
        }
    }

    /// Ends the fleet of a rotation that failed; nobody is asked.
    pub(crate) async fn abandon(self) {
        // Its replicas end with this process in any case.
        let _ = self.lab.finish("abandoned").await;
    }

    fn answered(&self) -> u64 {
        let tally = self.lab.gauge().read();
        tally.requests - tally.refused
    }

    /// A driver that died between the two halves of a restart has left a replica stopped, and the next one has to start it.
    async fn everybody_serves(&self) -> Result<(), Failed> {
        let members = fleet_of(&self.place)?.members().await?;
        match members.iter().all(|member| member.state == MemberState::Ready) {
            true => Ok(()),
            false => Err(format!("not every replica serves: {members:?}").into()),
        }
    }

    /// Leaves a replica as a driver leaves it that dies in the middle of its restart: before the old run is told to stop, or when it
    /// is gone and the new one is not yet started.
    async fn half_restarted(&self, half: Half) -> Result<(), Failed> {
        let fleet = fleet_of(&self.place)?;
        let members = fleet.members().await?;
        let member = members.first().ok_or("there is no replica")?;
        let path = self.place.state_dir.join("fleet-replica").join("fleet.json");
        let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let recorded = &mut record["members"][&member.id.0];
        recorded["phase"] = "starting".into();
        let pid = recorded["process"]["pid"].as_i64().ok_or("the record has no such process")?;
        std::fs::write(&path, serde_json::to_vec_pretty(&record)?)?;
        if half == Half::Stopped {
            let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).ok_or("it has no pid")?;
            rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        }
        Ok(())
    }

    fn nobody_lost(&self) -> Result<(), Failed> {
        match self.lab.gauge().read().lost {
            0 => Ok(()),
            lost => Err(format!("{lost} sessions were lost").into()),
        }
    }
}

/// How far the restart of a replica was when its driver died.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Half {
    Announced,
    Stopped,
}

/// A driver that dies in the middle of a restart, where no point lies between: the fleet does it in one call.
pub(crate) async fn half_a_restart() -> Result<(), Failed> {
    let mut lane = Lane::start(98).await?;
    for half in [Half::Announced, Half::Stopped] {
        let began = lane.look().await?;
        let dead = Kill::At("promoting/before reload a member".to_owned());
        match driven(&lane.place, "ada", &[], Some(&dead)).await? {
            End::Killed => lane.half_restarted(half).await?,
            End::Exit(code, said) => {
                return Err(format!("the driver was not killed: it ended with {code}: {said}").into());
            }
        }
        match driven(&lane.place, "ada", &["rotate"], None).await? {
            End::Killed => return Err("a driver was killed by somebody else".into()),
            End::Exit(code, said) => done(code, &said)?,
        }
        lane.check_one_rotation(&began).await?;
        lane.everybody_serves().await.map_err(|error| in_story(&format!("{half:?}"), &error))?;
    }
    lane.finish().await.map(drop)
}

/// The points of a rotation that nobody killed.
pub(crate) struct Points {
    /// Each name once, in the order in which they came.
    pub(crate) names: Vec<String>,
    /// How often any of them was passed.
    pub(crate) passed: usize,
    /// How long the rotation took.
    pub(crate) took: Duration,
}

/// The negative control of all that happens here: on the same fleet, with the same users, a runbook's order loses sessions.
pub(crate) async fn losses_are_noticed() -> Result<(), Failed> {
    let procedure = Procedure::AppendToRing;
    let (scene, first_key) = Scene::prepare(scene_options(procedure.mode()))?;
    let scene = Arc::new(scene);
    let replicas = Arc::new(LocalProcesses::of(&scene, CRASH_POINT, "demo-replica"));
    let lab = Lab::start(scene, replicas, lab_options(98)).await?;
    let pace = Pace { before_removal: LIFETIME, ..Pace::default() };
    let run = lab.run(procedure, &first_key, pace).await?;
    match run.sessions.lost {
        0 => Err(format!("of {} sessions none was lost, so a 0 proves nothing here", run.sessions.established).into()),
        _ => Ok(()),
    }
}

fn scene_options(mode: Mode) -> SceneOptions {
    SceneOptions { mode, replicas: 2, lifetime: LIFETIME }
}

fn lab_options(seed: u64) -> LabOptions {
    LabOptions {
        users: USERS,
        seed,
        warm_up: Duration::from_millis(500),
        tail: Duration::from_millis(500),
        longest: Duration::from_secs(7200),
        ..LabOptions::default()
    }
}

/// How a driver ended.
pub(crate) enum End {
    Killed,
    /// With an exit code, and all that it said.
    Exit(i32, String),
}

/// Starts a driver.
pub(crate) fn driver(place: &Place, operator: &str, words: &[&str], kill: Option<&Kill>) -> Result<Child, Failed> {
    let mut command = Command::new(CRASH_POINT);
    command.arg("drive").arg(&place.config).arg(&place.state_dir).arg(operator).args(words);
    match kill {
        Some(Kill::At(name)) => _ = command.arg("--kill-at").arg(name),
        Some(Kill::AtNumber(number)) => _ = command.arg("--kill-at").arg(number.to_string()),
        Some(Kill::After(_)) | None => {}
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    Ok(command.spawn()?)
}

/// Waits for a driver.
pub(crate) async fn ended(child: Child) -> Result<End, Failed> {
    let output = tokio::time::timeout(LONGEST, child.wait_with_output())
        .await
        .map_err(|_| format!("a driver did not end within {} s", LONGEST.as_secs()))??;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok(output.status.code().map_or(End::Killed, |code| End::Exit(code, said)))
}

async fn driven(place: &Place, operator: &str, words: &[&str], kill: Option<&Kill>) -> Result<End, Failed> {
    let mut child = driver(place, operator, words, kill)?;
    if let Some(Kill::After(delay)) = kill {
        tokio::time::sleep(*delay).await;
        child.start_kill()?;
    }
    ended(child).await.map_err(|error| format!("{}{}", error.message().unwrap_or_default(), last_words(place)).into())
}

/// What a driver that did not end was about.
fn last_words(place: &Place) -> String {
    let status = std::fs::read_to_string(place.state_dir.join("status.json")).unwrap_or_default();
    let records = JournalReader::open(&place.state_dir).and_then(|journal| journal.records()).unwrap_or_default();
    let last = records.iter().rev().take(12).rev();
    let last: String = last.map(|record| format!("\n{} {:?}", record.entry.at, record.entry.body)).collect();
    format!("\nstatus: {status}\nthe journal ends with:{last}")
}

/// Whether a driver came to its end.
pub(crate) fn done(code: i32, said: &str) -> Result<(), Failed> {
    if code == i32::from(ExitKind::Done.code()) {
        return Ok(());
    }
    Err(format!("the driver ended with {code}: {said}").into())
}

fn in_story(story: &str, error: &Failed) -> Failed {
    format!("killed at {story}: {}", error.message().unwrap_or_default()).into()
}

#[expect(clippy::disallowed_methods, reason = "real processes live in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The fleet, started and stopped by the adapter that rotates it.
struct Processes {
    fleet: ProcessFleet,
}

#[async_trait]
impl Supervisor for Processes {
    async fn start(&self) -> Result<(), SupervisorError> {
        self.fleet.start_all().await.map_err(|error| SupervisorError::new("started", 0, error))
    }

    async fn restart(&self, replica: usize) -> Result<(), SupervisorError> {
        Err(SupervisorError::new("restarted", replica, "only the driver restarts a replica here"))
    }

    async fn stop(&self) -> Result<(), SupervisorError> {
        self.fleet.stop_all().await.map_err(|error| SupervisorError::new("stopped", 0, error))
    }
}

fn fleet_of(place: &Place) -> Result<ProcessFleet, Failed> {
    let config = SessionKey::load(&place.config)?;
    let consumer = config.consumers.first();
    match &consumer.kind {
        ConsumerKind::Process(process) => Ok(keyroll_engine::process_fleet(&consumer.name, process, &place.state_dir)?),
        other => Err(format!("the fleet is not one of processes: {other:?}").into()),
    }
}

/// Short, so that a rotation takes seconds; long enough for a session to outlive a restart of every replica.
const LIFETIME: Duration = Duration::from_secs(3);
/// Far more than a rotation takes on a machine that is busy with other things.
const LONGEST: Duration = Duration::from_secs(300);
const USERS: u32 = 6;
/// Far fewer than there are on a machine that is busy with other things.
const FEWEST_ANSWERS: u64 = 2 * USERS as u64;
const CRASH_POINT: &str = env!("CARGO_BIN_EXE_crash-point");
