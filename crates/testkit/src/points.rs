//! The names of crash points, without what differs from one rotation to the next.

use keyroll_engine::CrashPoint;

/// A point's name, such as `draining/before write store 0`. The numbers of keys are left out: each rotation has its own.
pub fn name_of(point: &CrashPoint) -> String {
    let words: Vec<String> =
        point.to_string().split(' ').map(|word| if is_key(word) { "KEY".into() } else { word.into() }).collect();
    words.join(" ")
}

/// Whether a word is a key's name: `k` and a number.
fn is_key(word: &str) -> bool {
    word.strip_prefix('k').is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_from_other_words() {
        assert!(is_key("k12"));
        assert!(["k", "key", "12", "k1x", "look"].iter().all(|word| !is_key(word)));
    }
}
