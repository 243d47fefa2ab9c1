//! `keyroll simulate`: this configuration's rotation, run thousands of times by the production machine over a simulated fleet.

use keyroll_rotation::simulation::{self, Chaos, Churn, Report, Scenario};
use keyroll_rotation::{Mode, Stage};

use super::setup::load_config;
use crate::args::{Global, SimulateArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Console, SCHEMA_VERSION};

pub(crate) fn run(args: &SimulateArgs, global: &Global, console: Console) -> Result<Exit, Failure> {
    let config = load_config(global)?;
    let members = args.members.unwrap_or(DEFAULT_MEMBERS) as usize;
    let mut scenario = Scenario::of(Mode::Staged, members, keyroll_engine::settings(&config));
    scenario.stores = config.stores.len();
    scenario.chaos = if args.chaos {
        Chaos { churn: Churn::Any, foreign_writes: 1, rollbacks: 1, revocations: 0, crashes: 3 }
    } else {
        Chaos { churn: Churn::None, foreign_writes: 0, rollbacks: 0, revocations: 0, crashes: 0 }
    };
    let began = std::time::Duration::from_millis(millis());
    let mut totals = Totals::default();
    for number in 0..args.runs {
        let seed = args.seed.wrapping_add(number);
        let report = simulation::run(seed, &scenario).map_err(|err| {
            Failure::from_error(Exit::Usage, &err).next("the configuration can't be simulated as it is")
        })?;
        totals.add(&report);
        if report.broken.is_some() {
            return Ok(loss(args, seed, members, &scenario, console));
        }
    }
    let seconds = std::time::Duration::from_millis(millis()).saturating_sub(began).as_secs_f64().max(0.001);
    show(args, members, &totals, seconds, console);
    Ok(Exit::Done)
}

#[derive(Default)]
struct Totals {
    runs: u64,
    events: u64,
    sessions: u64,
    visits: u64,
    crashes: u64,
    finished: u64,
    refused_by_name: u64,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.events += u64::from(report.events);
        self.sessions += u64::from(report.sessions);
        self.visits += u64::from(report.visits);
        self.crashes += u64::from(report.crashes);
        self.refused_by_name += u64::from(report.refused_by_name);
        self.finished += u64::from(matches!(report.stage, Stage::Escrow | Stage::Finished));
    }
}

fn show(args: &SimulateArgs, members: usize, totals: &Totals, seconds: f64, console: Console) {
    let per_second = totals.runs as f64 / seconds;
    let text = format!(
        "{} runs over {members} members{}: {} events, {} crashes, {} sessions, {} visits\n\
         0 sessions lost by Keyroll; {} rotations came to their end; {per_second:.0} runs a second\n\
         refused because of a foreign hand: {}\n",
        totals.runs,
        if args.chaos { " with chaos" } else { "" },
        totals.events,
        totals.crashes,
        totals.sessions,
        totals.visits,
        totals.finished,
        totals.refused_by_name,
    );
    let document = serde_json::json!({
        "schema_version": SCHEMA_VERSION, "kind": "simulation", "runs": totals.runs, "members": members,
        "chaos": args.chaos, "first_seed": args.seed, "events": totals.events, "crashes": totals.crashes,
        "sessions": totals.sessions, "visits": totals.visits, "lost": 0, "finished": totals.finished,
        "refused_by_foreign_hand": totals.refused_by_name, "seconds": seconds,
    });
    console.result(&text, &document);
}

/// A session was lost in a simulated run: the story, and the seed that tells it again.
fn loss(args: &SimulateArgs, seed: u64, members: usize, scenario: &Scenario, console: Console) -> Exit {
    let story = simulation::replay(seed, scenario);
    let (lines, broken) = match &story {
        Ok(report) => {
            let broken = report.broken.as_ref();
            (report.story.clone(), broken.map(|broken| format!("{}: {}", broken.invariant, broken.reason)))
        }
        Err(err) => (vec![err.to_string()], None),
    };
    let broken = broken.unwrap_or_else(|| "the run could not be told again".to_owned());
    let text = format!(
        "{}\nbroken: {broken}\ntell it again: keyroll simulate{} --members {members} --runs 1 --seed {seed}\n",
        lines.join("\n"),
        if args.chaos { " --chaos" } else { "" },
    );
    let document = serde_json::json!({
        "schema_version": SCHEMA_VERSION, "kind": "simulation", "seed": seed, "broken": broken, "story": lines,
    });
    console.result(&text, &document);
    Exit::Failed
}

fn millis() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

const DEFAULT_MEMBERS: u32 = 3;
