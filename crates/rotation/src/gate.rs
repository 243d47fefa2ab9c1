//! Gates: what every member has to show before the next write, and the verdict over one sweep of the members.
//!
//! Unknown is never converged: a claim that is absent counts as `Unknown`, and `Unknown` never passes.

use std::collections::{BTreeMap, BTreeSet};

use keyroll_keyring::KeyId;
use serde::{Deserialize, Serialize};

use crate::{MemberIndex, Millis};

/// What a gate demands of every member. Built by the machine for its stage.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Its name in the protocol.
    pub name: GateName,
    /// Sessions under each of these must be accepted.
    pub accepts: BTreeSet<KeyId>,
    /// Sessions under each of these must be rejected.
    pub rejects: BTreeSet<KeyId>,
    /// Members must mint under this key and no other.
    pub mints: Option<KeyId>,
}

/// The gates of the protocol; rollback and re-trust use the same three with the roles exchanged.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has three gates")]
pub enum GateName {
    /// Every member accepts the outgoing and the incoming key.
    G1,
    /// Every member accepts both and none can mint under the outgoing key.
    G2,
    /// Every member rejects the outgoing key and accepts the incoming one.
    G3,
}

/// One sweep: the members were listed, each was asked, the members were listed again.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// When the first listing began.
    pub began: Millis,
    /// When the last listing was complete.
    pub ended: Millis,
    /// What each member showed.
    pub observed: Vec<Observation>,
    /// Who was listed at the end. A member that is here and not proven in `observed` is unproven.
    pub listed_after: Vec<MemberIndex>,
    /// The consumers, in the configuration's order, each with how many members it listed at the end.
    pub consumers: Vec<ConsumerCount>,
}

/// How many members one consumer listed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerCount {
    /// Whether emptiness was declared in the configuration.
    pub declared: Declared,
    /// Members listed at the end of the sweep.
    pub members: u32,
}

/// Whether the configuration says that a consumer may have no members.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "a consumer is declared empty or it is not")]
pub enum Declared {
    /// Scaled to zero on purpose.
    MayBeEmpty,
    /// Must have members.
    Populated,
}

/// What one member boot showed.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// Which member boot.
    pub member: MemberIndex,
    /// Whether it serves requests.
    pub kind: MemberKind,
    /// Whether it can be asked at all.
    pub readiness: Readiness,
    /// Whether it started after the settle time of the last write had passed, by evidence; strictly after, because a
    /// member that started in the same instant may have read what stood there just before.
    pub started_after_settle: Answer,
    /// What was shown, each with its level of proof.
    pub claims: Vec<Claim>,
}

/// Serves requests, or is a worker without an address (then P2 or P1 is enough).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "a member serves or it works")]
pub enum MemberKind {
    /// Answers requests at an address.
    Serving,
    /// Declared to serve no requests.
    Worker,
}

/// Whether a member can be asked.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "complete: an unknown readiness is Unready")]
pub enum Readiness {
    /// Serving.
    Ready,
    /// Starting, crash-looping or otherwise not serving.
    Unready,
    /// On its way out; still a member until it is gone.
    Terminating,
}

/// One thing that a member showed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// About which key.
    pub key: KeyId,
    /// Accepts it, or mints under it.
    pub ability: Ability,
    /// Yes, no, or not known.
    pub answer: Answer,
    /// How strongly it is proven.
    pub level: EvidenceLevel,
}

/// What a member can do with a key.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "a key mints and opens, nothing else")]
pub enum Ability {
    /// Opens sessions under the key.
    Accepts,
    /// Mints sessions under the key.
    Mints,
}

/// A three-valued answer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "three-valued logic has three values")]
pub enum Answer {
    /// Shown to be so.
    Yes,
    /// Shown not to be so.
    No,
    /// Timeout, error, contradiction, nothing asked.
    Unknown,
}

/// The levels of proof of the protocol page.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "the protocol names four levels")]
pub enum EvidenceLevel {
    /// The orchestrator says so.
    P0,
    /// Started after the version became visible.
    P1,
    /// The process itself reports it.
    P2,
    /// Shown by a session that was sent or minted.
    P3,
}

