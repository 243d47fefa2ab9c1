//! The driver of a rotation: configuration, journal, audit, lock, effects, resume.
//!
//! What decides is in `keyroll-rotation`, what touches the world is in `keyroll-adapters`; this crate stands between
//! them and writes down what it is about to do before it does it.

pub mod config;
pub mod journal;
pub mod lint;
