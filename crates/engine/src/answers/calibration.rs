//! What preflight concludes from what one member showed: would the gates take it, and if not, what would help?
//!
//! It weighs with the gates' own measure, so that nobody learns in the middle of a rotation that a report is not enough.

use keyroll_adapters::evidence::{LIKE_EVERY_OTHER, OPENS_UNDER_NONE, PROVES_NOTHING};
use keyroll_keyring::{Key, KeyId};
use keyroll_rotation::WorldConfiguration;
use keyroll_rotation::gate::{Ability, Answer, EvidenceLevel, EvidenceRule, MemberKind, Observation, Readiness};

use crate::answers::checks::Checks;
use crate::report::MemberStatus;

/// What one member showed when the probe was calibrated.
pub(crate) struct Calibration<'a> {
    pub(crate) name: &'a str,
    pub(crate) observation: &'a Observation,
    pub(crate) status: &'a MemberStatus,
    /// Whether its start, or the word of whoever started it, could prove anything later.
    pub(crate) later: Later,
    pub(crate) configuration: &'a WorldConfiguration,
    pub(crate) random: &'a Key,
    pub(crate) rule: EvidenceRule,
    pub(crate) mintable: &'a Mintable,
}

/// Who can mint a session under a key that is not in use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Mintable {
    /// Keyroll, in this format.
    Here(SessionFormat),
    /// The application alone, under the key that is in use.
    ByTheApplication,
}

/// The fields of the file that decide how a session is minted, each with what stands in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct SessionFormat {
    pub(crate) cookie: String,
    /// What the keys are derived with.
    pub(crate) key_derivation: Vec<String>,
}

impl SessionFormat {
    /// What is most likely wrong where the application took the minted session for no session, by what `came` back.
    fn suspects(&self, came: &str) -> String {
        let Self { cookie, key_derivation } = self;
        let derivation = key_derivation.join(" and ");
        let causes = match (came.contains(OPENS_UNDER_NONE), derivation.is_empty()) {
            (true, false) => {
                format!(
                    "{derivation}: the cookie's name is right, and what the application sets there was sealed otherwise"
                )
            }
            (false, false) => format!("{cookie}, then {derivation}"),
            (_, true) => cookie.clone(),
        };
        format!(
            "either the process runs with another key than the store holds (it reads another file, or was not restarted since the \
             key came there), or the file or the application is wrong about {causes}. If all of that agrees, `probe.path` is a \
             page that answers everybody alike, or `probe.accepted` does not tell what a good answer is"
        )
    }
}

/// Whether a member can be proven by what is not seen before its reload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Later {
    /// When it started is known, so after a reload that will say something.
    ByStart,
    /// The file names the rollout's own word.
    ByRollout,
    /// By nothing.
    Never,
}

