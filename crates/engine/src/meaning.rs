//! What a rotation's state means to a person: which key is "old", which command goes on, what a gate asks, what clients notice.
//!
//! Pure: whoever answers and whoever drives say the same, because they ask here.

use std::collections::BTreeSet;

use keyroll_keyring::KeyId;
use keyroll_rotation::gate::Gate;
use keyroll_rotation::plan::ClientImpact;
use keyroll_rotation::{Direction, Event, Halt, Millis, Mode, Revocation, Rotation, Stage, Step, WorldConfiguration};

use crate::request::Compromised;
use crate::world::stamp::Ledger;
use crate::world::{self, Materials};

/// The keys that a person means by "old" and "new".
pub(crate) fn old_and_new(machine: &Rotation) -> (KeyId, KeyId) {
    // Once it is closed, the key "in use" is the one that came. A rollback exchanged the two, unless the candidate was only withdrawn.
    let exchanged = match machine.direction {
        Direction::Forward => machine.stage == Stage::Escrow,
        Direction::Back => machine.promotion_attempted,
    };
    match exchanged {
        true => (machine.incoming, machine.outgoing),
        false => (machine.outgoing, machine.incoming),
    }
}

/// The keys of the rotation that a person who speaks of a leak means.
pub(crate) fn named_by(compromised: Compromised, machine: &Rotation) -> BTreeSet<KeyId> {
    let (old, new) = old_and_new(machine);
    match compromised {
        Compromised::Old => [old].into(),
        Compromised::New => [new].into(),
        Compromised::Both => [old, new].into(),
    }
}

/// The key that the rotation began with, whichever way it goes now.
pub(crate) fn going_back_onto(machine: &Rotation) -> KeyId {
    match machine.direction {
        Direction::Forward => machine.outgoing,
        // Once it goes back, the roles are exchanged; a candidate that is only withdrawn never had the other's role.
        Direction::Back if machine.promotion_attempted => machine.incoming,
        Direction::Back => machine.outgoing,
    }
}

/// A closed rotation is not driven any more; what is left of it is the end of its escrow.
pub(crate) fn goes_on(machine: &Rotation) -> &'static str {
    match machine.stage {
        Stage::Escrow => "keyroll complete",
        _ => "keyroll rotate",
    }
}

/// What a gate demands of every member, as it follows "whether" and a colon.
pub(crate) fn gate_demand(gate: &Gate) -> String {
    let list = |keys: &BTreeSet<KeyId>| keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    let mut demands = Vec::new();
    if !gate.rejects.is_empty() {
        demands.push(format!("rejects {}", list(&gate.rejects)));
    }
    if !gate.accepts.is_empty() {
        demands.push(format!("accepts {}", list(&gate.accepts)));
    }
    if let Some(key) = gate.mints {
        demands.push(format!("mints under {key}"));
    }
    format!("every member {}", demands.join(", "))
}

/// What clients will notice.
pub(crate) fn clients_notice(impact: ClientImpact, old: &str) -> String {
    match impact {
        ClientImpact::Nothing => "nothing: no session ends, and nobody logs in again".to_owned(),
        ClientImpact::UnrenewedEnd { permille } => format!(
            "nothing, but for sessions that are not re-issued when the drain's limit is reached: at most {permille} of 1000 visits"
        ),
        ClientImpact::AllEnd => {
            format!("every session under {old} ends; during the roll, a login may have to be repeated")
        }
        ClientImpact::OldEnd => format!(
            "every session under {old} ends at the second write; new ones are accepted everywhere from their first moment"
        ),
        _ => "unknown".to_owned(),
    }
}

/// Whether sessions end on purpose, at once.
pub(crate) fn is_emergency(mode: Mode) -> bool {
    matches!(mode, Mode::Accelerated | Mode::HardCutover)
}

/// How somebody who has a copy of a key brings it, where Keyroll takes it.
pub(crate) fn copy_of(id: KeyId, machine: &Rotation) -> &'static str {
    match going_back_onto(machine) == id {
        true => ", or bring your own copy of it: `keyroll rollback --key-from FILE`",
        false => "",
    }
}

