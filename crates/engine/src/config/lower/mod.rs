//! From the form as written to types that can't be wrong.
//!
//! Each step notes its mistakes and goes on, so that a user sees all of them at once. Only what serde itself refuses (an
//! unknown field, a list where a text must stand) ends the reading at once.

mod evidence;
mod fleet;
mod probe;
mod scalar;
mod shape;
mod spec;

use std::path::{Path, PathBuf};

use super::error::may_hold_a_secret;
use super::{At, ConfigError, ConfigErrors, SessionKey, SourceSpan, base_folder, written};

/// Reads a document.
pub(super) fn document(text: &str, file: &Path) -> Result<SessionKey, ConfigErrors> {
    let mut lowering = Lowering { text, file, folder: base_folder(file), errors: Vec::new() };
    let written: written::Document = match serde_saphyr::from_str(text) {
        Ok(written) => written,
        Err(error) => {
            lowering.refuse_shape(&error);
            return Err(ConfigErrors(lowering.errors));
        }
    };
    let lowered = lowering.document(written);
    match lowered {
        Some(document) if lowering.errors.is_empty() => Ok(document),
        _ => {
            lowering.errors.sort_by_key(|error| (error.span.line, error.span.column));
            Err(ConfigErrors(lowering.errors))
        }
    }
}

struct Lowering<'a> {
    text: &'a str,
    file: &'a Path,
    folder: PathBuf,
    errors: Vec<ConfigError>,
}

impl Lowering<'_> {
    /// Notes a mistake. What gave rise to it goes on as absent.
    fn refuse(&mut self, span: SourceSpan, what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) {
        let excerpt = span
            .line
            .checked_sub(1)
            .and_then(|index| self.text.lines().nth(index))
            .filter(|line| !may_hold_a_secret(line))
            .map(ToOwned::to_owned);
        let span = self.placed(span);
        self.errors.push(ConfigError {
            file: self.file.to_owned(),
            span,
            what: what.into(),
            why: why.into(),
            fix: fix.into(),
            excerpt,
        });
    }

    /// Notes a mistake at a place that holds a secret: the line is not shown again.
    fn refuse_secret(&mut self, span: SourceSpan, what: impl Into<String>, why: &str, fix: impl Into<String>) {
        self.refuse(span, what, why, fix);
        if let Some(error) = self.errors.last_mut() {
            error.excerpt = None;
        }
    }

    /// Notes that a field is missing from the group at `span`.
    fn refuse_missing(&mut self, span: SourceSpan, field: &str, why: &str, fix: &str) {
        self.refuse(span, format!("`{field}` is missing"), why, fix);
    }

    /// The value of a field that must be there.
    fn required<T>(
        &mut self,
        value: Option<At<T>>,
        group: SourceSpan,
        field: &str,
        why: &str,
        fix: &str,
    ) -> Option<At<T>> {
        if value.is_none() {
            self.refuse_missing(group, field, why, fix);
        }
        value
    }

    /// A place whose byte offset the parser did not know is found by its line and column.
    fn placed(&self, span: SourceSpan) -> SourceSpan {
        if span.offset > 0 || span.line <= 1 && span.column <= 1 {
            return span;
        }
        let line_begins: usize = self.text.split_inclusive('\n').take(span.line.saturating_sub(1)).map(str::len).sum();
        let in_line =
            self.text[line_begins..].chars().take(span.column.saturating_sub(1)).map(char::len_utf8).sum::<usize>();
        SourceSpan { offset: line_begins + in_line, ..span }
    }
}
