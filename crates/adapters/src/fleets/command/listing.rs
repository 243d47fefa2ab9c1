//! What a list command prints: a JSON array of members, or one member a line.
//!
//! Empty output and `[]` are both "nobody is there". Anything that is not quite a member stops the whole listing, because
//! a member that is left out of a list is a member that nobody proves.

use std::collections::BTreeSet;

use serde::Deserialize;
use url::Url;

use crate::Timestamp;
use crate::fleets::{BootId, Member, MemberId, MemberState};

/// Why an output is not a list of members.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListingError {
    #[error("the output of the list command is not UTF-8")]
    NotText,
    #[error("line {line} of the list command's output is not a member: {reason}")]
    Line { line: usize, reason: String },
    #[error("member {number} of the list command's output is not one: {reason}")]
    Element { number: usize, reason: String },
    #[error("the list command's output is not a JSON array: {reason}")]
    Array { reason: String },
    #[error("the list command names `{id}` twice")]
    Twice { id: String },
}

/// Reads the whole output.
pub(super) fn parse(output: &[u8]) -> Result<Vec<Member>, ListingError> {
    let text = std::str::from_utf8(output).map_err(|_| ListingError::NotText)?;
    let members = if text.trim_start().starts_with('[') {
        let elements: Vec<serde_json::Value> =
            serde_json::from_str(text).map_err(|error| ListingError::Array { reason: error.to_string() })?;
        elements
            .into_iter()
            .enumerate()
            .map(|(index, element)| {
                let member = serde_json::from_value::<Line>(element).map_err(|error| error.to_string());
                member.and_then(Member::try_from).map_err(|reason| ListingError::Element { number: index + 1, reason })
            })
            .collect::<Result<Vec<_>, _>>()?
    } else {
        text.lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(index, line)| {
                let member = serde_json::from_str::<Line>(line).map_err(|error| error.to_string());
                member.and_then(Member::try_from).map_err(|reason| ListingError::Line { line: index + 1, reason })
            })
            .collect::<Result<Vec<_>, _>>()?
    };
    let mut ids = BTreeSet::new();
    match members.iter().find(|member| !ids.insert(&member.id)) {
        Some(twice) => Err(ListingError::Twice { id: twice.id.0.clone() }),
        None => Ok(members),
    }
}

/// One member as the command prints it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    id: String,
    #[serde(deserialize_with = "text_or_number")]
    boot: String,
    address: Option<String>,
    state: Option<MemberState>,
    started_at: Option<Moment>,
    #[serde(default)]
    workers: Vec<String>,
}

/// A time as people and programs write it: RFC 3339, or milliseconds since the Unix epoch.
#[derive(Deserialize)]
#[serde(untagged)]
enum Moment {
    Millis(u64),
    Text(String),
}

impl TryFrom<Line> for Member {
    type Error = String;

    fn try_from(line: Line) -> Result<Self, String> {
        name("id", &line.id)?;
        name("boot", &line.boot)?;
        let address = line.address.map(|address| address_of(&address)).transpose()?;
        let started_at = line
            .started_at
            .map(|moment| match moment {
                Moment::Millis(millis) => Ok(Timestamp(millis)),
                Moment::Text(text) => text
                    .parse::<jiff::Timestamp>()
                    .ok()
                    .and_then(|at| u64::try_from(at.as_millisecond()).ok())
                    .map(Timestamp)
                    .ok_or_else(|| {
                        format!("`startedAt` is neither a time such as 2026-01-31T12:00:00Z nor milliseconds: `{text}`")
                    }),
            })
            .transpose()?;
        Ok(Self {
            id: MemberId(line.id),
            boot: BootId(line.boot),
            address,
            // A command that says nothing of the state lists who serves.
            state: line.state.unwrap_or(MemberState::Ready),
            started_at,
            workers: line.workers,
        })
    }
}

/// The value becomes an argument of a command: a leading `-` would be an option there, a line break a second line.
fn name(field: &str, value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err(format!("`{field}` is empty"));
    }
    if value.len() > 253 || value.starts_with('-') || value.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!(
            "`{field}` has more than 253 characters, begins with `-`, or holds blanks or control characters"
        ));
    }
    Ok(())
}

fn address_of(text: &str) -> Result<Url, String> {
    let address: Url = text.parse().map_err(|error| format!("`address` is not a URL: {error}"))?;
    if !matches!(address.scheme(), "http" | "https") || address.host_str().is_none() {
        return Err("`address` does not begin with http:// or https:// and a host".into());
    }
    Ok(address)
}

fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(u64),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Text(text) => text,
        Either::Number(number) => number.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_arrays_are_read_alike() {
        let a = r#"{"id":"a","boot":17,"address":"http://10.0.0.1:3000"}"#;
        let b = r#"{"id":"b","boot":"x","state":"unready","startedAt":"2026-01-31T12:00:00Z","workers":["1"]}"#;
        let lines = parse(format!("{a}\n\n{b}\n").as_bytes()).unwrap();
        assert_eq!(parse(format!("[{a},\n{b}]").as_bytes()).unwrap(), lines);
        assert_eq!((lines[0].boot.0.as_str(), lines[0].state), ("17", MemberState::Ready));
        assert_eq!(lines[1].started_at, Some(Timestamp(1_769_860_800_000)));
    }

    #[test]
    fn nothing_and_an_empty_array_are_nobody() {
        assert!(parse(b"").unwrap().is_empty());
        assert!(parse(b" \n").unwrap().is_empty());
        assert!(parse(b"[]").unwrap().is_empty());
    }

    #[test]
    fn one_bad_line_stops_the_whole_list_and_is_named() {
        let text = "{\"id\":\"a\",\"boot\":\"1\"}\n{\"id\":\"b\"}";
        let error = parse(text.as_bytes()).unwrap_err();
        assert!(matches!(&error, ListingError::Line { line: 2, reason } if reason.contains("boot")), "{error}");
        assert!(matches!(parse(b"Permission denied").unwrap_err(), ListingError::Line { line: 1, .. }));
        assert!(matches!(parse(b"[{\"id\":1}]").unwrap_err(), ListingError::Element { number: 1, .. }));
        assert!(matches!(parse(b"[1").unwrap_err(), ListingError::Array { .. }));
    }

    #[test]
    fn a_name_that_would_be_an_option_is_refused() {
        for id in ["-rf", "a b", "", "a\\nb"] {
            let text = format!(r#"{{"id":"{id}","boot":"1"}}"#);
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_twice_is_refused() {
        let text = "{\"id\":\"a\",\"boot\":\"1\"}\n{\"id\":\"a\",\"boot\":\"2\"}";
        assert!(matches!(parse(text.as_bytes()).unwrap_err(), ListingError::Twice { .. }));
    }

    #[test]
    fn an_unknown_field_is_a_mistake_and_not_ignored() {
        assert!(parse(br#"{"id":"a","boot":"1","adress":"http://x"}"#).is_err());
    }
}
