//! Fleets that do not stand still: newcomers, replaced, unready, flapping and crash-looping members.

use std::sync::Arc;
use std::time::Duration;

use keyroll_engine::{ExitKind, RotateRequest, Why};
use keyroll_rotation::Stage;

use crate::shop::{FIRST_KEY, Shop};
use crate::{until, words};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newcomers_replaced_and_flapping_members_do_not_starve_a_gate_and_lose_nobody() {
    let shop = Arc::new(Shop::with(3).await);
    let document = shop.document("", "");
    // Before anything is written, everybody has to be there and right.
    shop.engine(&document).rotate(until(Stage::Staged)).await.unwrap();
    let users = shop.users(6);
    let churn = {
        let shop = Arc::clone(&shop);
        tokio::spawn(async move {
            for round in 0.. {
                tokio::time::sleep(Duration::from_millis(400)).await;
                shop.start("web", &format!("extra-{round}"), ".env");
                shop.restart("web-0");
                shop.quirks("web-2", |quirks| quirks.unready = round % 3 == 2);
                if round > 3 {
                    shop.stop(&format!("extra-{}", round - 4));
                }
            }
        })
    };
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    churn.abort();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert!(!shop.accepted_somewhere(FIRST_KEY));
    assert_eq!(users.lost(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_came_up_with_an_old_file_is_named_and_reloaded_before_anything_is_promoted() {
    let shop = Shop::with(2).await;
    std::fs::copy(shop.path(".env"), shop.path("old.env")).unwrap();
    let document = shop.document("", "").replace("settle: 150ms", "settle: 2s");
    let engine = shop.engine(&document);
    let driving = tokio::spawn(async move { engine.rotate(until(Stage::Accepting)).await });
    while shop.boots() != [2].into() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The roll is over, the gate is not: this one boots from what a cache still had.
    shop.start("web", "web-9", "old.env");
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::fs::copy(shop.path(".env"), shop.path("old.env")).unwrap();
    let outcome = driving.await.unwrap().unwrap();
    assert_eq!(outcome.stage, Some(Stage::Promoting), "{}", words(&outcome));
    assert_eq!(shop.reloads().iter().filter(|order| *order == "web/web-9").count(), 1, "{:?}", shop.reloads());
    assert!(shop.journal().contains("web-9: it rejects k2"), "it was named while it lagged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unready_member_blocks_unless_its_run_began_behind_settle() {
    let shop = Shop::with(2).await;
    let document = shop.document("", "").replace("settle: 150ms", "settle: 15s");
    shop.engine(&document).rotate(until(Stage::Staged)).await.unwrap();
    // It hangs: it does not answer, and no restart changes that.
    shop.quirks("web-1", |quirks| quirks.unready = true);
    let mut assembly = shop.assembly(&document);
    assembly.consumers[0].reload_timeout = Duration::from_millis(100);
    let outcome = shop.engine_of(assembly).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::HumanMustDecide, Some(Stage::Accepting)), "{outcome:?}");
    assert!(words(&outcome).contains("web-1") && !words(&outcome).contains("web-0"), "{}", words(&outcome));
    assert_eq!(shop.minting(), [FIRST_KEY.to_owned()].into());
    // A run that begins behind settle, and behind the leeway for clocks, can have read nothing older, whether or not it ever answers.
    tokio::time::sleep(Duration::from_secs(18)).await;
    shop.engine(&document).resume(Why::default()).await.unwrap();
    let outcome = shop.engine(&document).rotate(until(Stage::Accepting)).await.unwrap();
    assert_eq!(outcome.stage, Some(Stage::Promoting), "{}", words(&outcome));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_looping_member_does_not_hold_up_the_others_for_ever() {
    let shop = Arc::new(Shop::with(2).await);
    let document = shop.document("", "");
    shop.engine(&document).rotate(until(Stage::Staged)).await.unwrap();
    shop.quirks("web-1", |quirks| quirks.unready = true);
    let looping = {
        let shop = Arc::clone(&shop);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(300)).await;
                shop.restart("web-1");
            }
        })
    };
    let users = shop.users(4);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    looping.abort();
    assert_eq!(outcome.exit, ExitKind::Done, "each new run has read what is there: {}", words(&outcome));
    assert_eq!(users.lost(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_does_not_come_back_is_named_and_the_next_one_is_left_alone() {
    let shop = Shop::with(3).await;
    let document = shop.document("", "");
    shop.quirks("web-1", |quirks| quirks.does_not_come_back = true);
    let mut assembly = shop.assembly(&document);
    assembly.consumers[0].reload_timeout = Duration::from_secs(1);
    let outcome = shop.engine_of(assembly).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::HumanMustDecide, "{}", words(&outcome));
    assert!(words(&outcome).contains("web-1"), "by its name, not by a number: {}", words(&outcome));
    assert_eq!(shop.reloads(), ["web/web-0", "web/web-1"]);
    // Another process, without anything but the state folder and the store, knows it too.
    let explained = shop.engine(&document).status().await.unwrap();
    assert!(serde_json::to_string(&explained).unwrap().contains("web-1"));
    shop.quirks("web-1", |quirks| (quirks.does_not_come_back, quirks.unready) = (false, false));
    shop.engine(&document).resume(Why::default()).await.unwrap();
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
}
