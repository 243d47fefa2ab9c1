//! The lab on real processes: each naive order loses sessions, the order of the protocol loses none.
//!
//! This program is also the replica: started as `fleet demo-replica ...` it serves instead of testing.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyroll_fleetlab::lab::{Lab, LabOptions};
use keyroll_fleetlab::procedures::{Pace, Procedure, all_healthy};
use keyroll_fleetlab::replica::{self, Args, Mode};
use keyroll_fleetlab::report::{Document, Run};
use keyroll_fleetlab::scene::{Scene, SceneOptions};
use keyroll_fleetlab::supervisor::{LocalProcesses, Supervisor};
use keyroll_keyring::{Key, KeyId, KeyState, Ring, Secret, ring_file};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().as_deref() == Some(SUBCOMMAND.as_ref()) {
        return serve(words);
    }
    let mut arguments = Arguments::from_args();
    // They mostly wait, so they wait together.
    arguments.test_threads.get_or_insert(8);
    libtest_mimic::run(&arguments, trials()).exit_code()
}

fn trials() -> Vec<Trial> {
    let naive = Procedure::ALL.map(|procedure| {
        let name = format!("{} loses sessions", procedure.name());
        Trial::test(name, move || in_runtime(async move { naive_order_loses(procedure).await }))
    });
    let others = [
        Trial::test("the order of the protocol loses no session and no request", || {
            in_runtime(protocol_order_loses_none())
        }),
        Trial::test("sessions that end by their own lifetime are not lost", || in_runtime(lifetime_is_no_loss())),
        Trial::test("a sealed replica reports its ring and counts by key", || in_runtime(sealed_replica_reports())),
        Trial::test("a lab that is dropped in the middle leaves no process", || {
            in_runtime(dropped_lab_leaves_nothing())
        }),
        Trial::test("a replica does not outlive its owner", || in_runtime(replica_ends_with_its_owner())),
        Trial::test("a replica without a usable key says so and ends", || in_runtime(unusable_key_is_said())),
    ];
    naive.into_iter().chain(others).collect()
}

async fn naive_order_loses(procedure: Procedure) -> Result<(), Failed> {
    let (scene, key) = scene(procedure.mode(), 10)?;
    let lab = Lab::start(Arc::clone(&scene), processes(&scene)?, options()).await?;
    // The old key is removed at once: what is tested is the loss, not its amount.
    let pace = Pace { between_restarts: Duration::from_millis(600), before_removal: Duration::ZERO };
    let run = lab.run(procedure, &key, pace).await?;
    check(run.sessions.lost > 0, "a session is lost", &run)?;
    check(run.sessions.lost_for_good <= run.sessions.lost, "what is lost for good is lost", &run)?;
    check(run.refused == 0, "every request is answered", &run)?;
    let lasting = !matches!(procedure, Procedure::AppendToRing);
    check(!lasting || run.sessions.lost_for_good > 0, "a session is lost for good", &run)
}

async fn protocol_order_loses_none() -> Result<(), Failed> {
    let (scene, old) = scene(Mode::Sealed, 3)?;
    let new = Key::single(KeyId(2), Secret::from_bytes((100..132).map(|byte| byte ^ 0x5a).collect()));
    let supervisor = processes(&scene)?;
    let lab = Lab::start(Arc::clone(&scene), Arc::clone(&supervisor) as _, options()).await?;
    lab.warm_up().await;
    let both = |active: &Key, other: &Key, state| ring(active, vec![(other.duplicate(), state)]);
    roll(&scene, &supervisor, &both(&old, &new, KeyState::ActiveForProcessing)?).await?;
    roll(&scene, &supervisor, &both(&new, &old, KeyState::Deactivated)?).await?;
    tokio::time::sleep(scene.lifetime()).await;
    roll(&scene, &supervisor, &ring(&new, Vec::new())?).await?;
    let run = lab.finish("keyroll").await?;
    check(run.sessions.lost == 0, "no session is lost", &run)?;
    check(run.refused == 0, "every request is answered", &run)?;
    check(run.sessions.established > u64::from(run.users), "users came back after their sessions' end", &run)?;
    check(Document::new(vec![run.clone()]).verdict().to_string() == "keyroll lost no session", "it is said", &run)
}

