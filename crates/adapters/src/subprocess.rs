//! Commands of the user's: run one, within limits, and give back what it printed.
//!
//! A command gets a process group of its own, and the whole group is killed when its time is over or when nobody waits for
//! it any more. It sees a short list of environment variables and never a key. What it says on its standard error is counted
//! and not kept: an error goes to the audit record and to logs, and a deployment tool that fails may print the secret that it
//! was to deploy.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// One command to run.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    /// Program and arguments. Never empty.
    pub(crate) argv: Vec<String>,
    /// Variables beyond the inherited ones.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Where it runs; here if none.
    pub(crate) folder: Option<PathBuf>,
    /// How long it may take.
    pub(crate) limit: Duration,
    /// How much it may print.
    pub(crate) output_limit: usize,
}

/// Why a command did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("the command line is empty")]
    Empty,
    #[error("`{program}` can't be started")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("`{program}` did not finish within {} s and was killed{}", limit.as_secs_f64(), unheard(*said))]
    TooSlow { program: String, limit: Duration, said: u64 },
    #[error("`{program}` ended with {}{}", ended(*status), unheard(*said))]
    Failed { program: String, status: ExitStatus, said: u64 },
    #[error("`{program}` printed more than {limit} bytes and was killed")]
    TooMuch { program: String, limit: usize },
    #[error("the output of `{program}` can't be read")]
    Output {
        program: String,
        #[source]
        source: io::Error,
    },
}

/// The variables that a foreign process inherits, and no others: what it takes to find programs, a home, a language, a
/// time zone and an agent for ssh. A key that stands in Keyroll's own environment stays there.
pub(crate) fn inherited(more: &[String]) -> Vec<(OsString, OsString)> {
    std::env::vars_os()
        .filter(|(name, _)| {
            name.to_str().is_some_and(|name| {
                INHERITED.contains(&name) || name.starts_with("LC_") || more.iter().any(|also| also == name)
            })
        })
        .collect()
}

impl CommandError {
    /// Whether the same command may do it in a moment: it ran, and what it asked did not answer as it should. A program that
    /// is not there will not be there then.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::TooSlow { .. } | Self::Failed { .. })
    }
}

impl Invocation {
    /// Runs it to its end and gives back its standard output. Anything but success is an error.
    pub(crate) async fn run(&self) -> Result<Vec<u8>, CommandError> {
        let (program, arguments) = self.argv.split_first().ok_or(CommandError::Empty)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name as &OsStr, value as &OsStr)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let failed = |source| CommandError::Start { program: program.clone(), source };
        let mut child = command.spawn().map_err(failed)?;
        let mut group = Group::of(child.id());
        let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(failed(io::Error::other("its output has no pipe")));
        };

        let mut output = Vec::new();
        let mut said = 0;
        let finished = {
            // The first that fails ends both: who prints too much fills a pipe that nobody reads any more.
            let reading = async {
                let output = read_at_most(&mut stdout, &mut output, self.output_limit);
                tokio::try_join!(output, count(&mut stderr, &mut said)).map(drop)
            };
            let mut reading = std::pin::pin!(reading);
            let work = async {
                tokio::select! {
                    read = &mut reading => {
                        read?;
                        Ok(child.wait().await)
                    }
                    status = child.wait() => {
                        // Something that it left behind may hold the pipes open for ever; what was printed is there.
                        tokio::time::timeout(DRAIN, &mut reading).await.unwrap_or(Ok(()))?;
                        Ok(status)
                    }
                }
            };
            tokio::time::timeout(self.limit, work).await
        };
        let program = program.clone();
        // Where this returns without `leave`, the guard kills the group.
        let status = match finished {
            Err(_) => return Err(CommandError::TooSlow { program, limit: self.limit, said }),
            Ok(Err(ReadError::TooMuch)) => return Err(CommandError::TooMuch { program, limit: self.output_limit }),
            Ok(Err(ReadError::Broken(source))) => return Err(CommandError::Output { program, source }),
            Ok(Ok(status)) => status.map_err(|source| CommandError::Output { program: program.clone(), source })?,
        };
        // A command that restarts a service may leave the service behind in its own group. It lives.
        group.leave();
        if !status.success() {
            return Err(CommandError::Failed { program, status, said });
        }
        Ok(output)
    }
}

