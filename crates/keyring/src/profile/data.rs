//! The profile as TOML text: strict, so that a misspelt setting is an error and not a default.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    CodecChoice, Contention, ErrorCause, ErrorPlace, ErrorText, FieldName, Initializer, PartRule, Profile,
    ProfileError, Reseal,
    layout::{Accept, Layout, Place},
    lint::Lint,
};
use crate::{
    Encoding, PartName,
    strength::{Length, MaterialKind, Requirement},
};

/// Reads a profile, or one of its variants.
pub(super) fn load(text: &str, variant: Option<&str>) -> Result<Profile, ProfileError> {
    let mut file = parse(text)?;
    let mut name = file.name.clone();
    if let Some(variant) = variant {
        let Some(changes) = file.variants.remove(variant) else {
            return Err(ProfileError::NoSuchVariant { profile: name, variant: variant.to_owned() });
        };
        name = format!("{name}/{variant}");
        file.title = changes.title.unwrap_or(file.title);
        file.layout = changes.layout.unwrap_or(file.layout);
        file.initializer = changes.initializer.or(file.initializer);
        file.different_active_keys = changes.different_active_keys.unwrap_or(file.different_active_keys);
    }
    file.build(name)
}

/// The names of a profile's variants.
pub(super) fn variants(text: &str) -> Result<Vec<String>, ProfileError> {
    Ok(parse(text)?.variants.into_keys().collect())
}

fn parse(text: &str) -> Result<File, ProfileError> {
    let file: File = toml::from_str(text).map_err(|error| malformed(error.to_string()))?;
    if file.schema != SCHEMA {
        return Err(malformed(format!("its schema is {}, and this program reads {SCHEMA}", file.schema)));
    }
    Ok(file)
}

fn malformed(reason: impl Into<String>) -> ProfileError {
    ProfileError::Malformed { reason: reason.into() }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    schema: u64,
    name: String,
    title: String,
    parts: Vec<PartFile>,
    layout: LayoutFile,
    codec: Option<CodecFile>,
    initializer: Option<InitializerFile>,
    #[serde(default)]
    different_active_keys: Contention,
    #[serde(default)]
    error_texts: Vec<ErrorTextFile>,
    #[serde(default)]
    lints: Vec<Lint>,
    #[serde(default)]
    variants: BTreeMap<String, VariantFile>,
}

/// What a variant changes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct VariantFile {
    title: Option<String>,
    layout: Option<LayoutFile>,
    initializer: Option<InitializerFile>,
    different_active_keys: Option<Contention>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PartFile {
    name: String,
    encoding: Encoding,
    material: MaterialKind,
    length: LengthFile,
    generate: GenerateFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum LengthFile {
    AtLeast(usize),
    Exactly(usize),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct GenerateFile {
    random_bytes: usize,
    r#as: Encoding,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
enum LayoutFile {
    Separate { active: FieldName, accept: AcceptFile },
    SeparateParts { parts: BTreeMap<String, PlaceFile> },
    RingFile { field: FieldName },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PlaceFile {
    active: FieldName,
    accept: AcceptFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
enum AcceptFile {
    None {},
    Behind { separator: char },
    List { field: FieldName, separator: char },
    Slots { fields: Vec<FieldName> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct CodecFile {
    name: String,
    reseals_on_read: bool,
    #[serde(default)]
    params: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct InitializerFile {
    path: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ErrorTextFile {
    r#where: ErrorPlace,
    text: String,
    #[serde(default)]
    cause: ErrorCause,
}

impl File {
    fn build(self, name: String) -> Result<Profile, ProfileError> {
        if self.parts.is_empty() {
            return Err(malformed("a key has at least one part"));
        }
        let parts: Vec<_> = self.parts.into_iter().map(PartFile::rule).collect::<Result<_, _>>()?;
        for (index, part) in parts.iter().enumerate() {
            if parts[..index].iter().any(|earlier| earlier.name == part.name) {
                return Err(malformed(format!("there are two parts named `{}`", part.name)));
            }
        }
        let layout = self.layout.layout(&parts)?;
        let reseal = match &self.codec {
            Some(CodecFile { reseals_on_read: true, .. }) => Reseal::OnRead,
            Some(_) | None => Reseal::Never,
        };
        Ok(Profile {
            name,
            title: self.title,
            parts,
            layout,
            codec: self.codec.map(|codec| CodecChoice { name: codec.name, params: codec.params }),
            reseal,
            contention: self.different_active_keys,
            initializer: self.initializer.map(|file| Initializer { path: file.path, text: file.text }),
            error_texts: self
                .error_texts
                .into_iter()
                .map(|file| ErrorText { place: file.r#where, text: file.text, cause: file.cause })
                .collect(),
            lints: self.lints,
        })
    }
}

impl PartFile {
    fn rule(self) -> Result<PartRule, ProfileError> {
        if self.generate.random_bytes < LEAST_RANDOM_BYTES {
            return Err(malformed(format!("a generated key needs at least {LEAST_RANDOM_BYTES} random bytes")));
        }
        let length = match self.length {
            LengthFile::AtLeast(least) => Length::AtLeast(least),
            LengthFile::Exactly(exactly) => Length::Exactly(exactly),
        };
        Ok(PartRule {
            name: PartName(self.name),
            encoding: self.encoding,
            requirement: Requirement::new(length, self.material),
            random_bytes: self.generate.random_bytes,
            random_form: self.generate.r#as,
        })
    }
}

impl LayoutFile {
    fn layout(self, rules: &[PartRule]) -> Result<Layout, ProfileError> {
        match self {
            Self::RingFile { field } => Ok(Layout::RingFile { field }),
            Self::Separate { active, accept } => match rules {
                [_] => Ok(Layout::Separate(vec![PlaceFile { active, accept }.place(String::new())?])),
                _ => Err(malformed("a key with several parts needs the layout `separate-parts`")),
            },
            Self::SeparateParts { mut parts } => {
                let places = rules
                    .iter()
                    .map(|rule| match parts.remove(&rule.name.0) {
                        Some(file) => file.place(format!("{}.", rule.name)),
                        None => Err(malformed(format!("the layout has no place for the part `{}`", rule.name))),
                    })
                    .collect::<Result<_, _>>()?;
                match parts.into_keys().next() {
                    Some(name) => Err(malformed(format!("the layout has a place for `{name}`, which is no part"))),
                    None => Ok(Layout::Separate(places)),
                }
            }
        }
    }
}

impl PlaceFile {
    fn place(self, prefix: String) -> Result<Place, ProfileError> {
        let accept = match self.accept {
            AcceptFile::None {} => Accept::Nowhere,
            AcceptFile::Behind { separator } => Accept::Behind { separator: ascii(separator)? },
            AcceptFile::List { field, separator } => Accept::List { field, separator: ascii(separator)? },
            AcceptFile::Slots { fields } if fields.is_empty() => {
                return Err(malformed("without a slot, write `accept = { kind = \"none\" }`"));
            }
            AcceptFile::Slots { fields } => Accept::Slots(fields),
        };
        Ok(Place { prefix, active: self.active, accept })
    }
}

fn ascii(separator: char) -> Result<u8, ProfileError> {
    let byte = u8::try_from(separator).ok().filter(u8::is_ascii);
    byte.ok_or_else(|| malformed("the separator of a list is one ASCII character"))
}

const SCHEMA: u64 = 1;
const LEAST_RANDOM_BYTES: usize = 16;
