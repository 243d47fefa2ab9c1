//! Consumers: processes, commands, fixed addresses.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use keyroll_rotation::gate::{Declared, MemberKind};

use super::super::error::quoted;
use super::super::forms::{Many, Short, Text};
use super::super::suggest::nearest;
use super::super::written;
use super::super::{
    At, CommandFleet, CommandLine, Consumer, ConsumerKind, FilePath, Instances, NonEmpty, Period, ProcessFleet,
    Readiness, ReadyCheck, ReloadPlan, SourceSpan, StaticFleet, StatusSet, StopSignal, Stopping,
};
use super::Lowering;

/// Whether a command is a line for a shell.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Shell {
    Asked,
    None,
}

impl Lowering<'_> {
    pub(super) fn consumers(
        &mut self,
        written: Option<At<Vec<At<written::Consumer>>>>,
        group: SourceSpan,
    ) -> Option<NonEmpty<Consumer>> {
        let fix = "add `consumers:` with at least one of `process`, `command` and `static`";
        let why = "nothing says who uses the key, and a gate over nobody proves nothing";
        let list = self.required(written, group, "spec.consumers", why, fix)?;
        if list.value.is_empty() {
            self.refuse(list.span, "`consumers` is empty", why, fix);
        }
        let count = list.value.len();
        let mut consumers: Vec<Consumer> = Vec::new();
        for at in list.value {
            let (span, named) = (at.span, at.value.name.is_some());
            let Some(mut consumer) = self.consumer(at) else { continue };
            if consumers.iter().any(|other| other.name == consumer.name) {
                if named {
                    self.refuse(
                        span,
                        format!("two consumers are named `{}`", consumer.name),
                        "reports could not tell them apart",
                        "give each a `name` of its own",
                    );
                }
                let free = (2..).map(|number| format!("{}-{number}", consumer.name));
                if let Some(name) = free.take(count + 1).find(|name| consumers.iter().all(|other| other.name != *name))
                {
                    consumer.name = name;
                }
            }
            consumers.push(consumer);
        }
        NonEmpty::new(consumers).filter(|consumers| consumers.len() == count)
    }

    fn consumer(&mut self, written: At<written::Consumer>) -> Option<Consumer> {
        let At { value, span } = written;
        let reload_span = value.reload.as_ref().map(|at| at.span).unwrap_or(span);
        let asked = value.reload.and_then(|at| self.reload(at));
        let worker = value.worker.is_some_and(|at| at.value);
        let (kind, default_name) = match (value.process, value.command, value.fixed) {
            (Some(process), None, None) => (ConsumerKind::Process(self.process(process)?), "process"),
            (None, Some(command), None) => (ConsumerKind::Command(self.command(command, asked)?), "command"),
            (None, None, Some(fixed)) => (ConsumerKind::Static(self.fixed(fixed)?), "static"),
            (None, None, None) => {
                self.refuse(
                    span,
                    "the consumer has no kind",
                    "nothing says how its members are found",
                    "write one of `process`, `command` and `static`",
                );
                return None;
            }
            _ => {
                self.refuse(
                    span,
                    "the consumer is of several kinds",
                    "members are found in one way",
                    "make it several items of `consumers`",
                );
                return None;
            }
        };
        let reload = match (&kind, asked) {
            (ConsumerKind::Static(_), Some(ReloadPlan::Roll { .. })) => {
                self.refuse(
                    reload_span,
                    "`static` members can't be rolled",
                    "Keyroll knows their addresses and no way to restart them",
                    "use `command` with a `reload` command; or leave `reload` out, if they read the key again by themselves",
                );
                ReloadPlan::Hot
            }
            (ConsumerKind::Static(_), _) => ReloadPlan::Hot,
            (_, Some(plan)) => plan,
            (_, None) => ReloadPlan::Roll { parallel: NonZeroU32::MIN, surge: 0 },
        };
        if let (ConsumerKind::Process(process), ReloadPlan::Roll { parallel, .. }) = (&kind, reload)
            && usize::try_from(parallel.get()).is_ok_and(|parallel| parallel > process.instances.count())
        {
            self.refuse(
                reload_span,
                format!("`reload.parallel` is {parallel}, and there are {} processes", process.instances.count()),
                "more can't be restarted at once than there are",
                "write a smaller number; 1 keeps the others serving",
            );
        }
        let no_ports =
            matches!(&kind, ConsumerKind::Process(process) if matches!(process.instances, Instances::Count(_)));
        if no_ports && !worker {
            self.refuse(
                span,
                "processes without ports can't be asked",
                "a member that serves requests is proven by a request to its own port",
                "write `ports: 9001-9003`, or `worker: true` if they serve no requests",
            );
        }
        let name = match value.name {
            Some(at) => self.consumer_name(at)?,
            None => default_name.to_owned(),
        };
        Some(Consumer {
            name,
            kind,
            role: if worker { MemberKind::Worker } else { MemberKind::Serving },
            emptiness: if value.may_be_empty.is_some_and(|at| at.value) {
                Declared::MayBeEmpty
            } else {
                Declared::Populated
            },
            reload,
        })
    }

    fn consumer_name(&mut self, written: At<Text>) -> Option<String> {
        let name = written.value.0;
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !name.is_empty() && name.len() <= 63 && name.chars().all(legal) {
            return Some(name);
        }
        self.refuse(
            written.span,
            format!("{} can't be the name of a consumer", quoted(&name)),
            "it stands before the names of its members: at most 63 letters, digits, `-`, `_` and `.`",
            "write it as in `name: web`",
        );
        None
    }

    fn reload(&mut self, written: At<Short<Text, written::Reload>>) -> Option<ReloadPlan> {
        match written.value {
            Short::Scalar(Text(text)) if text == "hot" => Some(ReloadPlan::Hot),
            Short::Scalar(Text(text)) => {
                self.refuse(
                    written.span,
                    format!("`reload`: {} is unknown", quoted(&text)),
                    "a single word here can only be `hot`: members read the key again by themselves",
                    "write `reload: hot`, or `reload: { parallel: 1 }`",
                );
                None
            }
            Short::Fields(fields) => Some(ReloadPlan::Roll {
                parallel: self
                    .positive(fields.parallel, "reload.parallel", "no member would ever be reloaded")
                    .unwrap_or(NonZeroU32::MIN),
                surge: self.number(fields.surge, "reload.surge").map_or(0, |at| at.value),
            }),
        }
    }

    fn process(&mut self, written: At<written::Process>) -> Option<ProcessFleet> {
        let At { value, span } = written;
        let command = self.required(
            value.command,
            span,
            "process.command",
            "nothing says what is to be started",
            "add it as in `command: [bundle, exec, puma, -p, \"{port}\"]`",
        );
        let command = command.and_then(|at| self.argv(at, "command"));
        let instances = match (value.ports, value.replicas) {
            (Some(ports), None) => self.ports(ports).map(Instances::Ports),
            (None, Some(replicas)) => {
                self.positive_small(Some(replicas), "replicas", "there would be no process").map(Instances::Count)
            }
            (Some(ports), Some(replicas)) => {
                let ports = self.ports(ports);
                let written = replicas.span;
                let replicas = self.number(Some(replicas), "replicas");
                if let (Some(ports), Some(replicas)) = (&ports, replicas)
                    && usize::try_from(replicas.value).ok() != Some(ports.len())
                {
                    self.refuse(
                        written,
                        format!("`replicas` is {}, and there are {} ports", replicas.value, ports.len()),
                        "there is one process for each port",
                        "leave `replicas` out",
                    );
                }
                ports.map(Instances::Ports)
            }
            (None, None) => {
                self.refuse_missing(
                    span,
                    "process.ports",
                    "nothing says how many processes there are, or where they answer",
                    "add `ports: 9001-9003`, or `replicas: 2` for workers without ports",
                );
                None
            }
        };
        let env_files = match value.env_file {
            None => Vec::new(),
            Some(At { value: Many::One(one), span }) => self.path(At { value: one, span }).into_iter().collect(),
            Some(At { value: Many::List(list), .. }) => list.into_iter().filter_map(|at| self.path(at)).collect(),
        };
        let mut env = BTreeMap::new();
        for (name, value) in value.env.unwrap_or_default() {
            if names_a_secret(&name) && could_be_a_secret(&value.value.0) {
                self.refuse_secret(
                    value.span,
                    format!("`env.{name}` looks like a secret"),
                    "secrets stand in this file by reference only; it is shared, committed and printed",
                    "move it into a file that `envFile` names",
                );
            }
            env.insert(name, value.value.0);
        }
        let ready = value.ready.map_or_else(
            || Some(Readiness { check: default_check(instances.as_ref()), timeout: DEFAULT_READY }),
            |at| self.ready(at, instances.as_ref()),
        );
        let stop = value
            .stop
            .map_or_else(|| Some(Stopping { signal: StopSignal::Term, grace: DEFAULT_GRACE }), |at| self.stop(at));
        let working_directory = self.directory(value.working_directory);
        let logs = value.logs.and_then(|at| self.path(at));
        let host = value.host.map_or_else(|| "127.0.0.1".to_owned(), |at| at.value.0);
        Some(ProcessFleet {
            command: command?,
            instances: instances?,
            host,
            working_directory,
            env_files,
            env,
            ready: ready?,
            stop: stop?,
            logs,
        })
    }

    fn ready(&mut self, written: At<Short<Text, written::Ready>>, instances: Option<&Instances>) -> Option<Readiness> {
        let fields = match written.value {
            Short::Scalar(path) => {
                let path = self.request_path(At { value: path, span: written.span })?;
                let check = ReadyCheck::Http { path, status: StatusSet::success() };
                return Some(Readiness { check, timeout: DEFAULT_READY });
            }
            Short::Fields(fields) => *fields,
        };
        let timeout = self.limit_or(fields.timeout, "ready.timeout", DEFAULT_READY);
        let check = match (fields.path, fields.after) {
            (Some(path), None) => {
                let status = match fields.status {
                    Some(status) => self.states(Some(status))?,
                    None => StatusSet::success(),
                };
                ReadyCheck::Http { path: self.request_path(path)?, status }
            }
            (None, Some(after)) => ReadyCheck::Alive { after: self.period(Some(after), "ready.after")? },
            (None, None) => default_check(instances),
            (Some(_), Some(after)) => {
                self.refuse(
                    after.span,
                    "`ready` has both `path` and `after`",
                    "`after` is for processes that can't be asked",
                    "remove `after`",
                );
                return None;
            }
        };
        Some(Readiness { check, timeout })
    }

    fn stop(&mut self, written: At<Short<Text, written::Stop>>) -> Option<Stopping> {
        match written.value {
            Short::Scalar(signal) => {
                let signal = self.signal(&At { value: signal, span: written.span })?;
                Some(Stopping { signal, grace: DEFAULT_GRACE })
            }
            Short::Fields(fields) => {
                let signal = match fields.signal {
                    Some(signal) => self.signal(&signal)?,
                    None => StopSignal::Term,
                };
                Some(Stopping { signal, grace: self.period_or(fields.grace, "stop.grace", DEFAULT_GRACE) })
            }
        }
    }

    fn signal(&mut self, written: &At<Text>) -> Option<StopSignal> {
        let text = written.value.0.to_ascii_uppercase();
        let name = text.strip_prefix("SIG").unwrap_or(&text);
        let found = SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, signal)| *signal);
        if found.is_none() {
            let fix = match nearest(name, SIGNALS.iter().map(|(known, _)| *known)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write one of TERM, INT, QUIT, HUP, USR1, USR2 and KILL".to_owned(),
            };
            self.refuse(
                written.span,
                format!("{} is not a signal", quoted(&written.value.0)),
                "it would end no process",
                fix,
            );
        }
        found
    }

    fn command(&mut self, written: At<written::Command>, asked: Option<ReloadPlan>) -> Option<CommandFleet> {
        let At { value, span } = written;
        let shell = if value.shell.is_some_and(|at| at.value) { Shell::Asked } else { Shell::None };
        let list = self.required(
            value.list,
            span,
            "command.list",
            "nothing says who the members are",
            "add it as in `list: [./members, --json]`",
        );
        let list = list.and_then(|at| self.line(at, "list", shell));
        let reload_written = value.reload.is_some() || value.reload_all.is_some();
        let reload = value.reload.and_then(|at| self.line(at, "reload", shell));
        let reload_all = value.reload_all.and_then(|at| self.line(at, "reloadAll", shell));
        if !reload_written && asked != Some(ReloadPlan::Hot) {
            self.refuse_missing(
                span,
                "command.reload",
                "nothing says how a member takes up a new key",
                "add it as in `reload: [./restart, \"{member}\"]`; or write `reload: hot` beside `command`, if members read the key again by themselves",
            );
        }
        let timeout = self.limit_or(value.timeout, "command.timeout", DEFAULT_COMMAND);
        let working_directory = self.directory(value.working_directory);
        Some(CommandFleet { list: list?, reload, reload_all, timeout, working_directory })
    }

    fn fixed(&mut self, written: At<written::Static>) -> Option<StaticFleet> {
        let fix = "add it as in `members: [\"http://10.0.0.5:9000\"]`";
        let why = "nothing says who the members are";
        let members = self.required(written.value.members, written.span, "static.members", why, fix)?;
        let span = members.span;
        let list = match members.value {
            Many::One(one) => vec![At { value: one, span }],
            Many::List(list) => list,
        };
        if list.is_empty() {
            self.refuse(span, "`members` is empty", why, fix);
        }
        let mut addresses = Vec::new();
        for at in &list {
            let Some(address) = self.address(at) else { continue };
            if addresses.contains(&address) {
                self.refuse(
                    at.span,
                    "the same address stands here for the second time",
                    "it is one member",
                    "remove one of them",
                );
            }
            addresses.push(address);
        }
        Some(StaticFleet { members: NonEmpty::new(addresses)? })
    }

    /// Program and arguments. A single text is refused, because only a shell could take it apart.
    pub(super) fn argv(&mut self, written: At<Many<Text>>, field: &str) -> Option<NonEmpty<String>> {
        let span = written.span;
        let fix = format!("write a list, as in `{field}: [./fleet, --json]`");
        match written.value {
            Many::One(Text(text)) => {
                let fix = if text.split_whitespace().next().is_some()
                    && !text.contains(['\'', '"', '|', '&', ';', '$', '\\', '`'])
                {
                    format!(
                        "write `{field}: [{}]`",
                        text.split_whitespace().map(as_item).collect::<Vec<_>>().join(", ")
                    )
                } else {
                    fix
                };
                self.refuse(
                    span,
                    format!("`{field}` is a single text"),
                    "it is started without a shell, which alone could take a text apart into arguments",
                    fix,
                );
                None
            }
            Many::List(list) => {
                let argv: Vec<String> = list.into_iter().map(|at| at.value.0).collect();
                if argv.first().is_none_or(String::is_empty) {
                    self.refuse(span, format!("`{field}` names no program"), "the first item is the program", fix);
                    return None;
                }
                NonEmpty::new(argv)
            }
        }
    }

    fn line(&mut self, written: At<Many<Text>>, field: &str, shell: Shell) -> Option<CommandLine> {
        match (shell, written.value) {
            (Shell::None, value) => self.argv(At { value, span: written.span }, field).map(CommandLine::Argv),
            (Shell::Asked, Many::One(Text(text))) if !text.trim().is_empty() => Some(CommandLine::Shell(text)),
            (Shell::Asked, Many::One(_)) => {
                self.refuse(
                    written.span,
                    format!("`{field}` is empty"),
                    "there is nothing to run",
                    "write a line for `sh -c`",
                );
                None
            }
            (Shell::Asked, Many::List(_)) => {
                self.refuse(
                    written.span,
                    format!("`{field}` is a list beside `shell: true`"),
                    "a shell takes one line",
                    "write one text, or remove `shell: true`",
                );
                None
            }
        }
    }

    pub(super) fn directory(&mut self, written: Option<At<super::super::forms::PathText>>) -> FilePath {
        written.and_then(|at| self.path(at)).unwrap_or_else(|| FilePath::new(".", &self.folder))
    }
}

