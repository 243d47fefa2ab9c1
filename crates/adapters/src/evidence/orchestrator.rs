//! `orchestrator` (P1, P0): what follows from when a process started, or from what its orchestrator says.
//!
//! Weak evidence, by name only. It says what a process must have read, and not what it did with it.

use async_trait::async_trait;
use keyroll_keyring::KeyId;

use super::{Answer, Level, Question, Statement, Subject, Testimony, Witness, WitnessDescription};
use crate::Timestamp;
use crate::fleets::{Member, MemberState};

/// What a member has read if it has read the current version.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "one configuration")]
pub struct Reads {
    /// The key that it then mints under.
    pub active: KeyId,
    /// All keys that it then accepts, the active one among them.
    pub accept: Vec<KeyId>,
}

/// Infers keys from starts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Orchestrator {
    reads: Reads,
    rule: Rule,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rule {
    StartedAfter(Timestamp),
    BelievedComplete,
}

impl Orchestrator {
    /// P1: a member that started after `visible_at` has read the version that was visible to it by then. In that same instant
    /// it may have read the one before. Where it starts by another clock, `visible_at` has the leeway for that in it.
    pub fn started_after(visible_at: Timestamp, reads: Reads) -> Self {
        Self { reads, rule: Rule::StartedAfter(visible_at) }
    }

    /// P0: the orchestrator says that its rollout is complete, and each member that it calls ready is believed.
    pub fn believed_complete(reads: Reads) -> Self {
        Self { reads, rule: Rule::BelievedComplete }
    }

    fn level(&self) -> Level {
        match self.rule {
            Rule::StartedAfter(_) => Level::P1,
            Rule::BelievedComplete => Level::P0,
        }
    }

    /// Why the member may have read something older, if it may.
    fn doubt(&self, member: &Member) -> Option<String> {
        match (self.rule, member.started_at) {
            (Rule::StartedAfter(at), Some(started)) if started > at => None,
            (Rule::StartedAfter(_), Some(_)) => Some("it started before the version was visible to it".into()),
            (Rule::StartedAfter(_), None) => Some("it is not known when it started".into()),
            (Rule::BelievedComplete, _) if member.state == MemberState::Ready => None,
            (Rule::BelievedComplete, _) => Some("the orchestrator does not call it ready".into()),
        }
    }
}

#[async_trait]
impl Witness for Orchestrator {
    fn describe(&self) -> WitnessDescription {
        WitnessDescription { kind: "orchestrator", level: self.level(), tells_accepts: true, tells_mints: true }
    }

    async fn ask(&self, member: &Member, question: &Question<'_>) -> Testimony {
        let doubt = self.doubt(member);
        let answer = |holds: bool| match (&doubt, holds) {
            (Some(_), _) => Answer::Unknown,
            (None, true) => Answer::Yes,
            (None, false) => Answer::No,
        };
        let detail = doubt.clone().unwrap_or_else(|| match self.rule {
            Rule::StartedAfter(_) => "it started after the version was visible to it".into(),
            Rule::BelievedComplete => "the orchestrator says that the rollout is complete".into(),
        });
        let statements = question
            .keys
            .iter()
            .chain(&question.open_only)
            .flat_map(|asked| {
                let key = asked.key.id();
                [(Subject::Accepts, self.reads.accept.contains(&key)), (Subject::Mints, self.reads.active == key)].map(
                    |(subject, holds)| Statement {
                        key,
                        subject,
                        answer: answer(holds),
                        level: self.level(),
                        detail: detail.clone(),
                    },
                )
            })
            .collect();
        Testimony { statements, ..Testimony::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::testing::{App, Manner, NOW, about, key};

    #[tokio::test]
    async fn only_a_member_that_started_late_enough_is_believed() {
        let (old, new) = (key(1), key(2));
        let mut member = App::start(Manner::Status, &old, &[]).await.member.clone();
        let reads = Reads { active: KeyId(1), accept: vec![KeyId(1)] };
        let witness = Orchestrator::started_after(NOW, reads.clone());
        for (started, expected) in [
            (Some(Timestamp(NOW.0 + 1)), [Answer::Yes, Answer::Yes, Answer::No, Answer::No]),
            (Some(NOW), [Answer::Unknown; 4]),
            (None, [Answer::Unknown; 4]),
        ] {
            member.started_at = started;
            let testimony = witness.ask(&member, &about(&[&old, &new], &old)).await;
            assert_eq!(testimony.statements.iter().map(|one| one.answer).collect::<Vec<_>>(), expected);
            assert!(testimony.statements.iter().all(|one| one.level == Level::P1));
        }
        member.state = MemberState::Unready;
        let testimony = Orchestrator::believed_complete(reads).ask(&member, &about(&[&old], &old)).await;
        assert!(testimony.statements.iter().all(|one| (one.answer, one.level) == (Answer::Unknown, Level::P0)));
    }
}
