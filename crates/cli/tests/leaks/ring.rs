//! A live fleet of sealed-session replicas with a key file: every command that drives, steers or asks, and what goes wrong with
//! them.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use keyroll_adapters::fleets::ProcessFleet;
use keyroll_engine::config::{ConsumerKind, SessionKey};
use keyroll_fleetlab::ports::Ports;
use keyroll_fleetlab::replica::{Args, Mode};
use keyroll_fleetlab::scene::{Described, keyroll_yaml};
use keyroll_keyring::{Encoding, Key, KeyId, Profile, Ring, Secret, ring_file};
use libtest_mimic::Failed;
use serde_json::Value;

use super::lab::{Lab, Running};
use super::mistakes;
use super::watch::KEYROLL;

/// The fleet of a lab; its processes go with it.
pub(crate) struct Fleet {
    runtime: tokio::runtime::Runtime,
    fleet: ProcessFleet,
}

impl Fleet {
    /// Starts what the configuration of `lab` describes.
    pub(crate) fn start(lab: &Lab<'_>) -> Result<Self, Failed> {
        let config = SessionKey::load(&lab.folder.join("keyroll.yaml"))?;
        let consumer = config.consumers.first();
        let ConsumerKind::Process(process) = &consumer.kind else {
            return Err("a fleet of processes is needed".into());
        };
        let state_dir = lab.state_dir().join(config.name.as_str());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let fleet = keyroll_engine::process_fleet(&consumer.name, process, &state_dir)?;
        runtime.block_on(fleet.start_all())?;
        Ok(Self { runtime, fleet })
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Replicas end by themselves when this process is gone.
        let _ = self.runtime.block_on(self.fleet.stop_all());
    }
}

/// The whole story, in one format.
pub(crate) fn story(lab: &Lab<'_>) -> Result<(), Failed> {
    let first = new_key()?;
    write_ring(lab, &first)?;
    let ports = Ports::claim(2)?;
    let yaml = configuration(lab, &ports);
    fs::write(lab.folder.join("keyroll.yaml"), &yaml)?;
    let _fleet = Fleet::start(lab)?;

    before_anything(lab)?;
    planned_and_stopped(lab)?;
    killed_and_locked(lab)?;
    rolled_back(lab)?;
    revoked(lab)?;
    nothing_readable(lab, &yaml)?;
    Ok(())
}

fn before_anything(lab: &Lab<'_>) -> Result<(), Failed> {
    lab.keyroll(&["lint"])?.exits(&[0, 1])?;
    lab.keyroll(&["history"])?.exits(&[0, 1])?;
    lab.keyroll(&["audit", "verify"])?.exits(&[0, 1])?;
    lab.keyroll(&["preflight"])?.exits(&[0])?;
    lab.keyroll(&["explain"])?.exits(&[0])?;
    lab.keyroll(&["complete"])?.exits(&[1, 8])?;
    lab.keyroll(&["rollback"])?.exits(&[1, 8])?;
    lab.keyroll(&["simulate", "--runs", "20", "--chaos"])?.exits(&[0])?;
    Ok(())
}

/// From a saved plan to the end, with every pause on the way.
fn planned_and_stopped(lab: &Lab<'_>) -> Result<(), Failed> {
    lab.keyroll(&["plan", "-o", "plan.json"])?.exits(&[2])?;
    lab.keyroll(&["rotate", "plan.json", "--until", "accepting"])?.exits(&[3])?;
    lab.keyroll(&["rotate", "plan.json", "--until", "accepting"])?;
    lab.keyroll(&["status"])?.exits(&[0])?;
    lab.keyroll(&["explain"])?.exits(&[3])?;
    lab.keyroll(&["pause", "--ticket", "OPS-1", "--note", "a sentence"])?.exits(&[0, 3])?;
    lab.keyroll(&["rotate", "--wait", "none"])?;
    lab.keyroll(&["resume"])?;
    lab.keyroll(&["verify"])?.exits(&[0])?;
    lab.keyroll(&["reload", "--laggards"])?;
    lab.keyroll(&["rotate", "--wait", "none"])?.exits(&[3])?;
    lab.keyroll(&["complete", "--extend-drain", "1s"])?.exits(&[0])?;
    lab.keyroll(&["rotate", "plan.json"])?.exits(&[5])?;
    the_record(lab)
}