/// The weakest proof that a gate takes; anything below `Strong` was asked for by name and is recorded.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "the override has one name")]
pub enum EvidenceRule {
    /// P3 for accepting and rejecting, P2 or P3 for minting.
    Strong,
    /// `--evidence weak`: whatever is shown at all. P0 is shown only where the file names it as what is believed.
    Weak,
}

/// The verdict over one sweep.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a gate passes or it does not")]
pub enum Verdict {
    /// Every member showed everything.
    Passed,
    /// Who is unproven, and why.
    Unproven(Vec<Unproven>),
}

/// Why a gate did not pass.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Unproven {
    /// A member showed the opposite of what is demanded.
    Contradicts {
        /// Which member.
        member: MemberIndex,
        /// What was demanded of it, and what it showed.
        claim: Claim,
    },
    /// A member showed nothing, or too little, about a key.
    Lacks {
        /// Which member.
        member: MemberIndex,
        /// About which key.
        key: KeyId,
        /// Accepting or minting.
        ability: Ability,
    },
    /// A member can't be asked and may have read an older configuration.
    CannotAnswer {
        /// Which member.
        member: MemberIndex,
        /// Why.
        readiness: Readiness,
    },
    /// Somebody was listed at the end who was not asked.
    NotAsked {
        /// Which member.
        member: MemberIndex,
    },
    /// A consumer listed no member and was not declared empty.
    EmptyConsumer {
        /// Its place in the configuration.
        consumer: u16,
    },
    /// Nobody at all was listed; that is never convergence.
    NoMembers,
    /// The settle time since the last store's write has not passed.
    Settling {
        /// When it will have.
        until: Millis,
    },
}

impl EvidenceRule {
    /// The level that proves an ability. A worker has no address to send a session to, so its own word is enough.
    pub fn least(self, kind: MemberKind, ability: Ability) -> EvidenceLevel {
        match (self, kind, ability) {
            (Self::Weak, _, _) => EvidenceLevel::P0,
            (Self::Strong, MemberKind::Worker, _) => EvidenceLevel::P1,
            (Self::Strong, MemberKind::Serving, Ability::Mints) => EvidenceLevel::P2,
            (Self::Strong, MemberKind::Serving, Ability::Accepts) => EvidenceLevel::P3,
        }
    }
}

impl Gate {
    /// Judges one sweep. It must have begun at `settle_over` or later, because before that a member could still boot
    /// from an older configuration.
    ///
    /// Only who is listed at the end counts: who left does not matter, and who came has to be proven too.
    pub fn judge(&self, sweep: &Sweep, rule: EvidenceRule, settle_over: Millis) -> Verdict {
        let mut unproven = Vec::new();
        if sweep.began < settle_over {
            unproven.push(Unproven::Settling { until: settle_over });
        }
        if sweep.listed_after.is_empty() {
            unproven.push(Unproven::NoMembers);
        }
        for (place, consumer) in (0_u16..).zip(&sweep.consumers) {
            match (consumer.members, consumer.declared) {
                (0, Declared::Populated) => unproven.push(Unproven::EmptyConsumer { consumer: place }),
                (0, Declared::MayBeEmpty) | (1.., Declared::MayBeEmpty | Declared::Populated) => {}
            }
        }
        let mut listed: BTreeMap<MemberIndex, Vec<&Observation>> =
            sweep.listed_after.iter().map(|&member| (member, Vec::new())).collect();
        for observation in &sweep.observed {
            if let Some(shown) = listed.get_mut(&observation.member) {
                shown.push(observation);
            }
        }
        for (member, shown) in listed {
            if shown.is_empty() {
                unproven.push(Unproven::NotAsked { member });
            }
            for observation in shown {
                self.judge_member(observation, rule, &mut unproven);
            }
        }
        if unproven.is_empty() { Verdict::Passed } else { Verdict::Unproven(unproven) }
    }

