//! What every fleet must keep, as checks that run against a real one.
//!
//! A check panics with the sentence of the contract that was broken. What a fleet can't do by its nature (an unchanging
//! list has no restarts) its harness says by name; nothing is passed over in silence.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    BootId, Fleet, FleetError, Member, MemberId, MemberState, ReloadId, ReloadOutcome, ReloadRequest, ReloadStyle,
    ReloadTarget,
};

/// What the checks need of a fleet beyond its contract.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The fleet, running, with at least two members.
    fn fleet(&self) -> &dyn Fleet;

    /// Somebody who does not use Keyroll restarts a member. Returns once it was told to.
    async fn restart_behind_its_back(&self, member: &Member) -> Capability;

    /// A fleet of the same kind in which nobody runs.
    fn empty(&self) -> Option<Box<dyn Fleet>>;

    /// A fleet of the same kind whose members can't be listed.
    fn unlistable(&self) -> Option<Box<dyn Fleet>>;
}

/// Whether a fleet can do what a check needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it can or it can't")]
pub enum Capability {
    /// It was done.
    Done,
    /// Fleets of this kind have no such thing.
    NotOfThisKind,
}

/// The harness of a fleet that never changes.
#[expect(clippy::exhaustive_structs, reason = "a wrapper")]
pub struct Unchanging<'a>(pub &'a dyn Fleet);

/// Runs every check.
///
/// # Panics
/// Where the contract is broken.
pub async fn run_all(harness: &dyn Harness) {
    tells_what_it_is(harness.fleet());
    lists_each_member_once(harness.fleet()).await;
    lists_the_same_runs_while_nothing_happens(harness.fleet()).await;
    knows_no_strangers(harness.fleet()).await;
    tells_nobody_from_a_failure(harness).await;
    if harness.fleet().describe().reload == ReloadStyle::PerMember {
        a_reload_ends_one_run_and_only_that(harness.fleet()).await;
        a_repeated_reload_does_nothing(harness.fleet()).await;
        a_reload_of_an_ended_run_does_nothing(harness).await;
        a_reload_of_all_touches_everybody_once(harness.fleet()).await;
    }
}

/// A description names the kind and the place.
pub fn tells_what_it_is(fleet: &dyn Fleet) {
    let description = fleet.describe();
    assert!(!description.kind.is_empty(), "a fleet names its kind");
    assert!(!description.location.is_empty(), "a fleet says which one it is");
}

/// Ids are unique.
pub async fn lists_each_member_once(fleet: &dyn Fleet) {
    let members = list(fleet).await;
    assert!(members.len() >= 2, "the harness brings at least two members, and brought {}", members.len());
    let ids: BTreeSet<&MemberId> = members.iter().map(|member| &member.id).collect();
    assert_eq!(ids.len(), members.len(), "no two members have the same name");
}

/// Boot ids are stable.
pub async fn lists_the_same_runs_while_nothing_happens(fleet: &dyn Fleet) {
    let runs =
        |members: Vec<Member>| members.into_iter().map(|member| (member.id, member.boot)).collect::<BTreeSet<_>>();
    assert_eq!(runs(list(fleet).await), runs(list(fleet).await), "a run keeps its boot id while it lives");
}

/// A reload of somebody unknown is an error of its own kind.
pub async fn knows_no_strangers(fleet: &dyn Fleet) {
    let stranger = target(&MemberId("nobody-of-this-name".into()), &BootId("none".into()));
    let error = fleet.reload(&request("conformance/stranger/1", stranger)).await;
    assert!(
        matches!(error, Err(FleetError::NoSuchMember { .. })),
        "a reload of a member that does not exist fails as such: {error:?}"
    );
}

/// An empty list is an answer, a failure is an error.
pub async fn tells_nobody_from_a_failure(harness: &dyn Harness) {
    if let Some(empty) = harness.empty() {
        let alive: Vec<Member> =
            list(empty.as_ref()).await.into_iter().filter(|member| member.state != MemberState::Down).collect();
        assert_eq!(alive, [], "in an empty fleet nobody runs");
    }
    if let Some(unlistable) = harness.unlistable() {
        let listed = unlistable.members().await;
        assert!(
            matches!(listed, Err(FleetError::List { .. } | FleetError::Unavailable { .. })),
            "a failure to list is an error: {listed:?}"
        );
    }
}

/// One member gets a new boot id, the others keep theirs.
pub async fn a_reload_ends_one_run_and_only_that(fleet: &dyn Fleet) {
    let before = list(fleet).await;
    let first = before.first().expect("the harness brings members");
    let outcome = fleet.reload(&request("conformance/one/1", target(&first.id, &first.boot))).await;
    assert_eq!(outcome.expect("a reload is taken up"), ReloadOutcome::Started);
    until_another_run(fleet, first).await;
    let after = list(fleet).await;
    for member in &before[1..] {
        let now = after.iter().find(|other| other.id == member.id).expect("nobody else vanished");
        assert_eq!(now.boot, member.boot, "a reload of one member leaves the others alone");
    }
}

