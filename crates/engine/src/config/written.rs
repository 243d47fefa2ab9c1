//! `keyroll.yaml` as it is written: every field optional, every value with its place, nothing judged yet.
//!
//! The comments on the fields are the descriptions in the JSON schema, so they speak to who writes the file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::At;
use super::forms::{
    DurationText, Groups, Many, NumberText, PathText, PatternText, PortText, ShareText, Short, ShortList, StatusText,
    Text, UrlText, WindowText,
};

type Values = BTreeMap<String, At<Short<Text, RequestValue>>>;

/// The key behind your users' sessions: where it lives, who uses it, what proves it, when it is rotated.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(title = "keyroll.yaml", inline, extend("required" = ["apiVersion", "kind", "metadata", "spec"]))]
pub(super) struct Document {
    /// `keyroll.dev/v1alpha1`.
    #[schemars(schema_with = "api_version")]
    pub(super) api_version: Option<At<Text>>,
    /// `SessionKey`.
    #[schemars(schema_with = "kind")]
    pub(super) kind: Option<At<Text>>,
    /// Names the key.
    pub(super) metadata: Option<At<Metadata>>,
    /// What is to be done.
    pub(super) spec: Option<At<Spec>>,
}

/// Names the key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("required" = ["name"]))]
pub(super) struct Metadata {
    /// At most 63 lower-case letters, digits and `-`. The journal and the lock carry it.
    pub(super) name: Option<At<Text>>,
}

/// What is to be done.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("required" = ["profile", "consumers"]))]
pub(super) struct Spec {
    /// How the framework names, encodes and orders its keys: a name such as `rails`, or a group of fields.
    pub(super) profile: Option<At<Short<Text, Profile>>>,
    /// The folder with the application's source files. `lint` and preflight look there for the framework's well-known mistakes.
    pub(super) project: Option<At<PathText>>,
    /// Where the key lives.
    pub(super) store: Option<At<Store>>,
    /// Where the key lives, if that is several places. They hold the same key.
    pub(super) stores: Option<At<Vec<At<Store>>>>,
    /// Who uses the key.
    pub(super) consumers: Option<At<Vec<At<Consumer>>>>,
    /// How long what is sealed with the key lives.
    pub(super) sessions: Option<At<Sessions>>,
    /// What to send to a member, and what its answer means.
    pub(super) probe: Option<At<Probe>>,
    /// What else proves that a member has the key.
    pub(super) evidence: Option<At<Evidence>>,
    /// When to rotate, and how patiently.
    pub(super) policy: Option<At<Policy>>,
}

/// A profile and what this application has changed about it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Profile {
    /// A profile that Keyroll ships, such as `rails` or its variant `rails/single-slot`.
    pub(super) name: Option<At<Text>>,
    /// A profile of your own, in TOML.
    pub(super) file: Option<At<PathText>>,
    /// The names of the variables, where they are not the framework's.
    pub(super) names: Option<At<Names>>,
    /// The name of the session cookie.
    pub(super) cookie: Option<At<Text>>,
    /// `encrypted` or `signed`.
    pub(super) kind: Option<At<Text>>,
    /// The digest from which the framework derives its keys.
    pub(super) digest: Option<At<Text>>,
    /// The salt of encrypted cookies.
    pub(super) salt: Option<At<Text>>,
    /// The salt of signed cookies.
    pub(super) signed_salt: Option<At<Text>>,
    /// The digest of signed cookies.
    pub(super) signed_digest: Option<At<Text>>,
    /// Whether cookies carry their purpose and their expiry: `on` or `off`.
    pub(super) metadata: Option<At<Text>>,
    /// Further parameters that the profile declares.
    pub(super) parameters: Option<BTreeMap<String, At<Text>>>,
}

/// The names of variables.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Names {
    /// The variable of the key that mints.
    pub(super) active: Option<At<Text>>,
    /// The variable or variables of the keys that are only accepted.
    pub(super) accept: Option<At<Many<Text>>>,
}

