//! What people type and what they get: transcripts of commands that need no fleet, with their exit codes.
//!
//! The exit codes are an interface, so each test states the number and not only that something failed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use keyroll_testkit::{Need, Suite};
use libtest_mimic::Failed;

fn main() {
    let mut suite = Suite::new()
        .test("a command line that is not understood is a usage error", || {
            let folder = tempfile::tempdir()?;
            for words in [&["nonsense"][..], &["rotate", "--until", "yesterday"], &["reload"], &["revoke"]] {
                keyroll(folder.path(), words)?.exits(64)?;
            }
            keyroll(folder.path(), &["--help"])?.exits(0)?.says("Exit codes")?;
            Ok(())
        })
        .test("a missing configuration says how to write one", || {
            let folder = tempfile::tempdir()?;
            for words in [&["plan"][..], &["rotate"], &["status"], &["audit", "verify"], &["lint"]] {
                keyroll(folder.path(), words)?.exits(64)?.says("keyroll init")?;
            }
            Ok(())
        })
        .test("a configuration that is there and can't be read is not to be written anew", || {
            let folder = tempfile::tempdir()?;
            keyroll(folder.path(), &["status", "-c", "."])?
                .exits(64)?
                .says("--config")?
                .does_not_say("keyroll init")?;
            fs::write(folder.path().join("keyroll.yaml"), b"\xff\xfe")?;
            keyroll(folder.path(), &["status"])?.exits(64)?.says("a text file")?.does_not_say("keyroll init")?;
            Ok(())
        })
        .test("the record says who drives, and not nobody", || {
            let folder = tempfile::tempdir()?;
            fs::write(folder.path().join("keyroll.yaml"), format!("{HEAD}{RAILS}"))?;
            for name in ["", " "] {
                keyroll(folder.path(), &["rotate", "--operator", name])?.exits(64)?.says("who drives")?;
            }
            Ok(())
        })
        .test("what a replica of the demo runs is shown by no help, manual or completion", || {
            let folder = tempfile::tempdir()?;
            for words in
                [&["--help"][..], &["man"], &["completions", "bash"], &["completions", "zsh"], &["completions", "fish"]]
            {
                let run = keyroll(folder.path(), words)?;
                run.exits(0)?.says("rollback")?.does_not_say("replica of the demo")?.does_not_say("demo-replica")?;
            }
            Ok(())
        })
        .test_with("the completions are taken by their shells, and complete", &[Need::OtherShells], || {
            let folder = tempfile::tempdir()?;
            for (shell, completes) in [
                ("bash", "source ./bash; COMP_WORDS=(keyroll roll); COMP_CWORD=1; _keyroll keyroll roll keyroll; echo ${COMPREPLY[@]}"),
                ("zsh", "autoload -U compinit; compinit -u -d ./dump; source ./zsh; whence -w _keyroll; grep -o rollback ./zsh"),
                ("fish", "source ./fish; complete -C 'keyroll roll'"),
            ] {
                let script = keyroll(folder.path(), &["completions", shell])?;
                fs::write(folder.path().join(shell), &script.exits(0)?.stdout)?;
                for arguments in [&["-n", shell][..], &["-c", completes]] {
                    let ran = Command::new(shell).args(arguments).current_dir(folder.path()).stdin(Stdio::null()).output()?;
                    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
                    let complained = String::from_utf8_lossy(&ran.stderr).into_owned();
                    if !ran.status.success() || (arguments[0] == "-c" && !said.contains("rollback")) {
                        return Err(format!("{shell} {arguments:?}: {}: {said}{complained}", ran.status).into());
                    }
                }
            }
            Ok(())
        })
        .test("a simulation of nothing is refused, and not taken for one that lost nothing", || {
            let folder = tempfile::tempdir()?;
            keyroll(folder.path(), &["simulate", "--runs", "0"])?.exits(64)?.says("--runs")?;
            keyroll(folder.path(), &["simulate", "--members", "0"])?.exits(64)?.says("--members")?;
            keyroll(folder.path(), &["simulate", "--members", "1001"])?.exits(64)?.says("--members")?;
            Ok(())
        })
        .test("a token that can't be minted says what to give", || {
            let folder = tempfile::tempdir()?;
            fs::write(folder.path().join("key"), b"0123456789abcdeffedcba98-6543210")?;
            fs::write(folder.path().join("payload"), "{}")?;
            let mint = ["token", "mint", "--codec", "sealed", "--encoding", "raw", "--payload", "payload"];
            keyroll(folder.path(), &[&mint[..], &["--key-file", "key"]].concat())?.exits(64)?.says("--set cookie=")?;
            let mint = [&mint[..], &["--set", "cookie=session"]].concat();
            let run = keyroll(folder.path(), &[&mint[..], &["--key-file", "key"]].concat())?;
            run.exits(1)?.says("--lifetime 1h")?;
            keyroll(folder.path(), &[&mint[..], &["--key-file", "key", "--lifetime", "1h"]].concat())?.exits(0)?;
            let run = keyroll(folder.path(), &[&mint[..], &["--key-file", "payload", "--lifetime", "1h"]].concat())?;
            run.exits(1)?.says("--encoding")?;
            Ok(())
        })
        .test("a key goes to a file or as it is, and never into JSON", || {
            let folder = tempfile::tempdir()?;
            let json = ["key", "generate", "--format", "json"];
            keyroll(folder.path(), &json)?.exits(64)?.says("--output")?;
            let written = keyroll(folder.path(), &[&json[..], &["-o", "key"]].concat())?.exits(0)?.json()?;
            assert_eq!((&written["schema_version"], &written["file"]), (&1.into(), &"key".into()));
            let shown =
                keyroll(folder.path(), &["key", "fingerprint", "--key-file", "key", "--format", "json"])?.json()?;
            assert_eq!(written["fingerprint"], shown["fingerprint"]);
            Ok(())
        })
        .test("a fingerprint says why a key gets none, and that blanks around a key make another one of it", || {
            let folder = tempfile::tempdir()?;
            let fingerprint = ["key", "fingerprint", "--key-file", "key"];
            for (key, reason) in [
                ("changeme", "the key is a published sample that anybody can look up"),
                (r#"ENV["OLD_SECRET_KEY_BASE"]"#, "the key is the text of a template that was never filled in"),
                (&"a".repeat(128), "the key is one byte repeated"),
            ] {
                fs::write(folder.path().join("key"), key)?;
                keyroll(folder.path(), &fingerprint)?.exits(1)?.says(reason)?;
            }
            fs::remove_file(folder.path().join("key"))?;
            keyroll(folder.path(), &["key", "generate", "-o", "key"])?.exits(0)?;
            let key = fs::read_to_string(folder.path().join("key"))?;
            let json = [&fingerprint[..], &["--format", "json"]].concat();
            let bare = keyroll(folder.path(), &json)?.exits(0)?.json()?;
            assert!(bare["stripped"].is_null());
            fs::write(folder.path().join("key"), format!("{key}\n"))?;
            assert_eq!(keyroll(folder.path(), &json)?.exits(0)?.json()?, bare, "a text file ends with a line break");
            fs::write(folder.path().join("key"), format!("{key} \n"))?;
            keyroll(folder.path(), &fingerprint)?.exits(0)?.says("strip it?")?;
            let doubtful = keyroll(folder.path(), &json)?.exits(0)?.json()?;
            assert_eq!(doubtful["stripped"], bare["fingerprint"]);
            assert_ne!(doubtful["fingerprint"], bare["fingerprint"]);
            Ok(())
        })
        .test("an unknown field is shown with its line and the name that was meant", || {
            let folder = tempfile::tempdir()?;
            fs::write(folder.path().join("keyroll.yaml"), format!("{HEAD}  profil: rails\n"))?;
            keyroll(folder.path(), &["lint"])?
                .exits(64)?
                .says("keyroll.yaml:5:3")?
                .says("unknown field `profil`")?
                .says("did you mean `profile`?")?;
            let json = keyroll(folder.path(), &["lint", "--format", "json"])?.exits(64)?.json()?;
            assert_eq!((&json["kind"], &json["exit"]), (&"error".into(), &64.into()));
            Ok(())
        })
        .test("a duration that is none is a usage error before anything is touched", || {
            let folder = tempfile::tempdir()?;
            fs::write(folder.path().join("keyroll.yaml"), format!("{HEAD}{RAILS}"))?;
            keyroll(folder.path(), &["rotate", "--wait", "soon"])?.exits(64)?.says("write it like 90s")?;
            Ok(())
        })
        .test("a revocation without anybody to say yes is left to a human", || {
            let folder = tempfile::tempdir()?;
            fs::write(folder.path().join("keyroll.yaml"), format!("{HEAD}{RAILS}"))?;
            keyroll(folder.path(), &["revoke", "--mode", "hard-cutover"])?.exits(8)?.says("nothing was changed")?;
            Ok(())
        })
        .test("a note does not fail the lint, and a warning does", || {
            let folder = tempfile::tempdir()?;
            let file = folder.path().join("keyroll.yaml");
            fs::write(&file, format!("{HEAD}{ONE_PROCESS}"))?;
            keyroll(folder.path(), &["lint"])?.exits(0)?.says("note: ")?.says("there is one process")?;
            fs::write(&file, format!("{HEAD}{ONE_PROCESS}").replace("leeway: 30s", "leeway: 1s"))?;
            keyroll(folder.path(), &["lint"])?.exits(1)?.says("warning: ")?;
            Ok(())
        })
        .test("init does not guess, and replaces nothing unasked", || {
            let folder = tempfile::tempdir()?;
            keyroll(folder.path(), &["init"])?.exits(64)?.says("say which with --profile")?;
            keyroll(folder.path(), &["init", "--profile", "cobol"])?.exits(64)?;
            keyroll(folder.path(), &["init", "--profile", "flask"])?.exits(0)?;
            let before = fs::read(folder.path().join("keyroll.yaml"))?;
            keyroll(folder.path(), &["init", "--profile", "rails"])?.exits(64)?.says("--overwrite")?;
            assert_eq!(fs::read(folder.path().join("keyroll.yaml"))?, before);
            Ok(())
        });
    for (name, file, text, reads) in PROJECTS {
        let title = format!("lint accepts what init writes for a project of {name}, and finds the missing initializer");
        suite = suite.test(&title, move || {
            let folder = tempfile::tempdir()?;
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap_or_else(|| folder.path()))?;
            fs::write(&path, text)?;
            // The key's file may have a name that YAML would read otherwise.
            let said = keyroll(folder.path(), &["init", "--env-file", "shared: x/.env #1"])?;
            said.exits(0)?.says(reads)?;
            let written = fs::read_to_string(folder.path().join("keyroll.yaml"))?;
            // The first lines say what the mark means.
            let marked = written.lines().skip(3).filter(|line| line.contains("FILL IN")).count();
            said.says(&format!("fill in the {marked} lines"))?.says("until it does, `keyroll lint`")?;
            let json = keyroll(folder.path(), &["init", "--overwrite", "--format", "json"])?.exits(0)?.json()?;
            assert_eq!(json["framework"], *name);
            let code = json["initializer"]["text"].as_str().ok_or("init shows no initializer")?;
            let place = folder.path().join(json["initializer"]["path"].as_str().ok_or("it has no place")?);
            fs::create_dir_all(place.parent().unwrap_or_else(|| folder.path()))?;
            assert_eq!(json["marked"], marked);
            // What the application lacks is found, in the file nothing is, and what `init` printed mends it.
            let lint = keyroll(folder.path(), &["lint", "--format", "json"])?.exits(1)?.json()?;
            let findings = lint["findings"].as_array().ok_or("lint gives no findings")?;
            let of_file = |finding: &&serde_json::Value| {
                finding["severity"] != "note"
                    && finding["place"].as_str().is_none_or(|place| place.contains("keyroll.yaml"))
            };
            assert!(!findings.is_empty() && findings.iter().find(of_file).is_none(), "{lint}");
            keyroll(folder.path(), &["lint", "--project", "nowhere"])?.exits(64)?.says("--project")?;
            fs::write(place, code)?;
            keyroll(folder.path(), &["lint"])?.exits(0)?;
            Ok(())
        });
    }
    suite.run()
}

