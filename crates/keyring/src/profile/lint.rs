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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FieldName, profile::Initializer};

    fn rails() -> Profile {
        let names = [("accept".to_owned(), FieldName("OLD_SECRET_KEY_BASE".into()))].into();
        Profile::builtin("rails/single-slot").and_then(|profile| profile.with_names(&names)).expect("the profile")
    }

    /// The lints that fire on these files beside a good initializer, with their lines.
    fn fired(files: &[(&str, &str)]) -> Vec<(String, Option<usize>)> {
        let sources: Vec<_> =
            files.iter().map(|(path, text)| SourceFile { path: (*path).into(), text: (*text).into() }).collect();
        let findings = rails().lint(&sources);
        findings.into_iter().map(|finding| (finding.lint, finding.line.map(NonZeroUsize::get))).collect()
    }

    fn fired_beside_good(path: &str, text: &str) -> Vec<(String, Option<usize>)> {
        let Initializer { path: good, text: initializer } = rails().initializer().expect("an initializer");
        fired(&[(&good, &initializer), (path, text)])
    }

    /// As the public runbook of a real service had it.
    const SECRETS_YML: &str = r#"# config/secrets.yml
development:
  old_secret_key_base: my-current-local-secret-key-base-secret
  secret_key_base: my-new-local-secret-key-base-secret
production:
  old_secret_key_base: ENV["OLD_SECRET_KEY_BASE"]
  secret_key_base: <%= ENV["SECRET_KEY_BASE"] %>
"#;

    /// The same service's initializer in the shape that logged everybody out: authenticated cookies, the salt of the others.
    const WRONG_SALT_RB: &str = r#"return unless Rails.application.secrets.old_secret_key_base.present?

Rails.application.configure do
  config.action_dispatch.use_authenticated_cookie_encryption = true
  config.action_dispatch.cookies_rotations.tap do |cookies|
    salt = config.action_dispatch.encrypted_cookie_salt
    signed_salt = config.action_dispatch.encrypted_signed_cookie_salt
    cipher = config.action_dispatch.encrypted_cookie_cipher || 'aes-256-gcm'

    old_secret_key_base = Rails.application.secrets.old_secret_key_base
    generator = ActiveSupport::KeyGenerator.new(old_secret_key_base, iterations: 1000)
    len = ActiveSupport::MessageEncryptor.key_len(cipher)
    secret = generator.generate_key(salt, len)
    sign_secret = generator.generate_key(signed_salt)

    cookies.rotate :encrypted, secret, sign_secret
  end
