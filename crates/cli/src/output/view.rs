//! What a driving command shows while it runs: a live picture on a terminal, plain lines in a pipe, JSON lines for machines.

use std::fmt;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use keyroll_engine::{Notice, Observer, Resumed, Status, WaitReport, words};
use keyroll_rotation::Direction;
use serde::Serialize;

use super::{Console, SCHEMA_VERSION, table};
use crate::args::Format;

/// An observer that prints.
pub(crate) struct View {
    console: Console,
    kind: Kind,
    said: Mutex<Said>,
    /// What Ctrl-C does here.
    stopping: &'static str,
}

/// What was said last of what is done again and again while something is waited for.
#[derive(Default)]
struct Said {
    doing: String,
    swept: String,
}

enum Kind {
    Live { bar: ProgressBar, picture: Picture, begun: Once },
    Lines { last_wait: Mutex<String> },
    Json,
}

/// What the live view shows. It is drawn anew at every tick, so that the time left runs down between two notices.
#[derive(Clone, Default)]
struct Picture(Arc<Mutex<Option<Status>>>);

impl Picture {
    fn show(&self, status: &Status) {
        let mut status = status.clone();
        // Whoever looks at this terminal is the driver.
        status.lock = None;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }

    fn wait(&self, wait: Option<WaitReport>) {
        if let Some(status) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            status.wait = wait;
        }
    }

    fn draw(&self, out: &mut dyn fmt::Write) {
        if let Some(status) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = out.write_str(&table::picture(status, now()));
        }
    }
}

impl View {
    /// The view that fits where the output goes.
    pub(crate) fn new(console: Console) -> Self {
        let kind = if console.format() == Format::Json {
            Kind::Json
        } else if console.is_live() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let picture = Picture::default();
            let drawn = picture.clone();
            if let Ok(style) = ProgressStyle::with_template("{picture}{spinner} {msg}") {
                let key = move |_: &ProgressState, out: &mut dyn fmt::Write| drawn.draw(out);
                bar.set_style(style.with_key("picture", key));
            }
            Kind::Live { bar, picture, begun: Once::new() }
        } else {
            Kind::Lines { last_wait: Mutex::new(String::new()) }
        };
        Self { console, kind, said: Mutex::default(), stopping: "Ctrl-C stops; the same command goes on" }
    }

    /// The same, where Ctrl-C does something else.
    pub(crate) fn stopped_by(self, stopping: &'static str) -> Self {
        Self { stopping, ..self }
    }

    /// Clears the live picture, so that the result stands alone.
    pub(crate) fn finish(&self) {
        if let Kind::Live { bar, .. } = &self.kind {
            bar.finish_and_clear();
        }
    }

    /// Whether `text` is news, which it is not if the same was said when it was last done.
    fn is_news(&self, text: &str, last: impl FnOnce(&mut Said) -> &mut String) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let last = last(&mut said);
        let news = last != text;
        if news {
            text.clone_into(last);
        }
        news
    }

    /// A line that stays.
    pub(crate) fn line(&self, line: &str) {
        match &self.kind {
            Kind::Live { bar, .. } => bar.suspend(|| self.console.progress(line)),
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
        if let Kind::Live { bar, begun, .. } = &self.kind {
            // Not before there is something to show: a command that asks first shares the terminal with its question.
            begun.call_once(|| bar.enable_steady_tick(Duration::from_millis(250)));
        }
        match notice {
            Notice::TakenUp { rotation, mode, stage, resumed } => {
                let verb = match resumed {
                    Resumed::New => "opened",
                    Resumed::Continued => "continued",
                };
                let (mode, stage) = (words::mode(*mode), words::stage(*stage));
                self.line(&format!("{verb} rotation {rotation} ({mode}), stage {stage}"));
            }
            Notice::StageEntered { stage, direction } => {
                let back = match direction {
                    Direction::Forward => "",
                    Direction::Back => ", going back",
                };
                *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Said::default();
                self.line(&format!("stage {}{back}", words::stage(*stage)));
            }
            Notice::Doing { what } => {
                if let Kind::Live { bar, picture, .. } = &self.kind {
                    picture.wait(None);
                    bar.set_message(what.clone());
                }
                if self.is_news(what, |said| &mut said.doing) {
                    self.line(&format!("  {what}"));
                }
            }
            Notice::Reloading { member, done, of } => {
                self.line(&format!("  reloading {member} ({} of {of})", done + 1));
            }
            Notice::Swept { gate, proven, of, unproven } => {
                let mut text = format!("  gate {}: {proven} of {of} proven", words::gate(*gate));
                for member in unproven {
                    let name = member.member.as_deref().or(member.consumer.as_deref()).unwrap_or("the fleet");
                    text.push_str(&format!("\n    {name}: {}", member.why));
                }
                if self.is_news(&text, |said| &mut said.swept) {
                    self.line(&text);
                }
            }
            Notice::Waiting(wait) => {
                let text = table::reasons(wait, now());
                match &self.kind {
                    Kind::Live { bar, picture, .. } => {
                        picture.wait(Some(wait.clone()));
                        bar.set_message(self.stopping);
                    }
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
                if let Kind::Live { picture, .. } = &self.kind {
                    picture.show(status);
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
