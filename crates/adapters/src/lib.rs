//! Where keys live, what must reload, and what proves it: contracts, implementations, a conformance suite for each.
//!
//! Nothing here knows the rotation protocol. An adapter that is asked twice for the same thing does it once.

mod direct;
pub mod evidence;
pub mod fleets;
pub mod stores;
mod subprocess;
mod time;

pub use direct::DirectError;
pub use time::{TimeSource, Timestamp};
