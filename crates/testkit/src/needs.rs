//! What a test needs of the machine, and how to get it.
//!
//! A need is checked by trying it, not by looking for a file: a broken Ruby is a missing Ruby.

use std::process::{Command, Stdio};

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
}

impl Need {
    /// What is missing on this machine, or nothing.
    pub fn missing(self) -> Option<Missing> {
        let probe: &[&str] = match self {
            Self::PythonCryptography => &["python3", "-c", "import cryptography"],
            Self::Rails => &["sh", "-c", "command -v puma && ruby -e 'require \"action_controller/railtie\"'"],
            Self::MountNamespace => &["unshare", "--mount", "true"],
            Self::Shell => &["sh", "-c", "true"],
        };
        let ran = Command::new(probe[0])
            .args(&probe[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        (!ran).then(|| Missing { what: self.name(), how: self.how() })
    }

    fn name(self) -> &'static str {
        match self {
            Self::PythonCryptography => "Python 3 with the package `cryptography`",
            Self::Rails => "Rails and puma",
            Self::MountNamespace => "the right to make a mount namespace",
            Self::Shell => "a POSIX shell",
        }
    }

    fn how(self) -> &'static str {
        match self {
            Self::PythonCryptography => "run scripts/servers, or `pip install cryptography`",
            Self::Rails => "run scripts/servers, or `apt-get install ruby-actionpack ruby-railties puma`",
            Self::MountNamespace => "run the tests as root",
            Self::Shell => "install a POSIX shell as `sh`",
        }
    }
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
