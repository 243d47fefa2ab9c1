//! What follows from rising errors: a roll that makes requests fail stands still, or goes back where the policy says so.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyroll_engine::{
    Colour, Compromised, ExitKind, Notice, Observer, Overrides, Patience, RevokeRequest, RotateRequest, StoreLeak, Why,
};
use keyroll_rotation::{Mode, Stage};

use crate::shop::{FIRST_KEY, Shop};
use crate::{until, words};

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
    assert!(words(&outcome).contains("requests fail since"), "{}", words(&outcome));
    assert!(shop.journal().contains("of 1000 requests fail"), "the figures are in the record");
    assert_eq!(shop.minting(), [FIRST_KEY.to_owned()].into());
    shop.quirks("web-0", |quirks| quirks.breaks_others_with_two_keys = false);
    shop.engine(&document).resume(Why::default()).await.unwrap();
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert_eq!(users.lost(), Vec::<String>::new());
}

/// What the engine warns of.
#[derive(Default)]
struct Warned(Mutex<Vec<String>>);

impl Observer for Warned {
    fn notice(&self, notice: &Notice) {
        if let Notice::Caution { what } = notice {
            self.0.lock().unwrap().push(what.clone());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_counter_is_missing_is_named_and_does_not_count_as_free_of_errors() {
    let (shop, document, _users) = busy_shop("").await;
    shop.quirks("web-1", |quirks| quirks.no_metrics = true);
    let warned = Arc::new(Warned::default());
    let engine = shop.engine(&document).with_observer(Arc::clone(&warned) as Arc<dyn Observer>);
    let outcome = engine.rotate(until(Stage::Accepting)).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Waiting, "{}", words(&outcome));
    let warned = warned.0.lock().unwrap().join("\n");
    assert!(warned.contains("whether errors have risen is not known of everybody: `web-1`"), "{warned}");
    let report = shop.engine(&document).verify().await.unwrap();
    let rate = report.checks.iter().find(|check| check.name == "errors.rate").unwrap();
    assert!(rate.colour == Colour::Unknown && rate.found.contains("web-1"), "{rate:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_probes_were_refused_before_is_no_baseline_for_what_users_meet() {
    let (shop, document, _users) = busy_shop("").await;
    for name in shop.names() {
        shop.was_refused(&name, 100_000);
    }
    shop.quirks("web-0", |quirks| quirks.breaks_others_with_two_keys = true);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::HumanMustDecide, Some(Stage::Accepting)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_read_the_key_again_by_themselves_are_watched_from_the_write_on() {
    let shop = Shop::with(2).await;
    for name in shop.names() {
        shop.quirks(&name, |quirks| quirks.hot = true);
    }
    let members = shop.addresses("web").join(", ");
    let fleet = format!("    - {{ name: web, static: {{ members: [{members}] }} }}\n");
    let document = shop.document(&fleet, &watching(""));
    let users = shop.users(12);
    tokio::time::sleep(Duration::from_millis(800)).await;
    shop.quirks("web-0", |quirks| quirks.breaks_others_with_two_keys = true);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::HumanMustDecide, Some(Stage::Accepting)), "{outcome:?}");
    assert!(words(&outcome).contains("requests fail since"), "{}", words(&outcome));
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
async fn requests_that_somebody_makes_fail_do_not_keep_a_leaked_key_in_use() {
    for rollback in ["", ", rollback: true"] {
        let (shop, document, _users) = busy_shop(rollback).await;
        let _attacker = shop.attacker();
        let leak = RevokeRequest {
            mode: Mode::Accelerated,
            compromised: Compromised::Old,
            store: StoreLeak::Excluded,
            patience: Patience::For(Duration::from_secs(30)),
            overrides: Overrides::default(),
            why: Why::default(),
        };
        let warned = Arc::new(Warned::default());
        let engine = shop.engine(&document).with_observer(Arc::clone(&warned) as Arc<dyn Observer>);
        let outcome = engine.revoke(leak).await.unwrap();
        assert_eq!(outcome.exit, ExitKind::Done, "{rollback}: {}", words(&outcome));
        assert!(!shop.accepted_somewhere(FIRST_KEY), "the leaked key is dead everywhere");
        let warned = warned.0.lock().unwrap().join("\n");
        assert!(warned.contains("requests fail"), "the errors are told: {warned}");
        assert!(!warned.contains("was refused"), "nobody asks for a way back onto a leaked key: {warned}");
    }
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
