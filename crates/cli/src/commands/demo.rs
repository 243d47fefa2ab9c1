//! `keyroll demo`: Keyroll's own engine, on a fleet of real processes with users who notice every logout; then, if asked,
//! what five runbooks do.
//!
//! Nothing here is special to the demo: the fleet is described by a `keyroll.yaml` that is written into the lab's folder
//! and read like anybody's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keyroll_adapters::fleets::{Fleet, FleetError, MemberId, ProcessFleet, ReloadId, ReloadRequest, ReloadTarget};
use keyroll_engine::config::{ConsumerKind, SessionKey};
use keyroll_engine::{Engine, ExitKind, Observer, Operator, RotateRequest, interrupt};
use keyroll_fleetlab::lab::{Lab, LabOptions};
use keyroll_fleetlab::procedures::{Pace, Procedure};
use keyroll_fleetlab::replica::{self, Args, Mode};
use keyroll_fleetlab::report::{Document, KEYROLL, Run, Verdict};
use keyroll_fleetlab::scene::{Described, Scene, SceneOptions};
use keyroll_fleetlab::supervisor::{LocalProcesses, Supervisor, SupervisorError};

use super::setup::{Stop, block_on};
use crate::args::{DemoArgs, Format};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Console;
use crate::output::view::View;

pub(crate) fn run(args: &DemoArgs, console: Console) -> Result<Exit, Failure> {
    let program = std::env::current_exe()
        .map_err(|err| Failure::new(Exit::Failed, format!("this program's own path is not known: {err}")))?;
    let (sender, receiver) = interrupt();
    let view = Arc::new(View::new(console).stopped_by("Ctrl-C ends the demo and its processes"));
    let document = block_on(Some(Stop::new(sender, &view)), async {
        tokio::select! {
            document = all(args, &program, console, &view) => document,
            () = receiver.wait() => Err(Failure::new(Exit::Interrupted, "the demo was stopped; its processes are gone")),
        }
    })??;
    console.result(&text(&document), &document);
    Ok(match document.verdict() {
        Verdict::Kept => Exit::Done,
        _ => Exit::Failed,
    })
}

/// What a replica of the demo runs. It is no command of the command line, so no help, completion or manual shows it.
pub(crate) fn replica(words: &[String]) -> Result<Exit, Failure> {
    let args = Args::parse(words.iter().map(Into::into)).map_err(|err| Failure::from_error(Exit::Usage, &err))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|err| Failure::from_error(Exit::Failed, &err))?;
    runtime.block_on(replica::run(args)).map_err(|err| Failure::from_error(Exit::Failed, &err))?;
    Ok(Exit::Done)
}

async fn all(args: &DemoArgs, program: &Path, console: Console, view: &Arc<View>) -> Result<Document, Failure> {
    let mut runs = vec![with_keyroll(args, program, console, view).await?];
    if args.compare {
        for procedure in Procedure::ALL {
            tell(console, &format!("\n{}: {}", procedure.name(), procedure.summary()));
            runs.push(with_runbook(args, program, procedure).await?);
            if let Some(run) = runs.last() {
                tell(console, &format!("  {} of {} sessions lost", run.sessions.lost, run.sessions.established));
            }
        }
    }
    Ok(Document::new(runs))
}

async fn with_keyroll(args: &DemoArgs, program: &Path, console: Console, view: &Arc<View>) -> Result<Run, Failure> {
    let (scene, _) = scene(args, Mode::Sealed)?;
    let yaml = scene.keyroll_yaml(&Described { name: "demo", program, subcommand: REPLICA, escrow: "1h" });
    let file = scene.folder().join("keyroll.yaml");
    std::fs::write(&file, &yaml).map_err(|err| Failure::from_error(Exit::Failed, &err))?;
    let config = SessionKey::load(&file).map_err(|err| super::setup::config_failure(&err))?;
    let state_dir = scene.folder().join("state");
    let supervisor = Arc::new(ByKeyroll { fleet: fleet_of(&config, &state_dir)? });

    tell(console, &format!("{} replicas, {} users, sessions of {} s", args.replicas, args.users, LIFETIME.as_secs()));
    let lab = Lab::start(Arc::clone(&scene), supervisor, options(args)).await.map_err(|err| failed(&err))?;
    lab.warm_up().await;
    tell(console, &format!("{KEYROLL}: keyroll rotate, on this keyroll.yaml:\n{}", indented(&yaml)));

    let assembly = keyroll_engine::assemble(&config, &state_dir).map_err(|err| failed(&err))?;
    let operator = Operator { name: "demo".to_owned(), host: "localhost".to_owned() };
    let engine = Engine::new(assembly, &state_dir, operator).with_observer(Arc::clone(view) as Arc<dyn Observer>);
    let outcome = engine.rotate(RotateRequest::default()).await;
    view.finish();
    let outcome = outcome.map_err(|err| super::refusal::engine_failure(&err, console))?;
    if outcome.exit != ExitKind::Done {
        return Err(Failure::new(Exit::Failed, format!("the rotation did not come to its end: {}", outcome.summary)));
    }
    lab.finish(KEYROLL).await.map_err(|err| failed(&err))
}

