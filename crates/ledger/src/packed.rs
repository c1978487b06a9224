//! A cell's partition values and statistics as one run of bytes.
//!
//! First the partition values, then the columns that have statistics, by their place among the names of the cell's
//! shape. Nothing is lost: what is unpacked equals what was packed. Written and read by this file alone.
//!
//! A checkpoint holds a copy of the statistics in this form beside Delta's JSON, so that nobody parses a hundred thousand
//! texts to open a frame. It says by [`LAYOUT`] how they are laid out; who does not know that layout reads the JSON.

use std::cmp::Ordering;

use apiary_core::{ColumnStats, StatValue};

use crate::value::ValueClass;

/// Which layout this is. To be counted up with every change of what the bytes of statistics mean.
pub(crate) const LAYOUT: &str = "1";

const NULLS: u8 = 1;
const MIN: u8 = 2;
const MAX: u8 = 4;
const MIN_EXACT: u8 = 8;
const MAX_EXACT: u8 = 16;

/// Packs one cell.
#[derive(Debug)]
pub(crate) struct Packer(Vec<u8>);

impl Packer {
    /// Begins with the partition values, in their order.
    pub(crate) fn new(partition_values: &[Option<&str>]) -> Self {
        Self::over(Vec::with_capacity(256), partition_values)
    }

    /// The same, in memory that was used before.
    pub(crate) fn over(mut buffer: Vec<u8>, partition_values: &[Option<&str>]) -> Self {
        buffer.clear();
        let mut out = Self(buffer);
        for value in partition_values {
            // One more than its length; zero is NULL.
            out.number(value.map_or(0, |text| text.len() as u64 + 1));
            out.0.extend(value.unwrap_or_default().as_bytes());
        }
        out
    }

    /// Adds the column at this place; columns come in the order of their places.
    pub(crate) fn column(&mut self, at: usize, column: &ColumnStats) {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        self.number(at as u64);
        self.0.push(
            flag(column.null_count.is_some(), NULLS)
                | flag(column.min.is_some(), MIN)
                | flag(column.max.is_some(), MAX)
                | flag(column.min_exact, MIN_EXACT)
                | flag(column.max_exact, MAX_EXACT),
        );
        if let Some(nulls) = column.null_count {
            self.number(nulls);
        }
        for value in [&column.min, &column.max].into_iter().flatten() {
            self.value(value);
        }
    }

    /// Adds all columns, as [`stats`] gave them away.
    pub(crate) fn columns(&mut self, stats: &[u8]) {
        self.0.extend(stats);
    }

    pub(crate) fn finish(self) -> Box<[u8]> {
        self.0.into_boxed_slice()
    }

    /// The bytes, and the memory to use again.
    pub(crate) fn copied(self) -> (Box<[u8]>, Vec<u8>) {
        (Box::from(self.0.as_slice()), self.0)
    }

    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    fn value(&mut self, value: &StatValue) {
        let mut put = |tag: u8, bytes: &[u8]| {
            self.0.push(tag);
            self.0.extend(bytes);
        };
        match value {
            StatValue::Bool(v) => put(0, &[u8::from(*v)]),
            StatValue::Int(v) => put(1, &v.to_le_bytes()),
            StatValue::UInt(v) => put(2, &v.to_le_bytes()),
            StatValue::Float(v) => put(3, &v.to_le_bytes()),
            StatValue::Decimal { value, precision, scale } => {
                put(4, &value.to_le_bytes());
                self.0.extend([*precision, scale.to_le_bytes()[0]]);
            }
            StatValue::Text(v) => {
                put(5, &[]);
                self.number(v.len() as u64);
                self.0.extend(v.as_bytes());
            }
            StatValue::Date(v) => put(6, &v.to_le_bytes()),
            StatValue::Timestamp(v) => put(7, &v.to_le_bytes()),
        }
    }
}

/// The partition values of a packed cell that has `count` of them.
pub(crate) fn partition_values(packed: &[u8], count: usize) -> impl Iterator<Item = Option<&str>> {
    let mut at = Unpacker(packed);
    (0..count).map_while(move |_| at.partition_value())
}

/// The columns of a packed cell with `partitions` partition values, each with its place.
pub(crate) fn columns(packed: &[u8], partitions: usize) -> impl Iterator<Item = (usize, ColumnStats)> {
    let mut at = Unpacker::behind(packed, partitions);
    std::iter::from_fn(move || {
        let (place, flags) = at.begin()?;
        Some((place, at.column(flags)?))
    })
}

