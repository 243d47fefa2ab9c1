//! Three real Rails processes with users on them, rotated by the real binary through every fault: the end-to-end test.
//!
//! `examples/rails/run` runs it and prints the table. Each scenario has its own fleet, its own key and its own users.

mod lab;
mod preflight;

use std::time::Duration;

use keyroll_testkit::{Need, Suite};
use lab::{Depth, Scenario};

fn main() {
    let mut suite = Suite::new()
        .test("lint names each mistake of the example by itself", || lab::lints_are_named().map_err(Into::into));
    for scenario in scenarios() {
        if scenario.depth == Depth::Full && !lab::full_depth() {
            continue;
        }
        suite = suite.test_with(scenario.name, &[Need::Rails], move || scenario.run().map_err(Into::into));
    }
    suite.run()
}

fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        Scenario::usual("the runbook's own order logs users out", |lab| {
            lab.runbook_order()?;
            lab.settle_down(Duration::from_secs(2));
            lab.finish_with(|sessions| match sessions.lost {
                0 => Err("the runbook's order lost nothing; this run proves nothing".to_owned()),
                _ => Ok(()),
            })
        }),
        Scenario::usual("keyroll rotates and nobody is logged out", |lab| {
            lab.keyroll(&["preflight"]).exits(0)?;
            lab.keyroll(&["plan"]).exits(2)?;
            lab.keyroll(&["rotate", "--reason", "scheduled"]).exits(0)?;
            lab.keyroll(&["verify"]).exits(0)?;
            lab.keyroll(&["audit", "verify"]).exits(0)?;
            lab.old_key_is_dead()?;
            lab.nobody_was_logged_out()
        }),
        Scenario::usual("a member that somebody else restarts in the middle logs nobody out", |lab| {
            lab.keyroll(&["rotate", "--until", "accepting"]).exits(3)?;
            lab.restart_by_somebody_else("web-2")?;
            let rotate = lab.keyroll_in_background(&["rotate"])?;
            lab.wait_for_stage("promoting")?;
            lab.restart_by_somebody_else("web-3")?;
            rotate.ends(0)?;
            lab.old_key_is_dead()?;
            lab.nobody_was_logged_out()
        }),
        Scenario::usual(
            "a planned cutover ends as many sessions as it says, and its rollback brings them back",
            |lab| {
                lab.start_with_long_sessions()?;
                let before = lab.log_in_many(12, "before")?;
                lab.keyroll(&["plan", "--mode", "cutover"]).says("12 sessions are alive now")?;
                let cutover = lab.keyroll(&["rotate", "--mode", "cutover"]);
                cutover.exits(0)?;
                cutover.says("this ends every session under k1; 12 sessions are alive now")?;
                let ended = lab.count_ended(&before)?;
                let between = lab.log_in_many(5, "between")?;
                let rollback = lab.keyroll(&["rollback"]);
                rollback.exits(0)?;
                rollback.says("this ends every session under k2; 5 sessions are alive now")?;
                let (again, still) = (lab.count_ended(&between)?, lab.count_ended(&before)?);
                lab.tell(&format!(
                    "the cutover said 12 and ended {ended}; its rollback said 5, ended {again} and brought {} back",
                    12 - still
                ));
                match (ended, again, still) {
                    (12, 5, 0) => Ok(()),
                    _ => Err(format!("12, 5 and 0 sessions were to be ended, and {ended}, {again} and {still} were")),
                }
            },
        ),
        Scenario::usual(
            "preflight names the field that describes the sessions wrongly, once",
            preflight::wrong_descriptions,
        ),
        Scenario::usual(
            "lint and preflight name each mistake of the project, and nothing is written",
            preflight::mistakes_of_the_project,
        ),
        Scenario::usual("accelerated revocation kills the leaked key on every member", |lab| {
            lab.send_users_home()?;
            let forged = lab.forge("mallory")?;
            lab.is_accepted(&forged)?;
            lab.keyroll(&["revoke", "--mode", "accelerated", "--yes", "--reason", "compromise"]).exits(0)?;
            lab.is_refused(&forged)?;
            let fresh = lab.log_in("alice")?;
            lab.is_accepted(&fresh)?;
            lab.old_key_is_dead()
        }),
        Scenario::usual("a hard cutover kills the leaked key on every member", |lab| {
            lab.send_users_home()?;
            let forged = lab.forge("mallory")?;
            lab.is_accepted(&forged)?;
            lab.keyroll(&["revoke", "--mode", "hard-cutover", "--yes", "--reason", "compromise"]).exits(0)?;
            lab.is_refused(&forged)?;
            lab.keyroll(&["rollback"]).fails()?;
            lab.old_key_is_dead()
        }),
    ];
    for (stage, depth) in
        [("accepting", Depth::Full), ("promoting", Depth::Usual), ("draining", Depth::Full), ("retiring", Depth::Usual)]
    {
        all.push(Scenario::new(leak(format!("rollback from {stage} logs nobody out")), depth, move |lab| {
            lab.keyroll(&["rotate", "--until", stage]).exits(3)?;
            lab.keyroll(&["rollback"]).exits(0)?;
            lab.new_key_is_gone()?;
            lab.keyroll(&["audit", "verify"]).exits(0)?;
            lab.nobody_was_logged_out()
        }));
        all.push(Scenario::new(leak(format!("kill -9 in {stage} and resume logs nobody out")), depth, move |lab| {
            lab.kill_a_rotation_in(stage)?;
            lab.keyroll(&["rotate"]).exits(0)?;
            lab.keyroll(&["audit", "verify"]).exits(0)?;
            lab.no_temporary_files()?;
            lab.old_key_is_dead()?;
            lab.nobody_was_logged_out()
        }));
    }
    for (fault, says) in [
        ("missing-initializer", "web-1"),
        ("wrong-salt", "web-1"),
        ("wrong-digest", "web-1"),
        ("yaml-without-erb", "web-1"),
    ] {
        all.push(Scenario::new(
            leak(format!("the fault {fault} is found before any session is lost")),
            Depth::Usual,
            move |lab| {
                lab.start_with_fault(fault)?;
                // The initializer matters only when there is a second key: the first gate finds it, and nothing was promoted.
                let rotate = lab.keyroll(&["rotate", "--wait", "none"]);
                rotate.does_not_exit(0)?;
                rotate.says(says)?;
                lab.keyroll(&["rollback"]).exits(0)?;
                lab.nobody_was_logged_out()
            },
        ));
    }
    all
}

/// Test names live as long as the process.
fn leak(name: String) -> &'static str {
    Box::leak(name.into_boxed_str())
}
