//! The binary on a live fleet: three real processes, a key file, and every exit code with what it says to do next.
//!
//! Each test has a fleet of its own and tells one operator's day on it, because a fleet costs more to start than a step on it.

mod lab;

use std::fs;
use std::path::Path;
use std::time::Duration;

use keyroll_testkit::Suite;
use lab::{Lab, NAME, Settings};
use libtest_mimic::Failed;

fn main() {
    Suite::new()
        .test("a rotation in steps: each stop says when to come back, and nobody is logged out", rotation_in_steps)
        .test("a second operator is told who drives, and Ctrl-C leaves what the same command finishes", two_operators)
        .test("whoever drives learns that the rotation was rolled back, and a rollback itself is done", rolled_back)
        .test("a foreign write stops everything, and is overwritten or adopted by name only", foreign_write)
        .test("a probe that proves nothing, and a reload that fails", what_a_person_must_mend)
        .test("what does not fit what is open is refused, and leaves nothing behind", what_does_not_fit)
        .test("a rotation in escrow is ended by complete, and nothing else is advised", escrow)
        .test("every JSON document of every command spells its version alike", one_spelling)
        .test("a leaked key is shown to be dead, and the people affected get a text", revoked)
        .run()
}

fn rotation_in_steps() -> Result<(), Failed> {
    let lab = Lab::start(Settings { lifetime: Duration::from_secs(12), ..Settings::default() })?;
    lab.keyroll(&["preflight"])?.exits(0)?.says("nothing was written")?;
    lab.keyroll(&["explain"])?.exits(0)?.says("nothing says no")?;
    let plan = lab.keyroll(&["plan", "-o", "plan.json"])?;
    plan.exits(2)?.says("k1 active, k2 accepted")?.says("3 members")?.says("earliest end")?.says("saved: plan.json")?;
    lab.keyroll(&["plan", "-o", "plan.json"])?.exits(2)?;
    let (keys, path) = (fs::read(lab.keys())?, lab.keys());
    let over_the_key = lab.keyroll(&["plan", "-o", path.to_str().ok_or("the path is no text")?])?;
    over_the_key.exits(64)?.says("exists and is no plan")?;
    assert!(fs::read(lab.keys())? == keys, "a plan was written over the key");

    lab.everybody_can_log_in()?;
    let stopped = lab.keyroll(&["rotate", "plan.json", "--until", "accepting", "--format", "json"])?;
    let stopped = stopped.exits(3)?.json()?;
    assert_eq!(stopped["exit"], 3);
    assert_eq!(stopped["outcome"]["stage"], "promoting");
    assert!(stopped["outcome"]["wait"]["comeBackAt"].is_string(), "{stopped}");
    lab.keyroll(&["status"])?.exits(0)?.says("nobody drives it")?.says("keyroll rotate")?;
    lab.keyroll(&["explain"])?.exits(3)?.says("nobody drives it")?;
    lab.keyroll(&["rotate", "--until", "accepting"])?
        .exits(3)?
        .says("`accepting` is done and proven")?
        .says("come back")?
        .says("next: keyroll rotate")?;

    lab.keyroll(&["pause", "--note", "lunch"])?.exits(0)?;
    lab.keyroll(&["rotate"])?.exits(8)?.says("paused")?.says("keyroll resume")?;
    lab.keyroll(&["resume"])?.exits(0)?;

    let waits = lab.keyroll(&["rotate", "--wait", "none"])?;
    waits.exits(3)?.says("sessions under k1 run out")?.says("come back at")?.says("next: keyroll complete")?;
    let waits = lab.keyroll(&["complete", "--wait", "none", "--format", "json"])?.exits(3)?.json()?;
    let until = &waits["outcome"]["wait"]["comeBackAt"];
    assert!(until.as_str().is_some_and(|until| until.ends_with('Z')), "{waits}");
    assert_eq!(*until, lab.keyroll(&["status", "--format", "json"])?.json()?["wait"]["comeBackAt"]);
    lab.everybody_can_log_in()?;
    lab.keyroll(&["complete"])?.exits(0)?.says("k2 is in use")?;
    lab.everybody_can_log_in()?;
    lab.keyroll(&["verify"])?.exits(0)?.says("verified")?;
    lab.keyroll(&["history"])?.exits(0)?.says("completed")?;

    // The plan was made for a world that is no more.
    let stale = lab.keyroll(&["rotate", "plan.json"])?;
    stale.exits(5)?.says("the plan is stale, nothing was changed")?.says("- `./keys`: active k1 kf1:")?;
    stale.says("+ `./keys`: active k2 kf1:")?.says("keyroll plan -o PLAN")?;

    a_tampered_record_is_broken(&lab)?;

    // Somebody restarts a member while another key stands in the file, and puts the file back.
    let keys = fs::read(lab.keys())?;
    lab.keyroll(&["key", "generate", "--profile", "keyroll", "-o", "other"])?.exits(0)?;
    fs::copy(lab.folder().join("other"), lab.keys())?;
    lab.restart(1)?;
    fs::write(lab.keys(), keys)?;
    lab.keyroll(&["verify"])?.exits(1)?.says("rejects k2")?.says("not verified")?;
    Ok(())
}

