//! A forked child never seals under a nonce of its parent. It is a program of its own, with one thread, because it really forks.

#![expect(clippy::print_stdout, reason = "its line is its result")]

use std::io::{Read, Write};

use fork::Fork;
use keyroll_keyring::codec::Mint;
use keyroll_keyring::sealed::{Context, Member, SealedRing};
use keyroll_keyring::{Key, KeyId, Secret, UnixTime};

fn main() {
    let ring = ring();
    // The parent has drawn a batch and used one of it: the rest is what a child would inherit.
    nonces(&ring, 1);
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    let child = match fork::fork().expect("a child") {
        Fork::Child => {
            drop(reader);
            writer.write_all(&nonces(&ring, COUNT).concat()).expect("the parent reads");
            std::process::exit(0);
        }
        Fork::Parent(child) => child,
    };
    drop(writer);
    let mine = nonces(&ring, COUNT);
    let mut theirs = Vec::new();
    reader.read_to_end(&mut theirs).expect("the child writes");
    fork::waitpid(child).expect("the child ends");
    assert_eq!(theirs.len(), COUNT * NONCE_LEN, "the child sealed as many as it should");
    for nonce in theirs.chunks(NONCE_LEN) {
        assert!(!mine.iter().any(|other| other == nonce), "parent and child sealed under one nonce");
    }
    println!("a forked child and its parent: {COUNT} nonces each, none shared ... ok");
}

/// The nonces of `count` new tokens, by their place in `docs/reference/sealed-token.md`.
fn nonces(ring: &SealedRing, count: usize) -> Vec<Vec<u8>> {
    let context = Context::new("session", "login", "");
    let session =
        Mint { payload: b"user=42", issued_at: UnixTime(1_800_000_000), expires_at: Some(UnixTime(1_800_003_600)) };
    (0..count)
        .map(|_| {
            let text = ring.seal(&context, &session).expect("it is sealed");
            let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text).expect("base64url");
            bytes[NONCE_AT..NONCE_AT + NONCE_LEN].to_vec()
        })
        .collect()
}

fn ring() -> SealedRing {
    let key = Key::single(KeyId(1), Secret::from_bytes((0..32).map(|n| n * 7).collect()));
    SealedRing::new([Member::Active(&key)]).expect("a ring")
}

/// More than one batch.
const COUNT: usize = 40;
const NONCE_AT: usize = 56;
const NONCE_LEN: usize = 24;
