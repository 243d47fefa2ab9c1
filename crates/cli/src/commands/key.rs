//! `keyroll key`: new keys and fingerprints. A key goes to a file or a pipe, and to a terminal only when told.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use keyroll_keyring::strength::{self, Requirement, Weakness};
use keyroll_keyring::{Configuration, Fingerprint, FingerprintError, KeyId, Part, PartName, Profile, Secret};

use crate::args::{Encoding, Format, KeyCommand, KeySource};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Console, SCHEMA_VERSION};
use crate::secrets;

pub(crate) fn run(command: &KeyCommand, console: Console) -> Result<Exit, Failure> {
    match command {
        KeyCommand::Generate { profile, output, to_terminal } => {
            generate(profile, output.as_deref(), *to_terminal, console)
        }
        KeyCommand::Fingerprint { key, encoding } => fingerprint(key, *encoding, console),
    }
}

fn generate(profile: &str, output: Option<&Path>, to_terminal: bool, console: Console) -> Result<Exit, Failure> {
    if output.is_none() && console.format() == Format::Json {
        return Err(Failure::new(Exit::Usage, "a key is printed as it is, and not as JSON; nothing was generated")
            .next("write it to a file with --output FILE, or leave --format out"));
    }
    let profile = Profile::builtin(profile).map_err(|err| Failure::from_error(Exit::Usage, &err))?;
    let failed = |err| Failure::from_error(Exit::Failed, &err);
    let key = profile.candidate(KeyId(1)).map_err(failed)?;
    // As it stands in the application's own field: the bare key for most, a whole ring file where there is one.
    let fields = profile.render(&Configuration { active: &key, accept_only: Vec::new() }).map_err(failed)?;
    let mut written = fields.0.values().flatten();
    let (Some(text), None) = (written.next(), written.next()) else {
        return Err(Failure::new(Exit::Usage, "a key of this profile has several parts, and can't be one text"));
    };
    match output {
        Some(path) => {
            write_new(path, text)?;
            let fingerprint = Fingerprint::of(key.parts()).ok().map(|fingerprint| fingerprint.to_string());
            let document = serde_json::json!({
                "schema_version": SCHEMA_VERSION, "kind": "key", "file": path, "fingerprint": fingerprint,
            });
            let shown = fingerprint.map(|fingerprint| format!(" ({fingerprint})")).unwrap_or_default();
            console.result(&format!("wrote a new key to `{}`{shown}", path.display()), &document);
        }
        None if console.stdout_is_terminal() && !to_terminal => {
            return Err(Failure::new(
                Exit::Usage,
                "a key is not printed to a terminal, whose scrollback would keep it",
            )
            .next("redirect it to a file, use --output FILE, or say --to-terminal"));
        }
        None => console.secret(text),
    }
    Ok(Exit::Done)
}

/// Creates the file; an existing one is never replaced.
fn write_new(path: &Path, text: &Secret) -> Result<(), Failure> {
    let failed = |err: std::io::Error| {
        Failure::new(Exit::Usage, format!("`{}` can't be written: {err}", path.display()))
            .next("name a file that does not exist yet")
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.expose()).map_err(failed)?;
    file.sync_all().map_err(failed)
}

fn fingerprint(source: &KeySource, encoding: Encoding, console: Console) -> Result<Exit, Failure> {
    let material = secrets::read_key(source, encoding)?;
    let requirement = match encoding {
        Encoding::Text => Requirement::text_at_least(0),
        Encoding::Hex | Encoding::Base64 | Encoding::Base64url | Encoding::Raw => Requirement::bytes_at_least(0),
    };
    let weaknesses = strength::check(&material, &requirement).err().unwrap_or_default();
    let stripped = material.stripped().filter(|_| weaknesses.contains(&Weakness::SurroundingWhitespace));
    let fingerprint = fingerprint_of(material).map_err(|err| {
        let reasons: Vec<_> = weaknesses.iter().map(ToString::to_string).collect();
        let what = Failure::from_error(Exit::Failed, &err).what;
        let what = if reasons.is_empty() { what } else { format!("{what}: {}", reasons.join("; ")) };
        Failure::new(Exit::Failed, what)
            .next("replace the key: `keyroll key generate`; a weak key can be guessed from its fingerprint")
    })?;
    let stripped = stripped.and_then(|stripped| fingerprint_of(stripped).ok());
    let mut document = serde_json::json!({
        "schema_version": SCHEMA_VERSION, "kind": "fingerprint", "fingerprint": fingerprint.to_string(),
    });
    if let Some(stripped) = stripped {
        // Two fingerprints of what a person takes for one key: nobody would look for a blank.
        console.progress(&format!("note: {}; without them it is {stripped}", Weakness::SurroundingWhitespace));
        document["stripped"] = stripped.to_string().into();
    }
    console.result(&fingerprint.to_string(), &document);
    Ok(Exit::Done)
}

fn fingerprint_of(material: Secret) -> Result<Fingerprint, FingerprintError> {
    Fingerprint::of(&[Part { name: PartName("main".into()), material }])
}
