//! A plan: what a rotation will write, reload and ask, in order, and the world that it was made for.
//!
//! The steps are the machine's own, put into words; nothing here knows the protocol. The hash covers the observed world without the names of members, so that a scale-up does not make a plan stale.

use keyroll_adapters::fleets::ReloadStyle;
use keyroll_keyring::KeyId;
use keyroll_rotation::plan::{Plan, Planned, PlannedLeaving, WaitsFor};
use keyroll_rotation::{DrainRule, Millis, Mode, Stage};

use crate::answers::affected::ending;
use crate::answers::sighting::Sighting;
use crate::clock::{calendar, millis};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::meaning::{clients_notice, gate_demand};
use crate::members::sweep;
use crate::report::{PlanDocument, PlannedStep, SCHEMA_VERSION};
use crate::world::{self, FieldsSay, StoreView};

impl Engine {
    /// What a rotation would do now.
    pub async fn plan(&self, mode: Mode) -> Result<PlanDocument, EngineError> {
        let views = self.read_stores().await?;
        let sighting = self.sight_keys(&views)?;
        let configuration = match sighting.stores.first() {
            Some(FieldsSay::Configuration(configuration)) => configuration.clone(),
            Some(FieldsSay::Foreign(found)) if sighting.stamp.unfinished().is_none() => {
                return Err(EngineError::RefusedBecause {
                    reason: format!("{}: {found}; mend it by hand, nothing is guessed", views[0].location),
                });
            }
            Some(FieldsSay::Foreign(found)) => {
                return Err(EngineError::Foreign { location: views[0].location.clone(), found: found.clone() });
            }
            None => return Err(EngineError::RefusedBecause { reason: "the configuration names no store".into() }),
        };
        let listed = sweep::list(&self.assembly.consumers).await?;
        let made_at = millis(self.store(0)?.now().await?);
        let stores: Vec<_> = sighting.stores.iter().filter_map(|said| said.configuration().cloned()).collect();
        let outgoing = configuration.active;
        let compromised = sighting.stamp.ledger.ended();
        let opening = self.opening(&sighting.stamp, mode, outgoing, stores, &compromised, made_at);
        let plan = Plan::of(&opening).map_err(EngineError::Refused)?;
        let mut steps = self.in_words(&plan, listed.len());
        let mut at_least = plan.at_least;
        let ending = ending(&opening.stores, Some(opening.incoming));
        let names: Vec<_> = ending.iter().map(ToString::to_string).collect();
        let sessions = match mode {
            Mode::Staged | Mode::Standby => Vec::new(),
            _ => self.sessions_under(&sighting.stamp, &ending, &listed).await,
        };
        if let Some((opens, _)) = self.window_closed().filter(|(opens, _)| *opens < jiff::Timestamp::MAX) {
            let left = opens.as_millisecond().saturating_sub(calendar(made_at).as_millisecond());
            let left = u64::try_from(left).unwrap_or(0);
            at_least = Millis(at_least.0.saturating_add(left));
            steps.insert(
                0,
                PlannedStep {
                    stage: crate::words::stage(Stage::Planned).to_owned(),
                    kind: "wait".to_owned(),
                    what: format!("until the policy's window opens at {opens}"),
                    at_least_ms: left,
                },
            );
        }
        let world = self.world_lines(&views, &sighting);
        Ok(PlanDocument {
            schema_version: SCHEMA_VERSION,
            name: self.assembly.name.clone(),
            mode,
            made_at: calendar(made_at),
            at_least_ms: at_least.0,
            earliest_end: calendar(made_at.after(at_least)),
            steps,
            clients_notice: self.with_number(clients_notice(plan.clients, &names.join(" and ")), mode).await,
            sessions,
            world_hash: hash(&world),
            world,
        })
    }

    /// Refuses a plan that was made for another world, and shows the difference.
    pub(crate) async fn still_holds(&self, plan: &PlanDocument) -> Result<(), EngineError> {
        let now = self.plan(plan.mode).await?;
        if now.world_hash == plan.world_hash && plan.name == now.name {
            return Ok(());
        }
        let gone = plan.world.iter().filter(|line| !now.world.contains(line)).map(|line| format!("- {line}"));
        let come = now.world.iter().filter(|line| !plan.world.contains(line)).map(|line| format!("+ {line}"));
        let mut difference: Vec<_> = gone.chain(come).collect();
        if plan.name != now.name {
            difference.insert(0, format!("it was made for `{}`, not for `{}`", plan.name, now.name));
        }
        if difference.is_empty() {
            difference.push("the document itself was edited".into());
        }
        Err(EngineError::StalePlan { difference: difference.join("\n") })
    }

    pub(crate) fn world_hash(&self, views: &[StoreView]) -> Result<String, EngineError> {
        Ok(hash(&self.world_lines(views, &self.sight_keys(views)?)))
    }

