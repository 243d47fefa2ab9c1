//! Preflight: everything that can be found out before anything is written.
//!
//! The probe is calibrated here, on every member: a session under each key in use must be accepted and one under a random key
//! rejected. A probe that accepts everything, or nothing, proves nothing, and then this fails and says so.

use std::collections::BTreeSet;

use keyroll_adapters::Timestamp;
use keyroll_adapters::stores::{SwapStrength, WriteOutlook};
use keyroll_keyring::profile::{Contention, Slots};
use keyroll_rotation::gate::{Declared, EvidenceLevel, EvidenceRule, Gate, GateName};
use keyroll_rotation::{DrainRule, Mode, WorldConfiguration};

use crate::answers::calibration::{Calibration, Later, Mintable, SessionFormat};
use crate::answers::checks::Checks;
use crate::answers::sighting::Sighting;
use crate::assembly::Stickiness;
use crate::clock::millis;
use crate::config::Period;
use crate::engine::Engine;
use crate::error::error_chain;
use crate::lint;
use crate::members::roster::Roster;
use crate::members::sweep;
use crate::members::sweep::inquiry;
use crate::report::{PreflightReport, SCHEMA_VERSION};
use crate::request::Lock;
use crate::world::stamp::{RETURNED_FIX, StampBody};
use crate::world::{self, FieldsSay, StoreView};

impl Engine {
    /// Checks everything that can be checked before anything is written; calibrates the probe on every member.
    pub async fn preflight(&self) -> PreflightReport {
        self.preflight_checks(Mode::Staged, Lock::Asked, self.assembly.policy.settings.evidence).await
    }

    pub(crate) async fn preflight_checks(&self, mode: Mode, lock: Lock, rule: EvidenceRule) -> PreflightReport {
        let mut checks = Checks::default();
        let views = self.check_stores(&mut checks).await;
        let sighted = match views {
            Some(views) => self.settle(views).await.map(|(views, stamp)| Some((self.sight(stamp, &views), views))),
            None => Ok(None),
        };
        if let Err(error) = &sighted {
            let fix = "`keyroll audit verify` shows what is wrong with the record; put it back from a backup";
            checks.red("state.read", None, error_chain(error), fix);
        }
        if let Ok(Some((sighting, views))) = sighted {
            if lock == Lock::Asked {
                self.check_lock(&sighting.stamp, &mut checks);
            }
            self.check_record(&sighting.stamp, &views, &mut checks);
            let configuration = self.check_keys(&views, &sighting, mode, &mut checks);
            self.check_lifetimes(mode, &mut checks);
            self.check_project(mode, &mut checks);
            self.check_members(&sighting, configuration.as_ref(), rule, &mut checks).await;
            self.check_restarts_show(mode, &mut checks).await;
            // The clock is the first store's, so where that can't be read, that is all there is to say.
            self.check_clock(&mut checks).await;
        }
        PreflightReport { schema_version: SCHEMA_VERSION, checks: checks.0 }
    }

    async fn check_stores(&self, checks: &mut Checks) -> Option<Vec<StoreView>> {
        let mut views = Vec::new();
        let mut all = true;
        for (place, store) in self.assembly.stores.iter().enumerate() {
            let description = store.describe();
            let object = Some(description.location.as_str());
            match self.read_store(place).await {
                Ok(view) => {
                    checks.green("store.read", object, "read");
                    views.push(view);
                }
                Err(error) => {
                    checks.red(
                        "store.read",
                        object,
                        error_chain(&error),
                        "make it readable, or mend `store` in the file",
                    );
                    all = false;
                    continue;
                }
            }
            match store.may_write().await {
                Ok(WriteOutlook::Allowed) => {
                    checks.green("store.write", object, "nothing that shows stands in the way of a write")
                }
                // Only a write would tell.
                Ok(WriteOutlook::NotKnown) => {}
                Err(error) => {
                    let fix = "let this user make files in its folder; a file system that is mounted read-only can't be rotated on";
                    checks.red("store.write", object, error_chain(&error), fix);
                }
            }
            match &description.swap {
                SwapStrength::Atomic => {
                    checks.green("store.swap", object, "no other writer can slip between read and write");
                }
                SwapStrength::Advisory { gap } => {
                    checks.advice("store.swap", object, gap.clone(), "let nobody else write it during a rotation");
                }
            }
        }
        if self.assembly.stores.is_empty() {
            checks.red("store.read", None, "the configuration names no store", "add `store`");
            all = false;
        }
        all.then_some(views)
    }

