//! `keyroll`: arguments, wiring, output, exit codes. Whatever decides is in the other crates.

mod args;
mod commands;
mod exit;
mod failure;
mod init;
mod logs;
mod output;
mod secrets;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::Cli;
use crate::exit::Exit;
use crate::output::Console;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => {
            let asked = matches!(err.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Nobody is left to tell if the terminal is gone.
            let _ = err.print();
            return if asked { Exit::Done.into() } else { Exit::Usage.into() };
        }
    };
    let mut console = Console::new(cli.global.format);
    let ended = logs::install(&cli.global).and_then(|logs| {
        console = console.beside(logs);
        commands::run(&cli, console)
    });
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            console.failure(&failure);
            failure.exit.into()
        }
    }
}
