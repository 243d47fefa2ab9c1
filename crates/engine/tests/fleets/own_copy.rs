//! `rollback --key-from`: the operator's own copy of the old key, for the day on which the escrowed one is gone.

use std::time::Duration;

use keyroll_engine::{
    CompleteRequest, Compromised, EngineError, ExitKind, Overrides, Patience, RevokeRequest, RollbackRequest,
    RotateRequest, StoreLeak, Why,
};
use keyroll_keyring::Secret;
use keyroll_rotation::{Mode, Stage};

use crate::shop::{FIRST_KEY, Shop};
use crate::{until, words};

fn with_copy(copy: &str) -> RollbackRequest {
    RollbackRequest { key_from: Some(Secret::from_text(copy)), ..RollbackRequest::default() }
}

/// Somebody tidied up the hidden file: the escrowed copies are gone, the stamp is not.
fn lose_escrow(shop: &Shop) {
    let path = shop.path("..env.keyroll");
    let mut hidden: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(hidden["current"]["escrow"].as_array().unwrap().len(), 1, "the old key was in escrow");
    hidden["current"]["escrow"] = serde_json::json!([]);
    std::fs::write(&path, serde_json::to_vec_pretty(&hidden).unwrap()).unwrap();
}

/// How many keys wait in escrow.
fn escrowed(shop: &Shop) -> usize {
    let hidden: serde_json::Value =
        serde_json::from_slice(&std::fs::read(shop.path("..env.keyroll")).unwrap()).unwrap();
    hidden["current"]["escrow"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_escrow_leaves_no_way_back_until_the_operator_brings_the_key() {
    let shop = Shop::with(2).await;
    let document = shop.document("", "");
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    lose_escrow(&shop);
    let before = shop.env(".env");

    let error = shop.engine(&document).rollback(RollbackRequest::default()).await.unwrap_err();
    assert!(error.to_string().contains("--key-from"), "{error}");
    assert_eq!(shop.env(".env"), before);

    let error = shop.engine(&document).rollback(with_copy(&"ab".repeat(64))).await.unwrap_err();
    assert!(matches!(error, EngineError::RefusedBecause { .. }), "{error:?}");
    let other = FIRST_KEY.replace("1f6b", "2f6b");
    let error = shop.engine(&document).rollback(with_copy(&other)).await.unwrap_err();
    assert!(error.to_string().contains("fingerprint"), "{error}");
    assert!(!error.to_string().contains("2f6b"), "no piece of a key is shown");
    assert_eq!((shop.env(".env"), escrowed(&shop)), (before, 0), "a wrong key changes nothing");

    let users = shop.users(6);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let outcome = shop.engine(&document).rollback(with_copy(FIRST_KEY)).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert_eq!(shop.minting(), [FIRST_KEY.to_owned()].into());
    assert_eq!(users.lost(), Vec::<String>::new());
    assert!(shop.journal().contains("rollbackWithOwnCopy"), "it is in the record whose copy it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_ends_with_a_newline_is_taken_without_it_and_only_if_it_is_the_key_then() {
    let shop = Shop::with(1).await;
    let document = shop.document("", "");
    shop.engine(&document).rotate(until(Stage::Draining)).await.unwrap();
    let error = shop.engine(&document).rollback(with_copy(&format!("{}\n", "cd".repeat(64)))).await.unwrap_err();
    assert!(matches!(error, EngineError::RefusedBecause { .. }), "{error:?}");
    let error = shop.engine(&document).rollback(with_copy(&format!("{FIRST_KEY} x"))).await.unwrap_err();
    assert!(matches!(error, EngineError::RefusedBecause { .. }), "{error:?}");
    let outcome = shop.engine(&document).rollback(with_copy(&format!("{FIRST_KEY}\n"))).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert!(shop.env(".env").contains(&format!("SECRET_KEY_BASE={FIRST_KEY}\n")), "{}", shop.env(".env"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_destruction_there_is_only_the_way_forward_also_with_a_copy() {
    let shop = Shop::with(1).await;
    let document = shop.document("", "").replace("escrow: 1h", "escrow: 100ms");
    shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    if escrowed(&shop) > 0 {
        assert_eq!(shop.engine(&document).complete(CompleteRequest::default()).await.unwrap().exit, ExitKind::Done);
    }
    assert_eq!(escrowed(&shop), 0, "its time in escrow is over");
    let before = shop.env(".env");
    let error = shop.engine(&document).rollback(with_copy(FIRST_KEY)).await.unwrap_err();
    assert!(error.to_string().contains("forward"), "{error}");
    assert_eq!((shop.env(".env"), escrowed(&shop)), (before, 0), "a destroyed key does not return");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compromised_key_is_not_taken_back_from_anybody() {
    let shop = Shop::with(1).await;
    let document = shop.document("", "").replace("settle: 150ms", "settle: 1m");
    let leak = RevokeRequest {
        mode: Mode::HardCutover,
        compromised: Compromised::Old,
        store: StoreLeak::Excluded,
        patience: Patience::None,
        overrides: Overrides::default(),
        why: Why::default(),
    };
    // It stops where the new key is written and not yet proven.
    let outcome = shop.engine(&document).revoke(leak).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Waiting, "{}", words(&outcome));
    let escrow = escrowed(&shop);
    let error = shop.engine(&document).rollback(with_copy(FIRST_KEY)).await.unwrap_err();
    assert!(error.to_string().contains("compromised"), "{error}");
    assert_eq!(escrowed(&shop), escrow, "the leaked key was not put into the store");
    assert!(!shop.env(".env").contains(FIRST_KEY));
}
