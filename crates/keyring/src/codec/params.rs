//! A codec's parameters, as profiles and `keyroll.yaml` write them: names and values, both text.
//!
//! Every codec states the names it knows, so that a misspelt one is an error with the nearest name and never a silently used default.

use std::collections::BTreeMap;

/// Why a codec can't be built from its name and parameters.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecConfigError {
    /// No codec has this name.
    #[error("unknown codec `{name}`{}; known are {}", hint(.nearest.as_deref()), list(.known))]
    UnknownCodec {
        /// The name as it was written.
        name: String,
        /// The known name that is nearest to it, where one is near.
        nearest: Option<String>,
        /// All names.
        known: Vec<String>,
    },
    /// The codec has no parameter of this name.
    #[error("codec `{codec}` has no parameter `{name}`{}; it has {}", hint(.nearest.as_deref()), list(.known))]
    UnknownParameter {
        /// The codec.
        codec: String,
        /// The name as it was written.
        name: String,
        /// The known name that is nearest to it, where one is near.
        nearest: Option<String>,
        /// All names.
        known: Vec<String>,
    },
    /// A parameter without a default is not there.
    #[error("codec `{codec}` needs the parameter `{name}`")]
    MissingParameter {
        /// The codec.
        codec: String,
        /// The parameter.
        name: String,
    },
    /// The value is not one of those that are possible.
    #[error("parameter `{name}` of codec `{codec}` can't be `{value}`{}; it is one of {}", hint(.nearest.as_deref()), list(.known))]
    UnknownValue {
        /// The codec.
        codec: String,
        /// The parameter.
        name: String,
        /// The value as it was written.
        value: String,
        /// The possible value that is nearest to it, where one is near.
        nearest: Option<String>,
        /// All possible values.
        known: Vec<String>,
    },
    /// The value does not have the form that it must have.
    #[error("parameter `{name}` of codec `{codec}` can't be `{value}`: {reason}")]
    BadValue {
        /// The codec.
        codec: String,
        /// The parameter.
        name: String,
        /// The value as it was written.
        value: String,
        /// In words.
        reason: &'static str,
    },
}

/// One codec's view of the parameters given to it.
pub(super) struct Params<'a> {
    codec: &'static str,
    given: &'a BTreeMap<String, String>,
}

impl<'a> Params<'a> {
    /// Takes `given`; a name that is not in `known` is an error.
    pub(super) fn new(
        codec: &'static str,
        given: &'a BTreeMap<String, String>,
        known: &[&str],
    ) -> Result<Self, CodecConfigError> {
        if let Some(name) = given.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(CodecConfigError::UnknownParameter {
                codec: codec.into(),
                name: name.clone(),
                nearest: nearest(name, known),
                known: owned(known),
            });
        }
        Ok(Self { codec, given })
    }

    /// The value of `name`, or `default`.
    pub(super) fn text(&self, name: &str, default: &'a str) -> &'a str {
        self.given.get(name).map_or(default, String::as_str)
    }

    /// The name of a cookie: a token of RFC 6265, which no framework has to escape on the wire.
    pub(super) fn cookie_name(&self) -> Result<&'a str, CodecConfigError> {
        let name = "cookie";
        let Some(value) = self.given.get(name) else {
            return Err(CodecConfigError::MissingParameter { codec: self.codec.into(), name: name.into() });
        };
        if value.is_empty() || value.len() > COOKIE_NAME_MAX {
            return Err(self.bad(name, value, "a cookie name has 1 to 256 characters"));
        }
        if !value.bytes().all(is_token) {
            return Err(self.bad(
                name,
                value,
                "a cookie name consists of letters, digits and !#$%&'*+-.^_`|~ (RFC 6265, section 4.1.1)",
            ));
        }
        Ok(value)
    }

    /// The case that `name` has among `cases`, or the first of them.
    pub(super) fn choice<T: Copy>(&self, name: &str, cases: &[(&str, T)]) -> Result<T, CodecConfigError> {
        let Some(value) = self.given.get(name) else {
            return Ok(cases[0].1);
        };
        cases.iter().find(|(case, _)| case == value).map(|&(_, case)| case).ok_or_else(|| {
            let known: Vec<&str> = cases.iter().map(|&(case, _)| case).collect();
            CodecConfigError::UnknownValue {
                codec: self.codec.into(),
                name: name.into(),
                value: value.clone(),
                nearest: nearest(value, &known),
                known: owned(&known),
            }
        })
    }

    /// The error that `value` is not possible for `name`.
    pub(super) fn bad(&self, name: &str, value: &str, reason: &'static str) -> CodecConfigError {
        CodecConfigError::BadValue { codec: self.codec.into(), name: name.into(), value: value.into(), reason }
    }
}

/// The one of `known` that a person may have meant by `given`.
pub(super) fn nearest(given: &str, known: &[&str]) -> Option<String> {
    let given = given.to_lowercase();
    known
        .iter()
        .map(|&name| (strsim::jaro_winkler(&given, &name.to_lowercase()), name))
        .filter(|&(likeness, _)| likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}

/// `known` as owned text, for an error.
pub(super) fn owned(known: &[&str]) -> Vec<String> {
    known.iter().map(|&name| name.to_owned()).collect()
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}

fn list(known: &[String]) -> String {
    known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

const COOKIE_NAME_MAX: usize = 256;

/// Below this the nearest name is more confusing than none.
const LIKENESS_MIN: f64 = 0.75;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour_and_a_foreign_one_finds_none() {
        let known = ["cookie", "digest", "salt", "signedSalt"];
        assert_eq!(nearest("cokie", &known).as_deref(), Some("cookie"));
        assert_eq!(nearest("signed_salt", &known).as_deref(), Some("signedSalt"));
        assert_eq!(nearest("zzz", &known), None);
    }
}
