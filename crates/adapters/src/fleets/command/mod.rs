//! `command`: the user's own commands list the members and reload them, so that a fleet behind ssh, Ansible or Nomad works.
//!
//! A command gets what it needs as arguments or as variables, and never a key: neither listing nor reloading needs one.
//! What the commands print is the only truth here, so an output that can't be understood is an error and not "nobody".

mod listing;
mod record;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use self::record::{RecordError, ReloadRecord};
use super::{Fleet, FleetDescription, FleetError, Member, ReloadOutcome, ReloadRequest, ReloadStyle, ReloadTarget};
use crate::stores::BoxError;
use crate::subprocess::{self, CommandError, Invocation};

/// What a command fleet is made of.
#[derive(Clone, Debug)]
pub struct CommandConfig {
    /// Its name, for people.
    pub name: String,
    /// Prints the members: a JSON array, or one JSON object a line.
    pub list: CommandLine,
    /// Reloads one member. Without this and `reload_all` the members re-read the key themselves. In its arguments `{member}`, `{boot}`, `{address}` and `{reloadId}` are filled in.
    pub reload: Option<CommandLine>,
    /// Reloads all. In its arguments `{reloadId}` is filled in.
    pub reload_all: Option<CommandLine>,
    /// How long listing may take.
    pub list_limit: Duration,
    /// How long the reload of one member, or of all, may take.
    pub reload_limit: Duration,
    /// Where the commands run; Keyroll's own folder if none.
    pub folder: Option<PathBuf>,
    /// Variables for the commands.
    pub env: BTreeMap<String, String>,
    /// Names of variables that the commands inherit from Keyroll, beyond `PATH`, `HOME` and their like.
    pub pass_env: Vec<String>,
    /// A file that remembers which reloads were carried out, so that another Keyroll does not repeat them. Without it they
    /// are remembered by this process only.
    pub record: Option<PathBuf>,
}

/// How a command is given.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "with a shell or without")]
pub enum CommandLine {
    /// Program and arguments, started as they are.
    Argv(Vec<String>),
    /// A line for `/bin/sh -c`. Nothing is filled in; the values are in `$KEYROLL_MEMBER`, `$KEYROLL_BOOT`,
    /// `$KEYROLL_ADDRESS` and `$KEYROLL_RELOAD_ID`, where no value can become a command.
    Shell(String),
}

/// Why a description is not one of a fleet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandConfigError {
    /// Nothing to run.
    #[error("the `{which}` command is empty; name the program to run")]
    Empty {
        /// `list`, `reload` or `reloadAll`.
        which: &'static str,
    },
    /// A placeholder in a shell line, where a value could become a command.
    #[error("the shell line of `{which}` holds `{placeholder}`; write `\"${variable}\"` instead")]
    PlaceholderInShell {
        /// `list`, `reload` or `reloadAll`.
        which: &'static str,
        /// As `{member}`.
        placeholder: &'static str,
        /// The variable that has the value.
        variable: &'static str,
    },
}

/// Members that the user's own commands list and reload.
#[derive(Debug)]
pub struct CommandFleet {
    config: CommandConfig,
    done: ReloadRecord,
}

impl CommandFleet {
    /// A fleet by its description. Nothing is run.
    pub fn new(config: CommandConfig) -> Result<Self, CommandConfigError> {
        config.check()?;
        let done = ReloadRecord::new(config.record.clone());
        Ok(Self { config, done })
    }

    async fn run(
        &self,
        command: &CommandLine,
        values: &[(&Placeholder, &str)],
        limit: Duration,
    ) -> Result<Vec<u8>, BoxError> {
        let mut env = subprocess::inherited(&self.config.pass_env);
        env.extend(self.config.env.iter().map(|(name, value)| (name.into(), value.into())));
        env.extend(values.iter().map(|(place, value)| (OsString::from(place.variable), OsString::from(*value))));
        let argv = match command {
            CommandLine::Shell(line) => vec!["/bin/sh".into(), "-c".into(), line.clone()],
            CommandLine::Argv(argv) => argv.iter().map(|argument| fill(argument, values)).collect(),
        };
        let invocation =
            Invocation { argv, env, folder: self.config.folder.clone(), limit, output_limit: OUTPUT_LIMIT };
        Ok(invocation.run().await?)
    }

    async fn list(&self) -> Result<Vec<Member>, BoxError> {
        let output = self.run(&self.config.list, &[], self.config.list_limit).await?;
        Ok(listing::parse(&output)?)
    }

    fn location(&self) -> String {
        format!("fleet `{}`", self.config.name)
    }

    fn not_reloaded(&self, member: &str, source: impl Into<BoxError>) -> FleetError {
        FleetError::Reload { location: self.location(), member: member.to_owned(), source: source.into() }
    }

    fn done_before(&self, id: &str, member: &str) -> Result<bool, FleetError> {
        self.done.contains(id, member).map_err(|error: RecordError| self.not_reloaded(member, error))
    }
}

#[async_trait]
impl Fleet for CommandFleet {
    fn describe(&self) -> FleetDescription {
        let mut cautions = Vec::new();
        let reloads = self.config.reload.is_some() || self.config.reload_all.is_some();
        if self.config.record.is_none() && reloads {
            cautions.push("no record file: a Keyroll that dies during a reload may repeat it".into());
        }
        FleetDescription {
            kind: "command",
            location: self.location(),
            reload: match (&self.config.reload, &self.config.reload_all) {
                (Some(_), _) => ReloadStyle::PerMember,
                (None, Some(_)) => ReloadStyle::Whole,
                (None, None) => ReloadStyle::HotReload,
            },
            cautions,
        }
    }