    fn check_lock(&self, stamp: &StampBody, checks: &mut Checks) {
        match &stamp.lock {
            Some(holder) if self.may_drive(holder) => {
                checks.red(
                    "lock",
                    None,
                    holder.to_string(),
                    "wait for it, or ask its holder; `keyroll unlock --id` if it is dead",
                );
            }
            Some(holder) => checks.advice("lock", None, format!("its holder is dead: {holder}"), "it is taken over"),
            None => checks.green("lock", None, "nobody holds it"),
        }
    }

    fn check_keys(
        &self,
        views: &[StoreView],
        sighting: &Sighting,
        mode: Mode,
        checks: &mut Checks,
    ) -> Option<WorldConfiguration> {
        let profile = &self.assembly.profile;
        let mut first: Option<WorldConfiguration> = None;
        let mut good = true;
        for (view, said) in views.iter().zip(&sighting.stores) {
            let object = Some(view.location.as_str());
            match said {
                FieldsSay::Foreign(words) => {
                    let fix = "mend the fields by hand; nothing is guessed";
                    checks.red("keys.read", object, words.clone(), fix);
                    good = false;
                }
                FieldsSay::Configuration(configuration) => {
                    checks.green("keys.read", object, world::configuration_words(configuration));
                    match (sighting.stamp.ledger.returned(configuration), mode) {
                        (None, _) => {}
                        // A key that is compromised is what they are for.
                        (Some(found), Mode::HardCutover | Mode::Accelerated) => {
                            checks.advice("keys.ended", object, found, "this ends it");
                        }
                        (Some(found), _) => checks.red("keys.ended", object, found, RETURNED_FIX),
                    }
                    match &first {
                        None => first = Some(configuration.clone()),
                        Some(other) if other == configuration => {}
                        Some(_) => {
                            let fix = "make the stores equal; members of one would reject sessions of another";
                            checks.red("keys.equal", object, "it holds other keys than the first store", fix);
                            good = false;
                        }
                    }
                }
            }
            for finding in profile.lint_fields(&view.document.fields) {
                checks.advice(
                    "keys.quality",
                    object,
                    format!("{}: {}", finding.what, finding.consequence),
                    &finding.fix,
                );
            }
        }
        let configuration = first.filter(|_| good)?;
        let others = configuration.accept.len() - 1;
        let fresh = usize::from(sighting.stamp.standby.is_none());
        match (mode, profile.accept_slots()) {
            (Mode::Cutover | Mode::HardCutover, _) => {}
            (_, Slots::OneKeyOnly) => checks.red(
                "profile.slots",
                None,
                "this framework knows one key only, so no order of writes keeps the sessions",
                "use the sidecar or the middleware, or `keyroll rotate --mode cutover`, which ends the sessions",
            ),
            (_, slots) if !slots.hold(others + fresh) => checks.red(
                "profile.slots",
                None,
                format!("{others} keys are accepted beside the active one, and there is no place for one more"),
                "remove an accepted key that is not needed any more, or use a list of keys",
            ),
            (_, _) => checks.green("profile.slots", None, "there is a place for the new key beside the old one"),
        }
        match (mode, profile.contention(), self.assembly.policy.stickiness) {
            (Mode::Staged, Contention::BetweenActiveKeys, Stickiness::NotDeclared) => checks.red(
                "profile.stickiness",
                None,
                "members with different active keys fight over one session of this framework: each gives it a new id, and \
                 requests that are under way under the old one lose it",
                STICKY_FIX,
            ),
            (Mode::Staged, Contention::BetweenActiveKeys, Stickiness::Declared) => checks.advice(
                "profile.stickiness",
                None,
                "members with different active keys fight over one session; that users stay on one member is declared",
                "see that the load balancer keeps them there until the roll is over",
            ),
            (_, _, _) => {}
        }
        Some(configuration)
    }

