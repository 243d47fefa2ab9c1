//! The drain by counters that members show over HTTP: what ends it, what holds it, and what a person may decide.

use std::time::Duration;

use keyroll_engine::{Colour, CompleteRequest, ExitKind, Overrides, Patience, RotateRequest};
use keyroll_rotation::Stage;

use crate::shop::{FIRST_KEY, Shop};
use crate::{at_most, until, waits_for, words};

const COUNTER: &str = "  evidence: { counter: { every: 200ms } }\n  sessions: { maxLifetime: 3s, leeway: 100ms }\n";
const LIMITED: &str =
    "  evidence: { counter: { every: 200ms } }\n  sessions: { maxLifetime: 3s, leeway: 100ms, drainLimit: 4s }\n";

fn with(overrides: Overrides, patience: Duration) -> CompleteRequest {
    CompleteRequest { overrides, patience: Patience::For(patience), ..CompleteRequest::default() }
}

/// A rotation that has been promoted, and drains.
async fn draining(members: usize, rest: &str) -> (Shop, String) {
    let shop = Shop::with(members).await;
    let document = shop.document("", rest);
    let outcome = shop.engine(&document).rotate(until(Stage::Promoting)).await.unwrap();
    assert_eq!(outcome.stage, Some(Stage::Draining), "{}", words(&outcome));
    (shop, document)
}

