//! How many sessions a step ends, where the operator has said what counts them.
//!
//! The number is for people. It decides nothing, and a count that fails stops nothing. It is asked for once for a write, because
//! what was proven does not last long; and where a key leaked not at all: who revokes was told the number before.

use keyroll_keyring::KeyId;
use keyroll_rotation::Mode;

use crate::driver::session::Session;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::error::error_chain;
use crate::journal::Body;

/// How many sessions are alive under the active key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Alive {
    Counted(u64),
    /// Nothing counts them.
    Uncounted,
    /// What counts them failed, in words.
    Unknown(String),
}

impl Engine {
    pub(crate) async fn sessions_alive(&self) -> Alive {
        let Some(count) = &self.assembly.session_count else { return Alive::Uncounted };
        match count.read().await {
            Ok(sessions) => Alive::Counted(sessions),
            Err(error) => Alive::Unknown(error_chain(&error)),
        }
    }

    /// What clients will notice, with the number of sessions that end, where the mode ends any and something counts them.
    pub(crate) async fn with_number(&self, notice: String, mode: Mode) -> String {
        if matches!(mode, Mode::Staged | Mode::Standby) || self.assembly.session_count.is_none() {
            return notice;
        }
        format!("{notice}; {}", self.sessions_alive().await.words())
    }
}

impl Session<'_> {
    /// Says and records how many sessions the write that comes now will end.
    pub(crate) async fn tell_what_ends(&mut self, keys: &[KeyId]) -> Result<(), EngineError> {
        if keys.is_empty() {
            return Ok(());
        }
        let alive = match self.key_leaked() && self.engine.assembly.session_count.is_some() {
            true => {
                Alive::Unknown("they are not counted now, because a leaked key is not to live on meanwhile".to_owned())
            }
            false => self.engine.sessions_alive().await,
        };
        for key in keys {
            self.caution(format!("this ends every session under {key}; {}", alive.words()));
            let sessions = match alive {
                Alive::Counted(sessions) => Some(sessions),
                Alive::Uncounted | Alive::Unknown(_) => None,
            };
            self.note(Body::SessionsEnd { key: self.mark(*key), sessions })?;
        }
        Ok(())
    }
}

impl Alive {
    fn words(&self) -> String {
        match self {
            Self::Counted(1) => "1 session is alive now, by `sessions.count`".to_owned(),
            Self::Counted(sessions) => format!("{sessions} sessions are alive now, by `sessions.count`"),
            Self::Uncounted => "how many there are is not known (`sessions.count` is not configured)".to_owned(),
            Self::Unknown(why) => format!("how many there are is not known: {why}"),
        }
    }
}