    fn check_lifetimes(&self, mode: Mode, checks: &mut Checks) {
        if mode != Mode::Staged {
            return;
        }
        let settings = &self.assembly.policy.settings;
        match (settings.max_lifetime, settings.drain_limit, settings.least_reissued_permille) {
            (Some(lifetime), _, _) => {
                checks.green(
                    "sessions.lifetime",
                    None,
                    format!("sessions live for {} at most", Period::milliseconds(lifetime.0)),
                );
            }
            (None, Some(_), Some(_)) => checks.advice(
                "sessions.lifetime",
                None,
                "sessions live for ever, so some will be lost when the drain limit has passed",
                "declare `sessions.maxLifetime` if there is one",
            ),
            (None, _, _) => checks.red(
                "sessions.lifetime",
                None,
                "nothing says how long a session lives",
                "declare `sessions.maxLifetime`, or `unbounded` with `drainLimit` and `leastReissued`",
            ),
        }
        if settings.max_lifetime.is_none() && settings.drain == DrainRule::Lifetime {
            checks.red(
                "drain.evidence",
                None,
                "sessions live for ever, and the lifetime alone is to end the drain: it never would",
                "say `drain: counter`, and configure `evidence.counter`",
            );
            return;
        }
        match (settings.drain, &self.assembly.drain) {
            (DrainRule::Counter, None) => checks.red(
                "drain.evidence",
                None,
                "the drain is to end by counters, and no counter is configured",
                "configure `evidence.counter`, or say `drain: lifetime`",
            ),
            (DrainRule::Counter, Some(_)) => checks.green("drain.evidence", None, "counters"),
            (DrainRule::Lifetime, _) => checks.advice(
                "drain.evidence",
                None,
                "the declared lifetime alone ends the drain",
                "only where the application or its server enforces it",
            ),
            _ => {
                checks.unknown("drain.evidence", None, "a rule that this release does not know", "use a newer keyroll")
            }
        }
    }

    /// What can be seen of the application before anything is written. That its members read the slot of accepted keys can't be:
    /// something has to stand there first. G1 shows it, before anything is promoted.
    fn check_project(&self, mode: Mode, checks: &mut Checks) {
        let Some(document) = &self.document else { return };
        let profile = &self.assembly.profile;
        let Some(folder) = &document.project else {
            checks.advice(
                "project.sources",
                None,
                "no project folder is named, so nobody looked whether the application reads a second key; gate G1 shows it, \
                 before anything is promoted and with no session lost",
                "name it, as in `project: .`, and what `keyroll lint` finds there is found here",
            );
            return;
        };
        let object = Some(folder.written());
        match lint::project(profile, folder.resolved()) {
            Err(error) => {
                let fix = "name the project's folder as `project` in the file, or leave that out";
                checks.unknown("project.sources", object, error_chain(&error), fix);
            }
            Ok(looked) if looked.findings.is_empty() => {
                let found =
                    format!("no well-known mistake in the source files that configure sessions ({})", looked.files);
                checks.green("project.sources", object, found);
            }
            Ok(looked) => {
                for finding in looked.findings {
                    let place = match finding.line {
                        Some(line) => format!("{}:{line}", finding.path),
                        None => finding.path,
                    };
                    let found = format!("{place}: {}: {}", finding.what, finding.consequence);
                    match mode {
                        // A cutover needs no second key, and an emergency does not wait for a mended project.
                        Mode::Cutover | Mode::HardCutover | Mode::Accelerated => {
                            checks.advice("project.sources", object, found, &finding.fix);
                        }
                        _ => checks.red("project.sources", object, found, &finding.fix),
                    }
                }
            }
        }
    }

    async fn check_members(
        &self,
        sighting: &Sighting,
        configuration: Option<&WorldConfiguration>,
        rule: EvidenceRule,
        checks: &mut Checks,
    ) {
        for caution in self.assembly.consumers.iter().flat_map(|consumer| consumer.fleet.describe().cautions) {
            checks.advice("fleet.caution", None, caution, "know it before the roll");
        }
        let mut members = 0;
        let mut unlisted = 0;
        for (place, consumer) in (0_u16..).zip(&self.assembly.consumers) {
            let object = Some(consumer.name.as_str());
            match sweep::list_one(place, consumer).await {
                Err(error) => {
                    unlisted += 1;
                    checks.unknown("members.list", object, error_chain(&error), "mend what lists the members");
                }
                Ok(listed) => {
                    members += listed.len();
                    match (listed.len(), consumer.declared) {
                        (0, Declared::Populated) => {
                            checks.red(
                                "members.list",
                                object,
                                "it has no members",
                                "start it, or declare `mayBeEmpty: true`",
                            );
                        }
                        (count, _) => checks.green("members.list", object, format!("{count} members")),
                    }
                }
            }
        }
        if members == 0 && unlisted > 0 {
            // Nobody knows whether there are members, and that was said.
            return;
        }
        if members == 0 {
            checks.red(
                "members.any",
                None,
                "there are no members at all, and zero members prove nothing",
                "start the fleet",
            );
            return;
        }
        if let Some(configuration) = configuration {
            self.calibrate(sighting, configuration, rule, checks).await;
        }
    }

