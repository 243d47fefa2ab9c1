//! A plan: what a rotation will write, reload and ask, in order, and the world that it was made for.
//!
//! The hash covers the observed world without the names of members, so that a scale-up does not make a plan stale.

use keyroll_keyring::KeyId;
use keyroll_rotation::{DrainRule, Millis, Mode, ReloadNeed, Stage, WorldConfiguration};
use serde::{Deserialize, Serialize};

use crate::clock::{calendar, millis};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::preflight::Sighting;
use crate::report::SCHEMA_VERSION;
use crate::stamp::StampBody;
use crate::world::{FieldsSay, StoreView};

/// A plan, as `plan -o` writes it and `rotate PLAN` reads it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct PlanDocument {
    /// The version of the document.
    pub schema_version: u32,
    /// The key's name.
    pub name: String,
    /// How.
    pub mode: Mode,
    /// When it was made.
    pub made_at: jiff::Timestamp,
    /// Writes, reloads and gates, in order.
    pub steps: Vec<PlannedStep>,
    /// The earliest end, if it were started when the plan was made.
    pub earliest_end: jiff::Timestamp,
    /// What clients will notice.
    pub clients_notice: String,
    /// The world for which it was made, in lines that can be compared.
    pub world: Vec<String>,
    /// SHA-256 of the world.
    pub world_hash: String,
}

/// One step of a plan.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct PlannedStep {
    /// The stage, as `words::stage` writes it.
    pub stage: String,
    /// `write`, `reload`, `gate`, `wait` or `stamp`.
    pub kind: String,
    /// In words.
    pub what: String,
    /// How long it takes at least, in milliseconds.
    pub at_least_ms: u64,
}

impl Engine {
    /// What a rotation would do now.
    pub async fn plan(&self, mode: Mode) -> Result<PlanDocument, EngineError> {
        let views = self.read_stores().await?;
        let sighting = self.sight_keys(&views);
        let configuration = match sighting.stores.first() {
            Some(FieldsSay::Configuration(configuration)) => configuration.clone(),
            Some(FieldsSay::Foreign(found)) => {
                return Err(EngineError::Foreign { location: views[0].location.clone(), found: found.clone() });
            }
            None => return Err(EngineError::RefusedBecause { reason: "the configuration names no store".into() }),
        };
        let mut members = 0;
        for consumer in &self.assembly.consumers {
            members += consumer.fleet.members().await?.len();
        }
        let made_at = millis(self.store(0)?.now().await?);
        let steps = self.planned_steps(mode, &configuration, &sighting.stamp, members);
        let total: u64 = steps.iter().map(|step| step.at_least_ms).sum();
        let world = self.world_lines(&views, &sighting);
        Ok(PlanDocument {
            schema_version: SCHEMA_VERSION,
            name: self.assembly.name.clone(),
            mode,
            made_at: calendar(made_at),
            earliest_end: calendar(made_at.after(Millis(total))),
            steps,
            clients_notice: self.clients_notice(mode).await,
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
        Err(EngineError::StalePlan { difference: difference.join("; ") })
    }

    pub(crate) fn world_hash(&self, views: &[StoreView]) -> String {
        hash(&self.world_lines(views, &self.sight_keys(views)))
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
            lines.push(format!("consumer {} ({}, {:?})", consumer.name, description.kind, description.reload));
        }
        if let Some(standby) = sighting.stamp.standby {
            lines.push(format!("standby {}", key(&standby)));
        }
        lines
    }

    fn planned_steps(
        &self,
        mode: Mode,
        configuration: &WorldConfiguration,
        stamp: &StampBody,
        members: usize,
    ) -> Vec<PlannedStep> {
        let settings = &self.assembly.policy.settings;
        let stores = self.assembly.stores.len();
        let old = configuration.active;
        let fresh = stamp.standby.is_none() || mode == Mode::Standby;
        let new = if fresh { stamp.ledger.next() } else { stamp.standby.unwrap_or_else(|| stamp.ledger.next()) };
        let mut steps = Vec::new();
        let mut step = |stage: Stage, kind: &str, what: String, at_least: u64| {
            steps.push(PlannedStep {
                stage: crate::words::stage(stage).to_owned(),
                kind: kind.to_owned(),
                what,
                at_least_ms: at_least,
            });
        };
        let change = |stage: Stage, what: String, gate: &str, step: &mut dyn FnMut(Stage, &str, String, u64)| {
            step(stage, "write", format!("{what}, in {stores} store(s)"), 0);
            if settings.reload == ReloadNeed::Needed {
                step(stage, "reload", format!("{members} members, each proven before the next"), 0);
            }
            step(stage, "gate", gate.to_owned(), settings.settle.0);
        };
        if fresh {
            step(Stage::Staged, "write", format!("{new} is generated and stored, hidden from applications"), 0);
        }
        let both = format!("every member accepts {old} and {new}");
        let only = format!("every member rejects {old} and accepts {new}");
        match mode {
            Mode::Staged | Mode::Accelerated | Mode::Standby => {
                if fresh {
                    change(
                        Stage::Accepting,
                        format!("{old} active, {new} accepted"),
                        &format!("G1: {both}"),
                        &mut step,
                    );
                } else {
                    step(Stage::Accepting, "gate", format!("G1: {both}"), 0);
                }
            }
            _ => {}
        }
        match mode {
            Mode::Staged => {
                change(
                    Stage::Promoting,
                    format!("{new} active, {old} accepted"),
                    &format!("G2: {both} and mints under {new}"),
                    &mut step,
                );
                step(Stage::Draining, "stamp", "T0 is stamped".into(), 0);
                let lifetime = settings.max_lifetime.or(settings.drain_limit).unwrap_or_default();
                let evidence = match settings.drain {
                    DrainRule::Counter => "then no session is opened under it any more",
                    DrainRule::Rows => "then no row is left under it",
                    _ => "the declared lifetime alone counts",
                };
                step(
                    Stage::Draining,
                    "wait",
                    format!("sessions under {old} run out; {evidence}"),
                    lifetime.after(settings.leeway).0,
                );
                change(Stage::Retiring, format!("{new} active, {old} not accepted"), &format!("G3: {only}"), &mut step);
            }
            Mode::Cutover | Mode::Accelerated | Mode::HardCutover => {
                change(Stage::CuttingOver, format!("{new} active and alone"), &format!("G3: {only}"), &mut step);
            }
            _ => {}
        }
        if mode != Mode::Standby {
            let until = settings.escrow.0 / 1000;
            step(Stage::Closing, "write", format!("{old} is moved to escrow for {until} s, then destroyed"), 0);
        }
        steps
    }
}

/// What clients will notice.
pub(crate) fn clients_notice(mode: Mode) -> &'static str {
    match mode {
        Mode::Staged => "nothing: no session ends, and nobody logs in again",
        Mode::Standby => "nothing",
        Mode::Cutover => "every session under the old key ends; people log in again",
        Mode::Accelerated => {
            "every session under the old key ends at the second step; a login made during that roll may have to be repeated"
        }
        Mode::HardCutover => "every session ends; during the roll, logins may have to be repeated",
        _ => "unknown",
    }
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
