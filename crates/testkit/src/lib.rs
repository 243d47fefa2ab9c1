//! What tests share: suites that say loudly what did not run, and real servers on loopback.
//!
//! Not published, and used from `tests/` only.

pub mod needs;
pub mod points;
pub mod suite;

pub use needs::Need;
pub use suite::Suite;
