//! One gate over a thousand members on loopback: every member is asked about two keys beside the control, and what it
//! mints is opened. Prints `gate_1000 SECONDS s RSS MiB`.
//!
//! The members are sockets of a second process (this program again), so that the memory is the gate's alone. They answer as
//! Rails does: each session is opened, and set again under the active key.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement, not a library")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use keyroll_adapters::Timestamp;
use keyroll_adapters::evidence::{self, Answer, AskedKey, HttpAccess, Probe, ProbeConfig, Question, Subject};
use keyroll_adapters::fleets::{BootId, Member, MemberId, MemberState};
use keyroll_keyring::codec::{Mint, SessionCodec};
use keyroll_keyring::{Key, KeyId, Secret, UnixTime};

fn main() {
    if std::env::var_os(SERVE).is_some() {
        serve();
    } else {
        measure();
    }
}

#[tokio::main]
async fn measure() {
    let mut servers = Command::new(std::env::current_exe().unwrap())
        .env(SERVE, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let members: Vec<Member> = BufReader::new(servers.stdout.take().unwrap())
        .lines()
        .take(MEMBERS)
        .map(|port| {
            let port = port.unwrap();
            Member {
                id: MemberId(port.clone()),
                boot: BootId("1".into()),
                address: Some(format!("http://127.0.0.1:{port}").parse().unwrap()),
                state: MemberState::Ready,
                started_at: None,
                workers: Vec::new(),
            }
        })
        .collect();
    assert_eq!(members.len(), MEMBERS);

    let (old, new, decoy) = (key(1), key(2), key(9));
    let access = HttpAccess::within(Duration::from_secs(10));
    let probe = Probe::new(codec(), ProbeConfig::by_reissue("/me".into(), access)).unwrap();
    let question = Question {
        keys: [&old, &new].map(|key| AskedKey { key, fingerprint: None }).into(),
        open_only: Vec::new(),
        decoy: &decoy,
        captured: Vec::new(),
        now: NOW,
    };
    let began = tokio::time::Instant::now();
    let testimonies = evidence::ask_all(&members, &probe, &question, AT_ONCE).await;
    let seconds = began.elapsed().as_secs_f64();

    for testimony in &testimonies {
        let says = |subject, id| {
            let statement =
                testimony.statements.iter().find(|one| one.subject == subject && one.key == KeyId(id)).unwrap();
            (statement.answer, statement.detail.as_str())
        };
        assert_eq!(says(Subject::Accepts, 1).0, Answer::Yes, "{:?}", says(Subject::Accepts, 1));
        assert_eq!(says(Subject::Accepts, 2).0, Answer::Yes, "{:?}", says(Subject::Accepts, 2));
        assert_eq!(says(Subject::Mints, 1).0, Answer::Yes, "{:?}", says(Subject::Mints, 1));
        assert_eq!(says(Subject::Mints, 2).0, Answer::No, "{:?}", says(Subject::Mints, 2));
    }
    println!("gate_1000 {seconds:.2} s {} MiB", peak_memory());
    // Its standard input closes, and the members end.
    drop(servers.stdin.take());
    servers.wait().unwrap();
}

#[tokio::main]
async fn serve() {
    let codec = codec();
    let keys = Arc::new((key(1), key(2)));
    let router = Router::new().fallback(move |headers: HeaderMap| {
        let (codec, keys) = (Arc::clone(&codec), Arc::clone(&keys));
        async move {
            let now = UnixTime(i64::try_from(NOW.0 / 1000).unwrap());
            let token = headers.get("cookie").unwrap().to_str().unwrap().strip_prefix("_app_session=").unwrap();
            let opened = codec.open(&[&keys.0, &keys.1], token, now).map(|opened| opened.payload);
            let payload = opened.unwrap_or_else(|_| Secret::from_text(r#"{"session_id":"fresh"}"#));
            let session = Mint { payload: payload.expose(), issued_at: now, expires_at: None };
            let token = codec.mint(&keys.0, &session).unwrap();
            [("set-cookie", format!("_app_session={token}; Path=/; HttpOnly"))].into_response()
        }
    });
    let mut ports = Vec::new();
    for _ in 0..MEMBERS {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        ports.push(listener.local_addr().unwrap().port());
        let router = router.clone();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    }
    let mut stdout = std::io::stdout().lock();
    for port in ports {
        writeln!(stdout, "{port}").unwrap();
    }
    stdout.flush().unwrap();
    drop(stdout);
    // Ends when whoever measures is gone, however it went.
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await.unwrap().unwrap();
    std::process::exit(0);
}

fn codec() -> Arc<dyn SessionCodec> {
    let parameters = BTreeMap::from([("cookie".to_owned(), "_app_session".to_owned())]);
    Arc::from(keyroll_keyring::codec::build("rails", &parameters).unwrap())
}

fn key(id: u32) -> Key {
    let digits: String = (0..128_u32)
        .map(|at| char::from_digit((at * at + at / 7 + id * 5 + (id * at) % 11) % 16, 16).unwrap())
        .collect();
    Key::single(KeyId(id), Secret::from_text(&digits))
}

/// The largest resident size that this process has had, in MiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.split_whitespace().next().unwrap().parse::<u64>().unwrap().div_ceil(1024)
}

const MEMBERS: usize = 1000;
const AT_ONCE: usize = 64;
const SERVE: &str = "KEYROLL_GATE_BENCH_SERVES";
const NOW: Timestamp = Timestamp(1_790_000_000_000);
