//! The `rails` codec against cookies that real Rails minted, and against everything that must not open.

use std::collections::BTreeMap;

use keyroll_keyring::codec::{self, Mint, OpenError, SessionCodec, rails};
use keyroll_keyring::{Key, KeyId, Secret, UnixTime};

const NOW: UnixTime = UnixTime(1_800_000_000);

fn codec_of(params: &[(&str, &str)]) -> Box<dyn SessionCodec> {
    let params: BTreeMap<String, String> = params.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    codec::build("rails", &params).expect("the parameters are right")
}

fn key(id: u32, text: &str) -> Key {
    Key::single(KeyId(id), Secret::from_text(text))
}

fn session(payload: &[u8]) -> Mint<'_> {
    Mint { payload, issued_at: NOW, expires_at: None }
}

/// One entry of `vectors/rails.json`, with the codec that it needs.
struct Vector {
    name: String,
    codec: Box<dyn SessionCodec>,
    key: Key,
    cookie: String,
    value: String,
    message: Vec<u8>,
    expires_at: Option<UnixTime>,
}

fn vectors() -> Vec<Vector> {
    let file: serde_json::Value = serde_json::from_str(include_str!("../vectors/rails.json")).expect("JSON");
    let entries = file["vectors"].as_array().expect("a list");
    entries
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            let text = |field: &str| entry[field].as_str().expect("text").to_owned();
            let kind = if text("kind") == "signed cookie" { "signed" } else { "encrypted" };
            let digest = if text("kdf").contains("HMAC-SHA256,") { "sha256" } else { "sha1" };
            let metadata = if entry["use_cookies_with_metadata"].as_bool().expect("a bool") { "on" } else { "off" };
            let set_cookie = text("set_cookie");
            let (cookie, rest) = set_cookie.split_once('=').expect("a cookie");
            let value = rest.split(';').next().expect("a value").to_owned();
            let plaintext =
                base64_simd::STANDARD.decode_to_vec(text("plaintext_b64")).expect("base64 of the plaintext");
            // Taken apart by a parser of its own, so that the codec is not its own judge.
            let (message, expires_at) = match serde_json::from_slice::<serde_json::Value>(&plaintext) {
                Ok(json) if json.get("_rails").is_some() => {
                    let message = json["_rails"]["message"].as_str().expect("base64").to_owned();
                    let exp = json["_rails"]["exp"].as_str().map(|at| at.parse::<jiff::Timestamp>().expect("a time"));
                    (base64_simd::STANDARD.decode_to_vec(message).expect("base64"), exp)
                }
                _ => (plaintext, None),
            };
            Vector {
                name: format!("#{index} {} {kind} {digest} {metadata}", text("library")),
                codec: codec_of(&[("cookie", cookie), ("kind", kind), ("digest", digest), ("metadata", metadata)]),
                key: key(1, &text("secret_key_base")),
                cookie: cookie.to_owned(),
                value,
                message,
                expires_at: expires_at.map(|at| UnixTime(at.as_second())),
            }
        })
        .collect()
}

#[test]
fn every_recorded_cookie_opens_to_the_payload_that_rails_sealed() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 18, "the two forms of AES-256-CBC are left out, nothing else");
    for vector in &vectors {
        let opened = vector.codec.open(&[&vector.key], &vector.value, NOW).unwrap_or_else(|error| {
            panic!("{}: {error}", vector.name);
        });
        assert_eq!(opened.payload.expose(), vector.message, "{}", vector.name);
        assert_eq!(opened.expires_at, vector.expires_at, "{}", vector.name);
        assert_eq!(opened.key, KeyId(1));
        assert_eq!(vector.codec.cookie_name(), vector.cookie);
    }
}

#[test]
fn a_recorded_cookie_opens_percent_encoded_and_raw() {
    for vector in vectors() {
        let raw = vector.value.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
        let lower = vector.value.replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d");
        for form in [raw, lower] {
            let opened = vector.codec.open(&[&vector.key], &form, NOW).expect("it opens");
            assert_eq!(opened.payload.expose(), vector.message);
        }
    }
}

