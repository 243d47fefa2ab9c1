//! Profiles: how a framework names, encodes and orders its current and its other keys, as data.
//!
//! A profile never says which key is old and which is new: the accept-only place takes either. That is what lets the new
//! key be accepted everywhere before anybody mints under it.

use std::collections::BTreeMap;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::{
    Encoding, Key, KeyError, KeyId, Part, PartName, Secret,
    strength::{self, Requirement, Weakness},
};

mod data;
mod error;
mod fields;
mod layout;
mod lint;

use layout::{ACCEPT, ACTIVE, Accept, CONTENT, Layout};

pub use error::ProfileError;
pub use layout::Slots;
pub use lint::{Finding, SourceFile};

/// The name of a field in a secret store: an environment variable, a key of a Kubernetes Secret, a path in a document.
/// A store whose whole content is one secret has the single field `content`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct FieldName(pub String);

impl std::fmt::Display for FieldName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The owned fields of a store. `None` means that the field is absent (or, when written, must become absent).
#[derive(Default)]
pub struct Fields(pub BTreeMap<FieldName, Option<Secret>>);

/// What the fleet is to be configured with: one active key and the other accepted ones, newest first.
pub struct Configuration<'a> {
    /// Members mint under this key.
    pub active: &'a Key,
    /// Members also open sessions under these keys; never contains `active`.
    pub accept_only: Vec<&'a Key>,
}

/// A key as it was found in a store. Most formats carry no id.
pub struct FoundKey {
    /// The id, where the format carries one.
    pub id: Option<KeyId>,
    /// The parts, in the profile's order.
    pub parts: Vec<Part>,
}

impl FoundKey {
    /// The key itself, under the id that the caller knows it by.
    pub fn into_key(self, id: KeyId) -> Result<Key, KeyError> {
        Key::with_parts(id, self.parts)
    }
}

/// The configuration that a store's fields hold.
pub struct ParsedConfiguration {
    /// The key that members mint under.
    pub active: FoundKey,
    /// The other accepted keys, in the order found.
    pub accept_only: Vec<FoundKey>,
}

/// How one framework holds its keys.
#[derive(Clone, Debug)]
pub struct Profile {
    name: String,
    title: String,
    parts: Vec<PartRule>,
    layout: Layout,
    codec: Option<CodecChoice>,
    reseal: Reseal,
    contention: Contention,
    initializer: Option<Initializer>,
    error_texts: Vec<ErrorText>,
    lints: Vec<lint::Lint>,
}

impl Profile {
    /// The profile of that name, such as `rails` or its variant `rails/single-slot`.
    pub fn builtin(name: &str) -> Result<Self, ProfileError> {
        let (base, variant) = match name.split_once('/') {
            Some((base, variant)) => (base, Some(variant)),
            None => (name, None),
        };
        let unknown = || ProfileError::Unknown { name: name.to_owned(), known: Self::names() };
        let (_, text) = BUILTIN.iter().find(|(known, _)| *known == base).ok_or_else(unknown)?;
        match Self::load(text, variant) {
            Err(ProfileError::NoSuchVariant { .. }) => Err(unknown()),
            loaded => loaded,
        }
    }

    /// The names of all builtin profiles and of their variants.
    pub fn names() -> Vec<String> {
        let mut names = Vec::new();
        for (name, text) in BUILTIN {
            names.push((*name).to_owned());
            let variants = data::variants(text).unwrap_or_default();
            names.extend(variants.into_iter().map(|variant| format!("{name}/{variant}")));
        }
        names
    }

    /// A profile of the user's own, in the form of `docs/adding/framework.md`.
    pub fn from_toml(text: &str) -> Result<Self, ProfileError> {
        Self::load(text, None)
    }

    /// One variant of a profile of the user's own.
    pub fn variant_from_toml(text: &str, variant: &str) -> Result<Self, ProfileError> {
        Self::load(text, Some(variant))
    }

    /// The same profile with other field names, by role; [`Self::roles`] lists the roles.
    pub fn with_names(mut self, names: &BTreeMap<String, FieldName>) -> Result<Self, ProfileError> {
        for (role, name) in names {
            let known = self.roles().into_keys().collect::<Vec<_>>();
            let Some(field) = self.layout.field_mut(role) else {
                return Err(ProfileError::UnknownRole { role: role.clone(), known });
            };
            *field = name.clone();
        }
        self.refuse_doubled_fields()?;
        Ok(self)
    }