    fn judge_member(&self, observation: &Observation, rule: EvidenceRule, unproven: &mut Vec<Unproven>) {
        let member = observation.member;
        let contradictions: Vec<Claim> =
            observation.claims.iter().filter(|claim| self.contradicted_by(claim)).copied().collect();
        if !contradictions.is_empty() {
            unproven.extend(contradictions.into_iter().map(|claim| Unproven::Contradicts { member, claim }));
            return;
        }
        match (observation.readiness, observation.started_after_settle) {
            // It can't be asked, but it has read what is there now.
            (Readiness::Unready, Answer::Yes) => return,
            (Readiness::Unready, Answer::No | Answer::Unknown) => {
                unproven.push(Unproven::CannotAnswer { member, readiness: observation.readiness });
                return;
            }
            // A member on its way out still serves; it counts until it is gone, and may prove itself meanwhile.
            (Readiness::Ready | Readiness::Terminating, _) => {}
        }
        let lacking = self.demands().filter(|demand| {
            !observation.claims.iter().any(|claim| {
                (claim.key, claim.ability, claim.answer) == (demand.key, demand.ability, demand.answer)
                    && claim.level >= rule.least(observation.kind, claim.ability)
            })
        });
        unproven.extend(lacking.map(|demand| match observation.readiness {
            Readiness::Terminating => Unproven::CannotAnswer { member, readiness: Readiness::Terminating },
            Readiness::Ready | Readiness::Unready => {
                Unproven::Lacks { member, key: demand.key, ability: demand.ability }
            }
        }));
    }

    /// Each thing that a member has to show.
    fn demands(&self) -> impl Iterator<Item = Demand> {
        let accepts = self.accepts.iter().map(|&key| Demand { key, ability: Ability::Accepts, answer: Answer::Yes });
        let rejects = self.rejects.iter().map(|&key| Demand { key, ability: Ability::Accepts, answer: Answer::No });
        let mints = self.mints.iter().map(|&key| Demand { key, ability: Ability::Mints, answer: Answer::Yes });
        accepts.chain(rejects).chain(mints)
    }

    /// A contradiction counts at every level of proof: a member about which two sources disagree is not converged.
    fn contradicted_by(&self, claim: &Claim) -> bool {
        match (claim.ability, claim.answer) {
            (Ability::Accepts, Answer::Yes) => self.rejects.contains(&claim.key),
            (Ability::Accepts, Answer::No) => self.accepts.contains(&claim.key),
            (Ability::Mints, Answer::Yes) => self.mints.is_some_and(|key| key != claim.key),
            (Ability::Mints, Answer::No) => self.mints == Some(claim.key),
            (Ability::Accepts | Ability::Mints, Answer::Unknown) => false,
        }
    }
}

/// One thing that a member has to show.
struct Demand {
    key: KeyId,
    ability: Ability,
    answer: Answer,
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: KeyId = KeyId(1);

    fn gate() -> Gate {
        Gate { name: GateName::G1, accepts: [KEY].into(), rejects: BTreeSet::new(), mints: None }
    }

    fn member(readiness: Readiness, kind: MemberKind, claims: &[(Answer, EvidenceLevel)]) -> Observation {
        let claim =
            |&(answer, level): &(Answer, EvidenceLevel)| Claim { key: KEY, ability: Ability::Accepts, answer, level };
        Observation {
            member: MemberIndex(0),
            kind,
            readiness,
            started_after_settle: Answer::Unknown,
            claims: claims.iter().map(claim).collect(),
        }
    }

    fn sweep(observed: Vec<Observation>, listed: &[u32]) -> Sweep {
        Sweep {
            began: Millis(10),
            ended: Millis(11),
            observed,
            listed_after: listed.iter().copied().map(MemberIndex).collect(),
            consumers: Vec::new(),
        }
    }

    fn passes(observation: Observation, rule: EvidenceRule) -> bool {
        gate().judge(&sweep(vec![observation], &[0]), rule, Millis(10)) == Verdict::Passed
    }

    #[test]
    fn each_half_of_each_gate_takes_its_own_level_and_less_only_by_name() {
        use EvidenceLevel::{P0, P1, P2, P3};
        let mints = Gate { name: GateName::G2, accepts: BTreeSet::new(), rejects: BTreeSet::new(), mints: Some(KEY) };
        let rejects = Gate { name: GateName::G3, accepts: BTreeSet::new(), rejects: [KEY].into(), mints: None };
        for (gate, ability, answer, least) in [
            (gate(), Ability::Accepts, Answer::Yes, P3),
            (rejects, Ability::Accepts, Answer::No, P3),
            (mints, Ability::Mints, Answer::Yes, P2),
        ] {
            for level in [P0, P1, P2, P3] {
                let mut observation = member(Readiness::Ready, MemberKind::Serving, &[]);
                observation.claims = vec![Claim { key: KEY, ability, answer, level }];
                let passes =
                    |rule| gate.judge(&sweep(vec![observation.clone()], &[0]), rule, Millis(10)) == Verdict::Passed;
                assert_eq!(passes(EvidenceRule::Strong), level >= least, "{gate:?} {level:?}");
                assert!(passes(EvidenceRule::Weak), "{gate:?} {level:?}");
            }
        }
    }