end
"#;

    #[test]
    fn yaml_without_erb_is_found() {
        assert_eq!(fired_beside_good("config/secrets.yml", SECRETS_YML), [("yaml-without-erb".into(), Some(6))]);
        let right = SECRETS_YML.replace("ENV[\"OLD_SECRET_KEY_BASE\"]", "<%= ENV[\"OLD_SECRET_KEY_BASE\"] %>");
        assert_eq!(fired_beside_good("config/secrets.yml", &right), []);
        for value in ["ENV['X']", "\"ENV['X']\"", "ENV.fetch('X')"] {
            let found = fired_beside_good("config/app.yaml", &format!("a: 1\nkey: {value}\n"));
            assert_eq!(found, [("yaml-without-erb".into(), Some(2))], "{value}");
        }
    }

    #[test]
    fn the_wrong_salt_and_unrotated_signed_cookies_are_found() {
        let files = [
            ("config/initializers/cookie_rotation.rb", WRONG_SALT_RB),
            ("config/secrets.yml", "x: <%= ENV['OLD_SECRET_KEY_BASE'] %>"),
        ];
        assert_eq!(fired(&files), [("wrong-salt".into(), Some(6)), ("signed-not-rotated".into(), Some(16))]);
        let right =
            WRONG_SALT_RB.replace("dispatch.encrypted_cookie_salt", "dispatch.authenticated_encrypted_cookie_salt");
        let files = [(files[0].0, right.as_str()), files[1]];
        assert_eq!(fired(&files), [("signed-not-rotated".into(), Some(16))]);
        // An application that still writes CBC cookies uses that salt rightly.
        let cbc = WRONG_SALT_RB.replace("encryption = true", "encryption = false");
        let files = [(files[0].0, cbc.as_str()), files[1]];
        assert_eq!(fired(&files), [("signed-not-rotated".into(), Some(16))]);
    }

    #[test]
    fn a_missing_initializer_is_found() {
        let unrelated = ("config/application.rb", "module App; end\n");
        let path = "config/initializers/keyroll_cookie_rotation.rb";
        let findings = rails().lint(&[SourceFile { path: unrelated.0.into(), text: unrelated.1.into() }]);
        let shown: Vec<_> =
            findings.iter().map(|finding| (finding.lint.as_str(), finding.path.as_str(), finding.line)).collect();
        assert_eq!(shown, [("no-initializer", path, None), ("accept-field-unused", path, None)]);
        assert!(findings[1].what.contains("OLD_SECRET_KEY_BASE"));
        // In a comment it does nothing.
        let comment = "# cookies_rotations with OLD_SECRET_KEY_BASE\n";
        assert_eq!(fired(&[("config/application.rb", comment)]).len(), 2);
    }

    #[test]
    fn secret_key_base_in_the_place_of_the_derived_key_is_found() {
        for secret in [
            "ENV['OLD_SECRET_KEY_BASE']",
            "ENV.fetch('OLD_SECRET_KEY_BASE')",
            "Rails.application.secrets.old_secret_key_base",
            "Rails.application.credentials.old_secret_key_base",
            "Settings.old_secret_key_base",
            "old_secret_key_base",
        ] {
            for call in
                ["cookies.rotate :encrypted, ", "cookies.rotate(:encrypted, ", "cookies.rotate :encrypted,\n      "]
            {
                let code = format!("x = 1\n{call}{secret}\ncookies.rotate :signed, derived\n");
                let found = fired_beside_good("config/initializers/old.rb", &code);
                assert_eq!(found, [("secret-not-derived".into(), Some(2))], "{code}");
            }
        }
        assert_eq!(
            fired_beside_good("a.rb", "cookies.rotate :encrypted, secret\ncookies.rotate :signed, sign_secret\n"),
            []
        );
    }

    #[test]
    fn a_fixed_digest_is_found() {
        let code =
            "kg = ActiveSupport::KeyGenerator.new(old, iterations: 1000, hash_digest_class: OpenSSL::Digest::SHA256)\n";
        assert_eq!(fired_beside_good("config/initializers/a.rb", code), [("fixed-digest".into(), Some(1))]);
        let code = "x = 1\nOpenSSL::PKCS5.pbkdf2_hmac(secret, salt, 1000, 32, 'SHA256')\n";
        assert_eq!(fired_beside_good("config/initializers/a.rb", code), [("fixed-digest".into(), Some(2))]);
    }

    #[test]
    fn an_old_key_from_the_place_of_the_new_one_is_found() {
        let yaml = "production:\n  old_secret_key_base: <%= ENV['SECRET_KEY_BASE'] %>\n  secret_key_base: <%= ENV['SECRET_KEY_BASE'] %>\n";
        assert_eq!(fired_beside_good("config/secrets.yml", yaml), [("old-and-new-equal".into(), Some(2))]);
        let right = yaml.replacen("ENV['SECRET", "ENV['OLD_SECRET", 1);
        assert_eq!(fired_beside_good("config/secrets.yml", &right), []);
    }

    #[test]
    fn findings_never_quote_the_sources() {
        let yaml = "production:\n  old_secret_key_base: s3kr1t-material\n  secret_key_base: s3kr1t-material\n";
        let findings = rails().lint(&[SourceFile { path: "config/secrets.yml".into(), text: yaml.into() }]);
        assert!(findings.iter().any(|finding| finding.lint == "old-and-new-equal"));
        assert!(!format!("{findings:?}").contains("s3kr1t"));
    }
}