/// What an auditor does not see is what an auditor is for: each way to touch the record is found.
fn a_tampered_record_is_broken(lab: &Lab) -> Result<(), Failed> {
    lab.keyroll(&["audit", "verify"])?.exits(0)?.says("the record is whole")?;
    let journal = fs::read_to_string(lab.state().join("journal.jsonl"))?;
    let lines: Vec<&str> = journal.lines().collect();
    let middle = lines.len() / 2;
    let mut changed = lines.clone();
    let other = lines[middle].replace("ada", "bob");
    assert_ne!(other, lines[middle]);
    changed[middle] = &other;
    let mut reordered = lines.clone();
    reordered.swap(middle, middle + 1);
    let mut lost = lines.clone();
    lost.remove(middle);
    let truncated = lines[..middle].to_vec();
    for (what, lines) in [("changed", changed), ("reordered", reordered), ("lost", lost), ("truncated", truncated)] {
        let elsewhere = lab.folder().join(what);
        copy_state(&lab.state(), &elsewhere.join(NAME), &lines)?;
        let dir = elsewhere.display().to_string();
        let verified = lab.keyroll(&["audit", "verify", "--state-dir", &dir])?;
        verified.exits(1).map_err(|_| verified.failed(&format!("should find what was {what}")))?;
        verified.says("the record is broken")?;
    }
    Ok(())
}

fn copy_state(from: &Path, to: &Path, journal: &[&str]) -> Result<(), Failed> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    fs::write(to.join("journal.jsonl"), journal.join("\n") + "\n")?;
    Ok(())
}

fn two_operators() -> Result<(), Failed> {
    let lab = Lab::start(Settings { lifetime: Duration::from_secs(4), ..Settings::default() })?;
    let ada = lab.begin("ada", &["rotate"])?;
    lab.wait_for_stage("draining")?;
    let bob = lab.keyroll_as("bob", &["rotate"])?;
    bob.exits(6)?.says("`ada`")?.says("nothing was changed")?.says("keyroll unlock --id r-")?;
    let bob = lab.keyroll_as("bob", &["complete", "--format", "json"])?.exits(6)?.json()?;
    assert_eq!((&bob["kind"], &bob["exit"]), (&"error".into(), &6.into()));
    assert_eq!(bob["holder"]["holder"], "ada");
    lab.keyroll_as("bob", &["unlock", "--id", "r-other"])?.exits(1)?.says("nothing was changed")?;

    ada.interrupt()?;
    ada.end()?.exits(130)?.says("everything that was done is recorded")?.says("next: keyroll rotate")?;
    lab.keyroll_as("bob", &["rotate"])?.exits(0)?.says("k2 is in use")?;
    lab.keyroll(&["audit", "verify"])?.exits(0)?;
    Ok(())
}

fn rolled_back() -> Result<(), Failed> {
    let lab = Lab::start(Settings { settle: Duration::from_secs(2), ..Settings::default() })?;
    let ada = lab.begin("ada", &["rotate"])?;
    lab.wait_for_stage("accepting")?;
    let bob = lab.keyroll_as("bob", &["rollback", "--reason", "incident"])?;
    bob.exits(0)?.says("was left for the process that drives")?.says("`ada`")?;
    ada.end()?.exits(7)?.says("rolled back")?;
    let status = lab.keyroll(&["status", "--format", "json"])?.exits(0)?.json()?;
    assert_eq!(status["stores"][0]["active"], 1);

    lab.keyroll(&["rotate", "--until", "accepting"])?.exits(3)?;
    lab.keyroll(&["rollback"])?.exits(0)?.says("rolled back")?;
    lab.keyroll(&["complete"])?.exits(7)?.says("the rotation was rolled back")?;
    lab.keyroll(&["verify"])?.exits(0)?;
    Ok(())
}

