//! How much entropy a key has at most, as far as can be seen from the key alone.
//!
//! Two stories compete. One says: a generator drew every character from an alphabet, so the key is worth its length
//! times the bits of a character. The other describes the key in fewer bits: words, repeats, runs, a smaller alphabet.
//! The first story is dropped only where the second is shorter by [`DOUBT_BITS`]. A description that is shorter by `d`
//! bits fits at most one random key in 2^d, whatever the alphabet, because descriptions are prefix-free. So a random key
//! is never refused in practice, and no threshold here was found by trying.

use std::collections::HashMap;

use super::{ENTROPY_FLOOR_BITS, MaterialKind};

mod words;

/// The estimate for `text`, in whole bits.
pub(super) fn bits(text: &[u8], kind: MaterialKind) -> u32 {
    let description = shortest_description(text);
    let believed = ALPHABETS
        .iter()
        .filter(|alphabet| kind == MaterialKind::Bytes || alphabet.name != RAW)
        .filter_map(|alphabet| {
            let drawn = alphabet.strip_padding(text);
            drawn.iter().all(|byte| (alphabet.holds)(*byte)).then(|| count(drawn.len()) * alphabet.bits())
        })
        .filter(|worth| description > worth - DOUBT_BITS)
        .fold(0.0, f64::max);
    // Below the floor the key is refused either way, and the description says best how little it is worth.
    let estimate = if believed >= f64::from(ENTROPY_FLOOR_BITS) { believed } else { description };
    floor(estimate.min(count(text.len()) * 8.0))
}

/// The least number of bits in which one of the descriptions that follow gives `text`.
fn shortest_description(text: &[u8]) -> f64 {
    if is_uuid(text) {
        return UUID_BITS;
    }
    let text = &text[..text.len().min(EXAMINED)];
    let plain = describe(text);
    let unhex = hex::decode(text).map_or(f64::INFINITY, |bytes| 2.0 + describe(&zeroize::Zeroizing::new(bytes)));
    let unbase64 = base64_simd::forgiving_decode_to_vec(text)
        .map_or(f64::INFINITY, |bytes| 2.0 + describe(&zeroize::Zeroizing::new(bytes)));
    plain.min(unhex).min(unbase64)
}

/// The shortest sequence of characters, words, copies and runs that spells `text`: shortest path from its begin to its end.
fn describe(text: &[u8]) -> f64 {
    let Some(literal) = Literal::cheapest(text) else { return 0.0 };
    let copies = Copies::of(text);
    let mut cost = vec![f64::INFINITY; text.len() + 1];
    cost[0] = CHOICE_OF_ALPHABET_BITS;
    let reach = |cost: &mut Vec<f64>, end: usize, bits: f64| {
        if bits < cost[end] {
            cost[end] = bits;
        }
    };
    for at in 0..text.len() {
        let here = cost[at];
        reach(&mut cost, at + 1, here + LITERAL_FLAG_BITS + literal.bits(text[at]));
        for (source, length) in copies.at(text, at) {
            let bits = here + OTHER_FLAG_BITS + count(at).log2() + gamma_bits(length);
            debug_assert!(source < at);
            for shorter in LEAST_COPY..=length {
                reach(&mut cost, at + shorter, bits);
            }
        }
        let length = run_length(text, at);
        for shorter in LEAST_RUN..=length {
            reach(&mut cost, at + shorter, here + OTHER_FLAG_BITS + 1.0 + gamma_bits(shorter));
        }
        for length in words::at(text, at) {
            reach(&mut cost, at + length, here + OTHER_FLAG_BITS + words::BITS);
        }
    }
    cost[text.len()]
}

/// How long a run up or down by one, or of one and the same byte, goes on from `at` (which itself follows a byte of it).
fn run_length(text: &[u8], at: usize) -> usize {
    let Some(before) = at.checked_sub(1).map(|index| text[index]) else { return 0 };
    [1_u8, u8::MAX]
        .into_iter()
        .map(|step| {
            let expected = std::iter::successors(Some(before.wrapping_add(step)), |byte| Some(byte.wrapping_add(step)));
            text[at..].iter().zip(expected).take_while(|(found, expected)| **found == *expected).count()
        })
        .max()
        .unwrap_or(0)
}

/// Where the bytes at a place stood before.
struct Copies {
    /// For each place the last earlier one with the same three bytes.
    earlier: Vec<Option<usize>>,
}

impl Copies {
    fn of(text: &[u8]) -> Self {
        let mut last = HashMap::new();
        let mut earlier = vec![None; text.len()];
        for (at, three) in text.windows(LEAST_COPY).enumerate() {
            earlier[at] = last.insert([three[0], three[1], three[2]], at);
        }
        Self { earlier }
    }

