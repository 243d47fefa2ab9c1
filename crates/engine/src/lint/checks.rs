//! The lints themselves, by the part of the document that they look at.

use keyroll_rotation::DrainRule;
use keyroll_rotation::gate::{Declared, MemberKind};

use super::{Finding, Severity};
use crate::config::{
    Consumer, ConsumerKind, Drain, Evidence, MaxLifetime, OrchestratorLevel, Period, ReloadPlan, SessionKey, StopSignal,
};

pub(super) fn sessions(document: &SessionKey, findings: &mut Vec<Finding>) {
    let sessions = &document.sessions;
    if sessions.max_lifetime == MaxLifetime::Undeclared {
        findings.push(Finding {
            lint: "no-max-lifetime",
            severity: Severity::Error,
            place: "spec.sessions.maxLifetime".to_owned(),
            what: "nothing says how long a session can live".to_owned(),
            consequence: "nobody can tell when the old key may go, so no staged rotation can be finished".to_owned(),
            fix: "write the longest life of anything that the key seals, as in `maxLifetime: 3h`; remember-me and reset links count"
                .to_owned(),
        });
    }
    match sessions.drain {
        Drain::Undeclared => findings.push(Finding {
            lint: "no-drain-rule",
            severity: Severity::Error,
            place: "spec.sessions.drain".to_owned(),
            what: "nothing says what shows that no session needs the old key any more".to_owned(),
            consequence: "the drain never ends by itself".to_owned(),
            fix: "add `evidence.counter`; or write `drain: lifetime`, if the token or the server enforces the lifetime"
                .to_owned(),
        }),
        Drain::Chosen(DrainRule::Lifetime) => lifetime_alone(document, findings),
        // Counters look at use, so they need no lifetime that is enforced.
        Drain::Chosen(_) => {}
    }
    if let (MaxLifetime::Bounded(lifetime), Some(limit)) = (sessions.max_lifetime, sessions.drain_limit)
        && limit <= sum(&[lifetime, sessions.leeway])
    {
        findings.push(Finding {
            lint: "drain-limit-too-short",
            severity: Severity::Warning,
            place: "spec.sessions.drainLimit".to_owned(),
            what: format!(
                "the drain may take {limit}, and {} pass before it can end",
                sum(&[lifetime, sessions.leeway])
            ),
            consequence: "every rotation stops there and asks a person".to_owned(),
            fix: "write more than `maxLifetime` and `leeway` together, or leave it out".to_owned(),
        });
    }
    if sessions.leeway < SMALLEST_LEEWAY {
        findings.push(Finding {
            lint: "no-leeway",
            severity: Severity::Warning,
            place: "spec.sessions.leeway".to_owned(),
            what: format!("the leeway is {}", sessions.leeway),
            consequence:
                "a member whose clock is behind by more than that still opens sessions that have just lost their key"
                    .to_owned(),
            fix: "write at least the difference that your clocks can have, as in `leeway: 30s`".to_owned(),
        });
    }
}

/// Time alone proves nothing where use extends a session, or where the token does not carry its end.
fn lifetime_alone(document: &SessionKey, findings: &mut Vec<Finding>) {
    if let Some(idle) = document.sessions.idle {
        findings.push(Finding {
            lint: "sliding-drain",
            severity: Severity::Warning,
            place: "spec.sessions.drain".to_owned(),
            what: format!("use extends a session by {idle}, and the lifetime alone ends the drain"),
            consequence:
                "a session that is used on and on outlives the drain, unless the server ends it at `maxLifetime`"
                    .to_owned(),
            fix: "add `evidence.counter` and write `drain: counter`; or remove `idle`, if `maxLifetime` is enforced"
                .to_owned(),
        });
    }
    if document.profile.parameters.get("metadata").is_some_and(|metadata| metadata == "off") {
        findings.push(Finding {
            lint: "expiry-not-in-token",
            severity: Severity::Warning,
            place: "spec.sessions.drain".to_owned(),
            what: "the lifetime alone ends the drain, and the cookies do not carry their expiry (`metadata: off`)"
                .to_owned(),
            consequence: "a browser that keeps its cookie for longer loses its session when the old key goes"
                .to_owned(),
            fix: "add `evidence.counter` and write `drain: counter`; or switch `use_cookies_with_metadata` on"
                .to_owned(),
        });
    }
}

