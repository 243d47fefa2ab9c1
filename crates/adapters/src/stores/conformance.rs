//! The store contract as tests: what every [`SecretStore`] must do, whatever it is made of.
//!
//! An adapter's first test is one line: `conformance::run_all(MyFixture::fresh).await`. The suite reaches behind the
//! store's back through a [`Fixture`], because half of the contract is about other people's writes. It panics where the
//! contract is broken, and names the clause.

use std::sync::Arc;

use async_trait::async_trait;
use keyroll_keyring::{FieldName, KeyId, Secret};

use super::{Document, HiddenKey, Residue, Revision, SecretStore, Stamp, StoreError, Versioned};
use crate::Timestamp;

/// One secret in one kind of store, and the means to touch it as somebody who has never heard of Keyroll.
///
/// A fresh one holds [`first_value`] in the first owned field and nothing in the others.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// One more handle to the same secret, as another process would open it.
    fn open(&self) -> Arc<dyn SecretStore>;

    /// Whether an owned field can be absent.
    fn absence(&self) -> Absence;

    /// All that applications read, byte for byte.
    async fn seen_by_applications(&self) -> Secret;

    /// What applications read and Keyroll does not own, byte for byte; empty where the store holds nothing else.
    async fn siblings(&self) -> Secret;

    /// Changes a sibling. Where the store holds nothing else this touches nothing.
    async fn change_a_sibling(&self);

    /// Writes an owned field from outside.
    async fn write_from_outside(&self, field: &FieldName, value: &Secret);

    /// Makes what Keyroll keeps in the store unreadable, as half a restored backup does.
    async fn damage(&self);

    /// Removes the secret.
    async fn delete(&self);

    /// Leaves behind what a writer that died leaves behind.
    async fn litter(&self);

    /// What lies about, by name.
    async fn lying_about(&self) -> Vec<String>;
}

/// Whether an owned field of a store can be absent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it can or it can't")]
pub enum Absence {
    /// A field that is set to nothing is gone.
    Possible,
    /// The field is all there is, and removing it is refused.
    Refused,
}

/// The value that a fresh fixture has in its first field.
pub fn first_value() -> Secret {
    material(1)
}

/// Runs every clause, each on a fresh fixture.
pub async fn run_all<M, F>(fresh: M)
where
    M: AsyncFn() -> F,
    F: Fixture,
{
    what_is_written_is_read_back(&fresh().await).await;
    a_fresh_secret_has_nothing_hidden(&fresh().await).await;
    a_revision_stays_while_nothing_changes(&fresh().await).await;
    an_old_revision_conflicts_and_nothing_is_written(&fresh().await).await;
    a_change_and_its_undoing_are_not_no_change(&fresh().await).await;
    a_write_from_outside_is_never_overwritten(&fresh().await).await;
    siblings_stay_byte_for_byte(&fresh().await).await;
    applications_see_no_hidden_key(&fresh().await).await;
    a_stamp_does_not_change_what_applications_read(&fresh().await).await;
    absent_is_not_empty(&fresh().await).await;
    every_owned_field_and_no_other_is_written(&fresh().await).await;
    an_equal_document_can_be_written(&fresh().await).await;
    a_large_stamp_fits(&fresh().await).await;
    unreadable_is_not_absent(&fresh().await).await;
    a_missing_secret_is_not_created(&fresh().await).await;
    of_many_writers_exactly_one_wins(&fresh().await).await;
    writers_take_turns(&fresh().await).await;
    sweeping_twice_is_sweeping_once(&fresh().await).await;
    a_destroyed_key_leaves_nothing(&fresh().await).await;
    the_clock_does_not_go_back(&fresh().await).await;
    a_description_holds_no_secret(&fresh().await).await;
}

/// Fields, pending, escrow and stamp come back from another handle as they were given.
pub async fn what_is_written_is_read_back(fixture: &dyn Fixture) {
    let store = fixture.open();
    let mut document = read(&*store).await.document;
    let field = first_field(&*store);
    document.fields.0.insert(field, Some(material(2)));
    document.pending = vec![hidden(3, None), hidden(4, None)];
    document.escrow = vec![two_parts(5, Timestamp(1_800_000_000_000))];
    document.stamp = Some(Stamp(b"{\"stage\":\"accepting\"}\n\0\xFF".to_vec()));
    let revision = write(&*store, &document).await;
    let again = read(&*fixture.open()).await;
    assert_same(&again.document, &document, "a document that was written is not read back");
    assert_eq!(again.revision, revision, "a write must return the revision that the next read gives");
}

