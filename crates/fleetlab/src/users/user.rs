//! One user: logs in, browses, leaves, comes back.
//!
//! A user who was logged out logs in again after a while, like anybody; but the cookies of the lost session go into a drawer and are
//! tried until the session's own end. Only so can it be told whether a session was lost for a time or for good.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request, Response, header};

use super::dice::Dice;
use super::jar::Jar;
use super::watch::{Fate, Heard, News, Watch};
use super::{Counters, CrowdOptions};
use crate::http::{Line, Stop};

/// One user, before the first login.
pub(super) struct User {
    name: String,
    dice: Dice,
    line: Line,
    options: Arc<CrowdOptions>,
    counters: Arc<Counters>,
    /// How long a visit lasts, at least and at most.
    stay: (Duration, Duration),
    visit: Option<Visit>,
    drawer: Vec<Visit>,
    fates: Vec<Fate>,
}

struct Visit {
    jar: Jar,
    watch: Watch,
    leaves_at: SystemTime,
    tried_at: SystemTime,
}

impl User {
    pub(super) fn new(number: u32, options: Arc<CrowdOptions>, counters: Arc<Counters>) -> Self {
        // One in three only looks in, so that at any time somebody logs in; the others stay, half of them to their session's end.
        let lifetime = options.lifetime;
        let stay =
            if number.is_multiple_of(3) { (lifetime / 20, lifetime / 5) } else { (Duration::ZERO, lifetime * 2) };
        Self {
            stay,
            name: format!("user-{number}"),
            dice: Dice::of(options.seed, number),
            line: Line::to(options.front),
            options,
            counters,
            visit: None,
            drawer: Vec::new(),
            fates: Vec::new(),
        }
    }

    /// Lives until `stop`, then tries each session that has not ended once more on every replica. Returns what became of all of them.
    pub(super) async fn live(mut self, mut stop: Stop) -> Vec<Fate> {
        let mut pause = self.dice.between(Duration::ZERO, self.options.lifetime / 20);
        let mut too_late = std::pin::pin!(tokio::time::sleep(self.options.longest));
        loop {
            tokio::select! {
                () = stop.requested() => break,
                () = &mut too_late => break,
                () = tokio::time::sleep(pause) => {}
            }
            match self.visit.take() {
                None => self.log_in().await,
                Some(visit) => self.browse(visit).await,
            }
            self.search_drawer().await;
            pause = self.dice.between(self.options.think.0, self.options.think.1);
        }
        self.judge().await
    }

    async fn log_in(&mut self) {
        let stay = self.dice.between(self.stay.0, self.stay.1);
        let mut jar = Jar::default();
        let body = Full::new(Bytes::from(format!("user={}", self.name)));
        let Some(response) = self.request(Method::POST, "/login", &mut jar, body).await else { return };
        match Watch::begun_by(&self.name, &response) {
            Some(watch) => {
                self.counters.established.fetch_add(1, Relaxed);
                let now = now();
                self.visit = Some(Visit { jar, watch, leaves_at: now + stay, tried_at: now });
            }
            None => {
                self.counters.unanswered.fetch_add(1, Relaxed);
            }
        }
    }

    async fn browse(&mut self, mut visit: Visit) {
        let (heard, now) = self.look(&mut visit).await;
        let over = heard == Heard::Refused && now >= visit.watch.expires_at();
        let leaving = now >= visit.leaves_at;
        let refusals = visit.watch.refused_in_a_row();
        if over || (leaving && refusals == 0) {
            self.close(&visit);
        } else if leaving || refusals >= 3 * self.options.replicas {
            // Whoever leaves with a session in trouble still wants to know what becomes of it.
            self.drawer.push(visit);
        } else {
            self.visit = Some(visit);
        }
    }

    async fn search_drawer(&mut self) {
        for mut visit in std::mem::take(&mut self.drawer) {
            let now = now();
            if now >= visit.watch.expires_at() {
                self.close(&visit);
                continue;
            }
            if now.duration_since(visit.tried_at).is_ok_and(|since| since >= DRAWER_INTERVAL) {
                self.look(&mut visit).await;
            }
            self.drawer.push(visit);
        }
    }

    async fn judge(mut self) -> Vec<Fate> {
        let open: Vec<_> = self.visit.take().into_iter().chain(std::mem::take(&mut self.drawer)).collect();
        for mut visit in open {
            let (mut tries, mut accepted) = (0, 0);
            // Until it is clear, but not for ever where nobody answers.
            while accepted < self.enough()
                && visit.watch.refused_in_a_row() < self.enough()
                && tries < 4 * self.enough()
                && now() < visit.watch.expires_at()
            {
                tries += 1;
                if self.look(&mut visit).await.0 == Heard::Accepted {
                    accepted += 1;
                }
            }
            self.close(&visit);
        }
        self.fates
    }

    async fn look(&mut self, visit: &mut Visit) -> (Heard, SystemTime) {
        let response = self.request(Method::GET, "/me", &mut visit.jar, Full::default()).await;
        let heard = response.map_or(Heard::Nothing, |response| visit.watch.understand(&response));
        let now = now();
        visit.tried_at = now;
        if visit.watch.hear(heard, now) == News::Lost {
            self.counters.lost.fetch_add(1, Relaxed);
        }
        (heard, now)
    }

    async fn request(
        &mut self,
        method: Method,
        path: &'static str,
        jar: &mut Jar,
        body: Full<Bytes>,
    ) -> Option<Response<Bytes>> {
        self.counters.requests.fetch_add(1, Relaxed);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = hyper::Uri::from_static(path);
        let headers = request.headers_mut();
        headers.insert(header::HOST, header::HeaderValue::from_static("lab.invalid"));
        if let Some(cookies) = jar.header(now()) {
            headers.insert(header::COOKIE, cookies);
        }
        match self.line.exchange(request).await {
            Ok(response) => {
                jar.follow(response.headers(), now());
                if response.status().is_server_error() {
                    self.counters.unanswered.fetch_add(1, Relaxed);
                    return None;
                }
                Some(response)
            }
            Err(err) => {
                tracing::debug!(user = self.name, %err, "no answer from the front");
                self.counters.unanswered.fetch_add(1, Relaxed);
                None
            }
        }
    }

    fn close(&mut self, visit: &Visit) {
        self.fates.push(visit.watch.fate(self.enough()));
    }

    /// So many requests in a row have met every replica, with other users' requests between them.
    fn enough(&self) -> u32 {
        2 * self.options.replicas
    }
}

#[expect(clippy::disallowed_methods, reason = "users live in real time")]
fn now() -> SystemTime {
    SystemTime::now()
}

const DRAWER_INTERVAL: Duration = Duration::from_millis(500);
