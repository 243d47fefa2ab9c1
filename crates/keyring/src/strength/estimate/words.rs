//! The words and letters that people write instead of drawing them.

use std::sync::LazyLock;

/// The lengths of the words that begin at `at`, in small letters, with a first capital, or in capitals.
pub(super) fn at(text: &[u8], at: usize) -> impl Iterator<Item = usize> {
    let rest = &text[at..];
    let letter = rest[0].to_ascii_lowercase();
    // Most bytes of most keys begin no word, so finding that out must be cheap.
    ROWS.get(usize::from(letter)).into_iter().flatten().filter_map(move |word| {
        let found = rest.get(..word.len())?;
        (found.eq_ignore_ascii_case(word.as_bytes()) && is_written_evenly(found)).then_some(word.len())
    })
}

/// The words that begin with each letter or digit.
static ROWS: LazyLock<Vec<Vec<&str>>> = LazyLock::new(|| {
    let mut rows = vec![Vec::new(); usize::from(b'z') + 1];
    for word in include_str!("words.txt").split_ascii_whitespace() {
        if let Some(row) = rows.get_mut(usize::from(word.as_bytes()[0])) {
            row.push(word);
        }
    }
    rows
});

/// What a letter or a mark costs in English text of small letters; `None` for other bytes.
pub(super) fn letter_bits(byte: u8) -> Option<f64> {
    LETTERS.iter().find(|(letter, _)| *letter == byte).map(|(_, bits)| *bits)
}

fn is_written_evenly(word: &[u8]) -> bool {
    let rest = &word[1..];
    rest.iter().all(|byte| !byte.is_ascii_uppercase()) || word.iter().all(|byte| !byte.is_ascii_lowercase())
}

/// What a word costs: which one, and which of three ways to write it.
pub(super) const BITS: f64 = 10.84;

/// From the frequencies of English letters; a fifth of the characters are spaces and other marks between words.
const LETTERS: &[(u8, f64)] = &[
    (b' ', 3.33),
    (b',', 7.65),
    (b'-', 4.65),
    (b'.', 6.06),
    (b'_', 4.65),
    (b'a', 3.95),
    (b'b', 6.40),
    (b'c', 5.53),
    (b'd', 4.86),
    (b'e', 3.38),
    (b'f', 5.77),
    (b'g', 5.95),
    (b'h', 4.41),
    (b'i', 4.10),
    (b'j', 10.29),
    (b'k', 7.51),
    (b'l', 4.98),
    (b'm', 5.59),
    (b'n', 4.17),
    (b'o', 4.03),
    (b'p', 6.11),
    (b'q', 10.16),
    (b'r', 4.38),
    (b's', 4.32),
    (b't', 3.78),
    (b'u', 5.44),
    (b'v', 6.82),
    (b'w', 5.91),
    (b'x', 9.53),
    (b'y', 5.89),
    (b'z', 10.81),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_a_word_covers_the_list() {
        let words: Vec<_> = ROWS.iter().flatten().collect();
        assert!(words.len() > 500);
        assert!(BITS >= (words.len() as f64 * 3.0).log2(), "a description must not be cheaper than it can be");
        assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())));
        let mut sorted = words.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), words.len(), "a word stands there twice");
    }

    #[test]
    fn the_letters_are_one_distribution() {
        let sum: f64 = LETTERS.iter().map(|(_, bits)| (-bits).exp2()).sum();
        assert!((0.98..=1.0).contains(&sum), "{sum}");
    }
}