/// The column at a place.
pub(crate) fn column(packed: &[u8], partitions: usize, wanted: usize) -> Option<ColumnStats> {
    let mut at = Unpacker::behind(packed, partitions);
    // Ends: every round takes bytes, and there is an end to them.
    loop {
        let (place, flags) = at.begin()?;
        match place.cmp(&wanted) {
            Ordering::Less => at.skip(flags)?,
            Ordering::Equal => return at.column(flags),
            Ordering::Greater => return None,
        }
    }
}

/// The statistics of a packed cell, without its partition values.
pub(crate) fn stats(packed: &[u8], partitions: usize) -> &[u8] {
    Unpacker::behind(packed, partitions).0
}

/// Refuses statistics that say what cannot be of a cell of `rows` rows whose columns, by their places, have these
/// classes. The error ends a sentence that names the cell; columns are named by their place.
pub(crate) fn check(stats: &[u8], classes: &[Option<ValueClass>], rows: u64) -> Result<(), String> {
    let (mut at, mut next) = (Unpacker(stats), 0);
    // Ends: every round takes bytes, and there is an end to them.
    while !at.0.is_empty() {
        let (place, flags) = at.begin().ok_or(CUT)?;
        if place < next || place >= classes.len() {
            return Err(format!("its statistics have a column {place} where none can be"));
        }
        next = place + 1;
        let nulls = if flags & NULLS == 0 { Some(0) } else { at.number() };
        if nulls.ok_or(CUT)? > rows {
            return Err(format!("its column {place} has more NULLs than rows"));
        }
        let mut bound = |flag: u8| {
            let found = (flags & flag != 0).then(|| at.bound(classes[place]));
            found.map(|found| found.ok_or_else(|| format!("a bound of its column {place} is none"))).transpose()
        };
        if let (Some(min), Some(max), Some(class)) = (bound(MIN)?, bound(MAX)?, classes[place])
            && order(class, min, max).is_none_or(Ordering::is_gt)
        {
            return Err(format!("the bounds of its column {place} contradict each other"));
        }
    }
    Ok(())
}

/// The order of two values of a class, as they are packed behind their tags.
fn order(class: ValueClass, a: &[u8], b: &[u8]) -> Option<Ordering> {
    macro_rules! by {
        ($number:ty, $len:literal) => {{
            let number = |bytes: &[u8]| Some(<$number>::from_le_bytes(bytes.get(..$len)?.try_into().ok()?));
            number(a)?.partial_cmp(&number(b)?)
        }};
    }
    match class {
        ValueClass::Bool | ValueClass::Text => Some(a.cmp(b)),
        ValueClass::Int | ValueClass::Timestamp { .. } => by!(i64, 8),
        ValueClass::UInt => by!(u64, 8),
        ValueClass::Float => by!(f64, 8),
        ValueClass::Decimal(..) => by!(i128, 16),
        ValueClass::Date => by!(i32, 4),
    }
}

const CUT: &str = "its statistics are cut off";

/// What is left to read. `None` from any of its functions means the end.
struct Unpacker<'a>(&'a [u8]);

impl<'a> Unpacker<'a> {
    fn behind(packed: &'a [u8], partitions: usize) -> Self {
        let mut at = Unpacker(packed);
        for _ in 0..partitions {
            at.partition_value();
        }
        at
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Some(n)
    }

