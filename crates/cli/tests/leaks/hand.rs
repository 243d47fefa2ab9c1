//! The commands that need no fleet: keys and tokens by hand, project files, and what only prints.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use keyroll_keyring::{Encoding, KeyId, Profile, Secret};
use libtest_mimic::Failed;

use super::lab::{Format, Formats, Lab};
use super::watch::ByDesign;

/// The whole story, in one format.
pub(crate) fn story(lab: &Lab<'_>) -> Result<(), Failed> {
    let key = Profile::builtin("rails")?.candidate(KeyId(1))?.material().duplicate();
    let other = Profile::builtin("rails")?.candidate(KeyId(1))?.material().duplicate();
    {
        let mut seen = lab.watch.seen();
        seen.keys.learn("the operator's key", key.expose());
        seen.keys.learn("the operator's other key", other.expose());
    }
    only_printing(lab)?;
    without_configuration(lab)?;
    generated(lab)?;
    fingerprints(lab, &key)?;
    tokens(lab, &key, &other)?;
    projects(lab, &key)
}

fn only_printing(lab: &Lab<'_>) -> Result<(), Failed> {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        lab.keyroll(&["completions", shell])?.exits(&[0])?;
    }
    lab.keyroll(&["completions", "nonsense"])?.exits(&[64])?;
    lab.keyroll(&["man"])?.exits(&[0])?;
    lab.keyroll(&["man", "nonsense"])?.exits(&[64])?;
    Ok(())
}

fn without_configuration(lab: &Lab<'_>) -> Result<(), Failed> {
    let commands: [&[&str]; 17] = [
        &["preflight"],
        &["plan"],
        &["rotate"],
        &["complete"],
        &["status"],
        &["explain"],
        &["pause"],
        &["resume"],
        &["rollback"],
        &["revoke", "--mode", "accelerated", "--yes"],
        &["reload", "--laggards"],
        &["verify"],
        &["history"],
        &["audit", "verify"],
        &["audit", "export"],
        &["unlock", "--id", "nobody"],
        &["simulate"],
    ];
    for words in commands {
        lab.keyroll(&[words, &["--config", "nothing.yaml"]].concat())?.exits(&[64])?;
    }
    Ok(())
}

fn generated(lab: &Lab<'_>) -> Result<(), Failed> {
    // A key on standard output is bare text, which no document can hold; of one in a file there is something to say.
    let printed: &[i32] = if lab.formats == Formats::Always(Format::Json) { &[64] } else { &[0] };
    for profile in ["rails", "django", "flask", "express", "keyroll"] {
        lab.keyroll(&["key", "generate", "--profile", profile])?.exits(printed)?;
    }
    let file = lab.input("generated.key", "")?;
    fs::remove_file(&file)?;
    lab.keyroll(&["key", "generate", "--output", &file])?.exits(&[0])?;
    let key = fs::read(&file)?;
    {
        let mut seen = lab.watch.seen();
        seen.learn_generated("a key that was generated into a file", &key);
        seen.exempt(ByDesign::Generated, &file, &key);
    }
    lab.keyroll(&["key", "generate", "--output", &file])?.exits(&[64])?;
    lab.keyroll(&["key", "generate", "--profile", "cobol"])?.exits(&[64])?;
    Ok(())
}

