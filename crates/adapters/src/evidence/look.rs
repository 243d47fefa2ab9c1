//! What an answer must look like, so that it counts as "accepted" or as "rejected".
//!
//! An answer that shows neither, or both, shows nothing. Where no status is named, an answer that says "no such page" or
//! "I am broken" never counts, whatever else it shows: it says nothing about keys.

use regex::Regex;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;

/// A description of answers. All that is given must hold.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers write it out; a new field is a new kind of look")]
pub struct Look {
    /// The status is one of these.
    pub status: Option<StatusSet>,
    /// Headers.
    pub headers: Vec<HeaderLook>,
    /// The body.
    pub body: Option<TextLook>,
    /// What the answer's session cookie must open to.
    pub reissue: Reissue,
}

/// A set of HTTP states, as inclusive ranges.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StatusSet(Vec<(u16, u16)>);

/// One header of an answer.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a name and a value")]
pub struct HeaderLook {
    /// Its name, in any case.
    pub name: String,
    /// What its value must be.
    pub value: TextLook,
}

/// What a text must be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TextLook {
    /// Contains this.
    Contains(String),
    /// Matches this somewhere.
    Matches(Regex),
    /// Does not contain this.
    Lacks(String),
}

/// Whether the answer's session cookie counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
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

/// What an answer's session cookie is, as far as known keys open it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reissued {
    /// The session that was sent.
    Same,
    /// Something else, or nothing.
    NotSame,
}

impl Look {
    /// Answers with one of `status`.
    pub fn status(status: impl IntoIterator<Item = u16>) -> Self {
        Self { status: Some(StatusSet::of(status.into_iter().map(|one| (one, one)))), ..Self::default() }
    }

    /// Answers whose session cookie is `reissue`.
    pub fn reissue(reissue: Reissue) -> Self {
        Self { reissue, ..Self::default() }
    }

    /// Whether it asks for anything: a look that asks for nothing would call every answer a proof.
    pub(crate) fn asks_for_something(&self) -> bool {
        self.status.is_some() || !self.headers.is_empty() || self.body.is_some() || self.reissue != Reissue::NotAsked
    }

    pub(crate) fn matches(&self, status: StatusCode, headers: &HeaderMap, body: &[u8], reissued: Reissued) -> bool {
        let status = match &self.status {
            Some(set) => set.contains(status.as_u16()),
            None => says_something(status),
        };
        let reissue = match self.reissue {
            Reissue::NotAsked => true,
            Reissue::SameSession => reissued == Reissued::Same,
            Reissue::NotTheSame => reissued == Reissued::NotSame,
        };
        status
            && reissue
            && self.headers.iter().all(|look| look.matches(headers))
            && self.body.as_ref().is_none_or(|look| look.matches(&String::from_utf8_lossy(body)))
    }
}

impl StatusSet {
    /// From inclusive ranges.
    pub fn of(ranges: impl IntoIterator<Item = (u16, u16)>) -> Self {
        Self(ranges.into_iter().collect())
    }

    /// Every status from 200 to 299.
    pub fn success() -> Self {
        Self(vec![(200, 299)])
    }

    /// Whether a status is in the set.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }
}

impl HeaderLook {
    /// A header may come several times. `Lacks` must hold for each, the others for one.
    fn matches(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(&self.name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        match &self.value {
            TextLook::Lacks(_) => values.all(|value| self.value.matches(&value)),
            TextLook::Contains(_) | TextLook::Matches(_) => values.any(|value| self.value.matches(&value)),
        }
    }
}

impl TextLook {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Contains(part) => text.contains(part),
            Self::Matches(pattern) => pattern.is_match(text),
            Self::Lacks(part) => !text.contains(part),
        }
    }
}

/// Server errors, missing pages, wrong methods and throttling say nothing about a session.
fn says_something(status: StatusCode) -> bool {
    !status.is_server_error()
        && !matches!(status.as_u16(), 400 | 404 | 405 | 408 | 410 | 413 | 414 | 421 | 425 | 429 | 431)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(look: &Look, status: u16, body: &str, reissued: Reissued) -> bool {
        let mut headers = HeaderMap::new();
        headers.append("location", "/login?next=/".parse().unwrap());
        headers.append("x-user", "alice".parse().unwrap());
        headers.append("x-user", "bob".parse().unwrap());
        look.matches(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), reissued)
    }

    #[test]
    fn everything_that_is_given_must_hold() {
        let look = Look {
            headers: vec![HeaderLook { name: "Location".into(), value: TextLook::Contains("/login".into()) }],
            body: Some(TextLook::Matches(Regex::new("sign.in").unwrap())),
            ..Look::status([302])
        };
        assert!(matches(&look, 302, "please sign in", Reissued::NotSame));
        assert!(!matches(&look, 302, "welcome", Reissued::NotSame));
        assert!(!matches(&look, 200, "please sign in", Reissued::NotSame));
    }

    #[test]
    fn a_broken_server_does_not_reject() {
        let rejected = Look::reissue(Reissue::NotTheSame);
        assert!(matches(&rejected, 200, "", Reissued::NotSame));
        for status in [500, 502, 503, 404, 429] {
            assert!(!matches(&rejected, status, "", Reissued::NotSame), "{status}");
        }
        assert!(matches(&Look::status([500]), 500, "", Reissued::NotSame), "unless it was asked for by name");
    }

    #[test]
    fn a_header_that_comes_twice_lacks_a_text_only_if_both_do() {
        let look = |value| Look { headers: vec![HeaderLook { name: "x-user".into(), value }], ..Look::default() };
        assert!(matches(&look(TextLook::Contains("bob".into())), 200, "", Reissued::NotSame));
        assert!(!matches(&look(TextLook::Lacks("bob".into())), 200, "", Reissued::NotSame));
        assert!(matches(&look(TextLook::Lacks("carol".into())), 200, "", Reissued::NotSame));
    }
}
