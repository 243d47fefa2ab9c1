//! What a simulated world is like, and what may go wrong in it.

use std::collections::BTreeSet;

use keyroll_keyring::KeyId;

use super::Prng;
use crate::gate::EvidenceRule;
use crate::{Candidate, DrainRule, Millis, Mode, Opening, ReloadNeed, Settings, WorldConfiguration};

/// A world to rotate in. The truth about it is here; what the rotation was told is in `settings`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "callers describe their own fleet with it")]
pub struct Scenario {
    /// How the rotation goes about it.
    pub mode: Mode,
    /// Where the candidate comes from.
    pub candidate: Candidate,
    /// How many members there may be at once.
    pub slots: usize,
    /// How many stores hold the key; members read them in turn.
    pub stores: usize,
    /// Whether a third key is accepted from the beginning, with a session under it that never ends.
    pub leftover: Leftover,
    /// How long a member may really boot from an older version of the secret.
    pub staleness: Millis,
    /// How long a session really lives.
    pub life: Life,
    /// Whether reading a session under another key than the active one seals it anew.
    pub reissue: Reissue,
    /// What the rotation was told.
    pub settings: Settings,
    /// How many sessions there are at once.
    pub sessions: usize,
    /// How far one tick carries the clock.
    pub tick: Millis,
    /// What may go wrong.
    pub chaos: Chaos,
    /// How the driver departs from the protocol.
    pub flaw: Flaw,
}

/// Whether a third key is in the world.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it is there or it is not")]
pub enum Leftover {
    /// Only the key in use.
    None,
    /// A third key is accepted and must stay so.
    Third,
}

/// How a session ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "an end is absolute or it slides")]
pub enum Life {
    /// That long after it was minted.
    Absolute(Millis),
    /// That long after its last use, without being sealed anew.
    Idle(Millis),
}

/// Whether a read seals a session anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a framework does or does not")]
pub enum Reissue {
    /// As Rails and Laravel do.
    OnRead,
    /// The session keeps its key.
    Never,
}

/// What may go wrong, and how often at most.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "callers choose each")]
pub struct Chaos {
    /// Members come and go by themselves.
    pub churn: Churn,
    /// How often somebody else writes to a store.
    pub foreign_writes: u8,
    /// How often an operator asks for a rollback.
    pub rollbacks: u8,
    /// How often an operator revokes.
    pub revocations: u8,
    /// How often the driver dies. It may die between any two effects, and between an effect and its record.
    pub crashes: u8,
}

/// Whether members come and go by themselves.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "they do or they do not")]
pub enum Churn {
    /// Scale-ups, scale-downs and restarts.
    Any,
    /// Only the driver restarts members.
    None,
}

/// A way to do it wrong. Each is a driver that departs from the protocol in one point, and each loses something: the
/// negative controls of the model.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Flaw {
    /// As the protocol has it.
    None,
    /// The new key is distributed and promoted in one write.
    DistributeAndPromote,
    /// The new key is promoted without G1.
    PromoteWithoutG1,
    /// The drain is counted from the decision to promote instead of from G2.
    DrainFromDecision,
    /// A gate is asked before settle has passed.
    GateWithoutSettle,
    /// Only members that are ready count.
    OnlyReadyMembers,
    /// The old key is retired without a drain.
    RetireWithoutDrain,
    /// The window of the drain's evidence is shorter than the idle lifetime.
    ShortDrainWindow,
    /// Stage 3 writes the old and the new key and forgets the third.
    DropLeftover,
    /// Somebody reverts the configuration, and nobody looks.
    ForeignRevertUnseen,
    /// A rollback writes the old key only.
    RollbackToOldOnly,
    /// A rollback from stage 6 does not prove that the old key is trusted again.
    RollbackWithoutRetrust,
    /// A rollback goes by the store that is least far on.
    RollbackByMinimum,
    /// A leaked key stays accepted while the new one mints.
    AcceptLeakedWhileMintingNew,
    /// An empty list of members counts as converged.
    EmptyIsConverged,
}

