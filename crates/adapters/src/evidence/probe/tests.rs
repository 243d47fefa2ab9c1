use std::num::NonZeroU16;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keyroll_keyring::KeyId;

use super::*;
use crate::evidence::testing::{App, Manner, NOW, Worker, about, key, rails};
use crate::evidence::{Answer, AskedKey, Statement, Subject};

fn access() -> HttpAccess {
    HttpAccess::within(Duration::from_secs(5))
}

fn by_reissue() -> ProbeConfig {
    ProbeConfig::by_reissue("/me".into(), access())
}

fn by_status() -> ProbeConfig {
    ProbeConfig { accepted: Look::status([200]), rejected: Look::status([401]), ..by_reissue() }
}

fn probe(config: ProbeConfig) -> Probe {
    Probe::new(rails(), config).unwrap()
}

fn said(testimony: &Testimony, subject: Subject, key: u32) -> (Answer, String) {
    let fits = |one: &&Statement| one.subject == subject && one.key == KeyId(key);
    let statement = testimony.statements.iter().find(fits).expect("a statement about each key");
    assert_eq!(statement.level, Level::P3);
    (statement.answer, statement.detail.clone())
}

fn accepts(testimony: &Testimony, key: u32) -> Answer {
    said(testimony, Subject::Accepts, key).0
}

fn mints(testimony: &Testimony, key: u32) -> Answer {
    said(testimony, Subject::Mints, key).0
}

fn all_unknown(testimony: &Testimony) -> String {
    assert!(!testimony.statements.is_empty());
    for statement in &testimony.statements {
        assert_eq!(statement.answer, Answer::Unknown, "{statement:?}");
    }
    testimony.statements[0].detail.clone()
}

#[tokio::test]
async fn reissue_tells_accepting_rejecting_and_minting_without_a_login() {
    let (old, new, third, decoy) = (key(1), key(2), key(3), key(9));
    let app = App::start(Manner::Rails, &new, &[&old]).await;
    let testimony = probe(by_reissue()).ask(&app.member, &about(&[&old, &new, &third], &decoy)).await;
    assert_eq!([1, 2, 3].map(|id| accepts(&testimony, id)), [Answer::Yes, Answer::Yes, Answer::No]);
    assert_eq!([1, 2, 3].map(|id| mints(&testimony, id)), [Answer::No, Answer::Yes, Answer::No]);
}

#[tokio::test]
async fn status_tells_accepting_and_nothing_about_minting() {
    let (old, new, decoy) = (key(1), key(2), key(9));
    let app = App::start(Manner::Status, &old, &[]).await;
    let testimony = probe(by_status()).ask(&app.member, &about(&[&old, &new], &decoy)).await;
    assert_eq!([1, 2].map(|id| accepts(&testimony, id)), [Answer::Yes, Answer::No]);
    assert_eq!([1, 2].map(|id| mints(&testimony, id)), [Answer::Unknown; 2]);
}

#[tokio::test]
async fn a_member_that_accepts_everything_is_caught_by_the_decoy() {
    let (old, decoy) = (key(1), key(9));
    let app = App::start(Manner::AcceptsAll, &old, &[]).await;
    let reason = all_unknown(&probe(by_status()).ask(&app.member, &about(&[&old], &decoy)).await);
    assert!(reason.contains("under a random key was accepted"), "{reason}");
}

#[tokio::test]
async fn a_member_that_sends_back_what_it_got_is_caught_by_the_decoy() {
    let (old, decoy) = (key(1), key(9));
    let app = App::start(Manner::Echoes, &old, &[]).await;
    let reason = all_unknown(&probe(by_reissue()).ask(&app.member, &about(&[&old], &decoy)).await);
    assert!(reason.contains("under a random key was accepted") && reason.contains("just as it was sent"), "{reason}");
}

#[tokio::test]
async fn a_decoy_with_the_id_of_an_asked_key_is_a_decoy_still() {
    let (old, stranger) = (key(1), key(9));
    let decoy = Key::single(KeyId(1), stranger.material().duplicate());
    let app = App::start(Manner::Echoes, &old, &[]).await;
    all_unknown(&probe(by_reissue()).ask(&app.member, &about(&[&old], &decoy)).await);
    let app = App::start(Manner::Rails, &old, &[]).await;
    let testimony = probe(by_reissue()).ask(&app.member, &about(&[&old], &decoy)).await;
    assert_eq!((accepts(&testimony, 1), mints(&testimony, 1)), (Answer::Yes, Answer::Yes));
}

#[tokio::test]
async fn a_member_that_rejects_everything_does_not_prove_that_a_key_is_dead() {
    let (old, new, decoy) = (key(1), key(2), key(9));
    let app = App::start(Manner::RejectsAll, &old, &[]).await;
    let reason = all_unknown(&probe(by_status()).ask(&app.member, &about(&[&old, &new], &decoy)).await);
    assert!(reason.contains("like every other session"), "{reason}");
}

