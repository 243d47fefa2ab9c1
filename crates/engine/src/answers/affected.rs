//! Whom it concerns when keys end: how many members, and what is known of the sessions.
//!
//! Keyroll counts no sessions itself, and a counter of sessions *opened* counts visits. So the number of sessions is what the
//! operator's own count says; a counter of visits is said as that, and the bound that the lifetime gives always.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};
use keyroll_keyring::KeyId;
use keyroll_rotation::plan::ClientImpact;
use keyroll_rotation::{Mode, WorldConfiguration};
use serde::Serialize;

use crate::clock::calendar;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::meaning::{clients_notice, named_by, old_and_new};
use crate::members::drain::opened_by;
use crate::members::sweep::{self, Listed};
use crate::report::{KeySessions, SCHEMA_VERSION};
use crate::request::{Compromised, RevokeRequest, StoreLeak};
use crate::world::stamp::StampBody;

/// Whom the end of keys concerns, as far as that can be known beforehand.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Affected {
    /// [`SCHEMA_VERSION`].
    #[serde(rename = "schema_version")]
    pub schema_version: u32,
    /// The key's name in `keyroll.yaml`.
    pub name: String,
    /// How many members have to reject the keys.
    pub members: usize,
    /// What is known of the sessions, by key.
    pub sessions: Vec<KeySessions>,
    /// What clients will notice.
    pub clients_notice: String,
}

impl Engine {
    /// Whom a revocation would concern. Nothing is written.
    pub async fn affected(&self, request: &RevokeRequest) -> Result<Affected, EngineError> {
        let views = self.read_stores().await?;
        let sighting = self.sight_keys(&views)?;
        let stores: Vec<_> = sighting.stores.iter().filter_map(|said| said.configuration().cloned()).collect();
        let listed = sweep::list(&self.assembly.consumers).await?;
        let keys = ending(&stores, staying(&sighting.stamp, request));
        let sessions = self.sessions_under(&sighting.stamp, &keys, &listed).await;
        let impact = match request.mode {
            Mode::Accelerated => ClientImpact::OldEnd,
            _ => ClientImpact::AllEnd,
        };
        let clients_notice = match keys.is_empty() {
            true => nothing_ends(&sighting.stamp, request),
            false => self.with_number(clients_notice(impact, &named(&keys)), request.mode).await,
        };
        Ok(Affected {
            schema_version: SCHEMA_VERSION,
            name: self.assembly.name.clone(),
            members: listed.len(),
            sessions,
            clients_notice,
        })
    }

    /// What the counters tell of the sessions under each of `keys`, and what the lifetime bounds.
    pub(crate) async fn sessions_under(
        &self,
        stamp: &StampBody,
        keys: &BTreeSet<KeyId>,
        listed: &[Listed],
    ) -> Vec<KeySessions> {
        let counts: Vec<_> = match &self.assembly.drain {
            // An emergency waits for the slowest member, not for all of them in turn.
            Some(witness) => {
                stream::iter(listed.to_vec())
                    .map(|one| async move {
                        let counts = witness.read(&one.member).await.ok().flatten();
                        (one, counts)
                    })
                    .buffered(self.assembly.policy.concurrency.max(1))
                    .collect()
                    .await
            }
            None => Vec::new(),
        };
        let bound = match self.assembly.policy.settings.max_lifetime {
            Some(lifetime) => format!("at most those that were issued in the last {}", span(lifetime.0)),
            None => "any that was ever issued, because no longest lifetime is declared".to_owned(),
        };
        let known = |key: &KeyId| {
            let fingerprint = stamp.ledger.get(*key).and_then(|known| known.fingerprint.as_ref());
            let label = fingerprint.map(ToString::to_string);
            let read: Vec<_> = counts
                .iter()
                .filter_map(|(one, counts)| {
                    Some((one, opened_by(counts.as_ref()?, &one.member, *key, label.as_deref())?))
                })
                .collect();
            let opened: u64 = read.iter().map(|(_, opened)| opened).sum();
            let since = read.iter().map(|(one, _)| one.member.started_at).collect::<Option<Vec<_>>>();
            let since =
                since.and_then(|since| since.into_iter().min()).map(|at| calendar(keyroll_rotation::Millis(at.0)));
            let words = match (&self.assembly.drain, read.len()) {
                (None, _) => {
                    format!("their number is not known, because no counter is configured (`evidence.counter`); {bound}")
                }
                (Some(_), 0) => {
                    format!("their number is not known, because no member shows a counter for {key}; {bound}")
                }
                (Some(_), of) => {
                    let start = since.map_or_else(String::new, |at| {
                        format!(" (the first at {})", at.strftime("%Y-%m-%dT%H:%M:%SZ"))
                    });
                    format!(
                        "opened {opened} times on {of} of {} members since they started{start}; how many sessions that were is \
                         not known: {bound}",
                        listed.len()
                    )
                }
            };
            KeySessions {
                key: *key,
                opened: (!read.is_empty()).then_some(opened),
                counted_by: read.len(),
                since,
                words: format!("sessions under {key}: {words}"),
            }
        };
        keys.iter().map(known).collect()
    }
}

/// The keys whose sessions end when `staying` is left alone: every other one that is accepted anywhere.
pub(crate) fn ending(stores: &[WorldConfiguration], staying: Option<KeyId>) -> BTreeSet<KeyId> {
    stores.iter().flat_map(|store| store.accept.iter().copied()).filter(|key| Some(*key) != staying).collect()
}

/// The accepted key that a revocation leaves in use; none where a fresh one takes the place of all.
fn staying(stamp: &StampBody, request: &RevokeRequest) -> Option<KeyId> {
    if request.store == StoreLeak::Possible {
        return None;
    }
    match stamp.unfinished() {
        Some(open) => {
            let (old, new) = old_and_new(&open.machine);
            match request.compromised {
                Compromised::Old => Some(new),
                Compromised::New => Some(old),
                Compromised::Both => None,
            }
        }
        None => stamp.standby.filter(|_| !request.spares_no_candidate()),
    }
}

/// What a revocation means for clients where no accepted key ends by it: what leaked has left every store before.
fn nothing_ends(stamp: &StampBody, request: &RevokeRequest) -> String {
    let leaked = match stamp.unfinished() {
        None => stamp.ledger.compromised(),
        Some(open) => named_by(request.compromised, &open.machine),
    };
    let leaked = if leaked.is_empty() { "the key that leaked".to_owned() } else { named(&leaked) };
    format!(
        "no store accepts {leaked}, so no session ends by this; every member is asked whether it still accepts one under it"
    )
}

fn named(keys: &BTreeSet<KeyId>) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// A time in whole units, as people write it.
fn span(millis: u64) -> String {
    let seconds = millis.div_ceil(1000);
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, 0) => format!("{minutes}m"),
        (0, 0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (0, hours, 0, _) => format!("{hours}h"),
        (0, hours, minutes, _) => format!("{hours}h {minutes}m"),
        (days, 0, _, _) => format!("{days}d"),
        (days, hours, _, _) => format!("{days}d {hours}h"),
    }
}
