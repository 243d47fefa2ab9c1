//! What is legal in `keyroll.yaml` and still unwise, each with what would come of it and what to write instead.
//!
//! A lint looks at the document, and where it names one at the project's folder. What only the running fleet can show (a probe that proves nothing, a key that is too
//! weak) is preflight's.

mod checks;
mod project;

use serde::Serialize;

pub use project::{Looked, Unreadable, project};

use crate::config::SessionKey;

/// Something unwise.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Finding {
    /// The lint's name, stable across releases.
    pub lint: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The field, by its path in the document.
    pub place: String,
    /// What is there.
    pub what: String,
    /// What would come of it.
    pub consequence: String,
    /// What to write instead.
    pub fix: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "worth knowing, worth changing, or in the way")]
pub enum Severity {
    /// Worth knowing; nothing has to change.
    Note,
    /// Worth changing: requests or a way back would be lost.
    Warning,
    /// A rotation could not be finished, or sessions would be lost. Preflight refuses it.
    Error,
}

/// Looks at a document. The worst comes first.
pub fn config(document: &SessionKey) -> Vec<Finding> {
    let mut findings = Vec::new();
    checks::sessions(document, &mut findings);
    checks::evidence(document, &mut findings);
    checks::consumers(document, &mut findings);
    checks::policy(document, &mut findings);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const HEAD: &str = "apiVersion: keyroll.dev/v1alpha1\nkind: SessionKey\nmetadata: { name: shop }\nspec:\n";

    const CLEAN: &str = r#"
  profile: rails
  store: { envFile: { path: shop.env } }
  consumers:
    - command: { list: [./fleet, list], reload: [./fleet, reload, "{member}"] }
  sessions: { maxLifetime: 3h, drain: lifetime }
  probe: { path: /me, accepted: { reissue: true } }
  policy: { rotateEvery: 90d, settle: 0s, escrow: 24h }
"#;

    fn lint(spec: &str) -> Vec<Finding> {
        match SessionKey::parse(&format!("{HEAD}{spec}"), Path::new("keyroll.yaml")) {
            Ok(document) => config(&document),
            Err(errors) => panic!("{errors}"),
        }
    }

    #[test]
    fn a_document_as_init_writes_it_has_no_findings() {
        assert_eq!(lint(CLEAN), []);
    }

    #[test]
    fn each_unwise_choice_is_found_by_its_name() {
        let process = "process: { command: [puma], ports: 9001-9003 }";
        let command = "command: { list: [./fleet, list], reload: [./fleet, reload, \"{member}\"] }";
        for (name, from, to) in [
            ("no-max-lifetime", "maxLifetime: 3h, ", ""),
            ("no-drain-rule", ", drain: lifetime", ""),
            ("sliding-drain", "maxLifetime: 3h", "maxLifetime: 3h, idle: 20m"),
            ("expiry-not-in-token", "profile: rails", "profile: { name: rails, metadata: off }"),
            ("drain-limit-too-short", "maxLifetime: 3h", "maxLifetime: 3h, drainLimit: 3h"),
            ("no-leeway", "maxLifetime: 3h", "maxLifetime: 3h, leeway: 0"),
            ("no-proof", "probe: { path: /me, accepted: { reissue: true } }", "evidence: {}"),
            ("weak-proof-only", "probe: { path: /me, accepted: { reissue: true } }", "evidence: { orchestrator: P1 }"),
            ("self-report-only", "probe: { path: /me, accepted: { reissue: true } }", "evidence: { report: /keyroll }"),
            (
                "unproven-worker",
                "sessions:",
                "  - process: { command: [sidekiq], replicas: 1 }\n      worker: true\n  sessions:",
            ),
            ("believed-orchestrator", "sessions:", "evidence: { orchestrator: P0 }\n  sessions:"),
            ("all-may-be-empty", command, &format!("{command}\n      mayBeEmpty: true")),
            ("everybody-at-once", command, &format!("{process}\n      reload: {{ parallel: 3 }}")),
            ("one-process", command, "process: { command: [puma], ports: 9001 }"),
            ("no-graceful-stop", command, "process: { command: [puma], ports: 9001-9003, stop: KILL }"),
            ("no-graceful-stop", command, "process: { command: [puma], ports: 9001-9003, stop: { grace: 0 } }"),
            ("whole-fleet-reload", "reload: [./fleet, reload, \"{member}\"]", "reloadAll: [./fleet, roll]"),
            ("hot-without-settle", command, "static: { members: [\"http://10.0.0.5\"] }"),
            ("no-escrow", "escrow: 24h", "escrow: 0"),
            ("window-without-schedule", "rotateEvery: 90d", "window: daily 02:00-04:00 UTC"),
            ("rotation-outlasts-schedule", "rotateEvery: 90d", "rotateEvery: 3h"),
            ("gap-outlasts-schedule", "rotateEvery: 90d", "rotateEvery: 2d, minimumGap: 3d"),
        ] {
            assert!(CLEAN.contains(from), "{name}: `{from}`");
            let findings = lint(&CLEAN.replacen(from, to, 1));
            let found = findings.iter().find(|finding| finding.lint == name);
            let found = found.unwrap_or_else(|| panic!("{name} was not found in {findings:#?}"));
            assert!(found.place.starts_with("spec."), "{found:?}");
            for text in [&found.what, &found.consequence, &found.fix] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{found:?}");
            }
        }
    }

    #[test]
    fn the_worst_comes_first() {
        let findings = lint(&CLEAN.replacen("maxLifetime: 3h, ", "", 1).replacen("escrow: 24h", "escrow: 0", 1));
        let severities: Vec<Severity> = findings.iter().map(|finding| finding.severity).collect();
        assert_eq!(severities, [Severity::Error, Severity::Warning]);
    }
}
