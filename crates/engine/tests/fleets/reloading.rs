//! Reloads of a whole fleet, no reload at all, and reloads on purpose.

use std::time::Duration;

use keyroll_engine::{EngineError, ExitKind, Reason, ReloadRequest, RotateRequest, Why};
use keyroll_rotation::Stage;

use crate::shop::{FIRST_KEY, Shop};
use crate::{until, waits_for, words};

const WHOLE: &str = "    - { name: web, command: { list: [cat, web.json], reloadAll: [touch, order-web+all] } }\n";
const HOT: &str = "    - { name: web, reload: hot, command: { list: [cat, web.json] } }\n";

fn member(name: &str) -> ReloadRequest {
    ReloadRequest::Member(name.to_owned())
}

fn orders(shop: &Shop, order: &str) -> usize {
    shop.reloads().iter().filter(|one| *one == order).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_is_rolled_by_its_orchestrator_is_told_once_for_each_write() {
    let shop = Shop::with(3).await;
    let document = shop.document(WHOLE, "");
    let users = shop.users(6);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert_eq!(shop.reloads(), ["web/all"; 3]);
    assert!(!shop.accepted_somewhere(FIRST_KEY));
    assert_eq!(users.lost(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_a_whole_reload_leaves_behind_is_named_and_nothing_is_promoted() {
    let shop = Shop::with(3).await;
    let document = shop.document(WHOLE, "");
    shop.quirks("web-1", |quirks| quirks.stuck = true);
    let mut assembly = shop.assembly(&document);
    assembly.consumers[0].reload_timeout = Duration::from_secs(1);
    let outcome = shop.engine_of(assembly).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::HumanMustDecide, Some(Stage::Accepting)), "{outcome:?}");
    assert!(words(&outcome).contains("web-1") && !words(&outcome).contains("web-2"), "{}", words(&outcome));
    assert_eq!(shop.reloads(), ["web/all"; 2], "it was told again, once");
    assert_eq!(shop.minting(), [FIRST_KEY.to_owned()].into());
    shop.quirks("web-1", |quirks| quirks.stuck = false);
    shop.engine(&document).resume(Why::default()).await.unwrap();
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_read_the_file_again_by_themselves_are_rotated_without_any_restart() {
    let shop = Shop::with(3).await;
    for name in shop.names() {
        shop.quirks(&name, |quirks| quirks.hot = true);
    }
    let document = shop.document(HOT, "");
    let users = shop.users(6);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert_eq!(shop.reloads(), Vec::<String>::new());
    assert_eq!(shop.boots(), [1].into(), "every process is the one that was there before");
    assert!(!shop.accepted_somewhere(FIRST_KEY));
    assert_eq!(shop.minting().len(), 1);
    assert_eq!(users.lost(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_member_that_does_not_read_again_holds_the_gate_by_its_name_and_is_not_restarted() {
    let shop = Shop::with(3).await;
    for name in ["web-0", "web-2"] {
        shop.quirks(name, |quirks| quirks.hot = true);
    }
    let document = shop.document(HOT, "");
    let outcome = waits_for(&shop, &document, "web-").await;
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::Waiting, Some(Stage::Accepting)), "{}", words(&outcome));
    assert!(words(&outcome).contains("web-1") && !words(&outcome).contains("web-0"), "{}", words(&outcome));
    let error = shop.engine(&document).reload(member("web-1"), Why::default()).await.unwrap_err();
    assert!(error.to_string().contains("by themselves"), "it is not called reloaded when it was not: {error}");
    assert_eq!(shop.minting(), [FIRST_KEY.to_owned()].into());
    shop.quirks("web-1", |quirks| quirks.hot = true);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_that_never_change_are_rotated_too() {
    let shop = Shop::with(2).await;
    for name in shop.names() {
        shop.quirks(&name, |quirks| quirks.hot = true);
    }
    let members = shop.addresses("web").join(", ");
    let document = shop.document(&format!("    - {{ name: web, static: {{ members: [{members}] }} }}\n"), "");
    let users = shop.users(4);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert!(!shop.accepted_somewhere(FIRST_KEY));
    assert_eq!(users.lost(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_reloaded_by_name_as_often_as_a_person_asks_and_the_record_says_why() {
    let shop = Shop::with(2).await;
    let document = shop.document("", "");
    let why = || Why { reason: Reason::Incident, ticket: Some("OPS-7".into()), note: None };
    // Before any rotation, in the middle of one, and behind it.
    let reload = async || shop.engine(&document).reload(member("web-1"), why()).await;
    assert_eq!(reload().await.unwrap().exit, ExitKind::Done);
    assert_eq!(reload().await.unwrap().exit, ExitKind::Done);
    assert_eq!(orders(&shop, "web/web-1"), 2, "the second one is no repetition of the first");
    shop.engine(&document).rotate(until(Stage::Accepting)).await.unwrap();
    let before = orders(&shop, "web/web-1");
    assert_eq!(reload().await.unwrap().exit, ExitKind::Done);
    assert_eq!(orders(&shop, "web/web-1"), before + 1);
    assert_eq!(shop.engine(&document).rotate(RotateRequest::default()).await.unwrap().exit, ExitKind::Done);
    assert_eq!(reload().await.unwrap().exit, ExitKind::Done);
    assert_eq!(orders(&shop, "web/web-0"), 3, "nobody else was touched");
    let journal = shop.journal();
    let recorded = journal.lines().filter(|line| line.contains("\"reloadMember\"")).collect::<Vec<_>>();
    assert_eq!(recorded.len(), 4);
    assert!(recorded.iter().all(|line| line.contains("OPS-7") && line.contains("incident") && line.contains("web-1")));
    let error = shop.engine(&document).reload(member("web-7"), why()).await.unwrap_err();
    assert!(error.to_string().contains("web-7") && error.to_string().contains("web-0"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_does_not_come_back_from_a_reload_by_name_is_said() {
    let shop = Shop::with(2).await;
    let document = shop.document("", "");
    shop.quirks("web-1", |quirks| quirks.does_not_come_back = true);
    let mut assembly = shop.assembly(&document);
    assembly.consumers[0].reload_timeout = Duration::from_secs(1);
    let error = shop.engine_of(assembly).reload(member("web-1"), Why::default()).await.unwrap_err();
    assert_eq!(error.exit(), ExitKind::HumanMustDecide, "{error:?}");
    assert!(error.to_string().contains("web-1"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn laggards_are_reloaded_on_purpose_during_a_rotation_and_behind_it() {
    let shop = Shop::with(3).await;
    let document = shop.document("", "");
    shop.quirks("web-1", |quirks| quirks.stuck = true);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::HumanMustDecide, "{}", words(&outcome));
    assert!(words(&outcome).contains("web-1"), "{}", words(&outcome));
    let before = orders(&shop, "web/web-1");
    shop.quirks("web-1", |quirks| quirks.stuck = false);
    let outcome = shop.engine(&document).reload(ReloadRequest::Laggards, Why::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert_eq!(orders(&shop, "web/web-1"), before + 1, "this attempt is one of its own");
    assert_eq!(orders(&shop, "web/web-0"), 1, "who is proven is left alone");
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));

    // Behind the rotation a member comes up with what somebody kept for it.
    let before = shop.reloads().len();
    let outcome = shop.engine(&document).reload(ReloadRequest::Laggards, Why::default()).await.unwrap();
    assert!(outcome.summary.contains("nobody was reloaded"), "{}", outcome.summary);
    shop.quirks("web-2", |quirks| quirks.mints_under = Some("77".repeat(8) + &"a5c1e9f3".repeat(14)));
    let error = shop.engine(&document).reload(ReloadRequest::Laggards, Why::default()).await.unwrap_err();
    assert!(matches!(&error, EngineError::HumanMustDecide { decision } if decision.contains("web-2")), "{error:?}");
    shop.quirks("web-2", |quirks| quirks.mints_under = None);
    shop.quirks("web-0", |quirks| quirks.stuck = true);
    assert!(shop.reloads()[before..].iter().all(|order| order == "web/web-2"), "{:?}", &shop.reloads()[before..]);
    assert_eq!(shop.journal().matches("\"reloadLaggards\"").count(), 3);
}
