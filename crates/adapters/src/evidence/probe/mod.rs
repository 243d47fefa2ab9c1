//! `probe` (P3): a session minted offline under each key is sent to the member itself, and its answer is read.
//!
//! An answer proves nothing by itself. A session under a key that nobody has must be rejected in the same breath, else the
//! member accepts everything; and one session must be accepted before the rejection of another counts, else the member (or
//! the probe's path) rejects everything.

mod calibration;
mod exchange;
mod judge;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use keyroll_keyring::Key;
use keyroll_keyring::codec::SessionCodec;
use reqwest::Method;

use super::look::{Look, Reissue};
use super::request::{EvidenceConfigError, HttpAccess};
use super::workers::{Rounds, Workers};
use super::{Level, Question, Testimony, Witness, WitnessDescription};
use crate::Timestamp;
use crate::direct::Direct;
use crate::fleets::Member;

use self::exchange::{Exchange, Outcome, Probed};

pub use self::calibration::{Calibration, Verdict};
pub use self::exchange::OPENS_UNDER_NONE;
pub use self::judge::{LIKE_EVERY_OTHER, PROVES_NOTHING};

/// What a probe sends, and what answers mean.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers write it out")]
pub struct ProbeConfig {
    /// The method, as `GET`.
    pub method: String,
    /// The path. It should belong to no user and change nothing.
    pub path: String,
    /// How members are reached, and further headers.
    pub access: HttpAccess,
    /// The session that is minted. It should carry no rights beyond what the path needs.
    pub payload: Payload,
    /// What shows that a session was accepted.
    pub accepted: Look,
    /// What shows that it was rejected. An answer that shows neither or both is unknown.
    pub rejected: Look,
    /// The worker processes of a member.
    pub workers: Workers,
}

/// What a minted session holds. `{session_id}` stands for 32 random hexadecimal digits, drawn for each session.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Payload {
    /// As JSON; `{session_id}` is filled in within texts.
    Json(serde_json::Value),
    /// As it is.
    Text(String),
    /// Bytes as they are, such as a file's.
    Bytes(Vec<u8>),
}

/// Probes members with sessions that are minted here.
#[derive(Debug)]
pub struct Probe {
    codec: Arc<dyn SessionCodec>,
    config: ProbeConfig,
    method: Method,
    direct: Direct,
}

impl ProbeConfig {
    /// A `GET` of `path` whose answer re-issues an accepted session, as Rails does.
    pub fn by_reissue(path: String, access: HttpAccess) -> Self {
        Self {
            method: "GET".into(),
            path,
            access,
            payload: Payload::default(),
            accepted: Look::reissue(Reissue::SameSession),
            rejected: Look::reissue(Reissue::NotTheSame),
            workers: Workers::default(),
        }
    }
}

impl Probe {
    /// A probe that mints and opens with `codec`.
    pub fn new(codec: Arc<dyn SessionCodec>, config: ProbeConfig) -> Result<Self, EvidenceConfigError> {
        for (which, look) in [("accepted", &config.accepted), ("rejected", &config.rejected)] {
            if !look.asks_for_something() {
                return Err(EvidenceConfigError::AsksForNothing { which });
            }
        }
        let reissues = [&config.accepted, &config.rejected].iter().any(|look| look.reissue != Reissue::NotAsked);
        if reissues && !config.payload.has_session_id() {
            return Err(EvidenceConfigError::NoSessionId);
        }
        let method: Method =
            config.method.parse().map_err(|_| EvidenceConfigError::Method { method: config.method.clone() })?;
        let direct = config.access.direct()?;
        Ok(Self { codec, config, method, direct })
    }

    /// Whether the probe can tell anything on `member`: a session under `current` must be accepted and one under `decoy`
    /// rejected. To be asked on every member before anything is written.
    pub async fn calibrate(&self, member: &Member, current: &Key, decoy: &Key, now: Timestamp) -> Calibration {
        let question = Question {
            keys: vec![super::AskedKey { key: current, fingerprint: None }],
            open_only: Vec::new(),
            decoy,
            captured: Vec::new(),
            now,
        };
        let exchanges = self.exchanges(member, &question).await;
        calibration::judge(member, current.id(), &exchanges)
    }

    /// Sends sessions under each asked key and the decoy until every worker has answered for each, or enough is enough.
    async fn exchanges(&self, member: &Member, question: &Question<'_>) -> Vec<Exchange> {
        let began = tokio::time::Instant::now();
        let mut probed: Vec<(Probed, &Key)> = vec![(Probed::Decoy, question.decoy)];
        probed.extend(question.keys.iter().map(|asked| (Probed::Key(asked.key.id()), asked.key)));
        let Rounds { least, most } = self.config.workers.rounds(member);
        let mut exchanges = Vec::new();
        for round in 0..most {
            if round >= least && self.is_covered(member, &probed, &exchanges) {
                break;
            }
            // A server that deals connections in turn would else give each worker always the same key.
            let first = exchange::draw(probed.len());
            probed.rotate_left(first);
            for (subject, key) in &probed {
                let now = Timestamp(question.now.0.saturating_add(exchange::millis(began.elapsed())));
                let exchange = self.exchange(member, question, subject, key, now).await;
                let hopeless = matches!(exchange.outcome, Outcome::Failed(_));
                exchanges.push(exchange);
                // Whoever does not answer is not asked again and again: it is unproven already.
                if hopeless {
                    return exchanges;
                }
            }
        }
        exchanges
    }

    fn is_covered(&self, member: &Member, probed: &[(Probed, &Key)], exchanges: &[Exchange]) -> bool {
        let all: BTreeSet<&str> = exchanges.iter().filter_map(Exchange::worker).collect();
        probed.iter().all(|(subject, _)| {
            let mine: BTreeSet<&str> =
                exchanges.iter().filter(|one| one.subject == *subject).filter_map(Exchange::worker).collect();
            mine.len() == all.len() && self.config.workers.missing(member, mine.iter().copied()).is_none()
        })
    }
}

#[async_trait]
impl Witness for Probe {
    fn describe(&self) -> WitnessDescription {
        WitnessDescription { kind: "probe", level: Level::P3, tells_accepts: true, tells_mints: true }
    }

    async fn ask(&self, member: &Member, question: &Question<'_>) -> Testimony {
        let exchanges = self.exchanges(member, question).await;
        let sent = member.address.as_ref().map(|address| self.direct.take_sent(address)).unwrap_or_default();
        Testimony { sent, ..judge::judge(member, question, &self.config.workers, &exchanges) }
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::Json(serde_json::json!({ "session_id": SESSION_ID }))
    }
}

impl Payload {
    fn has_session_id(&self) -> bool {
        match self {
            Self::Json(value) => value.to_string().contains(SESSION_ID),
            Self::Text(text) => text.contains(SESSION_ID),
            Self::Bytes(bytes) => std::str::from_utf8(bytes).is_ok_and(|text| text.contains(SESSION_ID)),
        }
    }

    /// The bytes of one session.
    fn fill(&self, session_id: &str) -> Vec<u8> {
        match self {
            // The digits need no escape, so they may be filled in after the JSON is written.
            Self::Json(value) => value.to_string().replace(SESSION_ID, session_id).into_bytes(),
            Self::Text(text) => text.replace(SESSION_ID, session_id).into_bytes(),
            Self::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => text.replace(SESSION_ID, session_id).into_bytes(),
                Err(_) => bytes.clone(),
            },
        }
    }
}

const SESSION_ID: &str = "{session_id}";

#[cfg(test)]
mod tests;