    async fn members(&self) -> Result<Vec<Member>, FleetError> {
        self.list().await.map_err(|source| {
            let location = self.location();
            match source.downcast_ref::<CommandError>().is_some_and(CommandError::is_transient) {
                true => FleetError::Unavailable { location, source },
                false => FleetError::List { location, source },
            }
        })
    }

    async fn reload(&self, request: &ReloadRequest) -> Result<ReloadOutcome, FleetError> {
        let reload = request.id.0.as_str();
        let (name, command, mut values) = match &request.target {
            ReloadTarget::All => {
                let command = self.config.reload_all.as_ref();
                ("all", command.ok_or_else(|| self.not_reloaded("all", "there is no `reloadAll` command"))?, Vec::new())
            }
            ReloadTarget::Member { id, boot } => {
                let command = self.config.reload.as_ref();
                let command = command.ok_or_else(|| self.not_reloaded(&id.0, "there is no `reload` command"))?;
                (id.0.as_str(), command, vec![(&MEMBER, id.0.as_str()), (&BOOT, boot.0.as_str())])
            }
        };
        if self.done_before(reload, name)? {
            return Ok(ReloadOutcome::AlreadyDone);
        }
        let address;
        if let ReloadTarget::Member { id, boot } = &request.target {
            let members = self.list().await.map_err(|source| self.not_reloaded(name, source))?;
            let Some(member) = members.into_iter().find(|member| member.id == *id) else {
                return Err(FleetError::NoSuchMember { location: self.location(), member: id.0.clone() });
            };
            if member.boot != *boot {
                return Ok(ReloadOutcome::AlreadyDone);
            }
            address = member.address.map(|address| address.to_string()).unwrap_or_default();
            values.push((&ADDRESS, &address));
        }
        values.push((&RELOAD_ID, reload));
        tracing::info!(member = name, reload, "reload command starts");
        self.run(command, &values, self.config.reload_limit).await.map_err(|source| self.not_reloaded(name, source))?;
        self.done.note(reload, name).map_err(|error| self.not_reloaded(name, error))?;
        Ok(ReloadOutcome::Started)
    }
}

impl CommandConfig {
    /// A fleet by its three commands, with the usual limits.
    pub fn new(name: String, list: CommandLine, reload: Option<CommandLine>, reload_all: Option<CommandLine>) -> Self {
        Self {
            name,
            list,
            reload,
            reload_all,
            list_limit: LIST_LIMIT,
            reload_limit: RELOAD_LIMIT,
            folder: None,
            env: BTreeMap::new(),
            pass_env: Vec::new(),
            record: None,
        }
    }

    fn check(&self) -> Result<(), CommandConfigError> {
        self.list.check("list")?;
        if let Some(reload) = &self.reload {
            reload.check("reload")?;
        }
        if let Some(reload_all) = &self.reload_all {
            reload_all.check("reloadAll")?;
        }
        Ok(())
    }
}

impl CommandLine {
    fn check(&self, which: &'static str) -> Result<(), CommandConfigError> {
        match self {
            Self::Argv(argv) if argv.first().is_none_or(|program| program.trim().is_empty()) => {
                Err(CommandConfigError::Empty { which })
            }
            Self::Shell(line) if line.trim().is_empty() => Err(CommandConfigError::Empty { which }),
            Self::Shell(line) => match PLACEHOLDERS.iter().find(|place| line.contains(place.text)) {
                Some(place) => Err(CommandConfigError::PlaceholderInShell {
                    which,
                    placeholder: place.text,
                    variable: place.variable,
                }),
                None => Ok(()),
            },
            Self::Argv(_) => Ok(()),
        }
    }
}

struct Placeholder {
    text: &'static str,
    variable: &'static str,
}

/// Fills in from left to right and never looks at what was filled in, so that a value can't hold a placeholder.
fn fill(template: &str, values: &[(&Placeholder, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(brace) = rest.find('{') {
        filled.push_str(&rest[..brace]);
        rest = &rest[brace..];
        match values.iter().find(|(place, _)| rest.starts_with(place.text)) {
            Some((place, value)) => {
                filled.push_str(value);
                rest = &rest[place.text.len()..];
            }
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled.push_str(rest);
    filled
}

const MEMBER: Placeholder = Placeholder { text: "{member}", variable: "KEYROLL_MEMBER" };
const BOOT: Placeholder = Placeholder { text: "{boot}", variable: "KEYROLL_BOOT" };
const ADDRESS: Placeholder = Placeholder { text: "{address}", variable: "KEYROLL_ADDRESS" };
const RELOAD_ID: Placeholder = Placeholder { text: "{reloadId}", variable: "KEYROLL_RELOAD_ID" };
const PLACEHOLDERS: [Placeholder; 4] = [MEMBER, BOOT, ADDRESS, RELOAD_ID];
const LIST_LIMIT: Duration = Duration::from_secs(30);
const RELOAD_LIMIT: Duration = Duration::from_secs(300);
/// Enough for 10,000 members of 1.6 kB each.
const OUTPUT_LIMIT: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests;