impl Calibration<'_> {
    pub(crate) fn judge(&self, checks: &mut Checks) {
        let object = Some(self.name);
        match (self.observation.readiness, self.observation.kind) {
            (Readiness::Unready, _) => {
                checks.unknown(
                    "member.ready",
                    object,
                    "it is not ready, so it can't be asked",
                    "repair it, or take it away",
                );
            }
            (Readiness::Terminating, _) => {
                checks.advice("member.ready", object, "it is on its way out", "it has to be gone before a gate passes");
            }
            (Readiness::Ready, MemberKind::Worker) => self.judge_worker(checks),
            (Readiness::Ready, MemberKind::Serving) if self.judge_blind(checks) => {}
            (Readiness::Ready, MemberKind::Serving) => {
                self.judge_accepting(checks);
                self.judge_minting(checks);
            }
        }
    }

    /// Where the probe can't tell a session under the key in use from one under a random key, everything else follows from that,
    /// and it is said once. Whether it was that.
    fn judge_blind(&self, checks: &mut Checks) -> bool {
        let Mintable::Here(format) = self.mintable else { return false };
        let (active, random) = (self.configuration.active, self.random.id());
        let (answer, level) = self.claim(active, Ability::Accepts);
        let told = answer == Answer::No || (answer == Answer::Yes && level >= Some(EvidenceLevel::P3));
        let detail = self.status.keys.iter().find(|key| key.key == random).map_or("", |key| key.detail.as_str());
        // What other witnesses say stands behind it, and where the page is the trouble that may be what helps.
        let came = detail.split("; ").next().unwrap_or_default();
        let is_unknown = self.claim(random, Ability::Accepts).0 == Answer::Unknown;
        if self.rule != EvidenceRule::Strong || told || !is_unknown || !came.contains(PROVES_NOTHING) {
            return false;
        }
        let object = Some(self.name);
        match came.strip_prefix(LIKE_EVERY_OTHER) {
            Some(came) => {
                let found = format!(
                    "a session under {active}, which is in use, was sent and answered like one under a random key{came}"
                );
                checks.unknown("probe.calibration", object, found, &format.suspects(came));
            }
            None => {
                let fix = "probe a page that needs a session, or describe better what a rejected session looks like";
                checks.unknown("probe.calibration", object, detail, fix);
            }
        }
        if self.claim(active, Ability::Mints).0 == Answer::Yes {
            self.judge_minting(checks);
        }
        true
    }

    /// A worker has no address; its own report proves it, or when it started.
    fn judge_worker(&self, checks: &mut Checks) {
        let object = Some(self.name);
        let active = self.configuration.active;
        match (self.claim(active, Ability::Accepts).0, self.later, self.rule) {
            (Answer::Yes, _, _) => checks.green("member.ready", object, "a worker; its own report proves it"),
            (Answer::No, _, _) => {
                let found = self.said(active, &format!("a worker that does not know {active}, which is in use"));
                checks.red("member.ready", object, found, "reload it: it has not read the key that the store holds");
            }
            (Answer::Unknown, Later::ByStart, _) => {
                checks.green("member.ready", object, "a worker; when it started proves it");
            }
            (Answer::Unknown, Later::ByRollout, EvidenceRule::Weak) => {
                checks.advice("member.ready", object, "a worker; the rollout's own word is taken", WEAK_IS_NAMED);
            }
            (Answer::Unknown, Later::ByRollout, EvidenceRule::Strong) => {
                let found = "a worker, and only the rollout's own word (P0) would speak for it; a gate takes P1";
                checks.unknown("member.ready", object, found, NAME_WEAK);
            }
            (Answer::Unknown, Later::Never, _) => {
                let found = "a worker, and nothing shows which keys it has, not even when it started";
                let fix = "add `evidence.log` or `evidence.report`, or let the list of members say when each started";
                checks.unknown("member.ready", object, found, fix);
            }
        }
    }

    fn judge_accepting(&self, checks: &mut Checks) {
        let object = Some(self.name);
        let mut good = true;
        for id in &self.configuration.accept {
            let (answer, level) = self.claim(*id, Ability::Accepts);
            match (answer, self.strong_enough(Ability::Accepts, level)) {
                (Answer::Yes, StrongEnough::Yes) => {}
                (Answer::Yes, StrongEnough::No) => {
                    good = false;
                    let found = format!(
                        "only {} says that a session under {id} is accepted, and a gate takes a session that was sent (P3)",
                        level_words(level)
                    );
                    checks.unknown("probe.calibration", object, found, PROBE_OR_WEAK);
                }
                (Answer::No, _) => {
                    good = false;
                    let words = format!("a session under {id}, which is in use, is rejected");
                    let fix =
                        "the probe's format does not fit the application: check cookie name, salt, digest and path";
                    checks.red("probe.calibration", object, self.said(*id, &words), fix);
                }
                (Answer::Unknown, _) => good &= self.unshown(*id, checks),
            }
        }
        match self.claim(self.random.id(), Ability::Accepts).0 {
            Answer::No => {}
            Answer::Yes => {
                good = false;
                let fix = "probe a page that needs a session, or describe better what a rejected session looks like";
                checks.red(
                    "probe.calibration",
                    object,
                    "a session under a random key is accepted too, so the probe proves nothing",
                    fix,
                );
            }
            Answer::Unknown if self.rule == EvidenceRule::Weak => {}
            Answer::Unknown => {
                good = false;
                let words =
                    self.said(self.random.id(), "nothing shows whether a session under a random key is rejected");
                let fix = match self.mintable {
                    Mintable::Here(_) => {
                        "probe a page that differs with and without a session, and describe what a rejected session \
                         looks like"
                    }
                    Mintable::ByTheApplication => {
                        "this framework's sessions can't be minted here, so nothing stronger is to be had before the new \
                         key is in use; go on by name: `keyroll rotate --evidence weak`"
                    }
                };
                checks.unknown("probe.calibration", object, words, fix);
            }
        }
        match (good, self.rule) {
            (true, EvidenceRule::Strong) => {
                checks.green("probe.calibration", object, "keys in use are accepted and a random one is rejected");
            }
            (true, EvidenceRule::Weak) => {
                checks.advice(
                    "probe.calibration",
                    object,
                    "nothing contradicts it, and weak evidence counts",
                    WEAK_IS_NAMED,
                );
            }
            (false, _) => {}
        }
    }

    /// Nothing shows what it does with a key in use. Whether that may be.
    fn unshown(&self, id: KeyId, checks: &mut Checks) -> bool {
        let object = Some(self.name);
        let words = self.said(id, &format!("nothing shows whether a session under {id} is accepted"));
        match (self.rule, self.later) {
            (EvidenceRule::Weak, Later::ByStart | Later::ByRollout) => true,
            (EvidenceRule::Weak, Later::Never) => {
                let fix = "configure `probe` or `evidence.report`, or let the list of members say when each started";
                checks.unknown("probe.calibration", object, format!("{words}, not even when it started"), fix);
                false
            }
            (EvidenceRule::Strong, _) => {
                checks.unknown("probe.calibration", object, words, PROBE_OR_WEAK);
                false
            }
        }
    }

    fn judge_minting(&self, checks: &mut Checks) {
        let object = Some(self.name);
        let active = self.configuration.active;
        let (answer, level) = self.claim(active, Ability::Mints);
        match (answer, self.strong_enough(Ability::Mints, level)) {
            (Answer::Yes, StrongEnough::Yes) => {
                checks.green("probe.minting", object, format!("it mints under {active}"));
            }
            (Answer::No, _) => {
                let found = self.said(active, "it does not mint under the active key");
                checks.red("probe.minting", object, found, "reload it: it has not read the key that the store holds");
            }
            (Answer::Yes | Answer::Unknown, _) if self.rule == EvidenceRule::Weak => {
                checks.advice("probe.minting", object, "nothing shows under which key it mints", WEAK_IS_NAMED);
            }
            (Answer::Yes | Answer::Unknown, _) => {
                let found = self.said(active, "nothing shows under which key it mints");
                let fix = "probe a page that sets the session, configure `probe.login` or `evidence.report`, or go on with \
                           weaker proof by name: `keyroll rotate --evidence weak`";
                checks.unknown("probe.minting", object, found, fix);
            }
        }
    }

    fn claim(&self, key: KeyId, ability: Ability) -> (Answer, Option<EvidenceLevel>) {
        let found = self.observation.claims.iter().find(|claim| claim.key == key && claim.ability == ability);
        found.map_or((Answer::Unknown, None), |claim| (claim.answer, Some(claim.level)))
    }

    fn strong_enough(&self, ability: Ability, level: Option<EvidenceLevel>) -> StrongEnough {
        match level {
            Some(level) if level >= self.rule.least(self.observation.kind, ability) => StrongEnough::Yes,
            Some(_) | None => StrongEnough::No,
        }
    }

    fn said(&self, id: KeyId, words: &str) -> String {
        let detail = self.status.keys.iter().find(|key| key.key == id).map(|key| key.detail.as_str());
        match detail.filter(|detail| !detail.is_empty()) {
            Some(detail) => format!("{words} ({detail})"),
            None => words.to_owned(),
        }
    }
}