async fn with_runbook(args: &DemoArgs, program: &Path, procedure: Procedure) -> Result<Run, Failure> {
    let (scene, old) = scene(args, procedure.mode())?;
    let supervisor = Arc::new(LocalProcesses::of(&scene, program, REPLICA));
    let lab = Lab::start(scene, supervisor, options(args)).await.map_err(|err| failed(&err))?;
    lab.run(procedure, &old, Pace::default()).await.map_err(|err| failed(&err))
}

fn scene(args: &DemoArgs, mode: Mode) -> Result<(Arc<Scene>, keyroll_keyring::Key), Failure> {
    let (scene, key) = Scene::prepare(SceneOptions { mode, replicas: args.replicas, lifetime: LIFETIME })
        .map_err(|err| failed(&err))?;
    Ok((Arc::new(scene), key))
}

fn options(args: &DemoArgs) -> LabOptions {
    LabOptions { users: args.users, seed: args.seed, ..LabOptions::default() }
}

fn fleet_of(config: &SessionKey, state_dir: &Path) -> Result<ProcessFleet, Failure> {
    let consumer = config.consumers.first();
    match &consumer.kind {
        ConsumerKind::Process(process) => {
            keyroll_engine::process_fleet(&consumer.name, process, state_dir).map_err(|err| failed(&err))
        }
        other => Err(Failure::new(Exit::Failed, format!("the demo's fleet is not one of processes: {other:?}"))),
    }
}

/// The lab's fleet, started and stopped by the adapter that rotates it.
struct ByKeyroll {
    fleet: ProcessFleet,
}

#[async_trait]
impl Supervisor for ByKeyroll {
    async fn start(&self) -> Result<(), SupervisorError> {
        self.fleet.start_all().await.map_err(|err| SupervisorError::new("started", 0, err))
    }

    async fn restart(&self, replica: usize) -> Result<(), SupervisorError> {
        let restart = async {
            let members = self.fleet.members().await?;
            let Some(member) = members.get(replica) else {
                return Err(FleetError::NoSuchMember { location: "the demo".to_owned(), member: replica.to_string() });
            };
            let MemberId(name) = &member.id;
            let request = ReloadRequest {
                id: ReloadId(format!("demo/{name}/{}", member.boot.0)),
                target: ReloadTarget::Member { id: member.id.clone(), boot: member.boot.clone() },
            };
            self.fleet.reload(&request).await
        };
        restart.await.map(drop).map_err(|err| SupervisorError::new("restarted", replica, err))
    }

    async fn stop(&self) -> Result<(), SupervisorError> {
        self.fleet.stop_all().await.map_err(|err| SupervisorError::new("stopped", 0, err))
    }
}

fn text(document: &Document) -> String {
    format!("\n{}\n{}\n", document.table().trim_end(), document.verdict())
}

fn indented(yaml: &str) -> String {
    yaml.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

fn tell(console: Console, line: &str) {
    if console.format() == Format::Text {
        console.progress(line);
    }
}

fn failed(err: &dyn std::error::Error) -> Failure {
    Failure::from_error(Exit::Failed, err)
}

/// The hidden command behind each replica.
pub(crate) const REPLICA: &str = "demo-replica";
/// Short, so that a drain can be watched.
const LIFETIME: Duration = Duration::from_secs(20);
