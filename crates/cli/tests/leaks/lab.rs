//! A place to run commands in: every command is watched, its output kept, and its name written down.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};

use super::watch::{ByDesign, INPUTS, KEYROLL, Watch};

/// How often each command went well and badly, and how often in each format, by its words.
#[derive(Default)]
pub(crate) struct Coverage(Mutex<BTreeMap<String, Runs>>);

#[derive(Clone, Copy, Default)]
struct Runs {
    begun: usize,
    well: usize,
    badly: usize,
    text: usize,
    json: usize,
}

/// How commands are told to print, and what else is told to be chatty.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For machines, and with `RUST_LOG=trace` and `RUST_BACKTRACE=full`.
    Json,
}

/// Which format a lab's commands are given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Formats {
    Always(Format),
    /// Each command in the one in which it was not run last.
    InTurn,
}

impl Coverage {
    /// What was not seen of a command, in words.
    pub(crate) fn gaps(&self, command: &str) -> Vec<String> {
        let Runs { well, badly, text, json, .. } = self.locked().get(command).copied().unwrap_or_default();
        [(well, "goes well"), (badly, "goes badly"), (text, "prints text"), (json, "prints JSON")]
            .into_iter()
            .filter(|(count, _)| *count == 0)
            .map(|(_, how)| format!("no scenario in which `{command}` {how}"))
            .collect()
    }

    pub(crate) fn runs(&self) -> usize {
        self.locked().values().map(|runs| runs.well + runs.badly).sum()
    }

    fn begin(&self, command: &str, formats: Formats) -> Format {
        let mut ran = self.locked();
        let runs = ran.entry(command.to_owned()).or_default();
        runs.begun += 1;
        match formats {
            Formats::Always(format) => format,
            Formats::InTurn if runs.begun % 2 == 1 => Format::Text,
            Formats::InTurn => Format::Json,
        }
    }

    fn note(&self, command: &str, format: Format, code: Option<i32>) {
        let mut ran = self.locked();
        let runs = ran.entry(command.to_owned()).or_default();
        match code {
            Some(0 | 2 | 3) => runs.well += 1,
            _ => runs.badly += 1,
        }
        match format {
            Format::Text => runs.text += 1,
            Format::Json => runs.json += 1,
        }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Runs>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A folder with a configuration and its keys.
pub(crate) struct Lab<'a> {
    pub(crate) folder: PathBuf,
    pub(crate) formats: Formats,
    pub(crate) watch: &'a Watch,
    pub(crate) coverage: &'a Coverage,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    what: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    stderr: String,
}

impl Ran {
    /// The exit codes that the story allows here.
    pub(crate) fn exits(self, codes: &[i32]) -> Result<Self, Failed> {
        if self.code.is_some_and(|code| codes.contains(&code)) {
            return Ok(self);
        }
        let Self { what, code, stdout, stderr } = self;
        // The test itself would leak here if the product did. Its keys are of this run and protect nothing.
        Err(format!("`{what}` ended with {code:?} instead of {codes:?}\n{stdout}{stderr}").into())
    }
}

impl<'a> Lab<'a> {
    pub(crate) fn new(
        root: &Path,
        name: &str,
        formats: Formats,
        watch: &'a Watch,
        coverage: &'a Coverage,
    ) -> Result<Self, Failed> {
        let lab = Self { folder: root.join(name), formats, watch, coverage };
        for folder in [lab.temporary(), lab.state_dir(), lab.folder.join("home"), lab.folder.join(INPUTS)] {
            fs::create_dir_all(folder)?;
        }
        Ok(lab)
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    /// Writes something for Keyroll to read, which is not searched.
    pub(crate) fn input(&self, name: &str, content: impl AsRef<[u8]>) -> Result<String, Failed> {
        let path = self.folder.join(INPUTS).join(name);
        fs::create_dir_all(path.parent().ok_or("an input has a folder")?)?;
        fs::write(&path, content)?;
        Ok(path.display().to_string())
    }

    /// Runs a command to its end, with nobody at the keyboard.
    pub(crate) fn keyroll(&self, words: &[&str]) -> Result<Ran, Failed> {
        self.keyroll_with(words, b"", &[])
    }

    /// The same, with something on standard input and variables of its own.
    pub(crate) fn keyroll_with(&self, words: &[&str], input: &[u8], env: &[(&str, &OsStr)]) -> Result<Ran, Failed> {
        let mut running = self.start(words, env)?;
        if let Some(mut stdin) = running.child.stdin.take() {
            // A command that does not read its input may be gone before all of it is written.
            let _ = stdin.write_all(input);
        }
        running.ended()
    }

    /// Starts a command and comes back at once.
    pub(crate) fn start(&self, words: &[&str], env: &[(&str, &OsStr)]) -> Result<Running<'_>, Failed> {
        let name = command_of(words);
        let format = self.coverage.begin(&name, self.formats);
        let mut command = Command::new(KEYROLL);
        command.args(words);
        if format == Format::Json {
            command.args(["--format", "json"]).env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
        }
        let child = command
            .current_dir(&self.folder)
            .env_remove("KEYROLL_CONFIG")
            .env("KEYROLL_STATE_DIR", self.state_dir())
            .env("KEYROLL_OPERATOR", "ada")
            .env("TMPDIR", self.temporary())
            .env("HOME", self.folder.join("home"))
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        self.watch.look_at(child.id());
        Ok(Running { lab: self, child, name, format, what: format!("keyroll {}", words.join(" ")) })
    }
}

/// A command that runs.
pub(crate) struct Running<'a> {
    lab: &'a Lab<'a>,
    pub(crate) child: Child,
    name: String,
    format: Format,
    what: String,
}

impl Running<'_> {
    /// Waits for its end, and keeps what it said.
    pub(crate) fn ended(mut self) -> Result<Ran, Failed> {
        drop(self.child.stdin.take());
        let (ended, end) = mpsc::channel::<()>();
        let pid = Pid::from_child(&self.child);
        // Nobody has waited for the process yet, so its number is its own.
        std::thread::spawn(move || {
            if end.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let output = self.child.wait_with_output()?;
        drop(ended);
        let Self { lab, name, format, what, .. } = self;
        {
            let mut seen = lab.watch.seen();
            seen.text(format!("what `{what}` said on standard error"), &output.stderr);
            let stdout = format!("what `{what}` said on standard output");
            // With `--output` it says where the key is, and nothing of it.
            if name == "key generate" && output.status.success() && !what.contains("--output") {
                seen.learn_generated("a generated key", &output.stdout);
                seen.exempt(ByDesign::Generated, stdout, &output.stdout);
            } else {
                seen.text(stdout, &output.stdout);
            }
        }
        lab.watch.look_now();
        lab.coverage.note(&name, format, output.status.code());
        Ok(Ran {
            what,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// `audit verify` of `audit verify --wait none`: the words up to the first that can't be a command.
fn command_of(words: &[&str]) -> String {
    let has_two = words.first().is_some_and(|first| GROUPS.contains(first));
    words[..words.len().min(if has_two { 2 } else { 1 })].join(" ")
}

/// The commands that only group others. `--help` is held against this list.
pub(crate) const GROUPS: [&str; 3] = ["audit", "key", "token"];
/// What takes longer is killed, and the story fails.
const LONGEST: Duration = Duration::from_secs(300);
