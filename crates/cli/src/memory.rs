//! Keeps the memory of this process to this process: it holds keys.
//!
//! A limit on the size of core dumps would not do. It is inherited by every process that Keyroll starts, so applications would
//! lose their own dumps, and the kernel ignores it where dumps go to a program. Not being dumpable ends with the next `exec`.

use crate::output::Console;

/// Forbids core dumps of this process, and debuggers to everybody but root.
pub(crate) fn keep_private(console: Console) {
    #[cfg(target_os = "linux")]
    if let Err(err) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        console.progress(&format!("note: core dumps of this process can't be forbidden: {err}"));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = console;
}
