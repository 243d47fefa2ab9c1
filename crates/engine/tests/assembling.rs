//! From a `keyroll.yaml` as people write it to stores and fleets that answer.

use std::path::Path;

use keyroll_engine::config::SessionKey;
use keyroll_engine::{Colour, Engine, EngineError, Operator, RotateRequest, assemble};

const DOCUMENT: &str = r#"
apiVersion: keyroll.dev/v1alpha1
kind: SessionKey
metadata: { name: storefront }
spec:
  profile: { name: rails, parameters: { cookie: _storefront_session } }
  store: { envFile: { path: .env } }
  consumers:
    - command: { list: [echo, "[]"], reload: ["true"] }
  sessions: { maxLifetime: 3h, drain: lifetime }
  probe: { path: /me }
"#;

fn engine(folder: &Path) -> Engine {
    engine_of(DOCUMENT, folder)
}

fn engine_of(document: &str, folder: &Path) -> Engine {
    let key = SessionKey::parse(document, &folder.join("keyroll.yaml")).unwrap();
    let state = folder.join("state");
    let assembly = assemble(&key, &state).unwrap();
    Engine::new(assembly, state, Operator { name: "ada".into(), host: "here".into() })
}

#[tokio::test]
async fn a_fleet_without_members_is_refused_and_the_file_is_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let before = format!("# the shop\nPORT=3000\nSECRET_KEY_BASE={}\n", "4f9a1c".repeat(21) + "4f");
    std::fs::write(folder.path().join(".env"), &before).unwrap();
    let report = engine(folder.path()).preflight().await;
    let red: Vec<_> = report.checks.iter().filter(|check| check.colour == Colour::Red).collect();
    assert!(red.iter().any(|check| check.name == "members.any"), "{report:?}");
    assert!(red.iter().all(|check| check.fix.is_some()), "{red:?}");
    let error = engine(folder.path()).rotate(RotateRequest::default()).await.unwrap_err();
    assert!(matches!(error, EngineError::Preflight { .. }), "{error:?}");
    assert_eq!(std::fs::read_to_string(folder.path().join(".env")).unwrap(), before);
}

#[tokio::test]
async fn a_fleet_that_can_not_be_listed_is_not_called_empty() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), format!("SECRET_KEY_BASE={}4f\n", "4f9a1c".repeat(21))).unwrap();
    let document = DOCUMENT.replace(r#"[echo, "[]"]"#, "[./nowhere]");
    let report = engine_of(&document, folder.path()).preflight().await;
    assert!(!report.passed());
    assert!(report.checks.iter().any(|check| check.name == "members.list" && check.colour == Colour::Unknown));
    assert!(report.checks.iter().all(|check| check.name != "members.any"), "{report:?}");
}

#[tokio::test]
async fn a_plan_is_made_without_anything_being_written() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), format!("SECRET_KEY_BASE={}\n", "0123456789abcdef".repeat(8))).unwrap();
    let plan = engine(folder.path()).plan(keyroll_rotation::Mode::Staged).await.unwrap();
    let kinds: Vec<_> = plan.steps.iter().map(|step| (step.stage.as_str(), step.kind.as_str())).collect();
    assert_eq!(kinds.first(), Some(&("staged", "write")));
    assert!(kinds.contains(&("draining", "wait")));
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, [".env"], "only the file that was there");
}