/// Where the key lives. Exactly one kind.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct Store {
    /// Environment variables in a file.
    pub(super) env_file: Option<At<EnvFile>>,
    /// A file whose whole content is the key.
    pub(super) file: Option<At<KeyFile>>,
}

/// Environment variables in a file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("required" = ["path"]))]
pub(super) struct EnvFile {
    /// Relative to keyroll.yaml.
    pub(super) path: Option<At<PathText>>,
    /// Who reads it, which decides how values are quoted. Default: `dotenv`.
    pub(super) dialect: Option<At<Dialect>>,
}

/// Who reads an environment file.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Dialect {
    /// dotenv libraries and Compose.
    Dotenv,
    /// `EnvironmentFile=` of systemd.
    Systemd,
}

/// A file whose whole content is the key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("required" = ["path"]))]
pub(super) struct KeyFile {
    /// Relative to keyroll.yaml.
    pub(super) path: Option<At<PathText>>,
    /// Text in the profile's encoding, or the bytes of the key. Default: `text`.
    pub(super) content: Option<At<Content>>,
}

/// What a key file holds.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Content {
    /// Text in the profile's encoding.
    Text,
    /// The bytes of the key.
    Bytes,
}

/// A group of members that reload in the same way. Exactly one of `process`, `command` and `static`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Consumer {
    /// A name for reports. Default: the kind, with a number.
    pub(super) name: Option<At<Text>>,
    /// Local processes that Keyroll starts and restarts.
    pub(super) process: Option<At<Process>>,
    /// Your own commands list and reload the members.
    pub(super) command: Option<At<Command>>,
    /// Addresses that never change; the members read the key again by themselves.
    #[serde(rename = "static")]
    pub(super) fixed: Option<At<Static>>,
    /// Whether the members serve no requests. They can't be probed then. Default: false.
    pub(super) worker: Option<At<bool>>,
    /// Whether there may be no member at all. Default: false.
    pub(super) may_be_empty: Option<At<bool>>,
    /// `hot` where members read the key again by themselves, or how they are rolled.
    pub(super) reload: Option<At<Short<Text, Reload>>>,
}

/// How members are rolled.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Reload {
    /// How many at a time. Default: 1.
    pub(super) parallel: Option<At<NumberText>>,
    /// How many more than that are reloaded at once in an emergency (`revoke --mode accelerated`). Default: 0.
    pub(super) surge: Option<At<NumberText>>,
}

/// Local processes. `{port}` and `{index}` stand for the instance's own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("required" = ["command"]))]
pub(super) struct Process {
    /// Program and arguments, as a list.
    pub(super) command: Option<At<Many<Text>>>,
    /// One process for each port: `[9001, 9002]` or `9001-9003`.
    pub(super) ports: Option<At<Many<PortText>>>,
    /// How many processes, where they have no ports.
    pub(super) replicas: Option<At<NumberText>>,
    /// The host that a member's address names. Default: 127.0.0.1.
    pub(super) host: Option<At<Text>>,
    /// The folder in which they run. Default: the folder of keyroll.yaml.
    pub(super) working_directory: Option<At<PathText>>,
    /// Environment files that are read at every start.
    pub(super) env_file: Option<At<Many<PathText>>>,
    /// Further variables; no secrets.
    pub(super) env: Option<BTreeMap<String, At<Text>>>,
    /// A path that answers when the process is ready, or a group of fields. Default: the port takes connections.
    pub(super) ready: Option<At<Short<Text, Ready>>>,
    /// A signal, or a group of fields. Default: TERM, and 30 seconds.
    pub(super) stop: Option<At<Short<Text, Stop>>>,
    /// The folder for their output. Default: the state folder.
    pub(super) logs: Option<At<PathText>>,
}

/// When a process counts as ready.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Ready {
    /// A path that is asked for.
    pub(super) path: Option<At<Text>>,
    /// What it must answer. Default: `2xx`.
    pub(super) status: Option<At<Many<StatusText>>>,
    /// Without a port: how long it must have been running. Default: 2 seconds.
    pub(super) after: Option<At<DurationText>>,
    /// How long it may take. Default: 30 seconds.
    pub(super) timeout: Option<At<DurationText>>,
}

