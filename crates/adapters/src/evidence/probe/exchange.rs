//! One session sent to a member, and what came back.
//!
//! A cookie that comes back exactly as it was sent is an echo and not a mint: it says nothing about what the member mints.

use std::time::Duration;

use keyroll_keyring::codec::Mint;
use keyroll_keyring::{Key, KeyId, Secret, UnixTime};
use reqwest::header::COOKIE;

use super::Probe;
use crate::Timestamp;
use crate::direct::Answered;
use crate::evidence::Question;
use crate::evidence::look::Reissued;
use crate::evidence::request;
use crate::fleets::Member;

/// Under what a session was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Probed {
    /// A key that was asked about.
    Key(KeyId),
    /// A key that nobody has.
    Decoy,
}

/// One session and its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) subject: Probed,
    pub(super) outcome: Outcome,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// No answer, in words.
    Failed(String),
    /// An answer.
    Seen(Seen),
}

/// An answer.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) reading: Reading,
    /// What the member minted in this answer.
    pub(super) minted: Vec<Minted>,
    pub(super) worker: Option<String>,
    /// What it looked like, without any value of a cookie.
    pub(super) shape: String,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reading {
    Accepted,
    Rejected,
    /// It looks like both.
    Both,
    /// It looks like neither.
    Neither,
}

/// A session that the member set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Minted {
    Under(KeyId),
    /// It opens under no key that is known here.
    Foreign,
}

impl Exchange {
    pub(super) fn worker(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Seen(seen) => seen.worker.as_deref(),
            Outcome::Failed(_) => None,
        }
    }
}

impl Probe {
    pub(super) async fn exchange(
        &self,
        member: &Member,
        question: &Question<'_>,
        subject: &Probed,
        key: &Key,
        now: Timestamp,
    ) -> Exchange {
        let outcome = match self.try_exchange(member, question, key, now).await {
            Ok(seen) => Outcome::Seen(seen),
            Err(reason) => Outcome::Failed(reason),
        };
        Exchange { subject: *subject, outcome }
    }

    async fn try_exchange(
        &self,
        member: &Member,
        question: &Question<'_>,
        key: &Key,
        now: Timestamp,
    ) -> Result<Seen, String> {
        let address =
            member.address.as_ref().ok_or("it has no address; a worker is proven by a report, a log or a metric")?;
        let session_id = session_id()?;
        let payload = Secret::from_bytes(self.config.payload.fill(&session_id));
        let seconds = UnixTime(i64::try_from(now.0 / 1000).unwrap_or(i64::MAX));
        let session = Mint {
            payload: payload.expose(),
            // A member whose clock is a little behind must not call it a session of the future.
            issued_at: UnixTime(seconds.0 - CLOCK_SKEW),
            expires_at: Some(UnixTime(seconds.0 + LIFETIME - CLOCK_SKEW)),
        };
        let token = self.codec.mint(key, &session).map_err(|error| format!("no session can be minted: {error}"))?;
        let token = Secret::from_bytes(token.into_bytes());
        let cookie = request::cookie([(self.codec.cookie_name(), token.expose())])
            .ok_or("the minted session can't stand in a header")?;
        let request = self
            .direct
            .request(self.method.clone(), address, &self.config.path)
            .map_err(|error| error.to_string())?
            .headers(self.config.access.header_map().map_err(|error| error.to_string())?)
            .header(COOKIE, cookie);
        let answer = self.direct.send(address, request, BODY_LIMIT).await.map_err(|error| error.to_string())?;
        Ok(self.read(&answer, question, &token, &session_id, seconds))
    }

    fn read(&self, answer: &Answered, question: &Question<'_>, sent: &Secret, session_id: &str, now: UnixTime) -> Seen {
        let name = self.codec.cookie_name();
        let asked: Vec<&Key> = question.keys.iter().chain(&question.open_only).map(|asked| asked.key).collect();
        let mut reissued = Reissued::NotSame;
        let mut minted = Vec::new();
        let mut cookies = Vec::new();
        for (set, value) in request::set_cookies(&answer.headers) {
            if set != name {
                cookies.push(format!("`{}`", words(set)));
                continue;
            }
            if value.is_empty() {
                cookies.push(format!("`{name}` (deleted)"));
                continue;
            }
            // The decoy may have the id of an asked key, so it is tried by itself.
            let opened = self.codec.open(&asked, value, now).map(|opened| (Some(opened.key), opened.payload));
            let opened =
                opened.or_else(|_| self.codec.open(&[question.decoy], value, now).map(|opened| (None, opened.payload)));
            let is_echo = value.as_bytes() == sent.expose();
            let same = opened.as_ref().is_ok_and(|(_, payload)| contains(payload.expose(), session_id.as_bytes()));
            if same {
                reissued = Reissued::Same;
            }
            let which = if same { "the session that was sent" } else { "another session" };
            match opened {
                Ok(_) if is_echo => cookies.push(format!("`{name}` (just as it was sent)")),
                Ok((Some(key), _)) => {
                    minted.push(Minted::Under(key));
                    cookies.push(format!("`{name}` (opens under {key}, {which})"));
                }
                Ok((None, _)) => {
                    minted.push(Minted::Foreign);
                    cookies.push(format!("`{name}` (opens under the random key, {which})"));
                }
                Err(_) if is_echo => cookies.push(format!("`{name}` (just as it was sent)")),
                Err(_) => {
                    minted.push(Minted::Foreign);
                    cookies.push(format!("`{name}` ({OPENS_UNDER_NONE})"));
                }
            }
        }
        let matches =
            |look: &crate::evidence::Look| look.matches(answer.status, &answer.headers, &answer.body, reissued);
        let reading = match (matches(&self.config.accepted), matches(&self.config.rejected)) {
            (true, false) => Reading::Accepted,
            (false, true) => Reading::Rejected,
            (true, true) => Reading::Both,
            (false, false) => Reading::Neither,
        };
        let sets = if cookies.is_empty() { "no cookie".to_owned() } else { cookies.join(", ") };
        let elsewhere = if answer.headers.contains_key(reqwest::header::LOCATION) { ", a redirect" } else { "" };
        let shape = format!("status {}{elsewhere}, {} bytes, sets {sets}", answer.status.as_u16(), answer.body.len());
        Seen { reading, minted, worker: self.config.workers.name_in(&answer.headers), shape }
    }
}

/// What is said of a session cookie that the application set and that no key opens.
pub const OPENS_UNDER_NONE: &str = "opens under no known key";

/// An index below `below`, drawn at random; the first where no randomness is to be had.
pub(super) fn draw(below: usize) -> usize {
    let mut byte = [0; 1];
    // A bad draw costs a round of probes and no proof.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    usize::from(byte[0]) % below.max(1)
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn session_id() -> Result<String, String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the system gave no random bytes".to_owned())?;
    Ok(hex::encode(bytes))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// A foreign name, cut short and without what could move a terminal's cursor.
fn words(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

const LIFETIME: i64 = 60;
const CLOCK_SKEW: i64 = 10;
const BODY_LIMIT: usize = 64 * 1024;
