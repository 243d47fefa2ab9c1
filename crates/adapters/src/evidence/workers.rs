//! The worker processes behind one address.
//!
//! A preforking server deals each connection to one of its workers, and a worker that was forked before a reload may hold
//! the old keys. Where workers name themselves each of them is proven; where they do not, enough connections are made that
//! a stale one would have shown itself but for a known probability, which is recorded.

use std::num::NonZeroU16;

use reqwest::header::HeaderMap;

use crate::fleets::Member;

/// What is known of the workers behind one address.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "callers write it out")]
pub struct Workers {
    /// How many there are, if that is known.
    pub count: Option<NonZeroU16>,
    /// The header in which a worker names itself.
    pub header: Option<String>,
}

/// How often to ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rounds {
    /// At least so often.
    pub(crate) least: u32,
    /// And, while a worker has not been seen, up to so often.
    pub(crate) most: u32,
}

impl Workers {
    /// The name of the worker that gave an answer.
    pub(crate) fn name_in(&self, headers: &HeaderMap) -> Option<String> {
        let value = headers.get(self.header.as_deref()?)?.to_str().ok()?.trim();
        // A name is for people and for comparing. One that is longer is something else.
        (!value.is_empty() && value.len() <= 100).then(|| value.to_owned())
    }

    /// How often to ask `member`.
    pub(crate) fn rounds(&self, member: &Member) -> Rounds {
        let count = self.expected(member);
        if self.header.is_some() {
            // In 8 rounds for each worker all but one of ten thousand servers that deal by chance have dealt to each.
            return Rounds { least: 1, most: (count.max(2) * 8).clamp(16, MOST_ROUNDS) };
        }
        let least = (1..=MOST_ROUNDS).find(|rounds| residual(count, *rounds) <= TOLERATED).unwrap_or(MOST_ROUNDS);
        Rounds { least, most: least }
    }

    /// How many workers there must be; 1 where nothing says so.
    pub(crate) fn expected(&self, member: &Member) -> u32 {
        let named = u32::try_from(member.workers.len()).unwrap_or(u32::MAX);
        self.count.map_or(1, |count| u32::from(count.get())).max(named).max(1)
    }

    /// Why the workers seen are not all of them, if they are not.
    pub(crate) fn missing<'a>(&self, member: &Member, seen: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
        self.header.as_ref()?;
        if let Some(missing) = member.workers.iter().find(|name| !seen.clone().any(|other| other == name.as_str())) {
            return Some(format!("worker `{missing}` never answered"));
        }
        let (found, expected) = (seen.count(), self.count.map_or(1, |count| usize::from(count.get())));
        (found < expected).then(|| format!("{found} of {expected} workers answered"))
    }
}

/// The probability that one certain worker of `workers` got none of `connections`, each dealt by chance.
pub(crate) fn residual(workers: u32, connections: u32) -> f64 {
    if workers <= 1 {
        return 0.0;
    }
    let workers = f64::from(workers);
    ((workers - 1.0) / workers).powf(f64::from(connections))
}

const TOLERATED: f64 = 0.01;
const MOST_ROUNDS: u32 = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleets::{BootId, MemberId, MemberState};

    fn member(workers: &[&str]) -> Member {
        Member {
            id: MemberId("a".into()),
            boot: BootId("1".into()),
            address: None,
            state: MemberState::Ready,
            started_at: None,
            workers: workers.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn a_single_process_is_asked_once() {
        assert_eq!(Workers::default().rounds(&member(&[])), Rounds { least: 1, most: 1 });
        assert!(residual(1, 1) <= 0.0);
    }

    #[test]
    fn unnamed_workers_are_asked_until_a_stale_one_would_have_shown() {
        let four = Workers { count: NonZeroU16::new(4), header: None };
        let rounds = four.rounds(&member(&[]));
        assert_eq!(rounds.least, 17);
        assert!(residual(4, rounds.least) <= 0.01 && residual(4, rounds.least - 1) > 0.01);
    }

    #[test]
    fn a_named_worker_that_does_not_answer_is_missed() {
        let named = Workers { count: None, header: Some("x-worker".into()) };
        let fleet = member(&["1", "2"]);
        assert_eq!(named.missing(&fleet, ["1"].into_iter()).unwrap(), "worker `2` never answered");
        assert_eq!(named.missing(&fleet, ["1", "2"].into_iter()), None);
        let counted = Workers { count: NonZeroU16::new(3), header: Some("x-worker".into()) };
        assert_eq!(counted.missing(&member(&[]), ["a", "b"].into_iter()).unwrap(), "2 of 3 workers answered");
    }
}