    fn text(&mut self, len: u64) -> Option<&'a str> {
        std::str::from_utf8(self.take(usize::try_from(len).ok()?)?).ok()
    }

    fn partition_value(&mut self) -> Option<Option<&'a str>> {
        match self.number()? {
            0 => Some(None),
            len => self.text(len - 1).map(Some),
        }
    }

    /// A column's place and flags.
    fn begin(&mut self) -> Option<(usize, u8)> {
        let place = usize::try_from(self.number()?).ok()?;
        let [flags] = self.array()?;
        Some((place, flags))
    }

    fn column(&mut self, flags: u8) -> Option<ColumnStats> {
        let null_count = if flags & NULLS == 0 { None } else { Some(self.number()?) };
        let min = if flags & MIN == 0 { None } else { Some(self.value()?) };
        let max = if flags & MAX == 0 { None } else { Some(self.value()?) };
        Some(ColumnStats { min, max, null_count, min_exact: flags & MIN_EXACT != 0, max_exact: flags & MAX_EXACT != 0 })
    }

    fn skip(&mut self, flags: u8) -> Option<()> {
        if flags & NULLS != 0 {
            self.number()?;
        }
        for _ in 0..(flags & (MIN | MAX)).count_ones() {
            let [tag] = self.array()?;
            self.behind_tag(tag)?;
        }
        Some(())
    }

    /// The bytes of a value behind its tag.
    fn behind_tag(&mut self, tag: u8) -> Option<&'a [u8]> {
        let len = match tag {
            0 => 1,
            4 => 18,
            5 => usize::try_from(self.number()?).ok()?,
            6 => 4,
            _ => 8,
        };
        self.take(len)
    }

    /// The bytes of a value that a column of this class may have.
    fn bound(&mut self, class: Option<ValueClass>) -> Option<&'a [u8]> {
        let [tag] = self.array()?;
        let bytes = self.behind_tag(tag)?;
        let fits = match (class?, tag) {
            (ValueClass::Decimal(precision, scale), 4) => bytes[16..] == [precision, scale.to_le_bytes()[0]],
            (ValueClass::Float, 3) => !f64::from_le_bytes(bytes.try_into().ok()?).is_nan(),
            (ValueClass::Text, 5) => std::str::from_utf8(bytes).is_ok(),
            (ValueClass::Bool, 0)
            | (ValueClass::Int, 1)
            | (ValueClass::UInt, 2)
            | (ValueClass::Date, 6)
            | (ValueClass::Timestamp { .. }, 7) => true,
            _ => false,
        };
        fits.then_some(bytes)
    }

    fn value(&mut self) -> Option<StatValue> {
        let [tag] = self.array()?;
        Some(match tag {
            0 => StatValue::Bool(self.array::<1>()? != [0]),
            1 => StatValue::Int(i64::from_le_bytes(self.array()?)),
            2 => StatValue::UInt(u64::from_le_bytes(self.array()?)),
            3 => StatValue::Float(f64::from_le_bytes(self.array()?)),
            4 => {
                let value = i128::from_le_bytes(self.array()?);
                let [precision, scale] = self.array()?;
                StatValue::Decimal { value, precision, scale: i8::from_le_bytes([scale]) }
            }
            5 => {
                let len = self.number()?;
                StatValue::Text(self.text(len)?.to_owned())
            }
            6 => StatValue::Date(i32::from_le_bytes(self.array()?)),
            7 => StatValue::Timestamp(i64::from_le_bytes(self.array()?)),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = StatValue> {
        prop_oneof![
            any::<bool>().prop_map(StatValue::Bool),
            any::<i64>().prop_map(StatValue::Int),
            any::<u64>().prop_map(StatValue::UInt),
            proptest::num::f64::ANY.prop_filter("never NaN", |v| !v.is_nan()).prop_map(StatValue::Float),
            (any::<i128>(), any::<u8>(), any::<i8>()).prop_map(|(value, precision, scale)| StatValue::Decimal {
                value,
                precision,
                scale
            }),
            ".*".prop_map(StatValue::Text),
            any::<i32>().prop_map(StatValue::Date),
            any::<i64>().prop_map(StatValue::Timestamp),
        ]
    }

    fn any_column() -> impl Strategy<Value = ColumnStats> {
        let bound = || proptest::option::of(any_value());
        (bound(), bound(), any::<Option<u64>>(), any::<[bool; 2]>()).prop_map(|(min, max, null_count, exact)| {
            ColumnStats { min, max, null_count, min_exact: exact[0], max_exact: exact[1] }
        })
    }

    proptest! {
        #[test]
        fn what_is_unpacked_equals_what_was_packed(
            values in prop::collection::vec(any::<Option<String>>(), 0..4),
            columns in prop::collection::btree_map(0usize..300, any_column(), 0..20),
            elsewhere in 0usize..300,
        ) {
            let texts: Vec<_> = values.iter().map(Option::as_deref).collect();
            let mut packer = Packer::new(&texts);
            columns.iter().for_each(|(at, column)| packer.column(*at, column));
            let packed = packer.finish();
            prop_assert_eq!(partition_values(&packed, values.len()).collect::<Vec<_>>(), texts);
            let all: std::collections::BTreeMap<_, _> = super::columns(&packed, values.len()).collect();
            prop_assert_eq!(&all, &columns);
            for at in columns.keys().chain([&elsewhere]) {
                let found = column(&packed, values.len(), *at);
                prop_assert_eq!(found.as_ref(), columns.get(at));
            }
            // Whatever is cut off is noticed, and so is a column where none can be.
            let stats = stats(&packed, values.len());
            prop_assert_eq!(&packed[packed.len() - stats.len()..], stats);
            prop_assert!(check(stats, &[None; 300], u64::MAX).is_ok() || columns.values().any(|c| c.min.is_some() || c.max.is_some()));
            if let Some((last, _)) = columns.last_key_value() {
                prop_assert!(check(&stats[..stats.len() - 1], &[None; 300], u64::MAX).is_err());
                prop_assert!(check(stats, &vec![None; *last], u64::MAX).is_err());
            }
            // The sign of a zero, too.
            prop_assert_eq!(format!("{all:?}"), format!("{columns:?}"));
        }
    }
}
