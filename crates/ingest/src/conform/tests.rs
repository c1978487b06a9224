//! The table of schema rules.

use apiary_core::ErrorKind;
use arrow::{
    array::{
        AsArray, Date64Array, DictionaryArray, Int32Array, Int64Array, ListArray, StringArray, StructArray,
        TimestampNanosecondArray,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::cast,
    datatypes::{self as t, Fields, TimeUnit},
};

use super::*;

fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(|(n, t, null)| Field::new(*n, t.clone(), *null)).collect::<Vec<_>>()))
}

fn timestamp(unit: TimeUnit, zone: Option<&str>) -> DataType {
    DataType::Timestamp(unit, zone.map(Into::into))
}

/// Whether data of type `from` may be written to a column of type `to`.
fn fits(from: &DataType, to: &DataType) -> bool {
    Conformer::new(&schema(&[("c", from.clone(), true)]), &schema(&[("c", to.clone(), true)])).is_ok()
}

#[test]
fn the_table_of_types_that_fit_and_that_do_not() {
    use DataType as T;
    let dictionary = T::Dictionary(Box::new(T::Int8), Box::new(T::Utf8));
    let micros = || timestamp(TimeUnit::Microsecond, None);
    let fitting = [
        (T::Int8, T::Int64),
        (T::UInt32, T::Int64),
        (T::Int32, T::Float64),
        (T::Int64, T::Decimal128(38, 4)),
        (T::Float32, T::Float64),
        (T::LargeUtf8, T::Utf8),
        (T::Utf8View, T::Utf8),
        (dictionary, T::Utf8),
        (T::FixedSizeBinary(16), T::Binary),
        (T::Null, T::Date32),
        (T::Date64, T::Date32),
        (timestamp(TimeUnit::Second, None), micros()),
        (timestamp(TimeUnit::Nanosecond, None), micros()),
        (timestamp(TimeUnit::Millisecond, Some("+01:00")), timestamp(TimeUnit::Microsecond, Some("UTC"))),
        (T::Decimal128(10, 2), T::Decimal128(12, 3)),
        (T::Decimal64(10, 2), T::Decimal128(10, 2)),
        (T::new_large_list(T::Int32, true), T::new_list(T::Int64, true)),
    ];
    for (from, to) in fitting {
        assert!(fits(&from, &to), "{from} should fit {to}");
    }
    let refused = [
        (T::Int64, T::Int32),
        (T::UInt64, T::Int64),
        (T::Int32, T::UInt64),
        (T::Int64, T::Float64),
        (T::Int64, T::Decimal128(18, 0)),
        (T::Float64, T::Float32),
        (T::Float64, T::Int64),
        (T::Float64, T::Decimal128(38, 10)),
        (T::Utf8, T::Float64),
        (T::Int64, T::Utf8),
        (T::Utf8, timestamp(TimeUnit::Microsecond, None)),
        (T::Boolean, T::Int32),
        (T::Date32, micros()),
        (micros(), timestamp(TimeUnit::Microsecond, Some("UTC"))),
        (T::Decimal128(12, 3), T::Decimal128(12, 2)),
        (T::Decimal128(12, 3), T::Decimal128(12, 4)),
        (T::new_list(T::Utf8, true), T::Utf8),
    ];
    for (from, to) in refused {
        assert!(!fits(&from, &to), "{from} should not fit {to}");
    }
}

