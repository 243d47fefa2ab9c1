//! How sealed sessions and the `rails` codec stand against the peer that an application would otherwise use.
//!
//! Prints one line for each comparison: `ratio NAME VALUE limit LIMIT`. Both sides run alternately in short rounds, and the value
//! is the median of the rounds' ratios: what else the machine does then hits both sides alike. It never fails; it is no test.

#![expect(clippy::print_stdout, reason = "its lines are its result")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use cookie::{Cookie, CookieJar};
use keyroll_keyring::codec::Mint;
use keyroll_keyring::codec::rails::RailsCodec;
use keyroll_keyring::sealed::{Context, Member, SealedRing};
use keyroll_keyring::{Key, KeyId, Secret, UnixTime};

const NOW: UnixTime = UnixTime(1_800_000_000);
const PAYLOAD: [u8; 256] = [b'v'; 256];
const ROUNDS: usize = 301;
const CALLS_PER_ROUND: u32 = 400;

fn main() {
    let context = Context::new("session", "login", "");
    let session = Mint { payload: &PAYLOAD, issued_at: NOW, expires_at: Some(UnixTime(NOW.0 + 3600)) };
    let ring = ring_of(3);
    let text = ring.seal(&context, &session).expect("it is sealed");
    let mut open = || drop(black_box(ring.open(&context, black_box(&text), NOW).expect("it opens")));
    let mut seal = || drop(black_box(ring.seal(&context, black_box(&session)).expect("it is sealed")));

    let jar_key = cookie::Key::from(&material(9).expose().repeat(2));
    let value = String::from_utf8(PAYLOAD.to_vec()).expect("text");
    let mut jar = CookieJar::new();
    jar.private_mut(&jar_key).add(Cookie::new("session", value.clone()));
    let mut jar_open = || drop(black_box(jar.private(&jar_key).get(black_box("session")).expect("it opens")));
    let mut filled = CookieJar::new();
    let mut jar_seal = || filled.private_mut(&jar_key).add(Cookie::new("session", black_box(value.clone())));

    let gcm = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, material(8).expose()).expect("a key"));
    let mut sealed = PAYLOAD.to_vec();
    gcm.seal_in_place_append_tag(nonce(), Aad::empty(), &mut sealed).expect("it is sealed");
    let mut work = sealed.clone();
    let mut gcm_open = || {
        // In place, so that each call needs the ciphertext again.
        work.copy_from_slice(&sealed);
        black_box(gcm.open_in_place(nonce(), Aad::empty(), black_box(&mut work)).expect("it opens"));
    };

    compare("open_256/private_jar", 0.60, &mut open, &mut jar_open);
    compare("open_256/raw_gcm", 2.4, &mut open, &mut gcm_open);
    compare("seal_256/private_jar", 0.75, &mut seal, &mut jar_seal);

    // A token under every key of each ring, opened in turn: a ring that walks its keys would show it here.
    let (one, many) = (ring_of(1), ring_of(64));
    let one_texts = vec![one.seal(&context, &session).expect("it is sealed"); 64];
    let many_texts: Vec<String> =
        (0..64).map(|at| ring_with_active(64, at).seal(&context, &session)).map(Result::unwrap).collect();
    let (mut at_one, mut at_many) = (0, 0);
    compare(
        "open_64_keys/one_key",
        1.05,
        &mut || {
            at_many = (at_many + 1) % 64;
            drop(black_box(many.open(&context, &many_texts[at_many], NOW).expect("it opens")));
        },
        &mut || {
            at_one = (at_one + 1) % 64;
            drop(black_box(one.open(&context, &one_texts[at_one], NOW).expect("it opens")));
        },
    );

    let params = BTreeMap::from([("cookie".to_owned(), "_app_session".to_owned())]);
    let rails = RailsCodec::from_params(&params).expect("the parameters are right");
    let rails_key =
        rails.derive(&Key::single(KeyId(1), Secret::from_text(&"4b8cff1af239286f".repeat(8)))).expect("a key");
    // Rails gives a session cookie no expiry of its own.
    let header = rails.mint_with(&rails_key, &Mint { expires_at: None, ..session }).expect("it is minted");
    compare(
        "rails_open/private_jar",
        1.0,
        &mut || drop(black_box(rails.open_with(&[&rails_key], black_box(&header), NOW).expect("it opens"))),
        &mut jar_open,
    );
}

fn compare(name: &str, limit: f64, ours: &mut dyn FnMut(), peer: &mut dyn FnMut()) {
    // A word on the command line picks the comparisons that contain it; cargo adds options of its own.
    if std::env::args().skip(1).any(|word| !word.starts_with('-') && !name.contains(&word)) {
        return;
    }
    let (mut ratios, mut ours_best, mut peer_best) = (Vec::with_capacity(ROUNDS), f64::MAX, f64::MAX);
    for round in 0..ROUNDS {
        // Who goes first alternates as well.
        let (ours_took, peer_took) = if round % 2 == 0 {
            let ours_took = time(ours);
            (ours_took, time(peer))
        } else {
            let peer_took = time(peer);
            (time(ours), peer_took)
        };
        ratios.push(ours_took / peer_took);
        ours_best = ours_best.min(ours_took);
        peer_best = peer_best.min(peer_took);
    }
    ratios.sort_by(f64::total_cmp);
    println!("ratio {name} {:.3} limit {limit}", ratios[ROUNDS / 2]);
    println!("# {name}: at best {ours_best:.0} ns against {peer_best:.0} ns a call");
}

/// Nanoseconds a call.
fn time(call: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS_PER_ROUND {
        call();
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS_PER_ROUND)
}

fn ring_of(count: u32) -> SealedRing {
    ring_with_active(count, count - 1)
}

fn ring_with_active(count: u32, active: u32) -> SealedRing {
    let keys: Vec<Key> = (0..count).map(|n| Key::single(KeyId(n + 1), material(n))).collect();
    let members =
        (0..).zip(&keys).map(|(n, key)| if n == active { Member::Active(key) } else { Member::AcceptOnly(key) });
    SealedRing::new(members).expect("a ring")
}

/// Test material, different for each `n`.
fn material(n: u32) -> Secret {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &n.to_be_bytes());
    Secret::from_bytes(digest.as_ref().to_vec())
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([7; 12])
}
