//! From answers to testimony: a pure function.
//!
//! Worker by worker the answers must agree. Two workers that disagree are one member that is unknown, because the next user
//! may meet either.

use std::collections::{BTreeMap, BTreeSet};

use keyroll_keyring::KeyId;

use super::exchange::{Exchange, Minted, Outcome, Probed, Reading, Seen};
use crate::evidence::workers::{self, Workers};
use crate::evidence::{Answer, Level, Question, Statement, Subject, Testimony};
use crate::fleets::Member;

/// What the answers prove.
pub(super) fn judge(member: &Member, question: &Question<'_>, config: &Workers, exchanges: &[Exchange]) -> Testimony {
    let mut workers: BTreeMap<String, u32> = BTreeMap::new();
    for worker in exchanges.iter().filter_map(Exchange::worker) {
        *workers.entry(worker.to_owned()).or_default() += 1;
    }
    let asked: Vec<KeyId> = question.keys.iter().map(|asked| asked.key.id()).collect();
    let opened: Vec<KeyId> = question.keys.iter().chain(&question.open_only).map(|asked| asked.key.id()).collect();
    let mut testimony = Testimony { workers: workers.into_iter().collect(), ..Testimony::default() };

    if let Some(reason) = proves_nothing(exchanges) {
        let unknown = |key: &KeyId, subject| statement(*key, subject, Answer::Unknown, reason.clone());
        testimony.statements.extend(asked.iter().map(|key| unknown(key, Subject::Accepts)));
        testimony.statements.extend(opened.iter().map(|key| unknown(key, Subject::Mints)));
        return testimony;
    }

    let expected = config.expected(member);
    if config.header.is_none() && expected > 1 {
        let connections = exchanges.iter().filter(|one| one.subject == Probed::Decoy).count();
        testimony.residual = Some(workers::residual(expected, u32::try_from(connections).unwrap_or(u32::MAX)));
    }
    let verdicts: Vec<(KeyId, Accepting)> =
        asked.iter().map(|key| (*key, accepting(member, config, exchanges, *key))).collect();
    let somebody_is_accepted = verdicts.iter().any(|(_, verdict)| matches!(verdict, Accepting::All(_)));
    for (key, verdict) in verdicts {
        let (answer, mut detail) = match verdict {
            Accepting::All(shape) => (Answer::Yes, format!("accepted: {shape}")),
            Accepting::None(shape) if somebody_is_accepted => (Answer::No, format!("rejected: {shape}")),
            Accepting::None(shape) => (Answer::Unknown, format!("{LIKE_EVERY_OTHER}: {shape}")),
            Accepting::Unclear(reason) => (Answer::Unknown, reason),
        };
        if let Some(residual) = testimony.residual {
            detail.push_str(&format!(
                "; {} connections to {expected} workers that do not name themselves, a stale one stays unseen with probability {residual:.4}",
                exchanges.iter().filter(|one| one.subject == Probed::Key(key)).count(),
            ));
        }
        testimony.statements.push(statement(key, Subject::Accepts, answer, detail));
    }
    testimony.statements.extend(minting(member, config, exchanges, &opened));
    testimony
}

/// Why the answers prove nothing at all, if they do not.
pub(super) fn proves_nothing(exchanges: &[Exchange]) -> Option<String> {
    if let Some(reason) = exchanges.iter().find_map(|one| match &one.outcome {
        Outcome::Failed(reason) => Some(reason.clone()),
        Outcome::Seen(_) => None,
    }) {
        return Some(reason);
    }
    let mut decoys = seen(exchanges, Probed::Decoy).peekable();
    if decoys.peek().is_none() {
        return Some("the control under a random key was not sent".into());
    }
    decoys.find(|seen| seen.reading != Reading::Rejected).map(|seen| {
        let said = match seen.reading {
            Reading::Accepted => "a session under a random key was accepted",
            Reading::Both => "the answer to a session under a random key looks like accepted and like rejected",
            Reading::Neither | Reading::Rejected => "the answer to a session under a random key does not look rejected",
        };
        format!("{said}, {PROVES_NOTHING}: {}", seen.shape)
    })
}

enum Accepting {
    All(String),
    None(String),
    Unclear(String),
}

