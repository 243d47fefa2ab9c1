//! The one writer: results on standard output, everything else on standard error.
//!
//! No other module prints. So there is one place that decides about colour, terminals and JSON, and one place to search
//! for what could leak.

pub(crate) mod checks;
pub(crate) mod table;
pub(crate) mod view;

use std::io::{self, IsTerminal, Write};

use keyroll_keyring::Secret;
use serde::Serialize;

use crate::args::Format;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::logs::Logs;

/// Where a command's words go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    format: Format,
    logs: Logs,
}

impl Console {
    /// A console that prints in `format`.
    pub(crate) fn new(format: Format) -> Self {
        Self { format, logs: Logs::Off }
    }

    /// The same, sharing standard error with a log.
    pub(crate) fn beside(self, logs: Logs) -> Self {
        Self { logs, ..self }
    }

    /// The format that was asked for.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// The command's result: `text` for people, `document` for machines.
    pub(crate) fn result(&self, text: &str, document: &impl Serialize) {
        match self.format {
            Format::Text => self.text(text),
            Format::Json => match serde_json::to_string(document) {
                Ok(line) => self.text(&line),
                Err(err) => self.lost(&err),
            },
        }
    }

    /// Text on standard output, whatever the format: for what is itself a document (a manual page, a key).
    pub(crate) fn text(&self, text: &str) {
        if let Err(err) = put(text) {
            self.lost(&err);
        }
    }

    /// A key, on standard output, byte for byte. Only `key generate` calls this.
    pub(crate) fn secret(&self, secret: &Secret) {
        let mut out = io::stdout().lock();
        let written = out.write_all(secret.expose()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
        drop(out);
        if let Err(err) = heard(written) {
            self.lost(&err);
        }
    }

    /// The command is over, and what it found out did not get out: a half-written key or record must not look like a whole one.
    fn lost(&self, err: &dyn std::fmt::Display) {
        self.problem(&format!("error: the result can't be written to standard output: {err}"));
        std::process::exit(i32::from(Exit::Failed.code()));
    }

    /// One JSON document on one line of standard output, while a command still works. It does not stop for a reader that is lost.
    pub(crate) fn document(&self, document: &impl Serialize) {
        match serde_json::to_string(document) {
            Ok(line) => {
                let _ = put(&line);
            }
            Err(err) => self.problem(&format!("the result can't be written as JSON: {err}")),
        }
    }

    /// A line of progress on standard error.
    pub(crate) fn progress(&self, line: &str) {
        let mut err = anstream::stderr().lock();
        let _ = writeln!(err, "{line}");
    }

    /// A failure: what happened, then what to do next; as JSON where machines listen.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.format == Format::Json {
            let mut document = serde_json::json!({
                "schema_version": SCHEMA_VERSION,
                "kind": "error",
                "error": failure.what,
                "next": failure.next,
                "exit": failure.exit.code(),
            });
            if let Some((name, value)) = &failure.detail {
                document[*name] = value.clone();
            }
            self.document(&document);
            return;
        }
        self.problem(&failure.what);
        if let Some(next) = &failure.next {
            let mut err = anstream::stderr().lock();
            let style = anstyle::Style::new().bold();
            let _ = writeln!(err, " {style}next{style:#}: {next}");
        }
    }

    /// An error that has no next step of its own.
    pub(crate) fn problem(&self, text: &str) {
        let mut err = anstream::stderr().lock();
        let style = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
        let _ = writeln!(err, "{style}error{style:#}: {text}");
    }

    /// Whether a person sits before standard error.
    pub(crate) fn is_interactive(&self) -> bool {
        self.format == Format::Text && io::stderr().is_terminal()
    }

    /// Whether a picture can be drawn, and drawn over, on standard error.
    pub(crate) fn is_live(&self) -> bool {
        self.is_interactive() && self.logs == Logs::Off
    }

    /// Whether a person sits before standard output.
    pub(crate) fn stdout_is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }
}

/// The version of every JSON document that the command line prints; it grows when a field changes its meaning.
pub(crate) const SCHEMA_VERSION: u32 = 1;

fn put(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    let end: &[u8] = if text.ends_with('\n') { b"" } else { b"\n" };
    heard(out.write_all(text.as_bytes()).and_then(|()| out.write_all(end)).and_then(|()| out.flush()))
}

/// A reader that went away (`| head`) is not an error of ours.
fn heard(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