/// What a command printed and how it ended.
struct Run {
    words: String,
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    fn exits(&self, code: i32) -> Result<&Self, Failed> {
        if self.code == Some(code) { Ok(self) } else { Err(self.failed(&format!("should exit with {code}"))) }
    }

    fn says(&self, text: &str) -> Result<&Self, Failed> {
        let said = self.stdout.contains(text) || self.stderr.contains(text);
        if said { Ok(self) } else { Err(self.failed(&format!("should say `{text}`"))) }
    }

    fn does_not_say(&self, text: &str) -> Result<&Self, Failed> {
        let said = self.stdout.contains(text) || self.stderr.contains(text);
        if said { Err(self.failed(&format!("should not say `{text}`"))) } else { Ok(self) }
    }

    fn json(&self) -> Result<serde_json::Value, Failed> {
        serde_json::from_str(&self.stdout)
            .map_err(|err| self.failed(&format!("should print one JSON document ({err})")))
    }

    fn failed(&self, what: &str) -> Failed {
        let Self { words, code, stdout, stderr } = self;
        format!("`keyroll {words}` {what}; it exited with {code:?}\n{stdout}{stderr}").into()
    }
}

/// Runs the binary in `folder`, with nobody at the keyboard.
fn keyroll(folder: &Path, words: &[&str]) -> Result<Run, Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_keyroll"))
        .args(words)
        .current_dir(folder)
        .env_remove("KEYROLL_CONFIG")
        .env("KEYROLL_STATE_DIR", folder.join("state"))
        .stdin(Stdio::null())
        .output()?;
    Ok(Run {
        words: words.join(" "),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Framework, a file that gives the project away, its text, and where `init` says the code goes.
const PROJECTS: &[(&str, &str, &str, &str)] = &[
    ("rails", "config/application.rb", "config.load_defaults 7.1\n", "config/initializers/keyroll_cookie_rotation.rb"),
    ("django", "manage.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n", "settings.py"),
    ("flask", "requirements.txt", "flask==3.1.1\n", "app.py"),
    ("express", "package.json", "{\"dependencies\":{\"express-session\":\"^1\"}}", "app.js"),
];

const HEAD: &str = "apiVersion: keyroll.dev/v1alpha1\nkind: SessionKey\nmetadata: { name: shop }\nspec:\n";

const RAILS: &str = "  profile: { name: rails, cookie: _shop }
  store: { envFile: { path: shop.env } }
  consumers:
    - command: { list: [./fleet, list], reload: [./fleet, reload, \"{member}\"] }
  sessions: { maxLifetime: 3h, drain: lifetime }
  probe: { path: /me, accepted: { reissue: true } }
";

const ONE_PROCESS: &str = "  profile: keyroll
  store: { file: { path: keys } }
  consumers:
    - process: { command: [./app], ports: [9001] }
  sessions: { maxLifetime: 3h, leeway: 30s, drain: lifetime }
  probe: { path: /me, accepted: [200], rejected: [401] }
";
