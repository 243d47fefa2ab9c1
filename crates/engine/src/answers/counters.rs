//! Whether the counters that are to end a drain could ever do so.
//!
//! A counter begins at zero with each run. Where neither the list of members nor the member itself tells its runs apart, a
//! restart between two readings is not seen, and whatever was opened before it is not counted: such a drain never ends.

use futures_util::{StreamExt as _, stream};
use keyroll_rotation::{DrainRule, Mode};

use crate::answers::checks::Checks;
use crate::engine::Engine;
use crate::error::error_chain;
use crate::members::drain::{Restarts, TELL_RUNS_APART, run_of};
use crate::members::sweep;

impl Engine {
    /// Reads the counter of every member whose run has no name in the list.
    pub(crate) async fn check_restarts_show(&self, mode: Mode, checks: &mut Checks) {
        let Some(witness) = &self.assembly.drain else { return };
        if mode != Mode::Staged || self.assembly.policy.settings.drain != DrainRule::Counter {
            return;
        }
        // A list that can't be read is another check's matter.
        let Ok(listed) = sweep::list(&self.assembly.consumers).await else { return };
        let nameless = listed.into_iter().filter(|one| !one.member.boot.tells_runs_apart());
        let mut read: Vec<_> = stream::iter(nameless)
            .map(|one| async move {
                let counts = witness.read(&one.member).await;
                (one, counts)
            })
            .buffer_unordered(self.assembly.policy.concurrency.max(1))
            .collect()
            .await;
        read.sort_by(|(one, _), (other, _)| one.member.id.cmp(&other.member.id));
        for (one, counts) in read {
            let object = Some(one.member.id.0.as_str());
            match counts {
                Ok(Some(counts)) => match run_of(&one, Some(&counts)).1 {
                    Restarts::Seen => checks.green("drain.restarts", object, "its metrics tell when it started"),
                    Restarts::Unseen => checks.red(
                        "drain.restarts",
                        object,
                        "nothing tells when it is restarted, so its counter proves nothing and the drain would never end",
                        TELL_RUNS_APART,
                    ),
                },
                Ok(None) => checks.unknown(
                    "drain.restarts",
                    object,
                    "it shows no counter yet, and nothing else tells when it is restarted",
                    "have it export its keys at 0 from its start, with `process_start_time_seconds` beside them",
                ),
                Err(error) => {
                    checks.unknown("drain.restarts", object, error_chain(&error), "make its counter readable");
                }
            }
        }
    }
}