    /// Asks every member about the keys that are in use and about one that nobody ever used.
    async fn calibrate(
        &self,
        sighting: &Sighting,
        configuration: &WorldConfiguration,
        rule: EvidenceRule,
        checks: &mut Checks,
    ) {
        let (random, decoy) =
            match (self.assembly.profile.candidate(sweep::RANDOM), self.assembly.profile.candidate(sweep::DECOY)) {
                (Ok(random), Ok(decoy)) => (random, decoy),
                (Err(error), _) | (_, Err(error)) => {
                    checks.unknown("probe.calibration", None, error_chain(&error), "mend the profile");
                    return;
                }
            };
        let gate = Gate {
            name: GateName::G1,
            accepts: configuration.accept.clone(),
            rejects: BTreeSet::new(),
            mints: Some(configuration.active),
        };
        let mut inquiry = inquiry(self, &sighting.materials, &decoy, &gate, None, None);
        inquiry.keys.push((&random, None));
        let listed = match sweep::list(&self.assembly.consumers).await {
            Ok(listed) => listed,
            Err(error) => {
                checks.unknown("probe.calibration", None, error_chain(&error), "mend what lists the members");
                return;
            }
        };
        let mut roster = Roster::default();
        let now = Timestamp(millis(self.clock.now()).0);
        let mintable = match self.assembly.profile.codec() {
            Some((format, _)) => Mintable::Here(self.session_format(format)),
            None => Mintable::ByTheApplication,
        };
        for showing in sweep::ask(listed, &mut roster, &inquiry, self.clock.as_ref(), now).await {
            let later = match (showing.listed.member.started_at, self.assembly.policy.believed) {
                (Some(_), _) => Later::ByStart,
                (None, Some(EvidenceLevel::P0)) => Later::ByRollout,
                (None, _) => Later::Never,
            };
            if let Some(residual) = showing.residual {
                let found = format!(
                    "its workers do not name themselves; with the probability {residual:.4} a stale one is never met"
                );
                let fix = "name each worker in a header: `probe.workerHeader`";
                checks.advice("probe.workers", Some(&showing.listed.member.id.0), found, fix);
            }
            for (observation, status) in showing.observations.iter().zip(&showing.status) {
                let name = match &status.worker {
                    Some(worker) => format!("{} (worker {worker})", status.member),
                    None => status.member.clone(),
                };
                let calibration = Calibration {
                    name: &name,
                    observation,
                    status,
                    later,
                    configuration,
                    random: &random,
                    rule,
                    mintable: &mintable,
                };
                calibration.judge(checks);
            }
        }
    }

    /// What the file says of the sessions that are minted for a probe, with the field of each.
    fn session_format(&self, codec: &str) -> SessionFormat {
        let said = |name: &str| {
            self.document
                .as_ref()
                .and_then(|document| document.profile.parameters.get(name))
                .map(|value| format!("`{value}`"))
        };
        let named =
            |name: &str| format!("`profile.{name}` (now {})", said(name).unwrap_or_else(|| "the default".to_owned()));
        let key_derivation = match codec {
            "rails" => vec![named("digest"), named("salt")],
            _ => Vec::new(),
        };
        SessionFormat { cookie: named("cookie"), key_derivation }
    }

    async fn check_clock(&self, checks: &mut Checks) {
        let limit = u64::try_from(self.assembly.policy.max_clock_skew.as_millis()).unwrap_or(u64::MAX);
        match self.skew(limit).await {
            Ok(skew) if skew.most <= limit => {
                checks.green("clock.skew", None, format!("{} ms between the store and this machine", skew.most));
            }
            Ok(skew) if skew.least > limit => {
                let fix = "set the clocks; `leeway` has to cover what remains";
                checks.red("clock.skew", None, format!("{} ms between the store and this machine", skew.least), fix);
            }
            Ok(skew) => {
                let found = format!(
                    "the store needed so long to tell its time that {} ms may lie between it and this machine",
                    skew.most
                );
                checks.unknown("clock.skew", None, found, "run it again; `leeway` has to cover it");
            }
            Err(error) => checks.unknown("clock.skew", None, error_chain(&error), "make the store answer"),
        }
        if let Some((until, reason)) = self.window_closed() {
            let found = format!("{reason}; the window opens at {until}");
            let fix = "`keyroll rotate` waits for it unless `--outside-window` is named; `keyroll revoke` never waits";
            checks.advice("policy.window", None, found, fix);
        }
    }
}

const STICKY_FIX: &str = "keep each user on one member during the roll and declare `sessions.sticky: true`; or name a profile that does not \
     fight, such as `django/signed-cookies`; or `keyroll rotate --mode cutover`, which ends the sessions";
