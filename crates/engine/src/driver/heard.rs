//! Whether a revocation that was left for another process is heard by it.
//!
//! Whoever revokes a leaked key must not be told that all is well because a line was left in a stamp: the process that holds the
//! lock may only reload a member, may end before it looks again, or may be dead on another machine for days.

use std::time::Duration;

use crate::engine::Engine;
use crate::error::EngineError;
use crate::outcome::{ExitKind, Outcome};
use crate::report::Notice;
use crate::request::Patience;
use crate::world::lock::LockHolder;
use crate::world::stamp::{PendingRequest, StampBody};

/// What became of a request that was left.
pub(crate) enum Heard {
    /// The process took it, or has not within the time that there was.
    Answered(Box<Outcome>),
    /// Nobody holds the lock any more and nobody took it: whoever asked carries it out.
    LeftToUs(PendingRequest),
}

impl Engine {
    /// Waits until the process for which it was left has taken it up, or is gone.
    pub(crate) async fn heard(
        &self,
        request: PendingRequest,
        holder: LockHolder,
        patience: Patience,
    ) -> Result<Heard, EngineError> {
        let words = request.what.words();
        self.observer.notice(&Notice::Caution {
            what: format!(
                "`{words}` was left for the process that drives, and this waits until it is taken up: {holder}"
            ),
        });
        let limit = match patience {
            Patience::Forever => HEARD_WITHIN,
            Patience::For(limit) => limit.min(HEARD_WITHIN),
            Patience::None => Duration::ZERO,
        };
        let began = self.clock.boottime();
        loop {
            let Some(stamp) = self.reconcile(&self.read_stores().await?)? else {
                return Err(self.nothing_open("revoke"));
            };
            let waits = stamp.requests.iter().any(|other| other.id == request.id);
            if !waits {
                return taken(stamp.took_up(&request), &words, holder)
                    .map(|outcome| Heard::Answered(Box::new(outcome)));
            }
            if stamp.lock.as_ref().is_none_or(|holder| !self.may_drive(holder)) {
                return Ok(Heard::LeftToUs(request));
            }
            let spent = self.clock.boottime().saturating_sub(began);
            let interrupted = self.interrupt.requested();
            if spent >= limit || interrupted {
                let exit = if interrupted { ExitKind::Interrupted } else { ExitKind::Locked };
                let summary = format!(
                    "nothing was revoked yet: `{words}` was left for another process, which has not taken it up: {holder}. It takes it \
                     when it looks again; if it is gone, take its lock away and ask again"
                );
                let mut outcome = Outcome::new(exit, summary).next(format!("keyroll unlock --id {}", holder.rotation));
                outcome.holder = Some(holder);
                return Ok(Heard::Answered(Box::new(outcome)));
            }
            tokio::select! {
                () = self.clock.sleep(LOOK_AGAIN.min(limit - spent)) => {}
                () = self.interrupt.wait() => {}
            }
        }
    }
}

impl StampBody {
    fn took_up(&self, request: &PendingRequest) -> TookUp {
        let open = self.open.as_ref().map(|open| (&open.id, open.revoked.as_ref()));
        let last = self.last.as_ref().map(|last| (&last.id, last.revoked.as_ref()));
        let wanted = (&request.rotation, Some(&request.what));
        if open == Some(wanted) || last == Some(wanted) { TookUp::Yes } else { TookUp::No }
    }
}

/// Whether a revocation that no longer waits is being carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TookUp {
    Yes,
    No,
}

fn taken(took_up: TookUp, words: &str, holder: LockHolder) -> Result<Outcome, EngineError> {
    match took_up {
        TookUp::Yes => {
            let summary = format!("`{words}` was left for the process that drives, and it has taken it up: {holder}");
            let mut outcome = Outcome::new(ExitKind::Done, summary).next("keyroll status --watch");
            outcome.holder = Some(holder);
            Ok(outcome)
        }
        TookUp::No => Err(EngineError::HumanMustDecide {
            decision: format!(
                "`{words}` was left for the process that drives, and it did not carry it out ({holder}); what it said to that \
                 is in its own output: look at `keyroll status`, then ask again"
            ),
        }),
    }
}

/// A process that drives looks between two effects, and the longest of them is to ask every member of a large fleet.
const HEARD_WITHIN: Duration = Duration::from_mins(2);
const LOOK_AGAIN: Duration = Duration::from_millis(500);
