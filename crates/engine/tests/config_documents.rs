//! Documents that are taken: short forms, defaults, and what they are parsed into.

use std::path::Path;

use keyroll_engine::config::{
    ConsumerKind, Drain, Expectation, Instances, LoginBody, MaxLifetime, Payload, Period, ProfileSource, ReadyCheck,
    Reissue, ReloadPlan, RequestValue, SecretReference, SessionKey, Standby, StoreSpec,
};
use keyroll_rotation::DrainRule;
use keyroll_rotation::gate::{Declared, MemberKind};

const HEAD: &str = "apiVersion: keyroll.dev/v1alpha1\nkind: SessionKey\nmetadata: { name: shop }\nspec:\n";

fn parse(spec: &str) -> SessionKey {
    match SessionKey::parse(&format!("{HEAD}{spec}"), Path::new("/srv/shop/keyroll.yaml")) {
        Ok(document) => document,
        Err(errors) => panic!("{errors}"),
    }
}

const SMALL: &str = r#"
  profile: rails
  store: { envFile: { path: shop.env } }
  consumers:
    - command: { list: [./fleet, list], reload: [./fleet, reload, "{member}"] }
"#;

#[test]
fn every_profile_that_is_shipped_can_be_named_with_its_variant() {
    for name in keyroll_keyring::Profile::names() {
        let named = SMALL.replace("profile: rails", &format!("profile: {name}"));
        assert_eq!(parse(&named).profile.source, ProfileSource::BuiltIn(name.clone()));
        assert_eq!(keyroll_engine::profile(&parse(&named).profile).unwrap().name(), name);
    }
}

#[test]
fn a_small_document_has_safe_defaults() {
    let document = parse(SMALL);
    assert_eq!(document.name.as_str(), "shop");
    assert_eq!(document.profile.source, ProfileSource::BuiltIn("rails".into()));
    let StoreSpec::EnvFile { path, .. } = document.stores.first() else { panic!("{:?}", document.stores) };
    assert_eq!(path.resolved(), Path::new("/srv/shop/shop.env"));
    let consumer = document.consumers.first();
    assert_eq!((consumer.role, consumer.emptiness), (MemberKind::Serving, Declared::Populated));
    let ReloadPlan::Roll { parallel, surge } = consumer.reload else { panic!("{:?}", consumer.reload) };
    assert_eq!((parallel.get(), surge), (1, 0));
    assert_eq!(document.sessions.max_lifetime, MaxLifetime::Undeclared);
    assert_eq!(document.sessions.drain, Drain::Undeclared);
    assert_eq!(document.sessions.leeway, Period::seconds(30));
    assert_eq!(document.policy.settle, Period::seconds(60));
    assert_eq!(document.policy.escrow, Period::hours(24));
    assert_eq!(document.policy.standby, Standby::None);
    assert!(document.probe.is_none());
}

