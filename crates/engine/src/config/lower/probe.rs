//! The probe and its scripted login.

use std::collections::BTreeMap;

use super::super::error::quoted;
use super::super::forms::{Groups, Short, ShortList, StatusText, Text};
use super::super::suggest::nearest;
use super::super::written;
use super::super::{
    At, Capture, CaptureFrom, Expectation, HeaderMatch, LoginBody, LoginStep, NonEmpty, Pattern, Payload, Period,
    Probe, Reissue, RequestValue, SecretReference, SourceSpan, StatusSet, TextMatch, Workers,
};
use super::Lowering;
use super::fleet::names_a_secret;

type WrittenExpectation = At<ShortList<StatusText, written::Expectation>>;
type WrittenValues = Option<BTreeMap<String, At<Short<Text, written::RequestValue>>>>;

impl Lowering<'_> {
    pub(super) fn probe(&mut self, written: At<written::Probe>) -> Option<Probe> {
        let At { value, span } = written;
        let path = self.required(
            value.path,
            span,
            "probe.path",
            "nothing says what to ask for",
            "add a path that answers otherwise with a session than without, as in `path: /me`",
        );
        let path = path.and_then(|at| self.request_path(at));
        let (accepted_written, rejected_written) = (value.accepted.is_some(), value.rejected.is_some());
        let rejected_span = value.rejected.as_ref().map_or(span, |at| at.span);
        let accepted = match value.accepted {
            Some(at) => self.expectation(at, "accepted"),
            None => Some(reissued(Reissue::SameSession)),
        };
        let rejected = match value.rejected {
            Some(at) => self.expectation(at, "rejected"),
            None if !accepted_written => Some(reissued(Reissue::NotTheSame)),
            None if accepted.as_ref().is_none_or(|accepted| accepted.reissue == Reissue::SameSession) => {
                Some(reissued(Reissue::NotTheSame))
            }
            None => {
                self.refuse_missing(
                    span,
                    "probe.rejected",
                    "whatever is not accepted need not be rejected: it may be an error or a deploy page",
                    "add what an unknown session gets, as in `rejected: [302, 401]`",
                );
                None
            }
        };
        if let (Some(accepted), Some(rejected)) = (&accepted, &rejected)
            && let Some(shared) = indistinct(accepted, rejected)
        {
            self.refuse(
                rejected_span,
                format!("status {shared} would mean both accepted and rejected"),
                "such an answer would prove nothing",
                if accepted_written && rejected_written {
                    "take it out of one of them, or tell them apart by `header`, `body` or `reissue`"
                } else {
                    "tell them apart by `header`, `body` or `reissue`"
                },
            );
        }
        let payload = value.payload.and_then(|at| self.payload(at));
        let header = value.worker_header.and_then(|at| self.header_name(&at.value.0, at.span));
        let count = self.positive_small(value.workers, "workers", "a member is at least one process");
        let method = match value.method {
            Some(at) => self.method(at),
            None => Some("GET".to_owned()),
        };
        let headers = self.values(value.headers, &[]);
        let timeout = self.limit_or(value.timeout, "probe.timeout", DEFAULT_TIMEOUT);
        let login = value.login.and_then(|at| self.login(at));
        Some(Probe {
            method: method?,
            path: path?,
            headers,
            accepted: accepted?,
            rejected: rejected?,
            payload,
            workers: Workers { count, header },
            timeout,
            login,
        })
    }

    fn expectation(&mut self, written: WrittenExpectation, field: &str) -> Option<Expectation> {
        let At { value, span } = written;
        let fields = match value {
            ShortList::Scalar(one) => {
                let status = self.state_list(vec![At { value: one, span }], span);
                return status.map(|status| Expectation { status: Some(status), ..reissued(Reissue::NotAsked) });
            }
            ShortList::List(list) => {
                let status = self.state_list(list, span);
                return status.map(|status| Expectation { status: Some(status), ..reissued(Reissue::NotAsked) });
            }
            ShortList::Fields(fields) => *fields,
        };
        let empty = fields.status.is_none()
            && fields.header.as_ref().is_none_or(BTreeMap::is_empty)
            && fields.body.is_none()
            && fields.reissue.is_none();
        let status = match fields.status {
            Some(status) => Some(self.states(Some(status))?),
            None => None,
        };
        let mut headers = Vec::new();
        for (name, written) in fields.header.unwrap_or_default() {
            let name = self.header_name(&name, written.span);
            let value = self.text_match(written);
            if let (Some(name), Some(value)) = (name, value) {
                headers.push(HeaderMatch { name, value });
            }
        }
        let body = fields.body.and_then(|at| self.text_match(at));
        let reissue = match fields.reissue.map(|at| at.value) {
            None => Reissue::NotAsked,
            Some(true) => Reissue::SameSession,
            Some(false) => Reissue::NotTheSame,
        };
        if empty {
            self.refuse(
                span,
                format!("`{field}` asks for nothing"),
                "every answer would match it",
                format!("write states as in `{field}: [200]`, or `header`, `body` or `reissue`"),
            );
            return None;
        }
        Some(Expectation { status, headers, body, reissue })
    }

    fn text_match(&mut self, written: At<Short<Text, written::Match>>) -> Option<TextMatch> {
        let span = written.span;
        let fields = match written.value {
            Short::Scalar(Text(text)) => return self.needle(text, span).map(TextMatch::Contains),
            Short::Fields(fields) => *fields,
        };
        match (fields.contains, fields.matches, fields.lacks) {
            (Some(text), None, None) => self.needle(text.value.0, text.span).map(TextMatch::Contains),
            (None, Some(pattern), None) => self.pattern(pattern).map(TextMatch::Matches),
            (None, None, Some(text)) => self.needle(text.value.0, text.span).map(TextMatch::Lacks),
            _ => {
                self.refuse(
                    span,
                    "the match has none or several of its fields",
                    "a text is compared in one way",
                    "write exactly one of `contains`, `matches` and `lacks`",
                );
                None
            }
        }
    }

    fn needle(&mut self, text: String, span: SourceSpan) -> Option<String> {
        if text.is_empty() {
            self.refuse(span, "the text to look for is empty", "every text contains it", "write what the answer shows");
            return None;
        }
        Some(text)
    }

    fn payload(&mut self, written: At<Short<Text, written::Payload>>) -> Option<Payload> {
        let span = written.span;
        let fields = match written.value {
            Short::Scalar(Text(text)) => return Some(Payload::Text(text)),
            Short::Fields(fields) => *fields,
        };
        match (fields.json, fields.text, fields.file) {
            (Some(json), None, None) => Some(Payload::Json(json)),
            (None, Some(text), None) => Some(Payload::Text(text.value.0)),
            (None, None, Some(file)) => self.path(file).map(Payload::File),
            _ => {
                self.refuse(
                    span,
                    "`payload` has none or several of its fields",
                    "a session holds one content",
                    "write exactly one of `json`, `text` and `file`",
                );
                None
            }
        }
    }

    fn login(&mut self, written: At<Groups<written::LoginStep, written::Login>>) -> Option<NonEmpty<LoginStep>> {
        let fix =
            "write it as in `login: [{ path: /login, form: { user: probe, password: { env: PROBE_PASSWORD } } }]`";
        let why = "nothing says how to log in";
        let steps = match written.value {
            Groups::List(steps) => At { value: steps, span: written.span },
            Groups::Fields(login) => self.required(login.steps, written.span, "login.steps", why, fix)?,
        };
        if steps.value.is_empty() {
            self.refuse(steps.span, "there is no step", why, fix);
        }
        let count = steps.value.len();
        let mut captured: Vec<String> = Vec::new();
        let mut lowered = Vec::new();
        for step in steps.value {
            let step = self.login_step(step, &captured);
            if let Some(step) = step {
                captured.extend(step.capture.keys().cloned());
                lowered.push(step);
            }
        }
        NonEmpty::new(lowered).filter(|lowered| lowered.len() == count)
    }

    fn login_step(&mut self, written: At<written::LoginStep>, captured: &[String]) -> Option<LoginStep> {
        let At { value, span } = written;
        let path = self.required(value.path, span, "path", "nothing says what to ask for", "add `path: /login`");
        let path = path.and_then(|at| self.request_path(at));
        let body = match (value.form, value.json) {
            (None, None) => LoginBody::Empty,
            (form @ Some(_), None) => LoginBody::Form(self.values(form, captured)),
            (None, json @ Some(_)) => LoginBody::Json(self.values(json, captured)),
            (Some(_), Some(_)) => {
                self.refuse(
                    span,
                    "the step has both `form` and `json`",
                    "a request has one body",
                    "remove one of them",
                );
                return None;
            }
        };
        let method = match value.method {
            Some(at) => self.method(at),
            None if body == LoginBody::Empty => Some("GET".to_owned()),
            None => Some("POST".to_owned()),
        };
        let expect = match value.expect {
            Some(expect) => self.states(Some(expect)),
            None => Some(StatusSet(vec![(200, 399)])),
        };
        let mut capture = BTreeMap::new();
        for (name, written) in value.capture.unwrap_or_default() {
            if let Some(lowered) = self.capture(written) {
                capture.insert(name, lowered);
            }
        }
        let headers = self.values(value.headers, captured);
        Some(LoginStep { method: method?, path: path?, headers, body, expect: expect?, capture })
    }

    fn capture(&mut self, written: At<written::Capture>) -> Option<Capture> {
        let At { value, span } = written;
        match (value.body, value.header, value.pattern) {
            (Some(body), None, None) => self.pattern(body).map(|pattern| Capture { from: CaptureFrom::Body, pattern }),
            (None, Some(header), pattern) => {
                let name = self.header_name(&header.value.0, header.span)?;
                let pattern = match pattern {
                    Some(pattern) => self.pattern(pattern)?,
                    None => Pattern::parse("(?s).*").ok()?,
                };
                Some(Capture { from: CaptureFrom::Header(name), pattern })
            }
            _ => {
                self.refuse(
                    span,
                    "the capture has none or several sources",
                    "a value comes from one place",
                    "write `{ body: REGEX }`, or `{ header: NAME, pattern: REGEX }`",
                );
                None
            }
        }
    }

    fn values(&mut self, written: WrittenValues, captured: &[String]) -> BTreeMap<String, RequestValue> {
        let mut values = BTreeMap::new();
        for (name, at) in written.unwrap_or_default() {
            if let Some(value) = self.value(&name, at, captured) {
                values.insert(name, value);
            }
        }
        values
    }

    fn value(
        &mut self,
        name: &str,
        written: At<Short<Text, written::RequestValue>>,
        captured: &[String],
    ) -> Option<RequestValue> {
        let span = written.span;
        let fields = match written.value {
            Short::Scalar(Text(text)) => {
                if names_a_secret(name) && !text.is_empty() {
                    self.refuse_secret(
                        span,
                        format!("`{name}` holds a secret in clear"),
                        "secrets stand in this file by reference only; it is shared, committed and printed",
                        format!(
                            "write `{name}: {{ env: PROBE_{} }}`, or `{name}: {{ file: PATH }}`",
                            variable_like(name)
                        ),
                    );
                    return None;
                }
                return Some(RequestValue::Literal(text));
            }
            Short::Fields(fields) => *fields,
        };
        match (fields.env, fields.file, fields.captured) {
            (Some(env), None, None) => {
                let name = env.value.0;
                let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
                if name.is_empty() || !name.chars().all(legal) || name.starts_with(|c: char| c.is_ascii_digit()) {
                    self.refuse_secret(
                        env.span,
                        "`env` is not the name of an environment variable",
                        "it takes the name of a variable, never its value",
                        "write it as in `{ env: PROBE_PASSWORD }`",
                    );
                    return None;
                }
                Some(RequestValue::Secret(SecretReference::Env(name)))
            }
            (None, Some(file), None) => self.path(file).map(|file| RequestValue::Secret(SecretReference::File(file))),
            (None, None, Some(name)) => {
                let Text(wanted) = name.value;
                if captured.contains(&wanted) {
                    return Some(RequestValue::Captured(wanted));
                }
                let fix = match nearest(&wanted, captured.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("add `capture: {{ {wanted}: {{ body: REGEX }} }}` to an earlier step"),
                };
                self.refuse(
                    name.span,
                    format!("no earlier step captures {}", quoted(&wanted)),
                    "its value would never be known",
                    fix,
                );
                None
            }
            _ => {
                self.refuse(
                    span,
                    format!("`{name}` has none or several sources"),
                    "a value comes from one place",
                    "write exactly one of `env`, `file` and `captured`, or a plain text",
                );
                None
            }
        }
    }
}

fn reissued(reissue: Reissue) -> Expectation {
    Expectation { status: None, headers: Vec::new(), body: None, reissue }
}

/// A status that would show both. Where one side asks for nothing but the status, every answer of the other side with that
/// status matches both.
fn indistinct(accepted: &Expectation, rejected: &Expectation) -> Option<u16> {
    let shared = accepted.status.as_ref()?.shared(rejected.status.as_ref()?)?;
    let alone =
        |side: &Expectation| side.headers.is_empty() && side.body.is_none() && side.reissue == Reissue::NotAsked;
    (alone(accepted) || alone(rejected)).then_some(shared)
}

fn variable_like(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

const DEFAULT_TIMEOUT: Period = Period::seconds(5);
