//! What the members are and what they show: the list with its names, the sweep that asks each, the book of their counters.
//!
//! A sweep only gathers. Whether a gate passes is the machine's to say.

pub(crate) mod drain;
pub(crate) mod roster;
pub(crate) mod sweep;
