//! A run, told so that a person can follow it: one line for each thing that happened and mattered.
//!
//! The story is made from the worlds before and after an action, so the random schedules and the model checker's
//! counterexamples tell theirs in the same words.

use super::world::{Action, Driver, ForeignWrite, Leak, Touched, World, say};
use crate::{Event, Halt, Next, Permit, Stage, Step};

/// One line for what an action did; none where nothing worth telling happened.
pub fn tell(before: &World, action: Action, after: &World) -> Option<String> {
    let line = match action {
        Action::Tick => "time passes".to_owned(),
        Action::Drive => return tell_driver(before, after),
        Action::DriveWithEmptyList => "keyroll lists the members and is given an empty list".to_owned(),
        Action::Crash => "keyroll is killed and started again".to_owned(),
        Action::Boot { slot, version } => format!("member {slot} starts{}", read(after, slot, version)),
        Action::Reload { slot, version } => format!("keyroll restarts member {slot}{}", read(after, slot, version)),
        Action::Reread { slot, version } => format!("member {slot} re-reads the key{}", read(after, slot, version)),
        Action::Ready { slot } => format!("member {slot} is ready and serves"),
        Action::Stop { slot } => format!("member {slot} is gone"),
        Action::Mint { slot } => {
            let key = after.sessions.last().map(|session| session.key.to_string()).unwrap_or_default();
            format!("a user logs in on member {slot} and gets a session under {key}")
        }
        Action::Visit { session, slot } => {
            let (was, is) = (before.sessions.get(session)?, after.sessions.get(session)?);
            match (was.key == is.key, was.forged) {
                (true, _) => format!("the session under {} is used on member {slot}", was.key),
                (false, false) => {
                    format!("member {slot} opens a session under {} and seals it under {}", was.key, is.key)
                }
                (false, true) => {
                    format!("member {slot} opens the forged session under {} and seals it under {}", was.key, is.key)
                }
            }
        }
        Action::Forge => "somebody forges a session with the leaked key".to_owned(),
        Action::Rollback => format!("an operator asks for a rollback{}", standing(after)),
        Action::Revoke(leak) => {
            let what = match leak {
                Leak::Old => "the old key leaked",
                Leak::New => "the new key leaked",
                Leak::Both => "both keys leaked",
            };
            format!("an operator revokes, because {what}{}", standing(after))
        }
        Action::Foreign { store, write } => {
            let what = match write {
                ForeignWrite::Revert => "reverts store",
                ForeignWrite::NewOnly => "writes the new key alone to store",
                ForeignWrite::Stranger => "writes a strange key to store",
            };
            format!("somebody else {what} {store}, which now holds {}", say(&after.stores[store].holds))
        }
        Action::Restore { store } => {
            format!("somebody puts store {store} back to {}", say(&after.stores[store].holds))
        }
        Action::Adopt => format!("an operator goes on from the foreign write{}", standing(after)),
        Action::AcceptLoss => "an operator gives up the sessions that are left".to_owned(),
        Action::Resume => "an operator resumes".to_owned(),
    };
    Some(line)
}

/// The last line of a story: what broke.
pub fn ending(world: &World) -> Option<String> {
    world.broken.as_ref().map(|broken| format!("{} is broken: {}", broken.invariant, broken.reason))
}

fn tell_driver(before: &World, after: &World) -> Option<String> {
    let written = before.stores.iter().zip(&after.stores).position(|(was, is)| was.holds != is.holds);
    if let Some(store) = written {
        let held = say(&after.stores[store].holds);
        let many = before.stores.iter().zip(&after.stores).filter(|(was, is)| was.holds != is.holds).count() > 1;
        let which = if many { "every store".to_owned() } else { format!("store {store}") };
        return Some(format!("keyroll writes {held} to {which} ({:?})", after.rotation.stage));
    }
    let line = match (&before.driver, &after.driver) {
        (Driver::Fresh, _) => "keyroll reads the stores and goes on where it was".to_owned(),
        (Driver::Idle, Driver::Sweeping { seen, .. }) => {
            let gate = before.rotation.gate().map_or_else(String::new, |gate| format!("{:?}", gate.name));
            format!("keyroll asks {} members for {gate}", seen.len())
        }
        (Driver::Idle, Driver::Reloading(boots)) => format!("keyroll begins to restart {} members", boots.len()),
        (Driver::Idle, Driver::Did(Event::CandidateStored)) => "keyroll generates and stores the new key".to_owned(),
        (Driver::Idle, Driver::Did(Event::Stamped { t0 })) => {
            let ago = before.now.0.saturating_sub(t0.0) / 1000;
            format!("keyroll stamps T0, the start of the drain, {ago} s ago")
        }
        (Driver::Idle, Driver::Did(Event::Closed { .. })) => {
            format!("keyroll closes the rotation: {:?}", before.rotation.leaving(before.now))
        }
        (Driver::Idle, Driver::Did(Event::Destroyed)) => format!("keyroll destroys {}", before.rotation.outgoing),
        (Driver::Idle, Driver::Did(Event::CandidateDiscarded)) => {
            format!("keyroll discards the candidate {}", before.rotation.incoming)
        }
        (Driver::Sweeping { .. }, _) => match (passed(before, after), after.rotation.unproven.len()) {
            (true, _) => format!("the gate is passed{}", standing(after)),
            (false, missing) => format!("the gate is not passed, {missing} demands are unmet{}", standing(after)),
        },
        (Driver::Reloading(_), _) => "every member was restarted".to_owned(),
        (Driver::Idle, _) => {
            let touched = before.stores.iter().any(|store| store.touched == Touched::Yes);
            match (&after.rotation.halt, touched) {
                (Some(Halt::ForeignWrite { store, .. }), _) => {
                    format!("keyroll finds a foreign write in store {} and halts", store.0)
                }
                (_, true) => "keyroll finds that somebody was in a store, and will prove everything again".to_owned(),
                (_, false) => match before.rotation.next(before.now) {
                    Next::Do(crate::Effect::ObserveDrain { key, .. }) => {
                        format!("keyroll looks for sessions under {key}")
                    }
                    Next::Do(_) | Next::Wait(_) | Next::Done => return None,
                },
            }
        }
        (Driver::Did(_), _) => return None,
    };
    Some(line)
}

fn passed(before: &World, after: &World) -> bool {
    let (was, is) = (&before.rotation, &after.rotation);
    let permitted = matches!(is.permit, Permit::Passed { .. }) && was.permit != is.permit;
    let done = was.step == Step::Gate && is.step != Step::Gate && !matches!(is.step, Step::Reload { .. });
    permitted || (done && is.halt.is_none()) || (was.stage == Stage::Draining && is.stage == Stage::Retiring)
}

fn standing(world: &World) -> String {
    format!("; the rotation stands at {:?}", world.rotation.stage)
}

fn read(after: &World, slot: usize, version: usize) -> String {
    let config = after.members[slot].as_ref().map(|member| say(&member.config)).unwrap_or_default();
    if version == 0 { format!(" and reads {config}") } else { format!(" and still reads the older {config}") }
}