/// Before the first write there is no pending key, no escrow and no stamp.
pub async fn a_fresh_secret_has_nothing_hidden(fixture: &dyn Fixture) {
    let store = fixture.open();
    let Versioned { document, .. } = read(&*store).await;
    assert!(document.pending.is_empty() && document.escrow.is_empty() && document.stamp.is_none());
    let fields: Vec<_> = document.fields.0.keys().cloned().collect();
    let mut owned = store.describe().fields;
    owned.sort();
    assert_eq!(fields, owned, "a read must name every owned field");
    for (name, value) in &document.fields.0 {
        let expected = (*name == first_field(&*store)).then(first_value);
        assert!(same(value.as_ref(), expected.as_ref()), "`{}` is not as the fixture has it", name.0);
    }
}

/// Reading changes nothing, and two handles agree.
pub async fn a_revision_stays_while_nothing_changes(fixture: &dyn Fixture) {
    let store = fixture.open();
    let first = read(&*store).await.revision;
    assert_eq!(read(&*store).await.revision, first);
    assert_eq!(read(&*fixture.open()).await.revision, first);
    let mut document = read(&*store).await.document;
    document.stamp = Some(Stamp(b"one".to_vec()));
    let second = write(&*store, &document).await;
    assert_ne!(second, first, "a stamp alone makes another revision");
    assert_eq!(read(&*fixture.open()).await.revision, second);
}

/// Compare-and-swap.
pub async fn an_old_revision_conflicts_and_nothing_is_written(fixture: &dyn Fixture) {
    let store = fixture.open();
    let old = read(&*store).await;
    let mut document = read(&*store).await.document;
    document.fields.0.insert(first_field(&*store), Some(material(2)));
    document.stamp = Some(Stamp(b"winner".to_vec()));
    write(&*store, &document).await;
    let mut late = old.document;
    late.stamp = Some(Stamp(b"late".to_vec()));
    conflicts(&*store, &late, &old.revision).await;
    let made_up = Revision("never was".to_owned());
    conflicts(&*store, &late, &made_up).await;
    assert_same(&read(&*store).await.document, &document, "a write that conflicted has changed something");
}

/// ABA: whoever changed it and changed it back has still been there.
pub async fn a_change_and_its_undoing_are_not_no_change(fixture: &dyn Fixture) {
    let store = fixture.open();
    let field = first_field(&*store);
    let old = read(&*store).await;
    for value in [material(2), first_value()] {
        let mut document = read(&*store).await.document;
        document.fields.0.insert(field.clone(), Some(value));
        write(&*store, &document).await;
    }
    conflicts(&*store, &old.document, &old.revision).await;

    let old = read(&*store).await;
    for stamp in [Some(Stamp(b"there".to_vec())), None] {
        let mut document = read(&*store).await.document;
        document.stamp = stamp;
        write(&*store, &document).await;
    }
    conflicts(&*store, &old.document, &old.revision).await;

    let old = read(&*store).await;
    fixture.write_from_outside(&field, &material(2)).await;
    fixture.write_from_outside(&field, &first_value()).await;
    conflicts(&*store, &old.document, &old.revision).await;
}

/// What somebody else wrote between read and write stays.
pub async fn a_write_from_outside_is_never_overwritten(fixture: &dyn Fixture) {
    let store = fixture.open();
    let field = first_field(&*store);
    for _ in 0..2 {
        let mut old = read(&*store).await;
        fixture.write_from_outside(&field, &material(7)).await;
        old.document.fields.0.insert(field.clone(), Some(material(2)));
        conflicts(&*store, &old.document, &old.revision).await;
        let found = read(&*store).await.document;
        assert!(same(found.fields.0[&field].as_ref(), Some(&material(7))), "a write from outside was overwritten");
        // The second round is about a secret that Keyroll has written before.
        write(&*store, &found).await;
    }
}

