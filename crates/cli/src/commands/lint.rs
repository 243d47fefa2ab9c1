//! `keyroll lint`: the configuration file, then the project's own files, against the well-known mistakes.

use keyroll_engine::config::FilePath;
use keyroll_engine::lint::{self, Severity};
use serde::Serialize;

use super::setup::load_config;
use crate::args::{Global, LintArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Console, SCHEMA_VERSION};

pub(crate) fn run(args: &LintArgs, global: &Global, console: Console) -> Result<Exit, Failure> {
    let config = load_config(global)?;
    let mut findings: Vec<Finding> = lint::config(&config)
        .into_iter()
        .map(|finding| Finding {
            severity: finding.severity,
            place: format!("{}:{}", global.config.display(), finding.place),
            what: finding.what,
            consequence: finding.consequence,
            fix: finding.fix,
        })
        .collect();
    let project = args.project.as_deref().or_else(|| config.project.as_ref().map(FilePath::resolved));
    if let Some(folder) = project {
        let profile = keyroll_engine::profile(&config.profile).map_err(|err| Failure::from_error(Exit::Usage, &err))?;
        let looked = lint::project(&profile, folder).map_err(|err| {
            Failure::from_error(Exit::Usage, &err)
                .next("name the project's folder with --project, or as `project` in the file")
        })?;
        findings.extend(looked.findings.into_iter().map(|finding| Finding {
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
