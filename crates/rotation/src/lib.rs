//! The rotation protocol as a pure state machine: no I/O, no clock, no randomness of its own.
//!
//! [`Rotation::next`] says what to do now, or why to wait; [`Rotation::apply`] takes what happened. What the driver
//! keeps is a [`Rotation`] and nothing else, so a crash between two effects loses nothing that the world does not show.

pub mod gate;
mod ids;
mod machine;
mod wait;
mod world;

pub use ids::{Attempt, Epoch, MemberIndex, Millis, RotationId, StoreIndex};
pub use machine::{
    Applied, Candidate, Direction, DrainObservation, DrainRule, Effect, Event, Halt, Illegal, Mode, Next, Opening,
    ReloadNeed, ReloadScope, Revocation, Rotation, Settings, Stage, Step,
};
pub use wait::{DrainEvidenceGap, Naysayer, Wait};
pub use world::WorldConfiguration;