/// What the document does not name survives every write, and a change to it is noticed.
pub async fn siblings_stay_byte_for_byte(fixture: &dyn Fixture) {
    let store = fixture.open();
    let field = first_field(&*store);
    for round in 2..5 {
        let before = fixture.siblings().await;
        let mut document = read(&*store).await.document;
        document.fields.0.insert(field.clone(), Some(material(round)));
        for (_, value) in document.fields.0.iter_mut().filter(|(name, _)| **name != field) {
            *value = (round % 2 == 0).then(|| material(round + 100));
        }
        document.pending = vec![hidden(round, None)];
        write(&*store, &document).await;
        assert!(fixture.siblings().await.ct_eq(&before), "a write has changed what it does not own");
        let stale = read(&*store).await;
        fixture.change_a_sibling().await;
        if !fixture.siblings().await.ct_eq(&before) {
            conflicts(&*store, &stale.document, &stale.revision).await;
        }
    }
}

/// Pending and escrow are for Keyroll alone.
pub async fn applications_see_no_hidden_key(fixture: &dyn Fixture) {
    let store = fixture.open();
    let mut document = read(&*store).await.document;
    document.pending = vec![hidden(50, None)];
    document.escrow = vec![hidden(51, Some(Timestamp(1)))];
    write(&*store, &document).await;
    let seen = fixture.seen_by_applications().await;
    for key in document.pending.iter().chain(&document.escrow) {
        for (_, part) in &key.parts {
            assert!(!holds(seen.expose(), part), "applications can see a hidden key");
        }
    }
}

/// A stamp-only write is invisible.
pub async fn a_stamp_does_not_change_what_applications_read(fixture: &dyn Fixture) {
    let store = fixture.open();
    let before = fixture.seen_by_applications().await;
    for stamp in [Some(Stamp(b"T0".to_vec())), Some(Stamp(Vec::new())), None] {
        let mut document = read(&*store).await.document;
        document.stamp.clone_from(&stamp);
        write(&*store, &document).await;
        assert_eq!(read(&*store).await.document.stamp, stamp, "no stamp and an empty stamp are not the same");
        assert!(fixture.seen_by_applications().await.ct_eq(&before), "a stamp has changed what applications read");
    }
}

/// Nothing, the empty text, and a value are three things.
pub async fn absent_is_not_empty(fixture: &dyn Fixture) {
    let store = fixture.open();
    let field = store.describe().fields.last().cloned().expect("a store owns at least one field");
    let set = async |value: Option<Secret>| {
        let mut versioned = read(&*store).await;
        versioned.document.fields.0.insert(field.clone(), value);
        store.write(&versioned.document, &versioned.revision).await
    };
    let get = async || read(&*store).await.document.fields.0.remove(&field).expect("every owned field has an entry");
    fine(set(Some(material(2))).await);
    fine(set(Some(Secret::from_text(""))).await);
    assert!(same(get().await.as_ref(), Some(&Secret::from_text(""))), "an empty field is not read as empty");
    match (fixture.absence(), set(None).await) {
        (Absence::Possible, result) => {
            fine(result);
            assert!(get().await.is_none(), "a removed field is still there");
            fine(set(Some(material(3))).await);
            assert!(same(get().await.as_ref(), Some(&material(3))), "a removed field does not come back");
        }
        (Absence::Refused, Err(StoreError::Refused { .. })) => {
            assert!(same(get().await.as_ref(), Some(&Secret::from_text(""))), "a refused write has changed something");
        }
        (Absence::Refused, other) => panic!("removing the only field must be refused, not {}", outcome(&other)),
    }
}

/// A document that names other fields than the owned ones is a mistake, and not a wish to remove what it leaves out.
pub async fn every_owned_field_and_no_other_is_written(fixture: &dyn Fixture) {
    let store = fixture.open();
    let before = read(&*store).await;
    let mut more = read(&*store).await.document;
    more.fields.0.insert(FieldName("KEYROLL_NEVER_OWNS_THIS".to_owned()), Some(material(9)));
    let mut fewer = read(&*store).await.document;
    fewer.fields.0.remove(&first_field(&*store));
    for wrong in [more, fewer] {
        let result = store.write(&wrong, &before.revision).await;
        assert!(matches!(result, Err(StoreError::Refused { .. })), "expected a refusal, not {}", outcome(&result));
    }
    let after = read(&*store).await;
    assert_eq!(after.revision, before.revision);
    assert_same(&after.document, &before.document, "a refused write has changed something");
}

