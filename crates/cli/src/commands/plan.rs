//! `keyroll plan`: what would happen, in order. Exit 2 when it would change something.

use std::path::Path;
use std::sync::Arc;

use keyroll_engine::PlanDocument;

use super::drive::planned_mode;
use super::refusal::engine_failure;
use super::setup::{Setup, block_on};
use crate::args::{Global, PlanArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::view::View;
use crate::output::{Console, table};

pub(crate) fn run(args: &PlanArgs, global: &Global, console: Console) -> Result<Exit, Failure> {
    let setup = Setup::load(global)?;
    let view = Arc::new(View::new(console));
    let (engine, stop) = setup.engine(&view)?;
    let plan =
        block_on(Some(stop), engine.plan(planned_mode(args.mode)))?.map_err(|err| engine_failure(&err, console))?;
    view.finish();
    if let Some(path) = &args.output {
        save(path, &plan)?;
    }
    console.result(&text(&plan), &plan);
    Ok(if plan.steps.is_empty() { Exit::Done } else { Exit::Changes })
}

fn save(path: &Path, plan: &PlanDocument) -> Result<(), Failure> {
    let mut json = serde_json::to_vec_pretty(plan).map_err(|err| Failure::from_error(Exit::Failed, &err))?;
    json.push(b'\n');
    std::fs::write(path, json)
        .map_err(|err| Failure::new(Exit::Usage, format!("`{}` can't be written: {err}", path.display())))
}

fn text(plan: &PlanDocument) -> String {
    let mut text = format!("{} · {}\n", plan.name, keyroll_engine::words::mode(plan.mode));
    for line in &plan.world {
        text.push_str(&format!("now: {line}\n"));
    }
    for (number, step) in plan.steps.iter().enumerate() {
        text.push_str(&format!("{:>3}. {:<10} {:<7} {}", number + 1, step.stage, step.kind, step.what));
        if step.at_least_ms > 0 {
            text.push_str(&format!(" (at least {})", span(step.at_least_ms)));
        }
        text.push('\n');
    }
    let rolls = plan.steps.iter().filter(|step| step.kind == "reload").count();
    let whole = plan.earliest_end.round(jiff::Unit::Second).unwrap_or(plan.earliest_end);
    text.push_str(&format!("duration: at least {}, and the time of {rolls} reloads\n", span(plan.at_least_ms)));
    text.push_str(&format!("earliest end: {whole}, if it begins now\n"));
    text.push_str(&format!("clients notice: {}\n", plan.clients_notice));
    for sessions in &plan.sessions {
        text.push_str(&format!("  {}\n", sessions.words));
    }
    text
}

fn span(millis: u64) -> String {
    let seconds = i64::try_from(millis.div_ceil(1000)).unwrap_or(i64::MAX);
    let start = jiff::Timestamp::UNIX_EPOCH;
    table::span(jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX), start)
}
