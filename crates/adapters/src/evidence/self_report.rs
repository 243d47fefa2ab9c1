//! What processes say of their own keys, weighed: a pure function.
//!
//! A report names keys by fingerprint. It proves that a key is absent only if every entry is a fingerprint that can be
//! compared; and a report that contradicts itself proves nothing.

use keyroll_keyring::Fingerprint;

use super::{Answer, AskedKey, Level, Question, Statement, Subject};

/// What one process says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct SelfReport {
    /// Its worker, if it names one.
    pub(super) worker: Option<String>,
    /// The keys that it mints under; a sound report names one.
    pub(super) active: Vec<String>,
    /// All keys that it accepts; none where the source tells the active one only.
    pub(super) accept: Option<Vec<String>>,
}

/// What the reports say about each asked key. `unclear` is a reason that makes every "no" unknown.
pub(super) fn judge(question: &Question<'_>, reports: &[SelfReport], unclear: Option<&str>) -> Vec<Statement> {
    if let Some(reason) = reports.iter().find_map(SelfReport::contradiction) {
        return nothing(question, &reason);
    }
    if reports.is_empty() {
        return nothing(question, unclear.unwrap_or("it reports no keys"));
    }
    let mut statements = Vec::new();
    for asked in question.keys.iter().chain(&question.open_only) {
        for subject in [Subject::Accepts, Subject::Mints] {
            let answers: Vec<Answer> = reports.iter().map(|report| report.says(asked, subject)).collect();
            let count = |wanted| answers.iter().filter(|answer| **answer == wanted).count();
            let (yes, no, all) = (count(Answer::Yes), count(Answer::No), answers.len());
            let verb = if subject == Subject::Accepts { "accepts" } else { "mints under" };
            let (answer, detail) = if asked.fingerprint.is_none() {
                (Answer::Unknown, "the key has no fingerprint that a report could name".to_owned())
            } else if let Some(reason) = unclear {
                // One worker that mints under a key is enough to know that the member does.
                let answer = if subject == Subject::Mints && yes > 0 { Answer::Yes } else { Answer::Unknown };
                (answer, reason.to_owned())
            } else if yes == all {
                (Answer::Yes, format!("it reports that it {verb} the key"))
            } else if no == all {
                (Answer::No, format!("it reports keys, and not that it {verb} this one"))
            } else if subject == Subject::Mints && yes > 0 {
                (Answer::Yes, format!("{yes} of {all} workers report that they mint under the key"))
            } else {
                (Answer::Unknown, format!("{yes} of {all} reports say that it {verb} the key, {no} say that not"))
            };
            statements.push(Statement { key: asked.key.id(), subject, answer, level: Level::P2, detail });
        }
    }
    statements
}

/// Everything is unknown, for one reason.
pub(super) fn nothing(question: &Question<'_>, reason: &str) -> Vec<Statement> {
    question
        .keys
        .iter()
        .chain(&question.open_only)
        .flat_map(|asked| [Subject::Accepts, Subject::Mints].map(|subject| (asked.key.id(), subject)))
        .map(|(key, subject)| Statement {
            key,
            subject,
            answer: Answer::Unknown,
            level: Level::P2,
            detail: reason.to_owned(),
        })
        .collect()
}

impl SelfReport {
    fn contradiction(&self) -> Option<String> {
        let who = self.worker.as_ref().map_or_else(|| "it".to_owned(), |name| format!("worker `{name}`"));
        match (self.active.as_slice(), &self.accept) {
            ([], None) => Some(format!("{who} reports no keys")),
            ([], Some(_)) => Some(format!("{who} reports no active key")),
            ([active], Some(accept)) if !accept.contains(active) => {
                Some(format!("{who} contradicts itself: its active key is not among those that it accepts"))
            }
            ([_], _) => None,
            _ => Some(format!("{who} contradicts itself: it reports several active keys")),
        }
    }

    fn says(&self, asked: &AskedKey<'_>, subject: Subject) -> Answer {
        let Some(fingerprint) = asked.fingerprint else { return Answer::Unknown };
        let (named, complete): (&[String], bool) = match (subject, &self.accept) {
            (Subject::Mints, _) => (&self.active, true),
            (Subject::Accepts, Some(accept)) => (accept, true),
            // What it mints under it also accepts; of other keys it says nothing.
            (Subject::Accepts, None) => (&self.active, false),
        };
        if named.iter().any(|name| name == fingerprint.as_str()) {
            Answer::Yes
        } else if complete && named.iter().all(|name| Fingerprint::parse(name).is_ok()) {
            Answer::No
        } else {
            Answer::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::testing::{about, key, print};

    fn report(worker: Option<&str>, active: &[u32], accept: Option<&[u32]>) -> SelfReport {
        let names = |ids: &[u32]| ids.iter().map(|id| print(*id).as_str().to_owned()).collect::<Vec<_>>();
        SelfReport { worker: worker.map(str::to_owned), active: names(active), accept: accept.map(names) }
    }

    /// The answers about keys 1, 2 and 3: accepts, then mints.
    fn answers(reports: &[SelfReport], unclear: Option<&str>) -> [(Answer, Answer); 3] {
        let keys = [key(1), key(2), key(3)];
        let prints = [print(1), print(2), print(3)];
        let mut question = about(&[&keys[0], &keys[1], &keys[2]], &keys[0]);
        for (asked, print) in question.keys.iter_mut().zip(&prints) {
            asked.fingerprint = Some(print);
        }
        let statements = judge(&question, reports, unclear);
        [0, 1, 2].map(|at| (statements[2 * at].answer, statements[2 * at + 1].answer))
    }

    use Answer::{No, Unknown, Yes};

    #[test]
    fn a_sound_report_says_yes_and_no() {
        assert_eq!(answers(&[report(None, &[1], Some(&[1, 2]))], None), [(Yes, Yes), (Yes, No), (No, No)]);
    }

    #[test]
    fn a_report_of_the_active_key_alone_says_nothing_of_accepting_others() {
        assert_eq!(answers(&[report(None, &[1], None)], None), [(Yes, Yes), (Unknown, No), (Unknown, No)]);
    }

    #[test]
    fn contradictions_are_unknown() {
        let unknown = [(Unknown, Unknown); 3];
        assert_eq!(answers(&[report(None, &[3], Some(&[1, 2]))], None), unknown, "active and not accepted");
        assert_eq!(answers(&[report(None, &[1, 2], Some(&[1, 2]))], None), unknown, "two active keys");
        assert_eq!(answers(&[report(None, &[], Some(&[1]))], None), unknown, "no active key");
        assert_eq!(answers(&[], None), unknown, "no report");
    }

    #[test]
    fn workers_that_differ_are_unknown_but_minting_under_a_key_is_seen() {
        let reports = [report(Some("a"), &[1], Some(&[1, 2])), report(Some("b"), &[2], Some(&[2]))];
        assert_eq!(answers(&reports, None), [(Unknown, Yes), (Yes, Yes), (No, No)]);
    }

    #[test]
    fn a_missing_worker_makes_every_no_unknown() {
        let reports = [report(Some("a"), &[1], Some(&[1]))];
        assert_eq!(
            answers(&reports, Some("worker b is silent")),
            [(Unknown, Yes), (Unknown, Unknown), (Unknown, Unknown)]
        );
    }

    #[test]
    fn a_fingerprint_of_another_scheme_proves_no_absence() {
        let mut odd = report(None, &[1], Some(&[1]));
        odd.accept.as_mut().unwrap().push("sha256:abc".into());
        assert_eq!(answers(&[odd], None), [(Yes, Yes), (Unknown, No), (Unknown, No)]);
    }
}
