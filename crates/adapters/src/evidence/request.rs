//! What the witnesses send: headers and fields, some of which are credentials by reference.
//!
//! A credential is read when the request is made, held in memory that is wiped, and marked so that no library logs it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use keyroll_keyring::Secret;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::DirectError;
use crate::direct::Direct;

/// How a witness reaches members.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers write it out")]
pub struct HttpAccess {
    /// How long a member has to answer one request.
    pub timeout: Duration,
    /// Further headers: the `Host` that the application expects, `X-Forwarded-Proto: https` where it insists on TLS.
    pub headers: Vec<(String, RequestValue)>,
    /// A PEM file with further certificate authorities.
    pub authority: Option<PathBuf>,
}

/// A value in a request.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RequestValue {
    /// As written; no secret.
    Literal(String),
    /// A secret that is read when the request is made.
    Secret(Credential),
    /// What an earlier step of a login captured under this name.
    Captured(String),
}

/// Where a credential is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "an environment variable or a file")]
pub enum Credential {
    /// An environment variable of Keyroll's own process.
    Env(String),
    /// A file; one trailing line break is not part of the secret.
    File(PathBuf),
}

/// Why a witness can't be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceConfigError {
    /// A look that every answer has.
    #[error("`{which}` asks for nothing, so every answer would match; give a status, a header, a body or `reissue`")]
    AsksForNothing {
        /// `accepted` or `rejected`.
        which: &'static str,
    },
    /// A session that can't be recognised.
    #[error("`reissue` needs a payload with `{{session_id}}` in it, by which a re-issued session is recognised")]
    NoSessionId,
    /// A header that can't be sent.
    #[error("`{name}` is not a header that can be sent")]
    Header {
        /// Its name.
        name: String,
    },
    /// A method that is none.
    #[error("`{method}` is not an HTTP method")]
    Method {
        /// As written.
        method: String,
    },
    /// An expression without the group that is needed.
    #[error("the pattern needs a group named {groups}, as in `(?<active>kf1:[0-9a-f]{{32}})`")]
    NoGroup {
        /// Which groups.
        groups: &'static str,
    },
    /// A JSON pointer that is none.
    #[error("`{pointer}` is not a JSON pointer; it begins with `/`")]
    Pointer {
        /// As written.
        pointer: String,
    },
    /// Nothing to do.
    #[error("{what} is empty")]
    Empty {
        /// What.
        what: &'static str,
    },
    /// No HTTP client.
    #[error("members can't be reached over HTTP")]
    Http(#[from] DirectError),
}

/// Why a value is not at hand. It never holds the value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum ValueError {
    #[error("the environment variable `{0}` is not set")]
    NoVariable(String),
    #[error("the credential in `{path}` can't be read: {reason}")]
    File { path: String, reason: String },
    #[error("the credential for `{0}` is not text that can be sent")]
    NotText(String),
    #[error("nothing was captured as `{0}` by an earlier step")]
    NotCaptured(String),
}

impl HttpAccess {
    /// Without headers and with the authorities that this machine trusts.
    pub fn within(timeout: Duration) -> Self {
        Self { timeout, headers: Vec::new(), authority: None }
    }

    pub(crate) fn direct(&self) -> Result<Direct, EvidenceConfigError> {
        for (name, value) in &self.headers {
            let sendable = name.parse::<HeaderName>().is_ok()
                && match value {
                    RequestValue::Literal(text) => HeaderValue::from_str(text).is_ok(),
                    RequestValue::Secret(_) | RequestValue::Captured(_) => true,
                };
            if !sendable {
                return Err(EvidenceConfigError::Header { name: name.clone() });
            }
        }
        Ok(Direct::new(self.timeout, self.authority.as_deref())?)
    }

    /// The further headers, credentials filled in.
    pub(crate) fn header_map(&self) -> Result<HeaderMap, ValueError> {
        headers(&self.headers, &Captured::default())
    }
}

/// What earlier steps of a login captured. The values are as secret as sessions.
#[derive(Default)]
pub(crate) struct Captured(pub(crate) BTreeMap<String, Secret>);