#[test]
fn a_recorded_cookie_does_not_open_under_another_key_digest_or_salt() {
    for vector in vectors() {
        let other = key(2, &"0123456789abcdef".repeat(8));
        let error = vector.codec.open(&[&other], &vector.value, NOW).err();
        assert_eq!(error, Some(OpenError::Tampered), "{}", vector.name);
        let found = vector.codec.open(&[&other, &vector.key], &vector.value, NOW).expect("the second key opens it");
        assert_eq!(found.key, KeyId(1));

        let (kind, digest) = (
            if vector.name.contains("signed") { "signed" } else { "encrypted" },
            if vector.name.contains("sha256") { "sha1" } else { "sha256" },
        );
        let wrong_digest = codec_of(&[("cookie", &vector.cookie), ("kind", kind), ("digest", digest)]);
        assert!(wrong_digest.open(&[&vector.key], &vector.value, NOW).is_err());
        let right = if digest == "sha1" { "sha256" } else { "sha1" };
        let wrong_salt = codec_of(&[
            ("cookie", &vector.cookie),
            ("kind", kind),
            ("digest", right),
            ("salt", "other"),
            ("signedSalt", "other"),
        ]);
        assert!(wrong_salt.open(&[&vector.key], &vector.value, NOW).is_err());
    }
}

#[test]
fn no_single_changed_character_of_a_recorded_cookie_opens() {
    for vector in vectors() {
        let value = vector.value.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
        for at in 0..value.len() {
            let mut changed = value.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(vector.codec.open(&[&vector.key], &changed, NOW).is_err(), "{} at {at}", vector.name);
        }
    }
}

#[test]
fn the_plaintext_is_written_byte_for_byte_as_rails_writes_it() {
    let file: serde_json::Value = serde_json::from_str(include_str!("../vectors/rails.json")).expect("JSON");
    for (entry, vector) in file["vectors"].as_array().expect("a list").iter().zip(vectors()) {
        let mint = Mint { payload: &vector.message, issued_at: NOW, expires_at: vector.expires_at };
        let minted = vector.codec.mint(&vector.key, &mint).expect("it is minted");
        assert_eq!(minted.len(), vector.value.len() + escapes(&minted) - escapes(&vector.value), "{}", vector.name);
        if vector.name.contains("signed") {
            // Signing is deterministic: the whole cookie is the same.
            assert_eq!(minted, vector.value);
        } else {
            let derived = hex::decode(entry["derived_key_hex"].as_str().expect("hex")).expect("hex");
            let plaintext = entry["plaintext_b64"].as_str().expect("base64");
            assert_eq!(gcm_plaintext(&derived, &minted), plaintext, "{}", vector.name);
        }
    }
}

fn escapes(text: &str) -> usize {
    2 * text.matches('%').count()
}

/// Decrypts a minted cookie without the codec.
fn gcm_plaintext(derived: &[u8], minted: &str) -> String {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let value = minted.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    let fields: Vec<Vec<u8>> =
        value.split("--").map(|field| base64_simd::STANDARD.decode_to_vec(field).expect("base64")).collect();
    let [text, nonce, tag] = fields.as_slice() else { panic!("three fields") };
    let mut bytes = [text.as_slice(), tag].concat();
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, derived).expect("32 bytes"));
    let nonce = Nonce::try_assume_unique_for_key(nonce).expect("12 bytes");
    let plaintext = key.open_in_place(nonce, Aad::empty(), &mut bytes).expect("it opens");
    base64_simd::STANDARD.encode_to_string(plaintext)
}

#[test]
fn a_session_ends_at_its_expiry_and_not_a_second_later() {
    for kind in ["encrypted", "signed"] {
        let codec = codec_of(&[("cookie", "s"), ("kind", kind)]);
        let key = key(1, "a key");
        let mint = Mint { payload: b"{}", issued_at: NOW, expires_at: Some(UnixTime(NOW.0 + 60)) };
        let token = codec.mint(&key, &mint).expect("it is minted");
        let opened = codec.open(&[&key], &token, UnixTime(NOW.0 + 59)).expect("it is still valid");
        assert_eq!(opened.expires_at, Some(UnixTime(NOW.0 + 60)));
        assert_eq!(codec.open(&[&key], &token, UnixTime(NOW.0 + 60)).err(), Some(OpenError::Expired));
        assert!(codec.reseal(&[&key], &key, &token, UnixTime(NOW.0 + 60)).is_err());
    }
}

#[test]
fn sealing_again_keeps_payload_and_expiry_and_changes_the_key() {
    for (kind, metadata) in [("encrypted", "on"), ("encrypted", "off"), ("signed", "on"), ("signed", "off")] {
        let codec = codec_of(&[("cookie", "s"), ("kind", kind), ("metadata", metadata)]);
        let (old, new) = (key(1, "old"), key(2, "new"));
        let mint = Mint { payload: b"\x04\x08marshal", issued_at: NOW, expires_at: Some(UnixTime(NOW.0 + 60)) };
        let token = codec.mint(&old, &mint).expect("it is minted");
        let token = codec.reseal(&[&new, &old], &new, &token, NOW).expect("it is sealed again");
        let opened = codec.open(&[&old, &new], &token, NOW).expect("it opens");
        assert_eq!(opened.key, KeyId(2));
        assert_eq!(opened.payload.expose(), b"\x04\x08marshal");
        assert_eq!(opened.expires_at, (metadata == "on").then_some(UnixTime(NOW.0 + 60)));
    }
}

