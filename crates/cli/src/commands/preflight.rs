//! `keyroll preflight` and `keyroll verify`: lists of named checks, each with what was found and what to do.

use std::sync::Arc;

use keyroll_engine::{PreflightReport, VerifyReport};

use super::refusal::{engine_failure, exit_of};
use super::setup::{Setup, block_on};
use crate::args::Global;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Console;
use crate::output::checks::checks;
use crate::output::view::View;

pub(crate) fn preflight(global: &Global, console: Console) -> Result<Exit, Failure> {
    let setup = Setup::load(global)?;
    let view = Arc::new(View::new(console));
    let (engine, stop) = setup.engine(&view)?;
    let report = block_on(Some(stop), engine.preflight())?;
    view.finish();
    console.result(&text(&report), &report);
    Ok(exit_of(report.exit()))
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
