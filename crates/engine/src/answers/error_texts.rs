//! What the members' own logs say: the texts by which the profile's framework tells that a session was refused.
//!
//! Only their number leaves this module. A log line may hold a cookie, or worse.

use std::collections::BTreeMap;

use keyroll_adapters::fleets::{BootId, MemberId};
use keyroll_keyring::profile::{ErrorCause, ErrorPlace};

use crate::answers::checks::Checks;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::error::error_chain;
use crate::members::sweep::Listed;

/// What the log of one run says.
pub(crate) enum Said {
    /// So many lines hold one of the texts, by text.
    Lines(BTreeMap<String, u64>),
    /// Its log can't be read, for this reason.
    Unread(String),
}

/// Names one run: its consumer's place, its name, its boot.
pub(crate) type Run = (u16, MemberId, BootId);

impl Engine {
    /// Counts the profile's error texts in what each run has written since it began. None where no log is to be had.
    pub(crate) async fn count_error_texts(&self) -> Result<Option<BTreeMap<Run, Said>>, EngineError> {
        let texts = self.texts_of_users();
        if texts.is_empty() {
            return Ok(None);
        }
        let mut counts = BTreeMap::new();
        for one in self.list().await? {
            let said = match self.log_of(&one).await {
                Ok(None) => continue,
                Ok(Some(log)) => Said::Lines(count(&log, &texts)),
                Err(reason) => Said::Unread(reason),
            };
            counts.insert((one.consumer, one.member.id, one.member.boot), said);
        }
        Ok((!counts.is_empty()).then_some(counts))
    }

    /// `verify`: a text that was found fails it, with the member's name and the number.
    pub(crate) async fn check_error_texts(&self, checks: &mut Checks) -> Result<(), EngineError> {
        let texts = self.texts_of_users();
        if texts.is_empty() {
            return Ok(());
        }
        let Some(counts) = self.count_error_texts().await? else {
            let fix = "configure `evidence.log`, so that what the members write can be read";
            checks.advice(
                "errors.texts",
                None,
                "no log of a member is to be had, so no error text was looked for",
                fix,
            );
            return Ok(());
        };
        for ((_, member, _), said) in counts {
            let object = Some(member.0.as_str());
            match said {
                Said::Unread(reason) => {
                    checks.unknown("errors.texts", object, reason, "make its log readable, as `evidence.log` names it");
                }
                Said::Lines(lines) if lines.is_empty() => {
                    checks.green("errors.texts", object, "its log shows no refused session since it started");
                }
                Said::Lines(lines) => {
                    let fix = "look at its log; `keyroll rollback` goes back";
                    checks.red("errors.texts", object, words(&lines), fix);
                }
            }
        }
        Ok(())
    }

    /// The texts of which each line is a user's. Where the probe mints sessions, what it makes members say is left out.
    fn texts_of_users(&self) -> Vec<&str> {
        let probed = self.assembly.profile.codec().is_some();
        self.assembly
            .profile
            .error_texts()
            .iter()
            .filter(|text| text.place == ErrorPlace::Log && (text.cause == ErrorCause::Users || !probed))
            .map(|text| text.text.as_str())
            .collect()
    }

    async fn log_of(&self, one: &Listed) -> Result<Option<String>, String> {
        let consumer = &self.assembly.consumers[usize::from(one.consumer)];
        match consumer.fleet.output(&one.member).await {
            Ok(Some(bytes)) => return Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Ok(None) => {}
            Err(error) => return Err(error_chain(&error)),
        }
        match &self.assembly.logs {
            Some(logs) => logs.this_run(&one.member).await.map(Some).map_err(|error| error_chain(&error)),
            None => Ok(None),
        }
    }
}

/// What is there after a roll that was not there before it, in words.
pub(crate) fn risen(before: &BTreeMap<Run, Said>, after: &BTreeMap<Run, Said>) -> Vec<(MemberId, String)> {
    let mut risen = Vec::new();
    for (run, said) in after {
        let Said::Lines(lines) = said else { continue };
        let more: BTreeMap<String, u64> = lines
            .iter()
            .map(|(text, count)| match before.get(run) {
                Some(Said::Lines(then)) => (text.clone(), count.saturating_sub(then.get(text).copied().unwrap_or(0))),
                Some(Said::Unread(_)) | None => (text.clone(), *count),
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        if !more.is_empty() {
            risen.push((run.1.clone(), words(&more)));
        }
    }
    risen
}

fn words(lines: &BTreeMap<String, u64>) -> String {
    let each: Vec<_> = lines.iter().map(|(text, count)| format!("{count} x `{text}`")).collect();
    format!("its log shows refused sessions since it started: {}", each.join(", "))
}

fn count(log: &str, texts: &[&str]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in log.lines() {
        for text in texts.iter().filter(|text| line.contains(**text)) {
            *counts.entry((*text).to_owned()).or_insert(0) += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_counts_once_for_each_text_and_nothing_of_it_is_kept() {
        let counts =
            count("InvalidMessage cookie=abc\nfine\nInvalidMessage InvalidMessage\n", &["InvalidMessage", "other"]);
        assert_eq!(counts, [("InvalidMessage".to_owned(), 2)].into());
        assert!(!words(&counts).contains("abc"));
    }

    #[test]
    fn only_what_rose_since_is_told() {
        let run = |boot: &str| (0, MemberId("web-1".into()), BootId(boot.into()));
        let lines = |count| Said::Lines([("InvalidMessage".to_owned(), count)].into());
        let before = BTreeMap::from([(run("a"), lines(3))]);
        assert!(risen(&before, &BTreeMap::from([(run("a"), lines(3))])).is_empty());
        let after = BTreeMap::from([(run("a"), lines(5)), (run("b"), lines(1))]);
        let risen = risen(&before, &after);
        assert_eq!(risen.len(), 2);
        assert!(risen[0].1.contains("2 x") && risen[1].1.contains("1 x"), "{risen:?}");
    }
}
