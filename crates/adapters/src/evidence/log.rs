//! `log` (P2): the line in which a process names its keys when it has loaded them.
//!
//! A log outlives the process that wrote it. A line counts only if it is shown to be of this run: by a boot id in it, by a
//! time in it that is not before the start, or because the log itself was asked for by boot id.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use regex::{Captures, Regex};

use super::request::EvidenceConfigError;
use super::self_report::{self, SelfReport};
use super::{EvidenceError, Level, Question, Testimony, Witness, WitnessDescription};
use crate::fleets::Member;
use crate::subprocess::{self, Invocation};

/// Which lines name the keys.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers write it out")]
pub struct LogConfig {
    /// With the named group `active` (a fingerprint), and where the line tells it `accept` (fingerprints, separated by
    /// blanks or commas), `time` (RFC 3339), `boot` and `worker`.
    pub pattern: Regex,
    /// Where the lines are.
    pub source: LogSource,
}

/// Where a member's log is. `{member}` and `{boot}` stand for its names.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LogSource {
    /// A file, of which the last 8 MiB are read.
    File(String),
    /// What a command prints: program and arguments, without a shell.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
        /// Where it runs; Keyroll's own folder if none.
        folder: Option<PathBuf>,
        /// How long it may take.
        limit: Duration,
    },
}

/// Reads the keys off log lines.
#[derive(Debug)]
pub struct LogWitness {
    config: LogConfig,
}

impl LogWitness {
    /// A witness that reads each member's log.
    pub fn new(config: LogConfig) -> Result<Self, EvidenceConfigError> {
        if !config.pattern.capture_names().flatten().any(|name| name == "active") {
            return Err(EvidenceConfigError::NoGroup { groups: "`active`" });
        }
        match &config.source {
            LogSource::Command { argv, .. } if argv.is_empty() => {
                Err(EvidenceConfigError::Empty { what: "the command that prints the log" })
            }
            LogSource::File(path) if path.is_empty() => Err(EvidenceConfigError::Empty { what: "the path of the log" }),
            LogSource::Command { .. } | LogSource::File(_) => Ok(Self { config }),
        }
    }

    /// What this run of a member wrote: its log from the first line on that is shown to be of this run.
    pub async fn this_run(&self, member: &Member) -> Result<String, EvidenceError> {
        let failed = |reason| EvidenceError::NoAnswer { member: member.id.0.clone(), reason };
        let text = self.text(member).await.map_err(failed)?;
        if self.by_place() {
            return Ok(text);
        }
        let mut from = 0;
        for line in text.split_inclusive('\n') {
            let found = self.config.pattern.captures(line.trim_end());
            if found.is_some_and(|found| matches!(self.run_of(&found, member), Run::This)) {
                return Ok(text[from..].to_owned());
            }
            from += line.len();
        }
        Err(failed("no line of its log shows where this run begins".into()))
    }

    /// Whether the log itself was asked for by boot id.
    fn by_place(&self) -> bool {
        match &self.config.source {
            LogSource::File(path) => path.contains(BOOT),
            LogSource::Command { argv, .. } => argv.iter().any(|argument| argument.contains(BOOT)),
        }
    }

