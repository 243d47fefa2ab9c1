//! `login` (P3): a scripted login on each member. What it mints shows the minting key, and is replayed on the others.
//!
//! A replayed session proves something only beside its own forgery: the same token with one character changed must be
//! rejected, else the member accepts everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use keyroll_keyring::codec::{OpenError, SessionCodec};
use keyroll_keyring::{Key, KeyId, Secret, UnixTime};
use regex::Regex;
use reqwest::header::{CONTENT_TYPE, COOKIE};
use reqwest::{Method, RequestBuilder};
use url::Url;

use super::look::{Look, Reissue, Reissued, StatusSet};
use super::request::{self, Captured, EvidenceConfigError, HttpAccess, RequestValue};
use super::{
    Answer, CapturedSession, Level, Question, Replayed, Statement, Subject, Testimony, Witness, WitnessDescription,
};
use crate::direct::{Answered, Direct};
use crate::fleets::Member;

/// How to log in, and how to tell whether a session is accepted.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers write it out")]
pub struct LoginConfig {
    /// The requests, in order. Cookies that they set are sent back with the next one.
    pub steps: Vec<LoginStep>,
    /// How members are reached.
    pub access: HttpAccess,
    /// The cookie that carries the session.
    pub cookie: String,
    /// The path at which a session is tried, by `GET`.
    pub check_path: String,
    /// What shows that it was accepted. `reissue` is not for logins.
    pub accepted: Look,
    /// What shows that it was rejected.
    pub rejected: Look,
}

/// One request of a login.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers write it out")]
pub struct LoginStep {
    /// The method, as `POST`.
    pub method: String,
    /// The path.
    pub path: String,
    /// Further headers.
    pub headers: Vec<(String, RequestValue)>,
    /// What is sent.
    pub body: LoginBody,
    /// What shows that the step went well.
    pub expect: StatusSet,
    /// What later steps take from the answer, by name (a CSRF token).
    pub capture: BTreeMap<String, Capture>,
}

/// What a login step sends.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LoginBody {
    /// Nothing.
    Empty,
    /// As a form.
    Form(Vec<(String, RequestValue)>),
    /// As a JSON object of texts.
    Json(Vec<(String, RequestValue)>),
}

/// What a later step takes from an answer.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers write it out")]
pub struct Capture {
    /// From where.
    pub from: CaptureFrom,
    /// The first group of this expression, or all that it matches.
    pub pattern: Regex,
}

/// Where a capture looks.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CaptureFrom {
    /// The body.
    Body,
    /// A header, by its name.
    Header(String),
}

/// Logs in on members and replays sessions.
#[derive(Debug)]
pub struct LoginWitness {
    config: LoginConfig,
    methods: Vec<Method>,
    codec: Option<Arc<dyn SessionCodec>>,
    direct: Direct,
}

impl LoginWitness {
    /// A witness that logs in; with a codec it can tell under which key a session was minted.
    pub fn new(config: LoginConfig, codec: Option<Arc<dyn SessionCodec>>) -> Result<Self, EvidenceConfigError> {
        if config.steps.is_empty() {
            return Err(EvidenceConfigError::Empty { what: "the list of login steps" });
        }
        for (which, look) in [("accepted", &config.accepted), ("rejected", &config.rejected)] {
            let without_reissue = Look { reissue: Reissue::NotAsked, ..look.clone() };
            if !without_reissue.asks_for_something() {
                return Err(EvidenceConfigError::AsksForNothing { which });
            }
        }
        let methods = config
            .steps
            .iter()
            .map(|step| step.method.parse().map_err(|_| EvidenceConfigError::Method { method: step.method.clone() }))
            .collect::<Result<_, _>>()?;
        let direct = config.access.direct()?;
        Ok(Self { config, methods, codec, direct })
    }

