//! What to send to a member, and what its answer means.
//!
//! Credentials stand here by reference only; they are read when the probe runs and never kept.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use serde::Serialize;

use super::{FilePath, NonEmpty, Pattern, Period, SecretReference};

/// The active probe (P3).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Probe {
    /// The request's method.
    pub method: String,
    /// Its path, with a query where there is one.
    pub path: String,
    /// Further headers.
    pub headers: BTreeMap<String, RequestValue>,
    /// What shows that the session was accepted.
    pub accepted: Expectation,
    /// What shows that it was rejected. An answer that shows neither, or both, is unknown.
    pub rejected: Expectation,
    /// What the session that Keyroll mints holds, where the profile's own is not enough.
    pub payload: Option<Payload>,
    /// Whether a member is several worker processes.
    pub workers: Workers,
    /// How long a member has to answer.
    pub timeout: Period,
    /// A scripted login, for sessions that can't be minted offline and as a check for all.
    pub login: Option<NonEmpty<LoginStep>>,
}

/// What an answer must look like. All that is given must hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Expectation {
    /// The status is one of these.
    pub status: Option<StatusSet>,
    /// Headers.
    pub headers: Vec<HeaderMatch>,
    /// The body.
    pub body: Option<TextMatch>,
    /// What the session cookie of the answer must open to.
    pub reissue: Reissue,
}

/// Whether the answer's Set-Cookie counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "the same session, not the same, or not asked")]
pub enum Reissue {
    /// It opens under a known key to the session that was sent.
    SameSession,
    /// It does not open to the session that was sent, or there is none.
    NotTheSame,
    /// It does not matter.
    #[default]
    NotAsked,
}

/// One header of an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct HeaderMatch {
    /// Its name, in lower case.
    pub name: String,
    /// What its value must be.
    pub value: TextMatch,
}

/// What a text must be.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum TextMatch {
    /// Contains this.
    Contains(String),
    /// Matches this regular expression somewhere.
    Matches(Pattern),
    /// Does not contain this.
    Lacks(String),
}

/// A set of HTTP states.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct StatusSet(pub(super) Vec<(u16, u16)>);

impl StatusSet {
    /// Every status from 200 to 299.
    pub fn success() -> Self {
        Self(vec![(200, 299)])
    }

    /// Whether a status is in the set.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }

    /// Inclusive ranges, as written.
    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.0
    }

    /// A status that is in both sets.
    pub fn shared(&self, other: &Self) -> Option<u16> {
        self.0.iter().flat_map(|(from, to)| *from..=*to).find(|status| other.contains(*status))
    }
}

/// The content of a minted session.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Payload {
    /// As JSON.
    Json(serde_json::Value),
    /// As it is.
    Text(String),
    /// The bytes of a file.
    File(FilePath),
}

/// The worker processes of one member.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Workers {
    /// How many there are behind one address, if that is known.
    pub count: Option<NonZeroU16>,
    /// The header in which a worker names itself.
    pub header: Option<String>,
}

/// One request of a scripted login.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LoginStep {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// Further headers.
    pub headers: BTreeMap<String, RequestValue>,
    /// What is sent.
    pub body: LoginBody,
    /// What shows that the step went well.
    pub expect: StatusSet,
    /// What later steps take from the answer (a CSRF token).
    pub capture: BTreeMap<String, Capture>,
}

/// What a login step sends.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum LoginBody {
    /// Nothing.
    Empty,
    /// As a form.
    Form(BTreeMap<String, RequestValue>),
    /// As a JSON object.
    Json(BTreeMap<String, RequestValue>),
}

/// A value in a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum RequestValue {
    /// As written; no secret.
    Literal(String),
    /// A secret that is read when the request is made.
    Secret(SecretReference),
    /// What an earlier step captured under this name.
    Captured(String),
}

/// What a later step takes from an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Capture {
    /// From where.
    pub from: CaptureFrom,
    /// The first group of this expression, or all that it matches.
    pub pattern: Pattern,
}

/// Where a capture looks.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum CaptureFrom {
    /// The body.
    Body,
    /// A header, by its name in lower case.
    Header(String),
}
