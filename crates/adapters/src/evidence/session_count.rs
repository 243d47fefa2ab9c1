//! The operator's own count of the sessions that are alive: what a cutover ends.
//!
//! Nothing else can know it. A cookie is not on the server, and a counter of sessions opened counts requests; only the
//! application, or whoever reads its logins, can say how many people are logged in.

use std::path::PathBuf;
use std::time::Duration;

use crate::subprocess::{self, Invocation};

/// A command that prints how many sessions under the active key are alive.
#[derive(Clone, Debug)]
pub struct SessionCount {
    invocation: Invocation,
}

impl SessionCount {
    /// The count that `argv` prints, run in `folder` (here if none) for at most `limit`.
    pub fn by(argv: Vec<String>, folder: Option<PathBuf>, limit: Duration) -> Self {
        let env = subprocess::inherited(&[]);
        Self { invocation: Invocation { argv, env, folder, limit, output_limit: LONGEST_NUMBER } }
    }

    /// The count now.
    pub async fn read(&self) -> Result<u64, SessionCountError> {
        let output = self.invocation.run().await.map_err(|source| SessionCountError::Command(Box::new(source)))?;
        let text = String::from_utf8_lossy(&output);
        text.trim().parse().map_err(|_| SessionCountError::NoNumber)
    }
}

/// Why there is no count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionCountError {
    /// The command failed.
    #[error("the command that counts the sessions failed")]
    Command(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It printed something else.
    #[error("the command that counts the sessions did not print one whole number")]
    NoNumber,
}

const LONGEST_NUMBER: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    async fn count(script: &str) -> Result<u64, SessionCountError> {
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        SessionCount::by(argv, None, Duration::from_secs(5)).read().await
    }

    #[tokio::test]
    async fn one_whole_number_is_a_count_and_nothing_else_is() {
        assert_eq!(count("echo ' 1200'").await.unwrap(), 1200);
        for script in ["true", "echo -1", "echo 12 13", "echo many", "echo 1.5"] {
            assert!(matches!(count(script).await, Err(SessionCountError::NoNumber)), "{script}");
        }
        assert!(matches!(count("echo 12; exit 1").await, Err(SessionCountError::Command(_))));
    }
}