/// How a process is ended.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Stop {
    /// The signal that asks it to. Default: TERM.
    pub(super) signal: Option<At<Text>>,
    /// How long it has before it is killed. Default: 30 seconds.
    pub(super) grace: Option<At<DurationText>>,
}

/// Your own commands. `{member}` and `{boot}` stand for the member's names.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("required" = ["list"]))]
pub(super) struct Command {
    /// Lists the members.
    pub(super) list: Option<At<Many<Text>>>,
    /// Reloads one member.
    pub(super) reload: Option<At<Many<Text>>>,
    /// Reloads all members.
    pub(super) reload_all: Option<At<Many<Text>>>,
    /// How long each command may take. Default: 1 minute.
    pub(super) timeout: Option<At<DurationText>>,
    /// Whether the commands are lines for `sh -c`. Default: false.
    pub(super) shell: Option<At<bool>>,
    /// The folder in which they run. Default: the folder of keyroll.yaml.
    pub(super) working_directory: Option<At<PathText>>,
}

/// Addresses that never change.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("required" = ["members"]))]
pub(super) struct Static {
    /// Where the members answer.
    pub(super) members: Option<At<Many<UrlText>>>,
}

/// How long what is sealed with the key lives.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Sessions {
    /// The longest life of anything that the key seals (remember-me and reset links too), or `unbounded`.
    pub(super) max_lifetime: Option<At<DurationText>>,
    /// After how long without a request a session ends, where use extends it.
    pub(super) idle: Option<At<DurationText>>,
    /// Added to the lifetime: clock skew and the time that a request takes. Default: 30 seconds.
    pub(super) leeway: Option<At<DurationText>>,
    /// What must be shown before the old key is retired. Default: `counter` where `evidence.counter` is given.
    pub(super) drain: Option<At<DrainBy>>,
    /// The longest wait for a drain whose evidence stays positive.
    pub(super) drain_limit: Option<At<DurationText>>,
    /// With `maxLifetime: unbounded`: the least share of the times a session is opened that must be under the new key.
    pub(super) least_reissued: Option<At<ShareText>>,
    /// A command that prints how many sessions under the active key are alive. With it Keyroll says how many a cutover ends.
    pub(super) count: Option<At<Many<Text>>>,
    /// Whether each user stays on one member during a roll. Asked for where members with different active keys fight over one
    /// session (Django with sessions in a database). Default: false.
    pub(super) sticky: Option<At<bool>>,
}

/// What ends a drain.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum DrainBy {
    /// No session was opened under the old key, by `evidence.counter`.
    Counter,
    /// The lifetime alone. Only where it is enforced in the token or by the server.
    Lifetime,
}

/// What to send to a member, and what its answer means.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("required" = ["path"]))]
pub(super) struct Probe {
    /// The path, on the member's own address.
    pub(super) path: Option<At<Text>>,
    /// Default: GET.
    pub(super) method: Option<At<Text>>,
    /// Further headers. Secrets by reference: `{ env: NAME }` or `{ file: PATH }`.
    pub(super) headers: Option<Values>,
    /// What shows that the session was accepted: states, or a group of fields.
    pub(super) accepted: Option<At<ShortList<StatusText, Expectation>>>,
    /// What shows that it was rejected: states, or a group of fields.
    pub(super) rejected: Option<At<ShortList<StatusText, Expectation>>>,
    /// What the session that Keyroll mints holds: a text, or a group of fields.
    pub(super) payload: Option<At<Short<Text, Payload>>>,
    /// How many worker processes stand behind one address.
    pub(super) workers: Option<At<NumberText>>,
    /// The header in which a worker process names itself.
    pub(super) worker_header: Option<At<Text>>,
    /// How long a member has to answer. Default: 5 seconds.
    pub(super) timeout: Option<At<DurationText>>,
    /// A scripted login: its steps, or a group of fields.
    pub(super) login: Option<At<Groups<LoginStep, Login>>>,
}