/// Kills a process group when dropped, unless it was left alone.
struct Group(Option<Pid>);

impl Group {
    fn of(pid: Option<u32>) -> Self {
        Self(pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)))
    }

    fn leave(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // Nobody left in the group is what was wanted.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
    }
}

enum ReadError {
    TooMuch,
    Broken(io::Error),
}

async fn read_at_most(from: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>, limit: usize) -> Result<(), ReadError> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = from.take(limit).read_to_end(into).await.map_err(ReadError::Broken)?;
    if u64::try_from(read).unwrap_or(u64::MAX) < limit { Ok(()) } else { Err(ReadError::TooMuch) }
}

/// Reads to the end, so that a chatty command does not block on a full pipe, and keeps nothing.
async fn count(from: &mut (impl AsyncRead + Unpin), bytes: &mut u64) -> Result<(), ReadError> {
    let mut chunk = zeroize::Zeroizing::new([0; 4096]);
    while let Ok(read @ 1..) = from.read(&mut chunk[..]).await {
        *bytes += read as u64;
    }
    // What it said is a courtesy; that it can't be read is no failure.
    Ok(())
}

fn unheard(said: u64) -> String {
    match said {
        0 => String::new(),
        said => format!(
            "; the {said} bytes that it wrote to its standard error may hold a secret and are not repeated: run it by hand to see them"
        ),
    }
}

fn ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".into(),
    }
}

const INHERITED: [&str; 11] = [
    "HOME",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "PATH",
    "SHELL",
    "SSH_AUTH_SOCK",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_RUNTIME_DIR",
];
const DRAIN: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Invocation {
        Invocation {
            argv: vec!["/bin/sh".into(), "-c".into(), script.into()],
            env: inherited(&[]),
            folder: None,
            limit: Duration::from_secs(5),
            output_limit: 1000,
        }
    }

    #[tokio::test]
    async fn the_output_comes_back() {
        assert_eq!(shell("echo hello").run().await.unwrap(), b"hello\n");
    }

    #[tokio::test]
    async fn a_failure_says_the_code_and_how_much_was_said_and_never_what() {
        let error = shell("echo secret-key-base >&2; exit 3").run().await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("exit code 3") && text.contains("the 16 bytes"), "{text}");
        assert!(!text.contains("secret-key"), "{text}");
    }

    #[tokio::test]
    async fn a_slow_command_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; wait", note.display());
        let slow = Invocation { limit: Duration::from_millis(300), ..shell(&script) };
        assert!(matches!(slow.run().await.unwrap_err(), CommandError::TooSlow { .. }));
        let child: i32 = std::fs::read_to_string(note).unwrap().trim().parse().unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        // A killed orphan may stay a zombie until its new parent looks; it runs no more.
        while std::fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(tokio::time::Instant::now() < deadline, "the child still runs");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn endless_output_is_cut_off() {
        assert!(matches!(shell("yes").run().await.unwrap_err(), CommandError::TooMuch { limit: 1000, .. }));
    }

    #[tokio::test]
    async fn what_a_command_leaves_running_does_not_hold_us_and_lives_on() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; echo done", note.display());
        assert_eq!(shell(&script).run().await.unwrap(), b"done\n");
        let child: i32 = std::fs::read_to_string(note).unwrap().trim().parse().unwrap();
        let child = Pid::from_raw(child).unwrap();
        rustix::process::test_kill_process(child).unwrap();
        rustix::process::kill_process(child, Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn only_a_short_list_of_variables_is_inherited() {
        let seen = String::from_utf8(shell("env").run().await.unwrap()).unwrap();
        assert!(seen.contains("PATH="), "{seen}");
        // cargo sets this one for every test; it stands for a secret in Keyroll's own environment.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        assert!(!seen.contains("CARGO_MANIFEST_DIR"), "{seen}");
    }
}
