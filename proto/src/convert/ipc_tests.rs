//! What goes into the wire comes out of it, for every kind of array, and rubbish is refused.

use std::sync::Arc;

use arrow::{
    array::*,
    buffer::{OffsetBuffer, ScalarBuffer},
    datatypes::*,
};

use super::*;
use crate::convert::{BatchDecoder, decode_schema};

fn round_trip(batch: &RecordBatch, lz4: bool) -> Vec<RecordBatch> {
    let mut encoder = BatchEncoder::new(&batch.schema(), lz4).unwrap();
    let mut decoder = BatchDecoder::new(encoder.schema()).unwrap();
    assert_eq!(decoder.schema(), &batch.schema());
    // Twice: the second time dictionaries are known already.
    encoder.encode(batch).unwrap();
    let mut encoder = BatchEncoder::new(&batch.schema(), lz4).unwrap();
    let messages = [encoder.encode(batch).unwrap(), encoder.encode(batch).unwrap()].concat();
    messages.into_iter().map(|message| decoder.decode(message).unwrap()).collect()
}

fn check(columns: Vec<(&str, ArrayRef)>) {
    let fields: Vec<Field> = columns.iter().map(|(name, a)| Field::new(*name, a.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, [("k".to_owned(), "v".to_owned())].into()));
    let batch = RecordBatch::try_new(schema, columns.into_iter().map(|(_, array)| array).collect()).unwrap();
    for lz4 in [false, true] {
        let sliced = batch.slice(1, batch.num_rows() - 1);
        assert_eq!(round_trip(&batch, lz4), [batch.clone(), batch.clone()]);
        assert_eq!(round_trip(&sliced, lz4), [sliced.clone(), sliced]);
    }
}

#[test]
fn numbers_dates_and_decimals_travel() {
    check(vec![
        ("null", Arc::new(NullArray::new(3))),
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("i8", Arc::new(Int8Array::from(vec![1, 2, 3]))),
        ("i16", Arc::new(Int16Array::from(vec![Some(1), None, Some(3)]))),
        ("i32", Arc::new(Int32Array::from(vec![1, i32::MIN, i32::MAX]))),
        ("i64", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))),
        ("u8", Arc::new(UInt8Array::from(vec![1, 2, 255]))),
        ("u16", Arc::new(UInt16Array::from(vec![1, 2, 3]))),
        ("u32", Arc::new(UInt32Array::from(vec![1, 2, 3]))),
        ("u64", Arc::new(UInt64Array::from(vec![1, 2, u64::MAX]))),
        ("f32", Arc::new(Float32Array::from(vec![1.5, f32::INFINITY, -0.0]))),
        ("f64", Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::MIN)]))),
        ("d32", Arc::new(Date32Array::from(vec![1, 2, 3]))),
        ("d64", Arc::new(Date64Array::from(vec![86_400_000, 0, 0]))),
        ("t32", Arc::new(Time32SecondArray::from(vec![1, 2, 3]))),
        ("t64", Arc::new(Time64NanosecondArray::from(vec![1, 2, 3]))),
        ("ts", Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None, Some(3)]).with_timezone("UTC"))),
        ("tn", Arc::new(TimestampNanosecondArray::from(vec![1, 2, 3]))),
        ("dur", Arc::new(DurationMillisecondArray::from(vec![1, 2, 3]))),
        ("iv", Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, 2, 3); 3]))),
        ("dec", Arc::new(Decimal128Array::from(vec![1, -2, 3]).with_precision_and_scale(15, 2).unwrap())),
        ("dec256", Arc::new(Decimal256Array::from(vec![i256::ONE, i256::MAX, i256::MIN]))),
    ]);
}

#[test]
fn strings_bytes_and_views_travel() {
    let long = "a string that is longer than a view holds itself";
    check(vec![
        ("utf8", Arc::new(StringArray::from(vec![Some("a"), None, Some("")]))),
        ("large", Arc::new(LargeStringArray::from(vec!["a", "b", "ç"]))),
        ("view", Arc::new(StringViewArray::from(vec![Some(long), None, Some("short")]))),
        ("bin", Arc::new(BinaryArray::from(vec![b"a".as_slice(), b"\0", b""]))),
        ("lbin", Arc::new(LargeBinaryArray::from(vec![b"a".as_slice(), b"\0", b""]))),
        ("vbin", Arc::new(BinaryViewArray::from(vec![long.as_bytes(), b"\0", b""]))),
        ("fixed", Arc::new(FixedSizeBinaryArray::try_from_iter([[1u8, 2], [3, 4], [5, 6]].into_iter()).unwrap())),
    ]);
}

#[test]
fn nested_columns_travel() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let large = LargeListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1)]), Some(vec![]), None]);
    let fixed = FixedSizeListArray::from_iter_primitive::<Int8Type, _, _>(vec![Some(vec![Some(1), Some(2)]); 3], 2);
    let inner: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some("z")]));
    let structs = StructArray::from(vec![(Arc::new(Field::new("s", DataType::Utf8, true)), inner)]);
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for n in 0..3 {
        map.keys().append_value("k");
        map.values().append_value(n);
        map.append(true).unwrap();
    }
    let of_structs = ListArray::new(
        Arc::new(Field::new("item", structs.data_type().clone(), true)),
        OffsetBuffer::new(ScalarBuffer::from(vec![0, 1, 1, 3])),
        Arc::new(structs.clone()),
        None,
    );
    check(vec![
        ("list", Arc::new(list)),
        ("large", Arc::new(large)),
        ("fixed", Arc::new(fixed)),
        ("struct", Arc::new(structs)),
        ("map", Arc::new(map.finish())),
        ("deep", Arc::new(of_structs)),
    ]);
}

