//! What Keyroll says without changing anything: preflight, plan, status, why it waits, whom it concerns, whether it is true.
//!
//! Nothing here holds the lock, so each answer is of the moment at which it was asked.

pub(crate) mod affected;
pub(crate) mod calibration;
pub(crate) mod checks;
pub(crate) mod counters;
pub(crate) mod drift;
pub(crate) mod error_texts;
pub(crate) mod explain;
pub(crate) mod plan;
pub(crate) mod preflight;
pub(crate) mod remaining;
pub(crate) mod sighting;
pub(crate) mod skew;
pub(crate) mod status;
pub(crate) mod verify;
