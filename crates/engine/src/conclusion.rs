//! How a command ends: the lock is given back, and what the loop stopped for becomes an exit code and a sentence.

use keyroll_rotation::Direction;

use crate::clock::{calendar, millis};
use crate::drive::Stop;
use crate::error::EngineError;
use crate::outcome::{ExitKind, Outcome};
use crate::report::WaitReport;
use crate::session::Session;

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
            self.caution(crate::effects::error_chain(&error));
        }
        let outcome = match done {
            Ok(stop) => Ok(self.outcome(stop, expected)),
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
            let mut outcome = Outcome::new(exit, format!("`{name}` waits in {}: {}", report.stage, report.words()));
            outcome.next = Some(next.to_owned());
            outcome.wait = Some(report);
            outcome
        };
        let mut outcome = match stop {
            Stop::Closed => self.closed_outcome(expected),
            Stop::Decided(summary) => Outcome::new(ExitKind::Done, summary).next("keyroll status"),
            Stop::Until => match self.machine() {
                Some(machine) => {
                    let now = millis(self.engine.clock.now());
                    let report = self.report_wait(&machine.why(now));
                    let halted = machine.halt.as_ref().map(crate::status::halt_words);
                    let summary = match halted {
                        Some(halted) => format!("`{name}` stands still: {halted}"),
                        None => format!("`{name}` stands at {}", crate::words::stage(machine.stage)),
                    };
                    let mut outcome = Outcome::new(ExitKind::Waiting, summary).next("keyroll rotate");
                    outcome.wait = Some(report);
                    outcome
                }
                None => Outcome::new(ExitKind::Done, "done"),
            },
            Stop::Waiting(report) => waiting(ExitKind::Waiting, report, "keyroll complete"),
            Stop::Human(report) => waiting(ExitKind::HumanMustDecide, report, "keyroll explain"),
            Stop::Drift(report) => {
                waiting(ExitKind::Drift, report, "put it back as it was, or `keyroll resume --overwrite-foreign-write`")
            }
            Stop::Interrupted => Outcome::new(
                ExitKind::Interrupted,
                format!(
                    "interrupted in {}; everything that was done is recorded",
                    stage.map_or("no stage", crate::words::stage)
                ),
            )
            .next("keyroll rotate"),
        };
        outcome.rotation = rotation;
        outcome.stage = stage;
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
                (Direction::Forward, _) => Outcome::new(ExitKind::Done, "done; nothing is left to do"),
            };
        };
        let kept = format!(
            "{} is in use; {} is kept in escrow until {}",
            machine.incoming,
            machine.outgoing,
            calendar(machine.closed_at.unwrap_or_default().after(machine.settings.escrow))
        );
        match (machine.direction, expected) {
            (Direction::Back, Expected::Forward) => {
                Outcome::new(ExitKind::RolledBack, format!("the rotation was rolled back: {kept}"))
            }
            (Direction::Back, Expected::Back) => Outcome::new(ExitKind::Done, format!("rolled back: {kept}")),
            (Direction::Forward, _) => Outcome::new(ExitKind::Done, format!("done: {kept}")).next("keyroll verify"),
        }
    }
}
