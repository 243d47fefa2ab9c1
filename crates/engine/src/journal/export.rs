//! The record for other eyes: JSON for machines, CSV for spreadsheets, Markdown for a report.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;

use super::{Entry, EntryHash, HistoryRow, KeyMark, Record, history, words};

/// In which form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ExportFormat {
    /// One document with every entry and every rotation.
    Json,
    /// One row for each entry.
    Csv,
    /// A table of rotations, then of entries.
    Markdown,
}

impl FromStr for ExportFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            "markdown" => Ok(Self::Markdown),
            other => Err(UnknownFormat(other.to_owned())),
        }
    }
}

/// Not one of the formats.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not an export format; use json, csv or markdown")]
pub struct UnknownFormat(pub String);

/// Writes the record in one of the forms.
pub fn export(records: &[Record], format: ExportFormat) -> String {
    match format {
        ExportFormat::Json => json(records),
        ExportFormat::Csv => csv(records),
        ExportFormat::Markdown => markdown(records),
    }
}

fn json(records: &[Record]) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        schema_version: u32,
        kind: &'static str,
        rotations: Vec<HistoryRow>,
        entries: Vec<Line<'a>>,
    }
    #[derive(Serialize)]
    struct Line<'a> {
        hash: EntryHash,
        #[serde(flatten)]
        entry: &'a Entry,
    }
    let entries = records.iter().map(|record| Line { hash: record.hash, entry: &record.entry }).collect();
    let document = Document { schema_version: EXPORT_VERSION, kind: "audit", rotations: history(records), entries };
    // Every field is a string, a number or an enum without odd keys, so this can't fail; an empty export would be seen.
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

fn csv(records: &[Record]) -> String {
    let mut text = "seq,at,rotation,epoch,operator,host,keyroll,kind,what,hash\n".to_owned();
    for Record { entry, hash } in records {
        let cells = [
            entry.seq.to_string(),
            entry.at.to_string(),
            entry.rotation.as_ref().map(ToString::to_string).unwrap_or_default(),
            entry.epoch.map(|epoch| epoch.0.to_string()).unwrap_or_default(),
            entry.operator.clone(),
            entry.host.clone(),
            entry.keyroll.clone(),
            words::kind(&entry.body),
            words::entry(entry),
            hash.to_string(),
        ];
        text.push_str(&cells.map(|cell| csv_cell(&cell)).join(","));
        text.push('\n');
    }
    text
}

/// A spreadsheet runs a cell that begins like a formula, and names and notes are free text.
fn csv_cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

fn markdown(records: &[Record]) -> String {
    let mut text = "# Rotations\n\n".to_owned();
    text.push_str("| rotation | began | who | why | mode | before | after | T0 | closed | ending | deviations |\n");
    text.push_str("|---|---|---|---|---|---|---|---|---|---|---|\n");
    for row in history(records) {
        let mut who = row.operator.clone();
        for other in &row.others {
            who = format!("{who}, {other}");
        }
        let why = row.why.as_ref().map(|why| {
            let ticket = why.ticket.as_ref().map(|ticket| format!(" ({ticket})")).unwrap_or_default();
            format!("{}{ticket}", why.reason)
        });
        let deviations: Vec<String> =
            row.deviations.iter().map(|deviation| format!("{}: {}", deviation.at, deviation.what)).collect();
        push_row(
            &mut text,
            &[
                row.rotation.to_string(),
                row.began.to_string(),
                who,
                why.unwrap_or_default(),
                row.mode.map(words::mode_name).unwrap_or_default(),
                key(row.outgoing.as_ref()),
                key(row.incoming.as_ref()),
                time(row.t0),
                time(row.closed),
                row.ending.to_string(),
                deviations.join("; "),
            ],
        );
    }
    text.push_str("\n# Entries\n\n| seq | at | rotation | who | host | what |\n|---|---|---|---|---|---|\n");
    for Record { entry, .. } in records {
        push_row(
            &mut text,
            &[
                entry.seq.to_string(),
                entry.at.to_string(),
                entry.rotation.as_ref().map(ToString::to_string).unwrap_or_default(),
                entry.operator.clone(),
                entry.host.clone(),
                words::entry(entry),
            ],
        );
    }
    text
}

fn push_row(text: &mut String, cells: &[String]) {
    for cell in cells {
        let cell = cell.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace(['\n', '\r'], " ");
        text.push_str("| ");
        text.push_str(&cell);
        text.push(' ');
    }
    text.push_str("|\n");
}

fn key(mark: Option<&KeyMark>) -> String {
    mark.map(words::key).unwrap_or_default()
}

fn time(at: Option<Timestamp>) -> String {
    at.map(|at| at.to_string()).unwrap_or_default()
}

impl fmt::Display for super::Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Completed => "completed",
            Self::RolledBack => "rolled back",
            Self::Revoked => "revoked",
        })
    }
}

const EXPORT_VERSION: u32 = 1;
