//! Why it waits, in words and figures that a person can act on. Members have their names here, and only here.

use keyroll_rotation::gate::{Ability, Answer, GateName, Readiness, Unproven};
use keyroll_rotation::{Naysayer, Wait};

use crate::clock::calendar;
use crate::report::{NaysayerReport, UnprovenMember, WaitReport, Who};
use crate::session::Session;

impl Session<'_> {
    /// The machine's answer with the names of members.
    pub(crate) fn report_wait(&self, wait: &Wait) -> WaitReport {
        let names = Names { roster: &self.roster, consumers: &self.engine.consumer_names() };
        names.report(wait)
    }

    pub(crate) fn unproven_members(&self, unproven: &[Unproven]) -> Vec<UnprovenMember> {
        let names = Names { roster: &self.roster, consumers: &self.engine.consumer_names() };
        unproven.iter().map(|one| names.unproven(one)).collect()
    }
}

/// Who has which index and place.
pub(crate) struct Names<'a> {
    pub(crate) roster: &'a crate::roster::Roster,
    pub(crate) consumers: &'a [String],
}

impl Names<'_> {
    pub(crate) fn report(&self, wait: &Wait) -> WaitReport {
        WaitReport {
            stage: crate::words::stage(wait.stage).to_owned(),
            naysayers: wait.naysayers.iter().map(|naysayer| self.naysayer(naysayer)).collect(),
            come_back_at: wait.again_at.map(calendar),
        }
    }

    fn naysayer(&self, naysayer: &Naysayer) -> NaysayerReport {
        let report = |who, text: String| NaysayerReport { who, text, gate: None, members: Vec::new(), until: None };
        match naysayer {
            Naysayer::Policy { reason, until } => {
                NaysayerReport { until: until.map(calendar), ..report(Who::Policy, reason.clone()) }
            }
            Naysayer::Safety { invariant, reason } => {
                report(Who::Safety, format!("{reason} ({invariant} of the protocol)"))
            }
            Naysayer::Evidence { gate, unproven, drain } => {
                let members: Vec<_> = unproven.iter().map(|one| self.unproven(one)).collect();
                let text = match (gate, drain) {
                    (_, Some(drain)) => drain.reason.clone(),
                    (Some(gate), None) if members.is_empty() => format!("{} has not been asked yet", gate_words(*gate)),
                    (Some(gate), None) => format!("{} is not shown by everybody", gate_words(*gate)),
                    (None, None) => "evidence is missing".to_owned(),
                };
                NaysayerReport { gate: *gate, members, ..report(Who::Evidence, text) }
            }
            Naysayer::Time { what, until } => {
                NaysayerReport { until: Some(calendar(*until)), ..report(Who::Time, what.clone()) }
            }
            Naysayer::Human { decision } => report(Who::Human, decision.clone()),
            _ => report(Who::Human, "something that this release does not know; use a newer keyroll".to_owned()),
        }
    }

    pub(crate) fn unproven(&self, unproven: &Unproven) -> UnprovenMember {
        let member = |index: &keyroll_rotation::MemberIndex, why: String| {
            let run = self.roster.get(*index);
            UnprovenMember {
                member: Some(run.map_or_else(|| format!("member {}", index.0), crate::roster::Run::name)),
                consumer: run.and_then(|run| self.consumers.get(usize::from(run.consumer)).cloned()),
                why,
            }
        };
        match unproven {
            Unproven::Contradicts { member: index, claim } => {
                let shows = match (claim.ability, claim.answer) {
                    (Ability::Accepts, Answer::Yes) => format!("still accepts {}", claim.key),
                    (Ability::Accepts, Answer::No) => format!("rejects {}", claim.key),
                    (Ability::Mints, Answer::Yes) => format!("mints under {}", claim.key),
                    (Ability::Mints, Answer::No) => format!("does not mint under {}", claim.key),
                    (_, Answer::Unknown) => format!("shows nothing about {}", claim.key),
                };
                member(index, format!("it {shows} ({:?})", claim.level))
            }
            Unproven::Lacks { member: index, key, ability: Ability::Accepts } => {
                member(index, format!("nothing strong enough shows what it does with sessions under {key}"))
            }
            Unproven::Lacks { member: index, key, ability: Ability::Mints } => {
                member(index, format!("nothing shows that it mints under {key}"))
            }
            Unproven::CannotAnswer { member: index, readiness } => member(
                index,
                match readiness {
                    Readiness::Terminating => "it is on its way out and still serves".to_owned(),
                    Readiness::Ready | Readiness::Unready => {
                        "it is not ready, and may have read an older version of the secret".to_owned()
                    }
                },
            ),
            Unproven::NotAsked { member: index } => member(index, "it came while the others were asked".to_owned()),
            Unproven::EmptyConsumer { consumer } => UnprovenMember {
                member: None,
                consumer: self.consumers.get(usize::from(*consumer)).cloned(),
                why: "it has no members, and `mayBeEmpty` is not declared".to_owned(),
            },
            Unproven::NoMembers => UnprovenMember {
                member: None,
                consumer: None,
                why: "nobody was listed at all; zero members prove nothing".to_owned(),
            },
            Unproven::Settling { until } => UnprovenMember {
                member: None,
                consumer: None,
                why: format!("a member could still boot from an older version until {}", calendar(*until)),
            },
            _ => UnprovenMember {
                member: None,
                consumer: None,
                why: "something that this release does not know; use a newer keyroll".to_owned(),
            },
        }
    }
}

impl WaitReport {
    /// Whether time alone changes nothing.
    pub(crate) fn needs_a_person(&self) -> bool {
        self.naysayers.iter().any(|naysayer| matches!(naysayer.who, Who::Human | Who::Safety))
    }

    /// In one paragraph.
    pub(crate) fn words(&self) -> String {
        let mut words = Vec::new();
        for naysayer in &self.naysayers {
            let mut text = match naysayer.until {
                Some(until) => format!("{} until {until}", naysayer.text),
                None => naysayer.text.clone(),
            };
            let named: Vec<_> = naysayer
                .members
                .iter()
                .take(NAMED)
                .map(|one| match &one.member {
                    Some(name) => format!("{name}: {}", one.why),
                    None => one.why.clone(),
                })
                .collect();
            if !named.is_empty() {
                text.push_str(&format!(" ({}", named.join("; ")));
                if naysayer.members.len() > NAMED {
                    text.push_str(&format!("; and {} more", naysayer.members.len() - NAMED));
                }
                text.push(')');
            }
            words.push(text);
        }
        words.join("; ")
    }
}

fn gate_words(gate: GateName) -> &'static str {
    match gate {
        GateName::G1 => "G1 (every member accepts both keys)",
        GateName::G2 => "G2 (every member mints under the new key)",
        GateName::G3 => "G3 (every member rejects the old key)",
    }
}

/// How many members a sentence names.
const NAMED: usize = 5;