/// A write that changes nothing succeeds.
pub async fn an_equal_document_can_be_written(fixture: &dyn Fixture) {
    let store = fixture.open();
    let seen = fixture.seen_by_applications().await;
    for _ in 0..2 {
        let before = read(&*store).await.document;
        let revision = write(&*store, &before).await;
        let after = read(&*store).await;
        assert_same(&after.document, &before, "a write of what was there has changed it");
        assert_eq!(after.revision, revision);
    }
    assert!(fixture.seen_by_applications().await.ct_eq(&seen));
}

/// 64 KiB of stamp.
pub async fn a_large_stamp_fits(fixture: &dyn Fixture) {
    let store = fixture.open();
    let mut document = read(&*store).await.document;
    document.stamp = Some(Stamp((0..65_536_u32).map(|at| (at % 251) as u8).collect()));
    write(&*store, &document).await;
    assert_same(&read(&*fixture.open()).await.document, &document, "a large stamp is not read back");
}

/// What can't be understood is an error that stops.
pub async fn unreadable_is_not_absent(fixture: &dyn Fixture) {
    let store = fixture.open();
    let mut document = read(&*store).await.document;
    document.pending = vec![hidden(60, None)];
    document.stamp = Some(Stamp(b"stage".to_vec()));
    let revision = write(&*store, &document).await;
    let seen = fixture.seen_by_applications().await;
    fixture.damage().await;
    match store.read().await {
        Err(StoreError::Corrupt { .. } | StoreError::Denied { .. } | StoreError::Unavailable { .. }) => {}
        Err(other) => panic!("what is unreadable was reported as: {other}"),
        Ok(_) => panic!("what is unreadable was read"),
    }
    let result = store.write(&document, &revision).await;
    assert!(result.is_err(), "what is unreadable was overwritten");
    assert!(fixture.seen_by_applications().await.ct_eq(&seen));
}

/// A secret that is not there is reported as such, and writing does not make one.
pub async fn a_missing_secret_is_not_created(fixture: &dyn Fixture) {
    let store = fixture.open();
    let old = read(&*store).await;
    fixture.delete().await;
    assert!(matches!(store.read().await, Err(StoreError::NotFound { .. })), "a missing secret must be `NotFound`");
    let result = store.write(&old.document, &old.revision).await;
    assert!(
        matches!(result, Err(StoreError::NotFound { .. } | StoreError::Conflict { .. })),
        "a missing secret was written: {}",
        outcome(&result)
    );
    assert!(matches!(store.read().await, Err(StoreError::NotFound { .. })));
}

/// Sixteen writers that have read the same revision: one wins, the others hear of it, and nothing is mixed.
pub async fn of_many_writers_exactly_one_wins(fixture: &dyn Fixture) {
    for round in 0..3 {
        let start = read(&*fixture.open()).await.revision;
        let mut tasks = Vec::new();
        for writer in 0..16_u8 {
            let store = fixture.open();
            let mut document = read(&*store).await.document;
            document.fields.0.insert(first_field(&*store), Some(material(100 + writer)));
            document.pending = vec![hidden(100 + writer, None)];
            document.stamp = Some(Stamp(format!("{round} {writer}").into_bytes()));
            let start = start.clone();
            tasks.push((writer, tokio::spawn(async move { store.write(&document, &start).await })));
        }
        let mut winners = Vec::new();
        for (writer, task) in tasks {
            match task.await.expect("a writer panicked") {
                Ok(revision) => winners.push((writer, revision)),
                Err(StoreError::Conflict { .. }) => {}
                Err(other) => panic!("a losing writer must hear of a conflict, not: {other}"),
            }
        }
        let [(winner, revision)] = &winners[..] else { panic!("{} writers won", winners.len()) };
        let store = fixture.open();
        let found = read(&*store).await;
        assert_eq!(found.revision, *revision);
        assert_eq!(found.document.stamp, Some(Stamp(format!("{round} {winner}").into_bytes())));
        assert!(same(found.document.fields.0[&first_field(&*store)].as_ref(), Some(&material(100 + winner))));
        assert!(found.document.pending[0].parts[0].1.ct_eq(&material(100 + winner)));
    }
}

