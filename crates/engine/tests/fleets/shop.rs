//! An application on loopback with real cookies and real key files, and users on it who notice every logout.
//!
//! Its members live in the test's own process, each at an address of its own (127.0.0.1, 127.0.0.2 ...) behind one listener.
//! Keyroll sees none of that: it lists and reloads them by commands, or knows their addresses, and asks them over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use keyroll_engine::config::SessionKey;
use keyroll_engine::{Assembly, Clock, Engine, Fingerprints, Operator, SystemClock, assemble};
use keyroll_keyring::codec::{self, Mint, SessionCodec};
use keyroll_keyring::profile::Profile;
use keyroll_keyring::{FieldName, Fields, Key, KeyId, Part, Secret, UnixTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The key with which every shop starts.
pub(crate) const FIRST_KEY: &str = "1f6b3d0a5c9e4b27880d1a6f93c4e5b2707f8a9c6d5e4f3b2a190817263544f0e1d2c3b4a5968778695a4b3c2d1e0f1029384756afbecd0d1c2b3a4958674f5e";

/// How long a session lives.
pub(crate) const LIFETIME: Duration = Duration::from_secs(3);

/// A running application.
pub(crate) struct Shop {
    folder: tempfile::TempDir,
    inner: Arc<Inner>,
    tasks: Vec<JoinHandle<()>>,
}

struct Inner {
    folder: PathBuf,
    port: u16,
    codec: Box<dyn SessionCodec>,
    profile: Profile,
    members: Mutex<Vec<Arc<Member>>>,
    reloads: Mutex<Vec<String>>,
    addresses: AtomicUsize,
    /// Whether the file that the list command prints is not kept.
    unlisted: AtomicBool,
    /// How many requests are being answered, and the most at a time so far.
    busy: AtomicUsize,
    busiest: AtomicUsize,
}

/// One process of the application.
pub(crate) struct Member {
    pub(crate) name: String,
    fleet: String,
    env: PathBuf,
    address: Option<Ipv4Addr>,
    run: Mutex<Run>,
    quirks: Mutex<Quirks>,
}

/// One run of it.
struct Run {
    boot: u32,
    started_at: u64,
    file: Vec<u8>,
    active: Key,
    accept: Vec<Key>,
    opened: BTreeMap<KeyId, u64>,
    answers: BTreeMap<u16, u64>,
}

/// What is wrong with a member.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quirks {
    /// It keeps its keys however often it is restarted.
    pub(crate) stuck: bool,
    /// It reads its key file again when that changes.
    pub(crate) hot: bool,
    /// It is listed as not ready, and does not answer.
    pub(crate) unready: bool,
    /// It restarts and never comes back: the next reload leaves it unready.
    pub(crate) does_not_come_back: bool,
    /// It shows no metrics.
    pub(crate) no_metrics: bool,
    /// Its metrics do not say when it started.
    pub(crate) hides_its_start: bool,
    /// It mints sessions under this key, whatever its file says, and opens its own.
    pub(crate) mints_under: Option<String>,
    /// Users get an error from it while its file holds more than one key; probes do not.
    pub(crate) breaks_others_with_two_keys: bool,
    /// Users get an error from it, whatever its file holds.
    pub(crate) breaks_others_with_one_key: bool,
    /// It takes a login for valid only if it was made here.
    pub(crate) knows_its_own_logins_only: bool,
    /// Add this to the counters of sessions opened, once for each reading.
    pub(crate) opens_of_its_own: u64,
    /// How long an answer takes.
    pub(crate) slow: Duration,
}

impl Shop {
    /// A shop whose key file is `.env`, with the first key in it, and nobody in it yet.
    pub(crate) async fn open() -> Self {
        let folder = folder();
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
        let params = BTreeMap::from([("cookie".to_owned(), COOKIE_NAME.to_owned())]);
        let inner = Arc::new(Inner {
            folder: folder.path().to_owned(),
            port: listener.local_addr().unwrap().port(),
            codec: codec::build("rails", &params).unwrap(),
            profile: Profile::builtin("rails").unwrap(),
            members: Mutex::default(),
            reloads: Mutex::default(),
            addresses: AtomicUsize::new(0),
            unlisted: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
            busiest: AtomicUsize::new(0),
        });
        std::fs::write(folder.path().join("password"), "hunter2\n").unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let orders = tokio::spawn(take_orders(Arc::clone(&inner)));
        let shop = Self { folder, inner, tasks: vec![server, orders] };
        shop.write_env(".env", FIRST_KEY);
        shop
    }