    #[test]
    fn a_self_report_is_enough_for_a_worker_and_by_name_only_for_a_server() {
        use EvidenceLevel::{P0, P1, P2, P3};
        let shown = |kind, level| member(Readiness::Ready, kind, &[(Answer::Yes, level)]);
        assert!(passes(shown(MemberKind::Serving, P3), EvidenceRule::Strong));
        assert!(!passes(shown(MemberKind::Serving, P2), EvidenceRule::Strong));
        assert!(passes(shown(MemberKind::Serving, P2), EvidenceRule::Weak));
        assert!(passes(shown(MemberKind::Worker, P1), EvidenceRule::Strong));
        assert!(!passes(shown(MemberKind::Worker, P0), EvidenceRule::Strong));
        assert!(passes(shown(MemberKind::Worker, P0), EvidenceRule::Weak));
    }

    #[test]
    fn unknown_and_contradiction_never_pass() {
        let proof = (Answer::Yes, EvidenceLevel::P3);
        for claims in [vec![], vec![(Answer::Unknown, EvidenceLevel::P3)], vec![proof, (Answer::No, EvidenceLevel::P2)]]
        {
            assert!(
                !passes(member(Readiness::Ready, MemberKind::Serving, &claims), EvidenceRule::Strong),
                "{claims:?}"
            );
        }
    }

    #[test]
    fn an_unready_member_blocks_unless_it_started_after_settle() {
        let mut unready = member(Readiness::Unready, MemberKind::Serving, &[]);
        assert!(!passes(unready.clone(), EvidenceRule::Strong));
        unready.started_after_settle = Answer::Yes;
        assert!(passes(unready, EvidenceRule::Strong));
    }

    #[test]
    fn who_left_does_not_matter_and_who_came_is_asked_too() {
        let proven = member(Readiness::Ready, MemberKind::Serving, &[(Answer::Yes, EvidenceLevel::P3)]);
        let mut gone = member(Readiness::Ready, MemberKind::Serving, &[(Answer::No, EvidenceLevel::P3)]);
        gone.member = MemberIndex(1);
        let judge = |listed: &[u32]| {
            gate().judge(&sweep(vec![proven.clone(), gone.clone()], listed), EvidenceRule::Strong, Millis(10))
        };
        assert_eq!(judge(&[0]), Verdict::Passed);
        assert_eq!(judge(&[0, 7]), Verdict::Unproven(vec![Unproven::NotAsked { member: MemberIndex(7) }]));
    }

    #[test]
    fn nobody_at_all_is_never_convergence_and_an_empty_consumer_has_to_be_declared() {
        let nobody = gate().judge(&sweep(Vec::new(), &[]), EvidenceRule::Strong, Millis(10));
        assert_eq!(nobody, Verdict::Unproven(vec![Unproven::NoMembers]));
        let proven = member(Readiness::Ready, MemberKind::Serving, &[(Answer::Yes, EvidenceLevel::P3)]);
        for (declared, passed) in [(Declared::MayBeEmpty, true), (Declared::Populated, false)] {
            let mut sweep = sweep(vec![proven.clone()], &[0]);
            sweep.consumers = vec![ConsumerCount { declared, members: 0 }];
            assert_eq!(gate().judge(&sweep, EvidenceRule::Strong, Millis(10)) == Verdict::Passed, passed);
        }
    }

    #[test]
    fn a_sweep_that_began_before_settle_proves_nothing() {
        let proven = member(Readiness::Ready, MemberKind::Serving, &[(Answer::Yes, EvidenceLevel::P3)]);
        let verdict = gate().judge(&sweep(vec![proven], &[0]), EvidenceRule::Strong, Millis(11));
        assert_eq!(verdict, Verdict::Unproven(vec![Unproven::Settling { until: Millis(11) }]));
    }
}
