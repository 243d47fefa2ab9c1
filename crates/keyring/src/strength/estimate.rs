//! How much entropy a key has at most, as far as can be seen from the key alone.
//!
//! Two stories compete. One says: a generator drew every character from an alphabet, so the key is worth its length
//! times the bits of a character. The other describes the key in fewer bits: words, repeats, runs, a smaller alphabet.
//! The first story is dropped only where the second is shorter by [`DOUBT_BITS`]. A description that is shorter by `d`
//! bits fits at most one random key in 2^d, whatever the alphabet, because descriptions are prefix-free. So a random key
//! is never refused in practice. What it costs: 22 to 24 small letters, or 16 printable characters among raw bytes, pass.

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
        // A hair above, so that 32 digits of 4 bits are 128 bits and not a little less.
        .map(|worth| worth + 1e-6)
        .filter(|worth| *worth >= f64::from(ENTROPY_FLOOR_BITS) && description > worth - DOUBT_BITS)
        .fold(f64::INFINITY, f64::min);
    // Where no story of a strong key is believed, the description says best what the key is worth.
    floor(if believed.is_finite() { believed } else { description.min(count(text.len()) * 8.0) })
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
    let literals: Vec<f64> = text.iter().map(|byte| literal.bits(*byte)).collect();
    let plain = CHOICE_BITS + literals.iter().sum::<f64>();
    let hops = hops(text);
    if hops.is_empty() {
        return plain;
    }
    STYLES.iter().map(|style| CHOICE_BITS + style.describe(text, &literals, &hops)).fold(plain, f64::min)
}

/// A way to spell several characters at once.
struct Hop {
    at: usize,
    length: usize,
    means: Means,
}

enum Means {
    /// Of something that stands earlier.
    Copy,
    Run,
    Word,
}

/// All of them, in the order of their begins.
fn hops(text: &[u8]) -> Vec<Hop> {
    let mut hops = Vec::new();
    let mut last: [Option<usize>; SHELVES] = [None; SHELVES];
    for at in 0..text.len() {
        if let Some(three) = text.get(at..at + LEAST_COPY) {
            let shelf = usize::from(three[0]) * 31 + usize::from(three[1]) * 7 + usize::from(three[2]);
            // Other bytes may have taken the shelf meanwhile. A copy that is missed that way makes a key look better by
            // some bits, which does no harm where so much else must be alike.
            if let Some(source) = last[shelf % SHELVES].replace(at) {
                let longest = text[source..].iter().zip(&text[at..]).take_while(|(early, late)| early == late).count();
                hops.extend((LEAST_COPY..=longest).map(|length| Hop { at, length, means: Means::Copy }));
            }
        }
        hops.extend((LEAST_RUN..=run_length(text, at)).map(|length| Hop { at, length, means: Means::Run }));
        hops.extend(words::at(text, at).map(|length| Hop { at, length, means: Means::Word }));
    }
    hops
}

/// How often a style of writing turns to each of its means, in bits.
struct Style {
    literal: f64,
    copy: f64,
    run: f64,
    word: f64,
    /// Whether the mark that stands between words costs nothing, because it is the same each time.
    marked: Marked,
}

#[derive(Clone, Copy, PartialEq)]
enum Marked {
    /// Words stand in a row.
    No,
    /// A mark follows each word; which one costs a few bits once.
    Once,
}

impl Style {
    fn describe(&self, text: &[u8], literals: &[f64], hops: &[Hop]) -> f64 {
        let mark = match self.marked {
            Marked::No => None,
            Marked::Once => match MARKS.iter().copied().find(|mark| text.contains(mark)) {
                Some(mark) => Some(mark),
                None => return f64::INFINITY,
            },
        };
        let mut cost = vec![f64::INFINITY; text.len() + 1];
        cost[0] = if mark.is_some() { CHOICE_OF_MARK_BITS } else { 0.0 };
        let mut hops = hops.iter().peekable();
        for (at, literal) in literals.iter().enumerate() {
            let here = cost[at];
            reach(&mut cost, at + 1, here + self.literal + literal);
            while let Some(Hop { length, means, .. }) = hops.next_if(|hop| hop.at == at) {
                let end = at + length;
                match (means, mark) {
                    (Means::Copy, _) => {
                        reach(&mut cost, end, here + self.copy + count(at).log2() + gamma_bits(*length));
                    }
                    (Means::Run, _) => reach(&mut cost, end, here + self.run + 1.0 + gamma_bits(*length)),
                    (Means::Word, Some(mark)) if text.get(end) == Some(&mark) => {
                        reach(&mut cost, end + 1, here + self.word + words::BITS);
                    }
                    (Means::Word, Some(_)) if end < text.len() => {}
                    (Means::Word, Some(_) | None) => reach(&mut cost, end, here + self.word + words::BITS),
                }
            }
        }
        cost[text.len()]
    }
}

fn reach(cost: &mut [f64], end: usize, bits: f64) {
    if bits < cost[end] {
        cost[end] = bits;
    }
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
    bits.floor() as u32
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
/// 260 million is misjudged, if its alphabet gives it the least entropy that is allowed.
const DOUBT_BITS: f64 = 28.0;
/// Which of 16 alphabets, and which of four styles, or none: literals only.
const CHOICE_BITS: f64 = 6.33;
const STYLES: &[Style] = &[
    // Drawn characters, and now and then something else: 15 of 16 cases are literals.
    Style { literal: 0.0932, copy: 5.585, run: 5.585, word: 5.585, marked: Marked::No },
    // Mostly words: three of four cases.
    Style { literal: 3.0, copy: 4.0, run: 4.0, word: 0.4151, marked: Marked::No },
    // The same, with a mark after each.
    Style { literal: 3.0, copy: 4.0, run: 4.0, word: 0.4151, marked: Marked::Once },
    // Mostly runs and copies.
    Style { literal: 3.0, copy: 1.0, run: 2.0, word: 3.0, marked: Marked::No },
];
/// What stands between words; the first that is found.
const MARKS: &[u8] = b" _-.,";
const CHOICE_OF_MARK_BITS: f64 = 2.33;
const SHELVES: usize = 512;
const UUID_BITS: f64 = 122.0;
const LEAST_COPY: usize = 3;
const LEAST_RUN: usize = 3;
/// No key needs more than this many bytes to be judged.
const EXAMINED: usize = 512;
