//! That the search can fail: pieces of a key are planted where the other test looks, and have to be found.

use std::fs;
use std::process::{Child, Command, Stdio};

use keyroll_keyring::{Encoding, Secret};
use libtest_mimic::Failed;

use super::ring::until;
use super::search::{Keys, Searcher, Spelling, WINDOW};
use super::watch::{ByDesign, INPUTS, KEYROLL, Place, Seen, Watch};

type Test = fn() -> Result<(), Failed>;

pub(crate) const TESTS: [(&str, Test); 6] = [
    ("every eight bytes of a key are found in every spelling wherever they begin", every_spelling),
    ("six bytes of a key, or eight that are not in a row, are no finding", too_little),
    ("eight digits of a hexadecimal key are found, and not in a digest that is not its own", digests),
    ("a piece of a key in a file, in its name or at the seam of what was appended is found", files),
    ("a piece of a key in the arguments or the environment of a process is found", processes),
    ("an exception that holds no key is named", exceptions),
];

fn every_spelling() -> Result<(), Failed> {
    let key = key();
    let keys = learned(&key);
    let searcher = Searcher::new(&keys);
    for window in 0..=key.len() - WINDOW {
        for before in 0..3 {
            for behind in 0..3 {
                // The neighbours are not the key's, and change what base64 makes of its edges.
                let text = [&vec![0xa7; before], &key[window..window + WINDOW], &vec![0x5b; behind]].concat();
                for (spelling, spelled) in spellings(&text, before) {
                    let planted = [b"some words: ".as_slice(), &spelled, b"\n"].concat();
                    let hits = searcher.search(&planted);
                    if hits.is_empty() {
                        return Err(format!("window {window} with {before} before in {spelling:?}").into());
                    }
                }
            }
        }
    }
    Ok(())
}

fn spellings(text: &[u8], before: usize) -> Vec<(Spelling, Vec<u8>)> {
    let secret = Secret::from_bytes(text.to_vec());
    let encoded = |encoding| secret.encoded(encoding).expose().to_vec();
    vec![
        (Spelling::Raw, text.to_vec()),
        (Spelling::LowerHex, encoded(Encoding::Hex)),
        (Spelling::UpperHex, encoded(Encoding::Hex).to_ascii_uppercase()),
        (Spelling::Base64(before), encoded(Encoding::Base64)),
        (Spelling::Base64Url(before), encoded(Encoding::Base64Url)),
    ]
}

fn too_little() -> Result<(), Failed> {
    let key = key();
    let keys = learned(&key);
    let searcher = Searcher::new(&keys);
    for window in 0..=key.len() - WINDOW {
        let mut pieces = key[window..window + WINDOW].to_vec();
        pieces.swap(0, WINDOW - 1);
        for text in [&key[window..window + WINDOW - 2], &pieces] {
            for (spelling, spelled) in spellings(text, 0) {
                let hits = searcher.search(&spelled);
                if !hits.is_empty() {
                    return Err(format!("{spelling:?}: {hits:?}").into());
                }
            }
        }
    }
    Ok(())
}

fn digests() -> Result<(), Failed> {
    let digits = Secret::from_bytes(key()).encoded(Encoding::Hex);
    let key = digits.expose();
    let keys = learned(key);
    let searcher = Searcher::new(&keys);
    let found = |text: &[u8]| !searcher.search(text).is_empty();
    let cases = [
        (found(&key[3..11]), true, "alone"),
        (found(&[b"prefix ", &key[..8], b"..."].concat()), true, "a prefix with dots"),
        (found(&[&[b'0'; 12], &key[9..17], &[b'0'; 12]].concat()), false, "eight in a digest"),
        (found(&[&[b'0'; 12], &key[9..21], &[b'0'; 12]].concat()), true, "twelve in a digest"),
        (found(key), true, "the whole key"),
    ];
    match cases.iter().find(|(found, expected, _)| found != expected) {
        Some((found, _, what)) => Err(format!("{what}: found is {found}").into()),
        None => Ok(()),
    }
}

