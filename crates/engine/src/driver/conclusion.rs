//! How a command ends: the lock is given back, and what the loop stopped for becomes an exit code and a sentence.

use std::collections::BTreeMap;

use keyroll_keyring::KeyId;
use keyroll_rotation::gate::EvidenceLevel;
use keyroll_rotation::{Direction, Mode, Stage};

use crate::clock::{calendar, millis, spoken};
use crate::driver::drive::Stop;
use crate::driver::fitting::stands_at_the_end_of;
use crate::driver::session::{COMPLETE, REVOKE, Session};
use crate::error::EngineError;
use crate::meaning::{goes_on, is_emergency};
use crate::outcome::{ExitKind, Outcome};
use crate::report::{KeyRejected, NaysayerReport, WaitReport, Who};

/// Where the operator expects to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expected {
    Forward,
    Back,
}

impl Session<'_> {
    /// Gives the lock back and says how it ended.
    pub(crate) async fn conclude(
        mut self,
        done: Result<Stop, EngineError>,
        expected: Expected,
    ) -> Result<Outcome, EngineError> {
        // Who lost the lock has nothing to give back, and must not write any more.
        if let Err(error @ EngineError::Superseded { .. }) = done {
            return Err(error);
        }
        if let Err(error) = self.publish(None) {
            self.caution(crate::error::error_chain(&error));
        }
        let outcome = match done {
            Ok(stop) => {
                let closed = matches!(stop, Stop::Closed);
                let mut outcome = self.outcome(stop, expected);
                if closed {
                    outcome.announcement = self.announcement();
                }
                Ok(outcome)
            }
            Err(error) => Err(error),
        };
        match (outcome, self.release().await) {
            (Ok(outcome), Ok(())) => Ok(outcome),
            (Ok(_), Err(error)) | (Err(error), _) => Err(error),
        }
    }

    fn outcome(&self, stop: Stop, expected: Expected) -> Outcome {
        let name = &self.engine.assembly.name;
        let open = self.open();
        let rotation =
            open.map(|open| open.id.clone()).or_else(|| self.stamp.last.as_ref().map(|last| last.id.clone()));
        let stage = self.stage().or_else(|| self.stamp.last.as_ref().map(|last| last.stage));
        let waiting = |exit, report: WaitReport, next: &str| {
            let verb = if exit == ExitKind::Waiting { "waits" } else { "stands still" };
            let mut outcome = Outcome::new(exit, format!("`{name}` {verb} in {}", report.stage));
            outcome.next = Some(next.to_owned());
            outcome.wait = Some(report);
            outcome
        };
        let mut outcome = match stop {
            Stop::Closed => self.closed_outcome(expected),
            Stop::Decided(summary) => {
                let next = self.machine().filter(|machine| machine.halt.is_none()).map_or("keyroll status", goes_on);
                Outcome::new(ExitKind::Done, summary).next(next)
            }
            Stop::Until(until) => self.stopped_at(until),
            Stop::Waiting(report) => waiting(ExitKind::Waiting, report, "keyroll complete"),
            Stop::Human(report) => {
                waiting(ExitKind::HumanMustDecide, report, &format!("do what it says, then: {}", self.goes_on()))
            }
            Stop::Drift(report) => {
                waiting(ExitKind::Drift, report, &format!("do one of these, then: {}", self.goes_on()))
            }
            Stop::Interrupted => Outcome::new(
                ExitKind::Interrupted,
                format!(
                    "interrupted in {}; everything that was done is recorded",
                    stage.map_or("no stage", crate::words::stage)
                ),
            )
            .next(self.resumed_by()),
        };
        outcome.rotation = rotation;
        outcome.stage = stage;
        outcome
    }

    /// The command that goes on with what was interrupted, and means the same. `rotate` goes on with everything; but whoever asked
    /// to go back hears then that it went back on them, and whoever revoked a key is not told that it is dead.
    fn resumed_by(&self) -> String {
        let Some(open) = self.open() else { return self.goes_on().to_owned() };
        let operation = self.stamp.lock.as_ref().map(|lock| lock.operation.as_str());
        match (operation, &open.revoked) {
            (Some(REVOKE), Some(asked)) => format!("keyroll {}", asked.command()),
            _ if open.machine.direction == Direction::Back && self.stamp.parked.is_none() => {
                "keyroll rollback".to_owned()
            }
            (Some(COMPLETE), _) => "keyroll complete".to_owned(),
            _ => self.goes_on().to_owned(),
        }
    }

    /// What takes the open rotation further.
    fn goes_on(&self) -> &'static str {
        self.machine().map_or("keyroll rotate", goes_on)
    }

    /// Somebody asked to stop behind `until`; nobody says no.
    fn stopped_at(&self, until: Stage) -> Outcome {
        let at_its_end = self.machine().is_some_and(|machine| stands_at_the_end_of(machine, until));
        let (name, until) = (&self.engine.assembly.name, crate::words::stage(until));
        let reached = self.stage().map_or("the next stage", crate::words::stage);
        let (text, summary) = match at_its_end {
            true => (
                format!("`--until {until}` asked to stop before {reached}; it can go on at any time"),
                format!("`{name}`: `{until}` is done and proven; {reached} has not begun"),
            ),
            false => (
                format!("`--until {until}` lies behind, and nothing was done; it can go on at any time"),
                format!("`{name}`: `{until}` lies behind already; the rotation is in {reached}, and nothing was done"),
            ),
        };
        let mut outcome = Outcome::new(ExitKind::Waiting, summary).next("keyroll rotate");
        outcome.wait = Some(WaitReport {
            stage: reached.to_owned(),
            naysayers: vec![NaysayerReport { who: Who::Human, text, gate: None, members: Vec::new(), until: None }],
            come_back_at: Some(calendar(millis(self.engine.clock.now()))),
        });
        outcome
    }

    fn closed_outcome(&self, expected: Expected) -> Outcome {
        let Some(machine) = self.machine() else {
            let back = self.ended_back;
            return match (back, expected) {
                (Direction::Back, Expected::Forward) => {
                    Outcome::new(ExitKind::RolledBack, "the rotation was rolled back; the key before is in use")
                }
                (Direction::Back, Expected::Back) => {
                    Outcome::new(ExitKind::Done, "rolled back; the key before is in use")
                }
                (Direction::Forward, _) => match self.ended.filter(|ended| is_emergency(ended.mode)) {
                    Some(ended) => self.revoked(ended.active),
                    None => Outcome::new(ExitKind::Done, "done; nothing is left to do"),
                },
            };
        };
        let kept = format!(
            "{} is in use; {} is kept in escrow until {}",
            machine.incoming,
            machine.outgoing,
            spoken(calendar(machine.closed_at.unwrap_or_default().after(machine.settings.escrow)))
        );
        match (machine.direction, expected) {
            (Direction::Back, Expected::Forward) => {
                Outcome::new(ExitKind::RolledBack, format!("the rotation was rolled back: {kept}"))
            }
            (Direction::Back, Expected::Back) => Outcome::new(ExitKind::Done, format!("rolled back: {kept}")),
            (Direction::Forward, _) => Outcome::new(ExitKind::Done, format!("done: {kept}")).next("keyroll verify"),
        }
    }

    /// What is shown of the keys that a revocation ended.
    fn revoked(&self, active: KeyId) -> Outcome {
        let dead: Vec<_> = self.stamp.ledger.compromised().into_iter().collect();
        let shown = || self.rejected_by.iter().filter(|(key, _)| dead.contains(key));
        let mut lines: Vec<_> = shown().map(|(key, members)| how_dead(*key, members)).collect();
        let rejected: Vec<KeyRejected> = shown()
            .map(|(key, members)| {
                let asked = members.iter().filter(|(_, level)| **level == Some(EvidenceLevel::P3));
                KeyRejected { key: *key, members: asked.map(|(member, _)| member.clone()).collect() }
            })
            .filter(|rejected| !rejected.members.is_empty())
            .collect();
        if lines.is_empty() {
            // Another process saw the gate pass, and its record has the proof.
            lines.push("the compromised key is destroyed; `keyroll verify` asks every member again".to_owned());
        }
        lines.push(format!("{active} is in use"));
        let mut outcome = Outcome::new(ExitKind::Done, lines.join("; ")).next("keyroll verify");
        outcome.rejected = rejected;
        outcome
    }

    /// A text for the people affected by a revocation that has come to its end: when, what it means for them, why.
    fn announcement(&self) -> Option<String> {
        let ended = self.ended.filter(|ended| is_emergency(ended.mode))?;
        let name = &self.engine.assembly.name;
        let at = ended.at.strftime("%Y-%m-%d at %H:%M UTC");
        if ended.active < ended.outgoing {
            // The key before goes on, and with it everybody who never met the new one.
            return Some(format!(
                "On {at} a new key for the sessions of `{name}` was taken out of use, because it may have been in other hands. \
                 Whose session was made or renewed under it has to log in again; everybody else stays logged in. That key opens \
                 nothing any more. Nobody has to change a password for this reason alone."
            ));
        }
        let impact = match ended.mode {
            Mode::Accelerated => {
                "Whoever was logged in before has to log in again; a few who logged in while it was done may have to do so twice."
            }
            _ => "Whoever was logged in has to log in again, and a few requests may have failed while it was done.",
        };
        Some(format!(
            "On {at} the key that protects the sessions of `{name}` was replaced, because it may have been in other hands. \
             {impact} The old key opens nothing any more. Nobody has to change a password for this reason alone."
        ))
    }
}

/// How it is known that nobody accepts a key any more: who rejected a session under it, and who was only believed to.
fn how_dead(key: KeyId, members: &BTreeMap<String, Option<EvidenceLevel>>) -> String {
    let of = members.len();
    let count = |wanted: Option<EvidenceLevel>| members.values().filter(|level| **level == wanted).count();
    let asked = count(Some(EvidenceLevel::P3));
    let believed = [
        (count(Some(EvidenceLevel::P2)), "reported so themselves"),
        (count(Some(EvidenceLevel::P1)), "restarted since, not asked"),
        (count(Some(EvidenceLevel::P0)), "rolled out to, not asked"),
        (count(None), "not asked"),
    ];
    let mut lines: Vec<_> = believed
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, how)| format!("{count} of {of} members {how}"))
        .collect();
    if asked == of {
        return format!("{key} is dead: {of} of {of} members were shown to reject it, and it is destroyed");
    }
    lines.insert(0, format!("{asked} of {of} members were shown to reject it"));
    format!("{key} is destroyed: {}; `keyroll verify` asks them", lines.join(", "))
}