fn the_record(lab: &Lab<'_>) -> Result<(), Failed> {
    lab.keyroll(&["history"])?.exits(&[0])?;
    lab.keyroll(&["audit", "verify"])?.exits(&[0])?;
    for form in ["json", "csv", "markdown"] {
        lab.keyroll(&["audit", "export", "--as", form])?.exits(&[0])?;
    }
    Ok(())
}

/// Killed in the middle, locked by another, unlocked.
fn killed_and_locked(lab: &Lab<'_>) -> Result<(), Failed> {
    let rotate = lab.start(&["rotate"], &[])?;
    wait_for_stage(lab, "draining")?;
    lab.keyroll(&["rotate", "--operator", "bob"])?.exits(&[6])?;
    lab.keyroll(&["unlock", "--id", "nobody"])?;
    killed(rotate)?;
    lab.keyroll(&["status"])?.exits(&[0])?;
    lab.keyroll(&["unlock", "--id", &rotation_of(lab)?])?.exits(&[0])?;
    lab.keyroll(&["rotate"])?.exits(&[0])?;
    Ok(())
}

fn rolled_back(lab: &Lab<'_>) -> Result<(), Failed> {
    lab.keyroll(&["rotate", "--until", "promoting"])?.exits(&[3])?;
    lab.keyroll(&["rollback"])?.exits(&[0])?;
    let copy = active_key(lab)?;
    lab.keyroll(&["rotate", "--mode", "cutover"])?.exits(&[0])?;
    let wrong = lab.input("own.key", new_key()?.encoded(Encoding::Base64).expose())?;
    lab.watch.seen().keys.learn("a key that the operator takes for the old one", &fs::read(&wrong)?);
    lab.keyroll(&["rollback", "--key-from", &wrong])?.exits(&[1, 8])?;
    lab.keyroll_with(&["rollback", "--key-from", "-"], format!(" {copy}\n").as_bytes(), &[])?;
    lab.keyroll_with(&["rollback", "--key-from", "-"], copy.as_bytes(), &[])?.exits(&[0])?;
    Ok(())
}

fn revoked(lab: &Lab<'_>) -> Result<(), Failed> {
    lab.keyroll(&["revoke", "--mode", "accelerated"])?.exits(&[8])?;
    lab.keyroll(&["revoke", "--mode", "accelerated", "--yes"])?.exits(&[0])?;
    lab.keyroll(&["rollback"])?;
    lab.keyroll(&["revoke", "--mode", "hard-cutover", "--yes"])?.exits(&[0])?;
    Ok(())
}

/// Keys in the configuration, and files of the store that are damaged right where the keys are.
fn nothing_readable(lab: &Lab<'_>, yaml: &str) -> Result<(), Failed> {
    mistakes::in_configuration(lab, yaml)?;
    let ring = fs::read_to_string(lab.folder.join("keys"))?;
    let key = active_key(lab)?;
    let commands: &[&[&str]] = &[&["preflight"], &["rotate"], &["status"], &["plan"], &["verify"], &["explain"]];
    let damage = |from: &str, to: &str| ring.replace(from, to).into_bytes();
    let quoted = format!("\"{key}\"");
    let damages = [
        ("the key alone", key.clone().into_bytes()),
        ("the key alone, in quotes", quoted.clone().into_bytes()),
        ("half of the file", ring.as_bytes()[..ring.find(&key).ok_or("no key")? + 30].to_vec()),
        ("a newline in the key", damage(&key, &format!("{key}\\n"))),
        ("a key of another alphabet", damage(&key, &key.replace(['A', 'b', '+', '/'], "-"))),
        ("a key that is a list", damage(&quoted, &format!("[{quoted}]"))),
        ("a field named like the key", damage("\"version\"", &format!("{quoted}: 1, \"version\""))),
        ("a version that is the key", damage("\"version\": 1", &format!("\"version\": {quoted}"))),
        ("a part that is named like the key", damage("\"name\": \"main\"", &format!("\"name\": {quoted}"))),
        ("an id that is the key", damage("\"id\": ", &format!("\"id\": {quoted}, \"was\": "))),
        ("a short key", damage(&key, &key[..20])),
    ];
    mistakes::in_file(lab, "keys", &damages, commands)?;

    let hidden = fs::read_to_string(lab.folder.join(".keys.keyroll"))?;
    let document: Value = serde_json::from_str(&hidden)?;
    let escrowed = document["current"]["escrow"][0]["parts"][0]["material"].as_str().unwrap_or(&key).to_owned();
    let quoted = format!("\"{escrowed}\"");
    let damage = |from: &str, to: &str| hidden.replace(from, to).into_bytes();
    let damages = [
        ("the key alone", escrowed.clone().into_bytes()),
        ("a version that is the key", damage("\"version\": 1", &format!("\"version\": {quoted}"))),
        ("a field named like the key", damage("\"version\"", &format!("{quoted}: 1, \"version\""))),
        ("a stamp that is the key", damage("\"stamp\": \"", &format!("\"stamp\": \"{escrowed}"))),
        ("a salt that is a list", damage("\"salt\": ", &format!("\"salt\": [{quoted}], \"was\": "))),
    ];
    mistakes::in_file(lab, ".keys.keyroll", &damages, commands)?;
    Ok(())
}