impl Flaw {
    /// Every negative control of the protocol page.
    pub const CONTROLS: [Self; 14] = [
        Self::DistributeAndPromote,
        Self::PromoteWithoutG1,
        Self::DrainFromDecision,
        Self::GateWithoutSettle,
        Self::OnlyReadyMembers,
        Self::RetireWithoutDrain,
        Self::ShortDrainWindow,
        Self::DropLeftover,
        Self::ForeignRevertUnseen,
        Self::RollbackToOldOnly,
        Self::RollbackWithoutRetrust,
        Self::RollbackByMinimum,
        Self::AcceptLeakedWhileMintingNew,
        Self::EmptyIsConverged,
    ];

    /// In the words of the protocol page.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::None => "the protocol",
            Self::DistributeAndPromote => "distribute and promote in one write",
            Self::PromoteWithoutG1 => "promote without G1",
            Self::DrainFromDecision => "drain clock from the decision instead of from G2",
            Self::GateWithoutSettle => "gate without settle",
            Self::OnlyReadyMembers => "members = only the ready ones",
            Self::RetireWithoutDrain => "retire without drain",
            Self::ShortDrainWindow => "drain window shorter than the idle lifetime",
            Self::DropLeftover => "stage 3 that drops a leftover key",
            Self::ForeignRevertUnseen => "a foreign revert that nobody looks for",
            Self::RollbackToOldOnly => "rollback to old only",
            Self::RollbackWithoutRetrust => "rollback from 6 without proving the re-trust",
            Self::RollbackByMinimum => "rollback by the minimum of two stores",
            Self::AcceptLeakedWhileMintingNew => "`accelerated` that accepts the leaked key while minting new",
            Self::EmptyIsConverged => "zero members is converged",
        }
    }
}

/// The key that every simulated world begins with.
pub const OLD: KeyId = KeyId(2);
/// The candidate.
pub const NEW: KeyId = KeyId(3);
/// The third key.
pub const THIRD: KeyId = KeyId(1);
/// The key that a revocation may bring in.
pub const FRESH: KeyId = KeyId(4);

impl Scenario {
    /// A fleet of `slots` members under this configuration's own settings.
    pub fn of(mode: Mode, slots: usize, settings: Settings) -> Self {
        let life = match (settings.max_lifetime, settings.idle_lifetime) {
            (Some(lifetime), _) => Life::Absolute(lifetime),
            (None, Some(idle)) => Life::Idle(idle),
            (None, None) => Life::Idle(Millis(86_400_000)),
        };
        Self {
            mode,
            candidate: Candidate::Fresh,
            slots,
            stores: 1,
            leftover: Leftover::None,
            staleness: settings.settle,
            life,
            reissue: Reissue::Never,
            tick: Millis(settings.settle.0.max(2_000) / 2),
            settings,
            sessions: 8,
            chaos: Chaos { churn: Churn::Any, foreign_writes: 0, rollbacks: 0, revocations: 0, crashes: 3 },
            flaw: Flaw::None,
        }
    }

