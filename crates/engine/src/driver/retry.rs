//! Another try for what is transient, with growing pauses and jitter; everything else is answered at once.
//!
//! A write whose answer was lost is not transient: it is read again and judged by what the store holds.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use keyroll_adapters::fleets::FleetError;
use keyroll_adapters::stores::StoreError;

use crate::assembly::Consumer;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::members::sweep::{self, Listed};
use crate::report::Notice;

/// What may do it in a moment.
pub(crate) trait Transient: std::error::Error + Send {
    /// Whether it is worth another try.
    fn is_transient(&self) -> bool;
}

impl Transient for StoreError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl Transient for FleetError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl Engine {
    /// Every consumer's members. While a rotation is driven, a listing that fails for a moment does not end it.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, EngineError> {
        let mut listed = Vec::new();
        for (place, consumer) in (0_u16..).zip(&self.assembly.consumers) {
            listed.extend(self.list_one(place, consumer).await?);
        }
        Ok(listed)
    }

    /// The same for the consumer at `place`.
    pub(crate) async fn list_one(&self, place: u16, consumer: &Consumer) -> Result<Vec<Listed>, EngineError> {
        let what = format!("the members of `{}`", consumer.name);
        Ok(self.with_retries(&what, || sweep::list_one(place, consumer)).await?)
    }

    /// Carries `attempt` out until it succeeds, fails for good, or has failed too often.
    pub(crate) async fn with_retries<T, E, F, A>(&self, what: &str, attempt: F) -> Result<T, E>
    where
        F: FnMut() -> A + Send,
        A: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: Transient,
    {
        self.with_retries_until(what, Duration::MAX, attempt).await
    }

    /// The same, with no other try behind `until`, by the clock that counts suspend.
    pub(crate) async fn with_retries_until<T, E, F, A>(
        &self,
        what: &str,
        until: Duration,
        mut attempt: F,
    ) -> Result<T, E>
    where
        F: FnMut() -> A + Send,
        A: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: Transient,
    {
        let mut pauses = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_max_times(RETRIES)
            .build();
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            let Some(pause) = pauses.next() else { return Err(error) };
            let left = until.saturating_sub(self.clock.boottime()).saturating_add(A_MOMENT);
            let pause = pause.min(left);
            self.observer.notice(&Notice::Retrying {
                what: format!("{what}: {error}"),
                after_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            });
            tracing::warn!(what, %error, "transient failure, trying again");
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                () = self.interrupt.wait() => return Err(error),
            }
            if self.clock.boottime() > until {
                return Err(error);
            }
        }
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const A_MOMENT: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
const RETRIES: usize = 8;
