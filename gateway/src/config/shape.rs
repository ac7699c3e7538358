//! The shapes that values of the configuration take: with a position, of one form or another, times and sizes.
//!
//! Serde's own untagged enums lose positions, because they copy a value before they try it. A TOML value shows by its
//! type which form it has, so [`Either`] looks at that and passes the value on.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{BoolDeserializer, MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use crate::limits::{KINDS, TABLE, Unit};

/// How a time is written.
pub(super) const TIME_PATTERN: &str = "^([0-9]+(ms|s|m|h|d))+$";

/// How a size is written, when it is no plain number.
pub(super) const SIZE_PATTERN: &str = "^[0-9]+([kKMGT]?B|[KMGT]iB)?$";

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// In bytes of the file.
    pub span: Range<usize>,
    /// What stands there.
    pub value: T,
}

/// A value that may be written in a short form or in another.
#[derive(Clone, Debug)]
pub enum Either<A, B> {
    /// The form that is told by its type alone.
    Short(A),
    /// Any other.
    Long(B),
}

/// A type that is told from others by how its value is written.
pub trait Short {
    /// How it is written.
    const FORM: Form;
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `"text"`
    Text,
    /// `true`
    Boolean,
    /// `[…]`
    List,
}

/// One text or several.
pub type Strings = Either<String, Vec<At<String>>>;

/// The word `"dev"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Dev {
    /// A self-signed certificate for localhost, made at the start.
    Dev,
}

/// A time such as `"250ms"`, not read yet.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(transparent)]
pub struct Time(pub String);

/// A size such as `"64KiB"` or a number of bytes, not read yet.
#[derive(Clone, Debug)]
pub enum Size {
    /// With a unit.
    Text(String),
    /// In bytes.
    Bytes(u64),
}

/// A table whose keys are not the gateway's, as JSON text. The check makes that of it, while it is known where each key
/// stands: so the keys keep the order of the file.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(transparent)]
pub struct Json(pub String);

/// `[limits]`: any of the rows of the table of bounds. Which of them takes a number, a size or a time, the schema says.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(transparent)]
pub struct Limits(pub BTreeMap<String, At<Size>>);

impl Short for String {
    const FORM: Form = Form::Text;
}

impl Short for Time {
    const FORM: Form = Form::Text;
}

impl Short for Dev {
    const FORM: Form = Form::Text;
}

impl Short for bool {
    const FORM: Form = Form::Boolean;
}

impl<T> Short for Vec<T> {
    const FORM: Form = Form::List;
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(deserializer)?;
        Ok(At { span: spanned.span(), value: spanned.into_inner() })
    }
}

impl<'de, A, B> Deserialize<'de> for Either<A, B>
where
    A: Short + Deserialize<'de>,
    B: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EitherVisitor(PhantomData))
    }
}

struct EitherVisitor<A, B>(PhantomData<(A, B)>);

impl<A: Short, B> EitherVisitor<A, B> {
    fn pass<'de, D>(form: Form, value: D) -> Result<Either<A, B>, D::Error>
    where
        A: Deserialize<'de>,
        B: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        if A::FORM == form { A::deserialize(value).map(Either::Short) } else { B::deserialize(value).map(Either::Long) }
    }
}

impl<'de, A, B> Visitor<'de> for EitherVisitor<A, B>
where
    A: Short + Deserialize<'de>,
    B: Deserialize<'de>,
{
    type Value = Either<A, B>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another type")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let value: StrDeserializer<'_, E> = text.into_deserializer();
        Self::pass(Form::Text, value)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        let value: BoolDeserializer<E> = value.into_deserializer();
        Self::pass(Form::Boolean, value)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, items: S) -> Result<Self::Value, S::Error> {
        Self::pass(Form::List, SeqAccessDeserializer::new(items))
    }

    fn visit_map<M: MapAccess<'de>>(self, table: M) -> Result<Self::Value, M::Error> {
        B::deserialize(MapAccessDeserializer::new(table)).map(Either::Long)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;

        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                Ok(Size::Text(text.to_owned()))
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes).map(Size::Bytes).map_err(|_| E::custom("takes no negative size"))
            }
        }

        deserializer.deserialize_any(SizeVisitor)
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

impl<A: JsonSchema, B: JsonSchema> JsonSchema for Either<A, B> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}_or_{}", A::schema_name(), B::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<A>(), generator.subschema_for::<B>()] })
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": TIME_PATTERN })
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "pattern": SIZE_PATTERN },
            { "type": "integer", "minimum": 0 },
        ] })
    }
}

impl JsonSchema for Json {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": true })
    }
}

impl JsonSchema for Limits {
    fn schema_name() -> Cow<'static, str> {
        "Limits".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut properties = serde_json::Map::new();
        for (row, unit) in TABLE.iter().zip(KINDS) {
            let mut schema = match unit {
                Unit::Count => json_schema!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
                Unit::Size => Size::json_schema(generator),
                Unit::Time => Time::json_schema(generator),
            };
            // The table holds defaults as they would stand in a file; for numbers and texts JSON writes the same.
            let default: serde_json::Value = serde_json::from_str(row.default).unwrap_or_default();
            schema.insert("description".into(), row.meaning.into());
            schema.insert("default".into(), default);
            properties.insert(row.name.into(), schema.into());
        }
        json_schema!({ "type": "object", "properties": properties, "additionalProperties": false })
    }
}
