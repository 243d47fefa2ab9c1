//! systemd's `EnvironmentFile=`, by the states of its own parser (`parse_env_file_internal` in systemd's `env-file.c`).
//!
//! There is no expansion and no comment after a value, a quoted value goes on after its closing quote, and `export` is
//! part of the name, so that systemd ignores such a line. Before version 254 a backslash at the end of a comment continued
//! it; an assignment after such a comment is refused where it matters.

use keyroll_keyring::Secret;
use zeroize::Zeroizing;

use super::{Assignment, Problem};

/// Finds every assignment.
pub(super) fn assignments(text: &[u8], owned: &[&str]) -> Result<Vec<Assignment>, Problem> {
    if let Some(at) = text.iter().position(|byte| *byte == 0) {
        return Err(Problem { at, what: "a zero byte, at which systemd stops reading".to_owned() });
    }
    if text.starts_with(b"\xEF\xBB\xBF") {
        return Err(Problem {
            at: 0,
            what: "the file begins with a byte order mark, which is part of the first name".into(),
        });
    }
    let mut found = Vec::new();
    let mut at = 0;
    let mut after_escaped_comment = false;
    while let Some(start) = (at..text.len()).find(|at| !is_space(text[*at])) {
        let line = start_of_line(text, start);
        if matches!(text[start], b'#' | b';') {
            let end = end_of_line(text, start);
            after_escaped_comment = text[start..end].ends_with(b"\\");
            at = after_break(text, end);
            continue;
        }
        let key_end = (start..text.len()).find(|at| matches!(text[*at], b'=' | b'\n' | b'\r')).unwrap_or(text.len());
        let name_end = (start..key_end).rev().find(|at| !is_space(text[*at])).map_or(start, |last| last + 1);
        let name = &text[start..name_end];
        let is_owned = |name: &[u8]| owned.iter().any(|owned| owned.as_bytes() == name);
        if text.get(key_end) != Some(&b'=') {
            if is_owned(name) || is_owned(after_export(name)) {
                return Err(Problem { at: name_end, what: "`=` expected after the name".to_owned() });
            }
            after_escaped_comment = false;
            at = after_break(text, key_end);
            continue;
        }
        if after_export(name).len() < name.len() && is_owned(after_export(name)) {
            return Err(Problem { at: start, what: "systemd ignores a line that begins with `export`".to_owned() });
        }
        let value = walk(text, key_end + 1);
        if let Some(at) = value.open {
            return Err(Problem { at, what: "the quote that opens here is not closed".to_owned() });
        }
        let spans_lines = text[start..value.end].iter().any(|byte| is_break(*byte));
        if after_escaped_comment && (is_owned(name) || spans_lines) {
            return Err(Problem {
                at: start,
                what: "the comment before ends in a backslash, and goes on here for systemd before version 254"
                    .to_owned(),
            });
        }
        after_escaped_comment = false;
        let spelled = key_end + 1..value.end;
        let value_start = spelled.clone().find(|at| !is_space(text[*at])).unwrap_or(value.end);
        let value_end = spelled.rev().find(|at| !is_space(text[*at])).map_or(value_start, |last| last + 1);
        at = after_break(text, value.end);
        found.push(Assignment {
            name: start..name_end,
            prefix: line..start,
            lines: line..at,
            value: value_start..value_end.max(value_start),
        });
    }
    Ok(found)
}

/// The value as systemd reads it.
pub(super) fn decode(text: &[u8], place: &Assignment) -> Result<Secret, Problem> {
    let mut value = walk(text, place.value.start).value;
    if std::str::from_utf8(&value).is_err() {
        return Err(Problem {
            at: place.value.start,
            what: "the value is not UTF-8, which systemd refuses".to_owned(),
        });
    }
    if value.iter().any(|byte| is_break(*byte)) {
        return Err(Problem { at: place.value.start, what: "the value spans lines, which no key does".to_owned() });
    }
    Ok(Secret::from_bytes(std::mem::take(&mut *value)))
}

/// What systemd makes of the text after a `=`.
struct Walk {
    value: Zeroizing<Vec<u8>>,
    /// The line break that ends it, or the end of the text.
    end: usize,
    /// Where a quote opens that is never closed.
    open: Option<usize>,
}

/// The parser's states, by its own names.
enum State {
    PreValue,
    Value,
    ValueEscape,
    SingleQuoteValue,
    DoubleQuoteValue,
    DoubleQuoteValueEscape,
}

fn walk(text: &[u8], from: usize) -> Walk {
    let mut value = Zeroizing::new(Vec::with_capacity(text.len() - from));
    let mut state = State::PreValue;
    // Blanks at the end of a value without quotes are cut off, from here.
    let mut trailing = None;
    let mut opened = from;
    let mut end = text.len();
    for (at, byte) in text.iter().copied().enumerate().skip(from) {
        match state {
            State::PreValue | State::Value if is_break(byte) => {
                end = at;
                break;
            }
            State::PreValue => match byte {
                b'\'' => (state, opened) = (State::SingleQuoteValue, at),
                b'"' => (state, opened) = (State::DoubleQuoteValue, at),
                b'\\' => state = State::ValueEscape,
                byte if is_space(byte) => {}
                byte => {
                    state = State::Value;
                    value.push(byte);
                }
            },
            State::Value if byte == b'\\' => (state, trailing) = (State::ValueEscape, None),
            State::Value => {
                if !is_space(byte) {
                    trailing = None;
                } else if trailing.is_none() {
                    trailing = Some(value.len());
                }
                value.push(byte);
            }
            State::ValueEscape => {
                state = State::Value;
                if !is_break(byte) {
                    value.push(byte);
                }
            }
            State::SingleQuoteValue if byte == b'\'' => state = State::PreValue,
            State::SingleQuoteValue => value.push(byte),
            State::DoubleQuoteValue => match byte {
                b'"' => state = State::PreValue,
                b'\\' => state = State::DoubleQuoteValueEscape,
                byte => value.push(byte),
            },
            State::DoubleQuoteValueEscape => {
                state = State::DoubleQuoteValue;
                match byte {
                    b'"' | b'\\' | b'`' | b'$' => value.push(byte),
                    b'\n' => {}
                    byte => value.extend_from_slice(&[b'\\', byte]),
                }
            }
        }
    }
    if let (State::Value, Some(length)) = (&state, trailing) {
        value.truncate(length);
    }
    let open = match state {
        State::SingleQuoteValue | State::DoubleQuoteValue | State::DoubleQuoteValueEscape => Some(opened),
        State::PreValue | State::Value | State::ValueEscape => None,
    };
    Walk { value, end, open }
}

fn after_export(name: &[u8]) -> &[u8] {
    match name.strip_prefix(b"export") {
        Some(rest) if rest.first().is_some_and(|byte| is_space(*byte)) => rest.trim_ascii_start(),
        _ => name,
    }
}

fn start_of_line(text: &[u8], at: usize) -> usize {
    text[..at].iter().rposition(|byte| is_break(*byte)).map_or(0, |last| last + 1)
}

fn end_of_line(text: &[u8], at: usize) -> usize {
    (at..text.len()).find(|at| is_break(text[*at])).unwrap_or(text.len())
}

fn after_break(text: &[u8], end: usize) -> usize {
    match text.get(end..) {
        Some([b'\r', b'\n', ..]) => end + 2,
        Some([_, ..]) => end + 1,
        _ => text.len(),
    }
}

fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
