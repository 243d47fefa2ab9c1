//! Every crash point, on several fleets at once: a rotation mostly waits, so they wait together.
//!
//! A kill that did not come to pass, because the driver took another way that time or had ended before, is tried again sooner
//! and on its own; what was missed even so is counted and said. A rotation that went wrong costs its fleet and no other one, so
//! that one run tells all that is wrong.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libtest_mimic::Failed;
use tokio::task::JoinSet;

use super::lane::{Kill, Lane, Points, now};

/// Kills the driver everywhere, as deep as the environment asks.
pub(crate) async fn killed_everywhere() -> Result<(), Failed> {
    let began = now();
    let depth = Depth::of_environment();
    let mut others = JoinSet::new();
    for seed in 2..=depth.lanes() {
        others.spawn(Lane::start(seed));
    }
    let mut first = Lane::start(1).await?;
    let Points { names: points, passed, took } = first.points().await?;
    let stages: BTreeSet<&str> = points.iter().filter_map(|name| name.split('/').next()).collect();
    tell(&format!(
        "crash points: {} names over {} stages, passed {passed} times in one rotation of {:.1} s",
        points.len(),
        stages.len(),
        took.as_secs_f64()
    ));
    let jobs = Arc::new(Jobs(Mutex::new(depth.jobs(&points, took))));
    let mut workers = JoinSet::new();
    workers.spawn(work(first, 101, Arc::clone(&jobs)));
    let mut seed = 101;
    while let Some(lane) = others.join_next().await {
        seed += 1;
        workers.spawn(work(lane??, seed, Arc::clone(&jobs)));
    }
    let mut sum = Sum::default();
    while let Some(worked) = workers.join_next().await {
        sum = sum.plus(worked?);
    }
    tell(&sum.line(&points, &stages, began.elapsed()));
    sum.judge(&points, &depth)
}

/// Takes jobs until there are none, or until too much has gone wrong.
async fn work(lane: Lane, seed: u64, jobs: Arc<Jobs>) -> Sum {
    let mut sum = Sum::default();
    let mut lane = Some(lane);
    let mut age = 0;
    while let Some(job) = jobs.take() {
        if sum.failures.len() >= ENOUGH_FAILURES {
            break;
        }
        let started = match lane.take() {
            Some(lane) => Ok(lane),
            None => Lane::start(seed).await,
        };
        let mut here = match started {
            Ok(lane) => lane,
            Err(failed) => {
                sum.fail(&failed);
                continue;
            }
        };
        let told = match here.rotate(job.kills.clone()).await {
            Ok(told) => told,
            Err(failed) => {
                sum.fail(&failed);
                here.abandon().await;
                age = 0;
                continue;
            }
        };
        sum.hear(&told.killed);
        for kill in told.missed {
            match job.instead(&kill) {
                Some(again) => jobs.put(again),
                None => sum.missed.push(job.to_string()),
            }
        }
        age += 1;
        if age == ROTATIONS_OF_A_FLEET {
            // Every driver reads the whole journal, so an old fleet is a slow one.
            age = 0;
            sum.add(here).await;
        } else {
            lane = Some(here);
        }
    }
    if let Some(lane) = lane {
        sum.add(lane).await;
    }
    sum
}

/// What is still to be done, for all fleets.
struct Jobs(Mutex<VecDeque<Job>>);

impl Jobs {
    fn take(&self) -> Option<Job> {
        self.0.lock().ok()?.pop_front()
    }

    fn put(&self, job: Job) {
        if let Ok(mut jobs) = self.0.lock() {
            jobs.push_back(job);
        }
    }
}

/// One rotation with its kills.
struct Job {
    kills: Vec<Kill>,
    /// How often a kill that was missed may be tried again.
    tries: u32,
}

impl Job {
    /// What is tried where one of the kills has been missed.
    fn instead(&self, missed: &Kill) -> Option<Self> {
        let tries = self.tries.checked_sub(1)?;
        let kills = match missed {
            Kill::At(_) => vec![missed.clone()],
            // A driver that is taken up passes at least one point, if there is anything to take up.
            Kill::AtNumber(1) => return None,
            Kill::AtNumber(_) => {
                self.kills.iter().filter(|kill| *kill != missed).cloned().chain([Kill::AtNumber(1)]).collect()
            }
            Kill::After(time) => vec![Kill::After(*time * 2 / 3)],
        };
        Some(Self { kills, tries })
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kills: Vec<String> = self.kills.iter().map(Kill::to_string).collect();
        f.write_str(&kills.join(", then "))
    }
}

enum Depth {
    Sample,
    Full,
}

impl Depth {
    fn of_environment() -> Self {
        match std::env::var("KEYROLL_TEST_DEPTH") {
            Ok(depth) if depth == "full" => Self::Full,
            _ => Self::Sample,
        }
    }

