//! `keyroll token inspect`: what can be read of a token without any key. It says what it might be, never what it is.

use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Console, SCHEMA_VERSION};

pub(crate) fn run(token: &str, console: Console) -> Result<Exit, Failure> {
    let guesses = keyroll_keyring::codec::inspect(token);
    if guesses.is_empty() {
        return Err(Failure::new(Exit::Failed, "the token has the form of no format that Keyroll knows")
            .next("check that the whole cookie value was given, without the cookie's name"));
    }
    let text: Vec<String> = guesses.iter().map(|guess| format!("{}: {}", guess.codec, guess.detail)).collect();
    let document = Document { schema_version: SCHEMA_VERSION, kind: "inspected", guesses: &guesses };
    console.result(&text.join("\n"), &document);
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    kind: &'static str,
    guesses: &'a [keyroll_keyring::codec::Guess],
}
