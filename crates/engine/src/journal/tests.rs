//! What the journal promises: no change, move or loss before an anchor goes unseen, and a torn end is recovered from.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::Timestamp;
use keyroll_keyring::KeyId;
use keyroll_rotation::gate::{EvidenceRule, GateName};
use keyroll_rotation::{Effect, Epoch, Event, Millis, Mode, RotationId, Stage, StoreIndex, WorldConfiguration};
use proptest::prelude::*;

use super::audit::{AnchorShows, AuditVerdict, Damage, verify};
use super::*;
use crate::config::ConfigHash;

fn author(operator: &str) -> Author {
    Author { operator: operator.into(), host: "vm-1".into(), version: "0.1.0".into() }
}

fn draft(second: i64, body: Body) -> Draft {
    Draft {
        at: Timestamp::from_second(1_800_000_000 + second).unwrap(),
        author: author("ada"),
        rotation: Some(RotationId("r-01JABCDEFGHJKMNPQRSTVWXYZ0".into())),
        epoch: Some(Epoch(1)),
        body,
    }
}

fn mark(id: u32) -> KeyMark {
    let fingerprint = serde_json::from_value(serde_json::json!(format!("kf1:{id:032x}"))).unwrap();
    KeyMark { id: KeyId(id), fingerprint: Some(fingerprint) }
}

fn why() -> Why {
    Why { reason: Reason::Personnel, ticket: Some("OPS-7".into()), note: Some("said \"now\"\n=1+1, | pipe".into()) }
}

fn opened() -> Body {
    Body::Opened {
        mode: Mode::Staged,
        outgoing: mark(1),
        incoming: KeyMark { id: KeyId(2), fingerprint: None },
        config: ConfigHash("ab".repeat(32)),
        plan: None,
        why: why(),
    }
}

fn write_effect() -> Effect {
    let before = WorldConfiguration { active: KeyId(1), accept: [KeyId(1)].into() };
    let after = WorldConfiguration { active: KeyId(1), accept: [KeyId(1), KeyId(2)].into() };
    Effect::Write { store: StoreIndex(0), before, after }
}

/// One body of most kinds, in an order that a rotation could have.
fn bodies() -> Vec<Body> {
    let sight = ConfigurationSight { revision: None, active: mark(1), accept: vec![mark(1), mark(2)] };
    let evidence = GateEvidence {
        began: Millis(1),
        ended: Millis(2),
        rule: EvidenceRule::Strong,
        members: 1,
        proofs: vec![MemberProof { member: "web-1".into(), boot: "7".into(), claims: Vec::new() }],
        unproven: vec!["web-1: no answer".into()],
        residual: None,
    };
    vec![
        Body::LockTaken,
        opened(),
        Body::KeyIdentified { key: mark(2) },
        Body::Intent { effect: write_effect(), before: Some(sight.clone()), after: Some(sight.clone()) },
        Body::Done { intent: Seq(3), now: Some(sight), how: Completion::FoundDone },
        Body::GateSwept { gate: GateName::G1, stage: Stage::Accepting, outcome: GateOutcome::Unproven, evidence },
        Body::Event { event: Event::Stamped { t0: Millis(1_800_000_000_000) } },
        Body::Human { action: HumanAction::AcceptLoss { sessions: 3 }, why: why() },
        Body::Anchored { store: StoreIndex(0), seq: Seq(7), head: EntryHash::of_line(b"x") },
        Body::Sealed { mode: Mode::Staged, active: mark(2), t0: None },
        Body::LockReleased,
    ]
}

/// Writes all bodies and gives the folder and the anchor.
fn written() -> (tempfile::TempDir, Anchor) {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    for (second, body) in (0..).zip(bodies()) {
        journal.append(draft(second, body)).unwrap();
    }
    let anchor = journal.anchor().unwrap();
    (folder, anchor)
}

fn file(folder: &Path) -> PathBuf {
    folder.join(JOURNAL_FILE)
}

