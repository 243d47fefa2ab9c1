//! No piece of a key in any output, log, argument, environment or file in which it does not belong.
//!
//! Every command runs here, well and badly, over live fleets. What is seen meanwhile, of all files and of all processes of the
//! machine, is searched at the end for all the keys that there ever were. Where a key may be is a closed list:
//! [`watch::ByDesign`]. A command that `keyroll --help` names and no scenario runs is a failure.

mod core_dumps;
mod demo;
mod hand;
mod lab;
mod mistakes;
mod planted;
mod ring;
mod search;
mod variables;
mod watch;

use std::path::Path;
use std::process::Command;

use keyroll_testkit::{Need, Suite};
use libtest_mimic::Failed;

use lab::{Coverage, Format, Formats, GROUPS, Lab};
use watch::{KEYROLL, Place, Watch};

fn main() -> Result<(), Failed> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, words)) = words.split_first()
        && first == variables::SPY
    {
        return variables::spy(words);
    }
    let mut suite = Suite::new().test("no piece of a key is seen while every command runs", everything).test_with(
        "a keyroll that holds a key leaves no core dump",
        &[Need::CoreDumps],
        core_dumps::story,
    );
    for (name, test) in planted::TESTS {
        suite = suite.test(name, test);
    }
    suite.run()
}

fn everything() -> Result<(), Failed> {
    let root = tempfile::Builder::new().prefix("keyroll-leaks-").tempdir()?;
    let watch = Watch::start(Place::below(root.path()));
    let coverage = Coverage::default();
    let lab = |name: &str, formats| Lab::new(root.path(), name, formats, &watch, &coverage);
    let (text, json) = (Formats::Always(Format::Text), Formats::Always(Format::Json));
    let labs = [
        (lab("demo", Formats::InTurn)?, demo::story as fn(&Lab<'_>) -> Result<(), Failed>),
        (lab("ring", Formats::InTurn)?, ring::story),
        (lab(variables::NAME, Formats::InTurn)?, variables::story),
        (lab("hand-text", text)?, hand::story),
        (lab("hand-json", json)?, hand::story),
    ];
    let mut findings: Vec<String> = std::thread::scope(|scope| {
        let stories: Vec<_> = labs.iter().map(|(lab, story)| scope.spawn(move || story(lab))).collect();
        let told = stories.into_iter().map(|story| story.join().unwrap_or_else(|_| Err("a story panicked".into())));
        told.filter_map(Result::err).map(|err| err.message().unwrap_or("a story failed").to_owned()).collect()
    });
    watch.look_now();
    findings.extend(judged(&watch, &coverage, root.path())?);
    if findings.is_empty() { Ok(()) } else { Err(findings.join("\n").into()) }
}

/// What the commands left out, and what they let be seen.
fn judged(watch: &Watch, coverage: &Coverage, root: &Path) -> Result<Vec<String>, Failed> {
    let mut findings: Vec<String> = commands(root)?.iter().flat_map(|command| coverage.gaps(command)).collect();
    let seen = watch.seen();
    findings.extend(seen.leaks());
    findings.extend(seen.idle_exceptions().iter().map(|reason| format!("nothing needs the exception {reason:?}")));
    let (texts, bytes) = seen.size();
    let watch::Tally { keyrolls, applications, commands, processes, files } = seen.tally;
    report(&format!(
        "{} runs of keyroll, {} keys; searched {texts} texts ({bytes} bytes): {files} versions of files, {processes} processes of \
         the machine ({keyrolls} keyrolls, {applications} applications, {commands} commands of the user's)",
        coverage.runs(),
        seen.keys.len(),
    ));
    if keyrolls == 0 || applications == 0 || commands == 0 || files == 0 {
        findings.push("too little was seen to prove anything".to_owned());
    }
    Ok(findings)
}

/// Every command that `--help` names, those of groups with both words.
fn commands(folder: &Path) -> Result<Vec<String>, Failed> {
    let listed = |words: &[&str]| -> Result<Vec<String>, Failed> {
        let output = Command::new(KEYROLL).args(words).arg("--help").current_dir(folder).output()?;
        let text = String::from_utf8(output.stdout)?;
        let section = text.split("Commands:\n").nth(1).ok_or("`--help` lists no commands")?;
        let lines = section.lines().take_while(|line| !line.trim().is_empty());
        // A description that goes on is indented further than a name.
        let names = lines.filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
        Ok(names
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| *name != "help")
            .map(str::to_owned)
            .collect())
    };
    let mut all = Vec::new();
    for command in listed(&[])? {
        if GROUPS.contains(&command.as_str()) {
            all.extend(listed(&[&command])?.into_iter().map(|second| format!("{command} {second}")));
        } else {
            all.push(command);
        }
    }
    if all.len() < 25 { Err(format!("`--help` was not understood: {all:?}").into()) } else { Ok(all) }
}

#[expect(clippy::print_stderr, reason = "what the test rests on, for the person who runs it")]
fn report(line: &str) {
    eprintln!("{line}");
}