/// Each of the ways in which a key is handed over, in each encoding, right and wrong.
fn fingerprints(lab: &Lab<'_>, key: &Secret) -> Result<(), Failed> {
    let with_newline = [key.expose(), b"\n\n"].concat();
    let weak = b"zQ7-hunter-xkcd-9Wv".to_vec();
    lab.watch.seen().keys.learn("a weak key", &weak);
    let binary = key.decoded(Encoding::Hex)?;
    let spellings = [
        ("text", key.expose().to_vec()),
        ("newlines", with_newline),
        ("weak", weak),
        ("raw", binary.expose().to_vec()),
        ("base64", binary.encoded(Encoding::Base64).expose().to_vec()),
        ("base64url", binary.encoded(Encoding::Base64Url).expose().to_vec()),
        ("odd", key.expose()[1..].to_vec()),
    ];
    for (name, content) in &spellings {
        let file = lab.input(&format!("fingerprint-{name}"), content)?;
        for encoding in ["text", "hex", "base64", "base64url", "raw"] {
            lab.keyroll(&["key", "fingerprint", "--key-file", &file, "--encoding", encoding])?.exits(&[0, 1, 64])?;
        }
        lab.keyroll_with(&["key", "fingerprint", "--key-file", "-"], content, &[])?.exits(&[0, 1, 64])?;
    }
    lab.keyroll(&["key", "fingerprint", "--key-file", "nothing"])?.exits(&[64])?;
    let variable = [("LEAKS_OPERATORS_KEY", OsStr::from_bytes(key.expose()))];
    lab.keyroll_with(&["key", "fingerprint", "--key-env", "LEAKS_OPERATORS_KEY"], b"", &variable)?.exits(&[0])?;
    lab.keyroll_with(
        &["key", "fingerprint", "--encoding", "base64url", "--key-env", "LEAKS_OPERATORS_KEY"],
        b"",
        &[("LEAKS_OPERATORS_KEY", OsStr::from_bytes(&key.expose()[..125]))],
    )?
    .exits(&[64])?;
    Ok(())
}