/// A journal with these bytes, in a folder of its own.
fn with_bytes(bytes: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(file(folder.path()), bytes).unwrap();
    folder
}

fn verdict(folder: &Path, anchors: &[Anchor]) -> AuditVerdict {
    verify(&JournalReader::open(folder).unwrap(), anchors).verdict()
}

#[test]
fn what_was_appended_is_read_back_in_order_with_a_whole_chain() {
    let (folder, anchor) = written();
    let records = JournalReader::open(folder.path()).unwrap().records().unwrap();
    assert_eq!(records.iter().map(|record| record.entry.body.clone()).collect::<Vec<_>>(), bodies());
    assert_eq!(records[0].entry.prev, EntryHash::GENESIS);
    assert_eq!(records.last().unwrap().hash, anchor.head);
    assert_eq!(verdict(folder.path(), &[anchor]), AuditVerdict::Anchored);
}

#[test]
fn a_journal_that_is_opened_again_goes_on_with_the_same_chain() {
    let (folder, anchor) = written();
    let mut journal = Journal::open(folder.path()).unwrap();
    assert_eq!(journal.anchor(), Some(anchor.clone()));
    journal.append(draft(100, Body::LockTaken)).unwrap();
    let newer = journal.anchor().unwrap();
    let report = verify(&JournalReader::open(folder.path()).unwrap(), &[anchor, newer]);
    assert_eq!((report.verdict(), report.behind_last_anchor), (AuditVerdict::Anchored, 0));
}

#[test]
fn only_the_owner_can_read_a_new_journal() {
    let folder = tempfile::tempdir().unwrap();
    let nested = folder.path().join("state/keyroll/shop");
    Journal::open(&nested).unwrap().append(draft(0, Body::LockTaken)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&nested), mode(&file(&nested))), (0o700, 0o600));
}

#[test]
fn one_process_at_a_time_writes_and_anybody_reads_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    assert!(matches!(Journal::open(folder.path()), Err(JournalError::InUse { .. })));
    journal.append(draft(0, Body::LockTaken)).unwrap();
    assert_eq!(JournalReader::open(folder.path()).unwrap().records().unwrap().len(), 1);
    drop(journal);
    Journal::open(folder.path()).unwrap();
}

#[test]
fn no_journal_is_told_apart_from_an_unreadable_one() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(JournalReader::open(folder.path()), Err(JournalError::Absent { .. })));
    std::fs::create_dir(file(folder.path())).unwrap();
    assert!(matches!(JournalReader::open(folder.path()), Err(JournalError::Io { .. })));
    assert!(matches!(Journal::open(folder.path()), Err(JournalError::Open { .. })));
}

#[test]
fn a_newer_version_is_refused_by_readers_and_writers_and_nothing_is_changed() {
    let (folder, _) = written();
    let text = std::fs::read_to_string(file(folder.path())).unwrap();
    let newer = text.replacen("{\"v\":1,\"seq\":10", "{\"v\":2,\"seq\":10", 1);
    assert_ne!(newer, text);
    let folder = with_bytes(newer.as_bytes());
    for error in [
        Journal::open(folder.path()).map(|_| ()).unwrap_err(),
        JournalReader::open(folder.path()).unwrap().records().map(|_| ()).unwrap_err(),
    ] {
        assert!(matches!(error, JournalError::Newer { line: 11, found: 2, .. }), "{error}");
    }
    assert_eq!(std::fs::read_to_string(file(folder.path())).unwrap(), newer);
}