#[tokio::test]
async fn broken_and_missing_pages_are_unknown() {
    let (old, decoy) = (key(1), key(9));
    let app = App::start(Manner::Broken, &old, &[]).await;
    let reason = all_unknown(&probe(by_reissue()).ask(&app.member, &about(&[&old], &decoy)).await);
    assert!(reason.contains("status 500"), "{reason}");
}

#[tokio::test]
async fn a_member_that_hangs_is_unknown_and_says_what_to_open() {
    let (old, new, decoy) = (key(1), key(2), key(9));
    let app = App::start(Manner::Hangs, &old, &[]).await;
    let config = ProbeConfig { access: HttpAccess::within(Duration::from_millis(100)), ..by_reissue() };
    let reason = all_unknown(&probe(config).ask(&app.member, &about(&[&old, &new], &decoy)).await);
    assert!(reason.contains("did not answer within 100 ms") && reason.contains("network policy"), "{reason}");
    assert_eq!(app.shared.requests.load(Ordering::SeqCst), 1, "it is not asked again and again");
}

#[tokio::test]
async fn a_closed_port_is_unknown_and_says_what_to_check() {
    let (old, decoy) = (key(1), key(9));
    let mut member = App::start(Manner::Rails, &old, &[]).await.member.clone();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    member.address = Some(format!("http://{}", free.local_addr().unwrap()).parse().unwrap());
    drop(free);
    let reason = all_unknown(&probe(by_reissue()).ask(&member, &about(&[&old], &decoy)).await);
    assert!(reason.contains("refused the connection"), "{reason}");
}

#[tokio::test]
async fn a_member_without_an_address_is_unknown() {
    let (old, decoy) = (key(1), key(9));
    let mut member = App::start(Manner::Rails, &old, &[]).await.member.clone();
    member.address = None;
    all_unknown(&probe(by_reissue()).ask(&member, &about(&[&old], &decoy)).await);
}

#[tokio::test]
async fn a_flapping_member_is_unknown() {
    let (old, new, decoy) = (key(1), key(2), key(9));
    let app = App::start(Manner::Flaps, &old, &[]).await;
    for _ in 0..3 {
        let testimony = probe(by_reissue()).ask(&app.member, &about(&[&old, &new], &decoy)).await;
        let answers: Vec<Answer> = [1, 2].map(|id| accepts(&testimony, id)).to_vec();
        assert!(answers.contains(&Answer::Unknown), "{answers:?}");
        assert_ne!(answers[1], Answer::Yes, "a key that it does not have is never accepted");
    }
}

#[tokio::test]
async fn a_member_with_another_salt_rejects_although_it_has_the_key() {
    let (old, decoy) = (key(1), key(9));
    let app = App::start(Manner::Rails, &old, &[]).await;
    let other_cookie = std::collections::BTreeMap::from([("cookie".to_owned(), "_other".to_owned())]);
    let codec = Arc::from(keyroll_keyring::codec::build("rails", &other_cookie).unwrap());
    let calibration = Probe::new(codec, by_reissue()).unwrap().calibrate(&app.member, &old, &decoy, NOW).await;
    let Verdict::ProvesNothing { reason } = calibration.verdict else { panic!("{calibration:?}") };
    assert!(reason.contains("current key was rejected") && reason.contains("cookie name, salt"), "{reason}");
}

#[tokio::test]
async fn calibration_passes_only_where_both_controls_hold() {
    let (old, decoy) = (key(1), key(9));
    for (manner, config, passes) in [
        (Manner::Rails, by_reissue(), true),
        (Manner::Status, by_status(), true),
        (Manner::AcceptsAll, by_status(), false),
        (Manner::RejectsAll, by_status(), false),
        (Manner::Static, by_reissue(), false),
        (Manner::Broken, by_status(), false),
    ] {
        let app = App::start(manner, &old, &[]).await;
        let calibration = probe(config).calibrate(&app.member, &old, &decoy, NOW).await;
        assert_eq!(calibration.verdict == Verdict::Calibrated, passes, "{manner:?}: {calibration:?}");
        for token in app.shared.tokens.lock().unwrap().iter() {
            assert!(!format!("{calibration:?}").contains(&token[..16]), "no token in a calibration");
        }
    }
}

#[tokio::test]
async fn keys_that_are_only_to_be_opened_are_never_minted_under() {
    let (old, new, decoy) = (key(1), key(2), key(9));
    let app = App::start(Manner::Rails, &old, &[&new]).await;
    let mut question = about(&[&new], &decoy);
    question.open_only = vec![AskedKey { key: &old, fingerprint: None }];
    let testimony = probe(by_reissue()).ask(&app.member, &question).await;
    assert_eq!((mints(&testimony, 1), mints(&testimony, 2)), (Answer::Yes, Answer::No));
    assert!(!testimony.statements.iter().any(|one| one.key == KeyId(1) && one.subject == Subject::Accepts));
    let now = keyroll_keyring::UnixTime(1_790_000_000);
    let sent_under_old =
        app.shared.tokens.lock().unwrap().iter().step_by(2).any(|token| rails().open(&[&old], token, now).is_ok());
    assert!(!sent_under_old, "the probe's own sessions do not use it");
}