fn tokens(lab: &Lab<'_>, key: &Secret, other: &Secret) -> Result<(), Failed> {
    let (key_file, other_file) = (lab.input("token.key", key.expose())?, lab.input("other.key", other.expose())?);
    let payload = lab.input("payload", r#"{"session_id":"0123456789abcdef","user":"alice"}"#)?;
    for codec in ["rails", "sealed"] {
        let cookie = if codec == "rails" { "cookie=_shop_session" } else { "cookie=session" };
        let format = ["--codec", codec, "--set", cookie];
        let (key_file, other_file) = match codec {
            "rails" => (key_file.clone(), other_file.clone()),
            _ => {
                let short = |name: &str, key: &Secret| lab.input(name, &key.expose()[..32]);
                (short("sealed.key", key)?, short("other-sealed.key", other)?)
            }
        };
        let lifetime: &[&str] = if codec == "sealed" { &["--lifetime", "1h"] } else { &[] };
        let mint = ["token", "mint", "--payload", &payload, "--key-file"];
        let minted = lab.keyroll(&[&mint[..], &[key_file.as_str()], &format, lifetime].concat())?.exits(&[0])?;
        let token = token_of(&minted.stdout);
        let file = lab.input("token", &token)?;
        let tampered = lab.input("tampered", token.replace(['a', 'Q'], "b"))?;
        let of = |verb, key, token| [&["token", verb, "--key-file", key, "--token", token][..], &format].concat();
        lab.keyroll(&of("open", &key_file, &file))?.exits(&[0])?;
        lab.keyroll(&of("open", &other_file, &file))?.exits(&[1])?;
        lab.keyroll(&of("open", &key_file, &tampered))?.exits(&[1])?;
        // The key where the token belongs, and the token where the key belongs.
        lab.keyroll(&of("open", &key_file, &key_file))?.exits(&[1])?;
        lab.keyroll(&of("open", &file, &file))?.exits(&[1, 64])?;
        let reseal = |from, token, to| [&of("reseal", from, token)[..], &["--to-key-file", to]].concat();
        lab.keyroll(&reseal(&key_file, &file, &other_file))?.exits(&[0])?;
        lab.keyroll(&reseal(&other_file, &file, &key_file))?.exits(&[1])?;
        lab.keyroll(&reseal(&key_file, &tampered, &other_file))?.exits(&[1])?;
        lab.keyroll(&reseal(&key_file, &file, &payload))?;
        lab.keyroll(&["token", "inspect", "--token", &file])?.exits(&[0])?;
        lab.keyroll(&["token", "inspect", "--token", &key_file])?;
        for encoding in ["hex", "base64", "base64url"] {
            lab.keyroll(&[&mint[..], &[key_file.as_str(), "--encoding", encoding], &format].concat())?;
            lab.keyroll(&[&of("open", &payload, &file)[..], &["--encoding", encoding]].concat())?.exits(&[64])?;
        }
    }
    lab.keyroll(&["token", "inspect", "--token", "nothing"])?.exits(&[64])?;
    lab.keyroll(&["token", "mint", "--payload", "nothing", "--key-file", &key_file, "--set", "cookie=a"])?
        .exits(&[64])?;
    lab.keyroll(&["token", "mint", "--codec", "cobol", "--payload", &payload, "--key-file", &key_file])?
        .exits(&[64])?;
    Ok(())
}

fn token_of(stdout: &str) -> String {
    let document: serde_json::Value = serde_json::from_str(stdout).unwrap_or_default();
    document["token"].as_str().unwrap_or_else(|| stdout.trim_end()).to_owned()
}

/// `init` and `lint` read a project's files, which are full of keys.
fn projects(lab: &Lab<'_>, key: &Secret) -> Result<(), Failed> {
    let key = String::from_utf8_lossy(key.expose()).into_owned();
    let files: [(&str, &str, String); 9] = [
        ("rails", "config/application.rb", "config.load_defaults 7.1\n".to_owned()),
        ("rails", "config/secrets.yml", format!("production:\n  secret_key_base: {key}\n  other: ENV[\"{key}\"]\n")),
        (
            "rails",
            "config/initializers/session_store.rb",
            format!("Rails.application.config.secret_key_base = '{key}'\n"),
        ),
        ("django", "manage.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n".to_owned()),
        ("django", "shop/settings.py", format!("SECRET_KEY = '{key}'\nSECRET_KEY_FALLBACKS = ['{key}']\n")),
        ("flask", "requirements.txt", "flask==3.1.1\n".to_owned()),
        ("flask", "app.py", format!("app.secret_key = '{key}'\napp.config['SECRET_KEY'] = '{key}'\n")),
        ("express", "package.json", "{\"dependencies\":{\"express-session\":\"^1\"}}".to_owned()),
        ("express", "app.js", format!("app.use(session({{ secret: ['{key}', '{key}'] }}));\n")),
    ];
    for (project, file, text) in &files {
        lab.input(&format!("{project}/{file}"), text)?;
    }
    for project in ["rails", "django", "flask", "express"] {
        lab.input(
            &format!("{project}/.env"),
            format!("SECRET_KEY_BASE={key}\nSECRET_KEY={key}\nSESSION_SECRET={key}\n"),
        )?;
        let folder = lab.input(&format!("{project}/a"), "")?.trim_end_matches("/a").to_owned();
        let config = format!("{folder}/keyroll.yaml");
        lab.keyroll(&["init", &folder])?.exits(&[0])?;
        let written = fs::read(&config)?;
        lab.watch.seen().text("what `init` wrote", &written);
        lab.keyroll(&["init", &folder])?.exits(&[64])?;
        // The file names its project, so the keys in the sources are found, and must not be shown.
        lab.keyroll(&["lint", "--config", &config])?.exits(&[1])?;
        lab.keyroll(&["lint", "--config", &config, "--project", &folder])?.exits(&[1])?;
    }
    without_mistakes(lab)
}

/// A project with nothing wrong in it, whose key stands where it should.
fn without_mistakes(lab: &Lab<'_>) -> Result<(), Failed> {
    let profile = Profile::builtin("flask")?;
    let initializer = profile.initializer().ok_or("flask has an initializer")?;
    lab.input("right/requirements.txt", "flask==3.1.1\n")?;
    let sources = lab.input(&format!("right/{}", initializer.path), &initializer.text)?;
    let key = profile.candidate(KeyId(1))?.material().duplicate();
    lab.watch.seen().keys.learn("the key of a project without mistakes", key.expose());
    lab.input("right/.env", [b"SECRET_KEY=", key.expose(), b"\n"].concat())?;
    let folder = sources.trim_end_matches(&initializer.path).trim_end_matches('/').to_owned();
    let config = format!("{folder}/keyroll.yaml");
    lab.keyroll(&["init", &folder])?.exits(&[0])?;
    lab.watch.seen().text("what `init` wrote", &fs::read(&config)?);
    lab.keyroll(&["lint", "--config", &config])?.exits(&[0])?;
    Ok(())
}
