//! A core dump is a file with every key in it.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use libtest_mimic::Failed;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use super::ring::until;
use super::watch::KEYROLL;

/// Two processes are told to die of a signal that dumps core, in a folder where they may: the application does, Keyroll does not.
pub(crate) fn story() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let token =
        ["token", "open", "--codec", "sealed", "--set", "cookie=session", "--key-file", "-", "--token", "nothing"];
    let mut keyroll = start(Command::new(KEYROLL).args(token).current_dir(folder.path()))?;
    // It has the key, and waits for the rest of it.
    keyroll.stdin.as_mut().ok_or("it has no input")?.write_all(b"0123456789abcdef")?;
    until("it reads its input", || waits(&keyroll))?;
    let status = quit(keyroll)?;
    if status.signal() != Some(Signal::ABORT.as_raw()) {
        return Err(format!("keyroll ended with {status} and not by the signal").into());
    }
    if status.core_dumped() {
        return Err("keyroll dumped its memory".into());
    }
    let left = std::fs::read_dir(folder.path())?.count();
    let control = quit(start(Command::new("sleep").arg("60").current_dir(folder.path()))?)?;
    match (control.core_dumped(), left) {
        (true, 0) => Ok(()),
        (true, left) => Err(format!("{left} files were left").into()),
        (false, _) => Err("a process that may dump core did not, so this proves nothing".into()),
    }
}

/// Starts a process that may dump core as far as its limits go.
fn start(command: &mut Command) -> Result<Child, Failed> {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let maximum = getrlimit(Resource::Core).maximum;
    prlimit(Some(Pid::from_child(&child)), Resource::Core, Rlimit { current: maximum, maximum })?;
    Ok(child)
}

/// Whether it sleeps in a read of its standard input.
fn waits(child: &Child) -> bool {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap_or_default();
    let is_keyroll = read("cmdline").contains("token");
    let sleeps = read("stat").rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'));
    is_keyroll && sleeps
}

fn quit(mut child: Child) -> Result<ExitStatus, Failed> {
    kill_process(Pid::from_child(&child), Signal::ABORT)?;
    Ok(child.wait()?)
}