/// The same request twice is one reload, whatever run it names the second time.
pub async fn a_repeated_reload_does_nothing(fleet: &dyn Fleet) {
    let first = list(fleet).await.swap_remove(0);
    let again = request("conformance/twice/1", target(&first.id, &first.boot));
    assert_eq!(fleet.reload(&again).await.expect("a reload is taken up"), ReloadOutcome::Started);
    let new = until_another_run(fleet, &first).await;
    assert_eq!(fleet.reload(&again).await.expect("a repeat is no error"), ReloadOutcome::AlreadyDone);
    let with_new_run = request("conformance/twice/1", target(&new.id, &new.boot));
    assert_eq!(
        fleet.reload(&with_new_run).await.expect("a repeat is no error"),
        ReloadOutcome::AlreadyDone,
        "a reload is named by its id and member, so a repeat that names the new run is a repeat still"
    );
    assert_eq!(run_of(fleet, &first.id).await.boot, new.boot, "a repeated reload restarts nobody");
    let on_purpose = request("conformance/twice/2", target(&new.id, &new.boot));
    assert_eq!(
        fleet.reload(&on_purpose).await.expect("a new attempt is taken up"),
        ReloadOutcome::Started,
        "a new attempt is another reload"
    );
    until_another_run(fleet, &new).await;
}

/// A member that somebody else restarted is another run, and a reload that named the old one is done.
pub async fn a_reload_of_an_ended_run_does_nothing(harness: &dyn Harness) {
    let fleet = harness.fleet();
    let first = list(fleet).await.swap_remove(0);
    if harness.restart_behind_its_back(&first).await == Capability::NotOfThisKind {
        return;
    }
    let new = until_another_run(fleet, &first).await;
    let late = request("conformance/late/1", target(&first.id, &first.boot));
    assert_eq!(fleet.reload(&late).await.expect("a late reload is no error"), ReloadOutcome::AlreadyDone);
    assert_eq!(run_of(fleet, &first.id).await.boot, new.boot, "a reload of an ended run restarts nobody");
}

/// A reload of the whole fleet restarts each member, and its repeat none.
pub async fn a_reload_of_all_touches_everybody_once(fleet: &dyn Fleet) {
    let before = list(fleet).await;
    let all = request("conformance/all/1", ReloadTarget::All);
    match fleet.reload(&all).await {
        Ok(outcome) => assert_eq!(outcome, ReloadOutcome::Started),
        // A fleet that is told to reload member by member may have no way to reload as a whole, and says so.
        Err(FleetError::Reload { .. }) => return,
        Err(error) => panic!("a reload of all is taken up or refused as a reload: {error:?}"),
    }
    for member in &before {
        until_another_run(fleet, member).await;
    }
    let after = list(fleet).await;
    assert_eq!(fleet.reload(&all).await.expect("a repeat is no error"), ReloadOutcome::AlreadyDone);
    for member in &after {
        assert_eq!(run_of(fleet, &member.id).await.boot, member.boot, "a repeated reload restarts nobody");
    }
}

#[async_trait]
impl Harness for Unchanging<'_> {
    fn fleet(&self) -> &dyn Fleet {
        self.0
    }

    async fn restart_behind_its_back(&self, _member: &Member) -> Capability {
        Capability::NotOfThisKind
    }

    fn empty(&self) -> Option<Box<dyn Fleet>> {
        None
    }

    fn unlistable(&self) -> Option<Box<dyn Fleet>> {
        None
    }
}

async fn list(fleet: &dyn Fleet) -> Vec<Member> {
    fleet.members().await.expect("the harness brings a fleet that can be listed")
}

async fn run_of(fleet: &dyn Fleet, id: &MemberId) -> Member {
    list(fleet).await.into_iter().find(|member| member.id == *id).expect("a member keeps its name")
}

/// Waits until the member is back as another run.
async fn until_another_run(fleet: &dyn Fleet, old: &Member) -> Member {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = list(fleet).await.into_iter().find(|member| member.id == old.id);
        match found {
            Some(member) if member.boot != old.boot && member.state == MemberState::Ready => return member,
            other => assert!(
                tokio::time::Instant::now() < deadline,
                "a reloaded member comes back as another run; `{}` is {other:?}",
                old.id.0
            ),
        }
        tokio::time::sleep(POLL).await;
    }
}

fn request(id: &str, target: ReloadTarget) -> ReloadRequest {
    ReloadRequest { id: ReloadId(id.into()), target }
}

fn target(id: &MemberId, boot: &BootId) -> ReloadTarget {
    ReloadTarget::Member { id: id.clone(), boot: boot.clone() }
}

const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
