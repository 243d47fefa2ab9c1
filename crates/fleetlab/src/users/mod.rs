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
    /// After this they stop by themselves, whatever happens.
    pub longest: Duration,
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

/// Reads what the users have seen so far, also while a run has the crowd.
#[derive(Clone, Debug)]
pub struct Gauge(Arc<Counters>);

impl Gauge {
    /// What they have seen so far.
    pub fn read(&self) -> Tally {
        self.0.tally()
    }
}

impl Crowd {
    /// Lets them in. They come within a twentieth of a session's lifetime.
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

    /// A view of what they see, for a display.
    pub fn gauge(&self) -> Gauge {
        Gauge(Arc::clone(&self.counters))
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::time::SystemTime;

    use hyper::{Method, StatusCode};
    use tokio::net::TcpListener;
    use uuid::Uuid;

    use super::*;
    use crate::http::{self, text};

    /// What a site says to a session at its n-th page, counted from 1.
    type Manner = fn(u32) -> StatusCode;

    const LIFETIME: Duration = Duration::from_secs(4);

    async fn figures(manner: Manner) -> (Tally, Sessions) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = listener.local_addr().unwrap();
        #[expect(clippy::disallowed_methods, reason = "users live in real time")]
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let expires_at = (now + LIFETIME).as_secs();
        let pages = Arc::new(Mutex::new(HashMap::<String, u32>::new()));
        let users = Arc::new(Mutex::new(HashMap::<String, String>::new()));
        let (_site, stop) = Stopper::pair();
        tokio::spawn(http::serve(listener, stop, move |request| {
            let (pages, users) = (Arc::clone(&pages), Arc::clone(&users));
            async move {
                let page = |status, session: &str, user: &str| {
                    let body = serde_json::json!({ "user": user, "session": session, "expires_at": expires_at });
                    text(status, "application/json", body.to_string())
                };
                if request.method() == Method::POST {
                    let session = Uuid::new_v4().to_string();
                    let user = std::str::from_utf8(request.body()).unwrap().strip_prefix("user=").unwrap().to_owned();
                    let mut response = page(StatusCode::OK, &session, &user);
                    response.headers_mut().insert("set-cookie", format!("id={session}; Path=/").parse().unwrap());
                    users.lock().unwrap().insert(session, user);
                    return response;
                }
                let session = request.headers()["cookie"].to_str().unwrap().strip_prefix("id=").unwrap().to_owned();
                let mut pages = pages.lock().unwrap();
                let number = pages.entry(session.clone()).or_default();
                *number += 1;
                page(manner(*number), &session, &users.lock().unwrap()[&session])
            }
        }));
        let crowd = Crowd::start(CrowdOptions {
            front,
            users: 6,
            replicas: 3,
            lifetime: LIFETIME,
            think: (Duration::from_millis(5), Duration::from_millis(10)),
            longest: Duration::from_secs(60),
            seed: 1,
        });
        tokio::time::sleep(Duration::from_millis(700)).await;
        crowd.finish().await.unwrap()
    }

    #[tokio::test]
    async fn a_site_that_keeps_its_sessions_loses_none() {
        let (tally, sessions) = figures(|_| StatusCode::OK).await;
        assert!(sessions.established >= 6, "{sessions:?}");
        assert_eq!(sessions, Sessions { lost: 0, lost_for_good: 0, ..sessions });
        assert_eq!(tally.refused, 0);
    }

    #[tokio::test]
    async fn a_site_that_refuses_each_session_once_loses_all_of_them_for_a_time() {
        let (_, sessions) = figures(|page| if page == 3 { StatusCode::UNAUTHORIZED } else { StatusCode::OK }).await;
        assert!(sessions.established >= 6, "{sessions:?}");
        assert_eq!(sessions, Sessions { lost: sessions.established, lost_for_good: 0, ..sessions });
    }

    #[tokio::test]
    async fn a_site_that_drops_each_session_loses_all_of_them_for_good() {
        let (tally, sessions) = figures(|page| if page < 3 { StatusCode::OK } else { StatusCode::FOUND }).await;
        assert!(sessions.established > 6, "they log in again: {sessions:?}");
        let all = sessions.established;
        assert_eq!(sessions, Sessions { lost: all, lost_for_good: all, ..sessions });
        assert_eq!((tally.lost, tally.refused), (all, 0));
    }

    #[tokio::test]
    async fn a_site_that_does_not_answer_is_counted_apart() {
        let (tally, sessions) = figures(|_| StatusCode::SERVICE_UNAVAILABLE).await;
        assert_eq!(sessions, Sessions { lost: 0, lost_for_good: 0, ..sessions });
        assert_eq!(tally.refused, tally.requests - sessions.established);
    }
}
