//! Sealed tokens: opening never panics, what is sealed opens to the same, and nothing opens that was not sealed.
//!
//! A random input never has a valid tag. The input is therefore also taken as a payload, and as changes to a token that opens.

#![no_main]

use std::sync::LazyLock;

use keyroll_keyring::codec::{Mint, OpenError};
use keyroll_keyring::sealed::{Context, Member, PAYLOAD_MAX, SealedRing, inspect};
use keyroll_keyring::{Key, KeyId, Secret, UnixTime};
use libfuzzer_sys::fuzz_target;

const NOW: UnixTime = UnixTime(1_800_000_000);

static RING: LazyLock<SealedRing> = LazyLock::new(|| {
    let key = |id: u8| Key::single(KeyId(id.into()), Secret::from_bytes((0..32).map(|n| n * 5 + id).collect()));
    let (one, two) = (key(1), key(2));
    SealedRing::new([Member::Active(&one), Member::AcceptOnly(&two), Member::Retired(KeyId(7))]).expect("a ring")
});

fuzz_target!(|data: &[u8]| {
    let context = Context::new("session", "fuzz", "");

    // As a token: nobody sealed it.
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = inspect(text);
        assert!(RING.open(&context, text, NOW).is_err(), "a forged token was opened");
        assert!(RING.reseal(&context, text, NOW).is_err(), "a forged token was sealed again");
    }

    // As a payload: it comes back.
    let payload = &data[..data.len().min(PAYLOAD_MAX)];
    let mint = Mint { payload, issued_at: NOW, expires_at: Some(UnixTime(NOW.0 + 60)) };
    let text = RING.seal(&context, &mint).expect("it is sealed");
    let opened = RING.open(&context, &text, NOW).expect("what was sealed opens");
    assert_eq!(opened.payload(), payload);
    assert_eq!(RING.open(&context, &text, UnixTime(NOW.0 + 60)).err(), Some(OpenError::Expired));
    assert_eq!(RING.open(&Context::new("session", "", "fuzz"), &text, NOW).err(), Some(OpenError::Tampered));

    // As changes to a valid token: each pair of bytes is a place and a character.
    let mut changed = text.clone().into_bytes();
    for pair in data.chunks_exact(2).take(8) {
        let at = usize::from(pair[0]) * 7 % changed.len();
        changed[at] = pair[1] & 0x7f;
    }
    // Compared byte by byte: the fuzzer watches `memcmp`, and would learn a valid token there that nobody forged.
    if text.bytes().zip(&changed).any(|(before, after)| before != *after) {
        let changed = String::from_utf8(changed).expect("ASCII");
        assert!(RING.open(&context, &changed, NOW).is_err(), "a changed token was opened");
    }
});