/// Two handles write in turns, each on what the other left.
pub async fn writers_take_turns(fixture: &dyn Fixture) {
    let handles = [fixture.open(), fixture.open()];
    for turn in 0..12_u8 {
        let store = &handles[usize::from(turn % 2)];
        let mut versioned = read(&**store).await;
        if let Some(before) = turn.checked_sub(1) {
            assert_eq!(versioned.document.stamp, Some(Stamp(vec![before])));
        }
        versioned.document.stamp = Some(Stamp(vec![turn]));
        versioned.document.fields.0.insert(first_field(&**store), Some(material(turn)));
        fine(store.write(&versioned.document, &versioned.revision).await);
    }
}

/// What a dead writer left goes, and nothing else does.
pub async fn sweeping_twice_is_sweeping_once(fixture: &dyn Fixture) {
    let store = fixture.open();
    fine(store.sweep().await);
    let mut document = read(&*store).await.document;
    document.pending = vec![hidden(70, None)];
    write(&*store, &document).await;
    fixture.litter().await;
    let seen = fixture.seen_by_applications().await;
    let lying: Vec<_> = fixture.lying_about().await;
    for turn in 0..2 {
        let removed = fine(store.sweep().await);
        assert!(turn == 0 || removed.is_empty(), "what is gone was removed again: {removed:?}");
        assert!(turn == 1 || lying.is_empty() == removed.is_empty(), "it removed {removed:?} of {lying:?}");
        assert_eq!(fixture.lying_about().await, Vec::<String>::new());
        assert_same(&read(&*store).await.document, &document, "a sweep has changed the document");
    }
    assert!(fixture.seen_by_applications().await.ct_eq(&seen));
}

/// A key that leaves pending or escrow is gone, and a store that can look finds it before and not after.
pub async fn a_destroyed_key_leaves_nothing(fixture: &dyn Fixture) {
    let store = fixture.open();
    let gone = material(80);
    let mut document = read(&*store).await.document;
    document.escrow = vec![hidden(80, Some(Timestamp(1)))];
    document.fields.0.insert(first_field(&*store), Some(material(2)));
    write(&*store, &document).await;
    let Residue { searched, found, document: itself, .. } = fine(store.residue(&[&gone]).await);
    if !searched.is_empty() {
        assert!(!found.is_empty(), "a search must find a key that is there");
        assert_eq!(found, itself, "it is in the document and nowhere else");
    }
    document.escrow.clear();
    write(&*store, &document).await;
    assert!(read(&*store).await.document.escrow.is_empty());
    let residue = fine(store.residue(&[&gone]).await);
    assert_eq!(residue.found, Vec::<String>::new(), "a destroyed key is still there");
    assert!(!residue.beyond.is_empty(), "what is not searched must be said");
}

/// Time goes on.
pub async fn the_clock_does_not_go_back(fixture: &dyn Fixture) {
    let store = fixture.open();
    let document = read(&*store).await.document;
    write(&*store, &document).await;
    let first = fine(store.now().await);
    let second = fine(store.now().await);
    assert!(first <= second, "the store's clock went back");
    assert!(first.0 > 1_700_000_000_000, "the store's clock is not in milliseconds since 1970, or years behind");
}

/// What is printed for people names no key.
pub async fn a_description_holds_no_secret(fixture: &dyn Fixture) {
    let store = fixture.open();
    let mut document = read(&*store).await.document;
    document.pending = vec![hidden(90, None)];
    let revision = write(&*store, &document).await;
    let printed = format!("{:?} {revision:?}", store.describe());
    for secret in [first_value(), material(90)] {
        assert!(!holds(printed.as_bytes(), &secret), "a description or a revision holds a key");
    }
    assert!(!store.describe().hidden.is_empty(), "a store must say where candidate and escrowed key live");
}

