//! Typical mistakes in `keyroll.yaml` and the exact words with which each is answered.
//!
//! The snapshots are the interface: whoever changes a message sees here what people will read.

use std::path::Path;

use keyroll_engine::config::SessionKey;

const GOOD: &str = r#"apiVersion: keyroll.dev/v1alpha1
kind: SessionKey
metadata: { name: storefront }
spec:
  profile: rails
  store: { envFile: { path: .env } }
  consumers:
    - command: { list: [./fleet, list], reload: [./fleet, reload, "{member}"] }
  sessions: { maxLifetime: 3h, drain: lifetime }
  probe: { path: /me, accepted: [200], rejected: [302, 401] }
  policy: { rotateEvery: 90d, window: "Mon-Thu 09:00-16:00 Europe/London", standby: true }
"#;

/// A name, what of the good document is replaced, and by what.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("an unknown field with a near name", "maxLifetime", "max_lifetime"),
    ("an unknown field that belongs elsewhere", "standby: true", "standby: true, maxLifetime: 3h"),
    ("an unknown field that belongs nowhere", "profile: rails", "profile: rails\n  colour: blue"),
    ("the wrong version", "v1alpha1", "v1"),
    ("no version", "apiVersion: keyroll.dev/v1alpha1\n", ""),
    ("no spec", GOOD_SPEC_MARK, ""),
    ("a name with capitals and spaces", "name: storefront", "name: Store Front"),
    ("a duration without a unit", "maxLifetime: 3h", "maxLifetime: 180"),
    ("a duration in months", "rotateEvery: 90d", "rotateEvery: 3 months"),
    ("a duration that is none", "rotateEvery: 90d", "rotateEvery: quarterly"),
    ("a window without a zone", " Europe/London", ""),
    ("a window with a misspelt zone", "Europe/London", "Europe/Lodnon"),
    ("a window with a misspelt day", "Mon-Thu", "Mon-Tuh"),
    ("a window that is never open", "09:00-16:00", "09:00-09:00"),
    ("unbounded alone", "maxLifetime: 3h, drain: lifetime", "maxLifetime: unbounded"),
    ("idle longer than the lifetime", "maxLifetime: 3h", "maxLifetime: 3h, idle: 2d"),
    ("a counter that nothing counts", "drain: lifetime", "drain: counter"),
    ("a drain by rows", "drain: lifetime", "drain: rows"),
    ("several keys", "profile: rails", "profile: rails\n  keys: [{ part: encryption, profile: rails }]"),
    ("a drain that does not exist", "drain: lifetime", "drain: lifetimes"),
    ("accepted and rejected overlap", "rejected: [302, 401]", "rejected: [200, 401]"),
    ("nothing says what rejected means", ", rejected: [302, 401]", ""),
    ("a status that is none", "[302, 401]", "[302, 4001]"),
    ("a probe through the load balancer", "path: /me", "path: https://shop.example/me"),
    ("a command as one text", "[./fleet, list]", "./fleet list --all"),
    ("a brace without quotes", "[./fleet, list]", "./fleet list {member}"),
    ("no way to reload", ", reload: [./fleet, reload, \"{member}\"]", ""),
    ("two kinds of consumer", "- command:", "- static: { members: [\"http://10.0.0.5\"] }\n      command:"),
    (
        "no consumers",
        "consumers:\n    - command: { list: [./fleet, list], reload: [./fleet, reload, \"{member}\"] }",
        "consumers: []",
    ),
    ("a value where a group must stand", "store: { envFile: { path: .env } }", "store: .env"),
    ("a list where a group must stand", "sessions: { maxLifetime: 3h, drain: lifetime }", "sessions: [3h]"),
    ("a value where a list must stand", "consumers:\n    - command", "consumers:\n      command"),
    ("store and stores", "store: {", "stores: []\n  store: {"),
    (
        "the same store twice",
        "store: { envFile: { path: .env } }",
        "stores: [{ envFile: { path: .env } }, { envFile: { path: ./.env } }]",
    ),
    ("a path with a tilde", "path: .env", "path: ~/shop/.env"),
    ("a profile by its file", "profile: rails", "profile: ./my.toml"),
    ("a profile that is not shipped", "profile: rails", "profile: rails/single_slot"),
    ("a boolean that is none", "standby: true", "standby: maybe"),
    ("a field twice", "rotateEvery: 90d", "rotateEvery: 90d, rotateEvery: 30d"),
    ("a second document", "standby: true }\n", "standby: true }\n---\nkind: SessionKey\n"),
    ("a quote that is not closed", "\"Mon-Thu 09:00-16:00 Europe/London\"", "\"Mon-Thu"),
    (
        "a password in clear",
        "path: /me",
        "path: /me, login: [{ path: /login, form: { user: probe, password: hunter2 } }]",
    ),
    (
        "a value of a secret where a name must stand",
        "path: /me",
        "path: /me, headers: { Authorization: { env: 'Bearer c2VjcmV0' } }",
    ),
    (
        "a secret in the environment",
        "command: { list: [./fleet, list], reload: [./fleet, reload, \"{member}\"] }",
        "process: { command: [puma], ports: 9001-9003, env: { SECRET_KEY_BASE: 0123456789abcdef0123456789abcdef } }",
    ),
    (
        "credentials in an address",
        "command: { list: [./fleet, list], reload: [./fleet, reload, \"{member}\"] }",
        "static: { members: [\"http://root:hunter2@10.0.0.5\"] }",
    ),
    (
        "a captured value that nobody captures",
        "path: /me",
        "path: /me, login: { steps: [{ path: /login, form: { authenticity_token: { captured: csrf } } }] }",
    ),
    ("a pattern that does not compile", "rejected: [302, 401]", "rejected: { body: { matches: '(sign in' } }"),
    (
        "a port twice",
        "command: { list: [./fleet, list], reload: [./fleet, reload, \"{member}\"] }",
        "process: { command: [puma], ports: [9001-9003, 9002] }",
    ),
    (
        "more at once than there are",
        "command: { list: [./fleet, list], reload: [./fleet, reload, \"{member}\"] }",
        "process: { command: [puma], ports: [9001, 9002] }\n      reload: { parallel: 3 }",
    ),
    (
        "a signal that does not exist",
        "command: { list: [./fleet, list], reload: [./fleet, reload, \"{member}\"] }",
        "process: { command: [puma], ports: 9001, stop: SIGTRM }",
    ),
    (
        "static members can't be rolled",
        "command: { list: [./fleet, list], reload: [./fleet, reload, \"{member}\"] }",
        "static: { members: [\"http://10.0.0.5\"] }\n      reload: { parallel: 1 }",
    ),
    (
        "a share without a sign",
        "maxLifetime: 3h, drain: lifetime",
        "maxLifetime: unbounded, drainLimit: 30d, leastReissued: 0.99",
    ),
    ("a login as one text", "path: /me", "path: /me, login: /login"),
    ("several mistakes at once", "maxLifetime: 3h", "maxLifetime: 3, leeway: soon, idle: -1h"),
];

