//! What serde refuses, said in the words of people: unknown fields, wrong shapes, broken YAML.

use serde_saphyr::Error;

use super::super::error::quoted;
use super::super::forms::{NOT_A_GROUP, NOT_A_LIST};
use super::super::suggest::nearest;
use super::super::{SourceSpan, schema};
use super::Lowering;

impl Lowering<'_> {
    pub(super) fn refuse_shape(&mut self, error: &Error) {
        let error = error.without_snippet();
        let span = error.location().map(SourceSpan::of).unwrap_or_default();
        let span = self.placed(span);
        let field = self.field_before(span).or_else(|| self.field_at(span));
        let stands = field.as_deref().map_or_else(|| "what stands here".to_owned(), |field| format!("`{field}`"));
        let example = field.as_deref().and_then(example).map_or_else(
            || "docs/reference/config.md shows every field with its form".to_owned(),
            |example| format!("write it as in `{example}`"),
        );
        match error {
            Error::SerdeUnknownField { field, expected, .. } => self.refuse_unknown_field(span, field, expected),
            Error::SerdeUnknownVariant { variant, .. } if variant == "rows" && field.as_deref() == Some("drain") => self
                .refuse(
                    span,
                    "`drain: rows` is not to be had",
                    "a scan of server-side sessions needs an adapter for where they are, and this release has none",
                    "write `drain: counter` with `evidence.counter`, or `drain: lifetime` where the server ends sessions by time",
                ),
            Error::SerdeUnknownVariant { variant, expected, .. } => {
                let fix = match nearest(variant, expected.iter().copied()) {
                    Some(word) => format!("did you mean `{word}`?"),
                    None => format!("write one of {}", listed(expected)),
                };
                let why = format!("{stands} knows {} only", listed(expected));
                self.refuse(span, format!("unknown value {}", quoted(variant)), why, fix);
            }
            Error::Unexpected { expected, .. } => {
                let wanted = match *expected {
                    "string scalar" => "a single value",
                    "mapping start" => "a group of fields",
                    "sequence start" => "a list",
                    other => other,
                };
                self.refuse(span, format!("{stands} has the wrong form"), format!("{wanted} must stand here"), example);
            }
            Error::SerdeInvalidType { expected, .. } | Error::SerdeInvalidValue { expected, .. } => {
                self.refuse(
                    span,
                    format!("{stands} has the wrong form"),
                    format!("{expected} must stand here"),
                    example,
                );
            }
            Error::Message { msg, .. } if msg.contains(NOT_A_GROUP) || msg.contains(NOT_A_LIST) => {
                let why = if msg.contains(NOT_A_LIST) { NOT_A_LIST } else { NOT_A_GROUP };
                self.refuse(span, format!("{stands} has the wrong form"), why, example);
            }
            Error::InvalidScalar { ty: "boolean", .. } | Error::InvalidBooleanStrict { .. } => {
                self.refuse(
                    span,
                    format!("{stands} is neither `true` nor `false`"),
                    "it is a yes or a no",
                    "write `true` or `false`",
                );
            }
            Error::DuplicateMappingKey { .. } => self.refuse(
                span,
                "a field stands here for the second time",
                "only one of the two could count, and it would not be clear which",
                "remove one of them",
            ),
            Error::MultipleDocuments { .. } => self.refuse(
                span,
                "a second document begins here",
                "a file holds the document of one key",
                "put each key into a file of its own, and name it with `--config FILE`",
            ),
            other => {
                let text = other.to_string();
                let why = text.split(" at line ").next().unwrap_or(&text).to_owned();
                self.refuse(
                    span,
                    "the text is not YAML",
                    why,
                    "correct the quotes, brackets or indentation around here; a text with `{`, `#` or `: ` in it needs quotes",
                );
            }
        }
    }

    fn refuse_unknown_field(&mut self, span: SourceSpan, field: &str, expected: &[&'static str]) {
        let what = format!("unknown field {}", quoted(field));
        let why = if expected.is_empty() {
            "no field can stand here".to_owned()
        } else {
            format!("the fields here are {}", listed(expected))
        };
        if field == "keys" && expected.contains(&"profile") {
            return self.refuse(
                span,
                "`keys` names several keys",
                "a document has one key; an encryption and a signing key that are promoted together are parts of it",
                "write `profile: { file: ./ours.toml }` with `[[parts]]` for each and the layout `separate-parts` \
                 (docs/adding/framework.md), or a document for each key that moves on its own",
            );
        }
        if let Some(word) = nearest(field, expected.iter().copied()) {
            return self.refuse(span, what, why, format!("did you mean `{word}`?"));
        }
        let elsewhere: Vec<String> =
            schema::fields().into_iter().filter(|(name, _)| name == field).map(|(_, place)| place).collect();
        let fix = match elsewhere.first() {
            Some(place) if place.is_empty() => format!("move `{field}` to the top of the document"),
            Some(place) => format!("move `{field}` under `{place}`"),
            None => "remove it".to_owned(),
        };
        self.refuse(span, what, why, fix);
    }

    /// The name of the field that begins at `span`: some errors point at a field and not at its value.
    fn field_at(&self, span: SourceSpan) -> Option<String> {
        let (name, _) = self.text.get(span.offset..)?.split_once(':')?;
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        (!name.is_empty() && name.chars().all(legal)).then(|| name.to_owned())
    }

    /// The name of the field whose value stands at `span`.
    fn field_before(&self, span: SourceSpan) -> Option<String> {
        let before = self.text.get(..span.offset)?.trim_end().strip_suffix(':')?;
        let name: String =
            before.chars().rev().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).collect();
        (!name.is_empty()).then(|| name.chars().rev().collect())
    }
}

fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}

fn example(field: &str) -> Option<&'static str> {
    EXAMPLES.iter().find(|(name, _)| *name == field).map(|(_, example)| *example)
}

const EXAMPLES: &[(&str, &str)] = &[
    ("metadata", "metadata: { name: storefront }"),
    ("name", "metadata: { name: storefront }"),
    ("spec", "spec: { profile: rails, store: ..., consumers: ... }"),
    ("profile", "profile: rails"),
    ("names", "names: { active: SECRET_KEY_BASE, accept: OLD_SECRET_KEY_BASE }"),
    ("store", "store: { envFile: { path: .env } }"),
    ("stores", "stores: [{ envFile: { path: .env } }]"),
    ("envFile", "envFile: { path: .env }"),
    ("file", "file: { path: session.key }"),
    ("consumers", "consumers: [{ command: { list: [./members], reload: [./restart, \"{member}\"] } }]"),
    ("process", "process: { command: [bundle, exec, puma, -p, \"{port}\"], ports: 9001-9003 }"),
    ("command", "command: [./members, --json]"),
    ("list", "list: [./members, --json]"),
    ("reload", "reload: { parallel: 1 }"),
    ("static", "static: { members: [\"http://10.0.0.5:9000\"] }"),
    ("members", "members: [\"http://10.0.0.5:9000\"]"),
    ("ports", "ports: 9001-9003"),
    ("env", "env: { RAILS_ENV: production }"),
    ("sessions", "sessions: { maxLifetime: 3h, drain: lifetime }"),
    ("maxLifetime", "maxLifetime: 3h"),
    ("probe", "probe: { path: /me, accepted: [200], rejected: [302, 401] }"),
    ("accepted", "accepted: [200]"),
    ("rejected", "rejected: [302, 401]"),
    ("login", "login: [{ path: /login, form: { user: probe, password: { env: PROBE_PASSWORD } } }]"),
    ("steps", "steps: [{ path: /login, form: { user: probe, password: { env: PROBE_PASSWORD } } }]"),
    ("evidence", "evidence: { counter: { path: /metrics } }"),
    ("counter", "counter: { path: /metrics }"),
    ("policy", "policy: { rotateEvery: 90d, window: \"Mon-Thu 09:00-16:00 Europe/London\" }"),
    ("window", "window: \"Mon-Thu 09:00-16:00 Europe/London\""),
];