    /// The world in lines that people can compare: keys by fingerprint, the settings, the kinds of consumers. No member is
    /// named, and nothing counts them.
    fn world_lines(&self, views: &[StoreView], sighting: &Sighting) -> Vec<String> {
        let mut lines = vec![format!("configuration {}", self.assembly.config)];
        let key = |id: &KeyId| match sighting.stamp.ledger.get(*id).and_then(|known| known.fingerprint.as_ref()) {
            Some(fingerprint) => format!("{id} {fingerprint}"),
            None => format!("{id} without a fingerprint"),
        };
        for (view, said) in views.iter().zip(&sighting.stores) {
            match said {
                FieldsSay::Configuration(configuration) => {
                    lines.push(format!("{}: active {}", view.location, key(&configuration.active)));
                    for id in configuration.accept.iter().filter(|id| **id != configuration.active) {
                        lines.push(format!("{}: accepted {}", view.location, key(id)));
                    }
                }
                FieldsSay::Foreign(words) => lines.push(format!("{}: {words}", view.location)),
            }
        }
        for consumer in &self.assembly.consumers {
            let description = consumer.fleet.describe();
            let reload = match description.reload {
                ReloadStyle::PerMember => "reloaded one by one",
                ReloadStyle::Whole => "reloaded as a whole",
                ReloadStyle::HotReload => "reads the key again by itself",
            };
            lines.push(format!("consumer {} ({}, {reload})", consumer.name, description.kind));
        }
        if let Some(standby) = sighting.stamp.standby {
            lines.push(format!("standby {}", key(&standby)));
        }
        lines
    }

    /// The machine's own plan in words: with the names of stores, and with what is known of the fleet.
    fn in_words(&self, plan: &Plan, members: usize) -> Vec<PlannedStep> {
        let about = About { mode: plan.mode, old: plan.outgoing, new: plan.incoming, members };
        plan.steps.iter().map(|step| self.step_in_words(&about, &step.what, step.stage)).collect()
    }

    pub(crate) fn step_in_words(&self, about: &About, planned: &Planned, stage: Stage) -> PlannedStep {
        let About { mode, old, new, members } = *about;
        let (kind, what, at_least) = match planned {
            Planned::StageCandidate { key } => {
                ("write", format!("{key} is generated and stored where applications do not look"), Millis(0))
            }
            Planned::Write { store, after, .. } => {
                let location = self.locations().get(usize::from(store.0)).cloned().unwrap_or_default();
                ("write", format!("{location}: {}", world::configuration_words(after)), Millis(0))
            }
            Planned::Reload if mode == Mode::HardCutover => {
                ("reload", format!("{members} members, all at once"), Millis(0))
            }
            Planned::Reload => ("reload", format!("{members} members, each proven before the next"), Millis(0)),
            Planned::Gate { gate } => {
                ("gate", format!("{}: {}", crate::words::gate(gate.name), gate_demand(gate)), Millis(0))
            }
            Planned::Wait { what: WaitsFor::Drain, at_least } => {
                ("wait", format!("until sessions under {old} have run out"), *at_least)
            }
            Planned::Wait { what: WaitsFor::Escrow, at_least } => {
                ("wait", format!("{old} is kept in escrow; `keyroll rollback` goes back to it"), *at_least)
            }
            Planned::Wait { at_least, .. } => {
                ("wait", "until no member can start from an older version any more".to_owned(), *at_least)
            }
            Planned::StampT0 => ("stamp", format!("T0: from here on every member mints under {new}"), Millis(0)),
            Planned::ObserveDrain { key, rule } => {
                let what = match rule {
                    DrainRule::Counter => format!("no session is opened under {key} any more"),
                    _ => format!("the declared lifetime alone says that no session under {key} is left"),
                };
                ("gate", what, Millis(0))
            }
            Planned::Close { leaving: PlannedLeaving::Escrow { key, .. } } => {
                ("write", format!("{key} is moved to escrow"), Millis(0))
            }
            Planned::Close { leaving: PlannedLeaving::Destroy { keys } } => {
                let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
                ("write", format!("{} is destroyed", keys.join(" and ")), Millis(0))
            }
            Planned::Discard { key } => {
                ("write", format!("{key} is discarded; nothing was ever sealed with it"), Millis(0))
            }
            Planned::Destroy { key } => ("write", format!("{key} is destroyed"), Millis(0)),
            _ => ("stamp", "the record is closed".to_owned(), Millis(0)),
        };
        PlannedStep {
            stage: crate::words::stage(stage).to_owned(),
            kind: kind.to_owned(),
            what,
            at_least_ms: at_least.0,
        }
    }
}

/// Which rotation the steps are of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) mode: Mode,
    pub(crate) old: KeyId,
    pub(crate) new: KeyId,
    /// How many members are listed now.
    pub(crate) members: usize,
}

fn hash(lines: &[String]) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for line in lines {
        // The length keeps two lines from being read as one.
        context.update(&(line.len() as u64).to_be_bytes());
        context.update(line.as_bytes());
    }
    hex::encode(context.finish())
}
