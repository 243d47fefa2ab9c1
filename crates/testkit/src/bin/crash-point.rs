//! A driver that dies where it is told to: Keyroll's engine, put together as the command line does it, with a hook.
//!
//! `crash-point drive CONFIG STATE-DIR OPERATOR [rotate|complete] [--kill-at POINT] [--stall-at POINT] [--count]`. It kills
//! itself by SIGKILL, so nothing of it runs behind the point: no destructor, no flush, no signal handler. `crash-point
//! demo-replica ...` is a replica of the fleet.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use keyroll_engine::config::SessionKey;
use keyroll_engine::{
    Colour, CompleteRequest, CrashPoint, Engine, EngineError, Hooks, Operator, Overrides, Patience, RotateRequest, Why,
    assemble,
};
use keyroll_fleetlab::replica::{self, Args};
use keyroll_testkit::points::name_of;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let done = match words.next().as_deref().and_then(|word| word.to_str()) {
        Some("demo-replica") => serve(words),
        Some("drive") => drive(words),
        _ => Err("crash-point drive CONFIG STATE-DIR OPERATOR ..., or crash-point demo-replica ...".into()),
    };
    done.unwrap_or_else(|error| {
        say(&format!("{error}"));
        ExitCode::from(USAGE)
    })
}

fn drive(words: impl Iterator<Item = OsString>) -> Result<ExitCode, Failure> {
    let order = Order::parse(words)?;
    let config = SessionKey::load(&order.config).map_err(|error| chain(&error))?;
    let assembly = assemble(&config, &order.state_dir).map_err(|error| chain(&error))?;
    let operator = Operator { name: order.operator, host: rustix::system::uname().nodename().to_string_lossy().into() };
    let engine = Engine::new(assembly, &order.state_dir, operator).with_hooks(Arc::new(order.trap));
    let outcome = runtime()?.block_on(async {
        match order.what {
            What::Rotate => engine.rotate(RotateRequest::default()).await,
            What::Complete => engine.complete(unhurried()).await,
        }
    });
    Ok(match outcome {
        Ok(outcome) => {
            say(&format!("{}{:?}", outcome.summary, outcome.wait));
            ExitCode::from(outcome.exit.code())
        }
        Err(error) => {
            say(&chain(&error));
            if let EngineError::Preflight { report } = &error {
                for check in report.checks.iter().filter(|check| !matches!(check.colour, Colour::Green)) {
                    say(&format!("{check:?}"));
                }
            }
            ExitCode::from(error.exit().code())
        }
    })
}

fn unhurried() -> CompleteRequest {
    CompleteRequest { patience: Patience::Forever, overrides: Overrides::default(), why: Why::default() }
}

fn serve(words: impl Iterator<Item = OsString>) -> Result<ExitCode, Failure> {
    runtime()?.block_on(replica::run(Args::parse(words)?))?;
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// What the command line asks for.
struct Order {
    config: PathBuf,
    state_dir: PathBuf,
    operator: String,
    what: What,
    trap: Trap,
}

enum What {
    Rotate,
    Complete,
}

impl Order {
    fn parse(words: impl Iterator<Item = OsString>) -> Result<Self, Failure> {
        let mut words = words.map(|word| word.into_string().map_err(|_| "a word is not UTF-8"));
        let mut next =
            |what: &str| words.next().transpose()?.ok_or_else(|| Failure::from(format!("{what} is missing")));
        let (config, state_dir) = (next("CONFIG")?.into(), next("STATE-DIR")?.into());
        let operator = next("OPERATOR")?;
        let mut order = Self { config, state_dir, operator, what: What::Rotate, trap: Trap::default() };
        while let Ok(word) = next("") {
            match word.as_str() {
                "rotate" => order.what = What::Rotate,
                "complete" => order.what = What::Complete,
                "--kill-at" => order.trap.kill_at = Some(Place::parse(&next("POINT")?)),
                "--stall-at" => order.trap.stall_at = Some(next("POINT")?),
                "--count" => order.trap.tell = Tell::Each,
                other => return Err(format!("`{other}` is not understood").into()),
            }
        }
        Ok(order)
    }
}

/// What happens at the points.
#[derive(Default)]
struct Trap {
    passed: AtomicU64,
    kill_at: Option<Place>,
    /// Here it says so and waits until its standard input ends.
    stall_at: Option<String>,
    tell: Tell,
}

/// Where to die.
enum Place {
    /// At the n-th point that is passed, from 1.
    Number(u64),
    /// At the first point of this name.
    Name(String),
}

#[derive(Default, PartialEq)]
enum Tell {
    #[default]
    Nothing,
    Each,
}

impl Place {
    fn parse(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Number)
    }
}

impl Hooks for Trap {
    fn at(&self, point: &CrashPoint) {
        let number = self.passed.fetch_add(1, SeqCst) + 1;
        let name = name_of(point);
        if self.tell == Tell::Each {
            print(&format!("point {name}"));
        }
        let dies = match &self.kill_at {
            Some(Place::Number(wanted)) => number == *wanted,
            Some(Place::Name(wanted)) => name == *wanted,
            None => false,
        };
        if dies {
            // Nothing can be done about a refusal but to die less suddenly.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            std::process::abort();
        }
        if self.stall_at.as_ref() == Some(&name) {
            print(&format!("stalled {name}"));
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
        }
    }
}

/// An error and what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn print(line: &str) {
    // Whoever closed the pipe does not want to hear it.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

const USAGE: u8 = 64;
