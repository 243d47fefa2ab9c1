//! The policy's window: a rotation that is to begin waits for it, one that is open does not.
//!
//! Nothing is locked or written meanwhile, so that whoever may begin earlier is not held up by somebody who waits.

use std::time::Duration;

use keyroll_rotation::Stage;

use crate::clock::{calendar, millis};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::outcome::{ExitKind, Outcome};
use crate::report::{NaysayerReport, Notice, WaitReport, Who};
use crate::request::{Patience, RotateRequest, WindowRule};

/// What came of waiting for the window.
pub(crate) enum Admission {
    /// It is open, and was when it was asked.
    Open,
    /// It has opened after a while; what was found out before may be stale.
    Opened,
    /// It is closed, and patience does not reach so far.
    Refused(Box<Outcome>),
}

impl Engine {
    /// Waits until a rotation may begin, and takes the time that this took from the request's patience.
    pub(crate) async fn await_window(&self, request: &mut RotateRequest) -> Result<Admission, EngineError> {
        if request.window == WindowRule::Overridden {
            return Ok(Admission::Open);
        }
        let mut admission = Admission::Open;
        while let Some((opens, reason)) = self.window_closed() {
            let wait = closed_report(opens, reason);
            let left = opens.as_millisecond().saturating_sub(calendar(millis(self.clock.now())).as_millisecond());
            let left = Duration::from_millis(u64::try_from(left).unwrap_or(0)).max(SHORTEST);
            let never = opens == jiff::Timestamp::MAX;
            request.patience = match request.patience {
                Patience::Forever if !never => Patience::Forever,
                Patience::For(limit) if !never && limit > left => {
                    Patience::For(limit.saturating_sub(left.min(LONGEST)))
                }
                Patience::Forever | Patience::For(_) | Patience::None => {
                    return Ok(Admission::Refused(Box::new(self.outside(wait))));
                }
            };
            self.observer.notice(&Notice::Waiting(wait));
            tokio::select! {
                () = self.clock.sleep(left.min(LONGEST)) => {}
                () = self.interrupt.wait() => {
                    let summary = "interrupted before the policy's window opened; nothing was written";
                    let outcome = Outcome::new(ExitKind::Interrupted, summary).next("keyroll rotate");
                    return Ok(Admission::Refused(Box::new(outcome)));
                }
            }
            admission = Admission::Opened;
        }
        Ok(admission)
    }

    /// When the policy's window opens, and why it is closed, if it is.
    pub(crate) fn window_closed(&self) -> Option<(jiff::Timestamp, String)> {
        let window = self.assembly.policy.window.as_ref()?;
        window.closed_until(calendar(millis(self.clock.now())))
    }

    fn outside(&self, wait: WaitReport) -> Outcome {
        let exit = match wait.come_back_at {
            Some(_) => ExitKind::Waiting,
            // Time alone will not open it.
            None => ExitKind::HumanMustDecide,
        };
        let summary = format!("`{}` waits for the policy; nothing was written", self.assembly.name);
        let mut outcome = Outcome::new(exit, summary).next("keyroll rotate, then; or now with `--outside-window`");
        outcome.wait = Some(wait);
        outcome
    }
}

fn closed_report(opens: jiff::Timestamp, reason: String) -> WaitReport {
    let until = Some(opens).filter(|opens| *opens < jiff::Timestamp::MAX);
    let text = match until {
        Some(_) => reason,
        None => format!("{reason}, and it does not open within two years"),
    };
    let naysayer = NaysayerReport { who: Who::Policy, text, gate: None, members: Vec::new(), until };
    WaitReport { stage: crate::words::stage(Stage::Planned).to_owned(), naysayers: vec![naysayer], come_back_at: until }
}

const SHORTEST: Duration = Duration::from_millis(50);

/// A clock that is set meanwhile is noticed within this time.
const LONGEST: Duration = Duration::from_secs(60);
