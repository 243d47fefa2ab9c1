//! One row for each rotation: what an auditor asks for first.

use jiff::Timestamp;
use keyroll_rotation::{Event, Mode, RotationId};
use serde::Serialize;

use super::{Body, Entry, HumanAction, KeyMark, Record, Why};

/// One rotation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct HistoryRow {
    /// Which.
    pub rotation: RotationId,
    /// When its first entry was written.
    pub began: Timestamp,
    /// Who opened it, or who is first seen with it.
    pub operator: String,
    /// Everybody else who drove or decided.
    pub others: Vec<String>,
    /// Why; none where it was opened on another machine.
    pub why: Option<Why>,
    /// The mode; the last one, where an emergency superseded it.
    pub mode: Option<Mode>,
    /// The key before.
    pub outgoing: Option<KeyMark>,
    /// The key after.
    pub incoming: Option<KeyMark>,
    /// The start of the drain, by the store's clock.
    pub t0: Option<Timestamp>,
    /// When it was closed.
    pub closed: Option<Timestamp>,
    /// How it ended.
    pub ending: Ending,
    /// What was done otherwise than the protocol would by itself.
    pub deviations: Vec<Deviation>,
}

/// How a rotation ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Ending {
    /// It is open.
    Open,
    /// It was completed.
    Completed,
    /// It was turned round, and the key before is in use again.
    RolledBack,
    /// An emergency took its place and ended it.
    Revoked,
}

/// One thing that was done otherwise than the protocol would by itself.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Deviation {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub operator: String,
    /// What, in words.
    pub what: String,
}

/// The rotations of a journal, oldest first.
pub fn history(records: &[Record]) -> Vec<HistoryRow> {
    let mut builders: Vec<Builder> = Vec::new();
    for record in records {
        let entry = &record.entry;
        let Some(rotation) = &entry.rotation else { continue };
        let index = builders.iter().position(|builder| builder.row.rotation == *rotation).unwrap_or_else(|| {
            builders.push(Builder::new(rotation.clone(), entry));
            builders.len() - 1
        });
        builders[index].take(entry);
    }
    builders.into_iter().map(|builder| builder.row).collect()
}

struct Builder {
    row: HistoryRow,
    /// How it will have ended if it ends now.
    heading: Ending,
}

impl Builder {
    fn new(rotation: RotationId, first: &Entry) -> Self {
        let row = HistoryRow {
            rotation,
            began: first.at,
            operator: first.operator.clone(),
            others: Vec::new(),
            why: None,
            mode: None,
            outgoing: None,
            incoming: None,
            t0: None,
            closed: None,
            ending: Ending::Open,
            deviations: Vec::new(),
        };
        Self { row, heading: Ending::Completed }
    }

    fn take(&mut self, entry: &Entry) {
        let row = &mut self.row;
        if entry.operator != row.operator && !row.others.contains(&entry.operator) {
            row.others.push(entry.operator.clone());
        }
        let deviation = match &entry.body {
            Body::Opened { mode, outgoing, incoming, why, .. } => {
                row.mode = Some(*mode);
                row.outgoing = Some(outgoing.clone());
                row.incoming = Some(incoming.clone());
                row.why = Some(why.clone());
                None
            }
            Body::KeyIdentified { key } => {
                for mine in [&mut row.incoming, &mut row.outgoing].into_iter().flatten() {
                    if mine.id == key.id {
                        mine.clone_from(key);
                    }
                }
                None
            }
            Body::Event { event: Event::Stamped { t0 } } => {
                row.t0 = super::moment(*t0);
                None
            }
            Body::Event { event: Event::RollbackRequested } => {
                self.heading = Ending::RolledBack;
                None
            }
            Body::Event { event: Event::Revoked(revocation) } => {
                self.heading = Ending::Revoked;
                row.mode = Some(revocation.mode);
                None
            }
            Body::Human { action, .. } => human_deviation(action),
            Body::LockTakenOver { from, host, .. } => {
                Some(format!("the lock of `{from}` on `{host}`, whose process was dead, was taken over"))
            }
            Body::Halted { halt } => Some(super::words::halt(halt)),
            Body::Searched { found, key, .. } if !found.is_empty() => {
                Some(format!("{} is destroyed, and is still in {}", super::words::key(key), found.join(", ")))
            }
            Body::Searched { .. } => None,
            Body::Recovered { bytes } => Some(format!("a crash had torn {bytes} bytes off the record's end")),
            // The machine takes T0 back by itself, and only its state shows that. On the way back, or behind a revocation, it is
            // no deviation of its own.
            Body::State { stamp } => {
                let open = &stamp["open"];
                let gone = open["id"] == row.rotation.0 && open["machine"]["t0"].is_null() && row.t0.is_some();
                if gone {
                    row.t0 = None;
                }
                (gone && self.heading == Ending::Completed).then(|| {
                    "T0 was void, and the drain began anew: a member could have minted under the outgoing key after it"
                        .to_owned()
                })
            }
            Body::Sealed { t0, .. } => {
                row.closed = Some(entry.at);
                row.ending = self.heading;
                row.t0 = t0.or(row.t0);
                None
            }
            // What the protocol does by itself is no deviation.
            Body::Continued { .. }
            | Body::Intent { .. }
            | Body::Done { .. }
            | Body::Failed { .. }
            | Body::Event { .. }
            | Body::GateSwept { .. }
            | Body::LockTaken
            | Body::LockReleased
            | Body::Anchored { .. }
            | Body::Escrowed { .. }
            | Body::Destroyed { .. }
            | Body::Swept { .. }
            | Body::SessionsEnd { .. }
            | Body::Rebased { .. } => None,
        };
        if let Some(what) = deviation {
            row.deviations.push(Deviation { at: entry.at, operator: entry.operator.clone(), what });
        }
    }
}

/// Overrides deviate; asking for a rotation, or for its end, does not.
fn human_deviation(action: &HumanAction) -> Option<String> {
    match action {
        HumanAction::Rotate | HumanAction::Complete | HumanAction::Pause | HumanAction::Resume => None,
        HumanAction::Rollback
        | HumanAction::RollbackWithOwnCopy { .. }
        | HumanAction::Revoke { .. }
        | HumanAction::ReloadLaggards
        | HumanAction::ReloadMember { .. }
        | HumanAction::Unlock { .. }
        | HumanAction::AcceptLoss { .. }
        | HumanAction::ExtendDrain { .. }
        | HumanAction::WeakEvidence
        | HumanAction::Override { .. } => Some(super::words::action(action)),
    }
}
