//! One fleet of three pumas, its users, and the hands of an operator.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use keyroll_fleetlab::front::Front;
use keyroll_fleetlab::ports::Ports;
use keyroll_fleetlab::report::Sessions;
use keyroll_fleetlab::users::{Crowd, CrowdOptions};
use keyroll_keyring::codec::{self, Mint};
use keyroll_keyring::{Key, KeyId, Secret, UnixTime};

/// How much of the matrix runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Depth {
    /// In every run: each class of fault once.
    Usual,
    /// Only with `KEYROLL_TEST_DEPTH=full`.
    Full,
}

/// Whether the whole matrix was asked for.
pub(crate) fn full_depth() -> bool {
    std::env::var("KEYROLL_TEST_DEPTH").is_ok_and(|depth| depth == "full")
}

type Script = Box<dyn FnOnce(&mut Lab) -> Result<(), String> + Send>;

/// A story that is played on a fleet of its own.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) depth: Depth,
    script: Script,
}

impl Scenario {
    pub(crate) fn usual(
        name: &'static str,
        script: impl FnOnce(&mut Lab) -> Result<(), String> + Send + 'static,
    ) -> Self {
        Self::new(name, Depth::Usual, script)
    }

    pub(crate) fn new(
        name: &'static str,
        depth: Depth,
        script: impl FnOnce(&mut Lab) -> Result<(), String> + Send + 'static,
    ) -> Self {
        Self { name, depth, script: Box::new(script) }
    }

    /// Starts a fleet, plays the story, prints what the users saw.
    pub(crate) fn run(self) -> Result<(), String> {
        let mut lab = Lab::start(self.name)?;
        let result = (self.script)(&mut lab);
        let sessions = lab.judge();
        if let Some(sessions) = sessions {
            report(&format!(
                "sessions: {:>4} established, {:>4} lost, {:>4} lost for good · {}",
                sessions.established, sessions.lost, sessions.lost_for_good, self.name
            ));
        }
        result.map_err(|err| format!("{err}\n{}", lab.last_words()))
    }
}

/// A running fleet.
pub(crate) struct Lab {
    dir: tempfile::TempDir,
    ports: Ports,
    runtime: tokio::runtime::Runtime,
    front: Option<Front>,
    crowd: Option<Crowd>,
    sessions: Option<Sessions>,
    log: Vec<String>,
    first_key: Secret,
    /// How long a session lives.
    lifetime: Duration,
}

/// A session in a user's hands.
pub(crate) struct Session {
    cookie: String,
    user: String,
}

impl Lab {
    fn start(name: &str) -> Result<Self, String> {
        let dir = tempfile::Builder::new().prefix("keyroll-rails-").tempdir().map_err(text)?;
        let ports = Ports::claim(3).map_err(text)?;
        let first_key = random_key()?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(text)?;
        let mut lab = Self {
            dir,
            ports,
            runtime,
            front: None,
            crowd: None,
            sessions: None,
            log: vec![format!("scenario: {name}")],
            first_key,
            lifetime: LIFETIME,
        };
        lab.write_env(None)?;
        lab.write_config()?;
        lab.fleet(&["start"])?;
        lab.wait_until_ready()?;
        lab.let_users_in()?;
        Ok(lab)
    }

    /// The folder of everything: the environment file, `keyroll.yaml`, the state.
    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Runs the binary to its end.
    pub(crate) fn keyroll(&mut self, args: &[&str]) -> Ran {
        let output = self.command(args).output();
        self.note(args, output.as_ref().ok());
        Ran { what: format!("keyroll {}", args.join(" ")), output: output.map_err(text) }
    }

    /// Starts the binary and comes back at once.
    pub(crate) fn keyroll_in_background(&mut self, args: &[&str]) -> Result<Background, String> {
        let child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(text)?;
        Ok(Background { what: format!("keyroll {}", args.join(" ")), child })
    }

