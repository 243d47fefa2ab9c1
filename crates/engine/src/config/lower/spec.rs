//! The document itself: name, profile, stores, sessions, policy.

use std::collections::BTreeMap;

use keyroll_keyring::Profile;
use keyroll_rotation::DrainRule;

use super::super::error::{may_hold_a_secret, quoted};
use super::super::forms::{DurationText, Many, Short, Text, WindowText};
use super::super::suggest::nearest;
use super::super::window::{Window, WindowError};
use super::super::written;
use super::super::{
    API_VERSION, At, Dialect, Drain, Evidence, FileContent, KIND, KeyName, MaxLifetime, NonEmpty, Period, Policy,
    ProfileSource, ProfileSpec, SessionCounter, SessionKey, Sessions, SourceSpan, Standby, Sticky, StoreSpec,
};
use super::Lowering;

impl Lowering<'_> {
    pub(super) fn document(&mut self, written: written::Document) -> Option<SessionKey> {
        let top = SourceSpan { line: 1, column: 1, offset: 0, len: 1 };
        self.heading(written.api_version, top, "apiVersion", API_VERSION);
        self.heading(written.kind, top, "kind", KIND);
        let metadata = self.required(
            written.metadata,
            top,
            "metadata",
            "the key's journal and its lock carry its name",
            "add `metadata: { name: storefront }`",
        );
        let name = metadata.and_then(|at| self.name(at));
        let spec = self.required(
            written.spec,
            top,
            "spec",
            "nothing says what is to be rotated",
            "add `spec:` with `profile`, `store` and `consumers`; `keyroll init` writes one",
        )?;
        let (span, spec) = (spec.span, spec.value);

        let profile = self.required(
            spec.profile,
            span,
            "spec.profile",
            "it says how the framework names, encodes and orders its keys",
            "add `profile: rails`, or `profile: { file: my-framework.toml }`",
        );
        let profile = profile.and_then(|at| self.profile(at));
        let project = spec.project.and_then(|at| self.path(at));
        let stores = self.stores(spec.store, spec.stores, span);
        let consumers = self.consumers(spec.consumers, span);
        let evidence = spec.evidence.map_or_else(Evidence::default, |at| self.evidence(at.value));
        let sessions = self.sessions(spec.sessions.map(|at| at.value).unwrap_or_default(), &evidence);
        let probe = spec.probe.and_then(|at| self.probe(at));
        let policy = self.policy(spec.policy.map(|at| at.value).unwrap_or_default());
        Some(SessionKey {
            name: name?,
            profile: profile?,
            project,
            stores: stores?,
            consumers: consumers?,
            sessions,
            probe,
            evidence,
            policy,
        })
    }

    fn heading(&mut self, written: Option<At<Text>>, top: SourceSpan, field: &str, expected: &str) {
        match written {
            None => self.refuse_missing(
                top,
                field,
                "the controller and later releases tell documents apart by it",
                &format!("add `{field}: {expected}`"),
            ),
            Some(at) if at.value.0 == expected => {}
            Some(at) => self.refuse(
                at.span,
                format!("`{field}` is {}", quoted(&at.value.0)),
                format!("this release reads `{expected}` only"),
                format!("write `{field}: {expected}`"),
            ),
        }
    }

    fn name(&mut self, metadata: At<written::Metadata>) -> Option<KeyName> {
        let written = self.required(
            metadata.value.name,
            metadata.span,
            "metadata.name",
            "the key's journal and its lock carry its name",
            "add `name: storefront` under `metadata`",
        )?;
        let name = KeyName::parse(&written.value.0);
        if name.is_none() {
            let proposal: String = written
                .value
                .0
                .to_ascii_lowercase()
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
                .take(63)
                .collect();
            let proposal = proposal.trim_matches('-');
            let is_shown = !proposal.is_empty() && !may_hold_a_secret(&written.value.0);
            let fix = if is_shown { proposal } else { "storefront" };
            self.refuse(
                written.span,
                format!("{} can't be the name of a key", quoted(&written.value.0)),
                "it is also the name of a folder: at most 63 lower-case letters, digits and `-`, with a letter or digit at both ends",
                format!("write `name: {fix}`"),
            );
        }
        name
    }

    fn profile(&mut self, written: At<Short<Text, written::Profile>>) -> Option<ProfileSpec> {
        let profile = match written.value {
            Short::Scalar(name) => {
                let name = At { value: name, span: written.span };
                return self.profile_name(name).map(|source| ProfileSpec {
                    source,
                    active: None,
                    accept: Vec::new(),
                    parameters: BTreeMap::new(),
                });
            }
            Short::Fields(profile) => *profile,
        };
        let source = match (profile.name, profile.file) {
            (Some(name), None) => self.profile_name(name),
            (None, Some(file)) => self.path(file).map(ProfileSource::File),
            (Some(_), Some(file)) => {
                self.refuse(
                    file.span,
                    "`profile` has both `name` and `file`",
                    "a profile comes from one place",
                    "keep `file` for a profile of your own, `name` for one that Keyroll ships",
                );
                None
            }
            (None, None) => {
                self.refuse_missing(
                    written.span,
                    "spec.profile.name",
                    "it says how the framework names, encodes and orders its keys",
                    "add `name: rails`, or `file: my-framework.toml`",
                );
                None
            }
        };
        let names = profile.names.map(|at| at.value).unwrap_or_default();
        let active = names.active.and_then(|at| self.variable(at));
        let accept = match names.accept {
            None => Vec::new(),
            Some(At { value: Many::One(one), span }) => self.variable(At { value: one, span }).into_iter().collect(),
            Some(At { value: Many::List(list), .. }) => {
                list.into_iter().filter_map(|at| self.variable(at)).collect::<Vec<_>>()
            }
        };
        if let Some(same) = active.as_ref().filter(|active| accept.contains(active)) {
            self.refuse(
                written.span,
                format!("`names` has `{same}` as active and as accepted"),
                "one variable can't hold both keys",
                "name the variable that the application reads its previous key from",
            );
        }
        let mut parameters = BTreeMap::new();
        for (name, value) in [
            ("cookie", profile.cookie),
            ("kind", profile.kind),
            ("digest", profile.digest),
            ("salt", profile.salt),
            ("signedSalt", profile.signed_salt),
            ("signedDigest", profile.signed_digest),
            ("metadata", profile.metadata),
        ] {
            if let Some(value) = value {
                parameters.insert(name.to_owned(), value.value.0);
            }
        }
        for (name, value) in profile.parameters.unwrap_or_default() {
            if parameters.insert(name.clone(), value.value.0).is_some() {
                self.refuse(
                    value.span,
                    format!("`{name}` stands here and as a field of `profile`"),
                    "only one of the two could count",
                    "remove the one under `parameters`",
                );
            }
        }
        Some(ProfileSpec { source: source?, active, accept, parameters })
    }

    fn profile_name(&mut self, written: At<Text>) -> Option<ProfileSource> {
        let name = written.value.0;
        // A variant's name has a slash in it too, so what Keyroll ships is asked first.
        let known = Profile::names();
        if known.contains(&name) {
            return Some(ProfileSource::BuiltIn(name));
        }
        let looks_like_a_file = ["/", "./", "../", "~/"].iter().any(|start| name.starts_with(start))
            || std::path::Path::new(&name).extension().is_some();
        if looks_like_a_file {
            self.refuse(
                written.span,
                format!("{} is a path, not the name of a profile", quoted(&name)),
                "a name alone means a profile that Keyroll ships",
                format!("write `profile: {{ file: {} }}`", if may_hold_a_secret(&name) { "PATH" } else { &name }),
            );
        } else if name.is_empty() {
            self.refuse(written.span, "the profile's name is empty", "it names nothing", "write `profile: rails`");
        } else {
            let shipped = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            self.refuse(
                written.span,
                format!("there is no profile {}", quoted(&name)),
                format!("Keyroll ships {shipped}"),
                match nearest(&name, known.iter().map(String::as_str)) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "for a profile of your own write `profile: { file: my-framework.toml }`".to_owned(),
                },
            );
        }
        None
    }

    fn variable(&mut self, written: At<Text>) -> Option<String> {
        let name = written.value.0;
        if name.is_empty() || name.contains(['=', '\0']) || name.contains(char::is_whitespace) {
            self.refuse(
                written.span,
                format!("{} is not the name of a variable", quoted(&name)),
                "a name has no spaces and no `=`",
                "write the name alone, as in `SECRET_KEY_BASE`",
            );
            return None;
        }
        Some(name)
    }

    fn stores(
        &mut self,
        store: Option<At<written::Store>>,
        stores: Option<At<Vec<At<written::Store>>>>,
        group: SourceSpan,
    ) -> Option<NonEmpty<StoreSpec>> {
        let fix = "add `store: { envFile: { path: .env } }`";
        let list = match (store, stores) {
            (Some(store), None) => vec![store],
            (None, Some(stores)) if stores.value.is_empty() => {
                self.refuse(stores.span, "`stores` is empty", "nothing says where the key lives", fix);
                return None;
            }
            (None, Some(stores)) => stores.value,
            (Some(_), Some(stores)) => {
                self.refuse(
                    stores.span,
                    "both `store` and `stores` stand here",
                    "`store` is the short form of a list with one item",
                    "move the item of `store` into `stores`",
                );
                return None;
            }
            (None, None) => {
                self.refuse_missing(group, "spec.store", "nothing says where the key lives", fix);
                return None;
            }
        };
        let count = list.len();
        let mut lowered: Vec<StoreSpec> = Vec::new();
        for at in list {
            let span = at.span;
            let Some(store) = self.store(at) else { continue };
            let path = |store: &StoreSpec| match store {
                StoreSpec::EnvFile { path, .. } | StoreSpec::File { path, .. } => path.resolved().to_owned(),
            };
            if lowered.iter().any(|other| path(other) == path(&store)) {
                self.refuse(
                    span,
                    "the same file stands here for the second time",
                    "each store is written once in every stage",
                    "remove one of them",
                );
            }
            lowered.push(store);
        }
        NonEmpty::new(lowered).filter(|lowered| lowered.len() == count)
    }

    fn store(&mut self, written: At<written::Store>) -> Option<StoreSpec> {
        let At { value, span } = written;
        match (value.env_file, value.file) {
            (Some(env_file), None) => {
                let path = self.required(
                    env_file.value.path,
                    env_file.span,
                    "envFile.path",
                    "nothing says which file",
                    "add `path: .env`",
                )?;
                let dialect = match env_file.value.dialect.map(|at| at.value) {
                    None | Some(written::Dialect::Dotenv) => Dialect::Dotenv,
                    Some(written::Dialect::Systemd) => Dialect::Systemd,
                };
                Some(StoreSpec::EnvFile { path: self.path(path)?, dialect })
            }
            (None, Some(file)) => {
                let path = self.required(
                    file.value.path,
                    file.span,
                    "file.path",
                    "nothing says which file",
                    "add `path: session.key`",
                )?;
                let content = match file.value.content.map(|at| at.value) {
                    None | Some(written::Content::Text) => FileContent::Text,
                    Some(written::Content::Bytes) => FileContent::Bytes,
                };
                Some(StoreSpec::File { path: self.path(path)?, content })
            }
            (Some(_), Some(file)) => {
                self.refuse(
                    file.span,
                    "a store is both `envFile` and `file`",
                    "a store is of one kind",
                    "make it two items of `stores`, if the key lives in both",
                );
                None
            }
            (None, None) => {
                self.refuse(
                    span,
                    "the store has no kind",
                    "nothing says where the key lives",
                    "write `envFile: { path: .env }` or `file: { path: session.key }`",
                );
                None
            }
        }
    }

    fn sessions(&mut self, written: written::Sessions, evidence: &Evidence) -> Sessions {
        let drain_limit = self.period(written.drain_limit.clone(), "drainLimit");
        let least = written.least_reissued.clone();
        let least_reissued = self.share(written.least_reissued, "leastReissued");
        let max_lifetime = match written.max_lifetime {
            None => MaxLifetime::Undeclared,
            Some(At { value: DurationText(text), span }) if is_unbounded(&text) => {
                if written.drain_limit.is_none() || least.is_none() {
                    self.refuse(
                        span,
                        "`maxLifetime: unbounded` stands alone",
                        "the drain would never end, and nobody would have said how much loss is meant",
                        "add `drainLimit: 30d` and `leastReissued: 99 %`; what is left then is stated as loss",
                    );
                }
                match (drain_limit, least_reissued) {
                    (Some(drain_limit), Some(least_reissued)) => MaxLifetime::Unbounded { drain_limit, least_reissued },
                    _ => MaxLifetime::Undeclared,
                }
            }
            Some(at) => {
                let span = at.span;
                let lifetime = self.period(Some(at), "maxLifetime");
                if lifetime.is_some_and(Period::is_zero) {
                    self.refuse(
                        span,
                        "`maxLifetime` is no time at all",
                        "a key would be retired while sessions under it are in use",
                        "write the longest life of anything that the key seals, as in `maxLifetime: 3h`",
                    );
                }
                if let Some(least) = &least {
                    self.refuse(
                        least.span,
                        "`leastReissued` stands beside a lifetime that ends",
                        "it says how much loss is meant where sessions live for ever",
                        "remove it, or write `maxLifetime: unbounded`",
                    );
                }
                lifetime.map_or(MaxLifetime::Undeclared, MaxLifetime::Bounded)
            }
        };
        let drain = match written.drain {
            None if evidence.counter.is_some() => Drain::Chosen(DrainRule::Counter),
            None => Drain::Undeclared,
            Some(At { value: written::DrainBy::Counter, span }) => {
                if evidence.counter.is_none() {
                    self.refuse(
                        span,
                        "`drain: counter` has nothing to count with",
                        "`evidence.counter` is missing, so the drain could never end",
                        "add `counter: { path: /metrics }` under `evidence`, or write `drain: lifetime`",
                    );
                }
                Drain::Chosen(DrainRule::Counter)
            }
            Some(At { value: written::DrainBy::Lifetime, span }) => {
                if is_never(&max_lifetime) {
                    self.refuse(
                        span,
                        "`drain: lifetime` stands beside `maxLifetime: unbounded`",
                        "a life without end never drains by time alone",
                        "write `drain: counter` with `evidence.counter`",
                    );
                }
                Drain::Chosen(DrainRule::Lifetime)
            }
        };
        let idle_span = written.idle.as_ref().map(|at| at.span).unwrap_or_default();
        let idle = self.period(written.idle, "idle");
        if let (Some(idle), MaxLifetime::Bounded(lifetime)) = (idle, max_lifetime)
            && idle > lifetime
        {
            self.refuse(
                idle_span,
                format!("`idle` ({idle}) is longer than `maxLifetime` ({lifetime})"),
                "`maxLifetime` is the absolute maximum, so a session can't rest for longer",
                "write the absolute maximum as `maxLifetime`, the sliding part as `idle`",
            );
        }
        let count = written.count.and_then(|at| self.argv(at, "sessions.count"));
        Sessions {
            count: count.map(|command| SessionCounter { command, working_directory: self.directory(None) }),
            max_lifetime,
            idle,
            leeway: self.period_or(written.leeway, "leeway", DEFAULT_LEEWAY),
            drain,
            drain_limit,
            sticky: match written.sticky {
                Some(At { value: true, .. }) => Sticky::Declared,
                Some(At { value: false, .. }) | None => Sticky::NotDeclared,
            },
        }
    }

    fn policy(&mut self, written: written::Policy) -> Policy {
        let defaults = Policy::default();
        let rotate_every = written.rotate_every.map(|at| self.limit_or(Some(at), "rotateEvery", Period::days(90)));
        Policy {
            rotate_every,
            windows: written.window.map(|at| self.windows(at)).unwrap_or_default(),
            standby: if written.standby.is_some_and(|at| at.value) { Standby::Leave } else { Standby::None },
            settle: self.period_or(written.settle, "settle", defaults.settle),
            escrow: self.period_or(written.escrow, "escrow", defaults.escrow),
            reload_attempts: self
                .positive(written.reload_attempts, "reloadAttempts", "no member would ever be reloaded")
                .map_or(defaults.reload_attempts, std::num::NonZeroU32::get),
            minimum_gap: self.period_or(written.minimum_gap, "minimumGap", defaults.minimum_gap),
        }
    }

    fn windows(&mut self, written: At<Many<WindowText>>) -> Vec<Window> {
        let span = written.span;
        let list = match written.value {
            Many::One(one) => vec![At { value: one, span }],
            Many::List(list) => list,
        };
        if list.is_empty() {
            self.refuse(
                span,
                "the list of windows is empty",
                "no scheduled rotation could ever begin",
                "leave `window` out, if it may begin at any time",
            );
        }
        list.into_iter().filter_map(|at| self.window(&at)).collect()
    }

    fn window(&mut self, written: &At<WindowText>) -> Option<Window> {
        let text = &written.value.0;
        match Window::parse(text) {
            Ok(window) => Some(window),
            Err(error) => {
                let fix = match &error {
                    WindowError::Shape => "write it as in `Mon-Thu 09:00-16:00 Europe/London`".to_owned(),
                    WindowError::Day(day) => match nearest(day, DAYS) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "write `Mon-Thu`, `Mon,Wed`, `weekdays`, `weekends` or `daily`".to_owned(),
                    },
                    WindowError::Hours(_) => "write hours and minutes, as in `09:00-16:00`".to_owned(),
                    WindowError::NoTime => "write `00:00-24:00` for a whole day".to_owned(),
                    WindowError::Zone(zone) => {
                        let zones: Vec<String> =
                            jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
                        match nearest(zone, zones.iter().map(String::as_str).filter(|name| name.contains('/'))) {
                            Some(near) => format!("did you mean `{near}`?"),
                            None => {
                                "write a name of the time zone database, as in `Europe/London`, or `UTC`".to_owned()
                            }
                        }
                    }
                };
                self.refuse(written.span, format!("{} is not a window", quoted(text)), error.to_string(), fix);
                None
            }
        }
    }
}

fn is_unbounded(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("unbounded")
}

fn is_never(lifetime: &MaxLifetime) -> bool {
    matches!(lifetime, MaxLifetime::Unbounded { .. })
}

const DEFAULT_LEEWAY: Period = Period::seconds(30);
const DAYS: [&str; 17] = [
    "Mon",
    "Tue",
    "Wed",
    "Thu",
    "Fri",
    "Sat",
    "Sun",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "daily",
    "weekdays",
    "weekends",
];
