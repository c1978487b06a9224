//! One bound of a column as a JSON value, by the column's type, with every digit.
//!
//! Numbers go out and come in as raw text: a float parser that is off by the last bit, or a decimal that passed
//! through a float, is a wrong bound, and a wrong bound is a wrong answer.

use std::borrow::Cow;

use apiary_core::StatValue;
use serde_json::value::RawValue;

use crate::{text, value::ValueClass};

/// The bound as JSON, or `None` if JSON or other readers cannot hold it: NaN, infinities, years beyond 9999, a value
/// of another type. A bound that is left out only costs pruning.
pub(super) fn to_json(value: &StatValue, class: ValueClass) -> Option<Box<RawValue>> {
    let quoted = |text: &str| serde_json::to_string(text).ok();
    let json = match (value, class) {
        (StatValue::Bool(value), ValueClass::Bool) => value.to_string(),
        (StatValue::Int(value), ValueClass::Int) => value.to_string(),
        (StatValue::UInt(value), ValueClass::UInt) => value.to_string(),
        (StatValue::Float(value), ValueClass::Float) if value.is_finite() => serde_json::to_string(value).ok()?,
        (StatValue::Decimal { value, scale, .. }, ValueClass::Decimal(_, s)) if *scale == s => {
            text::decimal(*value, s)?
        }
        (StatValue::Text(value), ValueClass::Text) => quoted(value)?,
        (StatValue::Date(days), ValueClass::Date) => quoted(&text::date(*days)?)?,
        (StatValue::Timestamp(us), ValueClass::Timestamp { utc }) => {
            quoted(&(text::timestamp(*us, 'T')? + if utc { "Z" } else { "" }))?
        }
        _ => return None,
    };
    RawValue::from_string(json).ok()
}

/// The text of a JSON value that is one: without escapes it is what stands there.
fn quoted(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    match inner.contains('\\') {
        true => serde_json::from_str(json).ok().map(Cow::Owned),
        false => Some(Cow::Borrowed(inner)),
    }
}

/// Reads [`to_json`] back, or `None` if it is no such value.
pub(super) fn from_json(json: &str, class: ValueClass) -> Option<StatValue> {
    let quoted = || quoted(json);
    Some(match class {
        ValueClass::Bool => StatValue::Bool(json.parse().ok()?),
        ValueClass::Int => StatValue::Int(json.parse().ok()?),
        ValueClass::UInt => StatValue::UInt(json.parse().ok()?),
        ValueClass::Float => StatValue::Float(json.parse().ok().filter(|value: &f64| value.is_finite())?),
        ValueClass::Decimal(precision, scale) => {
            StatValue::Decimal { value: text::parse_decimal(json, precision, scale)?, precision, scale }
        }
        ValueClass::Text => StatValue::Text(quoted()?.into_owned()),
        ValueClass::Date => StatValue::Date(text::parse_date(&quoted()?)?),
        ValueClass::Timestamp { utc } => {
            let text = quoted()?;
            let text = if utc { text.strip_suffix('Z')? } else { text.as_ref() };
            StatValue::Timestamp(text::parse_timestamp(text, 'T')?)
        }
    })
}