fn files() -> Result<(), Failed> {
    let key = key();
    let digits = Secret::from_bytes(key.clone()).encoded(Encoding::Hex);
    let digits = String::from_utf8_lossy(digits.expose()).into_owned();
    let base64url = Secret::from_bytes(key[2..20].to_vec()).encoded(Encoding::Base64Url);
    let plants: [(&str, &str, Vec<u8>); 5] = [
        ("a file", "a/b.log", key[5..13].to_vec()),
        ("a temporary file", ".tmpAbCdEf", digits.as_bytes()[4..20].to_vec()),
        ("a file beside the store's", "keys~", base64url.expose().to_vec()),
        ("a file's name", &format!("{}.txt", &digits[8..24]), b"nothing".to_vec()),
        ("an almost hidden file", ".keys.keyroll.bak", key[..8].to_vec()),
    ];
    for (what, name, content) in &plants {
        let folder = tempfile::tempdir()?;
        let place = Place::below(folder.path());
        let mut seen = seeing(&key);
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().ok_or("a file has a folder")?)?;
        fs::create_dir_all(folder.path().join(INPUTS))?;
        fs::write(folder.path().join(INPUTS).join("own"), &key)?;
        fs::write(folder.path().join("keys"), &key)?;
        seen.look_at_files(&place);
        if !seen.leaks().is_empty() {
            return Err(format!("before anything was planted: {:?}", seen.leaks()).into());
        }
        // Half of it first, so that the piece lies across the seam.
        let half = content.len() / 2;
        fs::write(&path, &content[..half])?;
        seen.look_at_files(&place);
        fs::write(&path, content)?;
        seen.look_at_files(&place);
        fs::remove_file(&path)?;
        seen.look_at_files(&place);
        if seen.leaks().is_empty() {
            return Err(format!("{what} was not found").into());
        }
    }
    Ok(())
}

fn processes() -> Result<(), Failed> {
    let key = key();
    let spelled = |encoding| {
        String::from_utf8_lossy(Secret::from_bytes(key[3..14].to_vec()).encoded(encoding).expose()).into_owned()
    };
    for encoding in [Encoding::Hex, Encoding::Base64, Encoding::Base64Url] {
        let text = spelled(encoding);
        let mut by_argument = Command::new(KEYROLL);
        by_argument.args(["token", "inspect", "--operator", &text]).stdin(Stdio::piped());
        let mut by_variable = Command::new("sleep");
        by_variable.arg("60").env("INNOCENT", &text);
        for (what, command) in [("an argument", &mut by_argument), ("a variable", &mut by_variable)] {
            let folder = tempfile::tempdir()?;
            let watch = Watch::start(Place::below(folder.path()));
            *watch.seen() = seeing(&key);
            let child = Ended(command.stderr(Stdio::null()).spawn()?);
            // Nobody looks but the watch itself, as it does while commands run.
            until(&format!("{what} in {encoding:?} is found"), || !watch.seen().leaks().is_empty())?;
            drop(child);
        }
    }
    Ok(())
}

fn exceptions() -> Result<(), Failed> {
    let key = key();
    let mut seen = seeing(&key);
    seen.exempt(ByDesign::Generated, "here", &key);
    seen.exempt(ByDesign::Store, "there", b"nothing at all");
    match seen.idle_exceptions().as_slice() {
        [ByDesign::Store] => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

/// Ends a process with its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // One that is gone already is what was wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// No eight of its bytes come twice, and they need both special characters of base64.
fn key() -> Vec<u8> {
    (0..32_u8).map(|index| index.wrapping_mul(101).wrapping_add(250) ^ 0x5a).collect()
}

fn learned(key: &[u8]) -> Keys {
    let mut keys = Keys::default();
    keys.learn("the key", key);
    keys
}

fn seeing(key: &[u8]) -> Seen {
    let mut seen = Seen::default();
    seen.keys = learned(key);
    seen
}
