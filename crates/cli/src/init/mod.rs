//! `keyroll init`: finds out what kind of project a folder holds and writes a commented `keyroll.yaml` for it.
//!
//! It never guesses silently: what it saw is in the file's first lines, and what only a person knows is marked `FILL IN`.

mod detect;
mod template;

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use keyroll_keyring::Profile;

use crate::args::{Global, InitArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Console, SCHEMA_VERSION};

use detect::{Found, Framework};

pub(crate) fn run(args: &InitArgs, global: &Global, console: Console) -> Result<Exit, Failure> {
    if !args.folder.is_dir() {
        return Err(Failure::new(Exit::Usage, format!("`{}` is not a folder", args.folder.display())));
    }
    let target = if global.config.is_absolute() { global.config.clone() } else { args.folder.join(&global.config) };
    if target.exists() && !args.overwrite {
        return Err(Failure::new(Exit::Usage, format!("`{}` exists already; nothing was written", target.display()))
            .next("edit it, or run again with --overwrite"));
    }
    let found = match &args.profile {
        Some(name) => Found::told(Framework::parse(name).ok_or_else(|| unknown_framework(name))?),
        None => find(&args.folder, console)?,
    };
    let answers = Answers {
        name: args.name.clone().unwrap_or_else(|| name_of(&args.folder)),
        env_file: match &args.env_file {
            Some(path) => path.clone(),
            None => env_file(&args.folder, console),
        },
    };
    let initializer =
        Profile::builtin(found.framework.name()).map_err(|err| Failure::from_error(Exit::Failed, &err))?.initializer();
    let text = template::render(&found, &answers, initializer.as_ref())?;
    std::fs::write(&target, &text)
        .map_err(|err| Failure::new(Exit::Usage, format!("`{}` can't be written: {err}", target.display())))?;
    // With its colon: the head of the file speaks of the mark and is none.
    let marked = text.lines().filter(|line| line.contains("FILL IN:")).count();
    let document = serde_json::json!({
        "schema_version": SCHEMA_VERSION, "kind": "init", "file": target, "framework": found.framework.name(),
        "seen": found.seen, "marked": marked,
        "initializer": initializer.as_ref().map(|code| serde_json::json!({ "path": code.path, "text": code.text })),
    });
    let code = initializer.map_or_else(String::new, |code| {
        format!(
            "the application has to accept a second key; in `{}`, unless it does already:\n\n{}\n\n\
             until it does, `keyroll lint` accepts the file and finds that the application lacks it (exit 1)\n",
            code.path,
            code.text.trim()
        )
    });
    let summary = format!(
        "wrote `{}` for {} ({})\n{code}fill in the {marked} lines that it marks, then: keyroll preflight",
        target.display(),
        found.framework.title(),
        found.seen,
    );
    console.result(&summary, &document);
    Ok(Exit::Done)
}

/// What a person or a flag decided.
pub(crate) struct Answers {
    pub(crate) name: String,
    pub(crate) env_file: PathBuf,
}

fn find(folder: &Path, console: Console) -> Result<Found, Failure> {
    let mut found = detect::detect(folder);
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Failure::new(
            Exit::Usage,
            format!("`{}` shows no Rails, Django, Flask or Express project; nothing was written", folder.display()),
        )
        .next(format!("say which with --profile: {}", Framework::names()))),
        _ => choose(found, console),
    }
}

/// More than one framework in one folder: a person chooses, and without one a flag must.
fn choose(found: Vec<Found>, console: Console) -> Result<Found, Failure> {
    let names: Vec<&str> = found.iter().map(|one| one.framework.name()).collect();
    if !(std::io::stdin().is_terminal() && console.is_interactive()) {
        return Err(Failure::new(Exit::Usage, format!("the folder holds several frameworks: {}", names.join(", ")))
            .next("say which with --profile"));
    }
    let answer = ask(&format!("Which of {} holds the key?", names.join(", ")), names[0], console);
    found.into_iter().find(|one| one.framework.name() == answer).ok_or_else(|| unknown_framework(&answer))
}

fn env_file(folder: &Path, console: Console) -> PathBuf {
    let guess = [".env.production", ".env", "shared/.env"]
        .into_iter()
        .find(|name| folder.join(name).is_file())
        .unwrap_or(".env.production");
    if std::io::stdin().is_terminal() && console.is_interactive() {
        return PathBuf::from(ask("Which environment file holds the key?", guess, console));
    }
    PathBuf::from(guess)
}

fn ask(question: &str, default: &str, console: Console) -> String {
    console.progress(&format!("{question} [{default}]"));
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    let answer = answer.trim();
    if read.is_err() || answer.is_empty() { default.to_owned() } else { answer.to_owned() }
}

fn unknown_framework(name: &str) -> Failure {
    Failure::new(Exit::Usage, format!("`{name}` is not a framework that `init` knows; nothing was written"))
        .next(format!("choose one of {}", Framework::names()))
}

/// A legal name made of the folder's: lowercase letters, digits and hyphens.
fn name_of(folder: &Path) -> String {
    let full = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let raw = full.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let mut name = String::new();
    for c in raw.chars() {
        let legal = if c.is_ascii_alphanumeric() { c } else { '-' };
        if legal != '-' || !(name.is_empty() || name.ends_with('-')) {
            name.push(legal);
        }
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() { "sessions".to_owned() } else { name.chars().take(63).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_a_legal_name() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("My Shop_2 (old)");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(name_of(&folder), "my-shop-2-old");
    }
}