pub(super) fn evidence(document: &SessionKey, findings: &mut Vec<Finding>) {
    let evidence = &document.evidence;
    let serving = document.consumers.iter().any(|consumer| consumer.role == MemberKind::Serving);
    if serving && document.probe.is_none() {
        findings.push(if reports(evidence) {
            Finding {
                lint: "self-report-only",
                severity: Severity::Error,
                place: "spec.probe".to_owned(),
                what: "members report their keys, and nothing asks whether they accept a session".to_owned(),
                consequence: "a report can be right while the salt is wrong, so gates pass with `--evidence weak` only"
                    .to_owned(),
                fix: "add `probe: { path: /me, accepted: [200], rejected: [302, 401] }` with a path of your own"
                    .to_owned(),
            }
        } else if evidence.orchestrator.is_some() {
            Finding {
                lint: "weak-proof-only",
                severity: Severity::Warning,
                place: "spec.probe".to_owned(),
                what: "nothing asks a member; what started it is believed".to_owned(),
                consequence:
                    "a process that started late enough can still have cached the old key, and no gate passes \
                              unless `--evidence weak` is named in that run"
                        .to_owned(),
                fix: "add `probe: { path: /me, accepted: [200], rejected: [302, 401] }` with a path of your own"
                    .to_owned(),
            }
        } else {
            Finding {
                lint: "no-proof",
                severity: Severity::Error,
                place: "spec.probe".to_owned(),
                what: "nothing proves that a member has a key".to_owned(),
                consequence: "no gate can pass, so no rotation gets further than its first write".to_owned(),
                fix: "add `probe: { path: /me, accepted: [200], rejected: [302, 401] }` with a path of your own"
                    .to_owned(),
            }
        });
    }
    let worker = document.consumers.iter().position(|consumer| consumer.role == MemberKind::Worker);
    if let Some(index) = worker
        && !reports(evidence)
        && evidence.orchestrator.is_none()
    {
        findings.push(Finding {
            lint: "unproven-worker",
            severity: Severity::Error,
            place: format!("spec.consumers[{index}]"),
            what: "members that serve no requests can't be probed, and nothing else proves them".to_owned(),
            consequence: "no gate can pass".to_owned(),
            fix: "add `evidence.log` with the fingerprint that a worker prints when it starts, or `evidence: { orchestrator: P1 }`"
                .to_owned(),
        });
    }
    if evidence.orchestrator == Some(OrchestratorLevel::P0) {
        findings.push(Finding {
            lint: "believed-orchestrator",
            severity: Severity::Warning,
            place: "spec.evidence.orchestrator".to_owned(),
            what: "a rollout that is called complete is believed (P0) where `--evidence weak` is named in that run"
                .to_owned(),
            consequence: "a member that started before the write, or cached the old key, is not seen".to_owned(),
            fix: "write `orchestrator: P1`, or let the worker print its fingerprint and add `evidence.log`".to_owned(),
        });
    }
}

pub(super) fn consumers(document: &SessionKey, findings: &mut Vec<Finding>) {
    if document.consumers.iter().all(|consumer| consumer.emptiness == Declared::MayBeEmpty) {
        findings.push(Finding {
            lint: "all-may-be-empty",
            severity: Severity::Warning,
            place: "spec.consumers".to_owned(),
            what: "every consumer may be empty".to_owned(),
            consequence: "when all are, no gate passes, because nobody at all is never proof".to_owned(),
            fix: "write `mayBeEmpty: true` only where a consumer is scaled to zero on purpose".to_owned(),
        });
    }
    for (index, consumer) in document.consumers.iter().enumerate() {
        let place = format!("spec.consumers[{index}]");
        match &consumer.kind {
            ConsumerKind::Process(process) => {
                rolling(consumer, process.instances.count(), &place, findings);
                if process.stop.signal == StopSignal::Kill || process.stop.grace.is_zero() {
                    findings.push(Finding {
                        lint: "no-graceful-stop",
                        severity: Severity::Warning,
                        place: format!("{place}.process.stop"),
                        what: "a process is killed without having been asked to end".to_owned(),
                        consequence: "requests that it is serving are cut off in every reload".to_owned(),
                        fix: "write `stop: { signal: TERM, grace: 30s }`".to_owned(),
                    });
                }
            }
            ConsumerKind::Command(command) => {
                if command.reload.is_none() && command.reload_all.is_some() {
                    findings.push(Finding {
                        lint: "whole-fleet-reload",
                        severity: Severity::Warning,
                        place: format!("{place}.command.reload"),
                        what: "members can be reloaded all together only".to_owned(),
                        consequence:
                            "a member that does not come back stops nothing, because the others are reloading too"
                                .to_owned(),
                        fix: "add a `reload` command that takes `{member}`".to_owned(),
                    });
                }
            }
            ConsumerKind::Static(_) => {}
        }
        if consumer.reload == ReloadPlan::Hot && document.policy.settle.is_zero() {
            findings.push(Finding {
                lint: "hot-without-settle",
                severity: Severity::Warning,
                place: "spec.policy.settle".to_owned(),
                what: format!("`{}` reads the key again by itself, and `settle` is 0", consumer.name),
                consequence: "members are asked before they had a chance to read, and one that reads late may start from an old copy"
                    .to_owned(),
                fix: "write at least the longest time until a change is read, as in `settle: 60s`".to_owned(),
            });
        }
    }
}

