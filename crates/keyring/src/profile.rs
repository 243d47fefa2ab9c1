//! Profiles: how a framework names, encodes and orders its current and its other keys, as data.
//!
//! A profile never says which key is old and which is new: the accept-only place takes either. That is what lets the new
//! key be accepted everywhere before anybody mints under it.

use std::collections::BTreeMap;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::{
    Encoding, Key, KeyError, KeyId, Part, PartName, Secret, SecretError,
    ring_file::RingFileError,
    strength::{self, Requirement, Weakness},
};

mod data;
mod fields;
mod lint;

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
            (Accept::Nowhere, _) => {
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

    /// Makes a key of material that an operator gives, in the form in which it stands in a field.
    pub fn key_from_field(&self, id: KeyId, text: &Secret) -> Result<Key, ProfileError> {
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

/// How many keys can be accepted beside the active one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "none, so many, or any number")]
pub enum Slots {
    /// The framework knows one key, so no order of writes keeps the sessions.
    OneKeyOnly,
    /// So many.
    Limited(usize),
    /// Any number.
    Unlimited,
}

impl Slots {
    /// Whether that many keys fit beside the active one.
    pub fn hold(self, keys: usize) -> bool {
        match self {
            Self::OneKeyOnly => keys == 0,
            Self::Limited(limit) => keys <= limit,
            Self::Unlimited => true,
        }
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

/// Why a profile does not do it. It holds no key bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// There is no such profile.
    #[error("there is no profile `{name}`; there are {}", list(known))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The profile has no such variant.
    #[error("the profile `{profile}` has no variant `{variant}`")]
    NoSuchVariant {
        /// The profile.
        profile: String,
        /// The variant.
        variant: String,
    },
    /// The profile is not what `docs/adding/framework.md` says.
    #[error("the profile can't be read: {reason}")]
    Malformed {
        /// What and where.
        reason: String,
    },
    /// A field name for a role that the profile does not have.
    #[error("the profile has no field for `{role}`; it has {}", list(known))]
    UnknownRole {
        /// The role.
        role: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Two roles have one field.
    #[error("the field `{field}` has two roles")]
    DoubledField {
        /// Which field.
        field: FieldName,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes; nothing was generated")]
    NoRandomness,
    /// What was generated is weak: the generator or the profile is broken.
    #[error("the generated key was refused: {}", weaknesses.iter().map(|(part, weakness)| format!("part `{part}`: {weakness}")).collect::<Vec<_>>().join("; "))]
    WeakCandidate {
        /// What is wrong.
        weaknesses: Vec<(PartName, Weakness)>,
    },
    /// Material that an operator gave does not decode.
    #[error("the key can't be read")]
    Material(#[source] SecretError),
    /// One text can't hold a key of several parts.
    #[error("a key of this profile has the parts {}, so one text can't hold it", list(parts))]
    SeveralParts {
        /// Which parts.
        parts: Vec<PartName>,
    },
    /// Parts that do not make a key.
    #[error("the parts do not make a key")]
    Key(#[source] KeyError),
    /// The field of the active key is absent.
    #[error("the field `{field}` is absent, and the active key should be there")]
    ActiveAbsent {
        /// Which field.
        field: FieldName,
    },
    /// The field of the active key is empty.
    #[error("the field `{field}` is empty, and the active key should be there")]
    ActiveEmpty {
        /// Which field.
        field: FieldName,
    },
    /// A list with nothing between two separators. A framework may accept sessions under the empty key, which anybody has.
    #[error("the list in the field `{field}` has an empty entry; remove the separator that stands too much")]
    EmptyEntry {
        /// Which field.
        field: FieldName,
    },
    /// A field does not decode.
    #[error("the field `{field}` can't be read")]
    Field {
        /// Which field.
        field: FieldName,
        /// Why.
        #[source]
        source: SecretError,
    },
    /// A ring file is not one.
    #[error("the field `{field}` is not a ring file")]
    RingFile {
        /// Which field.
        field: FieldName,
        /// Why.
        #[source]
        source: RingFileError,
    },
    /// One part accepts more keys than another.
    #[error("the field `{field}` holds {found} keys, and the fields of the other parts hold {expected}")]
    UnevenParts {
        /// Which field.
        field: FieldName,
        /// How many keys are in it.
        found: usize,
        /// How many are in the others.
        expected: usize,
    },
    /// Two accepted keys are the same.
    #[error("the fields hold the same key twice; remove it from the accepted ones")]
    SameKeyTwice,
    /// More accept-only keys than the framework has room for.
    #[error(
        "{keys} keys are to be accepted beside the active one, and the framework has room for {room}; drain one first"
    )]
    NoRoom {
        /// How many are to be accepted.
        keys: usize,
        /// How many fit.
        room: usize,
    },
    /// A key that the framework would read as something else.
    #[error("the key {id} can't be written to the field `{field}`: {reason}")]
    Unwritable {
        /// Which key.
        id: KeyId,
        /// Which field.
        field: FieldName,
        /// Why.
        reason: &'static str,
    },
    /// A key that lacks a part of the profile, or has another.
    #[error("the key {id} does not have the parts {}", list(parts))]
    WrongParts {
        /// Which key.
        id: KeyId,
        /// Which parts the profile has.
        parts: Vec<PartName>,
    },
    /// The configuration is not a ring.
    #[error("the configuration is not a valid ring")]
    Ring(#[source] crate::RingError),
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

/// Which fields hold what.
#[derive(Clone, Debug)]
enum Layout {
    /// One field for the active key and others for the accepted ones, for each part in the order of the parts.
    Separate(Vec<Place>),
    /// One field that holds a ring file.
    RingFile { field: FieldName },
}

#[derive(Clone, Debug)]
struct Place {
    /// What stands before the role's name: nothing where there is one part only.
    prefix: String,
    active: FieldName,
    accept: Accept,
}

/// How the accept-only keys of one part are held.
#[derive(Clone, Debug)]
enum Accept {
    /// Not at all.
    Nowhere,
    /// One field with all of them.
    List { field: FieldName, separator: u8 },
    /// One field for each.
    Slots(Vec<FieldName>),
}

impl Accept {
    fn slots(&self) -> Slots {
        match self {
            Self::Nowhere => Slots::OneKeyOnly,
            Self::List { .. } => Slots::Unlimited,
            Self::Slots(fields) => Slots::Limited(fields.len()),
        }
    }
}

impl Layout {
    fn roles(&self) -> BTreeMap<String, FieldName> {
        let mut roles = BTreeMap::new();
        match self {
            Self::RingFile { field } => {
                roles.insert(CONTENT.to_owned(), field.clone());
            }
            Self::Separate(places) => {
                for place in places {
                    roles.insert(format!("{}{ACTIVE}", place.prefix), place.active.clone());
                    match &place.accept {
                        Accept::Nowhere => {}
                        Accept::List { field, .. } => {
                            roles.insert(format!("{}{ACCEPT}", place.prefix), field.clone());
                        }
                        Accept::Slots(fields) => {
                            roles.extend(
                                fields
                                    .iter()
                                    .enumerate()
                                    .map(|(index, field)| (slot_role(place, index), field.clone())),
                            );
                        }
                    }
                }
            }
        }
        roles
    }

    fn field_mut(&mut self, role: &str) -> Option<&mut FieldName> {
        match self {
            Self::RingFile { field } => (role == CONTENT).then_some(field),
            Self::Separate(places) => places.iter_mut().find_map(|place| {
                let name = role.strip_prefix(place.prefix.as_str())?;
                match (&mut place.accept, name) {
                    (_, ACTIVE) => Some(&mut place.active),
                    (Accept::List { field, .. }, ACCEPT) => Some(field),
                    (Accept::Slots(fields), name) => {
                        let index = match name {
                            ACCEPT => 0,
                            name => {
                                name.strip_prefix(ACCEPT)?.strip_prefix('-')?.parse::<usize>().ok()?.checked_sub(1)?
                            }
                        };
                        fields.get_mut(index)
                    }
                    (Accept::Nowhere | Accept::List { .. }, _) => None,
                }
            }),
        }
    }
}

#[derive(Clone, Debug)]
struct CodecChoice {
    name: String,
    params: BTreeMap<String, String>,
}

fn slot_role(place: &Place, index: usize) -> String {
    match index {
        0 => format!("{}{ACCEPT}", place.prefix),
        index => format!("{}{ACCEPT}-{}", place.prefix, index + 1),
    }
}

fn list(names: &[impl std::fmt::Display]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

const ACTIVE: &str = "active";
const ACCEPT: &str = "accept";
const CONTENT: &str = "content";

const BUILTIN: &[(&str, &str)] =
    &[("keyroll", include_str!("../profiles/keyroll.toml")), ("rails", include_str!("../profiles/rails.toml"))];

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str) -> FieldName {
        FieldName(name.to_owned())
    }

    fn text(fields: &Fields, name: &str) -> Option<String> {
        fields.0[&field(name)].as_ref().map(|secret| secret.expose_text().expect("text").to_owned())
    }

    #[test]
    fn every_builtin_profile_and_variant_parses_and_makes_keys_that_it_accepts_and_reads_back() {
        let names = Profile::names();
        assert_eq!(names, ["keyroll", "rails", "rails/single-slot"]);
        for name in names {
            let profile = Profile::builtin(&name).expect("a builtin profile");
            assert_eq!(profile.name(), name);
            let (first, second) =
                (profile.candidate(KeyId(1)).expect("a key"), profile.candidate(KeyId(2)).expect("a key"));
            assert!(!first.shares_material(&second));
            for (active, other) in [(&first, &second), (&second, &first)] {
                let fields = profile.render(&Configuration { active, accept_only: vec![other] }).expect("fields");
                assert!(profile.fields().iter().all(|field| fields.0.contains_key(field)));
                let parsed = profile.parse(&fields).expect("a configuration");
                assert!(parsed.active.parts[0].material.ct_eq(active.material()));
                assert_eq!(parsed.accept_only.len(), 1);
                assert!(parsed.accept_only[0].parts[0].material.ct_eq(other.material()));
                assert_eq!(profile.lint_fields(&fields), []);
            }
        }
    }

    #[test]
    fn rails_keys_are_128_hexadecimal_digits_as_text() {
        let profile = rails();
        let key = profile.candidate(KeyId(7)).expect("a key");
        let digits = key.material().expose_text().expect("text");
        assert_eq!(digits.len(), 128);
        assert!(digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));
        let fields = profile.render(&Configuration { active: &key, accept_only: vec![] }).expect("fields");
        assert_eq!(text(&fields, "SECRET_KEY_BASE").as_deref(), Some(digits));
        assert_eq!(text(&fields, "SECRET_KEY_BASE_ACCEPT"), None);
    }

    fn rails() -> Profile {
        Profile::builtin("rails").expect("the profile")
    }

    fn stored(values: &[(&str, &str)]) -> Fields {
        Fields(values.iter().map(|(name, value)| (field(name), Some(Secret::from_text(value)))).collect())
    }

    fn texts(keys: &[FoundKey]) -> Vec<&str> {
        keys.iter().map(|key| key.parts[0].material.expose_text().expect("text")).collect()
    }

    #[test]
    fn the_fields_of_rails_at_each_stage() {
        let profile = rails();
        let [a, b, c] = ["old", "new", "third"].map(|text| Secret::from_text(&text.repeat(20)));
        let [old, new, third] = [(1, &a), (3, &b), (2, &c)].map(|(id, text)| Key::single(KeyId(id), text.duplicate()));
        let written = |active: &Key, accept_only: Vec<&Key>| {
            let fields = profile.render(&Configuration { active, accept_only }).expect("fields");
            (text(&fields, "SECRET_KEY_BASE"), text(&fields, "SECRET_KEY_BASE_ACCEPT"))
        };
        let (o, n, t) = ("old".repeat(20), "new".repeat(20), "third".repeat(20));
        assert_eq!(written(&old, vec![&third]), (Some(o.clone()), Some(t.clone())), "idle, with a leftover third key");
        assert_eq!(written(&old, vec![&new, &third]), (Some(o.clone()), Some(format!("{n},{t}"))), "accepting");
        assert_eq!(
            written(&new, vec![&old, &third]),
            (Some(n.clone()), Some(format!("{o},{t}"))),
            "promoting, draining"
        );
        assert_eq!(written(&new, vec![&third]), (Some(n.clone()), Some(t)), "retiring");
        assert_eq!(written(&new, vec![]), (Some(n), None), "a cutover");
    }

    #[test]
    fn an_empty_accept_field_is_as_good_as_none() {
        for fields in
            [stored(&[("SECRET_KEY_BASE", "a")]), stored(&[("SECRET_KEY_BASE", "a"), ("SECRET_KEY_BASE_ACCEPT", "")])]
        {
            let parsed = rails().parse(&fields).expect("a configuration");
            assert_eq!((texts(&[parsed.active]), texts(&parsed.accept_only)), (vec!["a"], vec![]));
        }
        let mut absent = stored(&[("SECRET_KEY_BASE", "a")]);
        absent.0.insert(field("SECRET_KEY_BASE_ACCEPT"), None);
        assert!(rails().parse(&absent).expect("a configuration").accept_only.is_empty());
    }

    #[test]
    fn fields_that_do_not_say_one_thing_are_refused() {
        type Refused = fn(&ProfileError) -> bool;
        let cases: [(&[(&str, &str)], Refused); 7] = [
            (&[], |error| matches!(error, ProfileError::ActiveAbsent { .. })),
            (&[("SECRET_KEY_BASE_ACCEPT", "a")], |error| matches!(error, ProfileError::ActiveAbsent { .. })),
            (&[("SECRET_KEY_BASE", "")], |error| matches!(error, ProfileError::ActiveEmpty { .. })),
            (&[("SECRET_KEY_BASE", "a"), ("SECRET_KEY_BASE_ACCEPT", "b,")], |error| {
                matches!(error, ProfileError::EmptyEntry { .. })
            }),
            (&[("SECRET_KEY_BASE", "a"), ("SECRET_KEY_BASE_ACCEPT", ",")], |error| {
                matches!(error, ProfileError::EmptyEntry { .. })
            }),
            (&[("SECRET_KEY_BASE", "a"), ("SECRET_KEY_BASE_ACCEPT", "b,a")], |error| {
                matches!(error, ProfileError::SameKeyTwice)
            }),
            (&[("SECRET_KEY_BASE", "a"), ("SECRET_KEY_BASE_ACCEPT", "b,b")], |error| {
                matches!(error, ProfileError::SameKeyTwice)
            }),
        ];
        for (values, refused) in cases {
            let Err(error) = rails().parse(&stored(values)) else { panic!("{values:?} was read") };
            assert!(refused(&error), "{values:?}: {error}");
        }
        // Spaces belong to the key, because Ruby's `split` leaves them there.
        let spaced = rails().parse(&stored(&[("SECRET_KEY_BASE", "a"), ("SECRET_KEY_BASE_ACCEPT", "b, c")]));
        assert_eq!(texts(&spaced.expect("a configuration").accept_only), ["b", " c"]);
    }

    #[test]
    fn a_key_that_the_list_would_split_is_not_written() {
        let key = |id, text: &str| Key::single(KeyId(id), Secret::from_text(text));
        let (good, comma) = (key(1, "good"), key(2, "com,ma"));
        let refused = rails().render(&Configuration { active: &good, accept_only: vec![&comma] });
        assert!(matches!(refused, Err(ProfileError::Unwritable { id: KeyId(2), .. })));
        let alone = rails().render(&Configuration { active: &comma, accept_only: vec![&good] });
        assert!(alone.is_ok(), "the active key stands alone");
        let empty = rails().render(&Configuration { active: &key(1, ""), accept_only: vec![] });
        assert!(matches!(empty, Err(ProfileError::Unwritable { id: KeyId(1), .. })));
        let twice = rails().render(&Configuration { active: &good, accept_only: vec![&key(3, "good")] });
        assert!(matches!(twice, Err(ProfileError::Ring(_))));
    }

    #[test]
    fn one_slot_takes_one_key_and_says_when_there_is_no_room() {
        let profile = Profile::builtin("rails/single-slot").expect("the profile");
        assert_eq!(profile.accept_slots(), Slots::Limited(1));
        assert_eq!(rails().accept_slots(), Slots::Unlimited);
        let [a, b, c] = [1, 2, 3].map(|id| profile.candidate(KeyId(id)).expect("a key"));
        let fields = profile.render(&Configuration { active: &a, accept_only: vec![&b] }).expect("fields");
        assert_eq!(text(&fields, "OLD_SECRET_KEY_BASE").as_deref(), b.material().expose_text().ok());
        let refused = profile.render(&Configuration { active: &a, accept_only: vec![&b, &c] });
        assert!(matches!(refused, Err(ProfileError::NoRoom { keys: 2, room: 1 })));
    }

    #[test]
    fn field_names_are_the_users() {
        let names = BTreeMap::from([("accept".to_owned(), field("OLD_SECRET_KEY_BASE"))]);
        let profile = rails().with_names(&names).expect("the profile");
        assert_eq!(profile.fields(), [field("OLD_SECRET_KEY_BASE"), field("SECRET_KEY_BASE")]);
        let initializer = profile.initializer().expect("an initializer").text;
        assert!(initializer.contains(r#"ENV.fetch("OLD_SECRET_KEY_BASE", "").split(",")"#), "{initializer}");
        assert!(!initializer.contains('@'), "{initializer}");
        let wrong = BTreeMap::from([("acept".to_owned(), field("X"))]);
        assert!(matches!(rails().with_names(&wrong), Err(ProfileError::UnknownRole { .. })));
        let same = BTreeMap::from([("accept".to_owned(), field("SECRET_KEY_BASE"))]);
        assert!(matches!(rails().with_names(&same), Err(ProfileError::DoubledField { .. })));
        let two = rails().with_accept_fields(&[field("OLD_1"), field("OLD_2")]).expect("the profile");
        assert_eq!(two.accept_slots(), Slots::Limited(2));
        let one = rails().with_accept_fields(&[field("OLD")]).expect("the profile");
        assert_eq!(one.accept_slots(), Slots::Unlimited);
        let ring_file = Profile::builtin("keyroll").expect("the profile");
        assert!(matches!(ring_file.with_accept_fields(&[field("OLD")]), Err(ProfileError::UnknownRole { .. })));
    }

    #[test]
    fn the_ids_of_a_ring_file_come_back() {
        let profile = Profile::builtin("keyroll").expect("the profile");
        assert_eq!(profile.fields(), [field("content")]);
        let [a, b, c] = [4, 9, 7].map(|id| profile.candidate(KeyId(id)).expect("a key"));
        let fields = profile.render(&Configuration { active: &c, accept_only: vec![&b, &a] }).expect("fields");
        let parsed = profile.parse(&fields).expect("a configuration");
        let ids: Vec<_> = parsed.accept_only.iter().map(|key| key.id).collect();
        assert_eq!((parsed.active.id, ids), (Some(KeyId(7)), vec![Some(KeyId(9)), Some(KeyId(4))]));
    }

    const TWO_PARTS: &str = r#"
        schema = 1
        name = "two"
        title = "Two parts"
        parts = [
            { name = "encryption", encoding = "base64", material = "bytes", length = { exactly = 32 }, generate = { random-bytes = 32, as = "raw" } },
            { name = "signing", encoding = "hex", material = "bytes", length = { at-least = 16 }, generate = { random-bytes = 64, as = "raw" } },
        ]
        [layout]
        kind = "separate-parts"
        [layout.parts]
        encryption = { active = "ENC", accept = { kind = "list", field = "ENC_OLD", separator = " " } }
        signing = { active = "SIG", accept = { kind = "slots", fields = ["SIG_OLD", "SIG_OLDER"] } }
    "#;

    #[test]
    fn the_parts_of_a_key_move_together() {
        let profile = Profile::from_toml(TWO_PARTS).expect("a profile");
        assert_eq!(profile.accept_slots(), Slots::Limited(2), "the part with the least room decides");
        assert_eq!(
            profile.roles().into_keys().collect::<Vec<_>>(),
            ["encryption.accept", "encryption.active", "signing.accept", "signing.accept-2", "signing.active"]
        );
        let names = BTreeMap::from([("signing.accept-2".to_owned(), field("SIG_2"))]);
        let profile = profile.with_names(&names).expect("a profile");
        let [a, b, c] = [1, 2, 3].map(|id| profile.candidate(KeyId(id)).expect("a key"));
        let fields = profile.render(&Configuration { active: &a, accept_only: vec![&c, &b] }).expect("fields");
        assert_eq!(fields.0.len(), 5);
        let parsed = profile.parse(&fields).expect("a configuration");
        let accept: Vec<_> = parsed.accept_only.into_iter().map(|key| key.into_key(KeyId(9)).expect("a key")).collect();
        assert!(parsed.active.into_key(KeyId(8)).expect("a key").shares_material(&a));
        for (found, key) in accept.iter().zip([&c, &b]) {
            assert!(found.parts().iter().zip(key.parts()).all(|(left, right)| left.material.ct_eq(&right.material)));
        }
        let mut uneven = profile.render(&Configuration { active: &a, accept_only: vec![&b] }).expect("fields");
        uneven.0.insert(field("SIG_OLD"), None);
        assert!(matches!(profile.parse(&uneven), Err(ProfileError::UnevenParts { found: 0, expected: 1, .. })));
        let single = Key::single(KeyId(5), Secret::from_text("one part"));
        let refused = profile.render(&Configuration { active: &single, accept_only: vec![] });
        assert!(matches!(refused, Err(ProfileError::WrongParts { .. })));
    }

    #[test]
    fn a_profile_with_a_mistake_is_refused_with_its_place() {
        let with = |from: &str, to: &str| {
            assert!(TWO_PARTS.contains(from), "{from}");
            Profile::from_toml(&TWO_PARTS.replacen(from, to, 1))
        };
        for (from, to) in [
            ("schema = 1", "schema = 2"),
            ("title", "titel"),
            ("exactly", "exact"),
            ("random-bytes = 32", "random-bytes = 8"),
            ("name = \"signing\"", "name = \"encryption\""),
            ("signing = {", "other = {"),
            ("separator = \" \"", "separator = \"ä\""),
            ("fields = [\"SIG_OLD\", \"SIG_OLDER\"]", "fields = []"),
            ("kind = \"separate-parts\"", "kind = \"several\""),
        ] {
            assert!(matches!(with(from, to), Err(ProfileError::Malformed { .. })), "{from} -> {to}");
        }
        assert!(matches!(with("\"SIG_OLD\",", "\"ENC\","), Err(ProfileError::DoubledField { .. })));
        let Err(error) = Profile::builtin("rail") else { panic!("there is no such profile") };
        assert_eq!(error.to_string(), "there is no profile `rail`; there are `keyroll`, `rails`, `rails/single-slot`");
        assert!(matches!(Profile::builtin("rails/double-slot"), Err(ProfileError::Unknown { .. })));
    }

    #[test]
    fn keys_that_are_not_fit_are_named_without_showing_them() {
        let sample = "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf";
        let template = r#"ENV["OLD_SECRET_KEY_BASE"]"#;
        let findings =
            rails().lint_fields(&stored(&[("SECRET_KEY_BASE", sample), ("SECRET_KEY_BASE_ACCEPT", template)]));
        let what: Vec<_> = findings.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(
            what,
            [
                "the active key is not fit: the key is a published sample that anybody can look up",
                "the accepted key number 1 is not fit: the key has 26 bytes and needs at least 32",
                "the accepted key number 1 is not fit: the key is the text of a template that was never filled in, and so it is public",
            ]
        );
        assert!(!format!("{findings:?}").contains(&sample[..8]));
        let equal = rails().lint_fields(&stored(&[("SECRET_KEY_BASE", sample), ("SECRET_KEY_BASE_ACCEPT", sample)]));
        assert_eq!(equal[0].lint, "same-key-twice");
        let unreadable = rails().lint_fields(&stored(&[("SECRET_KEY_BASE", "")]));
        assert_eq!(unreadable[0].lint, "unreadable-fields");
    }

    #[test]
    fn every_builtin_profile_names_a_codec_that_there_is() {
        for name in Profile::names() {
            let profile = Profile::builtin(&name).expect("the profile");
            let (codec, params) = profile.codec().expect("a codec");
            let mut params = params.clone();
            params.entry("cookie".to_owned()).or_insert_with(|| "_app_session".to_owned());
            let built = crate::codec::build(codec, &params).expect("a codec");
            let key = profile.candidate(KeyId(1)).expect("a key");
            let session = crate::codec::Mint {
                payload: b"{}",
                issued_at: crate::UnixTime(1),
                expires_at: Some(crate::UnixTime(9)),
            };
            let token = built.mint(&key, &session).expect("a session");
            assert!(built.open(&[&key], &token, crate::UnixTime(2)).is_ok(), "{name}");
        }
    }

    #[test]
    fn the_initializer_passes_its_own_lints() {
        for name in ["rails", "rails/single-slot"] {
            let profile = Profile::builtin(name).expect("the profile");
            let Initializer { path, text } = profile.initializer().expect("an initializer");
            assert_eq!(profile.lint(&[SourceFile { path, text }]), [], "{name}");
        }
    }
}
