//! A fleet of three real processes, its `keyroll.yaml`, and the hands of its operators.
//!
//! The replicas die with the test process, so a test that fails leaves nothing behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use keyroll_adapters::fleets::{Fleet, ProcessFleet, ReloadId, ReloadRequest, ReloadTarget};
use keyroll_engine::config::{ConsumerKind, SessionKey};
use keyroll_fleetlab::replica::Mode;
use keyroll_fleetlab::scene::{Scene, SceneOptions};
use libtest_mimic::Failed;

/// What differs between the fleets of the tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// The longest life of a session, which is how long a drain takes.
    pub(crate) lifetime: Duration,
    /// How long a gate waits for members that may still start from an older file.
    pub(crate) settle: Duration,
    /// How long the old key is kept.
    pub(crate) escrow: Duration,
    /// Whether sessions opened are counted by key, and the counter ends the drain.
    pub(crate) counter: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(2),
            settle: Duration::ZERO,
            escrow: Duration::from_secs(3600),
            counter: false,
        }
    }
}

/// A running fleet.
pub(crate) struct Lab {
    scene: Scene,
    runtime: tokio::runtime::Runtime,
    fleet: ProcessFleet,
    settings: Settings,
}

/// A session in a user's hands.
pub(crate) struct Session {
    cookie: String,
}

impl Lab {
    /// Starts three replicas over a new key.
    pub(crate) fn start(settings: Settings) -> Result<Self, Failed> {
        let options = SceneOptions { mode: Mode::Sealed, replicas: 3, lifetime: settings.lifetime };
        let (scene, _) = Scene::prepare(options)?;
        let config = scene.folder().join("keyroll.yaml");
        fs::write(&config, keyroll_yaml(&scene, settings, PROBE))?;
        let config = SessionKey::load(&config)?;
        let consumer = config.consumers.first();
        let ConsumerKind::Process(process) = &consumer.kind else {
            return Err("the fleet is not one of processes".into());
        };
        let fleet = keyroll_engine::process_fleet(&consumer.name, process, &scene.folder().join("state").join(NAME))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(fleet.start_all())?;
        let lab = Self { scene, runtime, fleet, settings };
        for replica in 0..3 {
            lab.wait_for_another_run(replica, None)?;
        }
        Ok(lab)
    }

    /// Which run of a replica answers, if one does.
    fn run_of(&self, replica: usize) -> Option<String> {
        let address = self.scene.addresses()[replica];
        self.runtime.block_on(async {
            let answer = reqwest::get(format!("http://{address}/healthz")).await.ok()?.text().await.ok()?;
            let answer: serde_json::Value = serde_json::from_str(&answer).ok()?;
            answer["boot"].as_str().map(str::to_owned)
        })
    }

    fn wait_for_another_run(&self, replica: usize, than: Option<&str>) -> Result<(), Failed> {
        let deadline = now() + LONGEST;
        while now() < deadline {
            if self.run_of(replica).is_some_and(|run| Some(run.as_str()) != than) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("replica {replica} did not come back within {} s", LONGEST.as_secs()).into())
    }

    /// The folder of everything: the key file, `keyroll.yaml`, the state.
    pub(crate) fn folder(&self) -> &Path {
        self.scene.folder()
    }

    /// The key file.
    pub(crate) fn keys(&self) -> PathBuf {
        self.scene.keys()
    }

