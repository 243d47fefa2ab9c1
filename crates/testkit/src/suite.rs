//! A test suite that never passes silently: what did not run is named, with the way to get what it needs.
//!
//! With `KEYROLL_TEST_SERVERS=required` a missing server is a failure, so that a build server can't skip by accident.

use libtest_mimic::{Arguments, Failed, Trial};

use crate::Need;

/// The tests of one `harness = false` target.
#[derive(Default)]
pub struct Suite {
    trials: Vec<Trial>,
    not_run: Vec<String>,
}

impl Suite {
    /// An empty suite.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a test that any machine can run. It fails by an error or a panic.
    #[must_use]
    pub fn test<F>(self, name: &str, run: F) -> Self
    where
        F: FnOnce() -> Result<(), Failed> + Send + 'static,
    {
        self.test_with(name, &[], run)
    }

    /// Adds a test that needs something of the machine.
    #[must_use]
    pub fn test_with<F>(mut self, name: &str, needs: &[Need], run: F) -> Self
    where
        F: FnOnce() -> Result<(), Failed> + Send + 'static,
    {
        let missing: Vec<String> = needs
            .iter()
            .filter_map(|need| need.missing())
            .map(|missing| format!("it needs {}: {}", missing.what, missing.how))
            .collect();
        if missing.is_empty() {
            self.trials.push(Trial::test(name, run));
            return self;
        }
        let why = missing.join("; ");
        if required() {
            self.trials.push(Trial::test(name, move || {
                Err(Failed::from(format!("KEYROLL_TEST_SERVERS=required, and this did not run: {why}")))
            }));
        } else {
            self.not_run.push(format!("NOT RUN {name}: {why}"));
            self.trials.push(Trial::test(name, || Ok(())).with_ignored_flag(true));
        }
        self
    }

    /// Runs what was asked for on the command line and ends the process.
    pub fn run(self) -> ! {
        let arguments = Arguments::from_args();
        let listing = arguments.list;
        let conclusion = libtest_mimic::run(&arguments, self.trials);
        if !listing {
            for line in &self.not_run {
                announce(line);
            }
        }
        conclusion.exit()
    }
}

/// Whether a missing server is a failure.
fn required() -> bool {
    std::env::var("KEYROLL_TEST_SERVERS").is_ok_and(|value| value == "required")
}

#[expect(clippy::print_stderr, reason = "the harness of a test target speaks to the person who runs it")]
fn announce(line: &str) {
    eprintln!("{line}");
}
