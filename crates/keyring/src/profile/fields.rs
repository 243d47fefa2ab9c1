//! Between keys and fields: what a configuration looks like in a store, and back.
//!
//! A list with an empty entry is refused, because some frameworks take the empty text for a key, and everybody knows it.

use std::num::NonZeroUsize;

use super::{
    Configuration, FieldName, Fields, Finding, FoundKey, ParsedConfiguration, PartRule, Profile, ProfileError, Slots,
    layout::{Accept, Layout, Place},
};
use crate::{Encoding, Key, KeyState, Part, Ring, Secret, ring_file};

/// The fields that configure a fleet like this.
pub(super) fn render(profile: &Profile, configuration: &Configuration<'_>) -> Result<Fields, ProfileError> {
    let accepted = configuration.accept_only.len();
    let room = match profile.accept_slots() {
        Slots::OneKeyOnly => Some(0),
        Slots::Limited(room) => Some(room),
        Slots::Unlimited => None,
    };
    if let Some(room) = room.filter(|room| accepted > *room) {
        return Err(ProfileError::NoRoom { keys: accepted, room });
    }
    for key in std::iter::once(&configuration.active).chain(&configuration.accept_only) {
        if !key.parts().iter().map(|part| &part.name).eq(profile.parts.iter().map(|rule| &rule.name)) {
            return Err(ProfileError::WrongParts {
                id: key.id(),
                parts: profile.parts.iter().map(|rule| rule.name.clone()).collect(),
            });
        }
    }
    // The ring refuses what no configuration may be, also where the fields could say it.
    let ring = ring(configuration)?;
    let mut fields = Fields::default();
    match &profile.layout {
        Layout::RingFile { field } => {
            let text = ring_file::render(&ring);
            // The line break at the end belongs to the file. As a part of the value it would not read back from a text
            // file that has none.
            let value = text.expose().strip_suffix(b"\n").unwrap_or_else(|| text.expose());
            fields.0.insert(field.clone(), Some(Secret::from_bytes(value.to_vec())));
        }
        Layout::Separate(places) => {
            for (index, (place, rule)) in places.iter().zip(&profile.parts).enumerate() {
                render_place(place, rule, index, configuration, &mut fields)?;
            }
        }
    }
    Ok(fields)
}

/// The configuration that these fields hold.
pub(super) fn parse(profile: &Profile, fields: &Fields) -> Result<ParsedConfiguration, ProfileError> {
    let parsed = match &profile.layout {
        Layout::RingFile { field } => parse_ring_file(field, fields)?,
        Layout::Separate(places) => parse_places(profile, places, fields)?,
    };
    let mut seen: Vec<&FoundKey> = vec![&parsed.active];
    for key in &parsed.accept_only {
        if seen.iter().any(|earlier| same_material(earlier, key)) {
            return Err(ProfileError::SameKeyTwice);
        }
        seen.push(key);
    }
    Ok(parsed)
}

/// What is wrong with the keys in these fields.
pub(super) fn lint(profile: &Profile, fields: &Fields) -> Vec<Finding> {
    let parsed = match parse(profile, fields) {
        Ok(parsed) => parsed,
        Err(ProfileError::SameKeyTwice) => {
            return vec![Finding {
                lint: "same-key-twice".into(),
                path: list_fields(profile),
                line: None,
                what: "the same key stands there twice".into(),
                consequence:
                    "the old key and the new one are equal: either the rotation has not happened, or sessions under \
                              the other key do not open"
                        .into(),
                fix: "remove the key from the accepted ones, or put the other key there".into(),
            }];
        }
        Err(error) => {
            return vec![Finding {
                lint: "unreadable-fields".into(),
                path: list_fields(profile),
                line: None,
                what: with_sources(&error),
                consequence: "the application may not start, or may run with another key than you think".into(),
                fix: "correct the field in the store".into(),
            }];
        }
    };
    let named = std::iter::once(("active", None, &parsed.active)).chain(
        parsed.accept_only.iter().enumerate().map(|(index, key)| ("accepted", NonZeroUsize::new(index + 1), key)),
    );
    let mut findings = Vec::new();
    for (role, number, key) in named {
        let Err(weaknesses) = profile.check(&key.parts) else { continue };
        for (part, weakness) in weaknesses {
            let which = match number {
                Some(number) => format!("the {role} key number {number}"),
                None => format!("the {role} key"),
            };
            let of_part = if profile.parts.len() > 1 { format!(" (part `{part}`)") } else { String::new() };
            findings.push(Finding {
                lint: "weak-key".into(),
                path: list_fields(profile),
                line: None,
                what: format!("{which}{of_part} is not fit: {weakness}"),
                consequence: "whoever can guess or look up the key can forge sessions".into(),
                fix: "rotate to a key that `keyroll key generate` makes".into(),
            });
        }
    }
    findings
}