async fn read(store: &dyn SecretStore) -> Versioned {
    fine(store.read().await)
}

/// Writes onto whatever is there now.
async fn write(store: &dyn SecretStore, document: &Document) -> Revision {
    let now = read(store).await.revision;
    fine(store.write(document, &now).await)
}

async fn conflicts(store: &dyn SecretStore, document: &Document, expect: &Revision) {
    let result = store.write(document, expect).await;
    assert!(
        matches!(result, Err(StoreError::Conflict { .. })),
        "a write onto an old revision must conflict, not: {}",
        outcome(&result)
    );
}

fn fine<T>(result: Result<T, StoreError>) -> T {
    match result {
        Ok(value) => value,
        Err(err) => panic!("{err}: {:?}", std::error::Error::source(&err)),
    }
}

fn outcome<T>(result: &Result<T, StoreError>) -> String {
    result.as_ref().map_or_else(ToString::to_string, |_| "success".to_owned())
}

fn first_field(store: &dyn SecretStore) -> FieldName {
    store.describe().fields.first().cloned().expect("a store owns at least one field")
}

/// 64 hexadecimal digits, different for each number and nowhere alike.
fn material(number: u8) -> Secret {
    let digits = (0..64_u32).map(|at| {
        let mixed = (u32::from(number) * 64 + at + 1).wrapping_mul(2_654_435_761) >> 28;
        char::from_digit(mixed, 16).unwrap_or('0')
    });
    Secret::from_text(&digits.collect::<String>())
}

fn hidden(number: u8, destroy_after: Option<Timestamp>) -> HiddenKey {
    HiddenKey {
        id: KeyId(u32::from(number)),
        rotation: format!("r-{number}"),
        parts: vec![("main".to_owned(), material(number))],
        destroy_after,
    }
}

fn two_parts(number: u8, destroy_after: Timestamp) -> HiddenKey {
    let raw = Secret::from_bytes((0..=255).collect());
    let parts = vec![("encryption".to_owned(), material(number)), ("signing".to_owned(), raw)];
    HiddenKey { parts, ..hidden(number, Some(destroy_after)) }
}

fn same(left: Option<&Secret>, right: Option<&Secret>) -> bool {
    match (left, right) {
        (None, None) => true,
        (Some(left), Some(right)) => left.ct_eq(right),
        _ => false,
    }
}

/// Without printing what they hold.
fn assert_same(left: &Document, right: &Document, clause: &str) {
    let keys = |left: &[HiddenKey], right: &[HiddenKey]| {
        left.len() == right.len()
            && left.iter().zip(right).all(|(left, right)| {
                (left.id, &left.rotation, left.destroy_after) == (right.id, &right.rotation, right.destroy_after)
                    && left.parts.len() == right.parts.len()
                    && left
                        .parts
                        .iter()
                        .zip(&right.parts)
                        .all(|(left, right)| left.0 == right.0 && left.1.ct_eq(&right.1))
            })
    };
    let fields =
        left.fields.0.len() == right.fields.0.len()
            && left.fields.0.iter().all(|(name, value)| {
                right.fields.0.get(name).is_some_and(|other| same(value.as_ref(), other.as_ref()))
            });
    assert!(fields, "{clause}: fields differ");
    assert!(keys(&left.pending, &right.pending), "{clause}: pending keys differ");
    assert!(keys(&left.escrow, &right.escrow), "{clause}: escrowed keys differ");
    assert!(left.stamp == right.stamp, "{clause}: stamps differ");
}

/// Whether `bytes` hold `secret`, raw, in hexadecimal or in base64.
fn holds(bytes: &[u8], secret: &Secret) -> bool {
    let secret = secret.expose();
    [
        secret.to_vec(),
        hex::encode(secret).into_bytes(),
        hex::encode_upper(secret).into_bytes(),
        base64_simd::STANDARD_NO_PAD.encode_to_string(secret).into_bytes(),
        base64_simd::URL_SAFE_NO_PAD.encode_to_string(secret).into_bytes(),
    ]
    .iter()
    .any(|needle| bytes.windows(needle.len()).any(|window| window == needle))
}