#[test]
fn everything_that_widens_can_be_cast() {
    use DataType as T;
    let mut types = vec![T::Null, T::Boolean, T::Int8, T::Int16, T::Int32, T::Int64, T::UInt8, T::UInt16, T::UInt32];
    types.extend([T::UInt64, T::Float16, T::Float32, T::Float64, T::Utf8, T::LargeUtf8, T::Utf8View, T::Binary]);
    types.extend([T::LargeBinary, T::BinaryView, T::FixedSizeBinary(4), T::Date32, T::Date64]);
    types.extend([T::Decimal32(9, 2), T::Decimal64(18, 2), T::Decimal128(38, 2), T::Decimal256(76, 2)]);
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        types.extend([timestamp(unit, None), timestamp(unit, Some("UTC")), T::Duration(unit)]);
    }
    types.extend([T::Time32(TimeUnit::Second), T::Time64(TimeUnit::Nanosecond)]);
    for (from, to) in types.iter().flat_map(|from| types.iter().map(move |to| (from, to))) {
        if fits(from, to) {
            let empty = new_null_array(from, 2);
            let field = Field::new("c", to.clone(), true);
            assert_eq!(cast_exactly(&empty, &field).unwrap().data_type(), to, "{from} to {to}");
        }
    }
}

/// A type inside each of those that can hold it.
fn nested(inner: &DataType) -> Vec<DataType> {
    use DataType as T;
    let item = || Arc::new(Field::new_list_field(inner.clone(), true));
    let fields = || vec![Field::new("a", T::Int8, true), Field::new("b", inner.clone(), true)].into();
    let entry = vec![Field::new("keys", T::Utf8, false), Field::new("values", inner.clone(), true)];
    let entries = Field::new("entries", T::Struct(entry.into()), false);
    vec![
        T::List(item()),
        T::LargeList(item()),
        T::FixedSizeList(item(), 2),
        T::Dictionary(Box::new(T::Int8), Box::new(T::List(item()))),
        T::Struct(fields()),
        T::Map(Arc::new(entries), false),
    ]
}

#[test]
fn what_a_frame_is_made_for_it_takes() {
    use DataType as T;
    let mut inner = vec![T::Int8, T::UInt64, T::Float16, T::Utf8View, T::LargeBinary, T::FixedSizeBinary(3), T::Date64];
    inner.extend([timestamp(TimeUnit::Nanosecond, None), timestamp(TimeUnit::Second, Some("+01:00"))]);
    inner.extend([T::Decimal64(9, 2), T::Decimal256(38, 2), T::Time64(TimeUnit::Nanosecond)]);
    let dictionary = |values: T| T::Dictionary(Box::new(T::Int16), Box::new(values));
    inner.extend([dictionary(T::LargeUtf8), dictionary(timestamp(TimeUnit::Nanosecond, None))]);
    let once: Vec<T> = inner.iter().flat_map(nested).collect();
    let twice: Vec<T> = once.iter().step_by(5).flat_map(nested).collect();
    for data_type in inner.into_iter().chain(once).chain(twice) {
        let source = schema(&[("c", data_type.clone(), true)]);
        let target = crate::storable_schema(&source).unwrap();
        let batch = RecordBatch::try_new(source, vec![new_null_array(&data_type, 3)]).unwrap();
        let written = conform(&batch, &target).unwrap_or_else(|error| panic!("{data_type}: {error}"));
        assert_eq!(written.schema(), target, "{data_type}");
    }
}

