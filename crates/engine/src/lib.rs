//! The driver that may die anywhere: configuration, lock, journal, effects, retries, resume, audit.
//!
//! The rotation itself is decided elsewhere, in a crate without input and output. Here each decision is recorded, carried out
//! and recorded again, and the world is asked before it is changed.

mod affected;
mod assemble;
mod assembly;
mod calibration;
mod clock;
mod conclusion;
pub mod config;
mod drain;
mod drive;
mod effects;
mod ending;
mod engine;
mod error;
mod error_texts;
mod explain;
mod fingerprints;
mod hooks;
mod interrupt;
pub mod journal;
pub mod lint;
mod lock;
mod opening;
mod outcome;
mod plan;
mod preflight;
mod regression;
mod report;
mod request;
mod requests;
mod retry;
mod roll;
mod roster;
mod session;
mod stamp;
mod state;
mod status;
mod sweep;
mod verify;
mod window;
pub mod words;
mod world;

pub use affected::{Affected, KeySessions};
pub use assemble::{AssembleError, assemble, process_fleet, profile, settings};
pub use assembly::{Assembly, Consumer, EnginePolicy, ErrorRateWatch, OnRegression, Standby, Stickiness, Window};
pub use clock::{Clock, SystemClock};
pub use engine::{Engine, Operator};
pub use error::EngineError;
pub use fingerprints::Fingerprints;
pub use hooks::{CrashPoint, Hooks, Moment, NoHooks};
pub use interrupt::{Interrupt, InterruptSender, interrupt};
pub use journal::{Reason, Why};
pub use lock::LockHolder;
pub use outcome::{ExitKind, Outcome};
pub use plan::{PlanDocument, PlannedStep};
pub use report::{
    Check, Colour, KeyRejected, KeyStatus, MemberKey, MemberStatus, NaysayerReport, NoObserver, Notice, Observer,
    PreflightReport, Reach, Resumed, RotationStatus, SCHEMA_VERSION, Status, StatusSource, StoreStatus, UnprovenMember,
    VerifyReport, WaitReport, Who,
};
pub use request::{
    CompleteRequest, Compromised, Overrides, Patience, ReloadRequest, RevokeRequest, RollbackRequest, RotateRequest,
    StoreLeak, UnlockRequest, WindowRule,
};