/// What a hard cutover, or one that is under way, makes of a rotation that stands still for a foreign write; none where it would not
/// be one.
pub(crate) fn cut_through(machine: &Rotation, revocation: Option<Revocation>, at: Millis) -> Option<Rotation> {
    if revocation.as_ref().is_some_and(|revocation| revocation.mode != Mode::HardCutover) {
        return None;
    }
    let stores = machine.stores.iter().cloned().map(Some).collect();
    let mended = machine.apply(&Event::WorldObserved { stores, at }).ok()?.rotation;
    let after = match revocation {
        Some(revocation) => mended.apply(&Event::Revoked(revocation)).ok()?.rotation,
        None => mended,
    };
    (after.mode == Mode::HardCutover && after.halt.is_none()).then_some(after)
}

/// Whether a rotation is about to replace all that the fields of a store hold.
pub(crate) fn replaces(machine: &Rotation, place: usize) -> bool {
    let only = WorldConfiguration { active: machine.incoming, accept: BTreeSet::from([machine.incoming]) };
    machine.mode == Mode::HardCutover
        && matches!(machine.stage, Stage::Staged | Stage::CuttingOver)
        && machine.stores.get(place).is_some_and(|expected| *expected != only)
}

/// Whether the rotation would take the event now.
pub(crate) fn can(machine: &Rotation, event: &Event) -> bool {
    machine.apply(event).is_ok()
}

/// The step in words.
pub(crate) fn step_words(machine: &Rotation) -> String {
    match (&machine.step, machine.stage) {
        (Step::Write, _) => "writing".into(),
        (Step::Reload { attempt, .. }, _) => format!("reloading, attempt {}", attempt.0),
        (Step::Gate, _) => "proving every member".into(),
        (Step::Act, Stage::Planned) => "planned".into(),
        (Step::Act, Stage::Staged) => "storing the candidate".into(),
        (Step::Act, Stage::Draining) => "draining".into(),
        (Step::Act, Stage::Closing) => "closing".into(),
        (Step::Act, Stage::Escrow) => format!("closed; {} is kept in escrow", machine.outgoing),
        (Step::Act, Stage::Finished) => "finished".into(),
        (Step::Act, Stage::Withdrawing) => "discarding the candidate".into(),
        _ => "working".into(),
    }
}

/// Why it stands still, with the names of the stores.
pub(crate) fn halt_words(halt: &Halt, stores: &[String]) -> String {
    match halt {
        Halt::Paused => "paused".into(),
        Halt::ForeignWrite { store, expected, found } => format!(
            "{} was written by somebody else: it should have {}, and has {}",
            stores.get(usize::from(store.0)).map_or("a store", String::as_str),
            world::configuration_words(expected),
            found.as_ref().map_or_else(|| "keys that nobody knows".to_owned(), world::configuration_words)
        ),
        Halt::ReloadStopped { member: Some(_) } => "a member did not come back from its reload".into(),
        Halt::ReloadStopped { member: None } => "more requests failed than before the reload".into(),
        Halt::LaggardsRemain => "members stayed unproven after every allowed reload".into(),
        _ => "for a reason that this release does not know".into(),
    }
}

/// A key that a store should hold by the record, and that must not come back into it: it leaked, or was destroyed.
pub(crate) fn must_not_return(machine: &Rotation, expected: &WorldConfiguration, ledger: &Ledger) -> Option<KeyId> {
    let ended = ledger.ended();
    expected.accept.iter().copied().find(|id| machine.compromised.contains(id) || ended.contains(id))
}

/// What there is to do where that is so.
pub(crate) fn leaked_words(id: KeyId) -> String {
    format!(
        "{id} has leaked and must not return, so it is not written over what stands there; `keyroll revoke --mode hard-cutover` \
         replaces all of it"
    )
}

/// Whether a closed rotation is over by what somebody else wrote: it can't go on from that, and it holds no key that must not
/// return. Without this nobody could rotate such a key again but by ending every session.
pub(crate) fn is_over_for(
    machine: &Rotation,
    found: &[Option<WorldConfiguration>],
    ledger: &Ledger,
    materials: &Materials,
) -> bool {
    if machine.stage != Stage::Escrow || found.iter().flatten().any(|store| ledger.returned(store).is_some()) {
        return false;
    }
    let both = [machine.outgoing, machine.incoming].iter().all(|id| materials.get(*id).is_some());
    let at = machine.written_at.unwrap_or_default();
    let goes_on = |stores| machine.apply(&Event::ForeignWriteAdopted { stores, at }).is_ok();
    !both || !found.iter().cloned().collect::<Option<Vec<_>>>().is_some_and(goes_on)
}
