//! What a test needs of the machine, and how to get it.
//!
//! A need is checked by trying it, not by looking for a file: a broken Ruby is a missing Ruby.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::{fs, io};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

/// Something that a test can't do without and that a machine with only Rust and a C compiler may lack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "not published; every test names its needs from this list")]
pub enum Need {
    /// Python 3 with PyPI's `cryptography`.
    PythonCryptography,
    /// Ruby, Rails (action_controller) and puma.
    Rails,
    /// A mount namespace of one's own (`unshare --mount`, as root or with user namespaces).
    MountNamespace,
    /// A POSIX shell.
    Shell,
    /// The shells for which completions are made, beside bash: zsh and fish.
    OtherShells,
    /// A system on which a process that dies of SIGABRT may dump core.
    CoreDumps,
}

impl Need {
    /// What is missing on this machine, or nothing.
    pub fn missing(self) -> Option<Missing> {
        let probe: &[&str] = match self {
            Self::PythonCryptography => &["python3", "-c", "import cryptography"],
            Self::Rails => &["sh", "-c", "command -v puma && ruby -e 'require \"action_controller/railtie\"'"],
            Self::MountNamespace => &["unshare", "--mount", "true"],
            Self::Shell => &["sh", "-c", "true"],
            Self::OtherShells => &["sh", "-c", "bash -c true && zsh -c true && fish -c true"],
            Self::CoreDumps => return (!dumps_core()).then(|| self.described()),
        };
        let ran = Command::new(probe[0])
            .args(&probe[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        (!ran).then(|| self.described())
    }

    fn described(self) -> Missing {
        Missing { what: self.name(), how: self.how() }
    }

    fn name(self) -> &'static str {
        match self {
            Self::PythonCryptography => "Python 3 with the package `cryptography`",
            Self::Rails => "Rails and puma",
            Self::MountNamespace => "the right to make a mount namespace",
            Self::Shell => "a POSIX shell",
            Self::OtherShells => "bash, zsh and fish",
            Self::CoreDumps => "a system that dumps core",
        }
    }

    fn how(self) -> &'static str {
        match self {
            Self::PythonCryptography => "run scripts/servers, or `pip install cryptography`",
            Self::Rails => "run scripts/servers, or `apt-get install ruby-actionpack ruby-railties puma`",
            Self::MountNamespace => "run the tests as root",
            Self::Shell => "install a POSIX shell as `sh`",
            Self::OtherShells => "run scripts/servers, or `apt-get install bash zsh fish`",
            Self::CoreDumps => "allow it: `ulimit -Hc unlimited`, and a kernel.core_pattern that works",
        }
    }
}

/// Whether a process that may dump core does. By the one signal for it that no shell lets its background commands ignore.
fn dumps_core() -> bool {
    let dumped = || -> io::Result<bool> {
        let folder = std::env::temp_dir().join(format!("keyroll-core-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let mut child = Command::new("sleep").arg("60").current_dir(&folder).spawn()?;
        let pid = Pid::from_child(&child);
        let maximum = getrlimit(Resource::Core).maximum;
        prlimit(Some(pid), Resource::Core, Rlimit { current: maximum, maximum })?;
        kill_process(pid, Signal::ABORT)?;
        let status = child.wait()?;
        fs::remove_dir_all(&folder)?;
        Ok(status.core_dumped())
    };
    dumped().unwrap_or(false)
}

/// What a machine lacks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "not published")]
pub struct Missing {
    /// In words.
    pub what: &'static str,
    /// How to get it.
    pub how: &'static str,
}
