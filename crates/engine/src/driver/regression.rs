//! Errors during a roll: the share of requests that fail with 401 or 5xx, against what it was before.
//!
//! A member that is reloaded counts from zero, so what it shows is taken whole; and what Keyroll itself sent is taken away,
//! because its probes under a random key are refused on purpose. That is also why "before" is measured, and not what the
//! counters hold. Where members read the key again by themselves there is no roll; then it is the write that is watched.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use keyroll_adapters::evidence::{RequestCounts, Traffic};
use keyroll_adapters::fleets::{BootId, MemberId};
use keyroll_rotation::gate::MemberKind;
use keyroll_rotation::{Direction, ReloadNeed, Stage, Step};

use crate::assembly::OnRegression;
use crate::clock::{calendar, millis};
use crate::driver::session::Session;
use crate::engine::Engine;
use crate::error::{EngineError, error_chain};
use crate::journal::{Reason, Why};
use crate::members::sweep::RunKey;
use crate::world::stamp::{Asked, PendingRequest};

/// One reading of every member's counters.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    counts: Vec<RequestCounts>,
    /// Whose counters could not be read, and why.
    unread: BTreeMap<(MemberId, BootId), String>,
    /// Why nobody's could be read, if that was so.
    unlisted: Option<String>,
}

/// What is known when a roll begins.
#[derive(Debug)]
pub(crate) struct Watched {
    before: Readings,
    sent: BTreeMap<RunKey, Traffic>,
    began: Duration,
    looked: Duration,
}

/// What this process knows of errors besides the roll that it is in.
#[derive(Debug, Default)]
pub(crate) struct ErrorWatch {
    /// What users met over the whole span before anything was written; none where it was not measured.
    baseline: Option<Traffic>,
    written: Written,
}

/// The write that members take up by themselves, without a roll.
#[derive(Debug, Default)]
enum Written {
    /// By a process that is gone, so nobody has read the counters before it.
    #[default]
    Unseen,
    /// The counters as they were before it.
    By(Box<Watched>),
    /// What followed from it was looked at.
    Judged,
}

/// What two readings say of the users between them.
#[derive(Debug, Default, Eq, PartialEq)]
struct Compared {
    users: Traffic,
    /// Of whom nothing is known, and why.
    unknown: Vec<String>,
}

impl Readings {
    /// All of them, if nobody's is missing.
    pub(crate) fn complete(&self) -> Result<&[RequestCounts], String> {
        match self.unlisted.as_ref().or_else(|| self.unread.values().next()) {
            None => Ok(self.counts.as_slice()),
            Some(missing) => Err(missing.clone()),
        }
    }

    /// What users did since this reading. A run that was there and could not be read then would count its whole life, and one
    /// that can't be read now may be the one that fails: of both nothing is known.
    fn until(&self, after: &Self, own: impl Fn(&MemberId, &BootId) -> Traffic) -> Compared {
        if let Some(reason) = self.unlisted.as_ref().or(after.unlisted.as_ref()) {
            return Compared { users: Traffic::default(), unknown: vec![reason.clone()] };
        }
        let mut unknown: Vec<String> = after.unread.values().cloned().collect();
        let mut known = Vec::new();
        for counts in &after.counts {
            let run = (counts.member.clone(), counts.boot.clone());
            let earlier = self.counts.iter().find(|earlier| (&earlier.member, &earlier.boot) == (&run.0, &run.1));
            if self.unread.contains_key(&run) {
                unknown.push(format!("`{}` could not be read before", run.0.0));
            } else if earlier.is_some_and(|then| counts.total < then.total || counts.failed < then.failed) {
                unknown.push(format!("the counter of `{}` was set back", run.0.0));
            } else {
                known.push(counts.clone());
            }
        }
        Compared { users: RequestCounts::since(&self.counts, &known, own), unknown }
    }
}