    async fn text(&self, member: &Member) -> Result<String, String> {
        let bytes = match &self.config.source {
            LogSource::File(path) => {
                let path = PathBuf::from(fill(path, member));
                let shown = path.display().to_string();
                let read = tokio::task::spawn_blocking(move || end_of(&path)).await;
                let read = read.map_err(|error| format!("the log can't be read: {error}"))?;
                read.map_err(|error| format!("the log `{shown}` can't be read: {error}"))?
            }
            LogSource::Command { argv, folder, limit } => {
                let invocation = Invocation {
                    argv: argv.iter().map(|argument| fill(argument, member)).collect(),
                    env: subprocess::inherited(&[]),
                    folder: folder.clone(),
                    limit: *limit,
                    output_limit: usize::try_from(LIMIT).unwrap_or(usize::MAX),
                };
                invocation.run().await.map_err(|error| error.to_string())?
            }
        };
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The last line of this run, of each worker.
    fn reports(&self, text: &str, member: &Member) -> Result<Vec<SelfReport>, String> {
        let mut reports: Vec<SelfReport> = Vec::new();
        let mut undated = 0_usize;
        let mut older = 0_usize;
        for line in text.lines() {
            let Some(found) = self.config.pattern.captures(line) else { continue };
            match self.run_of(&found, member) {
                Run::This => {}
                Run::Earlier => {
                    older += 1;
                    continue;
                }
                Run::Unknown => {
                    undated += 1;
                    continue;
                }
            }
            let group = |name| found.name(name).map(|group| group.as_str().trim().to_owned());
            let report = SelfReport {
                worker: group("worker"),
                active: group("active").into_iter().collect(),
                accept: group("accept").map(|list| {
                    list.split([' ', ','])
                        .map(|one| one.trim_matches(['"', '[', ']']))
                        .filter(|one| !one.is_empty())
                        .map(str::to_owned)
                        .collect()
                }),
            };
            match reports.iter_mut().find(|other| other.worker == report.worker) {
                // A process that loads its keys again says so again; the last word counts.
                Some(other) => *other = report,
                None => reports.push(report),
            }
        }
        if !reports.is_empty() {
            return Ok(reports);
        }
        Err(match (undated, older) {
            (0, 0) => "no line of its log names its keys".into(),
            (0, older) => format!("{older} lines of its log name keys, all of them of earlier runs"),
            (undated, _) => format!(
                "{undated} lines of its log name keys, and nothing shows that they are of this run; give the pattern a \
                 group `boot` or `time` (RFC 3339, with a zone), or put `{{boot}}` into the place of the log"
            ),
        })
    }

    fn run_of(&self, found: &Captures<'_>, member: &Member) -> Run {
        if self.by_place() {
            return Run::This;
        }
        if let Some(boot) = found.name("boot") {
            return if boot.as_str() == member.boot.0 { Run::This } else { Run::Earlier };
        }
        let time = found.name("time").and_then(|time| time.as_str().parse::<jiff::Timestamp>().ok());
        let time = time.and_then(|time| u64::try_from(time.as_millisecond()).ok());
        match (time, member.started_at) {
            (Some(time), Some(started)) if time >= started.0 => Run::This,
            (Some(_), Some(_)) => Run::Earlier,
            (None, _) | (_, None) => Run::Unknown,
        }
    }
}

#[async_trait]
impl Witness for LogWitness {
    fn describe(&self) -> WitnessDescription {
        WitnessDescription { kind: "log", level: Level::P2, tells_accepts: true, tells_mints: true }
    }

    async fn ask(&self, member: &Member, question: &Question<'_>) -> Testimony {
        let reports = match self.text(member).await.and_then(|text| self.reports(&text, member)) {
            Ok(reports) => reports,
            Err(reason) => {
                return Testimony { statements: self_report::nothing(question, &reason), ..Testimony::default() };
            }
        };
        let workers: Vec<(String, u32)> =
            reports.iter().filter_map(|report| Some((report.worker.clone()?, 1))).collect();
        let silent = member.workers.iter().find(|name| !workers.iter().any(|(other, _)| other == *name));
        let unclear = silent.map(|name| format!("worker `{name}` has no line in the log"));
        let statements = self_report::judge(question, &reports, unclear.as_deref());
        Testimony { statements, workers, ..Testimony::default() }
    }
}

enum Run {
    This,
    Earlier,
    Unknown,
}

fn fill(template: &str, member: &Member) -> String {
    // The boot id first: a member's name may not bring a placeholder of its own.
    template.split(MEMBER).map(|part| part.replace(BOOT, &member.boot.0)).collect::<Vec<_>>().join(&member.id.0)
}

/// The end of a file, from the first whole line on.
fn end_of(path: &PathBuf) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    if length > LIMIT {
        file.seek(SeekFrom::Start(length - LIMIT))?;
    }
    file.take(LIMIT).read_to_end(&mut bytes)?;
    if length > LIMIT {
        let whole = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
        bytes.drain(..whole);
    }
    Ok(bytes)
}