fn foreign_write() -> Result<(), Failed> {
    let lab = Lab::start(Settings { lifetime: Duration::from_secs(4), ..Settings::default() })?;
    let old_only = fs::read(lab.keys())?;
    lab.keyroll(&["rotate", "--until", "accepting"])?.exits(3)?;

    // Somebody's deployment puts the old file back.
    fs::write(lab.keys(), &old_only)?;
    let drift = lab.keyroll(&["rotate"])?;
    drift.exits(5)?.says("`./keys` was written by somebody else")?.says("k1 active, k2 accepted")?;
    drift.says("--overwrite-foreign-write")?.says("--adopt-foreign-write")?;
    lab.keyroll(&["explain"])?.exits(3)?.says("a human")?.says("--adopt-foreign-write")?;
    lab.keyroll(&["status"])?.exits(0)?.says("halted")?;
    lab.keyroll(&["resume"])?.exits(8)?.says("--adopt-foreign-write")?;
    let refused = lab.keyroll(&["rollback"])?;
    refused.exits(5)?.says("nothing was changed")?.says("`./keys` was written by somebody else")?;
    refused.says("--overwrite-foreign-write")?.says("then: keyroll rollback")?;
    let refused = lab.keyroll(&["revoke", "--mode", "accelerated", "--yes"])?;
    refused.exits(5)?.says("nothing was changed")?.says("--adopt-foreign-write")?;
    refused.says("then: keyroll revoke --mode accelerated")?;
    lab.keyroll(&["pause"])?.exits(5)?.says("has to wait")?;

    lab.keyroll(&["resume", "--overwrite-foreign-write"])?.exits(0)?.says("overwritten")?;
    lab.keyroll(&["rotate", "--until", "promoting"])?.exits(3)?;
    lab.everybody_can_log_in()?;

    // The same again, and this time members have read it before anybody looked.
    fs::write(lab.keys(), &old_only)?;
    for replica in 0..3 {
        lab.restart(replica)?;
    }
    lab.everybody_can_log_in()?;
    lab.keyroll(&["rotate"])?.exits(5)?;
    lab.keyroll(&["resume", "--adopt-foreign-write", "--ticket", "OPS-1"])?
        .exits(0)?
        .says("adopted")?
        .says("next: keyroll rotate")?;
    let status = lab.keyroll(&["status", "--format", "json"])?.json()?;
    assert_eq!(status["rotation"]["stage"], "accepting", "{status}");
    lab.keyroll(&["rotate", "--until", "promoting"])?.exits(3)?;
    lab.everybody_can_log_in()?;
    lab.keyroll(&["rotate"])?.exits(0)?.says("k2 is in use")?;
    let history = lab.keyroll(&["history"])?;
    history.exits(0)?.says("--overwrite-foreign-write")?.says("--adopt-foreign-write")?;

    // A key that nobody knows is nobody's to adopt.
    lab.keyroll(&["rotate", "--until", "accepting"])?.exits(3)?;
    lab.keyroll(&["key", "generate", "--profile", "keyroll", "-o", "other"])?.exits(0)?;
    fs::copy(lab.folder().join("other"), lab.keys())?;
    lab.keyroll(&["rotate"])?.exits(5)?;
    let ways = lab.keyroll(&["explain"])?;
    ways.exits(3)?.says("--overwrite-foreign-write")?.says("revoke --mode hard-cutover")?;
    ways.does_not_say("--adopt-foreign-write")?.does_not_say("in no store any more")?;
    lab.keyroll(&["resume", "--adopt-foreign-write"])?.exits(1)?.says("nothing was changed")?;
    // That write took nobody's only copy of the old key: there is one beside the file while the rotation is open.
    lab.keyroll(&["resume", "--overwrite-foreign-write"])?.exits(0)?.says("overwritten")?;
    lab.keyroll(&["rollback"])?.exits(0)?;
    lab.everybody_can_log_in()?;
    Ok(())
}