#[test]
fn a_torn_end_of_every_length_is_recovered_from_and_recorded() {
    let (folder, anchor) = written();
    let bytes = std::fs::read(file(folder.path())).unwrap();
    let last = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for length in last..bytes.len() {
        let torn = (length - last) as u64;
        let copy = with_bytes(&bytes[..length]);
        let mut journal = Journal::open(copy.path()).unwrap();
        assert_eq!(journal.torn_bytes(), torn);
        assert_eq!(std::fs::read(file(copy.path())).unwrap().len(), length, "opening alone changes nothing");
        journal.append(draft(50, Body::LockTaken)).unwrap();
        drop(journal);
        let records = JournalReader::open(copy.path()).unwrap().records().unwrap();
        let tail: Vec<Body> = records[10..].iter().map(|record| record.entry.body.clone()).collect();
        if torn == 0 {
            assert_eq!(tail, [Body::LockTaken]);
        } else {
            assert_eq!(tail, [Body::Recovered { bytes: torn }, Body::LockTaken]);
        }
        // The entry that was lost had been anchored, so the loss is seen all the same.
        assert_eq!(verdict(copy.path(), std::slice::from_ref(&anchor)), AuditVerdict::Broken);
    }
}

#[test]
fn a_torn_end_that_is_longer_than_its_record_leaves_nothing_behind() {
    for garbage in [vec![b'x'; 4096], vec![0; 4096], "{\"v\":1,\"seq\":0".as_bytes().to_vec()] {
        let folder = with_bytes(&garbage);
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.append(draft(0, Body::LockTaken)).unwrap();
        drop(journal);
        let bodies: Vec<Body> =
            JournalReader::open(folder.path()).unwrap().records().unwrap().into_iter().map(|r| r.entry.body).collect();
        assert_eq!(bodies, [Body::Recovered { bytes: garbage.len() as u64 }, Body::LockTaken]);
    }
}

#[test]
fn damage_in_the_middle_stops_with_the_line_and_is_never_no_state() {
    let (folder, _) = written();
    let text = std::fs::read_to_string(file(folder.path())).unwrap();
    let damaged = text.replacen("OPS-7", "OPS-8", 1);
    let folder = with_bytes(damaged.as_bytes());
    let error = Journal::open(folder.path()).unwrap_err();
    assert!(matches!(error, JournalError::Corrupt { line: 3, .. }), "{error}");
    assert_eq!(std::fs::read_to_string(file(folder.path())).unwrap(), damaged);
}

