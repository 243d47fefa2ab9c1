//! Dotenv files, as far as their readers agree: the libraries of Ruby, Node.js and Python, Compose, and `sh`.
//!
//! There is no specification, and the readers differ in escapes, in expansion and in comments. Owned values are read
//! only in the forms that all of them read alike; of other variables only the extent matters.

use std::ops::Range;

use keyroll_keyring::Secret;

use super::{Assignment, Problem};

/// Finds every assignment.
pub(super) fn assignments(text: &[u8], owned: &[&str]) -> Result<Vec<Assignment>, Problem> {
    refuse_odd_bytes(text)?;
    let mut found = Vec::new();
    let mut at = 0;
    // Where the line before this one ends in a backslash, `sh` continues it and the libraries do not.
    let mut continued = false;
    while at < text.len() {
        let line = at..end_of_line(text, at);
        let next = after_break(text, line.end);
        let ends_in_backslash = text[line.clone()].ends_with(b"\\");
        let Some(name) = find_name(text, &line) else {
            (at, continued) = (next, ends_in_backslash);
            continue;
        };
        let is_owned = owned.iter().any(|owned| owned.as_bytes() == &text[name.clone()]);
        if is_owned && continued {
            return Err(problem(line.start, "the line before ends in a backslash, and not every reader ends it there"));
        }
        let equals = skip_blanks(text, name.end, line.end);
        if text.get(equals) != Some(&b'=') || equals >= line.end {
            if is_owned {
                return Err(problem(name.end, "`=` expected after the name"));
            }
            (at, continued) = (next, ends_in_backslash);
            continue;
        }
        let start = skip_blanks(text, equals + 1, line.end);
        let (value, end) = match text.get(start) {
            Some(quote @ (b'\'' | b'"' | b'`')) if start < line.end => quoted(text, start, *quote)?,
            _ => (start..bare_end(text, start, line.end), line.end),
        };
        let end = end_of_line(text, end);
        let lines = line.start..after_break(text, end);
        continued = text[line.start..end].ends_with(b"\\");
        at = lines.end;
        found.push(Assignment { prefix: line.start..name.start, name, lines, value });
    }
    Ok(found)
}

/// The value of an assignment, if every reader reads the same.
pub(super) fn decode(text: &[u8], place: &Assignment) -> Result<Secret, Problem> {
    let Range { start, end } = place.value;
    let spelled = &text[start..end];
    let (inner, offset) = match spelled.first() {
        Some(quote @ (b'\'' | b'"')) if spelled.len() > 1 && spelled.last() == Some(quote) => {
            (&spelled[1..spelled.len() - 1], 1)
        }
        Some(b'`') => return Err(problem(start, "only one reader knows backticks as quotes")),
        _ => (spelled, 0),
    };
    let quote = if offset == 1 { spelled[0] } else { b' ' };
    for (index, byte) in inner.iter().enumerate() {
        let next = inner.get(index + 1);
        let what = match (quote, *byte) {
            (_, b'\n' | b'\r') => "the value spans lines, which no key does",
            (b'\'', b'\\') if matches!(next, None | Some(b'\\' | b'\'')) => {
                "some readers take this backslash as an escape, others as itself"
            }
            (b'\'', b'\'') => "a quote within a value in the same quotes",
            (b'\'', _) => continue,
            (b'"', b'\\') => "some readers take this backslash as an escape, others as itself",
            (b'"', b'$' | b'`') => "some readers expand this, others take it as it is; use single quotes",
            (b'"', b'"') => "a quote within a value in the same quotes",
            (b'"', _) => continue,
            (_, b'\\' | b'$' | b'`' | b'\'' | b'"') => "readers differ in what this means without quotes",
            (_, b'#') => "some readers begin a comment here, others do not; use quotes",
            (_, b' ' | b'\t') => "some readers end the value here, others do not; use quotes",
            _ => continue,
        };
        return Err(problem(start + offset + index, what));
    }
    if quote != b' ' {
        // What follows the closing quote must be nothing or a comment.
        let rest = &text[end..end_of_line(text, end)];
        let note = skip_blanks(rest, 0, rest.len());
        if note < rest.len() && (rest[note] != b'#' || note == 0) {
            return Err(problem(end + note, "something follows the closing quote"));
        }
    }
    Ok(Secret::from_bytes(inner.to_vec()))
}

