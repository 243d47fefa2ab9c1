//! The driver that may die anywhere: configuration, lock, journal, effects, retries, resume, audit.
//!
//! The rotation itself is decided elsewhere, in a crate without input and output. Here each decision is recorded, carried out
//! and recorded again, and the world is asked before it is changed.

mod answers;
mod assembly;
mod clock;
pub mod config;
mod driver;
mod engine;
mod error;
pub mod journal;
pub mod lint;
mod meaning;
mod members;
mod outcome;
mod report;
mod request;
pub mod words;
mod world;

pub use answers::affected::Affected;
pub use answers::remaining::Remaining;
pub use assembly::assemble::{AssembleError, assemble, process_fleet, profile, settings};
pub use assembly::{Assembly, Consumer, EnginePolicy, ErrorRateWatch, OnRegression, Standby, Stickiness, Window};
pub use clock::{Clock, SystemClock};
pub use driver::hooks::{CrashPoint, Hooks, Moment, NoHooks};
pub use driver::interrupt::{Interrupt, InterruptSender, interrupt};
pub use engine::{Engine, Operator};
pub use error::EngineError;
pub use journal::{Reason, Why};
pub use outcome::{ExitKind, Outcome};
pub use report::{
    Check, Colour, KeyRejected, KeySessions, KeyStatus, MemberKey, MemberStatus, NaysayerReport, NoObserver, Notice,
    Observer, PlanDocument, PlannedStep, PreflightReport, Reach, Resumed, RotationStatus, SCHEMA_VERSION, Status,
    StatusSource, StoreStatus, UnprovenMember, VerifyReport, WaitReport, Who,
};
pub use request::{
    CompleteRequest, Compromised, Overrides, Patience, ReloadRequest, RevokeRequest, RollbackRequest, RotateRequest,
    StoreLeak, UnlockRequest, WindowRule,
};
pub use world::fingerprints::Fingerprints;
pub use world::lock::LockHolder;