impl Engine {
    /// Reads every serving member's counters, several at a time.
    pub(crate) async fn read_error_rates(&self) -> Readings {
        let Some(watch) = &self.assembly.error_rates else { return Readings::default() };
        let listed = match self.list().await {
            Ok(listed) => listed,
            Err(error) => return Readings { unlisted: Some(error_chain(&error)), ..Readings::default() },
        };
        let serving = listed.into_iter().filter(|one| one.kind == MemberKind::Serving);
        let mut answers = stream::iter(serving)
            .map(|one| async move {
                let answer = watch.source.read(&one.member).await;
                (one.member, answer)
            })
            .buffer_unordered(self.assembly.policy.concurrency.max(1));
        let mut readings = Readings::default();
        while let Some((member, answer)) = answers.next().await {
            let missing = match answer {
                Ok(Some(count)) => {
                    readings.counts.push(count);
                    continue;
                }
                Ok(None) => format!("`{}` shows no counter of requests", member.id.0),
                Err(error) => error_chain(&error),
            };
            readings.unread.insert((member.id, member.boot), missing);
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

    /// What users meet before this process changes anything, over the whole span that the file names. The counters hold more
    /// than that: the probes of every sweep and preflight since the members started, which were refused on purpose.
    pub(crate) async fn know_baseline(&mut self) -> Result<(), EngineError> {
        let Some(watch) = self.engine.assembly.error_rates.clone() else { return Ok(()) };
        // Of a leaked key every minute counts.
        if self.errors.baseline.is_some() || self.machine().is_none_or(|machine| !machine.compromised.is_empty()) {
            return Ok(());
        }
        let watched = self.watch_errors().await;
        let mut looks = 0;
        while self.engine.clock.boottime().saturating_sub(watched.began) < watch.over {
            self.pause_between_looks(&mut looks).await?;
        }
        let Compared { users, unknown } = self.users_since(&watched).await;
        self.errors.baseline = Some(users);
        self.say_unknown("how many requests fail before anything is written is not known of everybody", &unknown);
        Ok(())
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
    /// stops the rotation before anything more is written. What could not be counted is said, because it is not "no errors".
    pub(crate) async fn look_back_on_errors(&mut self, watched: &Watched) -> Result<(), EngineError> {
        let Some(watch) = self.engine.assembly.error_rates.clone() else { return Ok(()) };
        if self.cuts_over() {
            return Ok(());
        }
        if self.key_leaked() {
            // One look for the person, and no waiting for what more would show.
            return self.judge_errors(watched).await.map(drop);
        }
        let mut looks = 0;
        while self.engine.clock.boottime().saturating_sub(watched.began) < watch.over {
            self.judge_errors(watched).await?;
            self.pause_between_looks(&mut looks).await?;
        }
        let Compared { users, unknown } = self.judge_errors(watched).await?;
        self.say_unknown("whether errors have risen is not known of everybody", &unknown);
        if users.total < LEAST_REQUESTS {
            self.caution(format!(
                "{} requests were counted since the roll began, too few to tell whether errors have risen",
                users.total
            ));
        }
        Ok(())
    }

    /// Before a write that members take up by themselves.
    pub(crate) async fn watch_write(&mut self) {
        if self.rereads() && !matches!(self.errors.written, Written::By(_)) {
            self.errors.written = Written::By(Box::new(self.watch_errors().await));
        }
    }

    /// Before the gate behind such a write passes: there was no roll that could have been stopped, but nothing more is written.
    pub(crate) async fn look_back_on_write(&mut self) -> Result<(), EngineError> {
        let gate = self.machine().is_some_and(|machine| machine.step == Step::Gate && machine.written_at.is_some());
        if !gate || !self.rereads() {
            return Ok(());
        }
        match std::mem::replace(&mut self.errors.written, Written::Judged) {
            Written::By(watched) => self.look_back_on_errors(&watched).await,
            Written::Judged => Ok(()),
            Written::Unseen => {
                self.caution(
                    "the last write was made by a process that is gone, so whether errors have risen since is not known",
                );
                Ok(())
            }
        }
    }

    /// Whether errors are watched and nothing is ever reloaded.
    fn rereads(&self) -> bool {
        self.engine.assembly.error_rates.is_some()
            && self.machine().is_some_and(|machine| machine.settings.reload == ReloadNeed::HotReload)
    }

    /// A cutover ends sessions on purpose, and whoever is still on a member that accepts a leaked key must not stay there.
    fn cuts_over(&self) -> bool {
        self.machine().is_some_and(|machine| machine.stage == Stage::CuttingOver)
    }

    /// Whoever holds a leaked key can also send requests that fail, and must not keep the key accepted by that: errors are
    /// told then, and stop nothing.
    pub(crate) fn key_leaked(&self) -> bool {
        self.machine().is_some_and(|machine| !machine.compromised.is_empty())
    }

    fn say_unknown(&self, what: &str, unknown: &[String]) {
        if let Some(first) = unknown.first() {
            let others = match unknown.len() - 1 {
                0 => String::new(),
                others => format!(", and {others} more"),
            };
            self.caution(format!("{what}: {first}{others}"));
        }
    }

    /// What the users did since, without what this process sent.
    async fn users_since(&self, watched: &Watched) -> Compared {
        let after = self.engine.read_error_rates().await;
        let own = |member: &MemberId, boot: &BootId| {
            let of = |sent: &BTreeMap<RunKey, Traffic>| {
                let runs = sent.iter().filter(|((_, id, run), _)| (id, run) == (member, boot));
                runs.fold(Traffic::default(), |sum, (_, traffic)| sum.plus(*traffic))
            };
            of(&self.sent).without(of(&watched.sent))
        };
        watched.before.until(&after, own)
    }

    /// The share of failed requests that was there before, per thousand, and since when it was counted.
    fn baseline(&self, watched: &Watched) -> (u16, &'static str) {
        let measured = self.errors.baseline.filter(|users| users.total >= LEAST_REQUESTS);
        if let Some(share) = measured.and_then(Traffic::failed_permille) {
            return (share, "before it");
        }
        let sent = watched.sent.values().fold(Traffic::default(), |sum, sent| sum.plus(*sent));
        let counts = watched.before.counts.iter();
        let always = counts
            .fold(Traffic::default(), |sum, counts| sum.plus(Traffic { total: counts.total, failed: counts.failed }));
        (always.without(sent).failed_permille().unwrap_or(0), "since the members started, with earlier probes,")
    }

    /// Whether more of what users ask fails than before the roll. Then it stands still, or goes back where the policy says so.
    async fn judge_errors(&mut self, watched: &Watched) -> Result<Compared, EngineError> {
        let Some(watch) = self.engine.assembly.error_rates.clone() else { return Ok(Compared::default()) };
        let compared = self.users_since(watched).await;
        let (users, (baseline, when)) = (compared.users, self.baseline(watched));
        let share = users.failed_permille().unwrap_or(0);
        let calm = users.total < LEAST_REQUESTS || share <= baseline.saturating_add(watch.threshold_permille);
        if calm || self.cuts_over() {
            return Ok(compared);
        }
        let found = format!(
            "since the roll began {share} of 1000 requests fail ({} of {}); {when} {baseline} did, and {} more are allowed",
            users.failed, users.total, watch.threshold_permille
        );
        self.caution(found.clone());
        if self.key_leaked() {
            return Ok(compared);
        }
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
            over: None,
        });
        Err(EngineError::RequestWaits)
    }
}

/// How often errors are looked at within the span over which their rate is taken.
const LOOKS_IN_A_SPAN: u32 = 8;

/// Of fewer requests nobody can say what share of them fails.
const LEAST_REQUESTS: u64 = 20;

#[cfg(test)]
mod tests {
    use keyroll_adapters::Timestamp;

