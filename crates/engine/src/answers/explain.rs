//! Why it waits, in words and figures that a person can act on. Members have their names here, and only here.

use keyroll_keyring::KeyId;
use keyroll_rotation::gate::{Ability, Answer, GateName, Readiness, Unproven};
use keyroll_rotation::{Event, Halt, Mode, Naysayer, Revocation, Rotation, Wait};

use crate::clock::{calendar, spoken};
use crate::meaning::{
    can, copy_of, cut_through, halt_words, is_over_for, leaked_words, must_not_return, old_and_new, replaces,
};
use crate::report::{NaysayerReport, UnprovenMember, WaitReport, Who};
use crate::world::Materials;
use crate::world::stamp::Ledger;

/// Who has which index and place.
pub(crate) struct Names<'a> {
    pub(crate) roster: &'a crate::members::roster::Roster,
    pub(crate) consumers: &'a [String],
    pub(crate) stores: &'a [String],
    /// The keys whose bytes are at hand.
    pub(crate) materials: &'a Materials,
    pub(crate) ledger: &'a Ledger,
}

impl Names<'_> {
    pub(crate) fn report(&self, wait: &Wait, machine: Option<&Rotation>) -> WaitReport {
        let mut naysayers: Vec<_> = wait.naysayers.iter().map(|naysayer| self.naysayer(naysayer)).collect();
        if let Some((machine, halt)) = machine.and_then(|machine| Some((machine, machine.halt.as_ref()?)))
            && let Some(human) = naysayers.iter_mut().find(|naysayer| naysayer.who == Who::Human)
        {
            human.text = self.decision(halt, machine);
        }
        WaitReport {
            stage: crate::words::stage(wait.stage).to_owned(),
            naysayers,
            come_back_at: wait.again_at.map(calendar),
        }
    }

    /// What there is to decide where it stands still, with the commands for it; only with those that the rotation would take now.
    pub(crate) fn decision(&self, halt: &Halt, machine: &Rotation) -> String {
        let back = match can(machine, &Event::RollbackRequested) {
            true => ", or `keyroll rollback`",
            false => "",
        };
        let once_more = |how: &str| match can(machine, &Event::LaggardReloadRequested) {
            true => format!(". {how}"),
            false => String::new(),
        };
        match halt {
            Halt::Paused => format!("it is paused: `keyroll resume`{back}"),
            Halt::ForeignWrite { store, expected, found } => {
                let what = halt_words(halt, self.stores);
                if let Some(leaked) = must_not_return(machine, expected, self.ledger) {
                    return format!("{what}. Find out who wrote it. {}", leaked_words(leaked));
                }
                let lost: Vec<_> = expected.accept.iter().filter(|id| self.materials.get(**id).is_none()).collect();
                let overwrite = match lost.first() {
                    None => {
                        "; or `keyroll resume --overwrite-foreign-write` writes what should be there over it".to_owned()
                    }
                    Some(id) => {
                        format!(
                            "; the bytes of {id} are in no store any more, so it can't be written over{}",
                            copy_of(**id, machine)
                        )
                    }
                };
                // Whoever goes on from there needs the bytes of both keys, to write them and to ask for them.
                let both = [machine.outgoing, machine.incoming].iter().all(|id| self.materials.get(*id).is_some());
                let adopt = match both
                    && found.as_ref().is_some_and(|found| {
                        let mut stores = machine.stores.clone();
                        if let Some(held) = stores.get_mut(usize::from(store.0)) {
                            held.clone_from(found);
                        }
                        can(machine, &Event::ForeignWriteAdopted { stores, at: machine.written_at.unwrap_or_default() })
                    }) {
                    true => {
                        "; `keyroll resume --adopt-foreign-write` goes on from what is there, and is the safe way if \
                         processes have read it already"
                    }
                    false if is_over_for(machine, std::slice::from_ref(found), self.ledger, self.materials) => {
                        "; `keyroll resume --adopt-foreign-write` ends this closed rotation and takes what is there for what the \
                         store holds from now on"
                    }
                    false => "",
                };
                let revocation = Revocation {
                    mode: Mode::HardCutover,
                    compromised: [old_and_new(machine).0].into(),
                    fresh: KeyId(u32::MAX),
                };
                let leak = match cut_through(machine, Some(revocation), machine.written_at.unwrap_or_default())
                    .is_some_and(|after| replaces(&after, usize::from(store.0)))
                {
                    true => {
                        ". If a key has leaked, `keyroll revoke --mode hard-cutover` replaces all that stands there"
                    }
                    false => "",
                };
                format!("{what}. Find out who wrote it. Put it back as it was{overwrite}{adopt}{back}{leak}")
            }
            Halt::ReloadStopped { member: Some(index) } => {
                let name =
                    self.roster.get(*index).map_or_else(|| format!("member {}", index.0), |run| run.member.0.clone());
                format!(
                    "`{name}` did not come back from its reload as it should: mend it, then `keyroll resume`{back}. `keyroll \
                     reload --member {name}` reloads it once more"
                )
            }
            Halt::ReloadStopped { member: None } => {
                format!("a reload failed, or requests fail since: mend that, then `keyroll resume`{back}")
            }
            Halt::LaggardsRemain => format!(
                "members stayed unproven after every allowed reload: mend them, then `keyroll resume`{back}{}",
                once_more("`keyroll reload --laggards` reloads them once more")
            ),
            _ => halt_words(halt, self.stores),
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
                member: Some(run.map_or_else(|| format!("member {}", index.0), crate::members::roster::Run::name)),
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
                why: format!("a member could still boot from an older version until {}", spoken(calendar(*until))),
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
}

fn gate_words(gate: GateName) -> &'static str {
    match gate {
        GateName::G1 => "G1 (every member accepts both keys)",
        GateName::G2 => "G2 (every member mints under the new key)",
        GateName::G3 => "G3 (every member rejects the old key)",
    }
}