/// What an answer must look like. All that is given must hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Expectation {
    /// One of these states.
    pub(super) status: Option<At<Many<StatusText>>>,
    /// Headers by name: a text that the value contains, or `{ matches: REGEX }`.
    pub(super) header: Option<BTreeMap<String, At<Short<Text, Match>>>>,
    /// A text that the body contains, or `{ matches: REGEX }`, or `{ lacks: TEXT }`.
    pub(super) body: Option<At<Short<Text, Match>>>,
    /// true: the answer's cookie opens to the session that was sent. false: it does not.
    pub(super) reissue: Option<At<bool>>,
}

/// What a text must be. Exactly one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct Match {
    /// It contains this.
    pub(super) contains: Option<At<Text>>,
    /// It matches this regular expression.
    pub(super) matches: Option<At<PatternText>>,
    /// It does not contain this.
    pub(super) lacks: Option<At<Text>>,
}

/// The content of a minted session. Exactly one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct Payload {
    /// As JSON.
    pub(super) json: Option<serde_json::Value>,
    /// As it is.
    pub(super) text: Option<At<Text>>,
    /// The bytes of a file.
    pub(super) file: Option<At<PathText>>,
}

/// A scripted login.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("required" = ["steps"]))]
pub(super) struct Login {
    /// One request after the other, with the cookies of the ones before.
    pub(super) steps: Option<At<Vec<At<LoginStep>>>>,
}

/// One request of a scripted login.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("required" = ["path"]))]
pub(super) struct LoginStep {
    /// Default: POST where something is sent, GET otherwise.
    pub(super) method: Option<At<Text>>,
    /// The path, on the member's own address.
    pub(super) path: Option<At<Text>>,
    /// Further headers.
    pub(super) headers: Option<Values>,
    /// Sent as a form. Credentials by reference: `{ env: NAME }` or `{ file: PATH }`.
    pub(super) form: Option<Values>,
    /// Sent as a JSON object. Credentials by reference.
    pub(super) json: Option<Values>,
    /// What shows that the step went well. Default: `2xx` and `3xx`.
    pub(super) expect: Option<At<Many<StatusText>>>,
    /// What later steps take from the answer, by name.
    pub(super) capture: Option<BTreeMap<String, At<Capture>>>,
}

/// A value in a request that is not a plain text. Exactly one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct RequestValue {
    /// An environment variable of Keyroll's own process.
    pub(super) env: Option<At<Text>>,
    /// A file.
    pub(super) file: Option<At<PathText>>,
    /// What an earlier step captured under this name.
    pub(super) captured: Option<At<Text>>,
}

/// What later steps take from an answer. Exactly one of `body` and `header`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Capture {
    /// The first group of this regular expression in the body.
    pub(super) body: Option<At<PatternText>>,
    /// The name of a header.
    pub(super) header: Option<At<Text>>,
    /// With `header`: the first group of this regular expression. Default: the whole value.
    pub(super) pattern: Option<At<PatternText>>,
}

/// What else proves that a member has the key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Evidence {
    /// A JSON endpoint of each member: its path, or a group of fields.
    pub(super) report: Option<At<Short<Text, Report>>>,
    /// A log line with the fingerprint.
    pub(super) log: Option<At<Log>>,
    /// A metric with the fingerprint.
    pub(super) metric: Option<At<Metric>>,
    /// What the orchestrator is believed: `P1` (each member started after the version was there) or `P0`.
    pub(super) orchestrator: Option<At<Orchestrator>>,
    /// A counter of sessions opened, by key.
    pub(super) counter: Option<At<Counter>>,
    /// How many failed requests are too many.
    pub(super) error_rate: Option<At<ErrorRate>>,
}