#[test]
fn digits_that_would_be_lost_are_found_wherever_they_are_nested() {
    let whole: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![Some(1_000), None, Some(7_000)]));
    let lossy: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![Some(1_000), None, Some(7_001)]));
    let write = |values: &ArrayRef, wrap: &dyn Fn(ArrayRef) -> ArrayRef| {
        let column = wrap(Arc::clone(values));
        let source = schema(&[("c", column.data_type().clone(), true)]);
        let target = crate::storable_schema(&source).unwrap();
        conform(&RecordBatch::try_new(source, vec![column]).unwrap(), &target)
    };
    let list = |values: ArrayRef, last_is_null: bool| -> ArrayRef {
        let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        let offsets = OffsetBuffer::new(vec![0, 1, 1, 3].into());
        let nulls = NullBuffer::from(vec![true, true, !last_is_null]);
        Arc::new(ListArray::new(item, offsets, values, Some(nulls)))
    };
    let fields = |values: &ArrayRef| Fields::from(vec![Field::new("a", values.data_type().clone(), true)]);
    let structure = |values: ArrayRef| -> ArrayRef { Arc::new(StructArray::new(fields(&values), vec![values], None)) };
    let dictionary = |values: ArrayRef| -> ArrayRef {
        Arc::new(DictionaryArray::new(Int32Array::from_iter_values(0..values.len() as i32), values))
    };
    let ways: [&dyn Fn(ArrayRef) -> ArrayRef; 7] = [
        &|values| list(values, false),
        &structure,
        &|values| list(structure(values), false),
        &|values| structure(list(values, false)),
        &|values| dictionary(structure(values)),
        &|values| dictionary(dictionary(values)),
        &|values| dictionary(list(values, false)),
    ];
    for wrap in ways {
        assert_eq!(write(&whole, wrap).unwrap().num_rows(), 3);
        let error = write(&lossy, wrap).unwrap_err();
        assert!(matches!(error, IngestError::LosesDigits { row: 2, .. }), "{error}");
    }
    // Behind a NULL there is no value.
    assert_eq!(write(&lossy, &|values| list(values, true)).unwrap().column(0).null_count(), 1);
}

#[test]
fn a_struct_without_fields_is_refused_before_a_frame_is_made() {
    let nothing = DataType::Struct(Fields::empty());
    let error = crate::storable_schema(&schema(&[("s", nothing, true)])).unwrap_err();
    assert!(error.hint().unwrap().contains("at least one field"), "{error}");
}

#[test]
fn columns_are_matched_by_name_and_missing_ones_are_null() {
    let target = schema(&[("id", DataType::Int64, false), ("Name", DataType::Utf8, true), ("x", DataType::Int8, true)]);
    let source = schema(&[("name", DataType::Utf8, true), ("id", DataType::Int32, true)]);
    let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(vec!["a"])), Arc::new(Int32Array::from(vec![7]))];
    let batch = conform(&RecordBatch::try_new(source, columns).unwrap(), &target).unwrap();
    assert_eq!(batch.schema(), target);
    assert_eq!(batch.column(0).as_primitive::<t::Int64Type>().value(0), 7);
    assert_eq!((batch.column(1).as_string::<i32>().value(0), batch.column(2).null_count()), ("a", 1));
}

/// The error of writing data of `source` columns into a frame of `id BIGINT NOT NULL, temp DOUBLE`.
fn refusal(source: &[(&str, DataType, bool)]) -> IngestError {
    let target = schema(&[("id", DataType::Int64, false), ("temp", DataType::Float64, true)]);
    Conformer::new(&schema(source), &target).unwrap_err()
}

#[test]
fn every_refusal_names_the_column_and_the_fix() {
    let (id, text) = (("id", DataType::Int64, true), DataType::Utf8);
    let table = [
        (
            refusal(&[id.clone(), ("temp", text.clone(), true)]),
            "'temp' is DOUBLE (Float64) in the frame but VARCHAR",
            "CAST(temp AS DOUBLE)",
        ),
        (refusal(&[id.clone(), ("tempp", DataType::Float64, true)]), "'tempp' that the frame does not have", "'temp'"),
        (refusal(&[id.clone(), ("quite other", text, true)]), "'quite other'", "columns are id, temp"),
        (refusal(&[("temp", DataType::Float64, true)]), "lacks the column 'id'", "AS BIGINT"),
        (refusal(&[id.clone(), ("ID", DataType::Int64, true)]), "both 'id' and 'ID'", "rename 'ID'"),
    ];
    for (error, message, hint) in table {
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
        assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    }
}

#[test]
fn a_null_in_a_required_column_is_refused() {
    let target = schema(&[("id", DataType::Int64, false)]);
    let column = Arc::new(Int64Array::from(vec![Some(1), None]));
    let batch = RecordBatch::try_new(schema(&[("id", DataType::Int64, true)]), vec![column]).unwrap();
    let error = conform(&batch, &target).unwrap_err();
    assert!(error.to_string().contains("'id'") && error.to_string().contains("row 2"), "{error}");
}