#[tokio::test]
async fn named_workers_are_each_proven_and_a_stale_one_is_found() {
    let (old, new, decoy) = (key(1), key(2), key(9));
    let app = App::start(Manner::Rails, &new, &[&old]).await;
    let workers = Workers { count: NonZeroU16::new(3), header: Some("x-worker".into()) };
    let probe = probe(ProbeConfig { workers, ..by_reissue() });
    let with = |fresh: usize, stale: usize| {
        let mut list: Vec<Worker> = (0..fresh).map(|_| Worker::with(&new, &[&old])).collect();
        list.extend((0..stale).map(|_| Worker::with(&old, &[])));
        *app.shared.workers.lock().unwrap() = list;
    };

    with(3, 0);
    let testimony = probe.ask(&app.member, &about(&[&old, &new], &decoy)).await;
    assert_eq!((accepts(&testimony, 1), accepts(&testimony, 2)), (Answer::Yes, Answer::Yes));
    assert_eq!((mints(&testimony, 1), mints(&testimony, 2)), (Answer::No, Answer::Yes));
    assert_eq!(testimony.workers.len(), 3);
    assert_eq!(testimony.residual, None);

    with(2, 1);
    let testimony = probe.ask(&app.member, &about(&[&old, &new], &decoy)).await;
    assert_eq!((accepts(&testimony, 1), accepts(&testimony, 2)), (Answer::Yes, Answer::Unknown));
    let detail = said(&testimony, Subject::Accepts, 2).1;
    assert!(detail.contains("worker `w2` rejects it"), "{detail}");
    assert_eq!(mints(&testimony, 1), Answer::Yes, "somebody still mints under the old key");

    with(2, 0);
    let testimony = probe.ask(&app.member, &about(&[&old, &new], &decoy)).await;
    assert_eq!(accepts(&testimony, 2), Answer::Unknown, "a worker that never answers is not proven");
    assert!(said(&testimony, Subject::Accepts, 2).1.contains("2 of 3 workers"));
}

#[tokio::test]
async fn unnamed_workers_leave_a_probability_on_the_record() {
    let (old, decoy) = (key(1), key(9));
    let app = App::start(Manner::Rails, &old, &[]).await;
    let workers = Workers { count: NonZeroU16::new(2), header: None };
    let testimony = probe(ProbeConfig { workers, ..by_reissue() }).ask(&app.member, &about(&[&old], &decoy)).await;
    assert_eq!(accepts(&testimony, 1), Answer::Yes);
    let residual = testimony.residual.unwrap();
    assert!(residual > 0.0 && residual <= 0.01, "{residual}");
    assert!(said(&testimony, Subject::Accepts, 1).1.contains("probability 0.0078"));
}

#[tokio::test]
async fn no_session_appears_in_what_a_probe_says_or_logs() {
    let (old, new, decoy) = (key(1), key(2), key(9));
    let (log, _guard) = crate::evidence::testing::log();
    let mut shown = String::new();
    let mut tokens = Vec::new();
    for manner in [Manner::Rails, Manner::Status, Manner::Echoes, Manner::Broken, Manner::Flaps] {
        let app = App::start(manner, &old, &[]).await;
        for config in [by_reissue(), by_status()] {
            let probe = probe(config);
            let testimony = probe.ask(&app.member, &about(&[&old, &new], &decoy)).await;
            shown.push_str(&format!("{:?} {probe:?}", testimony.statements));
            shown.push_str(&format!("{:?}", probe.calibrate(&app.member, &old, &decoy, NOW).await));
        }
        tokens.append(&mut app.shared.tokens.lock().unwrap());
    }
    shown.push_str(&log.text());
    assert!(
        shown.contains("starting new connection") || shown.contains("connect"),
        "the libraries did log: {}",
        shown.len()
    );
    assert!(tokens.len() > 20);
    let windows: std::collections::HashSet<&[u8]> = shown.as_bytes().windows(8).collect();
    for token in &tokens {
        assert!(!token.as_bytes().windows(8).any(|window| windows.contains(window)), "a part of a token was shown");
    }
}

#[test]
fn a_look_that_every_answer_has_is_refused() {
    let config = ProbeConfig { accepted: Look::default(), ..by_reissue() };
    let error = Probe::new(rails(), config).unwrap_err();
    assert!(matches!(error, EvidenceConfigError::AsksForNothing { which: "accepted" }));
    let config = ProbeConfig { payload: Payload::Text("fixed".into()), ..by_reissue() };
    assert!(matches!(Probe::new(rails(), config).unwrap_err(), EvidenceConfigError::NoSessionId));
}