/// Whether a name says that its value is a secret. Where it names a file, the value is only a path.
pub(super) fn names_a_secret(name: &str) -> bool {
    let upper: String = name.to_ascii_uppercase().replace('-', "_");
    let by_reference = upper.ends_with("_FILE") || upper.ends_with("_PATH");
    let words = [
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "TOKEN",
        "PRIVATE_KEY",
        "API_KEY",
        "APIKEY",
        "AUTHORIZATION",
        "COOKIE",
        "CREDENTIAL",
    ];
    !by_reference && words.iter().any(|word| upper.contains(word))
}

/// Names of cookies, switches and figures stand beside secrets under similar names.
fn could_be_a_secret(value: &str) -> bool {
    value.len() >= 8 && !value.starts_with('/') && value.parse::<f64>().is_err() && Period::parse(value).is_err()
}

fn default_check(instances: Option<&Instances>) -> ReadyCheck {
    match instances {
        Some(Instances::Count(_)) => ReadyCheck::Alive { after: DEFAULT_ALIVE },
        Some(Instances::Ports(_)) | None => ReadyCheck::Connect,
    }
}

fn as_item(word: &str) -> String {
    if word.contains(['{', '}', '[', ']', ',', ':', '#']) { format!("\"{word}\"") } else { word.to_owned() }
}

const DEFAULT_READY: Period = Period::seconds(30);
const DEFAULT_ALIVE: Period = Period::seconds(2);
const DEFAULT_GRACE: Period = Period::seconds(30);
const DEFAULT_COMMAND: Period = Period::minutes(1);
const SIGNALS: [(&str, StopSignal); 7] = [
    ("TERM", StopSignal::Term),
    ("INT", StopSignal::Int),
    ("QUIT", StopSignal::Quit),
    ("HUP", StopSignal::Hup),
    ("USR1", StopSignal::Usr1),
    ("USR2", StopSignal::Usr2),
    ("KILL", StopSignal::Kill),
];