    /// Logs in and gives back the session.
    async fn login(&self, address: &Url) -> Result<Secret, String> {
        let mut captured = Captured::default();
        let mut cookies: BTreeMap<String, Secret> = BTreeMap::new();
        for (number, (step, method)) in self.config.steps.iter().zip(&self.methods).enumerate() {
            let at = |reason: String| {
                format!("step {} of the login (`{} {}`): {reason}", number + 1, step.method, path_of(&step.path))
            };
            let answer = self.step(address, step, method, &captured, &cookies).await.map_err(at)?;
            if !step.expect.contains(answer.status.as_u16()) {
                return Err(at(format!("status {} was not expected", answer.status.as_u16())));
            }
            for (name, value) in request::set_cookies(&answer.headers) {
                if value.is_empty() {
                    cookies.remove(name);
                } else {
                    cookies.insert(name.to_owned(), Secret::from_text(value));
                }
            }
            for (name, capture) in &step.capture {
                let value =
                    capture.find(&answer).ok_or_else(|| at(format!("nothing in the answer matches for `{name}`")))?;
                captured.0.insert(name.clone(), value);
            }
        }
        cookies
            .remove(&self.config.cookie)
            .ok_or_else(|| format!("the login went through and set no cookie `{}`", self.config.cookie))
    }

    async fn step(
        &self,
        address: &Url,
        step: &LoginStep,
        method: &Method,
        captured: &Captured,
        cookies: &BTreeMap<String, Secret>,
    ) -> Result<Answered, String> {
        let mut request = self
            .direct
            .request(method.clone(), address, &step.path)
            .map_err(|error| error.to_string())?
            .headers(self.config.access.header_map().map_err(|error| error.to_string())?)
            .headers(request::headers(&step.headers, captured).map_err(|error| error.to_string())?);
        if let Some(header) = request::cookie(cookies.iter().map(|(name, value)| (name.as_str(), value.expose())))
            && !cookies.is_empty()
        {
            request = request.header(COOKIE, header);
        }
        let request = with_body(request, &step.body, captured)?;
        self.direct.send(address, request, BODY_LIMIT).await.map_err(|error| error.to_string())
    }

    /// Sends a session to the member, and its forgery beside it.
    async fn replay(&self, address: &Url, token: &Secret) -> (Answer, String) {
        let forgery = forge(token);
        let tried = async {
            let forged = self.try_session(address, &forgery).await?;
            Ok::<_, String>((forged, self.try_session(address, token).await?))
        };
        match tried.await {
            Err(reason) => (Answer::Unknown, reason),
            Ok(((Answer::No, _), (answer @ Answer::Yes, shape))) => (answer, format!("accepted: {shape}")),
            Ok(((Answer::No, _), (answer @ Answer::No, shape))) => (answer, format!("rejected: {shape}")),
            Ok(((Answer::No, _), (Answer::Unknown, shape))) => {
                (Answer::Unknown, format!("the answer looks neither accepted nor rejected: {shape}"))
            }
            Ok(((_, shape), _)) => {
                (Answer::Unknown, format!("a forged session was not rejected, so the check proves nothing: {shape}"))
            }
        }
    }

    async fn try_session(&self, address: &Url, token: &Secret) -> Result<(Answer, String), String> {
        let cookie = request::cookie([(self.config.cookie.as_str(), token.expose())])
            .ok_or("the session can't stand in a header")?;
        let request = self
            .direct
            .request(Method::GET, address, &self.config.check_path)
            .map_err(|error| error.to_string())?
            .headers(self.config.access.header_map().map_err(|error| error.to_string())?)
            .header(COOKIE, cookie);
        let answer = self.direct.send(address, request, BODY_LIMIT).await.map_err(|error| error.to_string())?;
        let matches = |look: &Look| {
            let look = Look { reissue: Reissue::NotAsked, ..look.clone() };
            look.matches(answer.status, &answer.headers, &answer.body, Reissued::NotSame)
        };
        let reading = match (matches(&self.config.accepted), matches(&self.config.rejected)) {
            (true, false) => Answer::Yes,
            (false, true) => Answer::No,
            (true, true) | (false, false) => Answer::Unknown,
        };
        Ok((reading, format!("status {}, {} bytes", answer.status.as_u16(), answer.body.len())))
    }

    fn key_of(&self, token: &Secret, question: &Question<'_>) -> Option<KeyId> {
        let keys: Vec<&Key> = question.keys.iter().chain(&question.open_only).map(|asked| asked.key).collect();
        let text = std::str::from_utf8(token.expose()).ok()?;
        let now = UnixTime(i64::try_from(question.now.0 / 1000).ok()?);
        self.codec.as_ref()?.open(&keys, text, now).ok().map(|opened| opened.key)
    }

