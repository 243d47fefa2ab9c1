//! Rails cookies, encrypted and signed, with and without envelope: opening never panics, what is minted opens to the same, and
//! nothing opens that was not minted.
//!
//! The payload takes part in the plaintext's form (an envelope begins with certain bytes), hence bare payloads are fuzzed as well.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use keyroll_keyring::codec::Mint;
use keyroll_keyring::codec::rails::{DerivedKey, RailsCodec};
use keyroll_keyring::{Key, KeyId, Secret, UnixTime};
use libfuzzer_sys::fuzz_target;

const NOW: UnixTime = UnixTime(1_800_000_000);

static CASES: LazyLock<Vec<(RailsCodec, DerivedKey, bool)>> = LazyLock::new(|| {
    let key = Key::single(KeyId(1), Secret::from_text(&"4b8cff1af239286f".repeat(8)));
    let case = |kind: &str, digest: &str, metadata: &str| {
        let params = [("cookie", "_app_session"), ("kind", kind), ("digest", digest), ("metadata", metadata)];
        let params: BTreeMap<String, String> = params.map(|(name, value)| (name.into(), value.into())).into();
        let codec = RailsCodec::from_params(&params).expect("the parameters are right");
        let derived = codec.derive(&key).expect("a key");
        (codec, derived, metadata == "on")
    };
    vec![
        case("encrypted", "sha1", "on"),
        case("encrypted", "sha256", "off"),
        case("signed", "sha256", "on"),
        case("signed", "sha1", "off"),
    ]
});

fuzz_target!(|data: &[u8]| {
    for (codec, key, enveloped) in CASES.iter() {
        // As a cookie: nobody minted it.
        if let Ok(text) = std::str::from_utf8(data) {
            assert!(codec.open_with(&[key], text, NOW).is_err(), "a forged cookie was opened");
            assert!(codec.reseal_with(&[key], key, text, NOW).is_err(), "a forged cookie was sealed again");
        }

        // As a payload: it comes back. Only a bare payload that looks like an envelope is another thing to Rails too.
        let payload = &data[..data.len().min(1500)];
        let expires_at = (data.len() % 2 == 0).then_some(UnixTime(NOW.0 + 60));
        let Ok(text) = codec.mint_with(key, &Mint { payload, issued_at: NOW, expires_at }) else {
            assert!(payload.is_empty(), "a payload was refused");
            continue;
        };
        let looks_enveloped = payload.starts_with(br#"{"_rails":{"message":""#);
        match codec.open_with(&[key], &text, NOW) {
            Ok(opened) if *enveloped || !looks_enveloped => assert_eq!(opened.payload.expose(), payload),
            Ok(_) => {}
            Err(error) => assert!(!enveloped && looks_enveloped, "what was minted did not open: {error}"),
        }

        // As changes to a valid cookie, without escapes: those can be written in several ways and mean the same.
        let original = text.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=").into_bytes();
        let mut changed = original.clone();
        for pair in data.chunks_exact(2).take(8) {
            let at = usize::from(pair[0]) * 7 % changed.len();
            // Never a `%`: it could spell the character that was there.
            changed[at] = if pair[1] & 0x7f == b'%' { b'A' } else { pair[1] & 0x7f };
        }
        // Compared byte by byte: the fuzzer watches `memcmp`, and would learn a valid cookie there that nobody forged.
        if original.iter().zip(&changed).any(|(before, after)| before != after) {
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(codec.open_with(&[key], &changed, NOW).is_err(), "a changed cookie was opened");
        }
    }
});