    /// The same profile with other fields for the accepted keys. One field takes the place of the profile's own, in the same
    /// form; several hold one key each.
    pub fn with_accept_fields(mut self, names: &[FieldName]) -> Result<Self, ProfileError> {
        let Layout::Separate(places) = &mut self.layout else {
            return Err(ProfileError::UnknownRole { role: ACCEPT.to_owned(), known: vec![CONTENT.to_owned()] });
        };
        let [place] = &mut places[..] else {
            let known = self.roles().into_keys().collect();
            return Err(ProfileError::UnknownRole { role: ACCEPT.to_owned(), known });
        };
        match (&mut place.accept, names) {
            (_, []) => {}
            (Accept::Nowhere | Accept::Behind { .. }, _) => {
                return Err(ProfileError::UnknownRole { role: ACCEPT.to_owned(), known: vec![ACTIVE.to_owned()] });
            }
            (Accept::List { field, .. }, [name]) => *field = name.clone(),
            (accept, names) => *accept = Accept::Slots(names.to_vec()),
        }
        self.refuse_doubled_fields()?;
        Ok(self)
    }

    /// The profile's name, with its variant.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The framework's name as people write it.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The fields that Keyroll owns in a store.
    pub fn fields(&self) -> Vec<FieldName> {
        self.roles().into_values().collect()
    }

    /// What each field is for: `active` and `accept` (several slots: `accept`, `accept-2` and so on; several parts:
    /// `PART.active` and so on), or `content`.
    pub fn roles(&self) -> BTreeMap<String, FieldName> {
        self.layout.roles()
    }

    /// What the (first) part of a key must be; [`Self::check`] checks whole keys.
    pub fn requirement(&self) -> Requirement {
        self.parts[0].requirement
    }

    /// The parts of a key, in order, and what each must be.
    pub fn parts(&self) -> impl Iterator<Item = (&PartName, Requirement)> {
        self.parts.iter().map(|rule| (&rule.name, rule.requirement))
    }

