//! Several consumers of one key, and several stores that hold it.

use std::sync::Arc;
use std::time::Duration;

use keyroll_engine::{
    CrashPoint, Engine, EngineError, ExitKind, Hooks, Moment, Outcome, RollbackRequest, RotateRequest,
};
use keyroll_rotation::Stage;

use crate::shop::{FIRST_KEY, Shop, WEB, now_instant};
use crate::{until, waits_for, words};

const WORKERS: &str = "    - { name: jobs, worker: true, command: { list: [cat, jobs.json], reload: [touch, \"order-jobs+{member}\"] } }\n";
const MAY_BE_EMPTY: &str = "    - { name: reports, mayBeEmpty: true, command: { list: [cat, reports.json], reload: [touch, \"order-reports+{member}\"] } }\n";
const LOG: &str = "  evidence:
    log:
      pattern: 'boot=(?P<boot>\\d+) active=(?P<active>\\S+) accept=(?P<accept>\\S+)'
      command: [cat, \"{member}.log\"]
";
const TWO_STORES: &str = "  stores:\n    - envFile: { path: .env }\n    - envFile: { path: other.env }\n";
const TWO_FLEETS: &str =
    "    - { name: web, command: { list: [cat, web.json], reload: [touch, \"order-web+{member}\"] } }
    - { name: other, command: { list: [cat, other.json], reload: [touch, \"order-other+{member}\"] } }
";

/// Does something at one point, once.
struct At {
    what: &'static str,
    stage: Stage,
    act: Box<dyn Fn() + Send + Sync>,
    done: std::sync::atomic::AtomicBool,
}

impl At {
    fn of(stage: Stage, what: &'static str, act: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { what, stage, act: Box::new(act), done: false.into() })
    }
}

impl Hooks for At {
    fn at(&self, point: &CrashPoint) {
        let here = point.what == self.what && point.moment == Moment::Before && point.stage == Some(self.stage);
        if here && !self.done.swap(true, std::sync::atomic::Ordering::SeqCst) {
            (self.act)();
        }
    }
}

async fn shop_of_two_stores() -> (Shop, String) {
    let shop = Shop::with(2).await;
    shop.write_env("other.env", FIRST_KEY);
    shop.start("other", "other-0", "other.env");
    let document = shop.document(TWO_FLEETS, TWO_STORES);
    (shop, document)
}

fn keys_of(shop: &Shop, env: &str) -> (String, Option<String>) {
    let text = shop.env(env);
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(ToOwned::to_owned);
    (value("SECRET_KEY_BASE=").unwrap(), value("SECRET_KEY_BASE_ACCEPT=").filter(|accept| !accept.is_empty()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_without_an_address_is_proven_by_its_own_log() {
    let shop = Shop::with(1).await;
    shop.start_worker("jobs", "jobs-0", ".env");
    let document = shop.document(&format!("{WEB}{WORKERS}"), LOG);
    shop.quirks("jobs-0", |quirks| quirks.stuck = true);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::HumanMustDecide, Some(Stage::Accepting)), "{outcome:?}");
    assert!(words(&outcome).contains("jobs-0"), "the worker that kept its key is named: {}", words(&outcome));
    assert!(!words(&outcome).contains("web-0"), "{}", words(&outcome));
    assert_eq!(shop.minting(), [FIRST_KEY.to_owned()].into(), "nobody was promoted");
    shop.quirks("jobs-0", |quirks| quirks.stuck = false);
    shop.engine(&document).resume(keyroll_engine::Why::default()).await.unwrap();
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert!(!shop.accepted_somewhere(FIRST_KEY));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_tells_nothing_is_proven_by_its_start_and_so_reloaded_only_behind_settle() {
    let shop = Shop::with(1).await;
    shop.start_worker("jobs", "jobs-0", ".env");
    let document = shop.document(&format!("{WEB}{WORKERS}"), "");
    let users = shop.users(4);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert!(!shop.accepted_somewhere(FIRST_KEY));
    let reloads = shop.reloads().iter().filter(|order| *order == "jobs/jobs-0").count();
    assert_eq!(reloads, 3, "once for each write, because its first start already proves it: {:?}", shop.reloads());
    assert_eq!(users.lost(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_declared_empty_passes_and_one_that_was_not_declared_blocks_by_name() {
    let shop = Shop::with(1).await;
    shop.empty("reports");
    let document = shop.document(&format!("{WEB}{MAY_BE_EMPTY}"), "");
    let outcome = shop.engine(&document).rotate(until(Stage::Accepting)).await.unwrap();
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::Waiting, Some(Stage::Promoting)), "{}", words(&outcome));
    // Now it is not declared any more, and the next gate asks for somebody.
    let undeclared = document.replace("mayBeEmpty: true, ", "");
    let outcome = waits_for(&shop, &undeclared, "reports").await;
    assert_eq!(outcome.exit, ExitKind::Waiting, "{}", words(&outcome));
    assert!(words(&outcome).contains("reports"), "{}", words(&outcome));
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zero_members_in_total_never_pass_even_where_each_consumer_may_be_empty() {
    let shop = Shop::with(1).await;
    let consumers = WEB.replace("name: web,", "name: web, mayBeEmpty: true,");
    let document = shop.document(&consumers, "");
    shop.engine(&document).rotate(until(Stage::Accepting)).await.unwrap();
    shop.empty("web");
    let outcome = waits_for(&shop, &document, "nobody").await;
    assert_eq!(outcome.exit, ExitKind::Waiting, "{}", words(&outcome));
    shop.start("web", "web-9", ".env");
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_are_promoted_only_when_the_members_of_both_are_proven() {
    let (shop, document) = shop_of_two_stores().await;
    shop.quirks("other-0", |quirks| quirks.stuck = true);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!((outcome.exit, outcome.stage), (ExitKind::HumanMustDecide, Some(Stage::Accepting)), "{outcome:?}");
    assert!(words(&outcome).contains("other-0"), "{}", words(&outcome));
    for env in [".env", "other.env"] {
        assert_eq!(keys_of(&shop, env).0, FIRST_KEY, "G1 has not passed in every store, so neither is promoted");
    }
    shop.quirks("other-0", |quirks| quirks.stuck = false);
    shop.engine(&document).resume(keyroll_engine::Why::default()).await.unwrap();
    let users = shop.users(4);
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert_eq!(keys_of(&shop, ".env"), keys_of(&shop, "other.env"));
    assert_eq!(shop.minting().len(), 1);
    assert_eq!(users.lost(), Vec::<String>::new());
}

/// Kills a driver before it writes the second store in `stage`.
async fn killed_between_the_stores(shop: &Shop, document: &str, stage: Stage) {
    let engine: Engine = shop.engine(document).with_hooks(At::of(stage, "write store 1", || {
        // Without a message: this is meant, and the test goes on.
        std::panic::resume_unwind(Box::new("killed"));
    }));
    let killed = tokio::spawn(async move { engine.rotate(RotateRequest::default()).await }).await;
    assert!(killed.unwrap_err().is_panic());
    assert_ne!(keys_of(shop, ".env"), keys_of(shop, "other.env"), "one store is written, the other is not");
}

/// Another test of this process may just be starting a command, which has the dead driver's lock with it for a moment.
async fn unlocked(drive: impl AsyncFn() -> Result<Outcome, EngineError>) -> Outcome {
    let since = now_instant();
    loop {
        match drive().await {
            Err(EngineError::Locked { .. }) if since.elapsed() < Duration::from_secs(30) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            ended => return ended.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_dies_between_the_writes_of_two_stores_is_taken_up_with_the_same_candidate() {
    for stage in [Stage::Accepting, Stage::Promoting, Stage::Retiring] {
        let (shop, document) = shop_of_two_stores().await;
        let users = shop.users(4);
        killed_between_the_stores(&shop, &document, stage).await;
        let outcome = unlocked(async || shop.engine(&document).rotate(RotateRequest::default()).await).await;
        assert_eq!(outcome.exit, ExitKind::Done, "{stage:?}: {}", words(&outcome));
        assert_eq!(keys_of(&shop, ".env"), keys_of(&shop, "other.env"), "{stage:?}");
        assert_eq!(shop.journal().matches("\"keyIdentified\"").count(), 1, "{stage:?}: one candidate");
        assert!(!shop.accepted_somewhere(FIRST_KEY), "{stage:?}");
        assert_eq!(users.lost(), Vec::<String>::new(), "{stage:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_back_from_between_two_stores_goes_back_from_the_one_that_is_further() {
    for stage in [Stage::Promoting, Stage::Retiring] {
        let (shop, document) = shop_of_two_stores().await;
        let users = shop.users(4);
        killed_between_the_stores(&shop, &document, stage).await;
        let outcome = unlocked(async || shop.engine(&document).rollback(RollbackRequest::default()).await).await;
        assert_eq!(outcome.exit, ExitKind::Done, "{stage:?}: {}", words(&outcome));
        for env in [".env", "other.env"] {
            assert_eq!(keys_of(&shop, env), (FIRST_KEY.to_owned(), None), "{stage:?} {env}");
        }
        assert_eq!(users.lost(), Vec::<String>::new(), "{stage:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_that_is_edited_in_the_second_store_just_before_its_write_is_kept() {
    let (shop, document) = shop_of_two_stores().await;
    let path = shop.path("other.env");
    let hook = At::of(Stage::Promoting, "write store 1", move || {
        let text = std::fs::read_to_string(&path).unwrap().replace("PORT=3000", "PORT=4000");
        std::fs::write(&path, text).unwrap();
    });
    let outcome = shop.engine(&document).with_hooks(hook).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert!(shop.env("other.env").contains("PORT=4000"), "{}", shop.env("other.env"));
    assert_eq!(keys_of(&shop, ".env"), keys_of(&shop, "other.env"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_key_in_the_second_store_just_before_its_write_halts_and_is_not_overwritten() {
    let (shop, document) = shop_of_two_stores().await;
    let users = shop.users(4);
    let foreign = "5e2d".repeat(32).replacen("5e2d5e2d", "0a1b7c9d", 3);
    let (path, written) = (shop.path("other.env"), foreign.clone());
    let hook = At::of(Stage::Promoting, "write store 1", move || {
        let text = std::fs::read_to_string(&path).unwrap().replace(FIRST_KEY, &written);
        std::fs::write(&path, text).unwrap();
    });
    let outcome = shop.engine(&document).with_hooks(hook).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Drift, "{}", words(&outcome));
    assert!(shop.env("other.env").contains(&foreign), "nothing was mended in silence");
    let mended = shop.env("other.env").replace(&foreign, FIRST_KEY);
    std::fs::write(shop.path("other.env"), mended).unwrap();
    let outcome = shop.engine(&document).rotate(RotateRequest::default()).await.unwrap();
    assert_eq!(outcome.exit, ExitKind::Done, "{}", words(&outcome));
    assert_eq!(keys_of(&shop, ".env"), keys_of(&shop, "other.env"));
    assert_eq!(users.lost(), Vec::<String>::new());
}
