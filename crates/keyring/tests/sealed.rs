//! Sealed sessions: every vector, every kind of failure, and what a ring does with its keys.

use std::collections::BTreeMap;

use keyroll_keyring::codec::{self, Mint, MintError, OpenError, ResealError};
use keyroll_keyring::sealed::{Context, Member, PAYLOAD_MAX, SealedRing, SealedRingError, TEXT_MAX, inspect};
use keyroll_keyring::{Key, KeyId, Secret, UnixTime};
use proptest::prelude::*;

const NOW: UnixTime = UnixTime(1_800_000_000);

fn key(id: u32) -> Key {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &id.to_be_bytes());
    Key::single(KeyId(id), Secret::from_bytes(digest.as_ref().to_vec()))
}

fn context() -> Context {
    Context::new("session", "login", "")
}

fn session(payload: &[u8]) -> Mint<'_> {
    Mint { payload, issued_at: NOW, expires_at: Some(UnixTime(NOW.0 + 3600)) }
}

#[test]
fn every_vector_opens_or_fails_with_its_kind() {
    let file: serde_json::Value = serde_json::from_str(include_str!("../vectors/sealed-token.json")).expect("JSON");
    let keys: Vec<Key> = file["ring"]["keys"]
        .as_object()
        .expect("keys")
        .iter()
        .map(|(id, material)| {
            let material = Secret::from_hex(material.as_str().expect("text").as_bytes()).expect("hexadecimal");
            Key::single(KeyId(id.parse().expect("an id")), material)
        })
        .collect();
    let members = keys.iter().enumerate().map(|(at, key)| match at {
        0 => Member::Active(key),
        _ => Member::AcceptOnly(key),
    });
    let ring = SealedRing::new(members.chain([Member::Retired(KeyId(7))])).expect("a ring");
    let vectors = file["open"].as_array().expect("a list");
    assert_eq!(vectors.len(), 42);
    for vector in vectors {
        let text = |name: &str| vector[name].as_str().expect("text");
        let context = Context::new(text("cookie"), text("purpose"), text("tenant"));
        let now = UnixTime(vector["now"].as_i64().expect("a time"));
        let result = match ring.open(&context, text("token"), now) {
            Ok(session) => serde_json::json!({
                "key": session.key().0,
                "issuedAt": session.issued_at().0,
                "expiresAt": session.expires_at().0,
                "payload": hex::encode(session.payload()),
            }),
            Err(error) => serde_json::json!({ "error": kind(error) }),
        };
        assert_eq!(result, vector["result"], "{}", text("name"));
    }
}

fn kind(error: OpenError) -> &'static str {
    match error {
        OpenError::UnknownKey => "unknownKey",
        OpenError::RetiredKey => "retiredKey",
        OpenError::Expired => "expired",
        OpenError::NotYetValid => "notYetValid",
        OpenError::Tampered => "tampered",
        OpenError::Malformed => "malformed",
        OpenError::TooLong => "tooLong",
        other => panic!("sealed tokens do not fail by `{other}`"),
    }
}

#[test]
fn a_client_gets_the_same_answer_for_every_kind_of_failure() {
    let kinds = [
        OpenError::UnknownKey,
        OpenError::RetiredKey,
        OpenError::Expired,
        OpenError::NotYetValid,
        OpenError::Tampered,
        OpenError::Malformed,
        OpenError::TooLong,
    ];
    for kind in kinds {
        assert_eq!(kind.to_client().to_string(), "the session is not valid");
    }
}

#[test]
fn no_single_changed_bit_opens() {
    let key = key(1);
    let ring = SealedRing::new([Member::Active(&key)]).expect("a ring");
    let text = ring.seal(&context(), &session(b"user=42")).expect("it is sealed");
    let token = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(&text).expect("base64");
    for bit in 0..token.len() * 8 {
        let mut changed = token.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let changed = base64_simd::URL_SAFE_NO_PAD.encode_to_string(&changed);
        assert!(ring.open(&context(), &changed, NOW).is_err(), "bit {bit}");
    }
}

#[test]
fn sealing_again_keeps_both_times_and_takes_the_active_key() {
    let (old, new) = (key(1), key(2));
    let before = SealedRing::new([Member::Active(&old)]).expect("a ring");
    let after = SealedRing::new([Member::AcceptOnly(&old), Member::Active(&new)]).expect("a ring");
    let text = before.seal(&context(), &session(b"user=42")).expect("it is sealed");
    let later = UnixTime(NOW.0 + 1000);
    let text = after.reseal(&context(), &text, later).expect("it is sealed again");
    let opened = after.open(&context(), &text, later).expect("it opens");
    assert_eq!((opened.key(), opened.payload()), (KeyId(2), b"user=42".as_slice()));
    assert_eq!((opened.issued_at(), opened.expires_at()), (NOW, UnixTime(NOW.0 + 3600)));

    let ended = UnixTime(NOW.0 + 3600);
    let error = after.reseal(&context(), &text, ended).expect_err("its time is over");
    assert!(matches!(error, ResealError::Open(OpenError::Expired)));
}

#[test]
fn a_retired_key_is_told_from_an_unknown_one() {
    let (old, new) = (key(1), key(2));
    let text =
        SealedRing::new([Member::Active(&old)]).expect("a ring").seal(&context(), &session(b"x")).expect("sealed");
    let retired = SealedRing::new([Member::Retired(KeyId(1)), Member::Active(&new)]).expect("a ring");
    assert_eq!(retired.open(&context(), &text, NOW).err(), Some(OpenError::RetiredKey));
    let unknown = SealedRing::new([Member::Active(&new)]).expect("a ring");
    assert_eq!(unknown.open(&context(), &text, NOW).err(), Some(OpenError::UnknownKey));
}