fn rolling(consumer: &Consumer, count: usize, place: &str, findings: &mut Vec<Finding>) {
    let ReloadPlan::Roll { parallel, .. } = consumer.reload else { return };
    if consumer.role == MemberKind::Worker {
        return;
    }
    if count == 1 {
        findings.push(Finding {
            lint: "one-process",
            severity: Severity::Note,
            place: place.to_owned(),
            what: "there is one process".to_owned(),
            consequence: "no session is lost, but requests are refused while it restarts, three times in a rotation"
                .to_owned(),
            fix: "add a second port".to_owned(),
        });
    } else if usize::try_from(parallel.get()).is_ok_and(|parallel| parallel >= count) {
        findings.push(Finding {
            lint: "everybody-at-once",
            severity: Severity::Warning,
            place: format!("{place}.reload.parallel"),
            what: format!("all {count} processes restart at once"),
            consequence: "nobody serves meanwhile, and a key that none can read stops the whole service".to_owned(),
            fix: "write `parallel: 1`".to_owned(),
        });
    }
}

pub(super) fn policy(document: &SessionKey, findings: &mut Vec<Finding>) {
    let policy = &document.policy;
    if policy.escrow.is_zero() {
        findings.push(Finding {
            lint: "no-escrow",
            severity: Severity::Warning,
            place: "spec.policy.escrow".to_owned(),
            what: "the old key is destroyed as soon as the rotation is closed".to_owned(),
            consequence: "`keyroll rollback` has nothing to go back to".to_owned(),
            fix: "write how long a mistake may take to show, as in `escrow: 24h`".to_owned(),
        });
    }
    let Some(every) = policy.rotate_every else {
        if !policy.windows.is_empty() {
            findings.push(Finding {
                lint: "window-without-schedule",
                severity: Severity::Warning,
                place: "spec.policy.window".to_owned(),
                what: "there is a window for scheduled rotations, and no schedule".to_owned(),
                consequence: "nothing is ever due, so the key stays until somebody asks".to_owned(),
                fix: "add `rotateEvery: 90d`".to_owned(),
            });
        }
        return;
    };
    let drain = match document.sessions.max_lifetime {
        MaxLifetime::Bounded(lifetime) => sum(&[lifetime, document.sessions.leeway]),
        MaxLifetime::Unbounded { drain_limit, .. } => drain_limit,
        MaxLifetime::Undeclared => Period::ZERO,
    };
    // Settling is waited for after each of the three writes.
    let shortest = sum(&[drain, policy.settle, policy.settle, policy.settle]);
    if every <= shortest {
        findings.push(Finding {
            lint: "rotation-outlasts-schedule",
            severity: Severity::Warning,
            place: "spec.policy.rotateEvery".to_owned(),
            what: format!("a rotation is due every {every} and takes at least {shortest}"),
            consequence: "the next one is due before the last one is done".to_owned(),
            fix: "write a longer time, as in `rotateEvery: 90d`".to_owned(),
        });
    }
    if every < policy.minimum_gap {
        findings.push(Finding {
            lint: "gap-outlasts-schedule",
            severity: Severity::Warning,
            place: "spec.policy.minimumGap".to_owned(),
            what: format!("a rotation is due every {every}, and {} must pass in between", policy.minimum_gap),
            consequence: "keys become older than `rotateEvery` says".to_owned(),
            fix: "write a gap that is shorter than `rotateEvery`".to_owned(),
        });
    }
}

/// Whether a member can report its keys by itself (P2).
fn reports(evidence: &Evidence) -> bool {
    evidence.report.is_some() || evidence.log.is_some() || evidence.metric.is_some()
}

fn sum(periods: &[Period]) -> Period {
    Period::milliseconds(periods.iter().map(|period| period.millis().0).sum())
}

const SMALLEST_LEEWAY: Period = Period::seconds(5);
