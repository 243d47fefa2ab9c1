//! Whether a probe can tell anything on a member, before anything depends on it.

use keyroll_keyring::KeyId;
use serde::Serialize;

use super::exchange::{Exchange, Outcome, Probed, Reading, Seen};
use super::judge;
use crate::fleets::{Member, MemberId};

/// What came of trying a probe on one member.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Calibration {
    /// Which member.
    pub member: MemberId,
    /// Whether the probe can tell accepting from rejecting there.
    pub verdict: Verdict,
    /// What the answer to the session under the current key looked like. Never a token.
    pub current: Option<String>,
    /// What the answer to the session under the random key looked like. Never a token.
    pub decoy: Option<String>,
}

/// Whether a probe tells anything.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "it tells or it does not")]
pub enum Verdict {
    /// The session under the current key was accepted, the one under a random key was rejected.
    Calibrated,
    /// The probe proves nothing there: why, and what to do.
    ProvesNothing {
        /// In words.
        reason: String,
    },
}

pub(super) fn judge(member: &Member, current: KeyId, exchanges: &[Exchange]) -> Calibration {
    let answers = |subject| {
        exchanges.iter().filter(move |one| one.subject == subject).filter_map(|one| match &one.outcome {
            Outcome::Seen(seen) => Some(seen),
            Outcome::Failed(_) => None,
        })
    };
    let worst = |subject, wanted| {
        let by_fit = |seen: &&Seen| u8::from(seen.reading == wanted);
        answers(subject).min_by_key(by_fit)
    };
    let (own, decoy) = (worst(Probed::Key(current), Reading::Accepted), worst(Probed::Decoy, Reading::Rejected));
    let reason = judge::proves_nothing(exchanges).or_else(|| match own {
        None => Some("no session under the current key was sent".into()),
        Some(seen) => match seen.reading {
            Reading::Accepted => None,
            Reading::Rejected => Some(format!(
                "a session under the current key was rejected. Either the member does not have the key that the store \
                 has, or the sessions are minted otherwise than the application mints them (cookie name, salt, digest, \
                 payload). The answer: {}",
                seen.shape
            )),
            Reading::Both => Some(format!(
                "the answer to a session under the current key looks like accepted and like rejected; make `accepted` \
                 and `rejected` exclude each other. The answer: {}",
                seen.shape
            )),
            Reading::Neither => Some(format!(
                "the answer to a session under the current key looks neither accepted nor rejected; is the path one that \
                 reads the session? The answer: {}",
                seen.shape
            )),
        },
    });
    Calibration {
        member: member.id.clone(),
        verdict: match reason {
            None => Verdict::Calibrated,
            Some(reason) => Verdict::ProvesNothing { reason },
        },
        current: own.map(|seen| seen.shape.clone()),
        decoy: decoy.map(|seen| seen.shape.clone()),
    }
}