fn what_does_not_fit() -> Result<(), Failed> {
    let lab = Lab::start(Settings { lifetime: Duration::from_secs(6), ..Settings::default() })?;
    let keys = fs::read(lab.keys())?;
    for words in [
        &["pause"][..],
        &["resume"],
        &["resume", "--overwrite-foreign-write"],
        &["complete"],
        &["rollback"],
        &["revoke", "--mode", "hard-cutover", "--leaked", "new", "--yes"],
    ] {
        lab.keyroll(words)?.exits(1)?.says("no rotation is")?;
    }
    assert!(!lab.state().join("journal.jsonl").exists(), "a command that did nothing left a journal");
    assert_eq!(fs::read(lab.keys())?, keys);
    lab.keyroll(&["rotate", "--mode", "cutover", "--until", "accepting"])?
        .exits(64)?
        .says("has no stage `accepting`")?;

    // A plan for the mode that is not the usual one is carried out as it was made.
    lab.keyroll(&["plan", "--mode", "cutover", "-o", "cutover.json"])?.exits(2)?.does_not_say("PerMember")?;
    lab.keyroll(&["rotate", "cutover.json", "--until", "staged"])?.exits(3)?;
    assert_eq!(lab.keyroll(&["status", "--format", "json"])?.json()?["rotation"]["mode"], "cutover");
    lab.keyroll(&["rollback"])?.exits(0)?;

    lab.keyroll(&["rotate", "--until", "accepting"])?.exits(3)?;
    let other = lab.keyroll(&["rotate", "--mode", "cutover"])?;
    other.exits(64)?.says("nothing was changed")?.says("in the mode `staged` is open")?.says("`keyroll rollback`")?;
    let open = lab.keyroll(&["plan"])?;
    open.exits(2)?.says("a rotation is open")?.says("what is left of it")?.says("k1 is kept in escrow")?;
    open.does_not_say("is generated")?.does_not_say("k4")?.says("next: keyroll rotate")?;
    lab.keyroll(&["plan", "-o", "open.json"])?.exits(64)?.says("nothing was saved")?;
    assert!(!lab.folder().join("open.json").exists());

    lab.keyroll(&["rotate", "--wait", "none"])?.exits(3)?;
    lab.keyroll(&["rotate", "--until", "accepting"])?
        .exits(3)?
        .says("`accepting` lies behind already")?
        .does_not_say("done and proven")?;
    lab.keyroll(&["status"])?.exits(0)?.says("stage draining")?.does_not_say("not yet")?;
    lab.keyroll(&["complete", "--accept-loss", "5"])?.exits(1)?.says("this drain is by `lifetime`")?;
    lab.keyroll(&["rotate", "--accept-loss", "5"])?.exits(1)?.says("this drain is by `lifetime`")?;
    lab.keyroll(&["reload", "--laggards"])?.exits(1)?.says("nothing is being proven in draining")?;

    // The active key of a ring counts: of the one that is in use now it is not the old key.
    let ring = lab.keyroll(&["rollback", "--key-from", "keys"])?;
    ring.exits(1)?.says("nothing was changed")?.says("the key that was given is not k1")?;
    fs::write(lab.folder().join("junk"), "no key")?;
    let junk = lab.keyroll(&["rollback", "--key-from", "junk"])?;
    junk.exits(1)?.says("nothing was changed")?.says("give what stood in the active key's field")?;
    fs::write(lab.folder().join("ring-before"), &keys)?;

    // Going back, there is no further way back to offer.
    lab.keyroll(&["rollback", "--key-from", "ring-before", "--wait", "none"])?.exits(3)?;
    lab.keyroll(&["pause"])?.exits(0)?;
    lab.keyroll(&["explain"])?.exits(3)?.says("keyroll resume")?.does_not_say("keyroll rollback")?;
    Ok(())
}

fn escrow() -> Result<(), Failed> {
    let lab = Lab::start(Settings { escrow: Duration::from_secs(25), ..Settings::default() })?;
    lab.keyroll(&["rotate"])?.exits(0)?.says("k2 is in use")?;
    lab.keyroll(&["pause"])?.exits(1)?.says("nothing was changed")?.says("only `keyroll complete` destroys it")?;
    lab.keyroll(&["explain"])?.exits(3)?.says("waits for time")?;
    lab.wait_until_said(&["explain"], "`keyroll complete` destroys k1")?;
    lab.keyroll(&["status"])?.exits(0)?.says("`keyroll complete` destroys k1")?.does_not_say("keyroll rotate")?;
    lab.keyroll(&["complete"])?.exits(0)?;
    Ok(())
}