const MEMBER: &str = "{member}";
const BOOT: &str = "{boot}";
const LIMIT: u64 = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::evidence::Answer;
    use crate::evidence::testing::{about, key, print};
    use crate::fleets::{BootId, MemberId, MemberState};

    const PATTERN: &str = r"^(?<time>\S+) keys active=(?<active>\S+)(?: accept=(?<accept>\S+))?(?: boot=(?<boot>\S+))?";

    async fn ask_source(source: LogSource, pattern: &str) -> Vec<(Answer, String)> {
        let (old, new) = (key(1), key(2));
        let prints = [print(1), print(2)];
        let mut question = about(&[&old, &new], &old);
        for (asked, print) in question.keys.iter_mut().zip(&prints) {
            asked.fingerprint = Some(print);
        }
        let member = Member {
            id: MemberId("web-1".into()),
            boot: BootId("b7".into()),
            address: None,
            state: MemberState::Ready,
            // 2026-11-21T12:00:00Z
            started_at: Some(Timestamp(1_795_262_400_000)),
            workers: Vec::new(),
        };
        let witness = LogWitness::new(LogConfig { pattern: Regex::new(pattern).unwrap(), source }).unwrap();
        let testimony = witness.ask(&member, &question).await;
        testimony.statements.into_iter().map(|one| (one.answer, one.detail)).collect()
    }

    async fn ask(text: &str) -> Vec<(Answer, String)> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("web-1.log"), text).unwrap();
        ask_source(LogSource::File(format!("{}/{{member}}.log", folder.path().display())), PATTERN).await
    }

    fn answers(said: &[(Answer, String)]) -> Vec<Answer> {
        said.iter().map(|(answer, _)| *answer).collect()
    }

    #[tokio::test]
    async fn the_last_line_of_this_run_counts() {
        let (old, new) = (print(1), print(2));
        let text = format!(
            "2026-11-21T11:59:59Z keys active={old} accept={old}\nnoise\n2026-11-21T12:00:01Z keys active={old} accept={old}\n\
             2026-11-21T13:00:02+01:00 keys active={new} accept={new},{old}\n"
        );
        assert_eq!(answers(&ask(&text).await), [Answer::Yes, Answer::No, Answer::Yes, Answer::Yes]);
    }

    #[tokio::test]
    async fn a_line_of_an_earlier_run_does_not_count() {
        let said = ask(&format!("2026-11-21T11:59:59Z keys active={}\n", print(1))).await;
        assert_eq!(answers(&said), [Answer::Unknown; 4]);
        assert!(said[0].1.contains("earlier runs"));
    }

    #[tokio::test]
    async fn a_line_that_could_be_of_any_run_does_not_count() {
        let said = ask(&format!("12:00:05 keys active={}\n", print(1))).await;
        assert_eq!(answers(&said), [Answer::Unknown; 4]);
        assert!(said[0].1.contains("group `boot` or `time`"));
    }

    #[tokio::test]
    async fn a_boot_id_in_the_line_decides() {
        let print = print(1);
        let line = |boot| format!("sometime keys active={print} accept={print} boot={boot}\n");
        assert_eq!(answers(&ask(&line("b7")).await), [Answer::Yes, Answer::Yes, Answer::No, Answer::No]);
        assert_eq!(answers(&ask(&line("b6")).await), [Answer::Unknown; 4]);
    }

    #[tokio::test]
    async fn a_command_prints_the_log_of_one_run() {
        let line = format!("web-1 b7 {}", print(1));
        let argv = ["printf", "%s %s %s", "{member}", "{boot}", print(1).as_str()].map(str::to_owned).to_vec();
        let source = LogSource::Command { argv, folder: None, limit: Duration::from_secs(5) };
        let said = ask_source(source, r"^web-1 b7 (?<active>\S+)").await;
        assert_eq!(answers(&said), [Answer::Yes, Answer::Yes, Answer::Unknown, Answer::No], "{line}");
    }

    #[tokio::test]
    async fn what_a_run_wrote_begins_with_its_own_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web-1.log");
        let print = print(1);
        let text =
            format!("an error of before\nkeys active={print} boot=b6\nkeys active={print} boot=b7\nan error of now\n");
        std::fs::write(&path, text).unwrap();
        let member = Member {
            id: MemberId("web-1".into()),
            boot: BootId("b7".into()),
            address: None,
            state: MemberState::Ready,
            started_at: None,
            workers: Vec::new(),
        };
        let source = || LogSource::File(path.display().to_string());
        let pattern = |pattern| Regex::new(pattern).unwrap();
        let marked =
            LogConfig { pattern: pattern(r"^keys active=(?<active>\S+) boot=(?<boot>\S+)$"), source: source() };
        let run = LogWitness::new(marked).unwrap().this_run(&member).await.unwrap();
        assert!(run.starts_with("keys") && run.ends_with("an error of now\n") && !run.contains("before"), "{run}");
        let unmarked = LogConfig { pattern: pattern(r"^keys active=(?<active>\S+)"), source: source() };
        let error = LogWitness::new(unmarked).unwrap().this_run(&member).await.unwrap_err();
        assert!(error.to_string().contains("where this run begins"), "{error}");
    }

    #[tokio::test]
    async fn no_log_is_unknown() {
        let said = ask_source(LogSource::File("/no/such/log".into()), PATTERN).await;
        assert!(said[0].1.contains("/no/such/log"));
        assert_eq!(answers(&said), [Answer::Unknown; 4]);
    }
}
