//! One file for each command; here they are chosen.

pub(crate) mod demo;
mod drive;
mod inspect;
mod key;
mod lint;
mod plan;
mod preflight;
mod record;
mod refusal;
mod setup;
mod simulate;
mod status;
mod token;

use std::io::Write as _;
use std::time::Duration;

use clap::CommandFactory as _;
use keyroll_engine::config::Period;
use keyroll_keyring::UnixTime;

use crate::args::{Cli, Command};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Console;

/// Carries out what was asked for.
pub(crate) fn run(cli: &Cli, console: Console) -> Result<Exit, Failure> {
    let global = &cli.global;
    match &cli.command {
        Command::Init(args) => crate::init::run(args, global, console),
        Command::Preflight => preflight::preflight(global, console),
        Command::Verify => preflight::verify(global, console),
        Command::Plan(args) => plan::run(args, global, console),
        Command::Rotate(_)
        | Command::Complete(_)
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::Rollback(_)
        | Command::Revoke(_)
        | Command::Reload(_)
        | Command::Unlock(_) => drive::run(&cli.command, global, console),
        Command::Status(args) => status::status(args, global, console),
        Command::Explain => status::explain(global, console),
        Command::History => record::history(global, console),
        Command::Audit(command) => record::run_audit(command, global, console),
        Command::Simulate(args) => simulate::run(args, global, console),
        Command::Demo(args) => demo::run(args, console),
        Command::Lint(args) => lint::run(args, global, console),
        Command::Key(command) => key::run(command, console),
        Command::Token(command) => token::run(command, console),
        Command::Completions { shell } => {
            // Through the console, because a reader that goes away (`| head`) is not an error of ours.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "keyroll", &mut script);
            console.text(&String::from_utf8_lossy(&script));
            Ok(Exit::Done)
        }
        Command::Man => man(console),
    }
}

fn man(console: Console) -> Result<Exit, Failure> {
    let mut page = Vec::new();
    let failed = |err: std::io::Error| Failure::from_error(Exit::Failed, &err);
    clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(failed)?;
    page.flush().map_err(failed)?;
    console.text(&String::from_utf8_lossy(&page));
    Ok(Exit::Done)
}

/// The time now, for tokens.
fn now() -> UnixTime {
    UnixTime(jiff::Timestamp::now().as_second())
}

/// A duration in the words that people write, such as `90s`, `15 minutes` or `3h`.
fn duration(text: &str) -> Result<Duration, Failure> {
    let invalid = |reason: String| {
        Failure::new(Exit::Usage, format!("`{text}` is not a duration: {reason}")).next("write it like 90s, 15m or 3h")
    };
    Period::parse(text).map(Period::std).map_err(|err| invalid(err.to_string()))
}
