//! Entries in words, for people and for tables.

use keyroll_rotation::{Effect, Halt, Leaving, Millis};

use super::{Body, Completion, Entry, GateOutcome, HumanAction, KeyMark};
use crate::config::Period;

/// An entry in one line.
pub(super) fn entry(entry: &Entry) -> String {
    match &entry.body {
        Body::Opened { mode, outgoing, incoming, why, .. } => format!(
            "opened ({}): {} is to follow {}; reason: {}{}",
            mode_name(*mode),
            key(incoming),
            key(outgoing),
            why.reason,
            why.ticket.as_ref().map(|ticket| format!(", ticket {ticket}")).unwrap_or_default()
        ),
        Body::Continued { from } => {
            format!("continues the record of host `{}` behind entry {} ({})", from.host, from.seq, from.head)
        }
        Body::Intent { effect, .. } => format!("is about to {}", self::effect(effect)),
        Body::Done { intent, how: Completion::Now, .. } => format!("did what entry {intent} says"),
        Body::Done { intent, how: Completion::FoundDone, .. } => format!("found done what entry {intent} says"),
        Body::Failed { intent, reason } => format!("could not do what entry {intent} says: {reason}"),
        Body::Event { event } => format!("event {}", tag(event, "event")),
        Body::State { .. } => "state of the driver".to_owned(),
        Body::Rebased { location } => {
            format!("{location} was written by somebody else and holds the same keys; goes on from its new version")
        }
        Body::SessionsEnd { key, sessions: Some(sessions) } => {
            format!("ends the sessions under {}; {sessions} are alive", self::key(key))
        }
        Body::SessionsEnd { key, sessions: None } => {
            format!("ends the sessions under {}; nobody has counted them", self::key(key))
        }
        Body::GateSwept { gate, outcome: GateOutcome::Passed, evidence, .. } => {
            format!("{gate:?} passed; members: {}", evidence.members)
        }
        Body::GateSwept { gate, outcome: GateOutcome::Unproven, evidence, .. } => {
            format!("{gate:?} did not pass; members: {}; unproven: {}", evidence.members, evidence.unproven.join("; "))
        }
        Body::KeyIdentified { key } => format!("{} is known by its fingerprint", self::key(key)),
        Body::Human { action, why } => format!(
            "{}; reason: {}{}{}",
            self::action(action),
            why.reason,
            why.ticket.as_ref().map(|ticket| format!(", ticket {ticket}")).unwrap_or_default(),
            why.note.as_ref().map(|note| format!(", note: {note}")).unwrap_or_default()
        ),
        Body::LockTaken => "took the lock".to_owned(),
        Body::LockReleased => "released the lock".to_owned(),
        Body::LockTakenOver { from, host, epoch } => {
            format!("took the lock over from `{from}` on `{host}` (epoch {}), whose process was dead", epoch.0)
        }
        Body::Anchored { store, seq, .. } => format!("store {} points at entry {seq}", store.0),
        Body::Recovered { bytes } => format!("dropped {bytes} bytes of a line that a crash had torn"),
        Body::Halted { halt } => self::halt(halt),
        Body::Escrowed { key, until } => format!("{} is kept until {until}", self::key(key)),
        Body::Swept { store, removed } => {
            format!("removed what a dead writer had left in store {}: {}", store.0, removed.join(", "))
        }
        Body::Searched { key, found, beyond, .. } if found.is_empty() => {
            format!("looked for {} and found it nowhere else; not searched: {beyond}", self::key(key))
        }
        Body::Searched { key, found, .. } => {
            format!("looked for {} and found it also in {}", self::key(key), found.join(", "))
        }
        Body::Destroyed { key, store } => format!("{} is gone from store {}", self::key(key), store.0),
        Body::Sealed { active, .. } => format!("closed; {} mints", key(active)),
    }
}