#[test]
fn every_form_that_people_write_is_understood() {
    let document = parse(
        r#"
  profile:
    name: rails
    names: { active: KEY, accept: [OLD_KEY] }
    cookie: _shop_session
    digest: sha1
    metadata: on
    parameters: { flavour: plain }
  stores:
    - envFile: { path: /etc/shop/env, dialect: systemd }
    - file: { path: session.key, content: bytes }
  consumers:
    - process:
        command: [puma, -p, "{port}"]
        ports: [9001-9002, 9010]
        envFile: shop.env
        env: { RAILS_ENV: production, TOKEN_TTL: 3h, KEY_SECRET_FILE: /run/secrets/key }
        ready: /up
        stop: { signal: int, grace: 10s }
      reload: { parallel: 2, surge: 1 }
    - process: { command: [sidekiq], replicas: 2 }
      worker: true
      mayBeEmpty: true
    - static: { members: "http://10.0.0.5:9000" }
      name: edge
    - command: { list: "./fleet list | sort", reloadAll: ./fleet roll, shell: true, timeout: 2m }
  sessions: { maxLifetime: unbounded, idle: 15m, drainLimit: 30d, leastReissued: 99.5 % }
  probe:
    path: /me?full=1
    headers: { Accept: text/html, Authorization: { file: probe.auth } }
    accepted: { status: 2xx, header: { X-User: { matches: "^[0-9]+$" } } }
    rejected: { reissue: false, body: sign in }
    payload: { json: { user_id: 0 } }
    workers: 4
    workerHeader: X-Worker
    login:
      steps:
        - path: /login
          capture: { csrf: { body: 'name="token" value="([^"]+)"' } }
        - path: /login
          form: { user: probe, password: { env: PROBE_PASSWORD }, authenticity_token: { captured: csrf } }
          expect: 302
  evidence:
    report: /keyroll
    counter: {}
    orchestrator: P1
    errorRate: { threshold: 5 %, rollback: true }
  policy: { rotateEvery: 90 days, window: [daily 02:00-04:00 UTC, "Sat, Sun 10:00-12:00 Europe/London"], standby: yes }
"#,
    );
    assert_eq!(document.profile.parameters["metadata"], "on");
    assert_eq!(document.profile.parameters["flavour"], "plain");
    assert_eq!(document.profile.accept, ["OLD_KEY"]);
    let names: Vec<&str> = document.consumers.iter().map(|consumer| consumer.name.as_str()).collect();
    assert_eq!(names, ["process", "process-2", "edge", "command"]);
    let [web, worker, edge, rest] = document.consumers.as_slice() else { panic!() };
    let ConsumerKind::Process(process) = &web.kind else { panic!("{web:?}") };
    let Instances::Ports(ports) = &process.instances else { panic!("{process:?}") };
    assert_eq!(ports.iter().map(|port| port.get()).collect::<Vec<_>>(), [9001, 9002, 9010]);
    assert!(matches!(&process.ready.check, ReadyCheck::Http { path, .. } if path == "/up"));
    assert_eq!(process.stop.grace, Period::seconds(10));
    assert_eq!((worker.role, worker.emptiness), (MemberKind::Worker, Declared::MayBeEmpty));
    assert_eq!(edge.reload, ReloadPlan::Hot);
    let ConsumerKind::Command(command) = &rest.kind else { panic!("{rest:?}") };
    assert!(command.reload.is_none() && command.reload_all.is_some());
    assert!(
        matches!(document.sessions.max_lifetime, MaxLifetime::Unbounded { least_reissued, .. } if least_reissued.get() == 995)
    );
    assert_eq!(document.sessions.drain, Drain::Chosen(DrainRule::Counter));
    let probe = document.probe.as_ref().unwrap();
    assert!(probe.accepted.status.as_ref().unwrap().contains(204));
    assert_eq!(probe.rejected.reissue, Reissue::NotTheSame);
    assert_eq!(probe.payload, Some(Payload::Json(serde_json::json!({ "user_id": 0 }))));
    let steps = probe.login.as_ref().unwrap().as_slice();
    assert_eq!((steps[0].method.as_str(), steps[1].method.as_str()), ("GET", "POST"));
    let LoginBody::Form(form) = &steps[1].body else { panic!("{steps:?}") };
    assert_eq!(form["password"], RequestValue::Secret(SecretReference::Env("PROBE_PASSWORD".into())));
    assert_eq!(form["authenticity_token"], RequestValue::Captured("csrf".into()));
    assert_eq!(document.policy.windows.len(), 2);
    assert_eq!(document.policy.standby, Standby::Leave);
}

#[test]
fn a_probe_without_expectations_asks_for_re_issue() {
    let document = parse(&format!("{SMALL}  probe: {{ path: /me }}\n"));
    let probe = document.probe.unwrap();
    let reissue = |side: &Expectation| side.reissue;
    assert_eq!((reissue(&probe.accepted), reissue(&probe.rejected)), (Reissue::SameSession, Reissue::NotTheSame));
}

#[test]
fn the_hash_sees_what_is_said_and_not_how() {
    let base = parse(&format!("{SMALL}  sessions: {{ maxLifetime: 3h }}\n")).hash();
    let reworded = SMALL.replace("profile: rails", "# a comment\n  profile: { name: rails }");
    let other_words = parse(&format!("{reworded}  sessions: {{ leeway: 30s, maxLifetime: 180 minutes }}\n")).hash();
    assert_eq!(base, other_words);
    let text = format!("{HEAD}{SMALL}  sessions: {{ maxLifetime: 3h }}\n");
    let elsewhere = SessionKey::parse(&text, Path::new("/another/checkout/keyroll.yaml")).unwrap().hash();
    assert_eq!(base, elsewhere);
    for changed in [
        format!("{SMALL}  sessions: {{ maxLifetime: 4h }}\n"),
        format!("{}  sessions: {{ maxLifetime: 3h }}\n", SMALL.replace("shop.env", "other.env")),
        format!("{SMALL}  sessions: {{ maxLifetime: 3h }}\n  policy: {{ settle: 0s }}\n"),
    ] {
        assert_ne!(base, parse(&changed).hash(), "{changed}");
    }
}

#[test]
fn a_file_that_is_not_there_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let error = SessionKey::load(&folder.path().join("keyroll.yaml")).unwrap_err();
    assert!(error.to_string().contains("keyroll.yaml` can't be read"), "{error}");
}

#[test]
fn every_document_of_the_examples_is_taken_and_has_no_findings() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut taken = 0;
    for folder in std::fs::read_dir(examples).unwrap() {
        let file = folder.unwrap().path().join("keyroll.yaml");
        if !file.exists() {
            continue;
        }
        let document = SessionKey::load(&file).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(keyroll_engine::lint::config(&document), [], "{}", file.display());
        taken += 1;
    }
    assert!(taken > 0, "there is no example");
}