    /// Whether the session says of itself that its time is over, where a codec can read that.
    fn is_over(&self, token: &Secret, question: &Question<'_>) -> bool {
        let keys: Vec<&Key> = question.keys.iter().chain(&question.open_only).map(|asked| asked.key).collect();
        let now = UnixTime(i64::try_from(question.now.0 / 1000).unwrap_or(i64::MAX));
        match (&self.codec, std::str::from_utf8(token.expose())) {
            (Some(codec), Ok(text)) => matches!(codec.open(&keys, text, now), Err(OpenError::Expired)),
            (None, _) | (_, Err(_)) => false,
        }
    }
}

#[async_trait]
impl Witness for LoginWitness {
    fn describe(&self) -> WitnessDescription {
        WitnessDescription { kind: "login", level: Level::P3, tells_accepts: true, tells_mints: self.codec.is_some() }
    }

    async fn ask(&self, member: &Member, question: &Question<'_>) -> Testimony {
        let mut testimony = Testimony::default();
        let Some(address) = &member.address else {
            testimony.statements = minting(question, None, "it has no address to log in at");
            return testimony;
        };
        // First, because sessions of others grow older while this one logs in.
        for session in &question.captured {
            let (answer, detail) = match self.is_over(&session.token, question) {
                // A long sweep may outlive a short session; whoever refuses it then does nothing wrong.
                true => (Answer::Unknown, "its time is over; nothing was tried".to_owned()),
                false => self.replay(address, &session.token).await,
            };
            let detail = format!("a login of `{}`: {detail}", session.minter.0);
            if let Some(key) = session.key {
                testimony.statements.push(accepts(key, answer, detail.clone()));
            }
            testimony.replayed.push(Replayed { key: session.key, answer, detail });
        }
        match self.login(address).await {
            Err(reason) => testimony.statements.extend(minting(question, None, &reason)),
            Ok(token) => {
                let key = self.key_of(&token, question);
                let detail = match (key, &self.codec) {
                    (Some(key), _) => format!("a login set a session that opens under {key}"),
                    (None, Some(_)) => "a login set a session that opens under no known key".to_owned(),
                    (None, None) => "a login set a session that can't be opened here".to_owned(),
                };
                testimony.statements.extend(match (key, &self.codec) {
                    // Whatever key it is, it is none of those that were asked about.
                    (None, Some(_)) => minting_none_of(question, &detail),
                    (Some(_), _) | (None, None) => minting(question, key, &detail),
                });
                let (answer, detail) = self.replay(address, &token).await;
                if let Some(key) = key {
                    testimony.statements.push(accepts(key, answer, format!("its own login: {detail}")));
                }
                testimony.replayed.push(Replayed { key, answer, detail: format!("its own login: {detail}") });
                testimony.captured.push(Arc::new(CapturedSession { token, key, minter: member.id.clone() }));
            }
        }
        testimony.sent = self.direct.take_sent(address);
        testimony
    }
}

impl Capture {
    fn find(&self, answer: &Answered) -> Option<Secret> {
        let text = match &self.from {
            CaptureFrom::Body => String::from_utf8_lossy(&answer.body),
            CaptureFrom::Header(name) => String::from_utf8_lossy(answer.headers.get(name)?.as_bytes()),
        };
        let found = self.pattern.captures(&text)?;
        found.get(1).or_else(|| found.get(0)).map(|part| Secret::from_text(part.as_str()))
    }
}

fn minting(question: &Question<'_>, under: Option<KeyId>, detail: &str) -> Vec<Statement> {
    question
        .keys
        .iter()
        .chain(&question.open_only)
        .map(|asked| {
            let key = asked.key.id();
            let answer = match under {
                None => Answer::Unknown,
                Some(under) if under == key => Answer::Yes,
                Some(_) => Answer::No,
            };
            Statement { key, subject: Subject::Mints, answer, level: Level::P3, detail: detail.to_owned() }
        })
        .collect()
}

fn minting_none_of(question: &Question<'_>, detail: &str) -> Vec<Statement> {
    let mut statements = minting(question, None, detail);
    for statement in &mut statements {
        statement.answer = Answer::No;
    }
    statements
}

fn accepts(key: KeyId, answer: Answer, detail: String) -> Statement {
    Statement { key, subject: Subject::Accepts, answer, level: Level::P3, detail }
}

