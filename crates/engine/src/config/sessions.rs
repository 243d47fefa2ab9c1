//! How long what is sealed with the key lives.

use keyroll_rotation::DrainRule;
use serde::{Deserialize, Serialize};

use super::{FilePath, NonEmpty, Period};

/// The lives of sessions.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Sessions {
    /// The longest life of anything that the key seals.
    pub max_lifetime: MaxLifetime,
    /// After how long without a request a session ends, where use extends it.
    pub idle: Option<Period>,
    /// Added to the lifetime: clock skew and the time that a request takes.
    pub leeway: Period,
    /// What must be shown before the outgoing key is retired.
    pub drain: Drain,
    /// The longest wait for a drain whose evidence stays positive, before a person is asked.
    pub drain_limit: Option<Period>,
    /// What counts the sessions that are alive, if something does.
    pub count: Option<SessionCounter>,
    /// Whether the operator declares that each user stays on one member during a roll.
    pub sticky: Sticky,
}

/// Whether each user stays on one member during a roll.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "it was declared or it was not")]
pub enum Sticky {
    /// `sticky: true`.
    Declared,
    /// Nobody said so.
    #[default]
    NotDeclared,
}

/// A command that prints how many sessions under the active key are alive.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SessionCounter {
    /// Program and arguments.
    pub command: NonEmpty<String>,
    /// Where it runs.
    pub working_directory: FilePath,
}

/// The longest life of anything that the key seals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "said to be bounded, said to be unbounded, or not said")]
pub enum MaxLifetime {
    /// So long.
    Bounded(Period),
    /// For ever. What has not been re-issued when the limit has passed is stated as loss.
    Unbounded {
        /// When the drain ends anyway.
        drain_limit: Period,
        /// The least share of the times a session is opened that must be under the new key by then.
        least_reissued: Permille,
    },
    /// The file does not say. Nothing that drains can be started.
    Undeclared,
}

/// What ends a drain.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "it was chosen or it was not")]
pub enum Drain {
    /// As `drain:` says; or counters, where `evidence.counter` is configured.
    Chosen(DrainRule),
    /// Neither counters nor `drain: lifetime`. The declared lifetime alone counts only where it was named.
    Undeclared,
}

/// A share in thousandths, at most 1000.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Permille(u16);

impl Permille {
    /// `None` above 1000.
    pub fn new(value: u16) -> Option<Self> {
        (value <= 1000).then_some(Self(value))
    }

    /// In thousandths.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl std::fmt::Display for Permille {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0 / 10, self.0 % 10) {
            (whole, 0) => write!(f, "{whole} %"),
            (whole, tenths) => write!(f, "{whole}.{tenths} %"),
        }
    }
}