#[test]
fn other_material_under_the_same_id_is_refused_before_anything_is_decrypted() {
    let text =
        SealedRing::new([Member::Active(&key(1))]).expect("a ring").seal(&context(), &session(b"x")).expect("sealed");
    let impostor = Key::single(KeyId(1), key(2).material().duplicate());
    let ring = SealedRing::new([Member::Active(&impostor)]).expect("a ring");
    assert_eq!(ring.open(&context(), &text, NOW).err(), Some(OpenError::Tampered));
}

#[test]
fn what_can_not_be_sealed_is_refused_with_the_reason() {
    let key = key(1);
    let ring = SealedRing::new([Member::Active(&key)]).expect("a ring");
    let longest = ring.seal(&context(), &session(&vec![7; PAYLOAD_MAX])).expect("the longest payload fits");
    assert!(longest.len() <= TEXT_MAX && longest.starts_with("krs1"));
    let too_long = ring.seal(&context(), &session(&vec![7; PAYLOAD_MAX + 1])).expect_err("it is too long");
    assert!(matches!(too_long, MintError::TooLong { length: 2977, limit: 2976 }));
    for (issued_at, expires_at) in [(0, None), (-1, Some(1)), (5, Some(5)), (5, Some(4))] {
        let mint = Mint { payload: b"", issued_at: UnixTime(issued_at), expires_at: expires_at.map(UnixTime) };
        assert!(matches!(ring.seal(&context(), &mint), Err(MintError::Times { .. })));
    }
}

#[test]
fn an_illegal_ring_can_not_be_built() {
    let (one, two) = (key(1), key(2));
    let twin = Key::single(KeyId(3), key(1).material().duplicate());
    let short = Key::single(KeyId(4), Secret::from_bytes(vec![1; 31]));
    let built = |members: &[Member<'_>]| SealedRing::new(members.iter().copied()).map(|_| ()).expect_err("refused");
    assert_eq!(built(&[]), SealedRingError::NoActive);
    assert_eq!(built(&[Member::AcceptOnly(&one)]), SealedRingError::NoActive);
    let both = SealedRingError::SecondActive { first: KeyId(1), second: KeyId(2) };
    assert_eq!(built(&[Member::Active(&one), Member::Active(&two)]), both);
    let same = SealedRingError::SameMaterial { first: KeyId(1), second: KeyId(3) };
    assert_eq!(built(&[Member::Active(&one), Member::AcceptOnly(&twin)]), same);
    let again = SealedRingError::SameId { id: KeyId(1) };
    assert_eq!(built(&[Member::Active(&one), Member::Retired(KeyId(1))]), again);
    let length = SealedRingError::Length { id: KeyId(4), length: 31 };
    assert_eq!(built(&[Member::Active(&short)]), length);
}

#[test]
fn the_codec_and_the_ring_open_what_the_other_sealed() {
    let params =
        BTreeMap::from([("cookie".to_owned(), "session".to_owned()), ("purpose".to_owned(), "login".to_owned())]);
    let codec = codec::build("sealed", &params).expect("the parameters are right");
    let (one, two) = (key(1), key(2));
    let ring = SealedRing::new([Member::Active(&one), Member::AcceptOnly(&two)]).expect("a ring");

    let text = codec.mint(&two, &session(b"from the codec")).expect("it is minted");
    assert_eq!(ring.open(&context(), &text, NOW).expect("it opens").payload(), b"from the codec");

    let text = ring.seal(&context(), &session(b"from the ring")).expect("it is sealed");
    let opened = codec.open(&[&two, &one], &text, NOW).expect("it opens");
    assert_eq!((opened.key, opened.payload.expose()), (KeyId(1), b"from the ring".as_slice()));
    assert_eq!((opened.issued_at, opened.expires_at), (Some(NOW), Some(UnixTime(NOW.0 + 3600))));
    assert_eq!(codec.open(&[&two], &text, NOW).err(), Some(OpenError::UnknownKey));

    let text = codec.reseal(&[&one], &two, &text, NOW).expect("it is sealed again");
    assert_eq!(codec.open(&[&two], &text, NOW).expect("it opens").key, KeyId(2));
}

#[test]
fn inspecting_needs_no_key_and_nothing_that_is_printed_holds_the_payload() {
    let key = key(5);
    let ring = SealedRing::new([Member::Active(&key)]).expect("a ring");
    let text = ring.seal(&context(), &session(b"kerygma")).expect("it is sealed");
    let header = inspect(&text).expect("it is a token");
    assert_eq!((header.key, header.issued_at, header.payload_len), (KeyId(5), NOW, 7));
    let opened = ring.open(&context(), &text, NOW).expect("it opens");
    assert!(!format!("{ring:?}{opened:?}").contains("kerygma"));
}

proptest! {
    #[test]
    fn whatever_is_sealed_opens_to_the_same(
        payload in proptest::collection::vec(any::<u8>(), 0..=PAYLOAD_MAX),
        id in any::<u32>(),
        issued_at in 0..i64::MAX / 2,
        lifetime in 1..i64::MAX / 2,
        tenant in ".*",
    ) {
        let key = key(id);
        let ring = SealedRing::new([Member::Active(&key)]).expect("a ring");
        let context = Context::new("session", "login", &tenant);
        let expires_at = UnixTime(issued_at + lifetime);
        let mint = Mint { payload: &payload, issued_at: UnixTime(issued_at), expires_at: Some(expires_at) };
        let text = ring.seal(&context, &mint).expect("it is sealed");
        let opened = ring.open(&context, &text, UnixTime(issued_at)).expect("it opens");
        prop_assert_eq!(opened.payload(), &payload);
        prop_assert_eq!((opened.key(), opened.expires_at()), (KeyId(id), expires_at));
    }
}