fn with_body(request: RequestBuilder, body: &LoginBody, captured: &Captured) -> Result<RequestBuilder, String> {
    let read = |value: &RequestValue| value.read(captured).map_err(|error| error.to_string());
    Ok(match body {
        LoginBody::Empty => request,
        LoginBody::Form(fields) => {
            let mut form = zeroize::Zeroizing::new(String::new());
            for (name, value) in fields {
                if !form.is_empty() {
                    form.push('&');
                }
                form.extend(url::form_urlencoded::byte_serialize(name.as_bytes()));
                form.push('=');
                form.extend(url::form_urlencoded::byte_serialize(read(value)?.expose()));
            }
            request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.to_string())
        }
        LoginBody::Json(fields) => {
            let mut json = zeroize::Zeroizing::new(String::from("{"));
            for (name, value) in fields {
                if json.len() > 1 {
                    json.push(',');
                }
                let value = read(value)?;
                let text =
                    std::str::from_utf8(value.expose()).map_err(|_| format!("the field `{name}` is not text"))?;
                for part in [name.as_str(), text] {
                    json.push_str(&serde_json::Value::from(part).to_string());
                    json.push(':');
                }
                json.pop();
            }
            json.push('}');
            request.header(CONTENT_TYPE, "application/json").body(json.to_string())
        }
    })
}

/// The token with one character in its middle changed to another one of the same kind, so that only its authenticity
/// suffers and not its form.
fn forge(token: &Secret) -> Secret {
    let mut bytes = token.expose().to_vec();
    let middle = bytes.len() / 2;
    let place = (middle..bytes.len()).chain(0..middle).find(|at| {
        // Not within a percent escape, which would become another form.
        bytes[*at].is_ascii_alphanumeric() && !bytes[at.saturating_sub(2)..*at].contains(&b'%')
    });
    if let Some(place) = place {
        bytes[place] = match bytes[place] {
            b'0'..=b'8' | b'a'..=b'e' | b'g'..=b'y' | b'A'..=b'E' | b'G'..=b'Y' => bytes[place] + 1,
            b'9' => b'0',
            b'f' | b'z' => b'a',
            b'F' | b'Z' => b'A',
            other => other,
        };
    }
    Secret::from_bytes(bytes)
}

fn path_of(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}