async fn lifetime_is_no_loss() -> Result<(), Failed> {
    let (scene, _) = scene(Mode::Sealed, 1)?;
    let lab = Lab::start(Arc::clone(&scene), processes(&scene)?, options()).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let run = lab.finish("keyroll").await?;
    check(run.sessions.lost == 0, "no session is lost", &run)?;
    check(run.sessions.established >= 2 * u64::from(run.users), "every user has logged in again", &run)
}

async fn sealed_replica_reports() -> Result<(), Failed> {
    let (scene, key) = scene(Mode::Sealed, 10)?;
    let supervisor = processes(&scene)?;
    supervisor.start().await?;
    let address = scene.addresses()[0];
    all_healthy(&scene).await?;
    let fingerprint = key.fingerprint()?.to_string();
    let report: serde_json::Value = serde_json::from_str(&page(address, "GET /.keyroll/ring", "")?.1)?;
    same(&report["active"], &fingerprint)?;
    same(&report["accept"], &serde_json::json!([fingerprint]))?;
    for field in ["boot", "worker", "loaded_at"] {
        if report[field].is_null() {
            return Err(format!("the report lacks `{field}`: {report}").into());
        }
    }
    let opened = format!("keyroll_sessions_opened_total{{key=\"{fingerprint}\"}}");
    let minted = format!("keyroll_sessions_minted_total{{key=\"{fingerprint}\"}}");
    let before = page(address, "GET /metrics", "")?.1;
    same(&[before.contains(&format!("{opened} 0\n")), before.contains(&format!("{minted} 0\n"))], &[true, true])?;
    let info = format!("keyroll_key_info{{key=\"{fingerprint}\",state=\"active\"}} 1\n");
    same(&before.contains(&info), &true)?;
    let (head, _) = page(address, "POST /login", "user=user-1")?;
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).ok_or("no cookie is set")?;
    let cookie = cookie.split(';').next().unwrap_or_default();
    let (head, me) = page_with(address, "GET /me", &format!("cookie: {cookie}\r\n"), "")?;
    same(&[head.starts_with("HTTP/1.1 200 "), me.contains("\"user\":\"user-1\"")], &[true, true])?;
    let after = page(address, "GET /metrics", "")?.1;
    same(&[after.contains(&format!("{opened} 1\n")), after.contains(&format!("{minted} 1\n"))], &[true, true])?;
    supervisor.stop().await?;
    Ok(())
}

async fn dropped_lab_leaves_nothing() -> Result<(), Failed> {
    let (scene, _) = scene(Mode::OneKey, 10)?;
    let supervisor = processes(&scene)?;
    let folder = scene.folder().to_owned();
    let lab = Lab::start(scene, Arc::clone(&supervisor) as _, options()).await?;
    let pids = supervisor.pids().await;
    same(&pids.len(), &3)?;
    drop(supervisor);
    drop(lab);
    until("the replicas are gone", || pids.iter().all(|pid| !is_running(*pid))).await?;
    same(&folder.exists(), &false)
}

async fn replica_ends_with_its_owner() -> Result<(), Failed> {
    let (scene, _) = scene(Mode::OneKey, 10)?;
    let mut owner = Command::new("sleep").arg("60").spawn()?;
    let words = scene.command_lines().swap_remove(0);
    let args = Args { owner: Some(owner.id()), ..Args::parse(words)? };
    let mut replica = Command::new(std::env::current_exe()?).arg(SUBCOMMAND).args(args.words()).spawn()?;
    let healthy = until("the replica answers", || page(args.address(), "GET /healthz", "").is_ok()).await;
    owner.kill()?;
    owner.wait()?;
    let ended = until("the replica ends", || replica.try_wait().is_ok_and(|status| status.is_some())).await;
    if ended.is_err() {
        replica.kill()?;
    }
    healthy?;
    ended
}

