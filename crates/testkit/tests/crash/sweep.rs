//! Every crash point, on several fleets at once: a rotation mostly waits, so they wait together.
//!
//! A kill that did not come to pass because the driver took another way that time is tried again on its own, and a point that
//! is then missed again is counted and said.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libtest_mimic::Failed;
use tokio::task::JoinSet;

use super::lane::{Kill, Lane};

/// Kills the driver everywhere, as deep as the environment asks.
pub(crate) async fn killed_everywhere() -> Result<(), Failed> {
    let depth = Depth::of_environment();
    let mut lane = Lane::start(1).await?;
    let (points, passed) = lane.points().await?;
    let mut sum = Sum::default();
    sum.add(lane).await?;
    let stages: BTreeSet<&str> = points.iter().filter_map(|name| name.split('/').next()).collect();
    tell(&format!("crash points: {} names, passed {passed} times in one rotation", points.len()));
    let jobs = Arc::new(Jobs(Mutex::new(depth.jobs(&points))));
    let mut lanes = JoinSet::new();
    for seed in 0..depth.lanes() {
        lanes.spawn(work(seed + 2, Arc::clone(&jobs)));
    }
    while let Some(worked) = lanes.join_next().await {
        sum = sum.plus(worked??);
    }
    tell(&format!(
        "crash points: {} points over {} stages ({}), {} kills ({} at a point, {} at an instant) in {} rotations, \
         {} kills not met, sessions established {}, lost 0",
        points.len(),
        stages.len(),
        stages.into_iter().collect::<Vec<_>>().join(", "),
        sum.at_points + sum.at_instants,
        sum.at_points,
        sum.at_instants,
        sum.rotations,
        sum.missed.len(),
        sum.established,
    ));
    let unmet: Vec<&String> = points.iter().filter(|name| !sum.met.contains(*name)).collect();
    match unmet.as_slice() {
        [] => Ok(()),
        _ => Err(format!("at these points nobody was killed: {unmet:?}").into()),
    }
}

/// Takes jobs until there are none.
async fn work(seed: u64, jobs: Arc<Jobs>) -> Result<Sum, Failed> {
    let mut sum = Sum::default();
    let mut lane = None;
    let mut age = 0;
    while let Some(Job { kills, tries }) = jobs.take()? {
        let mut here = match lane.take() {
            Some(lane) => lane,
            None => Lane::start(seed).await?,
        };
        let told = here.rotate(kills).await?;
        sum.hear(&told.killed);
        for kill in told.missed {
            match tries {
                0 => sum.missed.push(format!("{kill:?}")),
                _ => jobs.put(Job { kills: vec![kill], tries: tries - 1 })?,
            }
        }
        age += 1;
        if age % ROTATIONS_OF_A_FLEET == 0 {
            // Every driver reads the whole journal, so an old fleet is a slow one.
            sum.add(here).await?;
        } else {
            lane = Some(here);
        }
    }
    if let Some(lane) = lane {
        sum.add(lane).await?;
    }
    Ok(sum)
}

/// What is still to be done, for all fleets.
struct Jobs(Mutex<VecDeque<Job>>);

impl Jobs {
    fn take(&self) -> Result<Option<Job>, Failed> {
        Ok(self.0.lock().map_err(|_| "another fleet's task panicked")?.pop_front())
    }

    fn put(&self, job: Job) -> Result<(), Failed> {
        self.0.lock().map_err(|_| "another fleet's task panicked")?.push_back(job);
        Ok(())
    }
}

/// One rotation with its kills.
struct Job {
    kills: Vec<Kill>,
    /// How often a kill that was missed may be tried again.
    tries: u32,
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

    fn jobs(&self, points: &[String]) -> VecDeque<Job> {
        let mut dice = Dice(7);
        let instant = |dice: &mut Dice| Kill::After(Duration::from_millis(dice.below(LONGEST_ROTATION)));
        match self {
            Self::Sample => {
                // The i-th rotation is killed at the i-th point of each stretch, so that the points of one rotation lie apart.
                let rotations = points.len().div_ceil(KILLS_OF_A_ROTATION);
                let chains = (0..rotations).map(|first| {
                    let kills = points.iter().skip(first).step_by(rotations).cloned().map(Kill::At).collect();
                    Job { kills, tries: 2 }
                });
                let instants = (0..4).map(|_| vec![instant(&mut dice), instant(&mut dice)]);
                chains.chain(instants.map(|kills| Job { kills, tries: 0 })).collect()
            }
            Self::Full => {
                let once = points.iter().cloned().map(|name| Job { kills: vec![Kill::At(name)], tries: 2 });
                let mut jobs: VecDeque<Job> = once.collect();
                for name in points.iter().cloned() {
                    let second = Kill::AtNumber(1 + dice.below(40));
                    jobs.push_back(Job { kills: vec![Kill::At(name), second], tries: 0 });
                }
                jobs.extend((0..200).map(|_| Job { kills: vec![instant(&mut dice)], tries: 0 }));
                jobs
            }
        }
    }
}

/// What all fleets have lived through.
#[derive(Default)]
struct Sum {
    rotations: u64,
    at_points: u64,
    at_instants: u64,
    established: u64,
    met: BTreeSet<String>,
    missed: Vec<String>,
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
                Kill::AtNumber(_) => self.at_points += 1,
                Kill::After(_) => self.at_instants += 1,
            }
        }
    }

    async fn add(&mut self, lane: Lane) -> Result<(), Failed> {
        self.established += lane.finish().await?.sessions.established;
        Ok(())
    }

    fn plus(mut self, other: Self) -> Self {
        self.rotations += other.rotations;
        self.at_points += other.at_points;
        self.at_instants += other.at_instants;
        self.established += other.established;
        self.met.extend(other.met);
        self.missed.extend(other.missed);
        self
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
        (mixed ^ (mixed >> 31)) % limit
    }
}

#[expect(clippy::print_stderr, reason = "the figures are what the person who runs this wants to see")]
fn tell(line: &str) {
    eprintln!("{line}");
}

const KILLS_OF_A_ROTATION: usize = 8;
const ROTATIONS_OF_A_FLEET: u64 = 20;
/// In milliseconds; a rotation that ends earlier has missed its kill.
const LONGEST_ROTATION: u64 = 8_000;