#[test]
fn the_text_of_a_damaged_line_is_not_in_the_error() {
    let folder = with_bytes(b"{\"v\":1,\"seq\":\"hunter2\"}\n");
    for shown in [
        format!("{:?}", Journal::open(folder.path()).unwrap_err()),
        format!("{:?}", verify(&JournalReader::open(folder.path()).unwrap(), &[])),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_journal_that_failed_to_write_refuses_to_go_on() {
    // A file opened for reading only stands for a disk that refuses: the write fails, and then nothing is certain.
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    journal.append(draft(0, Body::LockTaken)).unwrap();
    journal.break_for_test();
    assert!(matches!(journal.append(draft(1, Body::LockReleased)), Err(JournalError::Io { .. })));
    assert!(matches!(journal.append(draft(1, Body::LockReleased)), Err(JournalError::Failed { .. })));
}

#[test]
fn a_record_that_was_written_anew_is_found_by_the_anchor() {
    let (_, anchor) = written();
    let folder = tempfile::tempdir().unwrap();
    let mut forged = Journal::open(folder.path()).unwrap();
    for (second, body) in (0..).zip(bodies()) {
        let mut forged_draft = draft(second, body);
        forged_draft.author = author("mallory");
        forged.append(forged_draft).unwrap();
    }
    let report = verify(&JournalReader::open(folder.path()).unwrap(), std::slice::from_ref(&anchor));
    assert_eq!(report.verdict(), AuditVerdict::Broken);
    assert_eq!(report.damage, [Damage::Replaced { host: "vm-1".into() }]);
    // Without an anchor nothing is wrong with it, and the report says so.
    let unanchored = verify(&JournalReader::open(folder.path()).unwrap(), &[]);
    assert_eq!(unanchored.verdict(), AuditVerdict::Unanchored);
    assert!(unanchored.limits()[0].contains("No store vouches"), "{:?}", unanchored.limits());
}

#[test]
fn a_tail_that_was_written_anew_behind_the_anchor_is_said_to_be_possible() {
    let (folder, anchor) = written();
    let mut journal = Journal::open(folder.path()).unwrap();
    journal.append(draft(60, Body::LockTaken)).unwrap();
    let report = verify(&JournalReader::open(folder.path()).unwrap(), &[anchor]);
    assert_eq!((report.verdict(), report.behind_last_anchor), (AuditVerdict::Anchored, 1));
    assert!(report.limits().iter().any(|limit| limit.contains("1 entry stands behind the last anchor")));
}

#[test]
fn an_emptied_journal_is_found_by_the_anchor() {
    let (_, anchor) = written();
    let folder = with_bytes(b"");
    assert_eq!(verdict(folder.path(), &[anchor]), AuditVerdict::Broken);
}

#[test]
fn the_anchor_of_another_machine_is_not_taken_for_damage_and_not_for_proof() {
    let (folder, _) = written();
    let other = Anchor {
        journal: EntryHash::of_line(b"other"),
        host: "vm-2".into(),
        seq: Seq(4),
        head: EntryHash::of_line(b"head"),
    };
    let report = verify(&JournalReader::open(folder.path()).unwrap(), &[other]);
    assert_eq!(report.anchors[0].shows, AnchorShows::Elsewhere);
    assert_eq!(report.verdict(), AuditVerdict::Unanchored);
}

#[test]
fn history_has_one_row_for_each_rotation_with_what_was_unusual() {
    let (folder, _) = written();
    let mut journal = Journal::open(folder.path()).unwrap();
    let second = |body, operator: &str| Draft {
        rotation: Some(RotationId("r-02".into())),
        author: author(operator),
        ..draft(200, body)
    };
    journal.append(second(opened(), "ada")).unwrap();
    journal.append(second(Body::Human { action: HumanAction::Rollback, why: why() }, "grace")).unwrap();
    journal.append(second(Body::Event { event: Event::RollbackRequested }, "grace")).unwrap();
    journal.append(second(Body::Sealed { mode: Mode::Staged, active: mark(1), t0: None }, "grace")).unwrap();
    drop(journal);
    let rows = history(&JournalReader::open(folder.path()).unwrap().records().unwrap());
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].ending, rows[0].operator.as_str()), (Ending::Completed, "ada"));
    assert_eq!(rows[0].incoming, Some(mark(2)));
    assert_eq!(rows[0].t0, Timestamp::from_second(1_800_000_000).ok());
    assert_eq!(rows[0].deviations.len(), 1);
    assert_eq!(rows[0].deviations[0].what, "accepted the loss of up to 3 sessions");
    assert_eq!((rows[1].ending, rows[1].others.as_slice()), (Ending::RolledBack, ["grace".to_owned()].as_slice()));
}

#[test]
fn exports_hold_every_entry_and_can_not_be_broken_out_of() {
    let (folder, _) = written();
    let records = JournalReader::open(folder.path()).unwrap().records().unwrap();
    let json: serde_json::Value = serde_json::from_str(&export(&records, ExportFormat::Json)).unwrap();
    assert_eq!(json["entries"].as_array().unwrap().len(), bodies().len());
    assert_eq!(json["rotations"][0]["ending"], "completed");
    insta::assert_snapshot!("export_csv", export(&records, ExportFormat::Csv));
    insta::assert_snapshot!("export_markdown", export(&records, ExportFormat::Markdown));
}

#[test]
fn a_cell_can_not_become_a_formula() {
    let (folder, _) = written();
    let mut records = JournalReader::open(folder.path()).unwrap().records().unwrap();
    records[0].entry.operator = "=cmd()".into();
    assert!(export(&records, ExportFormat::Csv).contains("\"'=cmd()\""));
}