    /// The nearest few sources for a copy to `at`, and how long each can be.
    fn at(&self, text: &[u8], at: usize) -> impl Iterator<Item = (usize, usize)> {
        std::iter::successors(self.earlier[at], |source| self.earlier[*source]).take(SOURCES).map(move |source| {
            (source, text[source..].iter().zip(&text[at..]).take_while(|(early, late)| early == late).count())
        })
    }
}

/// What a single character costs.
enum Literal {
    Drawn(f64),
    English,
}

impl Literal {
    fn cheapest(text: &[u8]) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let smallest = ALPHABETS
            .iter()
            .filter(|alphabet| text.iter().all(|byte| (alphabet.holds)(*byte)))
            .map(Alphabet::bits)
            .fold(8.0, f64::min);
        let english: Option<f64> = text.iter().map(|byte| words::letter_bits(*byte)).sum();
        match english {
            Some(bits) if bits < smallest * count(text.len()) => Some(Self::English),
            _ => Some(Self::Drawn(smallest)),
        }
    }

    fn bits(&self, byte: u8) -> f64 {
        match self {
            Self::Drawn(bits) => *bits,
            Self::English => words::letter_bits(byte).unwrap_or(8.0),
        }
    }
}

/// What a generator draws from.
struct Alphabet {
    name: &'static str,
    size: u16,
    holds: fn(u8) -> bool,
    padding: Option<u8>,
}

impl Alphabet {
    fn bits(&self) -> f64 {
        f64::from(self.size).log2()
    }

    fn strip_padding<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        match self.padding {
            Some(padding) => {
                let end = text.iter().rposition(|byte| *byte != padding).map_or(0, |last| last + 1);
                // Base64 has two of them at most; more are characters like any other.
                &text[..end.max(text.len().saturating_sub(2))]
            }
            None => text,
        }
    }
}

/// 122 bits of a version 4 UUID are random.
fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The length of Elias' gamma code, which can say any number without a limit.
fn gamma_bits(number: usize) -> f64 {
    2.0 * count(number).log2().floor() + 1.0
}

#[expect(clippy::cast_precision_loss, reason = "lengths of keys are far below 2^52")]
fn count(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, and bits are few")]
fn floor(bits: f64) -> u32 {
    // A hair above, so that 32 digits of 4 bits are 128 bits and not a little less.
    (bits + 1e-6).floor() as u32
}

const RAW: &str = "raw";

const ALPHABETS: &[Alphabet] = &[
    Alphabet { name: "digits", size: 10, holds: |b| b.is_ascii_digit(), padding: None },
    Alphabet { name: "hex", size: 16, holds: |b| matches!(b, b'0'..=b'9' | b'a'..=b'f'), padding: None },
    Alphabet { name: "HEX", size: 16, holds: |b| matches!(b, b'0'..=b'9' | b'A'..=b'F'), padding: None },
    Alphabet { name: "lower", size: 26, holds: |b| b.is_ascii_lowercase(), padding: None },
    Alphabet { name: "upper", size: 26, holds: |b| b.is_ascii_uppercase(), padding: None },
    Alphabet { name: "base32", size: 32, holds: |b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'), padding: Some(b'=') },
    Alphabet { name: "base36", size: 36, holds: |b| b.is_ascii_lowercase() || b.is_ascii_digit(), padding: None },
    Alphabet { name: "BASE36", size: 36, holds: |b| b.is_ascii_uppercase() || b.is_ascii_digit(), padding: None },
    Alphabet { name: "letters", size: 52, holds: |b| b.is_ascii_alphabetic(), padding: None },
    Alphabet { name: "base62", size: 62, holds: |b| b.is_ascii_alphanumeric(), padding: None },
    Alphabet {
        name: "base64",
        size: 64,
        holds: |b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'),
        padding: Some(b'='),
    },
    Alphabet {
        name: "base64url",
        size: 64,
        holds: |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'),
        padding: Some(b'='),
    },
    Alphabet { name: "graphic", size: 94, holds: |b| b.is_ascii_graphic(), padding: None },
    Alphabet { name: "printable", size: 95, holds: |b| b.is_ascii_graphic() || b == b' ', padding: None },
    Alphabet { name: RAW, size: 256, holds: |_| true, padding: None },
];

/// How much shorter a description must be than a random key's for the key not to count as random: one random key in
/// four thousand million is misjudged, if its alphabet gives it the least entropy that is allowed.
const DOUBT_BITS: f64 = 32.0;
/// A literal comes in 15 of 16 cases.
const LITERAL_FLAG_BITS: f64 = 0.0932;
/// A copy, a run or a word shares the sixteenth case with the others.
const OTHER_FLAG_BITS: f64 = 4.0 + 1.585;
/// There are 15 alphabets and English.
const CHOICE_OF_ALPHABET_BITS: f64 = 4.0;
const UUID_BITS: f64 = 122.0;
const LEAST_COPY: usize = 3;
const LEAST_RUN: usize = 3;
/// How many sources of a copy are tried at each place.
const SOURCES: usize = 4;
/// No key needs more than this many bytes to be judged.
const EXAMINED: usize = 512;