    /// Some world, drawn from a seed: sizes, modes, times and troubles.
    pub fn random(seed: u64) -> Self {
        let mut prng = Prng::new(seed ^ 0x5CE7_A210);
        let mode = *prng
            .pick(&[
                Mode::Staged,
                Mode::Staged,
                Mode::Staged,
                Mode::Staged,
                Mode::Staged,
                Mode::Standby,
                Mode::Accelerated,
                Mode::Cutover,
                Mode::HardCutover,
            ])
            .unwrap_or(&Mode::Staged);
        let settle = Millis(500 * prng.below(40));
        let lifetime = Millis(2_000 + 1_000 * prng.below(200));
        let idle = Millis(2_000 + 1_000 * prng.below(60));
        let sliding = prng.in_a_thousand(300);
        let settings = Settings {
            settle,
            max_lifetime: (!sliding).then_some(lifetime),
            idle_lifetime: sliding.then_some(idle),
            leeway: Millis(500 * prng.below(4)),
            drain: match prng.below(2) {
                0 if !sliding => DrainRule::Lifetime,
                _ => DrainRule::Counter,
            },
            drain_limit: sliding.then_some(Millis(600_000)),
            least_reissued_permille: sliding.then_some(900),
            escrow: Millis(1_000 * prng.below(100)),
            evidence: EvidenceRule::Strong,
            reload_attempts: 2,
            reload: if prng.in_a_thousand(200) { ReloadNeed::HotReload } else { ReloadNeed::Needed },
        };
        let slots = 1 + prng.below(6);
        let mut scenario = Self::of(mode, usize::try_from(slots).unwrap_or(3), settings);
        scenario.stores = if prng.in_a_thousand(400) { 2 } else { 1 };
        scenario.leftover = if prng.in_a_thousand(300) { Leftover::Third } else { Leftover::None };
        scenario.reissue = if prng.in_a_thousand(500) { Reissue::OnRead } else { Reissue::Never };
        let standby = mode != Mode::Standby && prng.in_a_thousand(200);
        scenario.candidate = if standby { Candidate::Standby } else { Candidate::Fresh };
        scenario.tick = Millis(250 + 250 * prng.below(40));
        scenario.chaos = Chaos {
            churn: Churn::Any,
            foreign_writes: u8::from(prng.in_a_thousand(200)),
            rollbacks: u8::from(prng.in_a_thousand(400)),
            revocations: u8::from(prng.in_a_thousand(150)),
            crashes: 6,
        };
        scenario
    }

    /// What lies further back than this makes no difference any more.
    pub fn horizon(&self) -> Millis {
        let (Life::Absolute(life) | Life::Idle(life)) = self.life;
        let told = self.settings.max_lifetime.max(self.settings.idle_lifetime).unwrap_or_default();
        let drain = life.max(told).after(self.settings.leeway);
        let longest = drain.max(self.settings.settle).max(self.staleness).max(self.settings.escrow);
        longest.after(self.tick).after(self.tick)
    }

    /// Whether the old key is in other hands from the beginning.
    pub fn leaked(&self) -> bool {
        match self.mode {
            Mode::Accelerated | Mode::HardCutover => true,
            Mode::Staged | Mode::Cutover | Mode::Standby => self.flaw == Flaw::AcceptLeakedWhileMintingNew,
        }
    }

    /// What the stores hold before anything happens.
    pub fn present(&self) -> WorldConfiguration {
        let third = match self.leftover {
            Leftover::None => None,
            Leftover::Third => Some(THIRD),
        };
        let standby = match self.candidate {
            Candidate::Fresh => None,
            Candidate::Standby => Some(NEW),
        };
        WorldConfiguration::new(OLD, third.into_iter().chain(standby))
    }

    /// How the rotation is opened in it.
    pub fn opening(&self) -> Opening {
        let blind = self.flaw == Flaw::AcceptLeakedWhileMintingNew;
        let compromised = if self.leaked() && !blind { BTreeSet::from([OLD]) } else { BTreeSet::new() };
        let mut settings = self.settings.clone();
        match self.flaw {
            Flaw::GateWithoutSettle => settings.settle = Millis(0),
            Flaw::RetireWithoutDrain => settings.max_lifetime = Some(Millis(0)),
            Flaw::ShortDrainWindow => {
                settings.idle_lifetime = settings.idle_lifetime.map(|idle| Millis(idle.0 / 2));
            }
            _ => {}
        }
        Opening {
            mode: self.mode,
            outgoing: OLD,
            incoming: NEW,
            candidate: self.candidate,
            compromised,
            stores: vec![self.present(); self.stores],
            settings,
            now: Millis(0),
        }
    }
}
