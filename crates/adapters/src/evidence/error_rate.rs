//! The share of requests that fail with 401 or 5xx, by a counter of the member's own.
//!
//! Two readings of one run make a share. A counter that went down, or another run in between, makes none.

use super::metric::Scrape;
use super::request::{EvidenceConfigError, HttpAccess};
use super::{EvidenceError, drain, prometheus};
use crate::fleets::{BootId, Member, MemberId};
use crate::{TimeSource, Timestamp};

/// Reads a counter of requests by status.
#[derive(Debug)]
pub struct ErrorRates {
    scrape: Scrape,
    name: String,
    status_label: String,
    time: TimeSource,
}

/// One reading of one member.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RequestCounts {
    /// When it was read.
    pub at: Timestamp,
    /// Which member.
    pub member: MemberId,
    /// Which run of the member counted.
    pub boot: BootId,
    /// All requests since that run began.
    pub total: u64,
    /// Those that were answered with 401 or 5xx.
    pub failed: u64,
}

impl ErrorRates {
    /// A reader of the counter `name` at `path`, whose label `status_label` holds the status, as `401` or `5xx`.
    pub fn new(
        path: &str,
        access: &HttpAccess,
        name: String,
        status_label: String,
        time: TimeSource,
    ) -> Result<Self, EvidenceConfigError> {
        Ok(Self { scrape: Scrape::new(path, access)?, name, status_label, time })
    }

    /// One reading. `None` where the member shows no such series (it may have served nobody yet).
    pub async fn read(&self, member: &Member) -> Result<Option<RequestCounts>, EvidenceError> {
        let at = self.time.now();
        let text = self.scrape.text(member).await?;
        let garbled = |reason| EvidenceError::Garbled { member: member.id.0.clone(), reason };
        let samples = prometheus::samples(&text, &self.name).map_err(|error| garbled(error.to_string()))?;
        if samples.is_empty() {
            return Ok(None);
        }
        let mut counts =
            RequestCounts { at, member: member.id.clone(), boot: member.boot.clone(), total: 0, failed: 0 };
        for sample in samples {
            let status = sample
                .labels
                .get(&self.status_label)
                .ok_or_else(|| garbled(format!("a series of `{}` has no label `{}`", self.name, self.status_label)))?;
            let count = drain::whole(sample.value)
                .ok_or_else(|| garbled(format!("a series of `{}` is not a count", self.name)))?;
            counts.total = counts.total.saturating_add(count);
            if status == "401" || (status.starts_with('5') && status.len() == 3) {
                counts.failed = counts.failed.saturating_add(count);
            }
        }
        Ok(Some(counts))
    }
}

/// Answered requests.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "all requests and the failed ones among them")]
pub struct Traffic {
    /// All of them.
    pub total: u64,
    /// Those that were answered with 401 or 5xx.
    pub failed: u64,
}

impl Traffic {
    /// One more.
    pub fn count(&mut self, status: u16) {
        self.total = self.total.saturating_add(1);
        if status == 401 || (500..600).contains(&status) {
            self.failed = self.failed.saturating_add(1);
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { total: self.total.saturating_add(other.total), failed: self.failed.saturating_add(other.failed) }
    }

    /// What is left of this without `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self { total: self.total.saturating_sub(other.total), failed: self.failed.saturating_sub(other.failed) }
    }

    /// The share of failed requests, per thousand; `None` where there was no request.
    pub fn failed_permille(self) -> Option<u16> {
        let permille = (u128::from(self.failed) * 1000).checked_div(u128::from(self.total))?;
        u16::try_from(permille).ok()
    }
}

impl RequestCounts {
    /// A reading of one run.
    pub fn new(at: Timestamp, member: MemberId, boot: BootId, counted: Traffic) -> Self {
        Self { at, member, boot, total: counted.total, failed: counted.failed }
    }

