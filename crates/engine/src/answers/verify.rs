//! `verify`: does every member do what the store says, now?
//!
//! Each key in use must be accepted, a random one and every retired one that is still known must be rejected, and what a
//! member mints must be under the active key; and its log must not show refused sessions. Nothing is written, so it may be asked at any time.

use std::collections::BTreeSet;

use keyroll_adapters::Timestamp;
use keyroll_keyring::KeyId;
use keyroll_rotation::gate::{Answer, EvidenceRule, Gate, GateName, MemberKind, Readiness};
use keyroll_rotation::{DrainRule, WorldConfiguration};

use crate::answers::checks::Checks;
use crate::clock::millis;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::members::roster::Roster;
use crate::members::sweep;
use crate::members::sweep::inquiry;
use crate::report::{MemberStatus, SCHEMA_VERSION, VerifyReport};
use crate::world::FieldsSay;
use crate::world::stamp::RETURNED_FIX;

impl Engine {
    /// Asks every member, now.
    pub async fn verify(&self) -> Result<VerifyReport, EngineError> {
        let (views, stamp) = self.settle(self.read_stores().await?).await?;
        let sighting = self.sight(stamp, &views);
        let mut checks = Checks::default();
        let mut configurations = Vec::new();
        for (view, said) in views.iter().zip(&sighting.stores) {
            let object = Some(view.location.as_str());
            match said {
                FieldsSay::Configuration(found) => {
                    checks.green("keys.read", object, crate::world::configuration_words(found));
                    if let Some(returned) = sighting.stamp.ledger.returned(found) {
                        checks.red("keys.ended", object, returned, RETURNED_FIX);
                    }
                    configurations.push(found.clone());
                }
                FieldsSay::Foreign(words) => {
                    checks.red("keys.read", object, words.clone(), "find out who wrote it; `keyroll explain`");
                }
            }
        }
        self.check_record(&sighting.stamp, &views, &mut checks);
        let Some(held) = Held::by(&configurations) else {
            return Ok(VerifyReport { schema_version: SCHEMA_VERSION, checks: checks.0, members: Vec::new() });
        };
        if configurations.iter().any(|other| *other != configurations[0]) {
            // A rotation that is under way is between two writes; then it is known, and it is no better for the members.
            checks.red(
                "keys.equal",
                None,
                "the stores hold different keys, so members of one may refuse sessions of another",
                "`keyroll explain` where a rotation is open; otherwise make them equal",
            );
        }
        let draining = sighting.stamp.open.as_ref().map(|open| &open.machine).filter(|machine| {
            // A probe under a key that drains by counters would count as a session under it.
            machine.t0.is_some() && machine.settings.drain == DrainRule::Counter && machine.drained.is_none()
        });
        let spared: BTreeSet<KeyId> = draining.map(|machine| machine.outgoing).into_iter().collect();
        // Whatever the stores say, nobody may accept a key that is compromised or destroyed.
        let ended = sighting.stamp.ledger.ended();
        let unused = |id: &KeyId| (!held.by_some.contains(id) || ended.contains(id)) && !spared.contains(id);
        let retired: BTreeSet<KeyId> = sighting.materials.ids().filter(unused).collect();
        // Before anything is sent, so that what this very look makes members write does not count.
        self.check_error_texts(&mut checks).await?;
        let (random, decoy) =
            (self.assembly.profile.candidate(sweep::RANDOM)?, self.assembly.profile.candidate(sweep::DECOY)?);
        let gate = Gate {
            name: GateName::G3,
            accepts: held.by_all.iter().filter(|id| !spared.contains(id) && !ended.contains(id)).copied().collect(),
            rejects: retired.clone(),
            mints: held.active,
        };
        let mut asked = inquiry(self, &sighting.materials, &decoy, &gate, None, None);
        asked.keys.push((&random, None));
        let listed = sweep::list(&self.assembly.consumers).await?;
        if listed.is_empty() {
            checks.red(
                "members.any",
                None,
                "there are no members at all, and zero members prove nothing",
                "start the fleet",
            );
        }
        let mut roster = Roster::default();
        let now = Timestamp(millis(self.clock.now()).0);
        let mut members = Vec::new();
        for showing in sweep::ask(listed, &mut roster, &asked, self.clock.as_ref(), now).await {
            for (observation, status) in showing.observations.iter().zip(showing.status) {
                let serving = observation.kind == MemberKind::Serving && observation.readiness == Readiness::Ready;
                // Nothing is decided here, so what the file names as all that is to be had is advice and not a failure.
                let rule = match self.assembly.policy.believed {
                    Some(_) => EvidenceRule::Weak,
                    None => EvidenceRule::Strong,
                };
                verified(&status, &gate, serving, rule, &mut checks);
                members.push(status);
            }
        }
        for member in &mut members {
            member.keys.retain(|key| key.key != sweep::RANDOM);
        }
        self.check_error_rates(&mut checks).await;
        Ok(VerifyReport { schema_version: SCHEMA_VERSION, checks: checks.0, members })
    }

