//! `keyroll preflight` and `keyroll verify`: lists of named checks, each with what was found and what to do.

use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use keyroll_engine::{Check, Colour, PreflightReport, VerifyReport};

use super::drive::engine_failure;
use super::setup::{Setup, block_on};
use crate::args::Global;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Console;
use crate::output::view::View;

pub(crate) fn preflight(global: &Global, console: Console) -> Result<Exit, Failure> {
    let setup = Setup::load(global)?;
    let view = Arc::new(View::new(console));
    let (engine, stop) = setup.engine(&view)?;
    let report = block_on(Some(stop), engine.preflight())?;
    view.finish();
    console.result(&text(&report), &report);
    Ok(if report.passed() { Exit::Done } else { Exit::PreflightFailed })
}

pub(crate) fn verify(global: &Global, console: Console) -> Result<Exit, Failure> {
    let setup = Setup::load(global)?;
    let view = Arc::new(View::new(console));
    let (engine, stop) = setup.engine(&view)?;
    let report = block_on(Some(stop), engine.verify())?.map_err(|err| engine_failure(&err, console))?;
    view.finish();
    console.result(&verify_text(&report), &report);
    Ok(if report.passed() { Exit::Done } else { Exit::Failed })
}

fn text(report: &PreflightReport) -> String {
    let verdict =
        if report.passed() { "preflight passed; nothing was written" } else { "preflight failed; nothing was written" };
    format!("{}{verdict}\n", checks(&report.checks))
}

fn verify_text(report: &VerifyReport) -> String {
    let verdict = if report.passed() { "verified" } else { "not verified" };
    format!("{}{verdict}\n", checks(&report.checks))
}

/// The checks, worst last, so that they stand at the prompt.
pub(crate) fn checks(checks: &[Check]) -> String {
    let mut sorted: Vec<&Check> = checks.iter().collect();
    sorted.sort_by_key(|check| match check.colour {
        Colour::Green => 0,
        Colour::Advice => 1,
        Colour::Unknown => 2,
        Colour::Red => 3,
    });
    let mut text = String::new();
    for check in sorted {
        let (mark, colour) = match check.colour {
            Colour::Green => ("ok      ", AnsiColor::Green),
            Colour::Advice => ("note    ", AnsiColor::Blue),
            Colour::Unknown => ("unknown ", AnsiColor::Yellow),
            Colour::Red => ("FAILED  ", AnsiColor::Red),
        };
        let style = Style::new().fg_color(Some(colour.into()));
        let object = check.object.as_deref().map(|object| format!(" [{object}]")).unwrap_or_default();
        text.push_str(&format!("{style}{mark}{style:#}{}{object}: {}\n", check.name, check.found));
        if let Some(fix) = &check.fix {
            text.push_str(&format!("        fix: {fix}\n"));
        }
    }
    text
}
