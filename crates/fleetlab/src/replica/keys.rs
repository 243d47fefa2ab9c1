//! The key file of each application, in the form in which its runbook has it written.
//!
//! Reading and writing stand side by side, and they disagree on purpose in one place: `previous-ignored` is written with two
//! secrets and read with one. That is the fault of the application that it stands for.

use aws_lc_rs::rand;
use keyroll_keyring::{Encoding, Key, KeyId, KeyState, Ring, RingError, Secret, SecretError, ring_file};
use serde::Deserialize;

use super::Mode;

/// What a replica has read: the key that it mints under, and the others that it opens sessions under.
pub(crate) struct Keys {
    pub(crate) active: Key,
    pub(crate) accept_only: Vec<Key>,
}

impl Keys {
    /// Every key that sessions are opened under.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.active).chain(&self.accept_only)
    }

    /// Reads the key file of an application.
    pub(crate) fn parse(mode: Mode, file: &Secret) -> Result<Self, KeysError> {
        let alone = |material| Self { active: Key::single(CURRENT, material), accept_only: Vec::new() };
        Ok(match mode {
            Mode::Sealed => {
                let ring = ring_file::parse(file.expose())?;
                Self {
                    active: ring.active().duplicate(),
                    accept_only: ring.accept_only().map(Key::duplicate).collect(),
                }
            }
            // The bytes as they are: even a newline at the end would be part of the key.
            Mode::OneKey => alone(file.duplicate()),
            Mode::Rows => alone(Secret::from_base64(variable(file, ROW_KEY)?)?),
            Mode::PreviousIgnored => alone(Secret::from_base64(variable(file, COOKIE_SECRET)?)?),
            Mode::SwapAcceptOld => {
                let text = |name| variable(file, name).map(|text| Secret::from_bytes(text.to_vec()));
                let accept_only = text(OLD_SECRET_KEY_BASE).ok().map(|old| Key::single(OLD, old)).into_iter().collect();
                Self { active: Key::single(CURRENT, text(SECRET_KEY_BASE)?), accept_only }
            }
            Mode::AppendRing => {
                let entries: Vec<Entry<'_>> = serde_json::from_slice(file.expose()).map_err(|_| KeysError::Shape)?;
                let key = |entry: &Entry<'_>| Ok(Key::single(entry.kid, Secret::from_base64(entry.secret.as_bytes())?));
                let mut keys = entries.iter().map(key).collect::<Result<Vec<_>, SecretError>>()?;
                // The last one is active: that is what makes appending a promotion.
                let active = keys.pop().ok_or(KeysError::Shape)?;
                Self { active, accept_only: keys }
            }
        })
    }
}

/// Writes the key file of an application.
pub(crate) fn render(mode: Mode, active: &Key, old: Option<&Key>) -> Result<Secret, KeysError> {
    let variables = |pairs: &[(&str, Option<Secret>)]| {
        let mut text = Vec::with_capacity(ROOM);
        for (name, value) in pairs {
            if let Some(value) = value {
                text.extend_from_slice(name.as_bytes());
                text.push(b'=');
                text.extend_from_slice(value.expose());
                text.push(b'\n');
            }
        }
        Secret::from_bytes(text)
    };
    let base64 = |key: &Key| key.material().encoded(Encoding::Base64);
    Ok(match mode {
        Mode::Sealed => {
            let old = old.map(|key| (key.duplicate(), KeyState::Deactivated)).into_iter().collect();
            ring_file::render(&Ring::assemble(active.duplicate(), old, Vec::new())?)
        }
        Mode::OneKey => active.material().duplicate(),
        Mode::Rows => variables(&[(ROW_KEY, Some(base64(active)))]),
        Mode::PreviousIgnored => {
            variables(&[(COOKIE_SECRET, Some(base64(active))), (PREVIOUS_COOKIE_SECRETS, old.map(base64))])
        }
        Mode::SwapAcceptOld => variables(&[
            (SECRET_KEY_BASE, Some(active.material().duplicate())),
            (OLD_SECRET_KEY_BASE, old.map(|key| key.material().duplicate())),
        ]),
        Mode::AppendRing => {
            let mut text = Vec::with_capacity(ROOM);
            for key in old.into_iter().chain([active]) {
                text.push(if text.is_empty() { b'[' } else { b',' });
                text.extend_from_slice(format!("{{\"kid\":{},\"secret\":\"", key.id().0).as_bytes());
                text.extend_from_slice(base64(key).expose());
                text.extend_from_slice(b"\"}");
            }
            text.push(b']');
            Secret::from_bytes(text)
        }
    })
}

