//! The invariants of the protocol, checked against the *hypothetical next* world before each write.
//!
//! The machine should never propose a write that fails here. The check exists because "should" is not a proof: it
//! knows nothing of how the machine came to its proposal, and looks only at what would be true afterwards.

use keyroll_keyring::KeyId;

use crate::{Candidate, Mode, Opening, Permit, Rotation, Stage, StoreIndex, Trust, WorldConfiguration};

/// An invariant that the next world would break.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a name and a reason say it all")]
pub struct Violation {
    /// Its name on the protocol page, as `I4`.
    pub invariant: &'static str,
    /// In words.
    pub reason: String,
}

/// Whether writing `after` to `store` keeps every invariant that can be told from the stores and the record.
pub fn check_next(rotation: &Rotation, store: StoreIndex, after: &WorldConfiguration) -> Result<(), Violation> {
    let Some(before) = rotation.stores.get(usize::from(store.0)) else {
        return violated("I7", format!("store {} is not part of this rotation", store.0));
    };
    if !after.accept.contains(&after.active) {
        return violated("I3", format!("{} would be active and not accepted", after.active));
    }
    for &key in after.accept.difference(&before.accept) {
        never_returns(rotation, key)?;
    }
    if after.active != before.active {
        never_returns(rotation, after.active)?;
    }
    for &key in rotation.compromised.intersection(&after.accept) {
        if key != after.active {
            return violated("I13", format!("{key} is compromised and would be accepted while {} mints", after.active));
        }
    }
    if rotation.stage == Stage::CuttingOver {
        return Ok(());
    }
    single_change(before, after)?;
    if after.active != before.active {
        activation(rotation, after.active)?;
    }
    for &key in before.accept.difference(&after.accept) {
        departure(rotation, key)?;
    }
    Ok(())
}

/// Whether the present world is one that this kind of rotation may start from (I11), and the candidate one that it may
/// bring in (I5).
pub fn check_opening(opening: &Opening) -> Result<(), Violation> {
    let Some(first) = opening.stores.first() else {
        return violated("I11", "no store was named".into());
    };
    let known = opening.stores.iter().flat_map(|store| store.accept.iter().copied());
    let greatest = known.chain([opening.outgoing]).chain(opening.compromised.iter().copied()).max();
    match opening.candidate {
        Candidate::Fresh if greatest >= Some(opening.incoming) => {
            return violated("I5", format!("{} is not greater than every id ever used", opening.incoming));
        }
        Candidate::Standby if !opening.stores.iter().all(|store| store.accept.contains(&opening.incoming)) => {
            return violated("I11", format!("the standby {} is not accepted by every store", opening.incoming));
        }
        Candidate::Standby if opening.mode == Mode::Standby => {
            return violated("I10", format!("{} is a standby candidate already", opening.incoming));
        }
        Candidate::Fresh | Candidate::Standby => {}
    }
    if opening.incoming == opening.outgoing {
        return violated("I5", format!("{} can't replace itself", opening.incoming));
    }
    if opening.compromised.contains(&opening.incoming) {
        return violated("I5", format!("the candidate {} is compromised", opening.incoming));
    }
    for store in &opening.stores {
        if !store.accept.contains(&store.active) {
            return violated("I11", format!("{} is active and not accepted", store.active));
        }
    }
    let equal = opening.stores.iter().all(|store| store == first);
    let leaked: Vec<KeyId> = first.accept.intersection(&opening.compromised).copied().collect();
    match opening.mode {
        // One write replaces whatever is there: it repairs every world.
        Mode::HardCutover => Ok(()),
        Mode::Staged | Mode::Cutover | Mode::Accelerated | Mode::Standby if !equal => {
            violated("I11", "the stores differ; make them equal, or use a hard cutover".into())
        }
        Mode::Staged | Mode::Cutover | Mode::Accelerated | Mode::Standby if first.active != opening.outgoing => {
            violated("I11", format!("{} is active, not {}", first.active, opening.outgoing))
        }
        Mode::Accelerated => match leaked.iter().find(|&&key| key != first.active) {
            Some(key) => violated("I13", format!("{key} is compromised and accepted while {} mints", first.active)),
            None => Ok(()),
        },
        Mode::Staged | Mode::Cutover | Mode::Standby => match leaked.first() {
            Some(key) => violated("I11", format!("{key} is compromised and accepted; revoke it first")),
            None => Ok(()),
        },
    }
}

/// I5: a destroyed or compromised key never returns.
fn never_returns(rotation: &Rotation, key: KeyId) -> Result<(), Violation> {
    if rotation.destroyed.contains(&key) {
        return violated("I5", format!("{key} is destroyed and would return"));
    }
    if rotation.compromised.contains(&key) {
        return violated("I5", format!("{key} is compromised and would return"));
    }
    Ok(())
}

/// Each write changes either `active` or `accept`, and adds or removes exactly one key.
fn single_change(before: &WorldConfiguration, after: &WorldConfiguration) -> Result<(), Violation> {
    let keys = before.accept.symmetric_difference(&after.accept).count();
    let changes = keys + usize::from(before.active != after.active);
    if changes > 1 {
        return violated("I4", format!("one write would change {changes} things at once"));
    }
    Ok(())
}

/// I4: a key becomes active only while it is accepted everywhere.
fn activation(rotation: &Rotation, key: KeyId) -> Result<(), Violation> {
    if let Some(store) = rotation.stores.iter().position(|store| !store.accept.contains(&key)) {
        return violated("I4", format!("{key} would become active and store {store} does not accept it"));
    }
    match rotation.permit {
        Permit::Passed { .. } => Ok(()),
        Permit::Free if rotation.trust == Trust::BothEverywhere => Ok(()),
        Permit::Free | Permit::Needed => violated("I4", format!("{key} is not proven to be accepted everywhere")),
    }
}

/// I4 and I6: a key leaves `accept` only if it never minted or is drained.
fn departure(rotation: &Rotation, key: KeyId) -> Result<(), Violation> {
    match rotation.stage {
        Stage::Withdrawing if key == rotation.incoming && !rotation.promotion_attempted => Ok(()),
        Stage::Retiring if key == rotation.outgoing => {
            if rotation.t0.is_none() {
                return violated("I6", format!("{key} would be retired without a recorded T0"));
            }
            if rotation.drained.is_none() {
                return violated("I6", format!("{key} would be retired without recorded evidence"));
            }
            match rotation.permit {
                Permit::Passed { .. } => Ok(()),
                Permit::Free | Permit::Needed => violated("I4", format!("a member may still mint under {key}")),
            }
        }
        Stage::Planned
        | Stage::Staged
        | Stage::Accepting
        | Stage::Promoting
        | Stage::Draining
        | Stage::Retiring
        | Stage::Closing
        | Stage::Escrow
        | Stage::Finished
        | Stage::Withdrawing
        | Stage::CuttingOver => violated("I4", format!("{key} would vanish and is not drained")),
    }
}

fn violated(invariant: &'static str, reason: String) -> Result<(), Violation> {
    Err(Violation { invariant, reason })
}
