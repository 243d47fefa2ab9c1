//! `keyroll demo`: to its end, and interrupted.

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};

use super::lab::Lab;
use super::ring::until;

/// The whole story.
pub(crate) fn story(lab: &Lab<'_>) -> Result<(), Failed> {
    lab.keyroll(&["demo", "--users", "50", "--replicas", "2"])?.exits(&[0])?;
    let stopped = lab.start(&["demo", "--users", "50", "--compare"], &[])?;
    // Its folder is there when its keys are.
    until("the demo has a folder", || {
        std::fs::read_dir(lab.temporary()).is_ok_and(|mut entries| entries.next().is_some())
    })?;
    kill_process(Pid::from_child(&stopped.child), Signal::TERM)?;
    stopped.ended()?.exits(&[130])?;
    Ok(())
}