/// A new key, in the form that the application takes.
pub(crate) fn generate(mode: Mode, id: KeyId) -> Result<Key, KeysError> {
    let length = if mode == Mode::SwapAcceptOld { 64 } else { 32 };
    let mut bytes = vec![0; length];
    rand::fill(&mut bytes).map_err(|_| KeysError::Randomness)?;
    let secret = Secret::from_bytes(bytes);
    // Rails' secret is the text of the digits, not what they encode.
    Ok(Key::single(id, if mode == Mode::SwapAcceptOld { secret.encoded(Encoding::Hex) } else { secret }))
}

/// Why keys can't be read or made. It never holds any of the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The ring file is not one.
    #[error("the keys are not a ring file")]
    RingFile(#[from] ring_file::RingFileError),
    /// The keys do not make a ring.
    #[error("the keys do not make a ring")]
    Ring(#[from] RingError),
    /// The file lacks a variable.
    #[error("the key file has no line `{name}=...`")]
    Variable {
        /// Which one.
        name: &'static str,
    },
    /// A secret does not decode.
    #[error("a secret of the key file can't be decoded")]
    Secret(#[from] SecretError),
    /// The list of keys is not a list of keys.
    #[error("the key file is not a list of objects with `kid` and `secret`, with at least one")]
    Shape,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Randomness,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    kid: KeyId,
    secret: &'a str,
}

fn variable<'a>(file: &'a Secret, name: &'static str) -> Result<&'a [u8], KeysError> {
    let mut lines = file.expose().split(|byte| *byte == b'\n');
    lines
        .find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        .filter(|value| !value.is_empty())
        .ok_or(KeysError::Variable { name })
}

const CURRENT: KeyId = KeyId(2);
const OLD: KeyId = KeyId(1);
const ROW_KEY: &str = "SESSION_ENCRYPTION_KEY";
const COOKIE_SECRET: &str = "COOKIE_SECRET";
const PREVIOUS_COOKIE_SECRETS: &str = "PREVIOUS_COOKIE_SECRETS";
const SECRET_KEY_BASE: &str = "SECRET_KEY_BASE";
const OLD_SECRET_KEY_BASE: &str = "OLD_SECRET_KEY_BASE";
/// Enough for two secrets with their names, so that no buffer grows and leaves a copy behind.
const ROOM: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(mode: Mode, old: bool) -> (Key, Key, Keys) {
        let (before, after) = (generate(mode, KeyId(1)).unwrap(), generate(mode, KeyId(2)).unwrap());
        let file = render(mode, &after, old.then_some(&before)).unwrap();
        let keys = Keys::parse(mode, &file).unwrap();
        (before, after, keys)
    }

    #[test]
    fn every_application_mints_under_the_key_that_its_runbook_makes_active() {
        for mode in Mode::ALL {
            for old in [false, true] {
                let (_, after, keys) = read_back(mode, old);
                assert!(keys.active.material().ct_eq(after.material()), "{mode:?}");
            }
        }
    }

    #[test]
    fn only_three_of_the_applications_open_sessions_under_the_old_key() {
        for mode in Mode::ALL {
            let (before, _, keys) = read_back(mode, true);
            let opens = keys.accept_only.iter().any(|key| key.material().ct_eq(before.material()));
            assert_eq!(opens, matches!(mode, Mode::Sealed | Mode::SwapAcceptOld | Mode::AppendRing), "{mode:?}");
        }
    }

    #[test]
    fn a_file_without_a_key_is_refused() {
        for mode in [Mode::Sealed, Mode::Rows, Mode::PreviousIgnored, Mode::SwapAcceptOld, Mode::AppendRing] {
            assert!(Keys::parse(mode, &Secret::from_text("")).is_err(), "{mode:?}");
        }
        assert!(matches!(Keys::parse(Mode::AppendRing, &Secret::from_text("[]")), Err(KeysError::Shape)));
    }
}