/// The old key is still opened: nobody was logged out.
fn still_trusted(shop: &Shop) -> bool {
    shop.env(".env").contains(FIRST_KEY) && shop.accepted_somewhere(FIRST_KEY)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_when_the_counters_of_every_member_stand_still() {
    let shop = Shop::with(2).await;
    let document = shop.document("", COUNTER);
    let users = shop.users(6);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert!(!shop.accepted_somewhere(FIRST_KEY));
    assert_eq!(users.lost(), Vec::<String>::new());
    assert!(shop.journal().contains("coverage_permille"), "the evidence is in the record");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_without_the_series_holds_the_drain_by_its_name_and_so_does_one_that_does_not_answer() {
    let (shop, document) = draining(2, COUNTER).await;
    shop.quirks("web-1", |quirks| quirks.no_metrics = true);
    let outcome = waits_for(&shop, &document, "no counter").await;
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::Waiting, Some(Stage::Draining)), "{}", words(&outcome));
    assert!(words(&outcome).contains("web-1"), "{}", words(&outcome));
    assert!(still_trusted(&shop));
    shop.quirks("web-1", |quirks| (quirks.no_metrics, quirks.unready) = (false, true));
    let outcome = shop.engine(&document).rotate(at_most(Duration::from_secs(3))).await.unwrap();
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::Waiting, Some(Stage::Draining)), "{}", words(&outcome));
    assert!(words(&outcome).contains("web-1"), "{}", words(&outcome));
    assert!(still_trusted(&shop));
    shop.quirks("web-1", |quirks| quirks.unready = false);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_that_is_reset_proves_nothing_until_it_has_been_watched_again() {
    let shop = Shop::with(2).await;
    for name in shop.names() {
        shop.quirks(&name, |quirks| quirks.hot = true);
    }
    // Fixed addresses: a restart is not seen in the listing, only in the counter.
    let members = shop.addresses("web").join(", ");
    let fleet = format!("    - {{ name: web, static: {{ members: [{members}] }} }}\n");
    let document = shop.document(&fleet, COUNTER);
    let users = shop.users(6);
    tokio::time::sleep(Duration::from_millis(500)).await;
    shop.engine(&document).rotate(until(Stage::Promoting)).await.unwrap();
    let engine = shop.engine(&document);
    let driving = tokio::spawn(async move { engine.rotate(at_most(Duration::from_millis(2_500))).await });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    shop.restart("web-0");
    let outcome = driving.await.unwrap().unwrap();
    assert_eq!(outcome.exit, ExitKind::Waiting, "{}", words(&outcome));
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert_eq!(users.lost(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_of_members_whose_restarts_nobody_sees_are_refused_before_the_rotation_and_never_end_a_drain() {
    let shop = Shop::with(2).await;
    for name in shop.names() {
        shop.quirks(&name, |quirks| (quirks.hot, quirks.hides_its_start) = (true, name == "web-0"));
    }
    let members = shop.addresses("web").join(", ");
    let fleet = format!("    - {{ name: web, static: {{ members: [{members}] }} }}\n");
    let document = shop.document(&fleet, COUNTER);
    let _users = shop.users(4);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let report = shop.engine(&document).preflight().await;
    let restarts: Vec<_> = report.checks.iter().filter(|check| check.name == "drain.restarts").collect();
    assert_eq!(restarts.iter().map(|check| check.colour).collect::<Vec<_>>(), [Colour::Red, Colour::Green]);
    for way in ["process_start_time_seconds", "boot ids", "drain: lifetime"] {
        assert!(restarts[0].fix.as_deref().is_some_and(|fix| fix.contains(way)), "{way}: {restarts:?}");
    }
    // It stops telling once the rotation is under way.
    shop.quirks("web-0", |quirks| quirks.hides_its_start = false);
    let outcome = shop.engine(&document).rotate(until(Stage::Promoting)).await.unwrap();
    assert_eq!(outcome.stage, Some(Stage::Draining), "{}", words(&outcome));
    shop.quirks("web-0", |quirks| quirks.hides_its_start = true);
    let outcome = waits_for(&shop, &document, "without anybody seeing it").await;
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::Waiting, Some(Stage::Draining)), "{}", words(&outcome));
    assert!(still_trusted(&shop));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_whose_past_is_not_known_keeps_the_coverage_too_low_for_a_while() {
    let (shop, document) = draining(1, COUNTER).await;
    // Its start is not told, so what it did before it was first read is covered by nothing.
    let strip = r#"list: [sed, 's/"startedAt":[0-9]*,//g', web.json]"#;
    let untold = document.replace("list: [cat, web.json]", strip);
    let outcome = shop.engine(&untold).rotate(at_most(Duration::from_millis(2_000))).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Waiting, "{}", words(&outcome));
    for number in 1..4 {
        shop.start("web", &format!("web-{number}"), ".env");
    }
    let outcome = shop.engine(&untold).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    let journal = shop.journal();
    let accepted: Vec<u64> = journal
        .lines()
        .filter(|line| line.contains("coverage_permille"))
        .filter_map(|line| line.split("coverage_permille\":").nth(1)?.split([',', '}']).next()?.parse().ok())
        .collect();
    assert!(accepted.last().is_some_and(|last| *last >= 990), "{accepted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_that_stays_positive_is_held_past_the_limit_until_a_loss_is_accepted_by_number() {
    let (shop, document) = draining(2, LIMITED).await;
    shop.quirks("web-0", |quirks| quirks.opens_of_its_own = 1);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::HumanMustDecide, Some(Stage::Draining)), "{outcome:?}");
    assert!(words(&outcome).contains("accept the loss of up to"), "{}", words(&outcome));
    assert!(still_trusted(&shop));
    let too_few = Overrides { accept_loss: Some(0), ..Overrides::default() };
    let outcome = shop.engine(&document).complete(with(too_few, Duration::from_secs(3))).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::HumanMustDecide, "{}", words(&outcome));
    assert!(still_trusted(&shop));
    let enough = Overrides { accept_loss: Some(100_000), ..Overrides::default() };
    let outcome = shop.engine(&document).complete(with(enough, Duration::from_secs(60))).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert!(!shop.accepted_somewhere(FIRST_KEY));
    let journal = shop.journal();
    assert!(journal.contains("\"action\":\"acceptLoss\",\"sessions\":100000"), "who gives up sessions is on record");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_is_extended_waits_on_and_ends_when_the_evidence_does() {
    let (shop, document) = draining(2, LIMITED).await;
    shop.quirks("web-0", |quirks| quirks.opens_of_its_own = 1);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::HumanMustDecide, "{}", words(&outcome));
    let longer = Overrides { extend_drain: Some(Duration::from_secs(600)), ..Overrides::default() };
    let outcome = shop.engine(&document).complete(with(longer, Duration::from_secs(3))).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Waiting, "it waits again and does not ask: {}", words(&outcome));
    assert!(still_trusted(&shop));
    shop.quirks("web-0", |quirks| quirks.opens_of_its_own = 0);
    let outcome = shop.engine(&document).complete(CompleteRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert!(shop.journal().contains("\"action\":\"extendDrain\",\"by\":600000"));
}