#[test]
fn dictionaries_travel_also_inside_lists() {
    let words: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("b")].into_iter().collect();
    let small: DictionaryArray<Int8Type> = vec!["x", "x", "y"].into_iter().collect();
    let inside = ListArray::new(
        Arc::new(Field::new("item", words.data_type().clone(), true)),
        OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 2, 3])),
        Arc::new(words.clone()),
        None,
    );
    check(vec![("words", Arc::new(words)), ("small", Arc::new(small)), ("inside", Arc::new(inside))]);
}

#[test]
fn a_dictionary_that_changes_is_sent_again() {
    let first: DictionaryArray<Int32Type> = vec!["a", "b"].into_iter().collect();
    let second: DictionaryArray<Int32Type> = vec!["c", "d"].into_iter().collect();
    let schema = Arc::new(Schema::new(vec![Field::new("d", first.data_type().clone(), false)]));
    let batch = |array| RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(array) as ArrayRef]).unwrap();
    let (first, second) = (batch(first), batch(second));
    let mut encoder = BatchEncoder::new(&schema, true).unwrap();
    let mut decoder = BatchDecoder::new(encoder.schema()).unwrap();
    for sent in [&first, &second, &first] {
        let message = encoder.encode(sent).unwrap().remove(0);
        assert_eq!(&decoder.decode(message).unwrap(), sent);
    }
}

#[test]
fn a_schema_without_columns_travels() {
    let none = Schema::empty();
    assert_eq!(*decode_schema(encode_schema(&none).unwrap()).unwrap(), none);
}

#[test]
fn a_damaged_message_is_an_error_and_never_a_panic() {
    let column: ArrayRef = Arc::new(StringArray::from(vec!["some", "text"]));
    let schema = Arc::new(Schema::new(vec![Field::new("t", DataType::Utf8, true)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
    let mut encoder = BatchEncoder::new(&schema, false).unwrap();
    let message = encoder.encode(&batch).unwrap().remove(0);
    for cut in 0..message.len() {
        let mut decoder = BatchDecoder::new(encoder.schema()).unwrap();
        assert_eq!(decoder.decode(message.slice(..cut)).unwrap_err().kind, ErrorKind::Corrupt, "cut at {cut}");
    }
    let mut bomb = BatchEncoder::new(&schema, true).unwrap();
    let zeros: ArrayRef = Arc::new(StringArray::from(vec!["0".repeat(100_000)]));
    let packed = bomb.encode(&RecordBatch::try_new(Arc::clone(&schema), vec![zeros]).unwrap()).unwrap().remove(0);
    for flipped in 0..packed.len() {
        let mut bytes = packed.to_vec();
        bytes[flipped] ^= 0x7f;
        let mut decoder = BatchDecoder::new(bomb.schema()).unwrap();
        let _whatever_but_no_panic = decoder.decode(bytes.into());
    }
    for flipped in 0..message.len() {
        let mut bytes = message.to_vec();
        bytes[flipped] ^= 0x55;
        let mut decoder = BatchDecoder::new(encoder.schema()).unwrap();
        let _whatever_but_no_panic = decoder.decode(bytes.into());
        let mut bytes = encoder.schema().to_vec();
        let at = flipped % bytes.len();
        bytes[at] ^= 0x55;
        let _whatever_but_no_panic = decode_schema(bytes.into());
    }
}

#[test]
fn any_bytes_as_a_message_are_a_batch_or_an_error() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("n", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))),
        ("s", Arc::new(StringArray::from(vec!["a", "", "süd"]))),
        ("d", Arc::new(vec![Some("x"), None, Some("y")].into_iter().collect::<DictionaryArray<Int32Type>>())),
        (
            "l",
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1)]), None, Some(vec![])])),
        ),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
    let mut samples = Vec::new();
    for lz4 in [false, true] {
        let mut encoder = BatchEncoder::new(&batch.schema(), lz4).unwrap();
        samples.push(encoder.schema().to_vec());
        samples.extend(encoder.encode(&batch).unwrap().into_iter().map(|message| message.to_vec()));
    }
    let schema = bytes::Bytes::from(samples[0].clone());
    apiary_faults::mutate::drive("ipc", &samples, |data| {
        let data = bytes::Bytes::copy_from_slice(data);
        let _ = decode_schema(data.clone());
        let mut decoder = BatchDecoder::new(schema.clone()).unwrap();
        if let Ok(read) = decoder.decode(data) {
            assert_eq!(read.num_columns(), 4);
            // What was read must be fit for reading.
            let _ = arrow::util::pretty::pretty_format_batches(&[read]).map(|table| table.to_string());
        }
    });
}