/// The name in a line that may be an assignment, `export` skipped; `None` for blank lines, comments and anything else.
fn find_name(text: &[u8], line: &Range<usize>) -> Option<Range<usize>> {
    let mut start = skip_blanks(text, line.start, line.end);
    if text[start..line.end].starts_with(b"export") {
        let after = skip_blanks(text, start + 6, line.end);
        if after > start + 6 {
            start = after;
        }
    }
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(**byte, b'_' | b'.' | b'-');
    let length = text[start..line.end].iter().take_while(is_part).count();
    (length > 0).then(|| start..start + length)
}

/// The extent of a quoted value, and where the search for the end of its line begins.
fn quoted(text: &[u8], start: usize, quote: u8) -> Result<(Range<usize>, usize), Problem> {
    let line_end = end_of_line(text, start);
    let mut at = start + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' if text.get(at + 1) == Some(&quote) && quote != b'"' => {
                return Err(problem(at, "some readers take this quote as the end of the value, others do not"));
            }
            b'\\' if quote == b'"' => at += 1,
            byte if *byte == quote => {
                let rest = &text[at + 1..end_of_line(text, at + 1)];
                let note = skip_blanks(rest, 0, rest.len());
                if at > line_end && note < rest.len() && rest[note] != b'#' {
                    return Err(problem(at, "something follows the closing quote of a value that spans lines"));
                }
                return Ok((start..at + 1, at + 1));
            }
            _ => {}
        }
        at += 1;
    }
    Err(problem(start, "the quote that opens here is not closed"))
}

/// The end of a value without quotes: before the comment, before the blanks.
fn bare_end(text: &[u8], start: usize, line_end: usize) -> usize {
    let value = &text[start..line_end];
    let is_blank = |byte: u8| byte == b' ' || byte == b'\t';
    // `A= # note`: the blanks were skipped already, and the value is empty.
    let comment = if value.first() == Some(&b'#') && start > 0 && is_blank(text[start - 1]) {
        Some(0)
    } else {
        value.windows(2).position(|pair| is_blank(pair[0]) && pair[1] == b'#')
    };
    let value = &value[..comment.unwrap_or(value.len())];
    start + value.iter().rposition(|byte| !is_blank(*byte)).map_or(0, |last| last + 1)
}

fn refuse_odd_bytes(text: &[u8]) -> Result<(), Problem> {
    if text.starts_with(b"\xEF\xBB\xBF") {
        return Err(problem(
            0,
            "the file begins with a byte order mark, which is part of the first name to most readers",
        ));
    }
    if let Some(at) = text.iter().position(|byte| *byte == 0) {
        return Err(problem(at, "a zero byte"));
    }
    let lone = |at: &usize| text[*at] == b'\r' && text.get(at + 1) != Some(&b'\n');
    match (0..text.len()).find(lone) {
        Some(at) => Err(problem(at, "a carriage return that ends a line for some readers and not for others")),
        None => Ok(()),
    }
}

fn skip_blanks(text: &[u8], mut at: usize, end: usize) -> usize {
    while at < end && matches!(text[at], b' ' | b'\t') {
        at += 1;
    }
    at
}

/// Where the line that `at` is in ends, its line break not included.
fn end_of_line(text: &[u8], at: usize) -> usize {
    let end = text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |length| at + length);
    if end > at && end < text.len() && text[end - 1] == b'\r' { end - 1 } else { end }
}

fn after_break(text: &[u8], end: usize) -> usize {
    match text.get(end) {
        Some(b'\r') => end + 2,
        Some(_) => end + 1,
        None => end,
    }
}

fn problem(at: usize, what: &str) -> Problem {
    Problem { at, what: what.to_owned() }
}