#[test]
fn a_finer_time_is_taken_when_nothing_is_lost_and_refused_when_something_is() {
    let target = schema(&[("ts", timestamp(TimeUnit::Microsecond, None), true)]);
    let write = |nanos: i64| {
        let column: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![None, Some(nanos)]));
        conform(&RecordBatch::try_from_iter([("ts", column)]).unwrap(), &target)
    };
    let whole = cast(write(5_000).unwrap().column(0), &DataType::Int64).unwrap();
    assert_eq!(whole.as_primitive::<t::Int64Type>().value(1), 5);
    let error = write(5_001).unwrap_err();
    assert!(error.hint().unwrap().contains("date_trunc('microsecond', ts)"), "{:?}", error.hint());

    let days = schema(&[("d", DataType::Date32, true)]);
    let noon: ArrayRef = Arc::new(Date64Array::from(vec![43_200_000]));
    assert!(conform(&RecordBatch::try_from_iter([("d", noon)]).unwrap(), &days).is_err());
}

#[test]
fn an_instant_beyond_the_frames_range_is_an_error_and_no_null() {
    let target = schema(&[("ts", timestamp(TimeUnit::Microsecond, None), true)]);
    let far: ArrayRef = Arc::new(arrow::array::TimestampSecondArray::from(vec![i64::MAX]));
    let error = conform(&RecordBatch::try_from_iter([("ts", far)]).unwrap(), &target).unwrap_err();
    assert!(matches!(error, IngestError::ValueOutOfRange { .. }), "{error}");
}

#[test]
fn a_decimal_with_more_digits_than_its_type_is_refused() {
    let schema = schema(&[("price", DataType::Decimal128(4, 2), true)]);
    let column = |value: i128| {
        let column =
            arrow::array::Decimal128Array::from(vec![Some(value), None]).with_data_type(DataType::Decimal128(4, 2));
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(column)]).unwrap()
    };
    assert!(conform(&column(-9_999), &schema).is_ok());
    let error = conform(&column(10_000), &schema).unwrap_err();
    assert!(matches!(&error, IngestError::ValueOutOfRange { column, .. } if column == "price"), "{error}");
    // And where it is on its way from another type.
    let packed = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Decimal128(4, 2)));
    let packed = cast(column(10_000).column(0), &packed).unwrap();
    let error = conform(&RecordBatch::try_from_iter([("price", packed)]).unwrap(), &schema).unwrap_err();
    assert!(matches!(&error, IngestError::ValueOutOfRange { .. }), "{error}");
    // And where it is nested.
    let inside = |value: i128| {
        let prices = column(value);
        let fields = prices.schema().fields().clone();
        let nested: ArrayRef = Arc::new(StructArray::new(fields, prices.columns().to_vec(), None));
        let batch = RecordBatch::try_from_iter_with_nullable([("s", nested, true)]).unwrap();
        let schema = batch.schema();
        conform(&batch, &schema)
    };
    assert!(inside(9_999).is_ok());
    assert!(matches!(inside(10_000).unwrap_err(), IngestError::ValueOutOfRange { column, .. } if column == "s"));
}

#[test]
fn a_null_among_the_values_of_a_dictionary_is_a_null() {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let values = Arc::new(StringArray::from(vec![Some("a"), None]));
    let column = arrow::array::DictionaryArray::new(Int32Array::from(vec![0, 0, 1]), values);
    let data = schema(&[("kind", dictionary.clone(), true)]);
    let batch = RecordBatch::try_new(data, vec![Arc::new(column)]).unwrap();
    assert!(conform(&batch, &schema(&[("kind", dictionary.clone(), true)])).is_ok());
    let error = conform(&batch, &schema(&[("kind", dictionary, false)])).unwrap_err();
    assert!(matches!(&error, IngestError::UnexpectedNull { row: 2, .. }), "{error}");
}