#[test]
fn a_cookie_with_a_purpose_opens_only_under_its_own_name() {
    let codec = codec_of(&[("cookie", "one&two")]);
    let other = codec_of(&[("cookie", "other")]);
    let key = key(1, "a key");
    let token = codec.mint(&key, &session(b"{}")).expect("it is minted");
    assert!(codec.open(&[&key], &token, NOW).is_ok());
    assert_eq!(other.open(&[&key], &token, NOW).err(), Some(OpenError::OtherPurpose));
    // Without an envelope nothing binds the name, and Rails opens it too.
    let bare = codec_of(&[("cookie", "one&two"), ("metadata", "off")]);
    let token = bare.mint(&key, &session(b"{}")).expect("it is minted");
    assert!(other.open(&[&key], &token, NOW).is_ok());
}

#[test]
fn forms_that_are_not_a_cookie_are_malformed_and_long_ones_are_too_long() {
    let key = key(1, "a key");
    for kind in ["encrypted", "signed"] {
        let codec = codec_of(&[("cookie", "s"), ("kind", kind)]);
        let minted = codec.mint(&key, &session(b"{}")).expect("it is minted");
        for token in ["", "--", "----", "a", "%", "%2", "%zz", "AAAA--AAAA", "\u{e4}\u{f6}"] {
            assert_eq!(codec.open(&[&key], token, NOW).err(), Some(OpenError::Malformed), "{kind} `{token}`");
        }
        for token in [format!("{minted} "), format!(" {minted}"), format!("{minted}--"), minted.replacen('A', "A\n", 1)]
        {
            if token != minted {
                assert!(codec.open(&[&key], &token, NOW).is_err(), "{kind} `{token}`");
            }
        }
        assert_eq!(codec.open(&[&key], &"A".repeat(4097), NOW).err(), Some(OpenError::TooLong));
        assert_eq!(codec.open(&[&key], &"%41".repeat(4097), NOW).err(), Some(OpenError::TooLong));
        assert_eq!(codec.open(&[&key], &"A".repeat(1 << 20), NOW).err(), Some(OpenError::TooLong));
    }
}

#[test]
fn a_session_that_rails_would_refuse_to_write_is_not_minted() {
    let key = key(1, "a key");
    let codec = codec_of(&[("cookie", "s"), ("metadata", "off")]);
    // Three bytes become four characters; 60 more are the nonce, the tag and their separators.
    let longest = (4096 - 44) / 4 * 3;
    assert!(codec.mint(&key, &session(&vec![7; longest])).is_ok());
    let error = codec.mint(&key, &session(&vec![7; longest + 1])).expect_err("it is too long");
    assert_eq!(error.to_string(), "the session of 4100 bytes is longer than the 4096 bytes that the format allows");
    assert!(codec.mint(&key, &session(b"")).is_err());
    assert!(codec.mint(&Key::single(KeyId(1), Secret::from_bytes(vec![])), &session(b"{}")).is_err());
}

#[test]
fn a_probe_payload_is_a_session_with_an_id_of_its_own() {
    let extra = serde_json::json!({"user_id": 42, "session_id": "mine"});
    let payload = rails::probe_payload(extra.as_object().expect("an object")).expect("random bytes");
    let json: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
    assert_eq!(json["user_id"], 42);
    let id = json["session_id"].as_str().expect("text");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let again = rails::probe_payload(extra.as_object().expect("an object")).expect("random bytes");
    assert_ne!(payload, again);
}

#[test]
fn wrong_parameters_are_refused_with_the_nearest_right_one() {
    let build = |params: &[(&str, &str)]| {
        let params: BTreeMap<String, String> = params.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        codec::build("rails", &params).map(|_| ()).expect_err("it is refused").to_string()
    };
    assert_eq!(build(&[]), "codec `rails` needs the parameter `cookie`");
    assert!(build(&[("cookie", "s"), ("digst", "sha1")]).contains("did you mean `digest`?"));
    assert!(build(&[("cookie", "s"), ("digest", "sha-1")]).contains("did you mean `sha1`?"));
    assert!(build(&[("cookie", "a b")]).contains("RFC 6265"));
    assert!(build(&[("cookie", "s"), ("salt", "")]).contains("at least one character"));
}

#[test]
fn nothing_that_is_printed_holds_key_material() {
    let codec = codec_of(&[("cookie", "s")]);
    let key = key(1, "kerygma-kerygma-kerygma");
    codec.mint(&key, &session(b"{}")).expect("it is minted");
    assert!(!format!("{codec:?}").contains("kerygma"));
}
