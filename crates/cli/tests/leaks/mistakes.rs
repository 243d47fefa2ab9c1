//! Keys in the wrong place: what people paste into a configuration, and files that are no longer what they were.

use std::fs;

use keyroll_keyring::{Encoding, Secret};
use libtest_mimic::Failed;

use super::lab::Lab;

/// Runs `lint` against configurations in which a key stands where it should not. None of them may pass. That every key is masked
/// in every place is a test of the engine's own; here each place has a turn.
pub(crate) fn in_configuration(lab: &Lab<'_>, good: &str) -> Result<(), Failed> {
    let keys = keys();
    for (name, key) in &keys {
        lab.watch.seen().keys.learn(&format!("the {name} in a configuration"), key.as_bytes());
    }
    for ((number, place), (name, key)) in PLACES.iter().enumerate().zip(keys.iter().cycle()) {
        let text = place.replace("KEY", key).replace("GOOD", good);
        let file = lab.input(&format!("{name}-{number}.yaml"), text)?;
        lab.keyroll(&["lint", "--config", &file])?.exits(&[1, 64])?;
    }
    Ok(())
}

/// Writes each damage over `file`, runs one of `commands` after the other, and puts the file back. A weak key is a damage that is
/// only advised against, so what a command says to it matters here, and not how it ends.
pub(crate) fn in_file(
    lab: &Lab<'_>,
    file: &str,
    damages: &[(&str, Vec<u8>)],
    commands: &[&[&str]],
) -> Result<(), Failed> {
    let path = lab.folder.join(file);
    let good = fs::read(&path)?;
    for ((what, damage), words) in damages.iter().zip(commands.iter().cycle()) {
        fs::write(&path, damage)?;
        if lab.keyroll(words)?.code.is_none() {
            return Err(format!("`keyroll {}` was killed by {what}", words.join(" ")).into());
        }
    }
    Ok(fs::write(&path, good)?)
}

/// Keys of every look: a mask that knows one of them is no mask.
fn keys() -> Vec<(&'static str, String)> {
    let random = |seed: u8, length: u8| -> Vec<u8> {
        (0..length).map(|index| index.wrapping_mul(97).wrapping_add(seed.wrapping_mul(61)) ^ seed).collect()
    };
    let spelled = |bytes: Vec<u8>, encoding| {
        String::from_utf8_lossy(Secret::from_bytes(bytes).encoded(encoding).expose()).into_owned()
    };
    vec![
        ("hexadecimal", spelled(random(3, 64), Encoding::Hex)),
        ("base64", spelled(random(5, 32), Encoding::Base64)),
        ("base64url", spelled(random(7, 32), Encoding::Base64Url)),
        // Slashes cut it into short runs, and there is hardly a digit in it.
        ("slashes", "Qm/VxYtR/LpWqZsKj/HgFdSaPo/IuYtReWq/MnBvCxZl".to_owned()),
        ("letters", "QmVxYtRLpWqZsKjHgFdSaPoIuYtReWqMnBvCxZlKjH".to_owned()),
        ("digits", "80417529630185274196385207419630852".to_owned()),
        ("Django", "django-insecure-x7!q)v&w2k@e_9z#r$5t^y8u*i(o=p+m".to_owned()),
    ]
}

/// `GOOD` is a whole configuration, to which something is added.
const PLACES: [&str; 26] = [
    "KEY",
    "KEY\nGOOD",
    "KEY: 1\nGOOD",
    "GOOD\nKEY: 1\n",
    "GOOD  key: KEY\n",
    "GOOD  secret: { value: KEY }\n",
    "GOOD  KEY: 1\n",
    "GOOD  a: 'KEY\n",
    "GOOD  a: [KEY\n",
    "GOOD  a: *KEY\n",
    "GOOD  a: !KEY b\n",
    "GOOD\tKEY: 1\n",
    "GOOD  notify: 'KEY'\n  notify: 'KEY'\n",
    "apiVersion: KEY\nkind: SessionKey\nmetadata: { name: a }\nspec: {}\n",
    "apiVersion: keyroll.dev/v1alpha1\nkind: KEY\nmetadata: { name: a }\nspec: {}\n",
    "apiVersion: keyroll.dev/v1alpha1\nkind: SessionKey\nmetadata: { name: 'KEY' }\nspec: {}\n",
    "apiVersion: keyroll.dev/v1alpha1\nkind: SessionKey\nmetadata: { name: a }\nspec: 'KEY'\n",
    "apiVersion: keyroll.dev/v1alpha1\nkind: SessionKey\nmetadata: { name: a }\nspec: { profile: 'KEY' }\n",
    "apiVersion: keyroll.dev/v1alpha1\nkind: SessionKey\nmetadata: { name: a }\nspec: { profile: { name: rails, parameters: { digest: 'KEY' } } }\n",
    "apiVersion: keyroll.dev/v1alpha1\nkind: SessionKey\nmetadata: { name: a }\nspec: { store: 'KEY' }\n",
    "apiVersion: keyroll.dev/v1alpha1\nkind: SessionKey\nmetadata: { name: a }\nspec: { store: { file: { path: keys, content: 'KEY' } } }\n",
    "apiVersion: keyroll.dev/v1alpha1\nkind: SessionKey\nmetadata: { name: a }\nspec: { consumers: [{ process: { command: [./app], env: { SECRET_KEY_BASE: 'KEY' } } }] }\n",
    "apiVersion: keyroll.dev/v1alpha1\nkind: SessionKey\nmetadata: { name: a }\nspec: { sessions: { maxLifetime: 'KEY' }, policy: { window: 'KEY', escrow: 'KEY' } }\n",
    "apiVersion: keyroll.dev/v1alpha1\nkind: SessionKey\nmetadata: { name: a }\nspec: { probe: { path: /me, headers: { Cookie: 'session=KEY', X-Secret: 'KEY' }, accepted: ['KEY'] } }\n",
    "apiVersion: keyroll.dev/v1alpha1\nkind: SessionKey\nmetadata: { name: a }\nspec: { probe: { path: /me, login: [{ path: /login, form: { password: 'KEY' }, headers: { a: 'KEY' } }] } }\n",
    "apiVersion: keyroll.dev/v1alpha1\nkind: SessionKey\nmetadata: { name: a }\nspec: { evidence: { orchestrator: 'KEY', log: { pattern: '(KEY' } } }\n",
];
