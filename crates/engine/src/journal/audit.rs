//! Whether the record is what was written.
//!
//! The chain alone proves little: whoever can write the file can compute every hash anew. What proves something is an anchor,
//! the hash of one entry kept in another place (the store's stamp). Up to its last anchor no change, move or loss goes
//! unseen; behind it, and where the anchors could be rewritten too, a forger who is careful stays hidden, and
//! [`AuditReport::limits`] says so.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::chain::{LineFault, read_line, split};
use super::{Anchor, Body, EntryHash, JournalReader, Seq};

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AuditReport {
    /// The file.
    pub path: PathBuf,
    /// How many complete lines it has.
    pub lines: u64,
    /// Bytes behind the last line break.
    pub torn_bytes: u64,
    /// Everything that is wrong, in the file's order.
    pub damage: Vec<Damage>,
    /// What each anchor shows.
    pub anchors: Vec<AnchorCheck>,
    /// The journals that this one goes on from, each by the last anchor that the stores had of it. They were not looked at.
    pub continues: Vec<Anchor>,
    /// The hash of the last line.
    pub head: Option<EntryHash>,
    /// How many entries stand behind the last anchor that holds.
    pub behind_last_anchor: u64,
}

/// In one word.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "broken, vouched for, or vouched for by nobody")]
pub enum AuditVerdict {
    /// The chain is whole and an anchor holds.
    Anchored,
    /// The chain is whole, and nothing outside of the file vouches for it.
    Unanchored,
    /// Something was changed, moved or lost.
    Broken,
}

/// One thing that is wrong. Lines count from 1.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "damage", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Damage {
    /// A line is no entry any more.
    Unreadable {
        /// Which.
        line: u64,
        /// Why.
        reason: String,
    },
    /// A line does not follow from the one before it: one of the two was changed.
    Changed {
        /// The later of the two.
        line: u64,
    },
    /// Entries are missing before a line.
    Missing {
        /// The line behind the gap.
        line: u64,
        /// The first number that is missing.
        from: Seq,
        /// The last one.
        to: Seq,
    },
    /// An entry stands where it was not written, or twice.
    OutOfPlace {
        /// Which line.
        line: u64,
        /// The entry's number.
        seq: Seq,
    },
    /// An entry that a store points at is not there: the end of the record was cut off.
    CutOff {
        /// The entry's number.
        seq: Seq,
        /// The number of the last entry that is there.
        last: Option<Seq>,
    },
    /// An entry that a store points at is another one now.
    Rewritten {
        /// The entry's number.
        seq: Seq,
    },
    /// A store points at a journal of this host, and this is another one.
    Replaced {
        /// The host.
        host: String,
    },
}

/// What one anchor shows.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AnchorCheck {
    /// The anchor.
    pub anchor: Anchor,
    /// What it shows.
    pub shows: AnchorShows,
}

/// What an anchor shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "it holds, it does not, or it is another journal's")]
pub enum AnchorShows {
    /// The entry is there, unchanged, with everything before it.
    Holds,
    /// It is not.
    Broken,
    /// It belongs to the journal of another machine and has to be checked there.
    Elsewhere,
}

/// Checks a journal against itself and against the anchors that the stores' stamps hold.
pub fn verify(journal: &JournalReader, anchors: &[Anchor]) -> AuditReport {
    let (lines, torn) = split(journal.bytes());
    let mut damage = Vec::new();
    let mut hosts = BTreeSet::new();
    let mut continues = Vec::new();
    let mut hashes: Vec<(Option<Seq>, EntryHash)> = Vec::new();
    let mut expected = Seq(0);
    let mut head = EntryHash::GENESIS;
    // Behind an unreadable line nothing can be said about the link to it that was not said already.
    let mut link = Link::Known;
    for (line, number) in lines.iter().zip(1..) {
        let hash = EntryHash::of_line(line);
        match read_line(line) {
            Ok(entry) => {
                if entry.seq.0 > expected.0 {
                    damage.push(Damage::Missing { line: number, from: expected, to: Seq(entry.seq.0 - 1) });
                } else if entry.seq.0 < expected.0 {
                    damage.push(Damage::OutOfPlace { line: number, seq: entry.seq });
                } else if entry.prev != head && link == Link::Known {
                    damage.push(Damage::Changed { line: number });
                }
                expected = entry.seq.next();
                hosts.insert(entry.host);
                if let Body::Continued { from } = entry.body {
                    continues.push(from);
                }
                hashes.push((Some(entry.seq), hash));
                link = Link::Known;
            }
            Err(fault) => {
                let reason = match fault {
                    LineFault::Unreadable(reason) => reason,
                    other => other.to_string(),
                };
                damage.push(Damage::Unreadable { line: number, reason });
                expected = expected.next();
                hashes.push((None, hash));
                link = Link::Unknown;
            }
        }
        head = hash;
    }

    let journal_id = hashes.first().map(|(_, hash)| *hash);
    let mut holds: Option<Seq> = None;
    let checks = anchors
        .iter()
        .map(|anchor| {
            let shows = if Some(anchor.journal) == journal_id {
                let found = hashes.iter().find(|(seq, _)| *seq == Some(anchor.seq));
                match found {
                    Some((_, hash)) if *hash == anchor.head => {
                        holds = holds.max(Some(anchor.seq));
                        AnchorShows::Holds
                    }
                    Some(_) => {
                        damage.push(Damage::Rewritten { seq: anchor.seq });
                        AnchorShows::Broken
                    }
                    None => {
                        damage.push(Damage::CutOff { seq: anchor.seq, last: hashes.last().and_then(|(seq, _)| *seq) });
                        AnchorShows::Broken
                    }
                }
            } else if journal_id.is_none() {
                damage.push(Damage::CutOff { seq: anchor.seq, last: None });
                AnchorShows::Broken
            } else if hosts.contains(&anchor.host) {
                damage.push(Damage::Replaced { host: anchor.host.clone() });
                AnchorShows::Broken
            } else {
                AnchorShows::Elsewhere
            };
            AnchorCheck { anchor: anchor.clone(), shows }
        })
        .collect();

    let count = lines.len() as u64;
    AuditReport {
        path: journal.path().to_owned(),
        lines: count,
        torn_bytes: torn.len() as u64,
        damage,
        anchors: checks,
        continues,
        head: hashes.last().map(|(_, hash)| *hash),
        behind_last_anchor: holds.map_or(count, |seq| count.saturating_sub(seq.0 + 1)),
    }
}