fn one_spelling() -> Result<(), Failed> {
    let lab = Lab::start(Settings::default())?;
    let plan = ["plan", "-o", "plan.json"];
    let revoke = ["revoke", "--mode", "hard-cutover", "--yes"];
    let commands: [&[&str]; 13] = [
        &["preflight"],
        &plan,
        &["lint"],
        &["rotate", "plan.json", "--until", "accepting"],
        &["plan"],
        &["status"],
        &["explain"],
        &["rollback"],
        &["verify"],
        &["history"],
        &["audit", "verify"],
        &["complete"],
        &revoke,
    ];
    for words in commands {
        let ran = lab.keyroll(&[words, &["--format", "json"]].concat())?;
        assert!(!ran.stdout.is_empty(), "{words:?} printed nothing");
        for line in ran.stdout.lines() {
            let document: serde_json::Value = serde_json::from_str(line)?;
            if document["schema_version"] != 1 || line.contains("schemaVersion") {
                return Err(ran.failed(&format!("should say `schema_version` in `{line}`")));
            }
        }
    }
    let exported = lab.keyroll(&["audit", "export", "--as", "json"])?.exits(0)?.stdout.clone();
    assert!(exported.contains("\"schema_version\"") && !exported.contains("schemaVersion"));
    for file in [lab.folder().join("plan.json"), lab.state().join("status.json")] {
        assert!(fs::read_to_string(file)?.contains("\"schema_version\""));
    }
    Ok(())
}

fn what_a_person_must_mend() -> Result<(), Failed> {
    let lab = Lab::start(Settings::default())?;
    lab.write_config("probes-nothing.yaml", "path: /healthz, accepted: [200], rejected: [401]", None)?;
    let failed = lab.keyroll(&["rotate", "-c", "probes-nothing.yaml"])?;
    failed
        .exits(4)?
        .says("probe.calibration")?
        .says("so the probe proves nothing")?
        .says("fix:")?
        .says("nothing was")?;
    lab.keyroll(&["preflight", "-c", "probes-nothing.yaml"])?.exits(4)?;
    let json = lab.keyroll(&["preflight", "-c", "probes-nothing.yaml", "--format", "json"])?.exits(4)?.json()?;
    let failed = json["checks"].as_array().into_iter().flatten().filter(|check| check["colour"] == "unknown");
    // On each of three members the probe can't tell the key in use from a random one, and that is one finding.
    assert!(failed.clone().count() == 3 && failed.clone().all(|check| check["fix"].is_string()), "{json}");

    // A reload command that fails stops the roll, and what was begun goes on once it is mended.
    lab.write_config("stuck.yaml", lab::PROBE, Some("list: [cat, members.json], reload: [\"false\"]"))?;
    fs::write(lab.folder().join("members.json"), lab.members()?)?;
    let unwritable = lab.keyroll(&["rotate", "-c", "stuck.yaml", "--state-dir", "/proc/nowhere"])?;
    unwritable.exits(1)?.says("nothing was changed")?.says("--state-dir")?.does_not_say("last entry")?;
    let stuck = lab.keyroll(&["rotate", "-c", "stuck.yaml"])?;
    stuck.exits(1)?.says("was not reloaded: `false` ended with exit code 1")?.says("goes on from there")?;
    lab.keyroll(&["status"])?.exits(0)?.says("stage accepting")?.says("nobody drives it")?;
    lab.keyroll(&["rotate"])?.exits(0)?.says("k2 is in use")?;
    Ok(())
}

fn revoked() -> Result<(), Failed> {
    let lab = Lab::start(Settings { counter: true, ..Settings::default() })?;
    let session = lab.log_in(0)?;
    assert_eq!(lab.accepted_by(&session)?, 3);
    let plan = lab.keyroll(&["plan", "--mode", "cutover"])?;
    plan.exits(2)?.says("every session under k1 ends")?.says("opened 3 times")?;

    let revoked = lab.keyroll(&["revoke", "--mode", "hard-cutover", "--yes", "--ticket", "INC-7"])?;
    revoked.exits(0)?;
    // Beforehand ...
    revoked.says("3 members")?.says("opened 3 times")?.says("at most those that were issued in the last 2s")?;
    // ... and afterwards.
    revoked.says("k1 is dead")?.says("3 of 3 members were shown to reject it")?;
    revoked.says("may have been in other hands")?.says("log in again")?.does_not_say("INC-7")?;
    assert_eq!(lab.accepted_by(&session)?, 0);

    let status = lab.keyroll(&["status"])?;
    status.exits(0)?.says("compromised")?.says("gone")?.does_not_say("store only")?;
    lab.keyroll(&["rollback"])?.exits(1)?;
    lab.keyroll(&["verify"])?.exits(0)?;
    lab.keyroll(&["audit", "verify"])?.exits(0)?;
    Ok(())
}
