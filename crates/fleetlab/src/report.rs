//! What came of the runs: the JSON document of `keyroll demo`, the table for people, and the verdict.
//!
//! A naive order that loses nothing is not good news: it shows that the run put no strain on the keys, so the verdict is
//! inconclusive and proves nothing about Keyroll either.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// The document that `--format json` ends with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Document {
    schema_version: u32,
    kind: &'static str,
    runs: Vec<Run>,
}

impl Document {
    /// A document of `runs`, in the order in which they were made.
    pub fn new(runs: Vec<Run>) -> Self {
        Self { schema_version: 1, kind: "demo", runs }
    }

    /// The runs.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// What the runs prove.
    pub fn verdict(&self) -> Verdict {
        let (keyroll, naive): (Vec<_>, Vec<_>) = self.runs.iter().partition(|run| run.procedure == KEYROLL);
        let lost = keyroll.iter().map(|run| run.sessions.lost).sum();
        if lost > 0 {
            return Verdict::Lost { sessions: lost };
        }
        // Without sessions nothing can be lost, so nothing is shown.
        let idle = keyroll.iter().filter(|run| run.sessions.established == 0);
        let harmless = naive.iter().filter(|run| run.sessions.lost == 0);
        let mut procedures: Vec<_> = idle.chain(harmless).map(|run| run.procedure.clone()).collect();
        if keyroll.is_empty() {
            procedures.push(KEYROLL.into());
        }
        if procedures.is_empty() { Verdict::Kept } else { Verdict::Inconclusive { procedures } }
    }

    /// The closing table, one line a run.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).force_no_tty();
        table.set_header(["procedure", "sessions", "lost", "lost for good", "requests", "refused", "seconds"]);
        for run in &self.runs {
            table.add_row([
                run.procedure.clone(),
                run.sessions.established.to_string(),
                run.sessions.lost.to_string(),
                run.sessions.lost_for_good.to_string(),
                run.requests.to_string(),
                run.refused.to_string(),
                format!("{:.1}", run.seconds),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.trim_fmt()
    }
}

/// One run of one procedure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// `keyroll`, or the name of a naive procedure.
    pub procedure: String,
    /// Processes.
    pub replicas: u32,
    /// Users.
    pub users: u32,
    /// Requests that users sent.
    pub requests: u64,
    /// What became of their sessions.
    pub sessions: Sessions,
    /// Requests that no replica answered.
    pub refused: u64,
    /// How long the run took.
    pub seconds: f64,
}

/// What became of the sessions of a run.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Sessions {
    /// Sessions that began.
    pub established: u64,
    /// Unexpired sessions that were refused at least once.
    pub lost: u64,
    /// Those of them that were never accepted again, although tried.
    pub lost_for_good: u64,
}

/// What a document proves.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a demo shows it, refutes it, or shows nothing")]
pub enum Verdict {
    /// Keyroll lost no session, and every naive order lost some.
    Kept,
    /// Keyroll lost sessions.
    Lost {
        /// How many.
        sessions: u64,
    },
    /// The runs put no strain on the keys.
    Inconclusive {
        /// Where nothing could be seen.
        procedures: Vec<String>,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept => f.write_str("keyroll lost no session"),
            Self::Lost { sessions: 1 } => f.write_str("keyroll lost 1 session"),
            Self::Lost { sessions } => write!(f, "keyroll lost {sessions} sessions"),
            Self::Inconclusive { procedures } => {
                write!(
                    f,
                    "inconclusive: no session was put at risk by `{}`; run the demo again",
                    procedures.join("`, `")
                )
            }
        }
    }
}

/// The name of Keyroll's own procedure in a document.
pub const KEYROLL: &str = "keyroll";

#[cfg(test)]
mod tests {
    use super::*;

    fn run(procedure: &str, established: u64, lost: u64) -> Run {
        Run {
            procedure: procedure.into(),
            replicas: 3,
            users: 50,
            requests: 8500,
            sessions: Sessions { established, lost, lost_for_good: lost },
            refused: 0,
            seconds: 41.25,
        }
    }

    #[test]
    fn the_document_has_exactly_the_agreed_fields() {
        let document = Document::new(vec![run("keyroll", 120, 0)]);
        assert_eq!(
            serde_json::to_string(&document).unwrap(),
            r#"{"schema_version":1,"kind":"demo","runs":[{"procedure":"keyroll","replicas":3,"users":50,"requests":8500,"sessions":{"established":120,"lost":0,"lost_for_good":0},"refused":0,"seconds":41.25}]}"#
        );
    }

    #[test]
    fn keyroll_is_cleared_only_if_it_lost_nothing_and_every_naive_order_lost_something() {
        let kept = Document::new(vec![run("keyroll", 120, 0), run("overwrite-rows", 120, 80)]);
        assert_eq!(kept.verdict(), Verdict::Kept);
        let harmless = Document::new(vec![run("keyroll", 120, 0), run("overwrite-rows", 120, 0)]);
        assert_eq!(harmless.verdict(), Verdict::Inconclusive { procedures: vec!["overwrite-rows".into()] });
        let lost = Document::new(vec![run("keyroll", 120, 1), run("overwrite-rows", 120, 0)]);
        assert_eq!(lost.verdict(), Verdict::Lost { sessions: 1 });
    }

    #[test]
    fn a_run_of_keyroll_without_sessions_or_none_at_all_proves_nothing() {
        for runs in [vec![run("keyroll", 0, 0)], vec![run("overwrite-rows", 10, 10)], vec![]] {
            assert_eq!(Document::new(runs).verdict(), Verdict::Inconclusive { procedures: vec!["keyroll".into()] });
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_run() {
        let table = Document::new(vec![run("keyroll", 120, 0), run("append-to-ring", 118, 7)]).table();
        let lines: Vec<_> = table.lines().map(str::split_whitespace).map(Iterator::collect::<Vec<_>>).collect();
        assert!(lines.contains(&vec!["keyroll", "120", "0", "0", "8500", "0", "41.2"]), "{table}");
        assert!(lines.contains(&vec!["append-to-ring", "118", "7", "7", "8500", "0", "41.2"]), "{table}");
    }
}