/// Whether what was shown is shown strongly enough for a gate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum StrongEnough {
    Yes,
    No,
}

fn level_words(level: Option<EvidenceLevel>) -> &'static str {
    match level {
        Some(EvidenceLevel::P2) => "its own report (P2)",
        Some(EvidenceLevel::P1) => "its start (P1)",
        Some(EvidenceLevel::P0) => "the rollout (P0)",
        Some(EvidenceLevel::P3) | None => "nobody",
    }
}

const PROBE_OR_WEAK: &str = "a `probe` that tells good sessions from bad ones, or go on with weaker proof by name, for this rotation: `keyroll rotate --evidence weak`";
const NAME_WEAK: &str = "add `evidence.log`, or go on with weaker proof by name: `keyroll rotate --evidence weak`";
const WEAK_IS_NAMED: &str = "weak evidence was asked for by name; the record says so";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_nobody_took_may_mean_that_the_process_holds_another_key() {
        for (derivation, came) in [(vec![], ""), (vec!["`profile.salt`".to_owned()], OPENS_UNDER_NONE)] {
            let format = SessionFormat { cookie: "`profile.cookie`".into(), key_derivation: derivation };
            let told = format.suspects(came);
            assert!(told.starts_with("either the process runs with another key than the store holds"), "{told}");
        }
    }
}
