//! A gate over a thousand members, each at an address of its own.

use keyroll_engine::{ExitKind, Patience, RotateRequest};
use keyroll_rotation::Stage;

use crate::shop::{FIRST_KEY, Shop};
use crate::{until, words};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_members_the_one_that_lags_is_named_and_the_gate_passes_when_it_does_not() {
    let shop = Shop::open().await;
    for number in 0..MEMBERS {
        let name = format!("web-{number}");
        shop.start_quietly("web", &name, ".env");
        shop.quirks(&name, |quirks| quirks.hot = true);
    }
    let addresses = shop.addresses("web");
    let members = addresses.join(", ");
    let fleet = format!("    - {{ name: web, static: {{ members: [{members}] }} }}\n");
    let document = shop.document(&fleet, "").replace("settle: 150ms", "settle: 0s");
    shop.engine(&document).rotate(until(Stage::Staged)).await.unwrap();
    shop.quirks("web-617", |quirks| quirks.hot = false);

    let once = RotateRequest { patience: Patience::None, ..RotateRequest::default() };
    let outcome = shop.engine(&document).rotate(once).await.unwrap();
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::Waiting, Some(Stage::Accepting)), "{}", outcome.summary);
    let members: Vec<_> = outcome.wait.iter().flat_map(|wait| &wait.naysayers).flat_map(|one| &one.members).collect();
    assert_eq!(members.len(), 1, "{}", words(&outcome));
    let named = members[0].member.as_deref().unwrap();
    assert!(addresses[617].contains(named), "`{named}` is the one at {}", addresses[617]);
    assert_eq!(shop.minting(), [FIRST_KEY.to_owned()].into());

    shop.quirks("web-617", |quirks| quirks.hot = true);
    let outcome = shop.engine(&document).rotate(until(Stage::Accepting)).await.unwrap();
    assert_eq!(outcome.stage, Some(Stage::Promoting), "{}", outcome.summary);
    let concurrency = shop.assembly(&document).policy.concurrency;
    assert!(shop.busiest() <= concurrency, "{} requests at a time, and {concurrency} are allowed", shop.busiest());
}

const MEMBERS: usize = 1_000;