    /// The folder of this key's journal.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder().join("state").join(NAME)
    }

    /// Runs the binary to its end, with nobody at the keyboard.
    pub(crate) fn keyroll(&self, words: &[&str]) -> Result<Ran, Failed> {
        self.keyroll_as("ada", words)
    }

    /// The same, in another operator's name.
    pub(crate) fn keyroll_as(&self, operator: &str, words: &[&str]) -> Result<Ran, Failed> {
        let child = self.begin(operator, words)?;
        child.end()
    }

    /// Starts the binary and comes back at once.
    pub(crate) fn begin(&self, operator: &str, words: &[&str]) -> Result<Running, Failed> {
        let child = Command::new(KEYROLL)
            .args(words)
            .current_dir(self.folder())
            .env_remove("KEYROLL_CONFIG")
            .env("KEYROLL_STATE_DIR", self.folder().join("state"))
            .env("KEYROLL_OPERATOR", operator)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Running { words: words.join(" "), child })
    }

    /// Waits until `keyroll status` shows the rotation in this stage.
    pub(crate) fn wait_for_stage(&self, stage: &str) -> Result<(), Failed> {
        let deadline = now() + LONGEST;
        while now() < deadline {
            let status = self.keyroll(&["status", "--format", "json"])?.exits(0)?.json()?;
            if status["rotation"]["stage"] == stage {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("the rotation did not come to {stage} within {} s", LONGEST.as_secs()).into())
    }

    /// Runs the command again and again until it says this.
    pub(crate) fn wait_until_said(&self, words: &[&str], text: &str) -> Result<(), Failed> {
        let deadline = now() + LONGEST;
        loop {
            let ran = self.keyroll(words)?;
            if ran.says(text).is_ok() || now() > deadline {
                return ran.says(text).map(drop);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A `keyroll.yaml` beside the fleet's own, with another probe and, if given, with commands that reload the members.
    pub(crate) fn write_config(&self, name: &str, probe: &str, commands: Option<&str>) -> Result<(), Failed> {
        let mut text = keyroll_yaml(&self.scene, self.settings, probe);
        if let Some(commands) = commands {
            let process = text.lines().find(|line| line.contains("process:")).unwrap_or_default().to_owned();
            text = text.replace(&process, &format!("      command: {{ {commands} }}"));
        }
        fs::write(self.folder().join(name), text)?;
        Ok(())
    }

    /// The members as a command would list them.
    pub(crate) fn members(&self) -> Result<String, Failed> {
        let members = self.runtime.block_on(self.fleet.members())?;
        let lines = members.iter().map(|member| {
            let address = member.address.as_ref().map(ToString::to_string);
            serde_json::json!({ "id": member.id.0, "boot": member.boot.0, "address": address }).to_string()
        });
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    /// Logs in at one replica.
    pub(crate) fn log_in(&self, replica: usize) -> Result<Session, Failed> {
        let address = self.scene.addresses()[replica];
        self.runtime.block_on(async {
            let request = reqwest::Client::new().post(format!("http://{address}/login")).body("user=uma");
            let response = request.send().await?;
            let cookie = response.headers().get("set-cookie").and_then(|value| value.to_str().ok());
            let cookie = cookie.and_then(|value| value.split(';').next()).ok_or("the login set no cookie")?;
            Ok(Session { cookie: cookie.to_owned() })
        })
    }

    /// A session that any replica begins now is accepted by all of them.
    pub(crate) fn everybody_can_log_in(&self) -> Result<(), Failed> {
        for replica in 0..3 {
            let accepted = self.accepted_by(&self.log_in(replica)?)?;
            if accepted != 3 {
                return Err(format!("a session of replica {replica} is accepted by {accepted} of 3").into());
            }
        }
        Ok(())
    }

    /// How many of the replicas accept the session.
    pub(crate) fn accepted_by(&self, session: &Session) -> Result<usize, Failed> {
        let mut accepted = 0;
        for address in self.scene.addresses() {
            let request = reqwest::Client::new().get(format!("http://{address}/me")).header("cookie", &session.cookie);
            let answer = self.runtime.block_on(request.send()).map_err(|err| format!("{err:?}"))?;
            accepted += usize::from(answer.status().is_success());
        }
        Ok(accepted)
    }

    /// Somebody else restarts a replica, and it is back.
    pub(crate) fn restart(&self, replica: usize) -> Result<(), Failed> {
        let before = self.run_of(replica);
        self.runtime.block_on(async {
            let members = self.fleet.members().await?;
            let member = members.get(replica).ok_or("there is no such replica")?;
            let request = ReloadRequest {
                id: ReloadId(format!("by hand/{}", member.boot.0)),
                target: ReloadTarget::Member { id: member.id.clone(), boot: member.boot.clone() },
            };
            self.fleet.reload(&request).await?;
            Ok::<_, Failed>(())
        })?;
        self.wait_for_another_run(replica, before.as_deref())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Whatever is left dies with this process.
        let _ = self.runtime.block_on(self.fleet.stop_all());
    }
}

/// A binary that runs.
pub(crate) struct Running {
    words: String,
    child: Child,
}

impl Running {
    /// Ctrl-C.
    pub(crate) fn interrupt(&self) -> Result<(), Failed> {
        let pid = rustix::process::Pid::from_child(&self.child);
        Ok(rustix::process::kill_process(pid, rustix::process::Signal::INT)?)
    }

    /// Waits for its end.
    pub(crate) fn end(self) -> Result<Ran, Failed> {
        let Output { status, stdout, stderr } = self.child.wait_with_output()?;
        Ok(Ran {
            words: self.words,
            code: status.code(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }
}

/// What a command printed and how it ended.
pub(crate) struct Ran {
    words: String,
    code: Option<i32>,
    pub(crate) stdout: String,
    stderr: String,
}

impl Ran {
    /// It ended with this exit code.
    pub(crate) fn exits(&self, code: i32) -> Result<&Self, Failed> {
        if self.code == Some(code) { Ok(self) } else { Err(self.failed(&format!("should exit with {code}"))) }
    }

    /// It said this, wherever.
    pub(crate) fn says(&self, text: &str) -> Result<&Self, Failed> {
        let said = self.stdout.contains(text) || self.stderr.contains(text);
        if said { Ok(self) } else { Err(self.failed(&format!("should say `{text}`"))) }
    }

    /// It said this nowhere.
    pub(crate) fn does_not_say(&self, text: &str) -> Result<&Self, Failed> {
        let said = self.stdout.contains(text) || self.stderr.contains(text);
        if said { Err(self.failed(&format!("should not say `{text}`"))) } else { Ok(self) }
    }

    /// The last JSON document of standard output.
    pub(crate) fn json(&self) -> Result<serde_json::Value, Failed> {
        let last = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last).map_err(|err| self.failed(&format!("should end with a JSON document ({err})")))
    }

    /// A failure that shows all that was said.
    pub(crate) fn failed(&self, what: &str) -> Failed {
        let Self { words, code, stdout, stderr } = self;
        format!("`keyroll {words}` {what}; it exited with {code:?}\n{stdout}{stderr}").into()
    }
}

fn keyroll_yaml(scene: &Scene, settings: Settings, probe: &str) -> String {
    let ports: Vec<u16> = scene.addresses().iter().map(std::net::SocketAddr::port).collect();
    let command = serde_json::json!(scene.command(KEYROLL.as_ref(), "demo-replica"));
    let (drain, counter) =
        if settings.counter { ("drain: counter", ", counter: { every: 1s }") } else { ("drain: lifetime", "") };
    format!(
        "apiVersion: keyroll.dev/v1alpha1
kind: SessionKey
metadata: {{ name: {NAME} }}
spec:
  profile: keyroll
  store: {{ file: {{ path: keys }} }}
  consumers:
    - name: web
      process: {{ command: {command}, ports: {ports:?}, ready: {{ path: /healthz }} }}
  sessions: {{ maxLifetime: {}s, leeway: 1s, {drain} }}
  probe: {{ {probe}, payload: {{ json: {{ user: keyroll-probe, session: 00000000-0000-4000-8000-000000000000, expires_at: 4102444800 }} }} }}
  policy: {{ settle: {}ms, escrow: {}s }}
  evidence: {{ report: {{ path: /.keyroll/ring }}{counter} }}
",
        settings.lifetime.as_secs(),
        settings.settle.as_millis(),
        settings.escrow.as_secs(),
    )
}

#[expect(clippy::disallowed_methods, reason = "the test watches real processes")]
fn now() -> Instant {
    Instant::now()
}

/// What the key is called.
pub(crate) const NAME: &str = "shop";

/// What tells an accepted session from a rejected one, for the replicas as they are.
pub(crate) const PROBE: &str = "path: /me, accepted: [200], rejected: [401]";
const KEYROLL: &str = env!("CARGO_BIN_EXE_keyroll");
const LONGEST: Duration = Duration::from_secs(60);
