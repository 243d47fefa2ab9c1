//! The command line of a replica: what [`crate::scene`] writes and what the replica reads.
//!
//! Both directions stand here, because the program between them (`keyroll demo-replica`) only passes the words on.

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Mode;

/// What one replica is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Args {
    /// Where it listens, on the loopback interface.
    pub port: u16,
    /// Which application it is.
    pub mode: Mode,
    /// The file that it reads its keys from, once.
    pub keys: PathBuf,
    /// The folder of session rows, for the mode that has them.
    pub rows: Option<PathBuf>,
    /// How long a session lives.
    pub lifetime: Duration,
    /// The process that it must not outlive.
    pub owner: Option<u32>,
}

impl Args {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Reads the words after `demo-replica`.
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, ArgsError> {
        let mut words = words.into_iter();
        let (mut port, mut mode, mut keys, mut rows, mut owner) = (None, None, None, None, None);
        let mut lifetime = LIFETIME;
        while let Some(flag) = words.next() {
            let flag = flag.into_string().map_err(|word| ArgsError::Unknown { word: lossy(&word) })?;
            let known = FLAGS.iter().find(|known| **known == flag);
            let known = *known.ok_or_else(|| ArgsError::Unknown { word: flag.clone() })?;
            let value = words.next().ok_or(ArgsError::Missing { flag: known })?;
            let wrong = || ArgsError::Value { flag: known, value: lossy(&value) };
            match known {
                PORT => port = Some(number(&value).ok_or_else(wrong)?),
                MODE => mode = Some(value.to_str().and_then(Mode::named).ok_or_else(wrong)?),
                KEYS => keys = Some(PathBuf::from(value)),
                ROWS => rows = Some(PathBuf::from(value)),
                OWNER => owner = Some(number(&value).ok_or_else(wrong)?),
                _ => lifetime = Duration::from_secs(number(&value).ok_or_else(wrong)?),
            }
        }
        let mode = mode.ok_or(ArgsError::Missing { flag: MODE })?;
        if mode == Mode::Rows && rows.is_none() {
            return Err(ArgsError::Missing { flag: ROWS });
        }
        Ok(Self {
            port: port.ok_or(ArgsError::Missing { flag: PORT })?,
            mode,
            keys: keys.ok_or(ArgsError::Missing { flag: KEYS })?,
            rows,
            lifetime,
            owner,
        })
    }

    /// The words that [`Args::parse`] reads. They hold no secret.
    pub fn words(&self) -> Vec<OsString> {
        self.words_with_port(self.port.to_string().into())
    }

    /// The command line of every replica of a fleet, as `keyroll.yaml` has it: `{port}` stands where the port belongs.
    pub fn command(&self, program: &Path, subcommand: &str) -> Vec<String> {
        let begin = [program.to_string_lossy().into_owned(), subcommand.to_owned()];
        let words = self.words_with_port(PORT_PLACE.into());
        begin.into_iter().chain(words.iter().map(|word| word.to_string_lossy().into_owned())).collect()
    }

    fn words_with_port(&self, port: OsString) -> Vec<OsString> {
        let mut words = Vec::new();
        let mut push = |flag: &str, value: OsString| words.extend([OsString::from(flag), value]);
        push(PORT, port);
        push(MODE, self.mode.name().into());
        push(KEYS, self.keys.clone().into());
        if let Some(rows) = &self.rows {
            push(ROWS, rows.clone().into());
        }
        push(LIFETIME_SECONDS, self.lifetime.as_secs().to_string().into());
        if let Some(owner) = self.owner {
            push(OWNER, owner.to_string().into());
        }
        words
    }
}

/// Why a command line is not one of a replica.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// A word that means nothing.
    #[error("`{word}` is no option of a replica; there are {}", FLAGS.join(", "))]
    Unknown {
        /// The word.
        word: String,
    },
    /// An option or its value is missing.
    #[error("a replica needs `{flag}` with a value")]
    Missing {
        /// Which option.
        flag: &'static str,
    },
    /// A value that does not fit.
    #[error("`{value}` does not fit `{flag}`")]
    Value {
        /// Which option.
        flag: &'static str,
        /// The value.
        value: String,
    },
}

fn number<T: std::str::FromStr>(value: &OsStr) -> Option<T> {
    value.to_str()?.parse().ok()
}

fn lossy(word: &OsStr) -> String {
    word.to_string_lossy().into_owned()
}

const PORT: &str = "--port";
/// What the fleet of local processes replaces by each member's port.
const PORT_PLACE: &str = "{port}";
const MODE: &str = "--mode";
const KEYS: &str = "--keys";
const ROWS: &str = "--rows";
const LIFETIME_SECONDS: &str = "--lifetime-seconds";
const OWNER: &str = "--owner";
const FLAGS: [&str; 6] = [PORT, MODE, KEYS, ROWS, LIFETIME_SECONDS, OWNER];
const LIFETIME: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, ArgsError> {
        Args::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn what_is_written_is_read_back() {
        for mode in Mode::ALL {
            let args = Args {
                port: 4711,
                mode,
                keys: "/tmp/a folder/keys".into(),
                rows: (mode == Mode::Rows).then(|| "/tmp/rows".into()),
                lifetime: Duration::from_secs(7),
                owner: Some(42),
            };
            assert_eq!(Args::parse(args.words()).unwrap(), args);
            let command = args.command(Path::new("/bin/lab"), "replica");
            assert_eq!(command[..2], ["/bin/lab", "replica"]);
            let words = command[2..].iter().map(|word| OsString::from(word.replace("{port}", "4711")));
            assert_eq!(Args::parse(words).unwrap(), args);
        }
    }

    #[test]
    fn a_wrong_command_line_says_what_is_wrong() {
        assert_eq!(parse("--port 1 --keys f").unwrap_err(), ArgsError::Missing { flag: MODE });
        assert_eq!(parse("--mode rows --port 1 --keys f").unwrap_err(), ArgsError::Missing { flag: ROWS });
        assert_eq!(parse("--mode sealed --port").unwrap_err(), ArgsError::Missing { flag: PORT });
        assert_eq!(
            parse("--mode sealed --port 99999 --keys f").unwrap_err(),
            ArgsError::Value { flag: PORT, value: "99999".into() }
        );
        assert_eq!(parse("--moed sealed").unwrap_err(), ArgsError::Unknown { word: "--moed".into() });
    }
}