    /// Starts a rotation and kills it when it says that it has come to `stage`. One that had ended before the signal reached
    /// it was not killed: then another one is tried.
    pub(crate) fn kill_a_rotation_in(&mut self, stage: &str) -> Result<(), String> {
        for _ in 0..3 {
            let mut child =
                self.command(&["rotate"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(text)?;
            let output = child.stderr.take().ok_or("the rotation has no output")?;
            let mut said = Vec::new();
            let came = BufReader::new(output).lines().map_while(Result::ok).any(|line| {
                let comes = line.trim_end() == format!("stage {stage}");
                said.push(line);
                comes
            });
            child.kill().map_err(text)?;
            let status = child.wait().map_err(text)?;
            match (came, status.code()) {
                (true, None) => return Ok(()),
                (true, Some(0)) => {}
                _ => return Err(format!("the rotation ended with {status} before {stage}: {}", said.join("\n"))),
            }
        }
        Err(format!("three rotations had ended before they could be killed in {stage}"))
    }

    /// Waits until the rotation has come to `stage`, as `keyroll status` tells it.
    pub(crate) fn wait_for_stage(&mut self, stage: &str) -> Result<(), String> {
        let deadline = now() + Duration::from_secs(90);
        while now() < deadline {
            let output = self.command(&["status", "--format", "json"]).output().map_err(text)?;
            let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            if status["rotation"]["stage"] == stage {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("the rotation did not come to {stage} within 90 s"))
    }

    /// What the runbook says: new key active and old key accepted in one write, then a rolling restart.
    pub(crate) fn runbook_order(&mut self) -> Result<(), String> {
        let new = random_key()?;
        let env = std::fs::read_to_string(self.env_path()).map_err(text)?;
        let text_of = |key: &Secret| String::from_utf8_lossy(key.expose()).into_owned();
        let env = env.replace(&text_of(&self.first_key), &text_of(&new));
        std::fs::write(self.env_path(), format!("{env}SECRET_KEY_BASE_ACCEPT={}\n", text_of(&self.first_key)))
            .map_err(text)?;
        for member in ["web-1", "web-2", "web-3"] {
            self.fleet(&["reload", member])?;
            self.wait_until_ready()?;
            self.settle_down(Duration::from_millis(700));
        }
        Ok(())
    }

    /// Gives users time to walk about.
    pub(crate) fn settle_down(&self, span: Duration) {
        std::thread::sleep(span);
    }

    pub(crate) fn restart_by_somebody_else(&mut self, member: &str) -> Result<(), String> {
        self.fleet(&["reload", member])
    }

    /// Restarts the fleet as an application with one of the well-known mistakes.
    pub(crate) fn start_with_fault(&mut self, fault: &str) -> Result<(), String> {
        self.send_users_home()?;
        self.sessions = None;
        self.fleet(&["stop"])?;
        self.write_env(Some(fault))?;
        self.fleet(&["start"])?;
        self.wait_until_ready()?;
        self.let_users_in()
    }

    /// A session that a user began by logging in.
    pub(crate) fn log_in(&mut self, user: &str) -> Result<Session, String> {
        self.log_in_at(self.ports[0], user)
    }

    fn log_in_at(&self, port: u16, user: &str) -> Result<Session, String> {
        let url = format!("http://127.0.0.1:{port}/login");
        let response = self.runtime.block_on(async {
            reqwest::Client::new()
                .post(url)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(format!("user={user}"))
                .send()
                .await
        });
        let response = response.map_err(text)?;
        let cookie = response
            .headers()
            .get("set-cookie")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .ok_or("the login set no cookie")?;
        Ok(Session { cookie: cookie.to_owned(), user: user.to_owned() })
    }

    /// Restarts the fleet, without users and with sessions that outlive a story, and waits until everybody is logged out.
    pub(crate) fn start_with_long_sessions(&mut self) -> Result<(), String> {
        self.send_users_home()?;
        self.sessions = None;
        self.fleet(&["stop"])?;
        self.lifetime = Duration::from_secs(3600);
        self.write_env(None)?;
        self.fleet(&["start"])?;
        self.wait_until_ready()?;
        let deadline = now() + Duration::from_secs(60);
        loop {
            let output = self.fleet_command(&["sessions"]).output().map_err(text)?;
            if String::from_utf8_lossy(&output.stdout).trim() == "0" {
                return Ok(());
            }
            if now() > deadline {
                return Err("60 s after the users went home some of their sessions are still counted".to_owned());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Sessions of so many users, begun on one member after the other.
    pub(crate) fn log_in_many(&mut self, users: usize, name: &str) -> Result<Vec<Session>, String> {
        (0..users).map(|user| self.log_in_at(self.ports[user % self.ports.len()], &format!("{name}-{user}"))).collect()
    }

    /// How many of these sessions every member refuses. One that some take and some refuse is an error.
    pub(crate) fn count_ended(&mut self, sessions: &[Session]) -> Result<usize, String> {
        let mut ended = 0;
        for session in sessions {
            let mut refusals = 0;
            for place in 0..self.ports.len() {
                let port = self.ports[place];
                let (status, body) = self.ask(port, session)?;
                refusals += usize::from(status != 200 || !body.contains(&session.user));
            }
            match refusals {
                0 => {}
                all if all == self.ports.len() => ended += 1,
                some => {
                    return Err(format!("{some} members refuse the session of {} and others take it", session.user));
                }
            }
        }
        Ok(ended)
    }

    /// What a scenario has found out, for the person who runs this.
    pub(crate) fn tell(&self, line: &str) {
        report(line);
    }

    /// A session that somebody forged who knows the first key.
    pub(crate) fn forge(&mut self, user: &str) -> Result<Session, String> {
        let parameters = [("cookie".to_owned(), COOKIE.to_owned()), ("digest".to_owned(), "sha1".to_owned())].into();
        let codec = codec::build("rails", &parameters).map_err(text)?;
        let payload = serde_json::json!({
            "session_id": "0123456789abcdef0123456789abcdef", "user": user, "name": "forged", "expires_at": i64::MAX / 2,
        });
        let payload = payload.to_string();
        let key = Key::single(KeyId(1), self.first_key.duplicate());
        let mint = Mint { payload: payload.as_bytes(), issued_at: UnixTime(0), expires_at: None };
        let token = codec.mint(&key, &mint).map_err(text)?;
        Ok(Session { cookie: format!("{COOKIE}={token}"), user: user.to_owned() })
    }

    /// Every member accepts it.
    pub(crate) fn is_accepted(&mut self, session: &Session) -> Result<(), String> {
        for place in 0..self.ports.len() {
            let port = self.ports[place];
            let (status, body) = self.ask(port, session)?;
            if status != 200 || !body.contains(&session.user) {
                return Err(format!("the member on port {port} refused the session of {} ({status})", session.user));
            }
        }
        Ok(())
    }

    /// Every member refuses it.
    pub(crate) fn is_refused(&mut self, session: &Session) -> Result<(), String> {
        for place in 0..self.ports.len() {
            let port = self.ports[place];
            let (status, _) = self.ask(port, session)?;
            if status != 401 {
                return Err(format!("the member on port {port} took the session of {} ({status})", session.user));
            }
        }
        Ok(())
    }

    /// The key with which the fleet began opens nothing any more, anywhere.
    pub(crate) fn old_key_is_dead(&mut self) -> Result<(), String> {
        let forged = self.forge("nobody")?;
        self.is_refused(&forged)
    }

    /// The fleet runs under its first key alone again.
    pub(crate) fn new_key_is_gone(&mut self) -> Result<(), String> {
        let forged = self.forge("alice")?;
        self.is_accepted(&forged)?;
        let env = std::fs::read_to_string(self.env_path()).map_err(text)?;
        let keys =
            env.lines().filter(|line| line.starts_with("SECRET_KEY_BASE")).flat_map(|line| line.split(['=', ',']));
        match keys.filter(|word| word.len() == 128).count() {
            1 => Ok(()),
            count => Err(format!("the environment file holds {count} keys after the rollback")),
        }
    }

    /// Nothing but what belongs there stands beside the environment file.
    pub(crate) fn no_temporary_files(&mut self) -> Result<(), String> {
        for entry in std::fs::read_dir(self.dir.path()).map_err(text)? {
            let name = entry.map_err(text)?.file_name().to_string_lossy().into_owned();
            let known = ["shop.env", ".shop.env.keyroll", "keyroll.yaml", "state", "sessions.log"]
                .contains(&name.as_str())
                || name.starts_with("web-")
                || name.ends_with(".lock");
            if !known {
                return Err(format!("`{name}` was left behind"));
            }
        }
        Ok(())
    }

    /// Ends the users' browsing before the story's own sessions matter.
    pub(crate) fn send_users_home(&mut self) -> Result<(), String> {
        if let Some(crowd) = self.crowd.take() {
            let (_, sessions) = self.runtime.block_on(crowd.finish()).map_err(text)?;
            self.sessions = Some(sessions);
        }
        Ok(())
    }

    pub(crate) fn nobody_was_logged_out(&mut self) -> Result<(), String> {
        self.finish_with(|sessions| match (sessions.lost, sessions.established) {
            (_, established) if established < 20 => Err(format!("only {established} sessions were begun")),
            (0, _) => Ok(()),
            (lost, established) => Err(format!("{lost} of {established} sessions were refused at least once")),
        })
    }

    pub(crate) fn finish_with(&mut self, judge: impl FnOnce(&Sessions) -> Result<(), String>) -> Result<(), String> {
        self.send_users_home()?;
        judge(self.sessions.as_ref().ok_or("nobody browsed")?)
    }

    fn judge(&mut self) -> Option<Sessions> {
        self.send_users_home().ok()?;
        self.sessions.take()
    }

    fn last_words(&self) -> String {
        let mut words = self.log.join("\n");
        for index in 1..=3 {
            let log = std::fs::read_to_string(self.dir.path().join(format!("web-{index}.log"))).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(5).collect();
            words.push_str(&format!("\nweb-{index}: {}", tail.into_iter().rev().collect::<Vec<_>>().join(" | ")));
        }
        words
    }

    fn ask(&mut self, port: u16, session: &Session) -> Result<(u16, String), String> {
        self.runtime.block_on(async {
            let response = reqwest::Client::new()
                .get(format!("http://127.0.0.1:{port}/me"))
                .header("cookie", &session.cookie)
                .send()
                .await
                .map_err(text)?;
            let status = response.status().as_u16();
            Ok((status, response.text().await.map_err(text)?))
        })
    }

    fn let_users_in(&mut self) -> Result<(), String> {
        let replicas: Vec<SocketAddr> =
            self.ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect();
        if self.front.is_none() {
            self.front = Some(self.runtime.block_on(Front::start(replicas)).map_err(text)?);
        }
        let front = self.front.as_ref().ok_or("no front")?.address();
        let _inside = self.runtime.enter();
        self.crowd = Some(Crowd::start(CrowdOptions {
            front,
            users: USERS,
            replicas: 3,
            lifetime: LIFETIME,
            think: (Duration::from_millis(150), Duration::from_millis(400)),
            longest: Duration::from_secs(600),
            seed: 7,
        }));
        std::thread::sleep(Duration::from_secs(2));
        Ok(())
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let deadline = now() + Duration::from_secs(60);
        loop {
            let output = self.fleet_command(&["list"]).output().map_err(text)?;
            let members: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let ready =
                members.as_array().is_some_and(|all| all.len() == 3 && all.iter().all(|one| one["state"] == "ready"));
            if ready {
                return Ok(());
            }
            if now() > deadline {
                return Err(format!("the fleet is not ready after 60 s: {members}\n{}", self.last_words()));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn write_env(&self, fault: Option<&str>) -> Result<(), String> {
        let fault = fault.map(|fault| format!("SHOP_FAULT={fault}\n")).unwrap_or_default();
        let key = String::from_utf8_lossy(self.first_key.expose()).into_owned();
        let env = format!(
            "# The shop's settings. Siblings of the key must survive every rotation.\nSHOP_LIFETIME={}\n{fault}SECRET_KEY_BASE={key}\n",
            self.lifetime.as_secs()
        );
        std::fs::write(self.env_path(), env).map_err(text)
    }

    fn write_config(&self) -> Result<(), String> {
        let fleet = |verb: &str| {
            let ports = self.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" ");
            let mut words = vec![
                "env".to_owned(),
                format!("FLEET_DIR={}", self.dir.path().display()),
                format!("FLEET_PORTS={ports}"),
                example().join("fleet").display().to_string(),
                verb.to_owned(),
            ];
            if verb == "reload" {
                words.push("{member}".to_owned());
            }
            serde_json::to_string(&words).unwrap_or_default()
        };
        let shipped = std::fs::read_to_string(example().join("keyroll.yaml")).map_err(text)?;
        let config = shipped
            .replace("live/shop.env", "shop.env")
            .replace("[./fleet, list]", &fleet("list"))
            .replace("[./fleet, sessions]", &fleet("sessions"))
            .replace("[./fleet, reload, \"{member}\"]", &fleet("reload"))
            .replace("maxLifetime: 3h", &format!("maxLifetime: {}s\n    leeway: 2s", LIFETIME.as_secs()));
        std::fs::write(self.dir.path().join("keyroll.yaml"), config).map_err(text)
    }

    fn env_path(&self) -> PathBuf {
        self.dir.path().join("shop.env")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyroll"));
        command
            .args(["--config"])
            .arg(self.dir.path().join("keyroll.yaml"))
            .args(["--state-dir"])
            .arg(self.dir.path().join("state"))
            .args(["--operator", "the end-to-end test"])
            .args(args)
            .stdin(Stdio::null());
        command
    }

    fn fleet_command(&self, args: &[&str]) -> Command {
        let ports = self.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" ");
        let mut command = Command::new(example().join("fleet"));
        command.args(args).env("FLEET_DIR", self.dir.path()).env("FLEET_PORTS", ports).stdin(Stdio::null());
        command
    }

    fn fleet(&mut self, args: &[&str]) -> Result<(), String> {
        let output = self.fleet_command(args).output().map_err(text)?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("fleet {} failed: {}", args.join(" "), String::from_utf8_lossy(&output.stderr)))
    }

    fn note(&mut self, args: &[&str], output: Option<&Output>) {
        let said = output.map_or_else(String::new, |output| {
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        });
        let status = output.map_or_else(|| "did not run".to_owned(), |output| output.status.to_string());
        self.log.push(format!("$ keyroll {}\n{said}({status})", args.join(" ")));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.fleet_command(&["stop"]).output();
    }
}

/// Lints a project with each of the example's mistakes, and one without any.
pub(crate) fn lints_are_named() -> Result<(), String> {
    let dir = tempfile::Builder::new().prefix("keyroll-rails-").tempdir().map_err(text)?;
    let initializers = dir.path().join("config/initializers");
    std::fs::create_dir_all(&initializers).map_err(text)?;
    std::fs::copy(example().join("keyroll.yaml"), dir.path().join("keyroll.yaml")).map_err(text)?;
    let (initializer, secrets) = (initializers.join("keyroll.rb"), dir.path().join("config/secrets.yml"));
    for (ruby, yaml, lint) in [
        (Some("keyroll_initializer.rb"), None, None),
        (None, None, Some("no-initializer")),
        (Some("faults/wrong_salt.rb"), None, Some("wrong-salt")),
        (Some("faults/wrong_digest.rb"), None, Some("fixed-digest")),
        (Some("faults/signed_not_rotated.rb"), None, Some("signed-not-rotated")),
        (Some("keyroll_initializer.rb"), Some("faults/secrets_without_erb.yml"), Some("yaml-without-erb")),
        (Some("keyroll_initializer.rb"), Some("faults/old_and_new_equal.yml"), Some("old-and-new-equal")),
    ] {
        for (source, target) in [(ruby, &initializer), (yaml, &secrets)] {
            match source {
                Some(source) => drop(std::fs::copy(example().join(source), target).map_err(text)?),
                None => drop(std::fs::remove_file(target)),
            }
        }
        let output = Command::new(env!("CARGO_BIN_EXE_keyroll"))
            .args(["--format", "json", "lint", "--project", "."])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .output()
            .map_err(text)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let named: Vec<&str> =
            LINTS.into_iter().filter(|(_, words)| said.contains(words)).map(|(lint, _)| lint).collect();
        if named != lint.into_iter().collect::<Vec<_>>() {
            return Err(format!("with {ruby:?} and {yaml:?} lint names {named:?} and not {lint:?}: {said}"));
        }
    }
    Ok(())
}

/// What a run of the binary came to.
pub(crate) struct Ran {
    what: String,
    output: Result<Output, String>,
}

impl Ran {
    pub(crate) fn exits(&self, code: i32) -> Result<(), String> {
        match self.output.as_ref()?.status.code() {
            Some(found) if found == code => Ok(()),
            found => Err(format!("`{}` ended with {found:?} instead of {code}: {}", self.what, self.said()?)),
        }
    }

    pub(crate) fn does_not_exit(&self, code: i32) -> Result<(), String> {
        match self.exits(code) {
            Ok(()) => Err(format!("`{}` ended with {code}: {}", self.what, self.said()?)),
            Err(_) => Ok(()),
        }
    }

    pub(crate) fn fails(&self) -> Result<(), String> {
        self.does_not_exit(0)
    }

    pub(crate) fn says(&self, words: &str) -> Result<(), String> {
        let said = self.said()?;
        if said.contains(words) { Ok(()) } else { Err(format!("`{}` does not say `{words}`: {said}", self.what)) }
    }

    pub(crate) fn said(&self) -> Result<String, String> {
        let output = self.output.as_ref()?;
        Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    }
}

/// A run of the binary that goes on.
pub(crate) struct Background {
    what: String,
    child: Child,
}

impl Background {
    pub(crate) fn ends(mut self, code: i32) -> Result<(), String> {
        let status = self.child.wait().map_err(text)?;
        if status.code() == Some(code) {
            return Ok(());
        }
        let mut said = String::new();
        for pipe in [
            self.child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn std::io::Read>),
            self.child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn std::io::Read>),
        ]
        .into_iter()
        .flatten()
        {
            let mut pipe = pipe;
            let _ = pipe.read_to_string(&mut said);
        }
        Err(format!("`{}` ended with {status} instead of {code}: {said}", self.what))
    }
}

pub(crate) fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/rails")
}

fn random_key() -> Result<Secret, String> {
    let mut bytes = [0u8; 64];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).map_err(text)?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Secret::from_text(&digits))
}

fn text(err: impl std::fmt::Display) -> String {
    err.to_string()
}

#[expect(clippy::disallowed_methods, reason = "real processes live in real time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::print_stderr, reason = "the table of the example")]
fn report(line: &str) {
    eprintln!("{line}");
}

/// Each of the mistakes, and words of the finding that names it.
const LINTS: [(&str, &str); 6] = [
    ("no-initializer", "nothing in the application uses `cookies_rotations`"),
    ("wrong-salt", "the salt of the older CBC cookies"),
    ("fixed-digest", "the digest of the derivation is fixed here"),
    ("signed-not-rotated", "encrypted cookies are rotated and signed ones are not"),
    ("yaml-without-erb", "ERB tags are missing"),
    ("old-and-new-equal", "the old key and the current key are read from the same place"),
];
const COOKIE: &str = "_shop_session";
const USERS: u32 = 20;
const LIFETIME: Duration = Duration::from_secs(8);
