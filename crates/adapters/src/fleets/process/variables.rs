//! The variables that an environment file gives to the application.
//!
//! The one place where a key enters an environment: the application's own. Readers of such files differ in escapes,
//! comments and expansion; this one follows the common core and expands nothing. On the forms in which Keyroll writes a
//! key (bare, or in quotes without escapes) all readers agree.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use keyroll_keyring::Secret;

/// Why a file gives no variables. It never holds text of the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum VariablesError {
    #[error("`{path}` can't be read")]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("`{path}` line {line}: {problem}; nothing was started")]
    Line { path: String, line: usize, problem: &'static str },
}

/// Reads the file anew.
pub(super) fn read(path: &Path) -> Result<Vec<(OsString, OsString)>, VariablesError> {
    let shown = || path.display().to_string();
    let text = fs::read(path).map_err(|source| VariablesError::Read { path: shown(), source })?;
    // Wiped when dropped: the file may hold the key.
    let text = Secret::from_bytes(text);
    parse(text.expose()).map_err(|(line, problem)| VariablesError::Line { path: shown(), line, problem })
}

fn parse(text: &[u8]) -> Result<Vec<(OsString, OsString)>, (usize, &'static str)> {
    let mut variables = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let line = 1 + text[..at].iter().filter(|byte| **byte == b'\n').count();
        let end = end_of_line(text, at);
        let content = text[at..end].trim_ascii();
        if content.is_empty() || content.starts_with(b"#") || content.starts_with(b";") {
            at = end + 1;
            continue;
        }
        let equals = text[at..end].iter().position(|byte| *byte == b'=').ok_or((line, "`NAME=VALUE` expected"))? + at;
        let name = text[at..equals].trim_ascii();
        let name = name.strip_prefix(b"export ").unwrap_or(name).trim_ascii();
        if !is_name(name) {
            return Err((line, "what stands before `=` is not the name of a variable"));
        }
        let start = (equals + 1..end).find(|index| !matches!(text[*index], b' ' | b'\t')).unwrap_or(end);
        let (value, next) = match text.get(start) {
            Some(quote @ (b'\'' | b'"')) if start < end => {
                quoted(text, start + 1, *quote).ok_or((line, "the quote is not closed"))?
            }
            _ => (bare(&text[start..end]).to_vec(), end),
        };
        if value.contains(&0) {
            return Err((line, "a value can't hold a zero byte"));
        }
        variables.push((OsString::from_vec(name.to_vec()), OsString::from_vec(value)));
        at = end_of_line(text, next) + 1;
    }
    Ok(variables)
}

/// The text up to the closing quote, and the index behind it. Only double quotes know escapes.
fn quoted(text: &[u8], start: usize, quote: u8) -> Option<(Vec<u8>, usize)> {
    let mut value = Vec::new();
    let mut at = start;
    while let Some(byte) = text.get(at) {
        match (*byte, quote, text.get(at + 1)) {
            (b'\\', b'"', Some(b'n')) => value.push(b'\n'),
            (b'\\', b'"', Some(escaped @ (b'"' | b'\\' | b'$' | b'`'))) => value.push(*escaped),
            (byte, quote, _) if byte == quote => return Some((value, at + 1)),
            (byte, _, _) => {
                value.push(byte);
                at += 1;
                continue;
            }
        }
        at += 2;
    }
    None
}

/// Without blanks at the end, and without a comment that follows a blank.
fn bare(value: &[u8]) -> &[u8] {
    let comment = value.windows(2).position(|pair| matches!(pair, [b' ' | b'\t', b'#']));
    value[..comment.unwrap_or(value.len())].trim_ascii_end()
}

fn is_name(name: &[u8]) -> bool {
    name.first().is_some_and(|first| !first.is_ascii_digit())
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

fn end_of_line(text: &[u8], at: usize) -> usize {
    text.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')).map_or(text.len(), |found| at + found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Vec<(String, String)> {
        let as_text = |text: OsString| text.into_string().unwrap();
        parse(text.as_bytes()).unwrap().into_iter().map(|(name, value)| (as_text(name), as_text(value))).collect()
    }

    #[test]
    fn the_usual_forms_are_read() {
        let text = "# comment\n\nexport A=1\nB = 'it is $x \\n'\nC=\"two\\nlines \\\"q\\\"\"\r\nD=bare value # why\n; also a comment\nE=\nF=a#b";
        let expected = [
            ("A", "1"),
            ("B", "it is $x \\n"),
            ("C", "two\nlines \"q\""),
            ("D", "bare value"),
            ("E", ""),
            ("F", "a#b"),
        ];
        assert_eq!(read_text(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_quoted_value_may_span_lines() {
        assert_eq!(read_text("A='1\n2'\nB=3"), [("A".into(), "1\n2".into()), ("B".into(), "3".into())]);
    }

    #[test]
    fn a_mistake_is_named_by_its_line_and_not_by_its_text() {
        assert_eq!(parse(b"A=1\nB='open").unwrap_err(), (2, "the quote is not closed"));
        assert_eq!(parse(b"hunter2").unwrap_err(), (1, "`NAME=VALUE` expected"));
        assert_eq!(parse(b"A B=1").unwrap_err().0, 1);
    }
}
