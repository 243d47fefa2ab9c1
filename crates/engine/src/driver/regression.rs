//! Errors during a roll: the share of requests that fail with 401 or 5xx, against what it was before.
//!
//! A member that is reloaded counts from zero, so what it shows is taken whole; and what Keyroll itself sent is taken away,
//! because its probes under a random key are refused on purpose.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use keyroll_adapters::evidence::{RequestCounts, Traffic};
use keyroll_adapters::fleets::{BootId, MemberId};
use keyroll_rotation::gate::MemberKind;
use keyroll_rotation::{Direction, Stage};

use crate::assembly::OnRegression;
use crate::clock::{calendar, millis};
use crate::driver::session::Session;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::error::error_chain;
use crate::journal::{Reason, Why};
use crate::members::sweep::RunKey;
use crate::world::stamp::{Asked, PendingRequest};

/// One reading of every member's counters.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    counts: Vec<RequestCounts>,
    /// Why somebody's counters could not be read, if that was so.
    missing: Option<String>,
}

/// What is known when a roll begins.
#[derive(Debug)]
pub(crate) struct Watched {
    before: Readings,
    sent: BTreeMap<RunKey, Traffic>,
    began: Duration,
    looked: Duration,
}

impl Readings {
    /// All of them, if nobody's is missing.
    pub(crate) fn complete(&self) -> Result<&[RequestCounts], String> {
        self.missing.clone().map_or(Ok(self.counts.as_slice()), Err)
    }
}

impl Engine {
    /// Reads every serving member's counters, several at a time.
    pub(crate) async fn read_error_rates(&self) -> Readings {
        let Some(watch) = &self.assembly.error_rates else { return Readings::default() };
        let listed = match self.list().await {
            Ok(listed) => listed,
            Err(error) => return Readings { counts: Vec::new(), missing: Some(error_chain(&error)) },
        };
        let serving = listed.into_iter().filter(|one| one.kind == MemberKind::Serving);
        let mut answers = stream::iter(serving)
            .map(|one| async move { watch.source.read(&one.member).await })
            .buffer_unordered(self.assembly.policy.concurrency.max(1));
        let mut readings = Readings::default();
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(count) => readings.counts.extend(count),
                Err(error) => readings.missing = Some(error_chain(&error)),
            }
        }
        readings
    }
}

impl Session<'_> {
    /// The counters as they are before a roll.
    pub(crate) async fn watch_errors(&self) -> Watched {
        let before = self.engine.read_error_rates().await;
        let now = self.engine.clock.boottime();
        Watched { before, sent: self.sent.clone(), began: now, looked: now }
    }

    /// What was sent to members counts neither for nor against them.
    pub(crate) fn remember_sent(&mut self, sent: Vec<(RunKey, Traffic)>) {
        for (run, traffic) in sent {
            let known = self.sent.entry(run).or_default();
            *known = known.plus(traffic);
        }
    }

    /// Between two members: stops the roll where requests fail that did not fail before.
    pub(crate) async fn heed_errors(&mut self, watched: &mut Watched) -> Result<(), EngineError> {
        let Some(watch) = self.engine.assembly.error_rates.clone() else { return Ok(()) };
        let now = self.engine.clock.boottime();
        if now.saturating_sub(watched.looked) < watch.over / LOOKS_IN_A_SPAN {
            return Ok(());
        }
        watched.looked = now;
        self.judge_errors(watched).await.map(drop)
    }

    /// When the roll is over: the rate is taken over the whole span that the file names, and a rate that is too high then still
    /// stops the rotation before anything more is written.
    pub(crate) async fn look_back_on_errors(&mut self, watched: &Watched) -> Result<(), EngineError> {
        let Some(watch) = self.engine.assembly.error_rates.clone() else { return Ok(()) };
        let mut looks = 0;
        while self.engine.clock.boottime().saturating_sub(watched.began) < watch.over {
            self.judge_errors(watched).await?;
            self.pause_between_looks(&mut looks).await?;
        }
        let users = self.judge_errors(watched).await?;
        if users.total < LEAST_REQUESTS {
            self.caution(format!(
                "{} requests were counted since the roll began, too few to tell whether errors have risen",
                users.total
            ));
        }
        Ok(())
    }

    /// Whether more of what users ask fails than before the roll. Then it stands still, or goes back where the policy says so.
    async fn judge_errors(&mut self, watched: &Watched) -> Result<Traffic, EngineError> {
        let Some(watch) = self.engine.assembly.error_rates.clone() else { return Ok(Traffic::default()) };
        let after = self.engine.read_error_rates().await;
        let own = |member: &MemberId, boot: &BootId| {
            let of = |sent: &BTreeMap<RunKey, Traffic>| {
                let runs = sent.iter().filter(|((_, id, run), _)| (id, run) == (member, boot));
                runs.fold(Traffic::default(), |sum, (_, traffic)| sum.plus(*traffic))
            };
            of(&self.sent).without(of(&watched.sent))
        };
        let users = RequestCounts::since(&watched.before.counts, &after.counts, own);
        let always =
            watched.before.counts.iter().fold(Traffic::default(), |sum, counts| {
                sum.plus(Traffic { total: counts.total, failed: counts.failed })
            });
        let baseline = always.failed_permille().unwrap_or(0);
        let share = users.failed_permille().unwrap_or(0);
        // A cutover ends sessions on purpose, and whoever is still on a member that accepts a leaked key must not stay there.
        if self.machine().is_some_and(|machine| machine.stage == Stage::CuttingOver) {
            return Ok(users);
        }
        if users.total < LEAST_REQUESTS || share <= baseline.saturating_add(watch.threshold_permille) {
            return Ok(users);
        }
        let found = format!(
            "since the roll began {share} of 1000 requests fail ({} of {}); before it {baseline} did, and {} more are allowed",
            users.failed, users.total, watch.threshold_permille
        );
        self.caution(found.clone());
        let forward = self.machine().is_some_and(|machine| machine.direction == Direction::Forward);
        if watch.then == OnRegression::Hold || !forward {
            return Err(EngineError::ErrorsRose { found });
        }
        // The policy decides in a person's place, and the request goes the way of every other one.
        let id = self.engine.new_rotation_id()?.0;
        let rotation = self.rotation_id();
        let at = calendar(millis(self.engine.clock.now()));
        self.stamp.requests.push(PendingRequest {
            id,
            rotation,
            by: "policy".into(),
            at,
            why: Why { reason: Reason::Incident, ticket: None, note: Some(found) },
            what: Asked::Rollback {},
        });
        Err(EngineError::RequestWaits)
    }
}

/// How often errors are looked at within the span over which their rate is taken.
const LOOKS_IN_A_SPAN: u32 = 8;

/// Of fewer requests nobody can say what share of them fails.
const LEAST_REQUESTS: u64 = 20;