    /// Checks every part of a key against what the framework needs.
    pub fn check(&self, parts: &[Part]) -> Result<(), Vec<(PartName, Weakness)>> {
        let mut found = Vec::new();
        for part in parts {
            let rule = self.parts.iter().find(|rule| rule.name == part.name);
            let requirement = rule.map_or(self.parts[0].requirement, |rule| rule.requirement);
            if let Err(weaknesses) = strength::check(&part.material, &requirement) {
                found.extend(weaknesses.into_iter().map(|weakness| (part.name.clone(), weakness)));
            }
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    /// A new random key in the framework's own form.
    pub fn candidate(&self, id: KeyId) -> Result<Key, ProfileError> {
        let parts = self
            .parts
            .iter()
            .map(|rule| {
                let mut bytes = Zeroizing::new(vec![0; rule.random_bytes]);
                rand::fill(&mut bytes).map_err(|_| ProfileError::NoRandomness)?;
                let drawn = Secret::from_bytes(std::mem::take(&mut *bytes));
                Ok(Part { name: rule.name.clone(), material: drawn.encoded(rule.random_form) })
            })
            .collect::<Result<Vec<_>, ProfileError>>()?;
        let key = Key::with_parts(id, parts).map_err(ProfileError::Key)?;
        self.check(key.parts()).map_err(|weaknesses| ProfileError::WeakCandidate { weaknesses })?;
        Ok(key)
    }

    /// A part of a key as it stands in a field.
    pub fn encode_part(&self, part: &Part) -> Secret {
        let rule = self.parts.iter().find(|rule| rule.name == part.name).unwrap_or(&self.parts[0]);
        part.material.encoded(rule.encoding)
    }

    /// Makes a key of material that an operator gives, in the form in which it stands in a field. Where that is a ring file, it
    /// is the active key of the ring; the material alone will do too.
    pub fn key_from_field(&self, id: KeyId, text: &Secret) -> Result<Key, ProfileError> {
        if let Layout::RingFile { field } = &self.layout
            && text.expose().trim_ascii_start().starts_with(b"{")
        {
            let fields = Fields([(field.clone(), Some(text.duplicate()))].into());
            return self.parse(&fields)?.active.into_key(id).map_err(ProfileError::Key);
        }
        match &self.parts[..] {
            [only] => {
                let material = text.decoded(only.encoding).map_err(ProfileError::Material)?;
                Key::with_parts(id, vec![Part { name: only.name.clone(), material }]).map_err(ProfileError::Key)
            }
            _ => Err(ProfileError::SeveralParts { parts: self.parts.iter().map(|rule| rule.name.clone()).collect() }),
        }
    }

    /// The fields that configure a fleet like this. Every owned field has an entry.
    pub fn render(&self, configuration: &Configuration<'_>) -> Result<Fields, ProfileError> {
        fields::render(self, configuration)
    }

    /// The configuration that these fields hold. An accept field that is absent or empty holds no keys.
    pub fn parse(&self, fields: &Fields) -> Result<ParsedConfiguration, ProfileError> {
        fields::parse(self, fields)
    }

    /// How many keys can be accepted beside the active one.
    pub fn accept_slots(&self) -> Slots {
        match &self.layout {
            Layout::RingFile { .. } => Slots::Unlimited,
            Layout::Separate(places) => {
                places.iter().map(|place| place.accept.slots()).min().unwrap_or(Slots::OneKeyOnly)
            }
        }
    }

    /// The format of the sessions: the codec's name and its default parameters. `None` where Keyroll can't mint them.
    pub fn codec(&self) -> Option<(&str, &BTreeMap<String, String>)> {
        self.codec.as_ref().map(|codec| (codec.name.as_str(), &codec.params))
    }

    /// Whether the framework seals a session again under the active key when it reads it.
    pub fn reseals_on_read(&self) -> Reseal {
        self.reseal
    }

    /// The code that makes the application accept the other keys, with this profile's field names in it.
    pub fn initializer(&self) -> Option<Initializer> {
        self.initializer.as_ref().map(|initializer| Initializer {
            path: initializer.path.clone(),
            text: self.with_field_names(&initializer.text),
        })
    }

    /// Whether members with different active keys fight over one session.
    pub fn contention(&self) -> Contention {
        self.contention
    }

    /// Texts in logs and answers which say that a session was refused.
    pub fn error_texts(&self) -> &[ErrorText] {
        &self.error_texts
    }

    /// What is wrong with the application's sources, as far as the text shows it. It never quotes them: they may hold keys.
    pub fn lint(&self, sources: &[SourceFile]) -> Vec<Finding> {
        self.lints.iter().flat_map(|lint| lint.run(self, sources)).collect()
    }

    /// What is wrong with the keys in a store's fields.
    pub fn lint_fields(&self, fields: &Fields) -> Vec<Finding> {
        fields::lint(self, fields)
    }

    fn load(text: &str, variant: Option<&str>) -> Result<Self, ProfileError> {
        let profile = data::load(text, variant)?;
        profile.refuse_doubled_fields()?;
        Ok(profile)
    }

    fn refuse_doubled_fields(&self) -> Result<(), ProfileError> {
        let mut names = self.fields();
        names.sort();
        match names.windows(2).find(|two| two[0] == two[1]) {
            Some(two) => Err(ProfileError::DoubledField { field: two[0].clone() }),
            None => Ok(()),
        }
    }

    /// Puts this profile's field names in the places of `@ACTIVE@` and `@ACCEPT@`.
    fn with_field_names(&self, text: &str) -> String {
        self.roles().into_iter().fold(text.to_owned(), |text, (role, field)| {
            text.replace(&format!("@{}@", role.to_ascii_uppercase()), &field.0)
        })
    }
}

/// What a framework does with a session that it read under an accept-only key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it seals it again or it does not")]
pub enum Reseal {
    /// Seals it again under the active key.
    OnRead,
    /// Leaves it as it is.
    Never,
}

/// What becomes of a session that goes back and forth between members with different active keys, all of which accept it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "they fight over it or they do not")]
pub enum Contention {
    /// Nothing.
    #[default]
    #[serde(rename = "harmless")]
    None,
    /// Each member gives it a new identity under its own key, and requests that are under way lose it.
    #[serde(rename = "fight")]
    BetweenActiveKeys,
}

/// Code for the application.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Initializer {
    /// Where it goes, in the application's folder.
    pub path: String,
    /// The code.
    pub text: String,
}

/// A text that shows a refused session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ErrorText {
    /// Where it is seen.
    pub place: ErrorPlace,
    /// A part of a line.
    pub text: String,
    /// Who makes a member say it.
    pub cause: ErrorCause,
}

/// Who makes a member say an error text.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::exhaustive_enums, reason = "users alone, or Keyroll's own probes too")]
pub enum ErrorCause {
    /// Users only: Keyroll's probes leave no such line.
    #[default]
    Users,
    /// A probe whose session is to be rejected leaves the same line, so its number says nothing where probes are sent.
    ProbesToo,
}

/// Where an error text is seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorPlace {
    /// In the log of a member.
    Log,
    /// In an answer to a client.
    Response,
}

/// How one part of a key is made and written.
#[derive(Clone, Debug)]
struct PartRule {
    name: PartName,
    encoding: Encoding,
    requirement: Requirement,
    random_bytes: usize,
    /// The form of the random bytes that is the material: hexadecimal text for Rails, the bytes themselves for others.
    random_form: Encoding,
}

#[derive(Clone, Debug)]
struct CodecChoice {
    name: String,
    params: BTreeMap<String, String>,
}

const BUILTIN: &[(&str, &str)] = &[
    ("django", include_str!("../profiles/django.toml")),
    ("express", include_str!("../profiles/express.toml")),
    ("flask", include_str!("../profiles/flask.toml")),
    ("keyroll", include_str!("../profiles/keyroll.toml")),
    ("rails", include_str!("../profiles/rails.toml")),
];

#[cfg(test)]
mod tests;
