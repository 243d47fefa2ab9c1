//! Sealed tokens between this crate and an implementation in Python that was written from the reference alone.
//!
//! A harness of its own, because a test that can't run here must be seen: it is listed as ignored, and a line says what is missing
//! and how to get it. With `KEYROLL_TEST_SERVERS=required` it fails instead.

#![expect(clippy::print_stderr, reason = "a test that does not run says so")]

use std::io::Write;
use std::process::{Command, Stdio};

use keyroll_keyring::codec::{Mint, OpenError};
use keyroll_keyring::sealed::{Context, Member, SealedRing};
use keyroll_keyring::{Key, KeyId, Secret, UnixTime};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};

type Test = fn() -> Result<(), Failed>;

fn main() {
    let arguments = Arguments::from_args();
    let tests: [(&str, Test); 3] = [
        ("python_agrees_with_every_vector", python_agrees_with_every_vector),
        ("python_opens_what_rust_sealed", python_opens_what_rust_sealed),
        ("rust_opens_what_python_sealed", rust_opens_what_python_sealed),
    ];
    let missing = missing_python();
    let required = std::env::var("KEYROLL_TEST_SERVERS").is_ok_and(|value| value == "required");
    let trials = tests.into_iter().map(|(name, test)| match &missing {
        None => Trial::test(name, test),
        Some(why) if required => {
            let why = why.clone();
            Trial::test(name, move || Err(Failed::from(format!("{why}; {HOW_TO_GET}"))))
        }
        Some(why) => {
            eprintln!("NOT RUN {name}: {why}; {HOW_TO_GET}");
            Trial::test(name, test).with_ignored_flag(true)
        }
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

const HOW_TO_GET: &str = "get it with `python3 -m pip install cryptography` or `apt-get install python3-cryptography`";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sealed_token.py");
const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/sealed-token.json");
const MATERIAL: &str = "b7f2a1c09d5e4837661fa0c3d8e94b25170c6a9f3be84d52c1907e6f2a3b4c5d";
const NOW: UnixTime = UnixTime(1_800_000_000);

fn missing_python() -> Option<String> {
    let probe = Command::new("python3").args(["-c", "import cryptography.hazmat.primitives.ciphers.aead"]).output();
    match probe {
        Ok(output) if output.status.success() => None,
        Ok(_) => Some("python3 can't import the package `cryptography`".into()),
        Err(error) => Some(format!("python3 can't be started ({error})")),
    }
}

fn python_agrees_with_every_vector() -> Result<(), Failed> {
    let answer = python(&["vectors", VECTORS], &Value::Null)?;
    if answer == json!({"sealed": 7, "opened": 42}) { Ok(()) } else { Err(format!("it checked {answer}").into()) }
}

fn python_opens_what_rust_sealed() -> Result<(), Failed> {
    let key = key()?;
    let ring = SealedRing::new([Member::Active(&key)])?;
    for length in [0, 17, 2976] {
        let payload: Vec<u8> = (0..length).map(|n: u32| n.to_be_bytes()[3]).collect();
        let mint = Mint { payload: &payload, issued_at: NOW, expires_at: Some(UnixTime(NOW.0 + 60)) };
        let token = ring.seal(&Context::new("s", "p", "\u{e4}"), &mint)?;
        let answer = python(&["open"], &request(json!({"token": token, "now": NOW.0})))?;
        let expected = json!({"key": 3, "issuedAt": NOW.0, "expiresAt": NOW.0 + 60, "payload": hex::encode(&payload)});
        if answer != expected {
            return Err(format!("of {length} bytes it made {answer}").into());
        }
    }
    Ok(())
}

fn rust_opens_what_python_sealed() -> Result<(), Failed> {
    let key = key()?;
    let ring = SealedRing::new([Member::Active(&key)])?;
    for length in [0usize, 17, 2976] {
        let payload = vec![0xa5; length];
        let times = json!({"key": 3, "issuedAt": NOW.0, "expiresAt": NOW.0 + 60, "payload": hex::encode(&payload)});
        let answer = python(&["seal"], &request(times))?;
        let token = answer["token"].as_str().ok_or("no token")?;
        let opened = ring.open(&Context::new("s", "p", "\u{e4}"), token, NOW)?;
        if opened.payload() != payload || opened.key() != KeyId(3) || opened.expires_at() != UnixTime(NOW.0 + 60) {
            return Err(format!("a session of {length} bytes came out changed").into());
        }
        let elsewhere = ring.open(&Context::new("s", "p", "b"), token, NOW);
        if elsewhere.err() != Some(OpenError::Tampered) {
            return Err("it opened for another tenant".into());
        }
    }
    Ok(())
}

fn key() -> Result<Key, Failed> {
    Ok(Key::single(KeyId(3), Secret::from_hex(MATERIAL.as_bytes())?))
}

/// A request with the test's key and context, and the fields of `more`.
fn request(mut more: Value) -> Value {
    let common = json!({
        "cookie": "s", "purpose": "p", "tenant": "\u{e4}", "material": MATERIAL, "keys": {"3": MATERIAL}, "retired": [],
    });
    if let (Some(more), Some(common)) = (more.as_object_mut(), common.as_object()) {
        more.extend(common.clone());
    }
    more
}

/// Runs the script: the request on its standard input, its answer from its standard output.
fn python(arguments: &[&str], request: &Value) -> Result<Value, Failed> {
    let mut child = Command::new("python3")
        // No compiled files beside the sources.
        .arg("-B")
        .arg(SCRIPT)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    stdin.write_all(request.to_string().as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