const BODY_LIMIT: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::evidence::request::Credential;
    use crate::evidence::testing::{App, Manner, about, key, log, rails};

    struct Password {
        folder: tempfile::TempDir,
    }

    impl Password {
        fn new(text: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("password"), text).unwrap();
            Self { folder }
        }

        fn config(&self) -> LoginConfig {
            let password = RequestValue::Secret(Credential::File(self.folder.path().join("password")));
            LoginConfig {
                steps: vec![
                    LoginStep {
                        method: "GET".into(),
                        path: "/form".into(),
                        headers: Vec::new(),
                        body: LoginBody::Empty,
                        expect: StatusSet::success(),
                        capture: BTreeMap::from([(
                            "csrf".to_owned(),
                            Capture {
                                from: CaptureFrom::Body,
                                pattern: Regex::new(r#"csrf" value="([^"]+)""#).unwrap(),
                            },
                        )]),
                    },
                    LoginStep {
                        method: "POST".into(),
                        path: "/login".into(),
                        headers: vec![("x-csrf".into(), RequestValue::Captured("csrf".into()))],
                        body: LoginBody::Form(vec![
                            ("user".into(), RequestValue::Literal("probe & co".into())),
                            ("password".into(), password),
                        ]),
                        expect: StatusSet::success(),
                        capture: BTreeMap::new(),
                    },
                ],
                access: HttpAccess::within(Duration::from_secs(5)),
                cookie: "_app_session".into(),
                check_path: "/me".into(),
                accepted: Look::status([200]),
                rejected: Look::status([401]),
            }
        }
    }

    async fn app(manner: Manner, active: &Key, accept: &[&Key]) -> App {
        let app = App::start(manner, active, accept).await;
        app.page("/form", r#"<input name="csrf" value="t0k3n">"#);
        app
    }

    fn answer_of(testimony: &Testimony, subject: Subject, id: u32) -> Vec<Answer> {
        let fits = |one: &&Statement| one.subject == subject && one.key == KeyId(id);
        testimony.statements.iter().filter(fits).map(|one| one.answer).collect()
    }

    #[tokio::test]
    async fn a_login_shows_the_minting_key_and_its_session_is_replayed_elsewhere() {
        let (old, new, decoy) = (key(1), key(2), key(9));
        let password = Password::new("hunter2\n");
        let witness = LoginWitness::new(password.config(), Some(rails())).unwrap();
        let promoted = app(Manner::Status, &new, &[&old]).await;
        let behind = app(Manner::Status, &old, &[]).await;

        let first = witness.ask(&promoted.member, &about(&[&old, &new], &decoy)).await;
        assert_eq!(answer_of(&first, Subject::Mints, 1), [Answer::No]);
        assert_eq!(answer_of(&first, Subject::Mints, 2), [Answer::Yes]);
        assert_eq!(answer_of(&first, Subject::Accepts, 2), [Answer::Yes], "its own login works there");
        assert_eq!(first.captured[0].key, Some(KeyId(2)));

        let mut question = about(&[&old, &new], &decoy);
        question.captured = first.captured;
        let second = witness.ask(&behind.member, &question).await;
        assert_eq!(answer_of(&second, Subject::Accepts, 2), [Answer::No], "the new login is not accepted there");
        assert_eq!(answer_of(&second, Subject::Accepts, 1), [Answer::Yes]);
        assert_eq!(second.replayed.len(), 2);
    }

    #[tokio::test]
    async fn without_a_codec_replays_are_told_without_a_key() {
        let (old, decoy) = (key(1), key(9));
        let password = Password::new("hunter2");
        let witness = LoginWitness::new(password.config(), None).unwrap();
        let app = app(Manner::Status, &old, &[]).await;
        let testimony = witness.ask(&app.member, &about(&[&old], &decoy)).await;
        assert_eq!(answer_of(&testimony, Subject::Mints, 1), [Answer::Unknown]);
        assert_eq!((testimony.replayed[0].key, testimony.replayed[0].answer), (None, Answer::Yes));
    }

    #[tokio::test]
    async fn a_member_that_accepts_a_forgery_proves_nothing() {
        let (old, decoy) = (key(1), key(9));
        let password = Password::new("hunter2");
        let mut config = password.config();
        // A page that looks at no session: everybody is welcome.
        config.check_path = "/form".into();
        let witness = LoginWitness::new(config, Some(rails())).unwrap();
        let app = app(Manner::Status, &old, &[]).await;
        let testimony = witness.ask(&app.member, &about(&[&old], &decoy)).await;
        assert_eq!(answer_of(&testimony, Subject::Accepts, 1), [Answer::Unknown]);
        assert!(testimony.replayed[0].detail.contains("forged session was not rejected"));
    }

    #[tokio::test]
    async fn a_failed_login_is_unknown_and_names_the_step() {
        let (old, decoy) = (key(1), key(9));
        let password = Password::new("wrong-password");
        let witness = LoginWitness::new(password.config(), Some(rails())).unwrap();
        let app = app(Manner::Status, &old, &[]).await;
        let testimony = witness.ask(&app.member, &about(&[&old], &decoy)).await;
        assert_eq!(answer_of(&testimony, Subject::Mints, 1), [Answer::Unknown]);
        let detail = &testimony.statements[0].detail;
        assert!(detail.contains("step 2 of the login (`POST /login`): status 403"), "{detail}");
    }

    #[tokio::test]
    async fn neither_the_password_nor_a_session_is_shown_or_logged() {
        let (old, decoy) = (key(1), key(9));
        let (log, _guard) = log();
        let password = Password::new("hunter2");
        let witness = LoginWitness::new(password.config(), Some(rails())).unwrap();
        let app = app(Manner::Status, &old, &[]).await;
        let testimony = witness.ask(&app.member, &about(&[&old], &decoy)).await;
        let shown = format!("{:?} {:?} {witness:?} {}", testimony.statements, testimony.replayed, log.text());
        assert!(!shown.contains("hunter2") && !shown.contains("t0k3n"));
        let windows: std::collections::HashSet<&[u8]> = shown.as_bytes().windows(8).collect();
        let tokens = app.shared.tokens.lock().unwrap();
        assert!(tokens.len() >= 3);
        assert!(!tokens.iter().any(|token| token.as_bytes().windows(8).any(|window| windows.contains(window))));
    }

    #[test]
    fn a_forgery_keeps_its_form_and_differs() {
        for token in ["ab%2Fcd", "0123456789abcdef", "zzzz", "a"] {
            let forged = forge(&Secret::from_text(token));
            assert_eq!(forged.expose().len(), token.len());
            assert_ne!(forged.expose(), token.as_bytes());
        }
    }
}