    fn lanes(&self) -> u64 {
        match self {
            Self::Sample => 4,
            Self::Full => 6,
        }
    }

    /// How many drivers are killed at random instants.
    fn instants(&self) -> usize {
        match self {
            Self::Sample => 8,
            Self::Full => 200,
        }
    }

    fn jobs(&self, points: &[String], rotation: Duration) -> VecDeque<Job> {
        let mut dice = Dice(7);
        let mut jobs = VecDeque::new();
        let mut job = |kills, tries| jobs.push_back(Job { kills, tries });
        match self {
            Self::Sample => {
                // The i-th rotation is killed at the i-th point of each stretch, so that the points of one rotation lie apart.
                let rotations = points.len().div_ceil(KILLS_OF_A_ROTATION);
                for first in 0..rotations {
                    job(points.iter().skip(first).step_by(rotations).cloned().map(Kill::At).collect(), 2);
                }
            }
            Self::Full => {
                for name in points {
                    job(vec![Kill::At(name.clone())], 2);
                }
                for name in points {
                    job(vec![Kill::At(name.clone()), Kill::AtNumber(1 + dice.below(LATEST_SECOND))], 2);
                }
            }
        }
        let longest = u64::try_from(rotation.as_millis()).unwrap_or(u64::MAX);
        for _ in 0..self.instants() {
            job(vec![Kill::After(Duration::from_millis(dice.below(longest)))], 20);
        }
        jobs
    }
}

/// What all fleets have lived through.
#[derive(Default)]
struct Sum {
    rotations: u64,
    at_points: u64,
    second: u64,
    at_instants: usize,
    established: u64,
    met: BTreeSet<String>,
    missed: Vec<String>,
    failures: Vec<String>,
}

impl Sum {
    fn hear(&mut self, killed: &[Kill]) {
        self.rotations += 1;
        for kill in killed {
            match kill {
                Kill::At(name) => {
                    self.at_points += 1;
                    self.met.insert(name.clone());
                }
                Kill::AtNumber(_) => self.second += 1,
                Kill::After(_) => self.at_instants += 1,
            }
        }
    }

    async fn add(&mut self, lane: Lane) {
        match lane.finish().await {
            Ok(run) => self.established += run.sessions.established,
            Err(failed) => self.fail(&failed),
        }
    }

    fn fail(&mut self, failed: &Failed) {
        let failure = failed.message().unwrap_or_default().to_owned();
        tell(&format!("crash points: FAILED {failure}"));
        self.failures.push(failure);
    }

    fn plus(mut self, other: Self) -> Self {
        self.rotations += other.rotations;
        self.at_points += other.at_points;
        self.second += other.second;
        self.at_instants += other.at_instants;
        self.established += other.established;
        self.met.extend(other.met);
        self.missed.extend(other.missed);
        self.failures.extend(other.failures);
        self
    }

    fn line(&self, points: &[String], stages: &BTreeSet<&str>, took: Duration) -> String {
        let lost = if self.failures.is_empty() { "0" } else { "see the failures" };
        format!(
            "crash points: {} points over {} stages ({}), {} kills ({} at a point, {} right after another one, {} at an \
             instant) in {} rotations, sessions established {}, lost {lost}, {:.0} s; kills that found nothing to kill: {}",
            points.len(),
            stages.len(),
            stages.iter().copied().collect::<Vec<_>>().join(", "),
            self.at_points + self.second + self.at_instants as u64,
            self.at_points,
            self.second,
            self.at_instants,
            self.rotations,
            self.established,
            took.as_secs_f64(),
            if self.missed.is_empty() { "none".to_owned() } else { self.missed.join("; ") },
        )
    }

    fn judge(self, points: &[String], depth: &Depth) -> Result<(), Failed> {
        let mut wrong = self.failures;
        let unmet: Vec<&String> = points.iter().filter(|name| !self.met.contains(*name)).collect();
        if !unmet.is_empty() {
            wrong.push(format!("at these points nobody was killed: {unmet:?}"));
        }
        if self.at_instants < depth.instants() {
            wrong.push(format!("only {} of {} were killed at an instant", self.at_instants, depth.instants()));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
    }
}

/// Numbers that are the same in each run of the test.
struct Dice(u64);

impl Dice {
    /// `splitmix64`, reduced.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}

#[expect(clippy::print_stderr, reason = "the figures are what the person who runs this wants to see")]
fn tell(line: &str) {
    eprintln!("{line}");
}

const KILLS_OF_A_ROTATION: usize = 8;
const ROTATIONS_OF_A_FLEET: u64 = 20;
/// The second of two kills in a row comes at one of so many points.
const LATEST_SECOND: u64 = 40;
/// After so many failures a fleet's worker gives up.
const ENOUGH_FAILURES: usize = 3;
