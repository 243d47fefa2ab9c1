//! The rotation protocol as a pure state machine: no I/O, no clock, no randomness of its own.
//!
//! [`Rotation::next`] says what to do now, or why to wait; [`Rotation::apply`] takes what happened. What the driver
//! keeps is a [`Rotation`] and nothing else, so a crash between two effects loses nothing that the world does not show.
//!
//! The way through it: [`Plan::of`](plan::Plan::of) shows beforehand what will be done, [`Rotation::open`] begins,
//! [`invariants`] stands before each write, [`gate`] judges what members showed, and [`simulation`] is a world in which
//! all of it can be run ten thousand times a second.

#![warn(missing_docs)]

mod drain;
mod effect;
mod event;
pub mod gate;
mod ids;
pub mod invariants;
mod machine;
pub mod plan;
mod settings;
pub mod simulation;
mod state;
mod transition;
mod wait;
mod world;

pub use effect::{Effect, Leaving, Next};
pub use event::{Applied, DrainObservation, Event, Illegal, Revocation};
pub use ids::{Attempt, Epoch, MemberIndex, Millis, RotationId, StoreIndex};
pub use settings::{DrainRule, ReloadNeed, Settings};
pub use state::{
    Abandoned, Candidate, Direction, DrainSeen, Halt, Mode, Opening, Permit, ReloadScope, Rotation, Stage, Step, Trust,
};
pub use wait::{DrainEvidenceGap, Naysayer, Wait};
pub use world::WorldConfiguration;
