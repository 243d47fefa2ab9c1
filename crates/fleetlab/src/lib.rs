//! An embedded fleet of real processes with users on it, who notice every logout: for `keyroll demo` and for tests.
//!
//! A [`lab::Lab`] puts a round-robin [`front`] before the [`replica`] processes of a [`scene`] and lets [`users`] browse through it, while
//! Keyroll, or one of the [`procedures`] that runbooks prescribe, rotates the key. The [`report`] says what the users saw.
//!
//! Nothing here knows how Keyroll rotates: whoever drives the fleet does so through the files and processes of the scene,
//! so the measure can't favour one procedure.

pub mod front;
mod http;
pub mod lab;
pub mod ports;
pub mod procedures;
pub mod replica;
pub mod report;
pub mod scene;
pub mod supervisor;
pub mod users;
