//! What a driving command shows while it runs: a live picture on a terminal, plain lines in a pipe, JSON lines for machines.

use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use keyroll_engine::{Notice, Observer, Resumed, words};
use serde::Serialize;

use super::{Console, SCHEMA_VERSION, table};
use crate::args::Format;

/// An observer that prints.
pub(crate) struct View {
    console: Console,
    kind: Kind,
}

enum Kind {
    Live { bar: ProgressBar },
    Lines { last_wait: Mutex<String> },
    Json,
}

impl View {
    /// The view that fits where the output goes.
    pub(crate) fn new(console: Console) -> Self {
        let kind = if console.format() == Format::Json {
            Kind::Json
        } else if console.is_interactive() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(250));
            Kind::Live { bar }
        } else {
            Kind::Lines { last_wait: Mutex::new(String::new()) }
        };
        Self { console, kind }
    }

    /// Clears the live picture, so that the result stands alone.
    pub(crate) fn finish(&self) {
        if let Kind::Live { bar } = &self.kind {
            bar.finish_and_clear();
        }
    }

    fn line(&self, line: &str) {
        match &self.kind {
            Kind::Live { bar } => bar.suspend(|| self.console.progress(line)),
            Kind::Lines { .. } | Kind::Json => self.console.progress(line),
        }
    }
}

impl Observer for View {
    fn notice(&self, notice: &Notice) {
        if matches!(self.kind, Kind::Json) {
            self.console.document(&Line { schema_version: SCHEMA_VERSION, kind: "notice", at: now(), notice });
            return;
        }
        match notice {
            Notice::TakenUp { rotation, mode, stage, resumed } => {
                let verb = match resumed {
                    Resumed::New => "opened",
                    Resumed::Continued => "continued",
                };
                let (mode, stage) = (words::mode(*mode), words::stage(*stage));
                self.line(&format!("{verb} rotation {rotation} ({mode}) at stage {stage}"));
            }
            Notice::StageEntered { stage, direction } => {
                self.line(&format!("stage {} ({})", words::stage(*stage), words::direction(*direction)));
            }
            Notice::Doing { what } => self.line(&format!("  {what}")),
            Notice::Reloading { member, done, of } => {
                self.line(&format!("  reloading {member} ({} of {of})", done + 1));
            }
            Notice::Swept { gate, proven, of, unproven } => {
                self.line(&format!("  gate {}: {proven} of {of} proven", words::gate(*gate)));
                for member in unproven {
                    let name = member.member.as_deref().or(member.consumer.as_deref()).unwrap_or("the fleet");
                    self.line(&format!("    {name}: {}", member.why));
                }
            }
            Notice::Waiting(wait) => {
                let text = table::reasons(wait, now());
                match &self.kind {
                    Kind::Live { bar } => bar.set_message(text),
                    Kind::Lines { last_wait } => {
                        // The time left changes with every look; the reason is said once.
                        let key = wait.naysayers.iter().map(|naysayer| naysayer.text.as_str()).collect::<String>();
                        if let Ok(mut last) = last_wait.lock()
                            && *last != key
                        {
                            *last = key;
                            self.line(text.trim_end());
                        }
                    }
                    Kind::Json => {}
                }
            }
            Notice::Retrying { what, after_ms } => {
                self.line(&format!("  {what}; tried again in {after_ms} ms"));
            }
            Notice::Caution { what } => self.line(&format!("  note: {what}")),
            Notice::Status(status) => {
                if let Kind::Live { bar } = &self.kind {
                    bar.set_message(table::picture(status, now()));
                }
            }
            _ => {}
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    schema_version: u32,
    kind: &'static str,
    at: jiff::Timestamp,
    notice: &'a Notice,
}

fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
