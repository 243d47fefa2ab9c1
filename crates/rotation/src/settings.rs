//! What the configuration file and the operator decided before a rotation was opened.
//!
//! An unbounded lifetime is a lawful setting, but never a silent one: it needs a limit and a least share.

use serde::{Deserialize, Serialize};

use crate::Millis;
use crate::gate::EvidenceRule;

/// What the configuration file and the operator decided before the rotation was opened.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How long a member could still boot from an older version.
    pub settle: Millis,
    /// The longest life of anything sealed with the key; `None` is unbounded.
    pub max_lifetime: Option<Millis>,
    /// After how long without use a session ends, where use extends it without re-sealing it.
    pub idle_lifetime: Option<Millis>,
    /// Added to the lifetime: clock skew and request time.
    pub leeway: Millis,
    /// What ends the drain.
    pub drain: DrainRule,
    /// Counted from T0: past it, evidence that is still positive makes the rotation hold for a person. An unbounded
    /// lifetime ends here, if enough sessions were re-issued.
    pub drain_limit: Option<Millis>,
    /// Of a thousand times that a session is opened, how many must be under the incoming key before the limit of an
    /// unbounded lifetime may end a drain. The rest is recorded as loss.
    pub least_reissued_permille: Option<u16>,
    /// How long the outgoing key stays in escrow.
    pub escrow: Millis,
    /// The weakest proof a gate takes.
    pub evidence: EvidenceRule,
    /// How often laggards are reloaded again before a person is asked.
    pub reload_attempts: u32,
    /// Whether members re-read the key by themselves (then nothing is reloaded).
    pub reload: ReloadNeed,
}

/// Whether members need a reload to take up a new configuration.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "a member re-reads or it does not")]
pub enum ReloadNeed {
    /// Restart or signal.
    Needed,
    /// They re-read by themselves.
    HotReload,
}

/// What must be shown before the outgoing key is retired, besides the time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum DrainRule {
    /// No session was opened under it over the window.
    Counter,
    /// The declared lifetime alone, by name.
    Lifetime,
}