/// A JSON endpoint. Fields are JSON pointers into the answer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("required" = ["path"]))]
pub(super) struct Report {
    /// The path, on the member's own address.
    pub(super) path: Option<At<Text>>,
    /// Default: `/active`.
    pub(super) active: Option<At<Text>>,
    /// Default: `/accept`.
    pub(super) accept: Option<At<Text>>,
    /// Default: `/loaded_at`.
    pub(super) loaded_at: Option<At<Text>>,
    /// Default: `/boot_id`.
    pub(super) boot: Option<At<Text>>,
    /// Default: `/worker`.
    pub(super) worker: Option<At<Text>>,
    /// Default: 5 seconds.
    pub(super) timeout: Option<At<DurationText>>,
}

/// A log line with the fingerprint. `{member}` and `{boot}` stand for the member's names.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("required" = ["pattern"]))]
pub(super) struct Log {
    /// A regular expression with the named group `active`, and where it is told `accept`, `boot` and `worker`.
    pub(super) pattern: Option<At<PatternText>>,
    /// The file with the lines.
    pub(super) file: Option<At<PathText>>,
    /// A command that prints the lines.
    pub(super) command: Option<At<Many<Text>>>,
}

/// A metric with the fingerprint.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Metric {
    /// Default: `/metrics`.
    pub(super) path: Option<At<Text>>,
    /// Default: `keyroll_key_info`.
    pub(super) name: Option<At<Text>>,
    /// The label with the fingerprint. Default: `key`.
    pub(super) key_label: Option<At<Text>>,
    /// The label with `active` or `accept`. Default: `state`.
    pub(super) state_label: Option<At<Text>>,
    /// Default: 5 seconds.
    pub(super) timeout: Option<At<DurationText>>,
}

/// What the orchestrator is believed.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(super) enum Orchestrator {
    /// The rollout is complete.
    P0,
    /// Each member started after the version became visible to it.
    P1,
}

/// A counter of sessions opened, by key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Counter {
    /// Default: `/metrics`.
    pub(super) path: Option<At<Text>>,
    /// Default: `keyroll_sessions_opened_total`.
    pub(super) name: Option<At<Text>>,
    /// The label that names the key. Default: `key`.
    pub(super) key_label: Option<At<Text>>,
    /// How often it is read. Default: 15 seconds.
    pub(super) every: Option<At<DurationText>>,
    /// Default: 5 seconds.
    pub(super) timeout: Option<At<DurationText>>,
}

/// How many failed requests are too many.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("required" = ["threshold"]))]
pub(super) struct ErrorRate {
    /// Default: `/metrics`.
    pub(super) path: Option<At<Text>>,
    /// The counter of requests. Default: `http_requests_total`.
    pub(super) name: Option<At<Text>>,
    /// The label with the status. Default: `status`.
    pub(super) status_label: Option<At<Text>>,
    /// How far the share of 401 and 5xx may rise above its baseline.
    pub(super) threshold: Option<At<ShareText>>,
    /// Over what time rates are taken. Default: 1 minute.
    pub(super) over: Option<At<DurationText>>,
    /// Whether the rotation is rolled back then. Default: false, it halts.
    pub(super) rollback: Option<At<bool>>,
    /// Default: 5 seconds.
    pub(super) timeout: Option<At<DurationText>>,
}

/// When to rotate, and how patiently.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Policy {
    /// How old a key may become. Without it nothing is due by itself.
    pub(super) rotate_every: Option<At<DurationText>>,
    /// When a rotation may begin; `rotate` waits for it. Default: at any time.
    pub(super) window: Option<At<Many<WindowText>>>,
    /// Whether a rotation leaves an accept-only candidate for the next one. Default: false.
    pub(super) standby: Option<At<bool>>,
    /// How long a member could still boot from an older version of the secret. Default: 60 seconds.
    pub(super) settle: Option<At<DurationText>>,
    /// How long the old key is kept after the rotation. Default: 24 hours.
    pub(super) escrow: Option<At<DurationText>>,
    /// How often laggards are reloaded again before a person is asked. Default: 3.
    pub(super) reload_attempts: Option<At<NumberText>>,
    /// The least time from the end of one rotation to the next scheduled one. Default: 1 hour.
    pub(super) minimum_gap: Option<At<DurationText>>,
}

fn api_version(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "const": super::API_VERSION })
}

fn kind(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "const": super::KIND })
}
