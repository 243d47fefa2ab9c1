//! Random schedules over the production machine: 10,000 in every test run.
//!
//! `KEYROLL_SCHEDULES=1000000` runs a million. `KEYROLL_SEED=N` replays one and prints its story.

#![expect(clippy::print_stdout, reason = "a failure has to be read, and the size of the run is part of the result")]

use std::collections::BTreeMap;

use keyroll_rotation::simulation::{self, Scenario};

#[test]
fn random_schedules_lose_no_session_break_no_invariant_and_finish() {
    if let Some(seed) = number("KEYROLL_SEED") {
        tell(seed);
        return;
    }
    let schedules = number("KEYROLL_SCHEDULES").unwrap_or(10_000);
    let (mut events, mut sessions, mut crashes) = (0_u64, 0_u64, 0_u64);
    let mut modes = BTreeMap::new();
    let mut broken = Vec::new();
    for seed in 0..schedules {
        let scenario = Scenario::random(seed);
        let report = simulation::run(seed, &scenario).unwrap();
        events += u64::from(report.events);
        sessions += u64::from(report.sessions);
        crashes += u64::from(report.crashes);
        *modes.entry(format!("{:?}", scenario.mode)).or_insert(0_u64) += 1;
        if report.broken.is_some() {
            broken.push(seed);
            if broken.len() >= 5 {
                break;
            }
        }
    }
    println!("{schedules} schedules, {events} events, {sessions} sessions, {crashes} crashes, {modes:?}");
    if let Some(&seed) = broken.first() {
        tell(seed);
        panic!("broken by the seeds {broken:?}; replay one with `KEYROLL_SEED={seed}`");
    }
}

fn tell(seed: u64) {
    let scenario = Scenario::random(seed);
    println!("seed {seed}: {scenario:#?}");
    let report = simulation::replay(seed, &scenario).unwrap();
    for line in &report.story {
        println!("{line}");
    }
    println!("{:?}", report.broken);
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("`{name}` is not a number: `{text}`")))
}
