//! Everything that one key's rotation touches, put together: stores, consumers, evidence and the decisions of the file.

use std::sync::Arc;
use std::time::Duration;

use keyroll_adapters::evidence::{DrainWitness, ErrorRates, LogWitness, SessionCount, Witness};
use keyroll_adapters::fleets::Fleet;
use keyroll_adapters::stores::SecretStore;
use keyroll_keyring::Profile;
use keyroll_rotation::Settings;
use keyroll_rotation::gate::{Declared, EvidenceLevel, MemberKind};

use crate::config::ConfigHash;
use crate::world::fingerprints::Fingerprints;

pub(crate) mod assemble;

/// What a key's rotation touches.
#[expect(clippy::exhaustive_structs, reason = "the command line and tests put it together")]
pub struct Assembly {
    /// The key's name in `keyroll.yaml`.
    pub name: String,
    /// The hash of `keyroll.yaml`, for plans and the record.
    pub config: ConfigHash,
    /// How the stores' fields hold keys.
    pub profile: Profile,
    /// Where the key lives. The first is the one whose clock and stamp lead.
    pub stores: Vec<Arc<dyn SecretStore>>,
    /// Who reads it.
    pub consumers: Vec<Consumer>,
    /// What proves it.
    pub witnesses: Vec<Arc<dyn Witness>>,
    /// What counts sessions opened under each key, if something does.
    pub drain: Option<Arc<dyn DrainWitness>>,
    /// What counts failed requests, if something does.
    pub error_rates: Option<ErrorRateWatch>,
    /// What counts the sessions that are alive, if something does.
    pub session_count: Option<SessionCount>,
    /// Where the members' logs are, of fleets that do not keep what their members print.
    pub logs: Option<Arc<LogWitness>>,
    /// Fingerprints that were computed before; share it where several engines run in one process.
    pub fingerprints: Arc<Fingerprints>,
    /// The decisions.
    pub policy: EnginePolicy,
}

/// One group of members.
#[derive(Clone)]
#[expect(clippy::exhaustive_structs, reason = "the command line and tests put it together")]
pub struct Consumer {
    /// Its name in `keyroll.yaml`.
    pub name: String,
    /// What reloads.
    pub fleet: Arc<dyn Fleet>,
    /// Whether its members serve requests.
    pub kind: MemberKind,
    /// Whether it may be empty.
    pub declared: Declared,
    /// How many members reload at once.
    pub parallel: usize,
    /// How many more than that in an emergency.
    pub surge: usize,
    /// How long a member may take to be back.
    pub reload_timeout: Duration,
}

/// The decisions of the configuration file.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the command line and tests put it together")]
pub struct EnginePolicy {
    /// What the machine needs.
    pub settings: Settings,
    /// How long the counters must stay at zero before the drain ends.
    pub drain_window: Duration,
    /// How often counters are read while a rotation drains.
    pub drain_interval: Duration,
    /// Whether each rotation leaves an accept-only candidate for the next.
    pub standby: Standby,
    /// Whether only the first store's clock counts for T0 (it always does) and how far clocks may differ.
    pub max_clock_skew: Duration,
    /// How many members are asked at the same time.
    pub concurrency: usize,
    /// How long to wait before a gate that did not pass is swept again.
    pub poll: Duration,
    /// How many rounds of listing one sweep makes at most.
    pub sweep_rounds: usize,
    /// When the policy says that the key is due, for `status` and `explain`.
    pub rotate_every: Option<Duration>,
    /// Why the policy's window is closed now, if it is.
    pub window: Option<Arc<dyn Window>>,
    /// What the file names as believed of whoever starts the members: P1 or P0. No gate takes it unless `--evidence weak`
    /// is named too.
    pub believed: Option<EvidenceLevel>,
    /// Whether the operator declares that each user stays on one member.
    pub stickiness: Stickiness,
}

/// Watches the share of requests that fail.
#[derive(Clone)]
#[expect(clippy::exhaustive_structs, reason = "the command line and tests put it together")]
pub struct ErrorRateWatch {
    /// What counts.
    pub source: Arc<ErrorRates>,
    /// How far the share may rise above its baseline, in thousandths.
    pub threshold_permille: u16,
    /// Over what time the rate is taken.
    pub over: Duration,
    /// What follows.
    pub then: OnRegression,
}

/// Tells whether a rotation may be opened now.
pub trait Window: std::fmt::Debug + Send + Sync {
    /// When it opens next, with the reason, or `None` where it is open.
    fn closed_until(&self, now: jiff::Timestamp) -> Option<(jiff::Timestamp, String)>;
}

/// Whether a rotation leaves a standby candidate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it does or it does not")]
pub enum Standby {
    /// It does.
    Keep,
    /// It does not.
    None,
}

/// Whether each user stays on one member while the fleet is rolled. Only the operator knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it was declared or it was not")]
pub enum Stickiness {
    /// `sessions.sticky: true`.
    Declared,
    /// Nobody said so.
    NotDeclared,
}

/// What rising error rates after a roll lead to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "hold or go back")]
pub enum OnRegression {
    /// Stand still until a person decides.
    Hold,
    /// Roll back.
    RollBack,
}

impl EnginePolicy {
    /// Defaults around `settings` that are safe for a fleet of ordinary size.
    pub fn around(settings: Settings) -> Self {
        Self {
            settings,
            drain_window: Duration::ZERO,
            drain_interval: Duration::from_secs(30),
            standby: Standby::None,
            max_clock_skew: Duration::from_secs(5),
            concurrency: 32,
            poll: Duration::from_secs(2),
            sweep_rounds: 5,
            rotate_every: None,
            window: None,
            believed: None,
            stickiness: Stickiness::NotDeclared,
        }
    }
}