impl AuditReport {
    /// The report in one word.
    pub fn verdict(&self) -> AuditVerdict {
        if !self.damage.is_empty() {
            AuditVerdict::Broken
        } else if self.anchors.iter().any(|check| check.shows == AnchorShows::Holds) {
            AuditVerdict::Anchored
        } else {
            AuditVerdict::Unanchored
        }
    }

    /// What this check can't see, in whole sentences for people.
    pub fn limits(&self) -> Vec<String> {
        let mut limits = Vec::new();
        match self.verdict() {
            AuditVerdict::Anchored | AuditVerdict::Broken => limits.push(
                "Somebody who can write both this file and the stamp in every store could write the whole record anew, \
                 with new anchors, and this check would not see it. Keep a copy of an anchor where they can't write."
                    .to_owned(),
            ),
            AuditVerdict::Unanchored => limits.push(
                "No store vouches for this file. Somebody who can write it could have written the whole record anew, \
                 and this check would not see it."
                    .to_owned(),
            ),
        }
        if self.behind_last_anchor > 0 && self.anchors.iter().any(|check| check.shows == AnchorShows::Holds) {
            limits.push(format!(
                "The last {} behind the last anchor: whoever can write this file could have changed or removed them.",
                count(self.behind_last_anchor, "entry stands", "entries stand")
            ));
        }
        if self.torn_bytes > 0 {
            limits.push(format!(
                "{} at the end belong to no complete entry: a crash, or a write that is under way. The next write \
                 records and drops them.",
                count(self.torn_bytes, "byte", "bytes")
            ));
        }
        for from in &self.continues {
            limits.push(format!(
                "What came before it stands, up to entry {}, in another journal of host `{}` whose first line has the hash {}. \
                 That one was not looked at: verify it where it lies. Where it is nowhere any more, that part of the record \
                 is lost.",
                from.seq, from.host, from.journal
            ));
        }
        for check in self.anchors.iter().filter(|check| check.shows == AnchorShows::Elsewhere) {
            limits.push(format!(
                "The stamp also points at the journal on host `{}`. What was done there has to be verified there.",
                check.anchor.host
            ));
        }
        limits
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { line, reason } => write!(f, "line {line} is no entry any more: {reason}"),
            Self::Changed { line } if *line == 1 => f.write_str("line 1 was changed: it does not begin the chain"),
            Self::Changed { line } => {
                write!(f, "line {line} does not follow from line {}: one of the two was changed", line - 1)
            }
            Self::Missing { line, from, to } if from == to => write!(f, "entry {from} is missing before line {line}"),
            Self::Missing { line, from, to } => write!(f, "entries {from} to {to} are missing before line {line}"),
            Self::OutOfPlace { line, seq } => write!(f, "line {line} holds entry {seq}, which does not belong there"),
            Self::CutOff { seq, last: Some(last) } => {
                write!(f, "the record ends with entry {last}, and a store points at entry {seq}: the end was cut off")
            }
            Self::CutOff { seq, last: None } => {
                write!(
                    f,
                    "the record holds nothing, and a store points at entry {seq}: it was emptied, or never was on this host"
                )
            }
            Self::Rewritten { seq } => {
                write!(f, "entry {seq} is not the one that a store points at: it, or one before it, was changed")
            }
            Self::Replaced { host } => {
                write!(f, "a store points at another journal of host `{host}`: this file was put in its place")
            }
        }
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Link {
    Known,
    Unknown,
}

fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}
