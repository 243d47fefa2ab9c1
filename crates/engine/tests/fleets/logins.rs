//! `probe.login`: a scripted login on each member, tried on every other one.

use std::time::Duration;

use keyroll_engine::{ExitKind, RotateRequest};
use keyroll_rotation::Stage;

use crate::shop::{FIRST_KEY, Shop};
use crate::{at_most, until, words};

const LOGIN: &str = "  probe:
    path: /me
    accepted: [200]
    rejected: [401]
    login:
      - { path: /login, form: { user: probe, password: { file: password } } }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_is_proven_by_logins_that_are_tried_everywhere_and_shows_no_credential() {
    let shop = Shop::with(3).await;
    let document = shop.document("", LOGIN);
    let users = shop.users(6);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert!(!shop.accepted_somewhere(FIRST_KEY));
    assert_eq!(users.lost(), Vec::<String>::new());
    let verified = shop.engine(&document).verify().await.unwrap();
    assert!(verified.passed(), "{verified:?}");
    for entry in std::fs::read_dir(shop.path("state")).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        let text = String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned();
        assert!(!text.contains("hunter2"), "{:?} holds the password", entry.path());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_credential_fails_preflight_and_names_the_step() {
    let shop = Shop::with(1).await;
    std::fs::write(shop.path("password"), "swordfish-of-the-other-shop").unwrap();
    let login_alone = LOGIN.replace("    path: /me\n", "    path: /login\n    method: PUT\n");
    let report = shop.engine(&shop.document("", &login_alone)).preflight().await;
    assert!(!report.passed());
    let text = serde_json::to_string(&report).unwrap();
    assert!(text.contains("step 1 of the login"), "{text}");
    assert!(!text.contains("swordfish"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_one_member_refuses_holds_the_gate_by_that_members_name() {
    let shop = Shop::with(3).await;
    let document = shop.document("", LOGIN);
    shop.engine(&document).rotate(until(Stage::Staged)).await.unwrap();
    // It keeps its logins in its own memory: fine alone, and a logout for whoever comes from another member.
    shop.quirks("web-1", |quirks| quirks.knows_its_own_logins_only = true);
    let outcome = shop.engine(&document).rotate(at_most(Duration::from_secs(4))).await.unwrap();
    assert_ne!(outcome.exit, ExitKind::Done);
    assert_eq!(outcome.stage, Some(Stage::Accepting), "{}", words(&outcome));
    assert!(words(&outcome).contains("web-1"), "{}", words(&outcome));
    assert!(!words(&outcome).contains("web-0") && !words(&outcome).contains("web-2"), "{}", words(&outcome));
    assert_eq!(shop.minting(), [FIRST_KEY.to_owned()].into(), "nobody was promoted");
    shop.quirks("web-1", |quirks| quirks.knows_its_own_logins_only = false);
    if outcome.exit == ExitKind::HumanMustDecide {
        shop.engine(&document).resume(keyroll_engine::Why::default()).await.unwrap();
    }
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_logs_people_in_under_a_key_of_its_own_is_found_by_the_others() {
    let shop = Shop::with(3).await;
    let document = shop.document("", LOGIN);
    shop.engine(&document).rotate(until(Stage::Accepting)).await.unwrap();
    shop.quirks("web-2", |quirks| quirks.mints_under = Some("0badc0de".repeat(15) + "1f2e3d4c"));
    let outcome = shop.engine(&document).rotate(at_most(Duration::from_secs(6))).await.unwrap();
    assert_ne!(outcome.exit, ExitKind::Done);
    assert_ne!(outcome.stage, Some(Stage::Draining), "{}", words(&outcome));
    assert!(shop.env(".env").contains(FIRST_KEY), "the old key is still trusted");
    let shown = shop.journal();
    assert!(shown.contains("web-0") && words(&outcome).contains("web-"), "{}", words(&outcome));
}
