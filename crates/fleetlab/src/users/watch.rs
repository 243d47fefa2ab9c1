//! What one user remembers of one session, and what therefore counts as lost.
//!
//! A session is lost when it was refused *once* before its own end, even if the next replica accepted it: a user whose form was
//! answered with a login page does not care for the next request. An answer that has arrived after the end proves nothing.

use std::time::{Duration, SystemTime};

use hyper::body::Bytes;
use hyper::{Response, StatusCode};
use serde::Deserialize;

/// One session, from its login to its end.
#[derive(Debug)]
pub(crate) struct Watch {
    identity: Identity,
    expires_at: SystemTime,
    ever_refused: Refused,
    refused_in_a_row: u32,
}

/// Who is logged in, as the application names it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub(crate) struct Identity {
    user: String,
    session: String,
}

/// The answer to a login.
#[derive(Debug, Deserialize)]
struct Welcome {
    #[serde(flatten)]
    identity: Identity,
    /// Seconds since the Unix epoch.
    expires_at: u64,
}

/// What a user makes of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    /// It names this user and this session.
    Accepted,
    /// It is anything else that an application says: a refusal, somebody else's page, a page for guests.
    Refused,
    /// No application has spoken.
    Nothing,
}

/// What became of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// Accepted at every request before its end.
    Kept,
    /// Refused before its end, and accepted again or not tried often enough since.
    LostForATime,
    /// Refused before its end, and ever since.
    LostForGood,
}

impl Watch {
    /// The session that this answer to a login of `user` began, if it began one.
    pub(crate) fn begun_by(user: &str, response: &Response<Bytes>) -> Option<Self> {
        let welcome: Welcome = serde_json::from_slice(response.body()).ok()?;
        (response.status() == StatusCode::OK && welcome.identity.user == user).then(|| Self {
            identity: welcome.identity,
            expires_at: SystemTime::UNIX_EPOCH + Duration::from_secs(welcome.expires_at),
            ever_refused: Refused::Never,
            refused_in_a_row: 0,
        })
    }

    /// Its own end.
    pub(crate) fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// What `response` says to the owner of this session.
    pub(crate) fn understand(&self, response: &Response<Bytes>) -> Heard {
        if response.status().is_server_error() {
            return Heard::Nothing;
        }
        let identity = serde_json::from_slice::<Identity>(response.body()).ok();
        if response.status() == StatusCode::OK && identity.as_ref() == Some(&self.identity) {
            Heard::Accepted
        } else {
            Heard::Refused
        }
    }

    /// Remembers what was heard at `now`, and says whether the session is lost by it for the first time.
    pub(crate) fn hear(&mut self, heard: Heard, now: SystemTime) -> News {
        match heard {
            Heard::Accepted => self.refused_in_a_row = 0,
            Heard::Refused if now < self.expires_at => {
                self.refused_in_a_row += 1;
                if self.ever_refused == Refused::Never {
                    self.ever_refused = Refused::Once;
                    return News::Lost;
                }
            }
            Heard::Refused | Heard::Nothing => {}
        }
        News::None
    }

    /// How often it has been refused since it was last accepted.
    pub(crate) fn refused_in_a_row(&self) -> u32 {
        self.refused_in_a_row
    }

    /// What became of it, if `enough` refusals in a row have met every replica.
    pub(crate) fn fate(&self, enough: u32) -> Fate {
        match self.ever_refused {
            Refused::Never => Fate::Kept,
            Refused::Once if self.refused_in_a_row >= enough => Fate::LostForGood,
            Refused::Once => Fate::LostForATime,
        }
    }
}

/// What hearing an answer has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum News {
    /// Nothing that counts.
    None,
    /// The session is lost, and was not before.
    Lost,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Refused {
    Never,
    Once,
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELCOME: &str = r#"{"user":"user-7","session":"s1","expires_at":1000}"#;
    const ENOUGH: u32 = 6;

    fn answer(status: u16, body: &'static str) -> Response<Bytes> {
        Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn watch() -> Watch {
        Watch::begun_by("user-7", &answer(200, WELCOME)).unwrap()
    }

    #[test]
    fn a_login_that_is_refused_or_names_somebody_else_begins_no_session() {
        assert!(Watch::begun_by("user-7", &answer(401, WELCOME)).is_none());
        assert!(Watch::begun_by("user-8", &answer(200, WELCOME)).is_none());
        assert!(Watch::begun_by("user-7", &answer(200, "<html>")).is_none());
    }

    #[test]
    fn only_a_page_for_this_user_and_this_session_counts_as_accepted() {
        let watch = watch();
        assert_eq!(watch.understand(&answer(200, WELCOME)), Heard::Accepted);
        for (status, body) in [
            (200, r#"{"user":null,"session":null}"#),
            (200, r#"{"user":"user-8","session":"s1"}"#),
            (200, r#"{"user":"user-7","session":"s2"}"#),
            (200, ""),
            (302, WELCOME),
            (401, "{}"),
        ] {
            assert_eq!(watch.understand(&answer(status, body)), Heard::Refused, "{status} {body}");
        }
        for status in [500, 502, 503] {
            assert_eq!(watch.understand(&answer(status, WELCOME)), Heard::Nothing, "{status}");
        }
    }

    #[test]
    fn one_refusal_before_the_end_loses_the_session_even_if_it_is_accepted_again() {
        let mut watch = watch();
        assert_eq!(watch.hear(Heard::Accepted, at(10)), News::None);
        assert_eq!(watch.fate(ENOUGH), Fate::Kept);
        assert_eq!(watch.hear(Heard::Refused, at(11)), News::Lost);
        assert_eq!(watch.hear(Heard::Accepted, at(12)), News::None);
        assert_eq!(watch.hear(Heard::Refused, at(13)), News::None);
        assert_eq!(watch.fate(ENOUGH), Fate::LostForATime);
    }

    #[test]
    fn a_session_that_ends_by_its_own_lifetime_is_not_lost() {
        let mut watch = watch();
        assert_eq!(watch.hear(Heard::Refused, at(1000)), News::None);
        assert_eq!(watch.fate(ENOUGH), Fate::Kept);
    }

    #[test]
    fn a_fleet_that_does_not_answer_refuses_nobody() {
        let mut watch = watch();
        assert_eq!(watch.hear(Heard::Nothing, at(10)), News::None);
        assert_eq!(watch.fate(ENOUGH), Fate::Kept);
    }

    #[test]
    fn lost_for_good_takes_refusals_by_the_whole_fleet_until_the_end() {
        let mut watch = watch();
        for second in 0..ENOUGH {
            assert_ne!(watch.fate(ENOUGH), Fate::LostForGood, "after {second} refusals");
            watch.hear(Heard::Refused, at(10 + u64::from(second)));
        }
        assert_eq!(watch.fate(ENOUGH), Fate::LostForGood);
        // A late answer from a fleet on which the session has expired changes nothing.
        watch.hear(Heard::Refused, at(2000));
        assert_eq!(watch.fate(ENOUGH), Fate::LostForGood);
        watch.hear(Heard::Accepted, at(999));
        assert_eq!(watch.fate(ENOUGH), Fate::LostForATime);
    }
}