    /// Reads the counters of failed requests twice, and says what share failed in between.
    async fn check_error_rates(&self, checks: &mut Checks) {
        let Some(watch) = &self.assembly.error_rates else { return };
        let before = self.read_error_rates().await;
        self.clock.sleep(watch.over.min(LONGEST_LOOK)).await;
        let after = self.read_error_rates().await;
        match (before.complete(), after.complete()) {
            (Ok(before), Ok(after)) => {
                match keyroll_adapters::evidence::RequestCounts::failed_permille(before, after) {
                    Some(share) if share <= watch.threshold_permille => {
                        checks.green("errors.rate", None, format!("{share} of 1000 requests fail"));
                    }
                    Some(share) => {
                        let found =
                            format!("{share} of 1000 requests fail, and {} are allowed", watch.threshold_permille);
                        checks.red(
                            "errors.rate",
                            None,
                            found,
                            "look at the members' logs; `keyroll rollback` goes back",
                        );
                    }
                    None => checks.unknown("errors.rate", None, "nobody was served meanwhile", "try again under load"),
                }
            }
            (Err(error), _) | (_, Err(error)) => {
                checks.unknown("errors.rate", None, error, "make every member show the counter");
            }
        }
    }
}

fn verified(status: &MemberStatus, gate: &Gate, serving: bool, rule: EvidenceRule, checks: &mut Checks) {
    let name = match &status.worker {
        Some(worker) => format!("{} (worker {worker})", status.member),
        None => status.member.clone(),
    };
    let object = Some(name.as_str());
    if status.readiness != Readiness::Ready {
        checks.unknown("member.ready", object, format!("{:?}", status.readiness), "repair it, or take it away");
        return;
    }
    let mut wrong = Vec::new();
    let mut silent = Vec::new();
    for key in &status.keys {
        let expected =
            match (gate.accepts.contains(&key.key), gate.rejects.contains(&key.key), key.key == sweep::RANDOM) {
                (true, _, _) => Answer::Yes,
                (_, true, _) | (_, _, true) => Answer::No,
                (false, false, false) => continue,
            };
        let label = if key.key == sweep::RANDOM { "a random key".to_owned() } else { key.key.to_string() };
        match (expected, key.accepts) {
            (Answer::Yes, Answer::Yes) | (Answer::No, Answer::No) => {}
            (Answer::Yes, Answer::No) => wrong.push(format!("it rejects {label}: {}", key.detail)),
            (_, Answer::Yes) => wrong.push(format!("it accepts {label}: {}", key.detail)),
            (_, Answer::Unknown | Answer::No) => silent.push(format!("what it does with {label}: {}", key.detail)),
        }
        match (gate.mints, key.mints) {
            (Some(active), Answer::No) if active == key.key => wrong.push(format!("it does not mint under {label}")),
            (Some(active), Answer::Yes) if active != key.key => wrong.push(format!("it mints under {label}")),
            _ => {}
        }
    }
    let mints = |key: KeyId| status.keys.iter().any(|shown| shown.key == key && shown.mints == Answer::Yes);
    match gate.mints {
        Some(active) if mints(active) => {}
        Some(_) => silent.push("which key it mints with".to_owned()),
        None => silent.push("which key it should mint with, because the stores differ".to_owned()),
    }
    if !wrong.is_empty() {
        checks.red("member.keys", object, wrong.join("; "), "`keyroll reload --member` it, or `keyroll explain`");
    } else if silent.is_empty() {
        checks.green(
            "member.keys",
            object,
            "it accepts what it should, rejects what it should, and mints as it should",
        );
    } else if serving && rule == EvidenceRule::Strong {
        let fix = "configure `probe`; re-issue, `probe.login` and `evidence.report` tell which key it mints with";
        checks.unknown("member.keys", object, format!("nothing shows {}", silent.join("; ")), fix);
    } else if serving {
        let found = format!("the file takes weaker evidence for enough, and nothing shows {}", silent.join("; "));
        checks.advice("member.keys", object, found, "configure `probe` or `evidence.report`");
    } else {
        let found = format!("it serves no requests, and nothing that it reports shows {}", silent.join("; "));
        checks.advice("member.keys", object, found, "configure `evidence.report`, `evidence.log` or `evidence.metric`");
    }
}

/// What the stores hold, taken together: a member may read any of them.
struct Held {
    /// Accepted by every store.
    by_all: BTreeSet<KeyId>,
    /// Accepted by any of them.
    by_some: BTreeSet<KeyId>,
    /// Active in all of them.
    active: Option<KeyId>,
}

impl Held {
    fn by(configurations: &[WorldConfiguration]) -> Option<Self> {
        let first = configurations.first()?;
        let mut held = Self { by_all: first.accept.clone(), by_some: BTreeSet::new(), active: Some(first.active) };
        for configuration in configurations {
            held.by_all.retain(|key| configuration.accept.contains(key));
            held.by_some.extend(&configuration.accept);
            held.active = held.active.filter(|active| *active == configuration.active);
        }
        Some(held)
    }
}

/// `verify` answers while a person waits.
const LONGEST_LOOK: std::time::Duration = std::time::Duration::from_secs(15);