fn list_fields(profile: &Profile) -> String {
    profile.fields().into_iter().map(|field| field.0).collect::<Vec<_>>().join(", ")
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn ring(configuration: &Configuration<'_>) -> Result<Ring, ProfileError> {
    let active = configuration.active.duplicate();
    let accept_only = configuration
        .accept_only
        .iter()
        .map(|key| {
            // A configuration does not record who has minted. Ids only grow, so below the active one means before it.
            let before = key.id() < active.id();
            (key.duplicate(), if before { KeyState::Deactivated } else { KeyState::ActiveForProcessing })
        })
        .collect();
    Ring::assemble(active, accept_only, Vec::new()).map_err(ProfileError::Ring)
}

fn render_place(
    place: &Place,
    rule: &PartRule,
    index: usize,
    configuration: &Configuration<'_>,
    fields: &mut Fields,
) -> Result<(), ProfileError> {
    if let Accept::Behind { separator } = place.accept {
        let keys = std::iter::once(&configuration.active).chain(&configuration.accept_only);
        let texts =
            keys.map(|key| encode(key, index, rule, &place.active, Some(separator))).collect::<Result<Vec<_>, _>>()?;
        fields.0.insert(place.active.clone(), join(&texts, separator));
        return Ok(());
    }
    let active = encode(configuration.active, index, rule, &place.active, None)?;
    fields.0.insert(place.active.clone(), Some(active));
    match &place.accept {
        // The one is nothing to write, the other is written.
        Accept::Nowhere | Accept::Behind { .. } => {}
        Accept::List { field, separator } => {
            let texts = configuration
                .accept_only
                .iter()
                .map(|key| encode(key, index, rule, field, Some(*separator)))
                .collect::<Result<Vec<_>, _>>()?;
            fields.0.insert(field.clone(), join(&texts, *separator));
        }
        Accept::Slots(slots) => {
            for (slot, field) in slots.iter().enumerate() {
                let text =
                    configuration.accept_only.get(slot).map(|key| encode(key, index, rule, field, None)).transpose()?;
                fields.0.insert(field.clone(), text);
            }
        }
    }
    Ok(())
}

fn encode(
    key: &Key,
    index: usize,
    rule: &PartRule,
    field: &FieldName,
    separator: Option<u8>,
) -> Result<Secret, ProfileError> {
    let unwritable = |reason| ProfileError::Unwritable { id: key.id(), field: field.clone(), reason };
    let material = &key.parts()[index].material;
    if material.is_empty() {
        return Err(unwritable("it is empty"));
    }
    if rule.encoding == Encoding::Text && material.expose_text().is_err() {
        return Err(unwritable("it is not UTF-8 text"));
    }
    let text = material.encoded(rule.encoding);
    if separator.is_some_and(|separator| text.expose().contains(&separator)) {
        return Err(unwritable("it holds the separator of the list"));
    }
    Ok(text)
}

fn join(texts: &[Secret], separator: u8) -> Option<Secret> {
    if texts.is_empty() {
        return None;
    }
    let mut joined = Vec::with_capacity(texts.iter().map(|text| text.len() + 1).sum());
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            joined.push(separator);
        }
        joined.extend_from_slice(text.expose());
    }
    Some(Secret::from_bytes(joined))
}