    /// A shop with members of the fleet `web`.
    pub(crate) async fn with(members: usize) -> Self {
        let shop = Self::open().await;
        for number in 0..members {
            shop.start("web", &format!("web-{number}"), ".env");
        }
        shop
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write_env(&self, name: &str, key: &str) {
        std::fs::write(self.path(name), format!("# the shop\nPORT=3000\nSECRET_KEY_BASE={key}\n")).unwrap();
    }

    pub(crate) fn env(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Starts a member that serves.
    pub(crate) fn start(&self, fleet: &str, name: &str, env: &str) {
        let number = self.inner.addresses.fetch_add(1, Ordering::SeqCst) + 1;
        let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
        self.add(fleet, name, env, Some(Ipv4Addr::new(127, 0, high, low)));
    }

    /// Starts one of very many members: nobody lists them by a command.
    pub(crate) fn start_quietly(&self, fleet: &str, name: &str, env: &str) {
        self.inner.unlisted.store(true, Ordering::SeqCst);
        self.start(fleet, name, env);
    }

    /// Starts a member that has no address.
    pub(crate) fn start_worker(&self, fleet: &str, name: &str, env: &str) {
        self.add(fleet, name, env, None);
    }

    fn add(&self, fleet: &str, name: &str, env: &str, address: Option<Ipv4Addr>) {
        let env = self.path(env);
        let run = Run::begin(&self.inner.profile, &env, 1);
        let member = Arc::new(Member {
            name: name.into(),
            fleet: fleet.into(),
            env,
            address,
            run: Mutex::new(run),
            quirks: Mutex::default(),
        });
        member.log(&self.inner.folder);
        lock(&self.inner.members).push(member);
        self.inner.publish(fleet);
    }

    /// Lists the members of a fleet that has none.
    pub(crate) fn empty(&self, fleet: &str) {
        lock(&self.inner.members).retain(|member| member.fleet != fleet);
        self.inner.publish(fleet);
    }

    /// A member ends for good.
    pub(crate) fn stop(&self, name: &str) {
        let fleet = self.member(name).fleet.clone();
        lock(&self.inner.members).retain(|member| member.name != name);
        self.inner.publish(&fleet);
    }

    /// Somebody restarts a member.
    pub(crate) fn restart(&self, name: &str) {
        self.inner.restart(&self.member(name));
    }

    pub(crate) fn quirks(&self, name: &str, change: impl FnOnce(&mut Quirks)) {
        let member = self.member(name);
        change(&mut lock(&member.quirks));
        self.inner.publish(&member.fleet);
    }

    pub(crate) fn member(&self, name: &str) -> Arc<Member> {
        self.inner.named(name).unwrap_or_else(|| panic!("there is no member `{name}`"))
    }

    pub(crate) fn names(&self) -> Vec<String> {
        lock(&self.inner.members).iter().map(|member| member.name.clone()).collect()
    }

    /// Where the members of a fleet answer.
    pub(crate) fn addresses(&self, fleet: &str) -> Vec<String> {
        let members = lock(&self.inner.members);
        let of = members.iter().filter(|member| member.fleet == fleet).filter_map(|member| member.address);
        of.map(|address| format!("http://{address}:{}", self.inner.port)).collect()
    }

    /// The orders to reload that came, as `web/web-1` or `web/all`.
    pub(crate) fn reloads(&self) -> Vec<String> {
        lock(&self.inner.reloads).clone()
    }

    /// How often each member was started.
    pub(crate) fn boots(&self) -> BTreeSet<u32> {
        lock(&self.inner.members).iter().map(|member| lock(&member.run).boot).collect()
    }

    /// The most requests that were answered at the same time.
    pub(crate) fn busiest(&self) -> usize {
        self.inner.busiest.load(Ordering::SeqCst)
    }

    /// The keys under which members mint.
    pub(crate) fn minting(&self) -> BTreeSet<String> {
        lock(&self.inner.members).iter().map(|member| text(&lock(&member.run).active)).collect()
    }

    /// Whether any member opens sessions under this key.
    pub(crate) fn accepted_somewhere(&self, key: &str) -> bool {
        lock(&self.inner.members).iter().any(|member| lock(&member.run).accept.iter().any(|one| text(one) == key))
    }

    /// `keyroll.yaml` with the usual head: a fleet `web` that is reloaded one by one, unless `consumers` says otherwise.
    pub(crate) fn document(&self, consumers: &str, rest: &str) -> String {
        let consumers = if consumers.is_empty() { WEB } else { consumers };
        let stores = if rest.contains("stores:") { "" } else { "  store: { envFile: { path: .env } }\n" };
        let sessions = if rest.contains("sessions:") { "" } else { SESSIONS };
        let probe = if rest.contains("probe:") { "" } else { PROBE };
        format!("{HEAD}{stores}  consumers:\n{consumers}{sessions}{probe}{rest}")
    }

    pub(crate) fn assembly(&self, document: &str) -> Assembly {
        let key = SessionKey::parse(document, &self.path("keyroll.yaml")).unwrap_or_else(|error| panic!("{error:?}"));
        let mut assembly = assemble(&key, &self.path("state")).unwrap();
        assembly.policy.poll = Duration::from_millis(50);
        assembly.fingerprints = fingerprints();
        for consumer in &mut assembly.consumers {
            consumer.reload_timeout = Duration::from_secs(4);
        }
        assembly
    }

    pub(crate) fn engine_of(&self, assembly: Assembly) -> Engine {
        Engine::new(assembly, self.path("state"), Operator { name: "ada".into(), host: "here".into() })
    }

    pub(crate) fn engine(&self, document: &str) -> Engine {
        self.engine_of(self.assembly(document))
    }

    /// A member has refused so many requests already, long ago.
    pub(crate) fn was_refused(&self, name: &str, times: u64) {
        let members = lock(&self.inner.members);
        let member = members.iter().find(|member| member.name == name).expect("the member is there");
        *lock(&member.run).answers.entry(401).or_default() += times;
    }

    /// The whole record so far.
    pub(crate) fn journal(&self) -> String {
        std::fs::read_to_string(self.path("state").join("journal.jsonl")).unwrap()
    }

    /// Users who log in and browse from now on.
    pub(crate) fn users(&self, count: usize) -> Users {
        let seen = Arc::new(Seen::default());
        let browsing = tokio::spawn(browse(Arc::clone(&self.inner), Arc::clone(&seen), count));
        Users { seen, browsing }
    }

    /// Somebody who floods every member with requests that must be refused, once the members accept two keys.
    pub(crate) fn attacker(&self) -> Attacker {
        let inner = Arc::clone(&self.inner);
        Attacker(tokio::spawn(async move {
            loop {
                let members = lock(&inner.members).clone();
                for member in members.iter().filter(|member| lock(&member.run).accept.len() > 1) {
                    let Some(address) = member.address else { continue };
                    let address = SocketAddr::from((address, inner.port));
                    for _ in 0..8 {
                        let _ = request(address, "GET", "/me", Some("junk"), "").await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }))
    }
}

/// Goes on until it is dropped.
pub(crate) struct Attacker(JoinHandle<()>);

impl Drop for Attacker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// People with cookie jars.
pub(crate) struct Users {
    seen: Arc<Seen>,
    browsing: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    lost: Mutex<Vec<String>>,
    served: AtomicU64,
}

impl Users {
    /// Sessions that were refused before their time, in words; and nobody can have lost one who was not there.
    pub(crate) fn lost(&self) -> Vec<String> {
        assert!(self.seen.served.load(Ordering::SeqCst) > 0, "nobody was served");
        lock(&self.seen.lost).clone()
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        self.browsing.abort();
    }
}

impl Member {
    fn ready(&self) -> bool {
        !lock(&self.quirks).unready
    }

    /// One line with the fingerprints of its keys, as a worker writes it when it starts.
    fn log(&self, folder: &Path) {
        if self.address.is_some() {
            return;
        }
        let run = lock(&self.run);
        let accept: Vec<_> = run.accept.iter().map(label).collect();
        let line = format!("boot={} active={} accept={}\n", run.boot, label(&run.active), accept.join(","));
        use std::io::Write as _;
        let path = folder.join(format!("{}.log", self.name));
        let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

impl Run {
    fn begin(profile: &Profile, env: &Path, boot: u32) -> Self {
        let file = std::fs::read(env).unwrap();
        let (active, accept) = keys(profile, &file);
        Self {
            boot,
            started_at: SystemClock.now().0,
            opened: accept.iter().map(|key| (key.id(), 0)).collect(),
            active,
            accept,
            answers: BTreeMap::new(),
            file,
        }
    }
}

impl Inner {
    fn named(&self, name: &str) -> Option<Arc<Member>> {
        lock(&self.members).iter().find(|member| member.name == name).cloned()
    }

    fn restart(&self, member: &Member) {
        let quirks = lock(&member.quirks).clone();
        {
            let mut run = lock(&member.run);
            let mut next = Run::begin(&self.profile, &member.env, run.boot + 1);
            if quirks.stuck {
                next.active = run.active.duplicate();
                next.accept = run.accept.iter().map(Key::duplicate).collect();
                next.opened = next.accept.iter().map(|key| (key.id(), 0)).collect();
            }
            *run = next;
        }
        if quirks.does_not_come_back {
            lock(&member.quirks).unready = true;
        }
        member.log(&self.folder);
        self.publish(&member.fleet);
    }

    /// Writes what the list command prints.
    fn publish(&self, fleet: &str) {
        if self.unlisted.load(Ordering::SeqCst) {
            return;
        }
        let members = lock(&self.members);
        let lines: Vec<_> = members
            .iter()
            .filter(|member| member.fleet == fleet)
            .map(|member| {
                let run = lock(&member.run);
                let mut line = serde_json::json!({
                    "id": member.name, "boot": run.boot.to_string(), "startedAt": run.started_at,
                    "state": if member.ready() { "ready" } else { "unready" },
                });
                if let Some(address) = member.address {
                    line["address"] = format!("http://{address}:{}", self.port).into();
                }
                line
            })
            .collect();
        let new = self.folder.join(format!("{fleet}.json.new"));
        std::fs::write(&new, serde_json::Value::from(lines).to_string()).unwrap();
        std::fs::rename(new, self.folder.join(format!("{fleet}.json"))).unwrap();
    }

    fn mint(&self, key: &Key, payload: &[u8], life: Duration) -> String {
        let now = seconds();
        let expires_at = Some(UnixTime(now.0 + i64::try_from(life.as_secs()).unwrap()));
        self.codec.mint(key, &Mint { payload, issued_at: now, expires_at }).unwrap()
    }
}

/// A reload command leaves a file `order-FLEET-MEMBER` or `order-FLEET-all`; here it is carried out.
async fn take_orders(inner: Arc<Inner>) {
    loop {
        for entry in std::fs::read_dir(&inner.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            let Some((fleet, whom)) = name.strip_prefix("order-").and_then(|order| order.split_once('+')) else {
                continue;
            };
            std::fs::remove_file(entry.path()).unwrap();
            lock(&inner.reloads).push(format!("{fleet}/{whom}"));
            let members = lock(&inner.members).clone();
            for member in members.iter().filter(|one| one.fleet == fleet && (whom == "all" || one.name == whom)) {
                inner.restart(member);
                if whom == "all" {
                    // An orchestrator takes its time, and meanwhile both versions are there.
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn answer(
    State(inner): State<Arc<Inner>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let busy = inner.busy.fetch_add(1, Ordering::SeqCst) + 1;
    inner.busiest.fetch_max(busy, Ordering::SeqCst);
    let response = respond(&inner, &method, &uri, &headers, &body).await;
    inner.busy.fetch_sub(1, Ordering::SeqCst);
    response
}

async fn respond(inner: &Inner, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Response {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let address: Option<Ipv4Addr> = host.split(':').next().and_then(|host| host.parse().ok());
    let member = lock(&inner.members).iter().find(|member| member.address == address).cloned();
    let Some(member) = member.filter(|member| member.ready()) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let quirks = lock(&member.quirks).clone();
    if !quirks.slow.is_zero() {
        tokio::time::sleep(quirks.slow).await;
    }
    if quirks.hot {
        let file = std::fs::read(&member.env).unwrap();
        let mut run = lock(&member.run);
        if file != run.file {
            // The same process goes on, with its counters.
            let (active, accept) = keys(&inner.profile, &file);
            for key in &accept {
                run.opened.entry(key.id()).or_default();
            }
            (run.active, run.accept, run.file) = (active, accept, file);
        }
    }
    let mut run = lock(&member.run);
    let cookie = headers
        .get_all("cookie")
        .iter()
        .flat_map(|header| header.to_str().unwrap_or_default().split("; "))
        .find_map(|pair| pair.strip_prefix(&format!("{COOKIE_NAME}=")));
    let active = match &quirks.mints_under {
        Some(own) => key(own),
        None => run.active.duplicate(),
    };
    let set = |token: String| ("set-cookie", format!("{COOKIE_NAME}={token}; Path=/; HttpOnly"));
    let response = match (method, uri.path()) {
        (&Method::GET, "/metrics") => {
            return match quirks.no_metrics {
                true => StatusCode::NOT_FOUND.into_response(),
                false => metrics(&mut run, &quirks).into_response(),
            };
        }
        (&Method::GET, "/ring") => return report(&run, &active).into_response(),
        (&Method::POST, "/login") => {
            let form = String::from_utf8_lossy(body).into_owned();
            match form.contains("password=hunter2") {
                true => {
                    let session = serde_json::json!({ "user": "somebody", "at": member.name }).to_string();
                    // A probe's session outlives the longest sweep; those of users end in time.
                    let life = if form.contains("user=probe") { LIFETIME * 20 } else { LIFETIME };
                    ([set(inner.mint(&active, session.as_bytes(), life))], "in").into_response()
                }
                false => StatusCode::FORBIDDEN.into_response(),
            }
        }
        (&Method::GET, "/me") => {
            let mut keys: Vec<&Key> = run.accept.iter().collect();
            if quirks.mints_under.is_some() {
                keys.push(&active);
            }
            let token = cookie.unwrap_or_default();
            match inner.codec.open(&keys, token, seconds()) {
                Ok(opened) => {
                    let session: serde_json::Value = serde_json::from_slice(opened.payload.expose()).unwrap();
                    let broken = quirks.breaks_others_with_one_key
                        || (quirks.breaks_others_with_two_keys && run.accept.len() > 1);
                    let at = session["at"].as_str();
                    if at.is_some_and(|at| quirks.knows_its_own_logins_only && at != member.name) {
                        *run.answers.entry(401).or_default() += 1;
                        return StatusCode::UNAUTHORIZED.into_response();
                    }
                    if at.is_some() && broken {
                        *run.answers.entry(500).or_default() += 1;
                        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
                    }
                    let Ok(resealed) = inner.codec.reseal(&keys, &active, token, seconds()) else {
                        // Its last second has just passed.
                        return StatusCode::UNAUTHORIZED.into_response();
                    };
                    *run.opened.entry(opened.key).or_default() += 1;
                    ([set(resealed)], "welcome").into_response()
                }
                Err(_) => StatusCode::UNAUTHORIZED.into_response(),
            }
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    };
    *run.answers.entry(response.status().as_u16()).or_default() += 1;
    response
}

fn metrics(run: &mut Run, quirks: &Quirks) -> String {
    let mut page = match quirks.hides_its_start {
        true => String::new(),
        false => format!("process_start_time_seconds {}.{:03}\n", run.started_at / 1000, run.started_at % 1000),
    };
    for (id, opened) in &mut run.opened {
        *opened += quirks.opens_of_its_own;
        if let Some(key) = run.accept.iter().find(|key| key.id() == *id) {
            page.push_str(&format!("keyroll_sessions_opened_total{{key=\"{}\"}} {opened}\n", label(key)));
        }
    }
    for (status, count) in &run.answers {
        page.push_str(&format!("http_requests_total{{status=\"{status}\"}} {count}\n"));
    }
    page
}

fn report(run: &Run, active: &Key) -> String {
    serde_json::json!({
        "active": label(active),
        "accept": run.accept.iter().map(label).collect::<Vec<_>>(),
        "loaded_at": run.started_at / 1000,
        "boot_id": run.boot.to_string(),
    })
    .to_string()
}

/// Users visit one member after the other. Every second one keeps the cookie of its login, the others take every new one.
async fn browse(inner: Arc<Inner>, seen: Arc<Seen>, count: usize) {
    // A session's end is sealed in whole seconds, so it may be over a second before its time; and who asks late hears late.
    let sure = LIFETIME.saturating_sub(Duration::from_secs(1));
    let renew = sure / 2;
    let mut jars: Vec<Option<(String, std::time::Instant)>> = vec![None; count];
    for turn in 0_usize.. {
        for (user, jar) in jars.iter_mut().enumerate() {
            let serving: Vec<_> = lock(&inner.members)
                .iter()
                .filter(|member| member.ready())
                .filter_map(|member| Some((member.name.clone(), member.address?)))
                .collect();
            if serving.is_empty() {
                continue;
            }
            let (name, address) = &serving[(turn + user) % serving.len()];
            let address = SocketAddr::from((*address, inner.port));
            if jar.as_ref().is_none_or(|(_, since)| since.elapsed() > renew) {
                let asked = now_instant();
                let Some((200, Some(cookie))) = request(address, "POST", "/login", None, "password=hunter2").await
                else {
                    continue;
                };
                *jar = Some((cookie, asked));
                continue;
            }
            let Some((cookie, since)) = jar.take() else { continue };
            match request(address, "GET", "/me", Some(&cookie), "").await {
                Some((200, new)) => {
                    seen.served.fetch_add(1, Ordering::SeqCst);
                    let kept = if user % 2 == 0 { cookie } else { new.unwrap_or(cookie) };
                    *jar = Some((kept, since));
                }
                Some((401, _)) if since.elapsed() >= sure => {}
                Some((401, _)) => {
                    lock(&seen.lost).push(format!("`{name}` refused a session that was {:?} old", since.elapsed()));
                }
                // An error is not a logout: the user comes back with the same cookie.
                _ => *jar = Some((cookie, since)),
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One request over a connection of its own: its status and the session cookie that it set.
async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    cookie: Option<&str>,
    body: &str,
) -> Option<(u16, Option<String>)> {
    let cookie = cookie.map(|cookie| format!("cookie: {COOKIE_NAME}={cookie}\r\n")).unwrap_or_default();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{cookie}");
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let set = answer.lines().find_map(|line| line.strip_prefix(&format!("set-cookie: {COOKIE_NAME}=")));
    Some((status, set.and_then(|set| set.split(';').next()).map(ToOwned::to_owned)))
}

/// Reads the two variables as `dotenv` does, as far as they need it.
fn keys(profile: &Profile, file: &[u8]) -> (Key, Vec<Key>) {
    let text = String::from_utf8(file.to_vec()).unwrap();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| Secret::from_text(value.trim_matches('"')))
    };
    let fields = profile.fields().into_iter().map(|FieldName(name)| (FieldName(name.clone()), value(&name))).collect();
    let parsed = profile.parse(&Fields(fields)).unwrap();
    let material = |parts: &[Part]| String::from_utf8(parts[0].material.expose().to_vec()).unwrap();
    let active = key(&material(&parsed.active.parts));
    let others = parsed.accept_only.iter().map(|found| key(&material(&found.parts)));
    let accept = std::iter::once(active.duplicate()).chain(others).collect();
    (active, accept)
}

/// A key with an id of its own, the same each time.
fn key(text: &str) -> Key {
    static IDS: OnceLock<Mutex<BTreeMap<String, u32>>> = OnceLock::new();
    let mut ids = lock(IDS.get_or_init(Mutex::default));
    let next = u32::try_from(ids.len()).unwrap() + 1;
    let id = *ids.entry(text.to_owned()).or_insert(next);
    Key::single(KeyId(id), Secret::from_text(text))
}

fn text(key: &Key) -> String {
    String::from_utf8(key.material().expose().to_vec()).unwrap()
}

fn label(key: &Key) -> String {
    fingerprints().of(key.parts()).map_or_else(|| key.id().to_string(), |fingerprint| fingerprint.to_string())
}

/// A fingerprint takes a tenth of a second, so all tests of this process share what they know.
fn fingerprints() -> Arc<Fingerprints> {
    static SHARED: OnceLock<Arc<Fingerprints>> = OnceLock::new();
    Arc::clone(SHARED.get_or_init(|| Arc::new(Fingerprints::new())))
}

/// A folder in memory where there is one, because a journal syncs every line.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a temporary folder can be made")
}

fn seconds() -> UnixTime {
    UnixTime(i64::try_from(SystemClock.now().0 / 1000).unwrap())
}

#[expect(clippy::disallowed_methods, reason = "the users of a test live in real time")]
pub(crate) fn now_instant() -> std::time::Instant {
    std::time::Instant::now()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) const COOKIE_NAME: &str = "_shop_session";

const HEAD: &str = "apiVersion: keyroll.dev/v1alpha1
kind: SessionKey
metadata: { name: shop }
spec:
  profile: { name: rails, cookie: _shop_session }
  policy: { settle: 150ms, escrow: 1h, reloadAttempts: 1 }
";

/// The fleet `web`, reloaded one by one.
pub(crate) const WEB: &str =
    "    - { name: web, command: { list: [cat, web.json], reload: [touch, \"order-web+{member}\"] } }\n";

const SESSIONS: &str = "  sessions: { maxLifetime: 3s, leeway: 100ms, drain: lifetime }\n";

/// The usual probe, without a login.
pub(crate) const PROBE: &str = "  probe: { path: /me, accepted: [200], rejected: [401] }\n";
