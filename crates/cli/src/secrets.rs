//! Keys and tokens that the user hands over: from a file, standard input or a named environment variable of *this*
//! process, never from the command line.

use std::io::Read;

use keyroll_keyring::Secret;

use crate::args::{Encoding, KeySource};
use crate::exit::Exit;
use crate::failure::Failure;

/// Reads the key that `source` names and decodes it.
pub(crate) fn read_key(source: &KeySource, encoding: Encoding) -> Result<Secret, Failure> {
    let (raw, place) = match (&source.key_file, &source.key_env) {
        (Some(file), _) => (read_bytes(file)?, format!("`{file}`")),
        (None, Some(name)) => (read_variable(name)?, format!("the variable `{name}`")),
        (None, None) => return Err(Failure::new(Exit::Usage, "no key was named").next("give --key-file or --key-env")),
    };
    decode(&raw, encoding).map_err(|reason| {
        Failure::new(Exit::Usage, format!("the key in {place} can't be read: {reason}"))
            .next("say how it is written with --encoding; `text` takes it as it is")
    })
}

/// Reads a file, or standard input for `-`, with nothing taken away.
pub(crate) fn read_bytes(file: &str) -> Result<Secret, Failure> {
    let read = if file == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    read.map(Secret::from_bytes).map_err(|err| {
        let name = if file == "-" { "standard input".to_owned() } else { format!("`{file}`") };
        Failure::new(Exit::Usage, format!("{name} can't be read: {err}"))
    })
}

/// Reads text that a person may have ended with a newline, such as a token.
pub(crate) fn read_line(file: &str) -> Result<String, Failure> {
    let bytes = read_bytes(file)?;
    let text = std::str::from_utf8(bytes.expose()).map_err(|_| Failure::new(Exit::Usage, "the token is not text"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn read_variable(name: &str) -> Result<Secret, Failure> {
    use std::os::unix::ffi::OsStringExt as _;
    std::env::var_os(name)
        .map(|value| Secret::from_bytes(value.into_vec()))
        .ok_or_else(|| Failure::new(Exit::Usage, format!("the environment has no variable `{name}`")))
}

/// Files made by people end with a newline; a key that is text never does. Raw bytes are left alone.
fn decode(raw: &Secret, encoding: Encoding) -> Result<Secret, String> {
    let bytes = raw.expose();
    if encoding == Encoding::Raw {
        return Ok(raw.duplicate());
    }
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match encoding {
        Encoding::Text | Encoding::Raw => Ok(Secret::from_bytes(line.to_vec())),
        Encoding::Hex => Secret::from_hex(line).map_err(|err| err.to_string()),
        Encoding::Base64 => Secret::from_base64(line).map_err(|err| err.to_string()),
        Encoding::Base64url => Secret::from_base64url(line).map_err(|err| err.to_string()),
    }
}
