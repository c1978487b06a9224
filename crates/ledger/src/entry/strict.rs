//! JSON without doubt: an object with the same key twice has two meanings, so it has none.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

/// The lines of an entry, each checked.
pub(crate) fn lines(body: &[u8]) -> Result<Vec<&str>, String> {
    let lines = unchecked_lines(body)?;
    for (i, line) in lines.iter().enumerate() {
        check(line).map_err(|why| format!("line {}: {why}", i + 1))?;
    }
    Ok(lines)
}

/// The lines of an entry. Each ends in a newline, the last one, too: a body that was cut short is noticed.
pub(super) fn unchecked_lines(body: &[u8]) -> Result<Vec<&str>, String> {
    let text = std::str::from_utf8(body).map_err(|error| format!("it is not UTF-8: {error}"))?;
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let Some(text) = text.strip_suffix('\n') else { return Err("its last newline is missing".to_owned()) };
    Ok(text.split('\n').collect())
}

/// Whether `text` is one JSON value without duplicate keys and nothing behind it.
pub(crate) fn check(text: &str) -> Result<(), String> {
    serde_json::from_str::<Unique>(text).map(drop).map_err(|error| error.to_string())
}

/// Keys of one object that are compared one by one.
const FEW: usize = 16;

/// A key, borrowed where it holds no escapes.
#[derive(Deserialize)]
pub(super) struct Word<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Any JSON value whose objects have each key once; keeps nothing.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Look)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
        // Few keys are compared with each other, many through a set; most are borrowed from the text.
        let (mut few, mut many): (Vec<Cow<'de, str>>, HashSet<Cow<'de, str>>) = Default::default();
        while let Some(Word(key)) = map.next_key()? {
            map.next_value::<Unique>()?;
            if few.contains(&key) || many.contains(&key) {
                return Err(A::Error::custom(format!("the key '{key}' stands there twice")));
            }
            if few.len() < FEW {
                few.push(key);
            } else {
                many.insert(key);
            }
        }
        Ok(Unique)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Unique, A::Error> {
        while seq.next_element::<Unique>()?.is_some() {}
        Ok(Unique)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_unit<E: Error>(self) -> Result<Unique, E> {
        Ok(Unique)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_there_twice_is_named() {
        assert_eq!(check(r#"{"a":1,"b":[{"c":1.5},null,"x",true,-1]}"#), Ok(()));
        assert!(check(r#"{"a":{"b":1,"b":2}}"#).unwrap_err().contains("'b' stands there twice"));
        let many = |last: &str| format!("{{{}{last}}}", (0..40).map(|n| format!("\"k{n}\":{n},")).collect::<String>());
        assert_eq!(check(&many(r#""x":1"#)), Ok(()));
        assert!(check(&many(r#""k3":1"#)).is_err() && check(&many(r#""k30":1"#)).is_err());
        // The same key, spelled in another way.
        assert!(check(r#"{"a":1,"\u0061":2}"#).unwrap_err().contains("twice"));
    }

    #[test]
    fn what_is_cut_short_or_goes_on_is_refused() {
        assert!(lines(b"").is_err());
        assert!(lines(b"{}").unwrap_err().contains("last newline"));
        assert!(lines(b"{}\n\n").is_err());
        assert!(lines(b"{} {}\n").is_err());
        assert!(lines(b"{}\n\xff\n").is_err());
        assert_eq!(lines(b"{}\n[]\n").unwrap(), ["{}", "[]"]);
    }
}
