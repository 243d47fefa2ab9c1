//! Logs on standard error, for whoever asks for them with `-v` or `RUST_LOG`.
//!
//! Whatever the filter says, only Keyroll's own events are shown: those of the HTTP libraries below it could quote a header,
//! and a header can be a session.

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, filter, fmt};

use crate::args::{Format, Global};
use crate::exit::Exit;
use crate::failure::Failure;

/// Whether there is a log on standard error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Logs {
    /// No.
    Off,
    /// Yes; a live picture would be torn by it.
    On,
}

/// Begins to log, if that is asked for.
pub(crate) fn install(global: &Global) -> Result<Logs, Failure> {
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let directives = match (asked.is_empty(), global.verbose) {
        (true, 0) => return Ok(Logs::Off),
        (true, 1) => "keyroll=info",
        (true, _) => "keyroll=debug",
        (false, _) => &asked,
    };
    let chosen = EnvFilter::try_new(directives).map_err(|err| {
        Failure::new(Exit::Usage, format!("`RUST_LOG` can't be understood: {err}")).next("RUST_LOG=keyroll=debug")
    })?;
    let ours = filter::filter_fn(|event| event.target().starts_with("keyroll"));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match global.format {
        Format::Text => lines.with_ansi(colour).boxed(),
        Format::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(chosen).with(lines.with_filter(ours)).init();
    Ok(Logs::On)
}
