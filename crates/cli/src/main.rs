//! `keyroll`: arguments, wiring, output, exit codes. Whatever decides is in the other crates.

mod args;
mod commands;
mod exit;
mod failure;
mod init;
mod logs;
mod memory;
mod output;
mod secrets;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::Cli;
use crate::commands::demo;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Console;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == demo::REPLICA) {
        // It stands for somebody's application, which Keyroll finds by what `/proc` tells its owner; so its memory is not kept private.
        let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        return ended(demo::replica(&words), Console::new(args::Format::Text));
    }
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
    memory::keep_private(console);
    let result = logs::install(&cli.global).and_then(|logs| {
        console = console.beside(logs);
        commands::run(&cli, console)
    });
    ended(result, console)
}

fn ended(result: Result<Exit, Failure>, console: Console) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            console.failure(&failure);
            failure.exit.into()
        }
    }
}