async fn unusable_key_is_said() -> Result<(), Failed> {
    let (scene, _) = scene(Mode::Sealed, 10)?;
    scene.write_keys(&Secret::from_text("{\"version\": 1, \"active\": \"hunter2\"}"))?;
    let words = scene.command_lines().swap_remove(0);
    let output = Command::new(std::env::current_exe()?).arg(SUBCOMMAND).args(words).output()?;
    let said = String::from_utf8(output.stderr)?;
    same(&output.status.success(), &false)?;
    same(&[said.contains("does not fit"), said.contains("hunter2")], &[true, false])
}

fn scene(mode: Mode, lifetime: u64) -> Result<(Arc<Scene>, Key), Failed> {
    let (scene, key) = Scene::prepare(SceneOptions { mode, replicas: 3, lifetime: Duration::from_secs(lifetime) })?;
    Ok((Arc::new(scene), key))
}

fn processes(scene: &Scene) -> Result<Arc<LocalProcesses>, Failed> {
    Ok(Arc::new(LocalProcesses::of(scene, std::env::current_exe()?, SUBCOMMAND)))
}

fn options() -> LabOptions {
    LabOptions {
        users: 12,
        seed: 3,
        warm_up: Duration::from_millis(1200),
        tail: Duration::from_millis(1000),
        ..LabOptions::default()
    }
}

fn ring(active: &Key, accept_only: Vec<(Key, KeyState)>) -> Result<Secret, Failed> {
    Ok(ring_file::render(&Ring::assemble(active.duplicate(), accept_only, Vec::new())?))
}

async fn roll(scene: &Scene, supervisor: &LocalProcesses, keys: &Secret) -> Result<(), Failed> {
    scene.write_keys(keys)?;
    for (replica, address) in scene.addresses().into_iter().enumerate() {
        supervisor.restart(replica).await?;
        until("it is back", || page(address, "GET /healthz", "").is_ok()).await?;
    }
    Ok(())
}

fn page(address: SocketAddr, request: &str, body: &str) -> Result<(String, String), Failed> {
    page_with(address, request, "", body)
}

/// Written by hand, so that the lab's own client is not its own witness.
fn page_with(address: SocketAddr, request: &str, headers: &str, body: &str) -> Result<(String, String), Failed> {
    let mut stream = TcpStream::connect(address)?;
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a head")?;
    Ok((head.to_owned(), body.to_owned()))
}

fn is_running(pid: u32) -> bool {
    // A zombie has ended; its parent has only not looked yet.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), Failed> {
    let deadline = now() + Duration::from_secs(10);
    while !holds() {
        if now() > deadline {
            return Err(format!("not within 10 s: {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn check(holds: bool, what: &str, run: &Run) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(format!("not so: {what}: {run:?}").into()) }
}

fn same<T, U>(found: &T, wanted: &U) -> Result<(), Failed>
where
    T: PartialEq<U> + std::fmt::Debug + ?Sized,
    U: std::fmt::Debug + ?Sized,
{
    if found == wanted { Ok(()) } else { Err(format!("found {found:?}, wanted {wanted:?}").into()) }
}

fn in_runtime(test: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(test)
}

#[expect(clippy::print_stderr, reason = "as a replica it has a log")]
fn serve(words: impl Iterator<Item = OsString>) -> ExitCode {
    let replica = async {
        replica::run(Args::parse(words)?).await?;
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(replica)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            let chain = std::iter::successors(Some(&*err), |err| err.source());
            eprintln!("{}", chain.map(ToString::to_string).collect::<Vec<_>>().join(": "));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "real processes live in real time")]
fn now() -> Instant {
    Instant::now()
}

const SUBCOMMAND: &str = "demo-replica";