impl RequestValue {
    pub(crate) fn read(&self, captured: &Captured) -> Result<Secret, ValueError> {
        match self {
            Self::Literal(text) => Ok(Secret::from_text(text)),
            Self::Secret(credential) => credential.read(),
            Self::Captured(name) => {
                captured.0.get(name).map(Secret::duplicate).ok_or_else(|| ValueError::NotCaptured(name.clone()))
            }
        }
    }
}

impl Credential {
    /// Reads it now.
    pub(crate) fn read(&self) -> Result<Secret, ValueError> {
        match self {
            Self::Env(name) => {
                use std::os::unix::ffi::OsStringExt;
                let value = std::env::var_os(name).ok_or_else(|| ValueError::NoVariable(name.clone()))?;
                Ok(Secret::from_bytes(value.into_vec()))
            }
            Self::File(path) => {
                let bytes = std::fs::read(path).map_err(|error| ValueError::File {
                    path: path.display().to_string(),
                    reason: error.to_string(),
                })?;
                let bytes = Secret::from_bytes(bytes);
                let text = bytes.expose();
                let text = text.strip_suffix(b"\n").unwrap_or(text);
                Ok(Secret::from_bytes(text.strip_suffix(b"\r").unwrap_or(text).to_vec()))
            }
        }
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable `{name}`"),
            Self::File(path) => write!(f, "file `{}`", path.display()),
        }
    }
}

/// Headers with their values filled in.
pub(crate) fn headers(fields: &[(String, RequestValue)], captured: &Captured) -> Result<HeaderMap, ValueError> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let not_text = || ValueError::NotText(name.clone());
        let text = value.read(captured)?;
        let mut header = HeaderValue::from_bytes(text.expose()).map_err(|_| not_text())?;
        header.set_sensitive(!matches!(value, RequestValue::Literal(_)));
        map.append(name.parse::<HeaderName>().map_err(|_| not_text())?, header);
    }
    Ok(map)
}

/// A `Cookie` header, marked so that nobody prints it.
pub(crate) fn cookie<'a>(cookies: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Option<HeaderValue> {
    let mut text = zeroize::Zeroizing::new(Vec::new());
    for (name, value) in cookies {
        if !text.is_empty() {
            text.extend_from_slice(b"; ");
        }
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        text.extend_from_slice(value);
    }
    let mut header = HeaderValue::from_bytes(&text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The cookies that an answer sets: names and values as they stand. A deletion has an empty value.
pub(crate) fn set_cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers.get_all(reqwest::header::SET_COOKIE).iter().filter_map(|header| {
        let (name, value) = header.to_str().ok()?.split(';').next()?.split_once('=')?;
        Some((name.trim(), value.trim().trim_matches('"')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_line_break_of_a_file_is_not_part_of_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "hunter2\r\n").unwrap();
        assert_eq!(Credential::File(path).read().unwrap().expose(), b"hunter2");
    }

    #[test]
    fn a_credential_is_not_in_the_debug_text_of_headers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "hunter2").unwrap();
        let fields = [("authorization".to_owned(), RequestValue::Secret(Credential::File(path)))];
        let map = headers(&fields, &Captured::default()).unwrap();
        assert_eq!(map["authorization"], "hunter2");
        assert!(!format!("{map:?}").contains("hunter2"));
        assert!(!format!("{:?}", cookie([("s", b"hunter2".as_slice())]).unwrap()).contains("hunter2"));
    }

    #[test]
    fn cookies_that_an_answer_sets_are_found_with_their_values() {
        let mut headers = HeaderMap::new();
        headers.append("set-cookie", "a=1=2; Path=/; HttpOnly".parse().unwrap());
        headers.append("set-cookie", "b=; Max-Age=0".parse().unwrap());
        headers.append("set-cookie", "broken".parse().unwrap());
        assert_eq!(set_cookies(&headers).collect::<Vec<_>>(), [("a", "1=2"), ("b", "")]);
    }
}
