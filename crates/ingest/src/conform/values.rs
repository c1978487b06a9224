//! Values that their new type cannot hold, wherever they are nested. What lies behind a NULL is no value.

use std::sync::Arc;

use apiary_ledger::delta_schema;
use arrow::{
    array::{Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait},
    compute::{cast, filter, is_not_null},
    datatypes::{self as t, DataType, TimeUnit},
    error::ArrowError,
};

/// Looks at a column that is not nested; the text says what does not fit.
type Look = fn(&ArrayRef, &DataType) -> Result<(), ArrowError>;

/// Refuses a value that is no whole number of the coarser unit that `to` has.
pub(super) fn whole_units(column: &ArrayRef, to: &DataType) -> Result<(), ArrowError> {
    each(column, to, |column, to| {
        let step = match (column.data_type(), to) {
            (DataType::Date64, DataType::Date32) => 86_400_000,
            (DataType::Timestamp(from, _), DataType::Timestamp(to, _)) => (per_second(*from) / per_second(*to)).max(1),
            _ => return Ok(()),
        };
        let units = cast(column, &DataType::Int64)?;
        let is_whole = units.as_primitive::<t::Int64Type>().iter().flatten().all(|unit| unit % step == 0);
        is_whole.then_some(()).ok_or_else(|| ArrowError::CastError(format!("some are no whole {to}")))
    })
}

/// Refuses a decimal that has more digits than its type: Arrow lets such values pass, a cell would cut them.
pub(super) fn digits(column: &ArrayRef) -> Result<(), ArrowError> {
    if !delta_schema::holds(column.data_type(), DataType::is_decimal) {
        return Ok(());
    }
    each(column, column.data_type(), |column, _| match column.data_type() {
        DataType::Decimal32(p, _) => column.as_primitive::<t::Decimal32Type>().validate_decimal_precision(*p),
        DataType::Decimal64(p, _) => column.as_primitive::<t::Decimal64Type>().validate_decimal_precision(*p),
        DataType::Decimal128(p, _) => column.as_primitive::<t::Decimal128Type>().validate_decimal_precision(*p),
        DataType::Decimal256(p, _) => column.as_primitive::<t::Decimal256Type>().validate_decimal_precision(*p),
        _ => Ok(()),
    })
}

/// The first row that does not fit, of a column that does not.
pub(super) fn first(column: &ArrayRef, fits: impl Fn(&ArrayRef) -> bool) -> usize {
    (0..column.len()).find(|row| !fits(&column.slice(*row, 1))).unwrap_or_default()
}

fn each(column: &ArrayRef, to: &DataType, look: Look) -> Result<(), ArrowError> {
    use DataType as T;
    match column.data_type() {
        T::Dictionary(_, values) => return each(&cast(column, values)?, to, look),
        T::RunEndEncoded(_, values) => return each(&cast(column, values.data_type())?, to, look),
        _ => {}
    }
    if !column.data_type().is_nested() {
        return look(column, to);
    }
    let there = if column.null_count() == 0 { Arc::clone(column) } else { filter(column, &is_not_null(column)?)? };
    match (there.data_type(), to) {
        (T::List(_), T::List(item) | T::LargeList(item)) => items(there.as_list::<i32>(), item.data_type(), look),
        (T::LargeList(_), T::List(item) | T::LargeList(item)) => items(there.as_list::<i64>(), item.data_type(), look),
        (T::FixedSizeList(..), T::FixedSizeList(item, _) | T::List(item) | T::LargeList(item)) => {
            each(there.as_fixed_size_list().values(), item.data_type(), look)
        }
        (T::Struct(_), T::Struct(fields)) => {
            let mut columns = there.as_struct().columns().iter().zip(fields);
            columns.try_for_each(|(column, field)| each(column, field.data_type(), look))
        }
        (T::Map(..), T::Map(entries, _)) => {
            let map = there.as_map();
            let entry: ArrayRef = Arc::new(map.entries().clone());
            each(&within(&entry, map.value_offsets()), entries.data_type(), look)
        }
        (from, to) => Err(ArrowError::CastError(format!("values of {from} cannot be looked at as {to}"))),
    }
}

fn items<O: OffsetSizeTrait>(list: &GenericListArray<O>, to: &DataType, look: Look) -> Result<(), ArrowError> {
    each(&within(list.values(), list.value_offsets()), to, look)
}

/// The values that lists hold which stand one behind the other.
fn within<O: OffsetSizeTrait>(values: &ArrayRef, offsets: &[O]) -> ArrayRef {
    let end = |offset: Option<&O>| offset.map_or(0, |offset| offset.as_usize());
    let (from, to) = (end(offsets.first()), end(offsets.last()));
    values.slice(from, to - from)
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}
