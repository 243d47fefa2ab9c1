//! Which fields hold which keys, and how many find room.
//!
//! A field is known by its role, so that users can give it the name that their application reads.

use std::collections::BTreeMap;

use super::FieldName;

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

/// Which fields hold what.
#[derive(Clone, Debug)]
pub(super) enum Layout {
    /// One field for the active key and others for the accepted ones, for each part in the order of the parts.
    Separate(Vec<Place>),
    /// One field that holds a ring file.
    RingFile { field: FieldName },
}

#[derive(Clone, Debug)]
pub(super) struct Place {
    /// What stands before the role's name: nothing where there is one part only.
    pub(super) prefix: String,
    pub(super) active: FieldName,
    pub(super) accept: Accept,
}

/// How the accept-only keys of one part are held.
#[derive(Clone, Debug)]
pub(super) enum Accept {
    /// Not at all.
    Nowhere,
    /// In the active key's own field, behind it.
    Behind { separator: u8 },
    /// One field with all of them.
    List { field: FieldName, separator: u8 },
    /// One field for each.
    Slots(Vec<FieldName>),
}

impl Accept {
    pub(super) fn slots(&self) -> Slots {
        match self {
            Self::Nowhere => Slots::OneKeyOnly,
            Self::Behind { .. } | Self::List { .. } => Slots::Unlimited,
            Self::Slots(fields) => Slots::Limited(fields.len()),
        }
    }
}

impl Layout {
    pub(super) fn roles(&self) -> BTreeMap<String, FieldName> {
        let mut roles = BTreeMap::new();
        match self {
            Self::RingFile { field } => {
                roles.insert(CONTENT.to_owned(), field.clone());
            }
            Self::Separate(places) => {
                for place in places {
                    roles.insert(format!("{}{ACTIVE}", place.prefix), place.active.clone());
                    match &place.accept {
                        Accept::Nowhere | Accept::Behind { .. } => {}
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

    pub(super) fn field_mut(&mut self, role: &str) -> Option<&mut FieldName> {
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
                    (Accept::Nowhere | Accept::Behind { .. } | Accept::List { .. }, _) => None,
                }
            }),
        }
    }
}

fn slot_role(place: &Place, index: usize) -> String {
    match index {
        0 => format!("{}{ACCEPT}", place.prefix),
        index => format!("{}{ACCEPT}-{}", place.prefix, index + 1),
    }
}

pub(super) const ACTIVE: &str = "active";
pub(super) const ACCEPT: &str = "accept";
pub(super) const CONTENT: &str = "content";
