//! Delta's `stats` read in one pass, straight into packed bytes: a frame of a hundred thousand cells is opened often.
//!
//! Strict as the rest of an entry: a key that stands there twice, a bound that is none of its column's type, bounds
//! that contradict each other, more NULLs than rows are errors. What is said of a column that the frame has no more,
//! and fields that a newer program writes, are left out.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use apiary_core::ColumnStats;
use arrow::datatypes::Schema;
use serde::{
    Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{bounds, strict::Word};
use crate::{
    packed::{self, Packer},
    value::ValueClass,
};

/// What stands for: every bound is exact.
pub(super) const NONE_INEXACT: &str = "{}";

/// The columns of a frame that statistics may speak of, sorted by name.
#[derive(Debug)]
pub(super) struct Columns {
    names: Vec<String>,
    classes: Vec<Option<ValueClass>>,
}

/// Memory that reading one cell's statistics after the other's uses again, and what it read last: the cells of a frame
/// mostly say the same of what is not exact.
#[derive(Debug)]
pub(super) struct Memory {
    columns: Vec<Option<ColumnStats>>,
    inexact: String,
    loose: Vec<(usize, bool, bool)>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { columns: Vec::new(), inexact: NONE_INEXACT.to_owned(), loose: Vec::new() }
    }
}

impl Columns {
    /// `names` are sorted.
    pub(super) fn new(names: &[String], schema: &Schema) -> Self {
        let class = |name: &String| ValueClass::of(schema.field_with_name(name).ok()?.data_type());
        Self { names: names.to_vec(), classes: names.iter().map(class).collect() }
    }

    /// Reads statistics and the columns whose bounds are not exact; returns the rows.
    pub(super) fn pack(&self, stats: &str, inexact: &str, to: &mut Packer, memory: &mut Memory) -> Result<u64, String> {
        let columns = &mut memory.columns;
        columns.clear();
        columns.resize(self.names.len(), None);
        let mut json = serde_json::Deserializer::from_str(stats);
        let rows = All(self, columns).deserialize(&mut json).and_then(|rows| json.end().map(|()| rows));
        let rows = rows.map_err(|error| error.to_string())?.ok_or("its statistics do not count its rows")?;
        if memory.inexact != inexact {
            memory.loose = self.loose(inexact)?;
            inexact.clone_into(&mut memory.inexact);
        }
        for (at, min, max) in &memory.loose {
            if let Some(column) = &mut columns[*at] {
                column.min_exact &= !min;
                column.max_exact &= !max;
            }
        }
        for (at, column) in columns.iter().enumerate().filter_map(|(at, column)| Some((at, column.as_ref()?))) {
            self.check(at, column, rows)?;
            to.column(at, column);
        }
        Ok(rows)
    }

    /// Takes statistics of so many rows that are packed already.
    pub(super) fn take(&self, packed: &[u8], rows: u64, to: &mut Packer) -> Result<(), String> {
        packed::check(packed, &self.classes, rows)?;
        to.columns(packed);
        Ok(())
    }

    /// The place of a column. They mostly come in order: `guess` is where the last one stood, and one on.
    fn place(&self, name: &str, guess: usize) -> Option<usize> {
        if self.names.get(guess).is_some_and(|known| known == name) {
            return Some(guess);
        }
        self.names.binary_search_by(|known| known.as_str().cmp(name)).ok()
    }

    /// The columns whose bounds are not exact, and which of the two.
    fn loose(&self, inexact: &str) -> Result<Vec<(usize, bool, bool)>, String> {
        if inexact == NONE_INEXACT {
            return Ok(Vec::new());
        }
        super::strict::check(inexact)?;
        let inexact: BTreeMap<Cow<'_, str>, Cow<'_, str>> =
            serde_json::from_str(inexact).map_err(|error| error.to_string())?;
        let mut loose = Vec::new();
        for (name, word) in inexact {
            let (min, max) = match word.as_ref() {
                "min" => (true, false),
                "max" => (false, true),
                "both" => (true, true),
                _ => return Err(format!("'{word}' is none of min, max, both")),
            };
            loose.extend(self.place(&name, 0).map(|at| (at, min, max)));
        }
        Ok(loose)
    }

    /// What must hold of any statistics.
    fn check(&self, at: usize, column: &ColumnStats, rows: u64) -> Result<(), String> {
        let name = &self.names[at];
        if column.null_count.is_some_and(|nulls| nulls > rows) {
            return Err(format!("the column '{name}' has more NULLs than rows"));
        }
        if let (Some(min), Some(max)) = (&column.min, &column.max)
            && min.compare(max).is_none_or(|order| order.is_gt())
        {
            return Err(format!("the bounds of the column '{name}' contradict each other"));
        }
        Ok(())
    }
}

/// Reads the whole object: how many rows, and the columns.
struct All<'a>(&'a Columns, &'a mut [Option<ColumnStats>]);

impl<'de> DeserializeSeed<'de> for All<'_> {
    type Value = Option<u64>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<u64>, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for All<'_> {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("statistics")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<u64>, A::Error> {
        let mut rows = None;
        let mut seen: Vec<Cow<'de, str>> = Vec::with_capacity(4);
        while let Some(Word(key)) = map.next_key()? {
            if seen.contains(&key) {
                return Err(twice(&key));
            }
            let what = match key.as_ref() {
                "minValues" => Some(What::Min),
                "maxValues" => Some(What::Max),
                "nullCount" => Some(What::Nulls),
                _ => None,
            };
            if let Some(what) = what {
                map.next_value_seed(One { known: self.0, what, columns: self.1 })?;
            } else if key == "numRecords" {
                rows = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            seen.push(key);
        }
        Ok(rows)
    }
}

fn twice<E: de::Error>(key: &str) -> E {
    E::custom(format!("the key '{key}' stands there twice"))
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Min,
    Max,
    Nulls,
}

/// Reads one of the objects inside: a value for each column.
struct One<'a> {
    known: &'a Columns,
    what: What,
    columns: &'a mut [Option<ColumnStats>],
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value for each column")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut next, mut seen) = (0, vec![false; self.columns.len()]);
        let mut others: Vec<Cow<'de, str>> = Vec::new();
        while let Some(Word(name)) = map.next_key()? {
            let value: &RawValue = map.next_value()?;
            let Some(at) = self.known.place(&name, next) else {
                if others.contains(&name) {
                    return Err(twice(&name));
                }
                others.push(name);
                continue;
            };
            if std::mem::replace(&mut seen[at], true) {
                return Err(twice(&name));
            }
            next = at + 1;
            if self.what == What::Nulls {
                // Delta nests the counts of nested columns; those are not ours.
                if let Ok(nulls) = value.get().parse() {
                    self.columns[at].get_or_insert_default().null_count = Some(nulls);
                }
                continue;
            }
            let bound = self.known.classes[at].and_then(|class| bounds::from_json(value.get(), class));
            let Some(bound) = bound else {
                return Err(de::Error::custom(format!("{value} is no bound of the column '{name}'")));
            };
            let column = self.columns[at].get_or_insert_default();
            match self.what {
                What::Min => (column.min, column.min_exact) = (Some(bound), true),
                _ => (column.max, column.max_exact) = (Some(bound), true),
            }
        }
        Ok(())
    }
}