/// A person's decision in words.
pub(super) fn action(action: &HumanAction) -> String {
    match action {
        HumanAction::Rotate => "asked for a rotation".to_owned(),
        HumanAction::Complete => "asked for its completion".to_owned(),
        HumanAction::Pause => "paused it".to_owned(),
        HumanAction::Resume => "resumed it".to_owned(),
        HumanAction::Rollback => "asked for a rollback".to_owned(),
        HumanAction::RollbackWithOwnCopy { key } => {
            format!("asked for a rollback with an own copy of {}", self::key(key))
        }
        HumanAction::Revoke { mode, compromised } => {
            format!("revoked ({}) {}", mode_name(*mode), compromised.iter().map(key).collect::<Vec<_>>().join(", "))
        }
        HumanAction::ReloadLaggards => "asked for a reload of the laggards".to_owned(),
        HumanAction::ReloadMember { member } => format!("asked for a reload of `{member}`"),
        HumanAction::Unlock { id, holder } => format!("broke the lock of {id}, held by `{holder}`"),
        HumanAction::AcceptLoss { sessions } => format!("accepted the loss of up to {sessions} sessions"),
        HumanAction::ExtendDrain { by } => format!("extended the drain by {}", period(*by)),
        HumanAction::WeakEvidence => "accepted weak evidence".to_owned(),
        HumanAction::Override { name, gives_up } => format!("used `{name}`, which gives up {gives_up}"),
    }
}

/// Why a rotation stands still, in words.
pub(super) fn halt(halt: &Halt) -> String {
    match halt {
        Halt::Paused => "paused".to_owned(),
        Halt::ForeignWrite { store, .. } => format!("halted: somebody else wrote to store {}", store.0),
        Halt::ReloadStopped { member: Some(_) } => "halted: a member did not come back from its reload".to_owned(),
        Halt::ReloadStopped { member: None } => "halted: more requests failed than before the reload".to_owned(),
        Halt::LaggardsRemain => "halted: members stayed unproven after every reload".to_owned(),
        // The rotation crate may learn further reasons; its own name for one is better than none.
        other => format!("halted: {other:?}"),
    }
}

/// A key by its public names.
pub(super) fn key(key: &KeyMark) -> String {
    match &key.fingerprint {
        Some(fingerprint) => format!("{} ({fingerprint})", key.id),
        None => key.id.to_string(),
    }
}

/// A mode as the command line writes it.
pub(super) fn mode_name(mode: keyroll_rotation::Mode) -> String {
    match serde_json::to_value(mode) {
        Ok(serde_json::Value::String(name)) => name,
        _ => format!("{mode:?}"),
    }
}

/// The name of an entry's body, as its line writes it.
pub(super) fn kind(body: &Body) -> String {
    tag(body, "kind")
}

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::StageCandidate { key } => format!("stage the candidate {key}"),
        Effect::Write { store, after, .. } => {
            let accept: Vec<String> = after.accept.iter().map(ToString::to_string).collect();
            format!("write (active {}, accept {}) to store {}", after.active, accept.join(" "), store.0)
        }
        Effect::Reload { attempt, scope, .. } => format!("reload {scope:?}, attempt {}", attempt.0).to_lowercase(),
        Effect::Sweep { gate } => format!("ask every member ({:?})", gate.name),
        Effect::StampT0 => "stamp T0".to_owned(),
        Effect::ObserveDrain { key, .. } => format!("look at the drain of {key}"),
        Effect::Close { leaving: Leaving::Nothing } => "close".to_owned(),
        Effect::Close { leaving: Leaving::Escrow { key, .. } } => format!("move {key} to escrow and close"),
        Effect::Close { leaving: Leaving::Destroy { keys } } => {
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            format!("destroy {} and close", keys.join(" and "))
        }
        Effect::Destroy { key } => format!("destroy {key}"),
        Effect::DiscardCandidate { key } => format!("discard the candidate {key}"),
        other => tag(other, "effect"),
    }
}

fn period(millis: Millis) -> Period {
    Period::milliseconds(millis.0)
}

fn tag<T: serde::Serialize>(value: &T, name: &str) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.get(name).and_then(serde_json::Value::as_str).unwrap_or("unknown").to_owned()
}