/// Everything behind `metadata`; see [`broken`].
const GOOD_SPEC_MARK: &str = "spec and all behind it";

fn broken(from: &str, to: &str) -> String {
    if from == GOOD_SPEC_MARK {
        return GOOD.split("spec:").next().unwrap().to_owned();
    }
    assert!(GOOD.contains(from), "`{from}` is not in the good document");
    GOOD.replacen(from, to, 1)
}

#[test]
fn the_document_without_a_mistake_is_taken() {
    SessionKey::parse(GOOD, Path::new("keyroll.yaml")).unwrap();
}

#[test]
fn every_mistake_is_answered_with_its_place_its_reason_and_its_fix() {
    assert!(MISTAKES.len() >= 25);
    for (name, from, to) in MISTAKES {
        let text = broken(from, to);
        let errors = SessionKey::parse(&text, Path::new("keyroll.yaml")).expect_err(name);
        for error in errors.as_slice() {
            assert!(error.span.line > 0 && error.span.column > 0, "{name}: {error}");
            assert!(error.span.offset + error.span.len <= text.len() + 1, "{name}: {:?}", error.span);
            assert!(!error.fix.is_empty() && !error.why.is_empty(), "{name}");
        }
        insta::assert_snapshot!(name.replace([' ', '\''], "_"), errors.to_string());
    }
}

#[test]
fn a_secret_that_was_written_by_mistake_is_never_repeated() {
    for (name, from, to) in MISTAKES {
        let text = broken(from, to);
        let errors = SessionKey::parse(&text, Path::new("keyroll.yaml")).expect_err(name);
        for error in errors.as_slice() {
            let shown = format!("{error}{error:?}");
            for secret in ["hunter2", "c2VjcmV0", "0123456789abcdef"] {
                assert!(!shown.contains(secret), "{name}: {shown}");
            }
        }
    }
}
