//! A real driver of a real fleet is killed by SIGKILL wherever it could be, and started again.
//!
//! By default each point is met once, several in one rotation. `KEYROLL_TEST_DEPTH=full` kills at each point alone, twice in a
//! row, and at 200 random instants.

mod checks;
mod lane;
mod operators;
mod sweep;

use keyroll_testkit::Suite;
use libtest_mimic::Failed;

fn main() {
    Suite::new()
        .test("a driver that is killed at any point or instant is taken up and loses nobody", || {
            in_runtime(sweep::killed_everywhere())
        })
        .test("the users of these fleets notice the sessions that a runbook's order loses", || {
            in_runtime(lane::losses_are_noticed())
        })
        .test("a restart that died in its middle is brought to its end", || in_runtime(lane::half_a_restart()))
        .test("of two operators exactly one goes on and the other hears who it is", || {
            in_runtime(operators::one_goes_on())
        })
        .run()
}

fn in_runtime(test: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(test)
}
