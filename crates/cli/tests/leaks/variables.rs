//! An environment file: the application gets its key as a variable, commands of the user's get nothing.
//!
//! Those commands are this test's own binary. It writes down its arguments, its environment and its standard input, so that not
//! even the shortest command is missed between two looks at `/proc`.

use std::fs;
use std::io::Read;
use std::path::Path;

use keyroll_fleetlab::ports::Ports;
use keyroll_fleetlab::replica::Mode;
use keyroll_keyring::{KeyId, Profile};
use libtest_mimic::Failed;

use super::lab::Lab;
use super::mistakes;
use super::ring::{Fleet, application};

/// The whole story, in one format.
pub(crate) fn story(lab: &Lab<'_>) -> Result<(), Failed> {
    let key = Profile::builtin("rails")?.candidate(KeyId(1))?.material().duplicate();
    let key = String::from_utf8_lossy(key.expose()).into_owned();
    let env = format!("# the shop's settings\nSHOP=1\nSECRET_KEY_BASE={key}\n");
    fs::write(lab.folder.join("shop.env"), &env)?;
    fs::create_dir_all(lab.folder.join(SPIED))?;
    begin(&lab.folder)?;
    let ports = Ports::claim(1)?;
    fs::write(lab.folder.join("keyroll.yaml"), configuration(lab, &ports)?)?;
    let _fleet = Fleet::start(lab)?;

    lab.keyroll(&["preflight"])?;
    lab.keyroll(&["rotate", "--evidence", "weak", "--until", "accepting"])?.exits(&[3])?;
    lab.keyroll(&["verify"])?;
    lab.keyroll(&["reload", "--member", "spy-1"])?;
    lab.keyroll(&["reload", "--member", "nobody"])?;
    lab.keyroll(&["rotate", "--evidence", "weak"])?.exits(&[0])?;
    lab.keyroll(&["revoke", "--mode", "hard-cutover", "--yes"])?;

    let key = fs::read_to_string(lab.folder.join("shop.env"))?;
    let key = key.lines().find_map(|line| line.strip_prefix("SECRET_KEY_BASE=")).ok_or("there is no key")?.to_owned();
    lab.watch.seen().keys.learn("a short key", &key.as_bytes()[..20]);
    let half = &key[..20];
    let damages: Vec<(&str, Vec<u8>)> = [
        ("a short key", format!("SECRET_KEY_BASE={half}\n")),
        ("one byte again and again", format!("SECRET_KEY_BASE={}\n", "q".repeat(128))),
        ("a template", format!("SECRET_KEY_BASE='${{{half}}}'\n")),
        ("blanks around the key", format!("SECRET_KEY_BASE=' {key} '\n")),
        ("a quote that is not closed", format!("SECRET_KEY_BASE=\"{key}\n")),
        ("a key that stands twice", format!("SECRET_KEY_BASE={key}\nSECRET_KEY_BASE={key}\n")),
        ("old and new alike", format!("SECRET_KEY_BASE={key}\nSECRET_KEY_BASE_ACCEPT={key}\n")),
        ("words that no reader agrees on", format!("SECRET_KEY_BASE={key}$x\\\n")),
        ("a key without a name", format!("{key}\n")),
        ("a key that is the name", format!("export {key}=1\n")),
        ("no text", [key.as_bytes(), b"\0\xff\xfe"].concat().iter().map(|byte| char::from(*byte)).collect()),
    ]
    .into_iter()
    .map(|(what, text)| (what, text.into_bytes()))
    .collect();
    mistakes::in_file(lab, "shop.env", &damages, &[&["preflight"], &["verify"]])?;
    Ok(())
}

/// What this binary does when it stands for the user's own command.
#[expect(clippy::print_stdout, reason = "what it lists is its output")]
pub(crate) fn spy(words: &[String]) -> Result<(), Failed> {
    let [verb, folder, ..] = words else { return Err("spy list|reload FOLDER".into()) };
    let folder = Path::new(folder);
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input)?;
    let told = [fs::read("/proc/self/cmdline")?, fs::read("/proc/self/environ")?, input].concat();
    fs::write(folder.join(SPIED).join(format!("{verb}-{}", std::process::id())), told)?;
    // The boot is the time at which it began.
    let boot: u64 = fs::read_to_string(folder.join(BOOT))?.trim().parse()?;
    match verb.as_str() {
        "list" => {
            println!("{}", serde_json::json!({ "id": "spy-1", "boot": boot.to_string(), "startedAt": boot }));
            Ok(())
        }
        _ => begin(folder),
    }
}

/// The member that the spy stands for begins anew.
fn begin(folder: &Path) -> Result<(), Failed> {
    let now = jiff::Timestamp::now().as_millisecond();
    Ok(fs::write(folder.join(BOOT), now.to_string())?)
}

fn configuration(lab: &Lab<'_>, ports: &[u16]) -> Result<String, Failed> {
    // It seals its sessions with this one and has the other as a variable only.
    let key = lab.input("app-key", "thirty-two bytes of its own key.")?;
    let command = application(Mode::OneKey, key.into());
    let this = std::env::current_exe()?;
    let list = serde_json::json!([this, SPY, "list", lab.folder]);
    let reload = serde_json::json!([this, SPY, "reload", lab.folder, "{member}"]);
    Ok(format!(
        "apiVersion: keyroll.dev/v1alpha1\n\
         kind: SessionKey\n\
         metadata: {{ name: variables }}\n\
         spec:\n\
         \x20 profile: {{ name: rails, cookie: _shop }}\n\
         \x20 store: {{ envFile: {{ path: shop.env }} }}\n\
         \x20 consumers:\n\
         \x20   - name: app\n\
         \x20     process:\n\
         \x20       command: {command}\n\
         \x20       envFile: shop.env\n\
         \x20       ports: {ports:?}\n\
         \x20       ready: {{ path: /healthz }}\n\
         \x20   - name: spy\n\
         \x20     worker: true\n\
         \x20     command: {{ list: {list}, reload: {reload} }}\n\
         \x20 sessions: {{ maxLifetime: 1s, leeway: 1s, drain: lifetime }}\n\
         \x20 evidence: {{ orchestrator: P1 }}\n\
         \x20 policy: {{ settle: 0s, escrow: 1h }}\n"
    ))
}

/// The lab's name.
pub(crate) const NAME: &str = "variables";
/// The first word of this binary's arguments where it is a command of the user's.
pub(crate) const SPY: &str = "spy";
/// The folder in which those commands write down what they were told.
pub(crate) const SPIED: &str = "spied";
const BOOT: &str = "boot";
