//! Rotations over fleets that answer on loopback: real key files, real commands, real cookies, real metrics, real time.

mod shop;

mod churn;
mod consumers;
mod drains;
mod errors;
mod logins;
mod own_copy;
mod reloading;
mod thousand;

use std::time::Duration;

use keyroll_engine::{ExitKind, Outcome, Patience, RotateRequest};
use keyroll_rotation::Stage;

use shop::{Shop, now_instant};

/// Drives behind `stage` and stops there.
fn until(stage: Stage) -> RotateRequest {
    RotateRequest { until: Some(stage), ..RotateRequest::default() }
}

/// Drives as far as it goes, again and again, until it waits for a reason that names `what`, or does not wait any more.
async fn waits_for(shop: &Shop, document: &str, what: &str) -> Outcome {
    let since = now_instant();
    loop {
        let request = RotateRequest { patience: Patience::None, ..RotateRequest::default() };
        let outcome = shop.engine(document).rotate(request).await.unwrap();
        if outcome.exit != ExitKind::Waiting || words(&outcome).contains(what) {
            return outcome;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "it never waited for `{what}`: {}", words(&outcome));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Drives for at most this long.
fn at_most(span: Duration) -> RotateRequest {
    RotateRequest { patience: Patience::For(span), ..RotateRequest::default() }
}

/// What an outcome says, with the reasons for which it waits.
fn words(outcome: &Outcome) -> String {
    serde_json::to_string(outcome).unwrap()
}