fn accepting(member: &Member, config: &Workers, exchanges: &[Exchange], key: KeyId) -> Accepting {
    let answers: Vec<&Seen> = seen(exchanges, Probed::Key(key)).collect();
    let Some(first) = answers.first() else {
        return Accepting::Unclear("no session under it was sent".into());
    };
    if let Some(unclear) = answers.iter().find(|seen| matches!(seen.reading, Reading::Both | Reading::Neither)) {
        let both = if unclear.reading == Reading::Both {
            "accepted and like rejected"
        } else {
            "neither accepted nor rejected"
        };
        return Accepting::Unclear(format!("the answer looks like {both}: {}", unclear.shape));
    }
    if let Some(other) = answers.iter().find(|seen| seen.reading != first.reading) {
        let name = |seen: &Seen| {
            seen.worker.as_ref().map_or_else(|| "one connection".to_owned(), |name| format!("worker `{name}`"))
        };
        let (accepts, rejects) = if first.reading == Reading::Accepted { (*first, *other) } else { (*other, *first) };
        return Accepting::Unclear(format!("{} accepts it and {} rejects it", name(accepts), name(rejects)));
    }
    if let Some(missing) = uncovered(member, config, exchanges, &answers) {
        return Accepting::Unclear(missing);
    }
    let shape = match named(&answers).len() {
        0 | 1 => first.shape.clone(),
        several => format!("by all {several} workers, {}", first.shape),
    };
    if first.reading == Reading::Accepted { Accepting::All(shape) } else { Accepting::None(shape) }
}

/// Which key the member mints under. Every worker must have minted before a key counts as one under which none mints.
fn minting(member: &Member, config: &Workers, exchanges: &[Exchange], keys: &[KeyId]) -> Vec<Statement> {
    let answers: Vec<&Seen> = exchanges
        .iter()
        .filter_map(|one| match &one.outcome {
            Outcome::Seen(seen) if !seen.minted.is_empty() => Some(seen),
            Outcome::Seen(_) | Outcome::Failed(_) => None,
        })
        .collect();
    let under: BTreeSet<KeyId> = answers
        .iter()
        .flat_map(|seen| &seen.minted)
        .filter_map(|minted| match minted {
            Minted::Under(key) => Some(*key),
            Minted::Foreign => None,
        })
        .collect();
    let foreign = answers.iter().any(|seen| seen.minted.contains(&Minted::Foreign));
    let unclear = if answers.is_empty() {
        Some("it set no session, so nothing is known of what it mints".to_owned())
    } else if foreign {
        Some("it set a session that opens under no known key".to_owned())
    } else {
        uncovered(member, config, exchanges, &answers)
    };
    let list = under.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    keys.iter()
        .map(|key| match (&unclear, under.contains(key)) {
            // Whatever else is unclear: that it mints under this key has been seen.
            (_, true) => {
                statement(*key, Subject::Mints, Answer::Yes, format!("it set a session that opens under {list}"))
            }
            (None, false) => {
                statement(*key, Subject::Mints, Answer::No, format!("it sets sessions that open under {list}"))
            }
            (Some(reason), false) => statement(*key, Subject::Mints, Answer::Unknown, reason.clone()),
        })
        .collect()
}

/// Why `answers` do not speak for every worker, if they do not.
fn uncovered(member: &Member, config: &Workers, exchanges: &[Exchange], answers: &[&Seen]) -> Option<String> {
    config.header.as_ref()?;
    let mine = named(answers);
    if let Some(silent) = exchanges.iter().filter_map(Exchange::worker).find(|worker| !mine.contains(worker)) {
        return Some(format!("worker `{silent}` gave no such answer in {} connections", exchanges.len()));
    }
    if answers.iter().any(|seen| seen.worker.is_none()) {
        return Some("an answer does not name its worker".into());
    }
    config.missing(member, mine.iter().copied())
}

fn named<'a>(answers: &[&'a Seen]) -> BTreeSet<&'a str> {
    answers.iter().filter_map(|seen| seen.worker.as_deref()).collect()
}

fn seen(exchanges: &[Exchange], subject: Probed) -> impl Iterator<Item = &Seen> {
    exchanges.iter().filter(move |one| one.subject == subject).filter_map(|one| match &one.outcome {
        Outcome::Seen(seen) => Some(seen),
        Outcome::Failed(_) => None,
    })
}

/// What is said where the answers do not tell one session from another.
pub const PROVES_NOTHING: &str = "so the probe proves nothing";

/// How the detail of a session begins that was answered as one under a random key was.
pub const LIKE_EVERY_OTHER: &str = "rejected like every other session, so the probe proves nothing";

fn statement(key: KeyId, subject: Subject, answer: Answer, detail: String) -> Statement {
    Statement { key, subject, answer, level: Level::P3, detail }
}
