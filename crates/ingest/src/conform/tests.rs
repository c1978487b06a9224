//! The table of schema rules.

use apiary_core::ErrorKind;
use arrow::{
    array::{Date64Array, Int32Array, Int64Array, StringArray, TimestampNanosecondArray},
    compute::cast,
    datatypes::TimeUnit,
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
