//! The loop that carries a rotation out: takes the lock, asks the machine what is next, does it, records it, and may die anywhere.
//!
//! A [`session`] is one process that holds the lock; nothing here writes to a store without one.

pub(crate) mod commit;
pub(crate) mod conclusion;
pub(crate) mod destruction;
pub(crate) mod drive;
pub(crate) mod effects;
pub(crate) mod ending;
pub(crate) mod fitting;
pub(crate) mod foreign;
pub(crate) mod heard;
pub(crate) mod hooks;
pub(crate) mod interrupt;
pub(crate) mod leftovers;
pub(crate) mod on_purpose;
pub(crate) mod opening;
pub(crate) mod regression;
pub(crate) mod requests;
pub(crate) mod retry;
pub(crate) mod roll;
pub(crate) mod session;
pub(crate) mod state;
pub(crate) mod telling;
pub(crate) mod window;
