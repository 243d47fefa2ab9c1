//! What follows from rising errors: a roll that makes requests fail stands still, or goes back where the policy says so.

use std::time::Duration;

use keyroll_engine::{ExitKind, RotateRequest, Why};
use keyroll_rotation::Stage;

use crate::shop::{FIRST_KEY, Shop};
use crate::words;

fn watching(more: &str) -> String {
    format!("  evidence: {{ errorRate: {{ threshold: 10%, over: 1500ms{more} }} }}\n")
}

/// A shop whose users have been served for a while, so that there is a baseline.
async fn busy_shop(more: &str) -> (Shop, String, crate::shop::Users) {
    let shop = Shop::with(3).await;
    let document = shop.document("", &watching(more));
    let users = shop.users(12);
    tokio::time::sleep(Duration::from_millis(800)).await;
    (shop, document, users)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordinary_rotation_is_not_held_up_by_its_own_probes() {
    let (shop, document, users) = busy_shop("").await;
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert_eq!(users.lost(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_fleet_on_which_only_keyroll_asks_is_rotated_too() {
    let shop = Shop::with(2).await;
    let document = shop.document("", &watching(""));
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_that_rise_with_the_roll_let_it_stand_still_until_a_person_has_looked() {
    let (shop, document, users) = busy_shop("").await;
    // The probe still sees what it expects: the trouble is in a page that it does not ask for.
    shop.quirks("web-0", |quirks| quirks.breaks_others_with_two_keys = true);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::HumanMustDecide, Some(Stage::Accepting)), "{outcome:?}");
    assert!(words(&outcome).contains("more requests fail"), "{}", words(&outcome));
    assert!(shop.journal().contains("of 1000 requests fail"), "the figures are in the record");
    assert_eq!(shop.minting(), [FIRST_KEY.to_owned()].into());
    shop.quirks("web-0", |quirks| quirks.breaks_others_with_two_keys = false);
    shop.engine(&document).resume(Why::default()).await.unwrap();
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert_eq!(users.lost(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_policy_the_rotation_is_rolled_back_and_says_so_with_its_own_exit_code() {
    let (shop, document, users) = busy_shop(", rollback: true").await;
    shop.quirks("web-0", |quirks| quirks.breaks_others_with_two_keys = true);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::RolledBack, "{}", words(&outcome));
    assert_eq!(outcome.exit.code(), 7);
    assert_eq!(shop.minting(), [FIRST_KEY.to_owned()].into());
    assert!(shop.env(".env").contains(&format!("SECRET_KEY_BASE={FIRST_KEY}\n")));
    let journal = shop.journal();
    let decided = journal.lines().find(|line| line.contains("\"action\":\"rollback\"")).unwrap();
    assert!(decided.contains("\"policy\"") && decided.contains("of 1000 requests fail"), "{decided}");
    assert_eq!(users.lost(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_tells_the_share_of_failed_requests() {
    let (shop, document, _users) = busy_shop("").await;
    let report = shop.engine(&document).verify().await.unwrap();
    let text = serde_json::to_string(&report).unwrap();
    assert!(report.passed(), "{text}");
    assert!(text.contains("errors.rate"), "{text}");
    shop.quirks("web-0", |quirks| quirks.breaks_others_with_one_key = true);
    let report = shop.engine(&document).verify().await.unwrap();
    assert!(!report.passed(), "{report:?}");
}
