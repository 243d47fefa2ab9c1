//! Users with cookie jars who log in, browse, and notice every logout.
//!
//! They judge by the page alone: it must name them and their session. Status codes differ between applications, and the worst
//! ones say 200 to a user whom they have just logged out.

mod dice;
mod jar;
mod user;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::http::Stopper;
use crate::report::Sessions;
use user::User;
use watch::Fate;

/// Users who are browsing. Dropping it sends them home without a judgement.
#[derive(Debug)]
pub struct Crowd {
    counters: Arc<Counters>,
    stopper: Stopper,
    users: JoinSet<Vec<Fate>>,
}

/// Who browses, where, and how.
#[derive(Clone, Debug)]
pub struct CrowdOptions {
    /// The address that they know.
    pub front: SocketAddr,
    /// How many users.
    pub users: u32,
    /// How many replicas there are: a refusal by all takes more tries than that.
    pub replicas: u32,
    /// How long a session lives.
    pub lifetime: Duration,
    /// Between two requests of a user, at least and at most.
    pub think: (Duration, Duration),
    /// What decides the users' doings.
    pub seed: u64,
}

/// What the users have seen so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Requests sent.
    pub requests: u64,
    /// Sessions begun.
    pub established: u64,
    /// Unexpired sessions that were refused at least once.
    pub lost: u64,
    /// Requests that got no answer of an application, and logins that failed.
    pub refused: u64,
}

impl Crowd {
    /// Lets them in. They come within a second or two.
    pub fn start(options: CrowdOptions) -> Self {
        let options = Arc::new(options);
        let counters = Arc::new(Counters::default());
        let (stopper, stop) = Stopper::pair();
        let mut users = JoinSet::new();
        for number in 0..options.users {
            users.spawn(User::new(number, Arc::clone(&options), Arc::clone(&counters)).live(stop.clone()));
        }
        Self { counters, stopper, users }
    }

    /// What they have seen so far.
    pub fn tally(&self) -> Tally {
        self.counters.tally()
    }

    /// Ends the browsing. Each user tries each unexpired session once more on every replica, and it is said what became of all.
    pub async fn finish(mut self) -> Result<(Tally, Sessions), CrowdError> {
        drop(self.stopper);
        let mut lost_for_good = 0;
        let mut lost = 0;
        while let Some(fates) = self.users.join_next().await {
            let fates = fates.map_err(CrowdError)?;
            lost += count(&fates, |fate| fate != Fate::Kept);
            lost_for_good += count(&fates, |fate| fate == Fate::LostForGood);
        }
        let tally = self.counters.tally();
        debug_assert_eq!(
            lost, tally.lost,
            "each lost session was counted once while the run went on and once at its end"
        );
        Ok((tally, Sessions { established: tally.established, lost, lost_for_good }))
    }
}

/// A user's task did not end well, so the figures would be incomplete.
#[derive(Debug, thiserror::Error)]
#[error("a user of the lab was interrupted, so the run can't be judged; start it again")]
pub struct CrowdError(#[source] tokio::task::JoinError);

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    established: AtomicU64,
    lost: AtomicU64,
    unanswered: AtomicU64,
}

impl Counters {
    fn tally(&self) -> Tally {
        Tally {
            requests: self.requests.load(Relaxed),
            established: self.established.load(Relaxed),
            lost: self.lost.load(Relaxed),
            refused: self.unanswered.load(Relaxed),
        }
    }
}

fn count(fates: &[Fate], wanted: impl Fn(Fate) -> bool) -> u64 {
    fates.iter().filter(|fate| wanted(**fate)).count() as u64
}
