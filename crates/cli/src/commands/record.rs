//! `keyroll history` and `keyroll audit`: the record, read from this machine's journal and held against the stores' anchors.

use std::sync::Arc;

use keyroll_engine::journal::audit::{self, AuditVerdict};
use keyroll_engine::journal::{self, Ending, HistoryRow, JournalReader};

use super::refusal::engine_failure;
use super::setup::{Setup, block_on};
use crate::args::{self, AuditCommand, Global};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::view::View;
use crate::output::{Console, SCHEMA_VERSION};

pub(crate) fn history(global: &Global, console: Console) -> Result<Exit, Failure> {
    let setup = Setup::load(global)?;
    let reader = open(&setup)?;
    let records = reader.records().map_err(|err| damaged(&err))?;
    let rows = journal::history(&records);
    let document = serde_json::json!({ "schema_version": SCHEMA_VERSION, "kind": "history", "rotations": rows });
    console.result(&table(&rows), &document);
    Ok(Exit::Done)
}

pub(crate) fn run_audit(command: &AuditCommand, global: &Global, console: Console) -> Result<Exit, Failure> {
    match command {
        AuditCommand::Verify => verify(global, console),
        AuditCommand::Export { format } => export(*format, global, console),
    }
}

fn verify(global: &Global, console: Console) -> Result<Exit, Failure> {
    let setup = Setup::load(global)?;
    let reader = open(&setup)?;
    let view = Arc::new(View::new(console));
    let (engine, stop) = setup.engine(&view)?;
    let anchors = block_on(Some(stop), engine.anchors())?.map_err(|err| engine_failure(&err, console))?;
    view.finish();
    let report = audit::verify(&reader, &anchors);
    let verdict = report.verdict();
    let mut text = match verdict {
        AuditVerdict::Anchored if !report.continues.is_empty() => format!(
            "this part of the record is whole: {} entries, anchored in the stores; it goes on from another journal\n",
            report.lines
        ),
        AuditVerdict::Anchored => format!("the record is whole: {} entries, anchored in the stores\n", report.lines),
        AuditVerdict::Unanchored => format!("the chain is whole: {} entries, anchored by no store\n", report.lines),
        AuditVerdict::Broken => format!("the record is broken ({} findings)\n", report.damage.len()),
    };
    for damage in &report.damage {
        text.push_str(&format!("  {damage}\n"));
    }
    for limit in report.limits() {
        text.push_str(&format!("note: {limit}\n"));
    }
    let document = serde_json::json!({
        "schema_version": SCHEMA_VERSION, "kind": "audit", "verdict": verdict, "report": report,
    });
    console.result(&text, &document);
    Ok(match verdict {
        AuditVerdict::Anchored => Exit::Done,
        // Before the first write there is nothing that a store could vouch for. Later an anchor of another machine's journal
        // vouches for nothing here, and that is not a verified record.
        AuditVerdict::Unanchored if anchors.is_empty() => Exit::Done,
        AuditVerdict::Unanchored | AuditVerdict::Broken => Exit::Failed,
    })
}

fn export(format: args::ExportFormat, global: &Global, console: Console) -> Result<Exit, Failure> {
    let setup = Setup::load(global)?;
    let records = open(&setup)?.records().map_err(|err| damaged(&err))?;
    let format = match format {
        args::ExportFormat::Json => journal::ExportFormat::Json,
        args::ExportFormat::Csv => journal::ExportFormat::Csv,
        args::ExportFormat::Markdown => journal::ExportFormat::Markdown,
    };
    console.text(&journal::export(&records, format));
    Ok(Exit::Done)
}

fn open(setup: &Setup) -> Result<JournalReader, Failure> {
    JournalReader::open(&setup.state_dir).map_err(|err| {
        Failure::from_error(Exit::Failed, &err).next(
            "the journal is on the machine that drove the rotation; name its folder with --state-dir if it is elsewhere",
        )
    })
}

fn damaged(err: &journal::JournalError) -> Failure {
    Failure::from_error(Exit::Failed, err).next("keyroll audit verify")
}

fn table(rows: &[HistoryRow]) -> String {
    if rows.is_empty() {
        return "nothing was rotated from this machine yet\n".to_owned();
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["rotation", "began", "by", "why", "mode", "ending", "closed", "deviations"]);
    for row in rows {
        let mode = row.mode.map_or("?", keyroll_engine::words::mode);
        let ending = match row.ending {
            Ending::Open => "open",
            Ending::Completed => "completed",
            Ending::RolledBack => "rolled back",
            Ending::Revoked => "revoked",
            _ => "?",
        };
        let why = row.why.as_ref().map(why).unwrap_or_default();
        let closed = row.closed.map(|at| at.to_string()).unwrap_or_default();
        let deviations = row.deviations.iter().map(|deviation| deviation.what.as_str()).collect::<Vec<_>>().join("; ");
        table.add_row([
            row.rotation.to_string(),
            row.began.to_string(),
            row.operator.clone(),
            why,
            mode.to_owned(),
            ending.to_owned(),
            closed,
            deviations,
        ]);
    }
    format!("{table}\n")
}

/// The reason, the ticket and the note in one line.
fn why(why: &keyroll_engine::Why) -> String {
    let reason = serde_json::to_value(why.reason).ok().and_then(|value| value.as_str().map(str::to_owned));
    [reason, why.ticket.clone(), why.note.clone()].into_iter().flatten().collect::<Vec<_>>().join(" · ")
}
