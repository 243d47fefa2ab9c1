//! Lints: what is wrong with an application's sources, as far as their text shows it.
//!
//! A finding never quotes a source, because the line that is wrong is often the one with a key in it.

use std::{num::NonZeroUsize, ops::Range};

use regex::{Regex, RegexBuilder};
use serde::Deserialize;

use super::Profile;

/// A file of the application, read by the caller.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its path, as findings show it.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Something wrong, and what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The lint's id.
    pub lint: String,
    /// The file (or the fields of a store) where it is, or should be.
    pub path: String,
    /// The line, where there is one.
    pub line: Option<NonZeroUsize>,
    /// What is there.
    pub what: String,
    /// What comes of it.
    pub consequence: String,
    /// What to do.
    pub fix: String,
}

/// One lint of a profile. Patterns are regular expressions; `@ACTIVE@` and `@ACCEPT@` in them are the field names.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "LintFile")]
pub(super) struct Lint {
    file: LintFile,
}

impl Lint {
    /// Runs it over the sources.
    pub(super) fn run(&self, profile: &Profile, sources: &[SourceFile]) -> Vec<Finding> {
        let texts: Vec<_> = sources
            .iter()
            .filter(|source| self.file.files.iter().any(|end| source.path.ends_with(end.as_str())))
            .map(|source| (source.path.as_str(), self.without_comments(&source.text)))
            .collect();
        // `try_from` has compiled every pattern; a field name can't break one, because it is escaped.
        let regex = |pattern: &str| compile(&profile.with_escaped_field_names(pattern)).ok();
        let Some(pattern) = regex(&self.file.pattern) else { return Vec::new() };
        match &self.file.kind {
            Kind::Line { unless, unless_in_file } => {
                let unless = unless.as_deref().and_then(regex);
                let unless_in_file = unless_in_file.as_deref().and_then(regex);
                texts
                    .iter()
                    .filter(|(_, text)| !unless_in_file.as_ref().is_some_and(|unless| unless.is_match(text)))
                    .flat_map(|(path, text)| {
                        pattern
                            .find_iter(text)
                            .filter(|found| {
                                !unless
                                    .as_ref()
                                    .is_some_and(|unless| unless.is_match(&text[lines(text, found.range())]))
                            })
                            .map(|found| self.finding(profile, path, Some(line(text, found.range()))))
                            .collect::<Vec<_>>()
                    })
                    .collect()
            }
            Kind::Missing { path } => {
                if texts.iter().any(|(_, text)| pattern.is_match(text)) {
                    return Vec::new();
                }
                vec![self.finding(profile, path, None)]
            }
            Kind::Without { needs } => {
                let Some(needs) = regex(needs) else { return Vec::new() };
                if texts.iter().any(|(_, text)| needs.is_match(text)) {
                    return Vec::new();
                }
                texts
                    .iter()
                    .filter_map(|(path, text)| {
                        let found = pattern.find(text)?;
                        Some(self.finding(profile, path, Some(line(text, found.range()))))
                    })
                    .collect()
            }
            Kind::EqualValues { against } => {
                let Some(against) = regex(against) else { return Vec::new() };
                texts
                    .iter()
                    .flat_map(|(path, text)| {
                        pattern
                            .captures_iter(text)
                            .filter(|found| {
                                let others = against.captures_iter(text);
                                others
                                    .into_iter()
                                    .any(|other| other.get(1).map(|m| m.as_str()) == found.get(1).map(|m| m.as_str()))
                            })
                            .filter_map(|found| found.get(0))
                            .map(|found| self.finding(profile, path, Some(line(text, found.range()))))
                            .collect::<Vec<_>>()
                    })
                    .collect()
            }
        }
    }

    fn finding(&self, profile: &Profile, path: &str, line: Option<NonZeroUsize>) -> Finding {
        Finding {
            lint: self.file.id.clone(),
            path: path.to_owned(),
            line,
            what: profile.with_field_names(&self.file.what),
            consequence: profile.with_field_names(&self.file.consequence),
            fix: profile.with_field_names(&self.file.fix),
        }
    }

    /// The text with its comment lines emptied, so that line numbers stay.
    fn without_comments(&self, text: &str) -> String {
        let Some(comment) = &self.file.comment else { return text.to_owned() };
        text.split_inclusive('\n')
            .map(|line| match line.trim_start().starts_with(comment.as_str()) {
                true => &line[line.trim_end_matches(['\r', '\n']).len()..],
                false => line,
            })
            .collect()
    }
}

/// A lint as a profile writes it.
#[derive(Clone, Debug, Deserialize)]
struct LintFile {
    id: String,
    /// How the names of the files end that it looks at.
    files: Vec<String>,
    /// What a comment line begins with.
    comment: Option<String>,
    pattern: String,
    what: String,
    consequence: String,
    fix: String,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
enum Kind {
    /// Every match is a finding, unless its line matches `unless` or its file `unless-in-file`.
    #[serde(rename_all = "kebab-case")]
    Line { unless: Option<String>, unless_in_file: Option<String> },
    /// That nothing matches is a finding, shown at `path`.
    Missing { path: String },
    /// A match is a finding where nothing matches `needs`.
    Without { needs: String },
    /// A match whose group 1 is the same text as that of a match of `against` in the same file is a finding.
    EqualValues { against: String },
}

impl TryFrom<LintFile> for Lint {
    type Error = String;

    fn try_from(file: LintFile) -> Result<Self, Self::Error> {
        let more = match &file.kind {
            Kind::Line { unless, unless_in_file } => [unless.as_ref(), unless_in_file.as_ref()],
            Kind::Missing { .. } => [None, None],
            Kind::Without { needs } => [Some(needs), None],
            Kind::EqualValues { against } => [Some(against), None],
        };
        for pattern in std::iter::once(&file.pattern).chain(more.into_iter().flatten()) {
            compile(pattern).map_err(|error| format!("a pattern of the lint `{}` is not valid: {error}", file.id))?;
        }
        Ok(Self { file })
    }
}

impl Profile {
    fn with_escaped_field_names(&self, pattern: &str) -> String {
        self.roles().into_iter().fold(pattern.to_owned(), |pattern, (role, field)| {
            pattern.replace(&format!("@{}@", role.to_ascii_uppercase()), &regex::escape(&field.0))
        })
    }
}

/// `^` and `$` mean lines.
fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).multi_line(true).build()
}

/// The number of the line in which a match begins, whitespace aside.
fn line(text: &str, found: Range<usize>) -> NonZeroUsize {
    let begin = begin(text, &found);
    NonZeroUsize::MIN.saturating_add(text[..begin].bytes().filter(|byte| *byte == b'\n').count())
}

/// The whole lines on which a match lies.
fn lines(text: &str, found: Range<usize>) -> Range<usize> {
    let begin = begin(text, &found);
    let start = text[..begin].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[found.end..].find('\n').map_or(text.len(), |newline| found.end + newline);
    start..end
}

fn begin(text: &str, found: &Range<usize>) -> usize {
    let matched = &text[found.clone()];
    found.start + (matched.len() - matched.trim_start().len())
}
