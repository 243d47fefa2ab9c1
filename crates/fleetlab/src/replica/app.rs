//! The pages of the application: log in, see who you are, and, where Keyroll's own ring is used, what keys there are.
//!
//! A session has one end, fixed at its login. Sealing it again, under whatever key, does not move it.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{COOKIE, HeaderValue, InvalidHeaderValue, SET_COOKIE};
use hyper::{Method, Request, Response, StatusCode};
use keyroll_keyring::codec::{self, CodecConfigError, Mint, MintError, OpenError, ResealError, SessionCodec};
use keyroll_keyring::{Key, KeyId, UnixTime};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::Keys;
use super::rows::Rows;
use super::{Args, Mode};
use crate::http::text;

/// A running application. Clones are the same one.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

struct Shared {
    mode: Mode,
    keys: Keys,
    codec: Box<dyn SessionCodec>,
    rows: Option<Rows>,
    lifetime: Duration,
    boot: Uuid,
    loaded_at: SystemTime,
    counts: BTreeMap<KeyId, Counts>,
    answers: Mutex<BTreeMap<u16, u64>>,
}

/// What has been done under one key.
struct Counts {
    /// Its fingerprint; for a key too weak to have one, its id.
    label: String,
    opened: AtomicU64,
    minted: AtomicU64,
}

/// A session, as it is sealed. One without a user is a guest's.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Session {
    user: Option<String>,
    session: Option<Uuid>,
    /// Seconds since the Unix epoch.
    expires_at: i64,
}

/// What a request's cookie led to.
enum Found {
    Nothing,
    Unreadable,
    Session { session: Session, under: KeyId, token: String },
}

impl App {
    pub(crate) fn new(args: &Args, keys: Keys) -> Result<Self, AppError> {
        let mut counts = BTreeMap::new();
        for key in keys.all() {
            let label = if args.mode == Mode::Sealed {
                key.fingerprint().map_or_else(|_| key.id().to_string(), |fingerprint| fingerprint.to_string())
            } else {
                key.id().to_string()
            };
            counts.insert(key.id(), Counts { label, opened: AtomicU64::new(0), minted: AtomicU64::new(0) });
        }
        let app = Self(Arc::new(Shared {
            mode: args.mode,
            codec: codec::build(
                if args.mode == Mode::SwapAcceptOld { "rails" } else { "sealed" },
                &BTreeMap::from([("cookie".to_owned(), COOKIE_NAME.to_owned())]),
            )?,
            keys,
            rows: args.rows.as_deref().map(Rows::in_folder),
            lifetime: args.lifetime,
            boot: Uuid::new_v4(),
            loaded_at: now(),
            counts,
            answers: Mutex::default(),
        }));
        // A key that can't mint is found now, not at the first login.
        app.0.mint(&app.0.session("nobody", app.0.unix()), app.0.unix())?;
        Ok(app)
    }

    pub(crate) fn answer(&self, request: &Request<Bytes>) -> Response<Full<Bytes>> {
        let app = &*self.0;
        let answer = match (request.method(), request.uri().path()) {
            (&Method::GET, "/healthz") => Ok(app.health()),
            (&Method::POST, "/login") => app.log_in(request),
            (&Method::GET, "/me") => app.me(request),
            (&Method::GET, "/.keyroll/ring") if app.mode == Mode::Sealed => Ok(app.ring()),
            (&Method::GET, "/metrics") if app.mode == Mode::Sealed => Ok(app.metrics()),
            _ => Ok(text(StatusCode::NOT_FOUND, "text/plain", "there is no such page\n".into())),
        };
        let answer = answer.unwrap_or_else(|err| {
            tracing::error!(%err, "a request failed");
            text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "something went wrong\n".into())
        });
        *app.answers().entry(answer.status().as_u16()).or_default() += 1;
        answer
    }
}

