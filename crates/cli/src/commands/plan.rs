//! `keyroll plan`: what would happen, in order. Exit 2 when it would change something.

use std::path::Path;
use std::sync::Arc;

use keyroll_engine::config::Period;
use keyroll_engine::{PlanDocument, PlannedStep, Remaining};
use keyroll_rotation::Mode;

use super::drive::planned_mode;
use super::refusal::engine_failure;
use super::setup::{Setup, block_on};
use crate::args::{Global, PlanArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::view::View;
use crate::output::{Console, SCHEMA_VERSION, table};

pub(crate) fn run(args: &PlanArgs, global: &Global, console: Console) -> Result<Exit, Failure> {
    let setup = Setup::load(global)?;
    let view = Arc::new(View::new(console));
    let (engine, stop) = setup.engine(&view)?;
    let mode = args.mode.map_or(Mode::Staged, planned_mode);
    let (open, plan) = block_on(Some(stop), async {
        match engine.remaining().await? {
            Some(open) => Ok((Some(open), None)),
            None => engine.plan(mode).await.map(|plan| (None, Some(plan))),
        }
    })?
    .map_err(|err| engine_failure(&err, console))?;
    view.finish();
    if let Some(open) = open {
        return under_way(&open, args, console);
    }
    let Some(plan) = plan else { return Ok(Exit::Done) };
    let mut text = text(&plan);
    if let Some(path) = &args.output {
        save(path, &plan)?;
        text.push_str(&format!(
            "saved: {}; `keyroll rotate PLAN` takes it as long as nothing of this changes\n",
            path.display()
        ));
    }
    console.result(&text, &plan);
    Ok(if plan.steps.is_empty() { Exit::Done } else { Exit::Changes })
}

/// A plan is for a rotation that is to begin. Over an open one, people are told what is left of that.
fn under_way(open: &Remaining, args: &PlanArgs, console: Console) -> Result<Exit, Failure> {
    let rotation = &open.rotation;
    let (mode, stage) = (keyroll_engine::words::mode(rotation.mode), keyroll_engine::words::stage(rotation.stage));
    let what =
        format!("a rotation is open ({}, mode {mode}, stage {stage}), and a plan is for the next one", rotation.id);
    if args.output.is_some() || args.mode.is_some_and(|mode| planned_mode(mode) != rotation.mode) {
        return Err(Failure::new(Exit::Usage, format!("{what}; nothing was saved"))
            .next("`keyroll plan` shows what is left of it, `keyroll rotate` goes on with it"));
    }
    let mut text = format!("{} · {what}\nwhat is left of it:\n", open.name);
    steps(&mut text, &open.steps);
    if let Some(wait) = &open.wait {
        text.push_str(&table::reasons(wait, jiff::Timestamp::now()));
    }
    text.push_str("next: keyroll rotate\n");
    let document = serde_json::json!({
        "schema_version": SCHEMA_VERSION, "kind": "remaining", "remaining": open,
    });
    console.result(&text, &document);
    Ok(Exit::Changes)
}

/// Over an earlier plan, but over nothing else: a word that is missing before it would cost a key.
fn save(path: &Path, plan: &PlanDocument) -> Result<(), Failure> {
    let is_plan = |text: Vec<u8>| serde_json::from_slice::<PlanDocument>(&text).is_ok();
    if std::fs::metadata(path).is_ok_and(|file| file.is_file()) && !std::fs::read(path).is_ok_and(is_plan) {
        let what = format!("`{}` exists and is no plan; it was left as it is, and nothing was saved", path.display());
        return Err(Failure::new(Exit::Usage, what).next("name a file that does not exist yet"));
    }
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
    steps(&mut text, &plan.steps);
    let rolls = match plan.steps.iter().filter(|step| step.kind == "reload").count() {
        1 => "1 reload".to_owned(),
        count => format!("{count} reloads"),
    };
    let whole = plan.earliest_end.round(jiff::Unit::Second).unwrap_or(plan.earliest_end);
    text.push_str(&format!("duration: at least {}, and the time of {rolls} of every member\n", span(plan.at_least_ms)));
    text.push_str(&format!("earliest end: {whole}, if it begins now\n"));
    text.push_str(&format!("clients notice: {}\n", plan.clients_notice));
    for sessions in &plan.sessions {
        text.push_str(&format!("  {}\n", sessions.words));
    }
    text
}

fn steps(text: &mut String, steps: &[PlannedStep]) {
    for (number, step) in steps.iter().enumerate() {
        text.push_str(&format!("{:>3}. {:<10} {:<7} {}", number + 1, step.stage, step.kind, step.what));
        if step.at_least_ms > 0 {
            text.push_str(&format!(" (at least {})", span(step.at_least_ms)));
        }
        text.push('\n');
    }
}

fn span(millis: u64) -> String {
    Period::seconds(millis.div_ceil(1000)).to_string()
}