fn parse_ring_file(field: &FieldName, fields: &Fields) -> Result<ParsedConfiguration, ProfileError> {
    let text = active_text(field, fields)?;
    let ring =
        ring_file::parse(text.expose()).map_err(|source| ProfileError::RingFile { field: field.clone(), source })?;
    let found = |key: &Key| FoundKey { id: Some(key.id()), parts: key.parts().iter().map(Part::duplicate).collect() };
    Ok(ParsedConfiguration { active: found(ring.active()), accept_only: ring.accept_only().map(found).collect() })
}

fn parse_places(profile: &Profile, places: &[Place], fields: &Fields) -> Result<ParsedConfiguration, ProfileError> {
    let mut active = FoundKey { id: None, parts: Vec::new() };
    let mut accept_only: Vec<FoundKey> = Vec::new();
    for (index, (place, rule)) in places.iter().zip(&profile.parts).enumerate() {
        let text = active_text(&place.active, fields)?;
        let mut behind = Vec::new();
        let part = if let Accept::Behind { separator } = place.accept {
            let mut parts = parse_list(Some(text), separator, rule, &place.active)?.into_iter();
            let first = parts.next();
            behind.extend(parts);
            first.ok_or_else(|| ProfileError::ActiveEmpty { field: place.active.clone() })?
        } else {
            decode(text.expose(), rule, &place.active)?
        };
        active.parts.push(part);
        let (field, parts) = match &place.accept {
            Accept::Nowhere | Accept::Behind { .. } => (&place.active, behind),
            Accept::List { field, separator } => (field, parse_list(present(field, fields), *separator, rule, field)?),
            Accept::Slots(slots) => {
                let parts = slots
                    .iter()
                    .filter_map(|field| present(field, fields).map(|text| decode(text.expose(), rule, field)))
                    .collect::<Result<Vec<_>, _>>()?;
                (&slots[0], parts)
            }
        };
        if index == 0 {
            accept_only = parts.into_iter().map(|part| FoundKey { id: None, parts: vec![part] }).collect();
        } else if parts.len() == accept_only.len() {
            accept_only.iter_mut().zip(parts).for_each(|(key, part)| key.parts.push(part));
        } else {
            let (found, expected) = (parts.len(), accept_only.len());
            return Err(ProfileError::UnevenParts { field: field.clone(), found, expected });
        }
    }
    Ok(ParsedConfiguration { active, accept_only })
}

fn parse_list(
    text: Option<&Secret>,
    separator: u8,
    rule: &PartRule,
    field: &FieldName,
) -> Result<Vec<Part>, ProfileError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    text.expose()
        .split(|byte| *byte == separator)
        .map(|entry| {
            if entry.is_empty() {
                return Err(ProfileError::EmptyEntry { field: field.clone() });
            }
            decode(entry, rule, field)
        })
        .collect()
}

fn decode(text: &[u8], rule: &PartRule, field: &FieldName) -> Result<Part, ProfileError> {
    let material = Secret::from_bytes(text.to_vec())
        .decoded(rule.encoding)
        .map_err(|source| ProfileError::Field { field: field.clone(), source })?;
    Ok(Part { name: rule.name.clone(), material })
}

fn active_text<'a>(field: &FieldName, fields: &'a Fields) -> Result<&'a Secret, ProfileError> {
    match fields.0.get(field) {
        Some(Some(text)) if text.is_empty() => Err(ProfileError::ActiveEmpty { field: field.clone() }),
        Some(Some(text)) => Ok(text),
        Some(None) | None => Err(ProfileError::ActiveAbsent { field: field.clone() }),
    }
}

/// An accept field that is empty is as good as absent: people empty a variable rather than removing it.
fn present<'a>(field: &FieldName, fields: &'a Fields) -> Option<&'a Secret> {
    fields.0.get(field).and_then(Option::as_ref).filter(|text| !text.is_empty())
}

fn same_material(left: &FoundKey, right: &FoundKey) -> bool {
    let mut same = false;
    for mine in &left.parts {
        for theirs in &right.parts {
            same |= mine.material.ct_eq(&theirs.material);
        }
    }
    same
}