/// The text of the active key, as the ring file has it.
fn active_key(lab: &Lab<'_>) -> Result<String, Failed> {
    let ring: Value = serde_json::from_slice(&fs::read(lab.folder.join("keys"))?)?;
    Ok(ring["active"]["parts"][0]["material"].as_str().ok_or("the ring has no active key")?.to_owned())
}

fn wait_for_stage(lab: &Lab<'_>, stage: &str) -> Result<(), Failed> {
    until(&format!("the rotation has come to {stage}"), || {
        // The driver's own picture; asking `keyroll status` for it would cost a fingerprint each time.
        let text = fs::read(lab.state_dir().join("ring/status.json")).unwrap_or_default();
        let status: Value = serde_json::from_slice(&text).unwrap_or_default();
        status["rotation"]["stage"] == stage && !status["lock"].is_null()
    })
}

/// Looks again and again until it holds.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) -> Result<(), Failed> {
    let deadline = now() + LONGEST;
    while !holds() {
        if now() > deadline {
            return Err(format!("within {} s it did not come about that {what}", LONGEST.as_secs()).into());
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    Ok(())
}

fn killed(mut running: Running<'_>) -> Result<(), Failed> {
    running.child.kill()?;
    running.ended().map(drop)
}

fn rotation_of(lab: &Lab<'_>) -> Result<String, Failed> {
    let status: Value = serde_json::from_slice(&fs::read(lab.state_dir().join("ring/status.json"))?)?;
    Ok(status["rotation"]["id"].as_str().ok_or("no rotation is open")?.to_owned())
}

fn new_key() -> Result<Secret, Failed> {
    Ok(Profile::builtin("keyroll")?.candidate(KeyId(1))?.material().duplicate())
}

fn write_ring(lab: &Lab<'_>, key: &Secret) -> Result<(), Failed> {
    let ring = Ring::assemble(Key::single(KeyId(1), key.duplicate()), Vec::new(), Vec::new())?;
    Ok(fs::write(lab.folder.join("keys"), ring_file::render(&ring).expose())?)
}

fn configuration(lab: &Lab<'_>, ports: &[u16]) -> String {
    let described = Described { name: "ring", program: KEYROLL.as_ref(), subcommand: "demo-replica", escrow: "1h" };
    keyroll_yaml(&described, &replica(Mode::Sealed, lab.folder.join("keys")), ports)
}

/// The command line of a replica, as a list that YAML reads.
pub(crate) fn application(mode: Mode, keys: PathBuf) -> String {
    serde_json::json!(replica(mode, keys).command(KEYROLL.as_ref(), "demo-replica")).to_string()
}

fn replica(mode: Mode, keys: PathBuf) -> Args {
    Args { port: 0, mode, keys, rows: None, lifetime: Duration::from_secs(1), owner: Some(std::process::id()) }
}

#[expect(clippy::disallowed_methods, reason = "real processes live in real time")]
fn now() -> Instant {
    Instant::now()
}

const LONGEST: Duration = Duration::from_secs(60);
