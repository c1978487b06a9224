//! Which types hold every value of which others. One table, read by the rules of writing.

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

/// How the values of one type become those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// Every value is one of the new type: a cast can lose nothing.
    Widens,
    /// The new type has a coarser unit, somewhere in it: most values fit, and each must be looked at.
    Rounds,
}

/// How `from` becomes `to`; `None` if it does not.
pub(super) fn fit(from: &DataType, to: &DataType) -> Option<Fit> {
    use DataType as T;
    match (from, to) {
        _ if widens(from, to) => Some(Fit::Widens),
        (T::Timestamp(a, from_zone), T::Timestamp(b, to_zone)) => {
            let is_finer = fineness(*a) > fineness(*b) && same_clock(from_zone.is_some(), to_zone.is_some());
            is_finer.then_some(Fit::Rounds)
        }
        (T::Date64, T::Date32) => Some(Fit::Rounds),
        (T::Dictionary(_, values), _) => fit(values, to),
        (T::RunEndEncoded(_, values), _) => fit(values.data_type(), to),
        _ => nested(from, to),
    }
}

fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    if from == to {
        return true;
    }
    match (from, to) {
        (T::Null, _) => true,
        (T::Dictionary(_, values), _) => widens(values, to),
        (T::RunEndEncoded(_, values), _) => widens(values.data_type(), to),
        (T::Utf8 | T::LargeUtf8 | T::Utf8View, T::Utf8 | T::LargeUtf8 | T::Utf8View) => true,
        (
            T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_),
            T::Binary | T::LargeBinary | T::BinaryView,
        ) => true,
        (T::Float16, T::Float32 | T::Float64) | (T::Float32, T::Float64) | (T::Date32, T::Date64) => true,
        (T::Timestamp(a, from_zone), T::Timestamp(b, to_zone)) => {
            fineness(*a) <= fineness(*b) && same_clock(from_zone.is_some(), to_zone.is_some())
        }
        (T::Time32(a) | T::Time64(a), T::Time32(b) | T::Time64(b)) | (T::Duration(a), T::Duration(b)) => {
            fineness(*a) <= fineness(*b)
        }
        _ if from.is_integer() => integer_widens(from, to),
        _ if decimal(from).is_some() => decimal_widens(from, to),
        _ => false,
    }
}

/// An instant and a wall-clock time are different things; two zones are the same instants.
fn same_clock(from_zoned: bool, to_zoned: bool) -> bool {
    from_zoned == to_zoned
}

fn fineness(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    }
}

/// Bits of the value and whether it has a sign.
fn integer(data_type: &DataType) -> Option<(u8, bool)> {
    Some(match data_type {
        DataType::Int8 => (8, true),
        DataType::Int16 => (16, true),
        DataType::Int32 => (32, true),
        DataType::Int64 => (64, true),
        DataType::UInt8 => (8, false),
        DataType::UInt16 => (16, false),
        DataType::UInt32 => (32, false),
        DataType::UInt64 => (64, false),
        _ => return None,
    })
}

fn integer_widens(from: &DataType, to: &DataType) -> bool {
    let Some((bits, signed)) = integer(from) else { return false };
    match to {
        // Every integer of up to 24 or 53 bits is a float of its own.
        DataType::Float32 => bits <= 16,
        DataType::Float64 => bits <= 32,
        _ => match (integer(to), decimal(to)) {
            (Some((to_bits, to_signed)), _) if signed == to_signed => bits <= to_bits,
            (Some((to_bits, to_signed)), _) => to_signed && bits < to_bits,
            (_, Some((precision, scale))) => integer_digits(bits, signed) <= i16::from(precision) - i16::from(scale),
            _ => false,
        },
    }
}

fn integer_digits(bits: u8, signed: bool) -> i16 {
    match (bits, signed) {
        (8, _) => 3,
        (16, _) => 5,
        (32, _) => 10,
        (64, true) => 19,
        _ => 20,
    }
}

fn decimal(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => Some((*p, *s)),
        _ => None,
    }
}

/// As many digits on both sides of the point.
fn decimal_widens(from: &DataType, to: &DataType) -> bool {
    let (Some((p, s)), Some((to_p, to_s))) = (decimal(from), decimal(to)) else { return false };
    s <= to_s && i16::from(p) - i16::from(s) <= i16::from(to_p) - i16::from(to_s)
}

/// What is nested fits as what is in it does, the worst of it.
fn nested(from: &DataType, to: &DataType) -> Option<Fit> {
    use DataType as T;
    let item = |a: &Field, b: &Field| fit(a.data_type(), b.data_type()).filter(|_| b.is_nullable() || !a.is_nullable());
    let fields = |a: &Fields, b: &Fields| {
        let fits = a.iter().zip(b).map(|(a, b)| item(a, b)).collect::<Option<Vec<_>>>()?;
        fits.into_iter().max().filter(|_| a.len() == b.len())
    };
    match (from, to) {
        (T::List(a) | T::LargeList(a) | T::FixedSizeList(a, _), T::List(b) | T::LargeList(b)) => item(a, b),
        // The names inside a map differ from library to library and mean nothing.
        (T::Map(a, _), T::Map(b, _)) => match (a.data_type(), b.data_type()) {
            (T::Struct(a), T::Struct(b)) => fields(a, b),
            _ => None,
        },
        (T::Struct(a), T::Struct(b)) => {
            let same_names = a.iter().map(|a| a.name()).eq(b.iter().map(|b| b.name()));
            fields(a, b).filter(|_| same_names)
        }
        _ => None,
    }
}
