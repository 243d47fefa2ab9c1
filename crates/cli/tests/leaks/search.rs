//! Finds any eight bytes in a row of any key: raw, in hexadecimal of either case, in base64 and in base64url.
//!
//! Base64 turns three bytes into four characters, so eight bytes look different at each of the three places at which they can
//! begin. Ten characters of each are theirs alone, whatever stands before and behind, and those are looked for.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use keyroll_keyring::{Encoding, Secret};

/// Secrets by their bytes, each with a name that may be shown.
#[derive(Default)]
pub(crate) struct Keys(BTreeMap<Vec<u8>, String>);

impl Keys {
    /// Remembers a secret as it is written, and the bytes that it encodes. What is too short has no eight bytes.
    pub(crate) fn learn(&mut self, name: &str, text: &[u8]) {
        let text = text.trim_ascii();
        let written = Secret::from_bytes(text.to_vec());
        let encodings: &[Encoding] = match text.iter().all(u8::is_ascii_hexdigit) {
            // Digits are base64 as well, of bytes that mean nothing.
            true => &[Encoding::Hex],
            false => &[Encoding::Base64, Encoding::Base64Url],
        };
        for encoding in encodings {
            if let Ok(bytes) = written.decoded(*encoding) {
                self.insert(bytes.expose().to_vec(), format!("{name}, decoded"));
            }
        }
        self.insert(text.to_vec(), name.to_owned());
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn insert(&mut self, bytes: Vec<u8>, name: String) {
        if bytes.len() >= WINDOW {
            self.0.entry(bytes).or_insert(name);
        }
    }
}

/// How a window was written.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Spelling {
    Raw,
    LowerHex,
    UpperHex,
    /// With the number of bytes, modulo three, that stand before the window.
    Base64(usize),
    Base64Url(usize),
}

impl Spelling {
    pub(crate) const ALL: [Self; 9] = [
        Self::Raw,
        Self::LowerHex,
        Self::UpperHex,
        Self::Base64(0),
        Self::Base64(1),
        Self::Base64(2),
        Self::Base64Url(0),
        Self::Base64Url(1),
        Self::Base64Url(2),
    ];

    /// What of the window's spelling does not depend on its neighbours.
    fn of(self, window: &[u8]) -> Vec<u8> {
        let base64 = |encoding, before: usize| {
            let shifted = Secret::from_bytes([&vec![0; before], window].concat());
            let text = shifted.encoded(encoding);
            let (from, to) = ((before * 8).div_ceil(6), (before + window.len()) * 8 / 6);
            text.expose()[from..to].to_vec()
        };
        match self {
            Self::Raw => window.to_vec(),
            Self::LowerHex => Secret::from_bytes(window.to_vec()).encoded(Encoding::Hex).expose().to_vec(),
            Self::UpperHex => Self::LowerHex.of(window).to_ascii_uppercase(),
            Self::Base64(before) => base64(Encoding::Base64, before),
            Self::Base64Url(before) => base64(Encoding::Base64Url, before),
        }
    }
}

/// A piece of a key that was found. It says where, and never what.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Hit {
    pub(crate) key: String,
    /// The first byte of the window within the key.
    pub(crate) window: usize,
    pub(crate) spelling: Spelling,
    /// Where the window begins in what was searched.
    pub(crate) at: usize,
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, window, spelling, at } = self;
        write!(f, "bytes {window} to {} of {key} ({spelling:?}) at byte {at}", window + WINDOW)
    }
}

/// Every window of every key in every spelling, ready to be looked for at once.
pub(crate) struct Searcher<'a> {
    keys: Vec<(&'a [u8], &'a str)>,
    /// By the first eight bytes of a spelling.
    needles: HashMap<[u8; WINDOW], Vec<Needle>>,
    /// Whether anything begins with bytes of that hash; answers nearly always with no.
    filter: Vec<bool>,
}

struct Needle {
    text: Vec<u8>,
    key: usize,
    window: usize,
    spelling: Spelling,
}

impl<'a> Searcher<'a> {
    pub(crate) fn new(keys: &'a Keys) -> Self {
        let keys: Vec<_> = keys.0.iter().map(|(bytes, name)| (bytes.as_slice(), name.as_str())).collect();
        let mut searcher = Self { keys, needles: HashMap::new(), filter: vec![false; 1 << FILTER_BITS] };
        for (key, (bytes, _)) in searcher.keys.iter().enumerate() {
            for (window, content) in bytes.windows(WINDOW).enumerate() {
                for spelling in Spelling::ALL {
                    let text = spelling.of(content);
                    let start = first_bytes(&text);
                    searcher.filter[hash(start)] = true;
                    searcher.needles.entry(start).or_default().push(Needle { text, key, window, spelling });
                }
            }
        }
        searcher
    }

    /// The first piece of each key that `text` holds.
    pub(crate) fn search(&self, text: &[u8]) -> Vec<Hit> {
        let mut hits: BTreeMap<usize, Hit> = BTreeMap::new();
        for at in 0..(text.len() + 1).saturating_sub(WINDOW) {
            let start = first_bytes(&text[at..]);
            if !self.filter[hash(start)] {
                continue;
            }
            for needle in self.needles.get(&start).into_iter().flatten() {
                if text[at..].starts_with(&needle.text) && !self.is_digest(needle, text, at) {
                    hits.entry(needle.key).or_insert_with(|| Hit {
                        key: self.keys[needle.key].1.to_owned(),
                        window: needle.window,
                        spelling: needle.spelling,
                        at,
                    });
                }
            }
        }
        hits.into_values().collect()
    }

    /// Whether this is chance. Rails' keys are hexadecimal digits as text, so eight bytes of one are thirty-two bits, and the
    /// journal is full of digests: one of some hundred runs would find eight equal digits in one of them. Twelve it never finds, and
    /// a piece of a key that stands by itself is no digest.
    fn is_digest(&self, needle: &Needle, text: &[u8], at: usize) -> bool {
        let (key, _) = self.keys[needle.key];
        if needle.spelling != Spelling::Raw || !key.iter().all(u8::is_ascii_hexdigit) {
            return false;
        }
        let is_digit = |index: &usize| text[*index].is_ascii_hexdigit();
        let run = (0..at).rev().take_while(is_digit).count() + (at..text.len()).take_while(is_digit).count();
        let before = key[..needle.window].iter().rev().zip(text[..at].iter().rev()).take_while(|(a, b)| a == b).count();
        let behind = key[needle.window..].iter().zip(&text[at..]).take_while(|(a, b)| a == b).count();
        run >= SHORTEST_DIGEST && before + behind < CERTAIN_DIGITS
    }
}

fn first_bytes(text: &[u8]) -> [u8; WINDOW] {
    let mut start = [0; WINDOW];
    start.copy_from_slice(&text[..WINDOW]);
    start
}

/// Cheap, because it runs for each byte of all that is searched.
fn hash(start: [u8; WINDOW]) -> usize {
    usize::try_from(u64::from_le_bytes(start).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_BITS)).unwrap_or(0)
}

pub(crate) const WINDOW: usize = 8;
const FILTER_BITS: u32 = 20;
const SHORTEST_DIGEST: usize = 16;
const CERTAIN_DIGITS: usize = 12;
