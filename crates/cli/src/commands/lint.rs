//! `keyroll lint`: the configuration file, then the project's own files, against the well-known mistakes.

use std::path::{Path, PathBuf};

use keyroll_engine::lint::Severity;
use keyroll_keyring::profile::SourceFile;
use serde::Serialize;

use super::setup::load_config;
use crate::args::{Global, LintArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Console, SCHEMA_VERSION};

pub(crate) fn run(args: &LintArgs, global: &Global, console: Console) -> Result<Exit, Failure> {
    let config = load_config(global)?;
    let mut findings: Vec<Finding> = keyroll_engine::lint::config(&config)
        .into_iter()
        .map(|finding| Finding {
            severity: finding.severity,
            place: format!("{}:{}", global.config.display(), finding.place),
            what: finding.what,
            consequence: finding.consequence,
            fix: finding.fix,
        })
        .collect();
    if let Some(folder) = &args.project {
        let profile = keyroll_engine::profile(&config.profile).map_err(|err| Failure::from_error(Exit::Usage, &err))?;
        let sources = sources(folder)?;
        findings.extend(profile.lint(&sources).into_iter().map(|finding| Finding {
            // A profile lints only what loses sessions or lets them be forged.
            severity: Severity::Error,
            place: match finding.line {
                Some(line) => format!("{}:{line}", finding.path),
                None => finding.path,
            },
            what: finding.what,
            consequence: finding.consequence,
            fix: finding.fix,
        }));
    }
    let document = Document { schema_version: SCHEMA_VERSION, kind: "lint", findings: &findings };
    console.result(&text(&findings), &document);
    // A note is worth knowing, and nothing has to change.
    let harmless = findings.iter().all(|finding| finding.severity == Severity::Note);
    Ok(if harmless { Exit::Done } else { Exit::Failed })
}

/// The project's files that configure sessions. Keys may stand in them, so nothing of their content is ever printed.
fn sources(folder: &Path) -> Result<Vec<SourceFile>, Failure> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        let entries = std::fs::read_dir(&current)
            .map_err(|err| Failure::new(Exit::Usage, format!("`{}` can't be read: {err}", current.display())))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !is_foreign(&name) => folders.push(path),
                Ok(kind) if kind.is_file() && is_source(&name) => found.extend(read(folder, &path)),
                _ => {}
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn read(folder: &Path, path: &PathBuf) -> Option<SourceFile> {
    let small = std::fs::metadata(path).is_ok_and(|data| data.len() < MOST_BYTES);
    let text = if small { std::fs::read_to_string(path).ok()? } else { return None };
    let path = path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned();
    Some(SourceFile { path, text })
}

/// Folders that hold other people's code, or none.
fn is_foreign(name: &str) -> bool {
    name.starts_with('.') || ["node_modules", "vendor", "tmp", "log", "target", "public"].contains(&name)
}

fn is_source(name: &str) -> bool {
    name == "Gemfile" || name == "requirements.txt" || SOURCE_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        text.push_str(&format!(
            "{}: {}: {}\n  users: {}\n  fix: {}\n",
            severity(finding.severity),
            finding.place,
            finding.what,
            finding.consequence,
            finding.fix
        ));
    }
    match findings.len() {
        0 => "no findings\n".to_owned(),
        1 => format!("{text}1 finding\n"),
        count => format!("{text}{count} findings\n"),
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

#[derive(Serialize)]
struct Finding {
    severity: Severity,
    place: String,
    what: String,
    consequence: String,
    fix: String,
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    kind: &'static str,
    findings: &'a [Finding],
}

const SOURCE_ENDINGS: &[&str] =
    &[".rb", ".ru", ".yml", ".yaml", ".erb", ".py", ".toml", ".js", ".ts", ".mjs", ".cjs", ".json", ".env"];
const MOST_BYTES: u64 = 512 * 1024;
