//! An application on loopback with real cookies, for the tests of witnesses. It can be honest, and it can misbehave.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use keyroll_keyring::codec::{Mint, SessionCodec};
use keyroll_keyring::{Key, KeyId, Secret, UnixTime};

use tracing_subscriber::util::SubscriberInitExt;

use super::{AskedKey, Question};
use crate::Timestamp;
use crate::fleets::{BootId, Member, MemberId, MemberState};

/// The time in all tests.
pub(super) const NOW: Timestamp = Timestamp(1_790_000_000_000);

/// What an application does with sessions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Manner {
    /// As Rails does: an accepted session is sealed again, a rejected one is replaced by an empty one.
    Rails,
    /// 200 for a session that opens, 401 for another.
    Status,
    /// 200 for whatever comes.
    AcceptsAll,
    /// Sends back the cookie that it got.
    Echoes,
    /// 401 for whatever comes.
    RejectsAll,
    /// 500 for whatever comes.
    Broken,
    /// Takes the request and never answers.
    Hangs,
    /// Every second answer is a 503.
    Flaps,
    /// Looks at no session at all.
    Static,
}

/// The keys of one worker.
pub(super) struct Worker {
    pub(super) active: Key,
    pub(super) accept: Vec<Key>,
}

/// A running application.
pub(super) struct App {
    pub(super) member: Member,
    pub(super) shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

/// What its handlers share with the test.
pub(super) struct Shared {
    pub(super) codec: Arc<dyn SessionCodec>,
    pub(super) manner: Mutex<Manner>,
    pub(super) workers: Mutex<Vec<Worker>>,
    /// Fixed answers by path.
    pub(super) pages: Mutex<BTreeMap<String, String>>,
    pub(super) requests: AtomicU32,
    /// Every token that came in or went out.
    pub(super) tokens: Mutex<Vec<String>>,
}

impl App {
    /// Starts it with one worker that has `active` and `accept`.
    pub(super) async fn start(manner: Manner, active: &Key, accept: &[&Key]) -> Self {
        let workers = vec![Worker::with(active, accept)];
        let shared = Arc::new(Shared {
            codec: rails(),
            manner: Mutex::new(manner),
            workers: Mutex::new(workers),
            pages: Mutex::default(),
            requests: AtomicU32::new(0),
            tokens: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let member = Member {
            id: MemberId("web-1".into()),
            boot: BootId("1".into()),
            address: Some(address),
            state: MemberState::Ready,
            started_at: Some(Timestamp(NOW.0 - 60_000)),
            workers: Vec::new(),
        };
        Self { member, shared, server }
    }

    pub(super) fn page(&self, path: &str, body: &str) {
        self.shared.pages.lock().unwrap().insert(path.into(), body.into());
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Worker {
    pub(super) fn with(active: &Key, accept: &[&Key]) -> Self {
        Self { active: active.duplicate(), accept: accept.iter().map(|key| key.duplicate()).collect() }
    }
}

/// The Rails codec with the cookie `_app_session`.
pub(super) fn rails() -> Arc<dyn SessionCodec> {
    let params = BTreeMap::from([("cookie".to_owned(), "_app_session".to_owned())]);
    Arc::from(keyroll_keyring::codec::build("rails", &params).unwrap())
}

/// A key in the manner of Rails, another one for each id.
pub(super) fn key(id: u32) -> Key {
    let digits: String = (0..128u32)
        .map(|at| char::from_digit((at * at + at / 7 + id * 5 + (id * at) % 11) % 16, 16).unwrap())
        .collect();
    Key::single(KeyId(id), Secret::from_text(&digits))
}

/// A fingerprint for the key `id`: not its own, which takes a tenth of a second, but another one for each.
pub(super) fn print(id: u32) -> keyroll_keyring::Fingerprint {
    keyroll_keyring::Fingerprint::parse(&format!("kf1:{id:032x}")).unwrap()
}

/// A question about `keys`.
pub(super) fn about<'a>(keys: &[&'a Key], decoy: &'a Key) -> Question<'a> {
    Question {
        keys: keys.iter().map(|key| AskedKey { key, fingerprint: None }).collect(),
        open_only: Vec::new(),
        decoy,
        captured: Vec::new(),
        now: NOW,
    }
}

/// What was logged on this thread, from every crate and at every level, until the guard is dropped.
pub(super) fn log() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    (log, subscriber.set_default())
}

/// Collected log lines.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let count = shared.requests.fetch_add(1, Ordering::SeqCst);
    if let Some(page) = shared.pages.lock().unwrap().get(uri.path()) {
        return page.clone().into_response();
    }
    let manner = *shared.manner.lock().unwrap();
    match manner {
        Manner::Hangs => tokio::time::sleep(Duration::from_secs(3600)).await,
        Manner::Broken => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Manner::RejectsAll => return StatusCode::UNAUTHORIZED.into_response(),
        Manner::AcceptsAll => return "welcome".into_response(),
        Manner::Flaps if count % 2 == 1 => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => {}
    }
    let workers = shared.workers.lock().unwrap();
    let place = usize::try_from(count).unwrap() % workers.len();
    let worker = &workers[place];
    let name = shared.codec.cookie_name();
    let token = headers
        .get_all("cookie")
        .iter()
        .flat_map(|header| header.to_str().unwrap().split("; "))
        .find_map(|pair| pair.strip_prefix(&format!("{name}=")))
        .map(str::to_owned);
    let now = UnixTime(i64::try_from(NOW.0 / 1000).unwrap());
    let keys: Vec<&Key> = std::iter::once(&worker.active).chain(&worker.accept).collect();
    let opened = token.as_deref().and_then(|token| shared.codec.open(&keys, token, now).ok());
    shared.tokens.lock().unwrap().extend(token.clone());
    let mint = |payload: &[u8]| {
        let session = Mint { payload, issued_at: now, expires_at: None };
        let token = shared.codec.mint(&worker.active, &session).unwrap();
        shared.tokens.lock().unwrap().push(token.clone());
        format!("{name}={token}; Path=/; HttpOnly")
    };
    let worker_header = ("x-worker", format!("w{place}"));
    match (manner, opened) {
        (Manner::Static, _) => "hello".into_response(),
        (Manner::Echoes, _) => [("set-cookie", format!("{name}={}", token.unwrap_or_default()))].into_response(),
        (_, _) if method == Method::POST && uri.path() == "/login" => {
            if String::from_utf8_lossy(&body).contains("password=hunter2") {
                ([("set-cookie", mint(br#"{"session_id":"00","user":"probe"}"#)), worker_header], "in").into_response()
            } else {
                (StatusCode::FORBIDDEN, "wrong").into_response()
            }
        }
        (Manner::Status, Some(_)) => ([worker_header], "welcome").into_response(),
        (Manner::Status, None) => (StatusCode::UNAUTHORIZED, [worker_header]).into_response(),
        (_, Some(opened)) => ([("set-cookie", mint(opened.payload.expose())), worker_header], "user").into_response(),
        (_, None) => ([("set-cookie", mint(br#"{"session_id":"fresh"}"#)), worker_header], "nobody").into_response(),
    }
}
