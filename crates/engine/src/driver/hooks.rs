//! Points at which a test may kill the process.
//!
//! In production nothing listens. The points are passed through in every build, so what is tested is what is shipped.

use std::fmt;

use keyroll_rotation::Stage;

/// Called before and after every effect and every record.
pub trait Hooks: Send + Sync {
    /// The driver has come to `point`. A test may abort or panic here; the engine assumes nothing about a return.
    fn at(&self, point: &CrashPoint);
}

/// A moment between two things that the world can see.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct CrashPoint {
    /// The stage, if a rotation is open.
    pub stage: Option<Stage>,
    /// What is about to happen or has just happened, such as `write store 0` or `journal intent`.
    pub what: String,
    /// Before it or after it.
    pub moment: Moment,
}

/// Before or after.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing between before and after")]
pub enum Moment {
    /// It has not begun.
    Before,
    /// It is complete.
    After,
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {
    fn at(&self, _point: &CrashPoint) {}
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stage {
            Some(stage) => write!(f, "{}/", crate::words::stage(stage))?,
            None => f.write_str("-/")?,
        }
        let moment = match self.moment {
            Moment::Before => "before",
            Moment::After => "after",
        };
        write!(f, "{moment} {}", self.what)
    }
}