    use super::*;

    fn readings(counts: &[(&str, u64, u64)], unread: &[&str]) -> Readings {
        let counts = counts.iter().map(|&(name, total, failed)| {
            RequestCounts::new(Timestamp(0), MemberId(name.into()), BootId("1".into()), Traffic { total, failed })
        });
        let unread =
            unread.iter().map(|name| ((MemberId((*name).into()), BootId("1".into())), format!("`{name}` is silent")));
        Readings { counts: counts.collect(), unread: unread.collect(), unlisted: None }
    }

    #[test]
    fn whose_counter_is_missing_or_was_set_back_is_unknown_and_named_and_nobodys_zero() {
        let own = |_: &MemberId, _: &BootId| Traffic::default();
        let before = readings(&[("a", 100, 0), ("b", 100, 50)], &["c"]);
        let after = readings(&[("a", 150, 10), ("b", 20, 20), ("c", 900, 900)], &["d"]);
        let Compared { users, unknown } = before.until(&after, own);
        assert_eq!(users, Traffic { total: 50, failed: 10 }, "what `c` did before the roll is not held against it");
        for name in ["`b` was set back", "`c` could not be read before", "`d` is silent"] {
            assert!(unknown.iter().any(|words| words.contains(name)), "{unknown:?}");
        }
        assert!(after.complete().is_err(), "`d` is missing");
    }

    #[test]
    fn where_nobody_could_be_listed_nothing_is_known() {
        let nobody = Readings { unlisted: Some("the list is torn".into()), ..Readings::default() };
        let after = readings(&[("a", 900, 900)], &[]);
        let compared = nobody.until(&after, |_, _| Traffic::default());
        assert_eq!((compared.users, compared.unknown.len()), (Traffic::default(), 1));
    }
}