/// Why the application can't do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The session format can't be set up.
    #[error("the session format can't be set up")]
    Codec(#[from] CodecConfigError),
    /// A session can't be sealed.
    #[error("a session can't be sealed")]
    Mint(#[from] MintError),
    /// A session can't be sealed again.
    #[error("a session can't be sealed again")]
    Reseal(#[from] ResealError),
    /// A sealed session does not fit into a header.
    #[error("a sealed session does not fit into a header")]
    Header(#[from] InvalidHeaderValue),
    /// The rows can't be reached.
    #[error("the session rows can't be reached")]
    Rows(#[from] io::Error),
}

impl Shared {
    fn health(&self) -> Response<Full<Bytes>> {
        json(StatusCode::OK, &serde_json::json!({ "boot": self.boot, "worker": std::process::id().to_string() }))
    }

    fn log_in(&self, request: &Request<Bytes>) -> Result<Response<Full<Bytes>>, AppError> {
        let user = std::str::from_utf8(request.body()).ok().and_then(|form| form.strip_prefix("user="));
        let plain = |name: &&str| {
            (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let Some(user) = user.filter(plain) else {
            return Ok(text(StatusCode::BAD_REQUEST, "text/plain", "who are you?\n".into()));
        };
        let now = self.unix();
        let session = self.session(user, now);
        let token = self.mint(&session, now)?;
        if let Some(counts) = self.counts.get(&self.keys.active.id()) {
            counts.minted.fetch_add(1, Relaxed);
        }
        let value = match &self.rows {
            None => token,
            Some(rows) => {
                let id = session.session.unwrap_or_default();
                rows.write(id, &token)?;
                id.to_string()
            }
        };
        let mut response = json(StatusCode::OK, &session);
        self.set_cookie(&mut response, &format!("{value}; Max-Age={}", self.lifetime.as_secs()))?;
        Ok(response)
    }

    fn me(&self, request: &Request<Bytes>) -> Result<Response<Full<Bytes>>, AppError> {
        let now = self.unix();
        let cookie = self.cookie(request);
        let row = self.rows.as_ref().zip(cookie.as_deref().and_then(|value| value.parse::<Uuid>().ok()));
        let token = match (&self.rows, row) {
            (None, _) => cookie,
            (Some(_), None) => None,
            (Some(_), Some((rows, id))) => rows.read(id)?,
        };
        match (self.open(token, now), self.mode) {
            (Found::Session { session, under, token }, mode) if session.user.is_some() => {
                if let Some(counts) = self.counts.get(&under) {
                    counts.opened.fetch_add(1, Relaxed);
                }
                let mut response = json(StatusCode::OK, &session);
                match (mode, row) {
                    (Mode::SwapAcceptOld, _) => self.set_cookie(&mut response, &self.reseal(&token, now)?)?,
                    (Mode::Rows, Some((rows, id))) => rows.write(id, &self.reseal(&token, now)?)?,
                    _ => {}
                }
                Ok(response)
            }
            (found, Mode::SwapAcceptOld) => {
                let guest = Session { user: None, session: None, expires_at: i64::MAX };
                let mut response = json(StatusCode::OK, &guest);
                if !matches!(found, Found::Session { .. }) {
                    self.set_cookie(&mut response, &self.mint(&guest, now)?)?;
                }
                Ok(response)
            }
            (found, _) => {
                if let (Found::Unreadable, Some((rows, id))) = (found, row) {
                    rows.delete(id)?;
                }
                Ok(json(StatusCode::UNAUTHORIZED, &serde_json::json!({ "error": "please log in" })))
            }
        }
    }

    fn ring(&self) -> Response<Full<Bytes>> {
        let loaded_at = self.loaded_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        json(
            StatusCode::OK,
            &serde_json::json!({
                "active": self.label(&self.keys.active),
                "accept": self.keys.all().map(|key| self.label(key)).collect::<Vec<_>>(),
                "loaded_at": loaded_at.as_secs(),
                "boot": self.boot,
                "worker": std::process::id().to_string(),
            }),
        )
    }

    /// The metrics that Keyroll looks for where nothing else is configured.
    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut page = Page(String::new());
        page.family("keyroll_key_info", "gauge", "The keys of this process and what it does with them.");
        for key in self.keys.all() {
            let state = if key.id() == self.keys.active.id() { "active" } else { "accept" };
            page.series("keyroll_key_info", &format!("key=\"{}\",state=\"{state}\"", self.label(key)), 1);
        }
        // Every key has its series from the start, because a missing one is no proof of anything.
        page.family("keyroll_sessions_opened_total", "counter", "Sessions opened, by the key that sealed them.");
        for Counts { label, opened, .. } in self.counts.values() {
            page.series("keyroll_sessions_opened_total", &format!("key=\"{label}\""), opened.load(Relaxed));
        }
        page.family("keyroll_sessions_minted_total", "counter", "Sessions minted, by key.");
        for Counts { label, minted, .. } in self.counts.values() {
            page.series("keyroll_sessions_minted_total", &format!("key=\"{label}\""), minted.load(Relaxed));
        }
        page.family("http_requests_total", "counter", "Requests answered, by status.");
        for (status, count) in &*self.answers() {
            page.series("http_requests_total", &format!("status=\"{status}\""), *count);
        }
        text(StatusCode::OK, "text/plain; version=0.0.4", page.0)
    }

    fn label(&self, key: &Key) -> String {
        self.counts.get(&key.id()).map_or_else(|| key.id().to_string(), |counts| counts.label.clone())
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<u16, u64>> {
        // A count is whole at any time, also after a panic elsewhere.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self, user: &str, now: UnixTime) -> Session {
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        let expires_at = now.0.saturating_add(lifetime);
        Session { user: Some(user.into()), session: Some(Uuid::new_v4()), expires_at }
    }

    fn mint(&self, session: &Session, now: UnixTime) -> Result<String, AppError> {
        let payload = serde_json::to_vec(session).unwrap_or_else(|_| unreachable!("it has no map and no float"));
        let expires_at = session.user.is_some().then_some(UnixTime(session.expires_at));
        Ok(self.codec.mint(&self.keys.active, &Mint { payload: &payload, issued_at: now, expires_at })?)
    }

    fn open(&self, token: Option<String>, now: UnixTime) -> Found {
        let Some(token) = token else { return Found::Nothing };
        let keys: Vec<_> = self.keys.all().collect();
        match self.codec.open(&keys, &token, now) {
            Ok(opened) => match serde_json::from_slice::<Session>(opened.payload.expose()) {
                Ok(session) if now.0 < session.expires_at => Found::Session { session, under: opened.key, token },
                Ok(_) => Found::Nothing,
                Err(_) => Found::Unreadable,
            },
            Err(OpenError::Expired) => Found::Nothing,
            Err(_) => Found::Unreadable,
        }
    }

    fn reseal(&self, token: &str, now: UnixTime) -> Result<String, AppError> {
        let keys: Vec<_> = self.keys.all().collect();
        Ok(self.codec.reseal(&keys, &self.keys.active, token, now)?)
    }

    fn cookie(&self, request: &Request<Bytes>) -> Option<String> {
        let headers = request.headers().get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = headers.flat_map(|header| header.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.codec.cookie_name()).map(|(_, value)| value.to_owned())
    }

    fn set_cookie(&self, response: &mut Response<Full<Bytes>>, value: &str) -> Result<(), AppError> {
        let line = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax", self.codec.cookie_name());
        response.headers_mut().insert(SET_COOKIE, HeaderValue::from_str(&line)?);
        Ok(())
    }

    fn unix(&self) -> UnixTime {
        let since = now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        UnixTime(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}

/// Prometheus' text format.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn series(&mut self, name: &str, labels: &str, value: u64) {
        self.0.push_str(&format!("{name}{{{labels}}} {value}\n"));
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_string(body).unwrap_or_else(|_| unreachable!("it has no map and no float"));
    text(status, "application/json", body)
}

#[expect(clippy::disallowed_methods, reason = "the application's own clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

const COOKIE_NAME: &str = "session";
