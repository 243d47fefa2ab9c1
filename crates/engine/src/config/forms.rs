//! The shapes in which people write a value: a scalar, a list of scalars, or a group of fields.
//!
//! Serde's untagged enums would lose every position inside of them, so these read the event stream themselves.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::At;

/// A scalar, kept as the text that stands in the file until it is known what it must be.
pub(super) trait Scalar: From<String> {
    /// What must be written, in words.
    const EXPECTED: &'static str;
}

macro_rules! scalars {
    ($($(#[$doc:meta])* $name:ident, $expected:literal, $schema:tt;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Deserialize)]
        #[serde(transparent)]
        pub(super) struct $name(pub(super) String);

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl Scalar for $name {
            const EXPECTED: &'static str = $expected;
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

scalars! {
    /// Any text.
    Text, "a text", { "type": ["string", "number", "boolean"] };
    /// `3h`, `15 minutes`.
    DurationText, "a duration such as `3h` or `15 minutes`",
        { "type": ["string", "integer"], "examples": ["3h", "90d", "1h 30m", "15 minutes"] };
    /// `Mon-Thu 09:00-16:00 Europe/London`.
    WindowText, "days, hours and a time zone", { "type": "string", "examples": ["Mon-Thu 09:00-16:00 Europe/London"] };
    /// A path.
    PathText, "a path", { "type": "string" };
    /// A whole number.
    NumberText, "a whole number", { "type": "integer", "minimum": 0 };
    /// `5 %`.
    ShareText, "a share such as `5 %`", { "type": "string", "pattern": "^ *[0-9]{1,3}([.][0-9])? *% *$", "examples": ["99.5 %"] };
    /// `200`, `2xx` or `200-299`.
    StatusText, "a status such as `200`, `2xx` or `200-299`", { "type": ["string", "integer"], "examples": [200, "2xx", "300-303"] };
    /// `9001` or `9001-9003`.
    PortText, "a port such as `9001`, or a range such as `9001-9003`", { "type": ["string", "integer"], "examples": [9001, "9001-9003"] };
    /// A regular expression.
    PatternText, "a regular expression", { "type": "string" };
    /// An address.
    UrlText, "an address such as `http://10.0.0.5:9000`", { "type": "string", "format": "uri" };
}

/// One scalar, or a list of them.
#[derive(Clone, Debug)]
pub(super) enum Many<S> {
    One(S),
    List(Vec<At<S>>),
}

/// A scalar that stands for a group of fields, or the group.
#[derive(Clone, Debug)]
pub(super) enum Short<S, T> {
    Scalar(S),
    Fields(Box<T>),
}

/// A scalar or a list that stands for a group of fields, or the group.
#[derive(Clone, Debug)]
pub(super) enum ShortList<S, T> {
    Scalar(S),
    List(Vec<At<S>>),
    Fields(Box<T>),
}

/// A list of groups that stands for a group of fields, or the group.
#[derive(Clone, Debug)]
pub(super) enum Groups<I, T> {
    List(Vec<At<I>>),
    Fields(Box<T>),
}

struct GroupShapes<I, T>(PhantomData<(I, T)>);

impl<'de, I: Deserialize<'de>, T: Deserialize<'de>> Visitor<'de> for GroupShapes<I, T> {
    type Value = Groups<I, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list, or a group of fields,")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Groups::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(|fields| Groups::Fields(Box::new(fields)))
    }
}

impl<'de, I: Deserialize<'de>, T: Deserialize<'de>> Deserialize<'de> for Groups<I, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GroupShapes(PhantomData))
    }
}

impl<I: JsonSchema, T: JsonSchema> JsonSchema for Groups<I, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("GroupsOf{}Or{}", I::schema_name(), T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (one, fields) = (generator.subschema_for::<I>(), generator.subschema_for::<T>());
        json_schema!({ "anyOf": [{ "type": "array", "items": one }, fields] })
    }
}

struct Shapes<S, T>(PhantomData<(S, T)>);

impl<'de, S: Scalar + Deserialize<'de>, T: Deserialize<'de>> Visitor<'de> for Shapes<S, T> {
    type Value = ShortList<S, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(S::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(ShortList::Scalar(S::from(text.to_owned())))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(ShortList::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(|fields| ShortList::Fields(Box::new(fields)))
    }
}

/// Stands where a group of fields is not allowed.
enum NoFields {}

impl<'de> Deserialize<'de> for NoFields {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(NOT_A_GROUP))
    }
}

impl<'de, S: Scalar + Deserialize<'de>, T: Deserialize<'de>> Deserialize<'de> for ShortList<S, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Shapes(PhantomData))
    }
}

impl<'de, S: Scalar + Deserialize<'de>, T: Deserialize<'de>> Deserialize<'de> for Short<S, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match ShortList::<S, T>::deserialize(deserializer)? {
            ShortList::Scalar(scalar) => Ok(Self::Scalar(scalar)),
            ShortList::Fields(fields) => Ok(Self::Fields(fields)),
            ShortList::List(_) => Err(D::Error::custom(NOT_A_LIST)),
        }
    }
}

impl<'de, S: Scalar + Deserialize<'de>> Deserialize<'de> for Many<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(Shapes::<S, NoFields>(PhantomData))? {
            ShortList::Scalar(scalar) => Ok(Self::One(scalar)),
            ShortList::List(list) => Ok(Self::List(list)),
            ShortList::Fields(never) => match *never {},
        }
    }
}

impl<S: JsonSchema> JsonSchema for Many<S> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("ManyOf{}", S::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<S>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

impl<S: JsonSchema, T: JsonSchema> JsonSchema for Short<S, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}Or{}", S::schema_name(), T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (one, fields) = (generator.subschema_for::<S>(), generator.subschema_for::<T>());
        json_schema!({ "anyOf": [one, fields] })
    }
}

impl<S: JsonSchema, T: JsonSchema> JsonSchema for ShortList<S, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("ManyOf{}Or{}", S::schema_name(), T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (one, fields) = (generator.subschema_for::<S>(), generator.subschema_for::<T>());
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }, fields] })
    }
}

pub(super) const NOT_A_GROUP: &str = "a group of fields can't stand here";
pub(super) const NOT_A_LIST: &str = "a list can't stand here";