/// The bytes of [`written`] and their anchor, made once: each append is a sync.
fn sample() -> (Vec<u8>, Anchor) {
    static SAMPLE: std::sync::OnceLock<(Vec<u8>, Anchor)> = std::sync::OnceLock::new();
    SAMPLE
        .get_or_init(|| {
            let (folder, anchor) = written();
            (std::fs::read(file(folder.path())).unwrap(), anchor)
        })
        .clone()
}

/// The lines of a journal, each with its line break.
fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn damaged(bytes: &[u8], anchor: &Anchor) -> bool {
    let folder = with_bytes(bytes);
    verdict(folder.path(), std::slice::from_ref(anchor)) == AuditVerdict::Broken
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_changed_byte_before_the_anchor_is_found(place in any::<prop::sample::Index>(), flip in 1_u8..) {
        let (mut bytes, anchor) = sample();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        prop_assert!(damaged(&bytes, &anchor), "byte {place} was flipped by {flip}");
    }

    #[test]
    fn every_other_order_is_found(order in Just((0..bodies().len()).collect::<Vec<_>>()).prop_shuffle()) {
        let (bytes, anchor) = sample();
        let lines = lines(&bytes);
        let moved: Vec<u8> = order.iter().flat_map(|index| lines[*index].clone()).collect();
        let same = order.iter().enumerate().all(|(place, index)| place == *index);
        prop_assert_eq!(damaged(&moved, &anchor), !same);
    }

    #[test]
    fn every_removed_or_repeated_run_of_lines_is_found(from in 0..bodies().len(), length in 1..bodies().len(), repeat in any::<bool>()) {
        let (bytes, anchor) = sample();
        let mut lines = lines(&bytes);
        let until = (from + length).min(lines.len());
        let run: Vec<Vec<u8>> = lines[from..until].to_vec();
        if repeat {
            lines.splice(until..until, run);
        } else {
            lines.drain(from..until);
        }
        prop_assert!(damaged(&lines.concat(), &anchor));
    }

    #[test]
    fn every_cut_is_found(place in any::<prop::sample::Index>()) {
        let (bytes, anchor) = sample();
        let place = place.index(bytes.len());
        prop_assert!(damaged(&bytes[..place], &anchor), "cut at {place}");
    }
}

proptest! {
    // Fewer, because each case waits for the disk.
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_bytes_a_writer_either_refuses_or_goes_on_with_a_whole_chain(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let folder = with_bytes(&bytes);
        match Journal::open(folder.path()) {
            Ok(mut journal) => {
                journal.append(draft(0, Body::LockTaken)).unwrap();
                drop(journal);
                JournalReader::open(folder.path()).unwrap().records().unwrap();
            }
            Err(_) => prop_assert_eq!(std::fs::read(file(folder.path())).unwrap(), bytes),
        }
    }
}

#[test]
fn a_journal_knows_whether_it_still_holds_what_a_store_points_at() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    for (second, body) in (0..).zip(bodies()) {
        journal.append(draft(second, body)).unwrap();
    }
    let anchor = journal.anchor().unwrap();
    journal.append(draft(99, Body::LockTaken)).unwrap();
    journal.holds(&anchor).unwrap();
    drop(journal);
    // Nothing was cut: a crash between an append and the anchor leaves the same.
    Journal::open(folder.path()).unwrap().holds(&anchor).unwrap();
    let path = folder.path().join(JOURNAL_FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    let kept: String = text.lines().take(5).map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, kept).unwrap();
    let cut = Journal::open(folder.path()).unwrap();
    assert!(matches!(cut.holds(&anchor), Err(JournalError::CutOff { seq: Seq(10), last: Seq(4), .. })));
    let elsewhere = Anchor { journal: EntryHash::of_line(b"another"), ..anchor.clone() };
    cut.holds(&elsewhere).unwrap();
    let other = Anchor { seq: Seq(3), ..anchor };
    assert!(matches!(cut.holds(&other), Err(JournalError::Rewritten { seq: Seq(3), .. })));
}