    /// What the members' users did between two readings of a roll. A run that was not there before has counted from zero, so
    /// all that it shows is new. A counter that went down within a run was reset, and that run says nothing.
    ///
    /// `own` is what Keyroll itself sent to a run meanwhile, which is taken away: a probe under a random key is meant to be
    /// refused, and on a quiet night such probes are most of what a member sees.
    pub fn since(before: &[Self], after: &[Self], own: impl Fn(&MemberId, &BootId) -> Traffic) -> Traffic {
        let mut sum = Traffic::default();
        for later in after {
            let earlier =
                before.iter().find(|earlier| (&earlier.member, &earlier.boot) == (&later.member, &later.boot));
            let (total, failed) = earlier.map_or((0, 0), |earlier| (earlier.total, earlier.failed));
            let (Some(total), Some(failed)) = (later.total.checked_sub(total), later.failed.checked_sub(failed)) else {
                continue;
            };
            sum = sum.plus(Traffic { total, failed }.without(own(&later.member, &later.boot)));
        }
        sum
    }

    /// The share of failed requests between two readings, per thousand, over all members that were read twice. `None` where
    /// no request was counted or no run was read twice.
    pub fn failed_permille(before: &[Self], after: &[Self]) -> Option<u16> {
        let mut total = 0_u64;
        let mut failed = 0_u64;
        for later in after {
            let Some(earlier) =
                before.iter().find(|earlier| (&earlier.member, &earlier.boot) == (&later.member, &later.boot))
            else {
                continue;
            };
            // A counter that went down was reset; the pair says nothing.
            let (Some(requests), Some(failures)) =
                (later.total.checked_sub(earlier.total), later.failed.checked_sub(earlier.failed))
            else {
                continue;
            };
            total = total.saturating_add(requests);
            failed = failed.saturating_add(failures);
        }
        let permille = u128::from(failed) * 1000;
        u16::try_from(permille.checked_div(u128::from(total))?).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::evidence::testing::{App, Manner, NOW, key};

    fn counts(boot: &str, total: u64, failed: u64) -> RequestCounts {
        RequestCounts { at: NOW, member: MemberId("web".into()), boot: BootId(boot.into()), total, failed }
    }

    #[test]
    fn the_share_is_that_of_the_window_and_of_all_members() {
        let before = [counts("a", 1000, 900), counts("b", 50, 0)];
        let after = [counts("a", 1900, 900), counts("b", 150, 50)];
        assert_eq!(RequestCounts::failed_permille(&before, &after), Some(50));
    }

    #[test]
    fn resets_other_runs_and_silence_make_no_share() {
        let before = [counts("a", 1000, 10)];
        assert_eq!(RequestCounts::failed_permille(&before, &[counts("a", 5, 5)]), None, "a reset");
        assert_eq!(RequestCounts::failed_permille(&before, &[counts("b", 2000, 500)]), None, "another run");
        assert_eq!(RequestCounts::failed_permille(&before, &before), None, "no requests");
    }

    #[test]
    fn a_new_run_counts_from_zero_and_our_own_requests_do_not_count() {
        let before = [counts("a", 1000, 10), counts("b", 500, 0)];
        let after = [counts("a", 1100, 10), counts("c", 40, 30), counts("b", 5, 5)];
        let own = |_: &MemberId, boot: &BootId| match boot.0.as_str() {
            "c" => Traffic { total: 20, failed: 20 },
            _ => Traffic::default(),
        };
        let users = RequestCounts::since(&before, &after, own);
        assert_eq!(users, Traffic { total: 120, failed: 10 }, "`b` was reset and says nothing");
        assert_eq!(users.failed_permille(), Some(83));
        assert_eq!(Traffic::default().failed_permille(), None);
    }

    #[tokio::test]
    async fn only_401_and_5xx_count_as_failed() {
        let app = App::start(Manner::Status, &key(1), &[]).await;
        app.page(
            "/metrics",
            "http{s=\"200\"} 90\nhttp{s=\"401\"} 5\nhttp{s=\"404\"} 2\nhttp{s=\"503\"} 2\nhttp{s=\"5xx\"} 1\n",
        );
        let access = HttpAccess::within(Duration::from_secs(5));
        let rates = ErrorRates::new("/metrics", &access, "http".into(), "s".into(), TimeSource::new(|| NOW)).unwrap();
        let read = rates.read(&app.member).await.unwrap().unwrap();
        assert_eq!((read.total, read.failed), (100, 8));
        app.page("/metrics", "up 1\n");
        assert_eq!(rates.read(&app.member).await.unwrap(), None);
    }
}
