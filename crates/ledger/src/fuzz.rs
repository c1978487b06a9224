//! Doors for fuzzing: each takes any bytes to a decoder of this crate, and must not panic. Nobody else goes through.

use std::sync::Arc;

use apiary_core::Version;
use arrow::datatypes::{DataType, TimeUnit};
use bytes::Bytes;

use crate::{checkpoint, entry, header::Head, partition_text, registry_entry, replay::Replay, sum};

const OBJECT: &str = "the object";

/// A frame's entry. What decodes is replayed as the first of a frame, too.
pub fn entry(data: &[u8]) {
    let _ = sum::is_whole(data);
    let _ = sum::summed(data.to_vec());
    let Ok(decoded) = entry::decode(OBJECT, data) else { return };
    let head = Head { version: decoded.header.v, sha256: String::new(), timestamp_ms: decoded.timestamp_ms };
    let read = crate::log::Read { entry: decoded, head, bytes: data.len() as u64 };
    let mut replay = Replay::new("folder");
    let _ = replay.take(OBJECT, &read).map(|()| replay.finish());
}

/// A registry's entry.
pub fn registry(data: &[u8]) {
    let _ = registry_entry::decode(OBJECT, data);
}

/// A checkpoint.
pub fn checkpoint(data: &[u8]) {
    let head = Head { version: Version(3), sha256: "00".repeat(32), timestamp_ms: 1 };
    checkpoint::any(OBJECT, Bytes::copy_from_slice(data), "folder", head);
}

/// A checkpoint's checksum, and the hint.
pub fn hint(data: &[u8]) {
    checkpoint::any_hint(data);
}

/// A partition value of any type: what is read is written as something that reads the same.
pub fn partition(data: &[u8]) {
    let types = [
        DataType::Int8,
        DataType::Int64,
        DataType::UInt64,
        DataType::Float64,
        DataType::Boolean,
        DataType::Utf8,
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
        DataType::Decimal128(38, 10),
    ];
    let Some((kind, text)) = data.split_first() else { return };
    let kind = &types[usize::from(*kind) % types.len()];
    let Ok(text) = std::str::from_utf8(text) else { return };
    let _ = partition_text::array_of("c", Some(text), kind);
    if let Ok(value) = partition_text::from_text("c", text, kind)
        && let Ok(again) = partition_text::to_text("c", &value, kind)
    {
        assert_eq!(partition_text::from_text("c", &again, kind).ok(), Some(value), "{text:?} as {kind}");
    }
}

/// A schema as Delta and as Apiary keep it.
pub fn schema(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(schema) = crate::delta_schema::exact_from_text(text) {
        let _ = crate::delta_schema::storage_schema(&schema);
    }
}

#[cfg(test)]
mod tests {
    use apiary_core::{FrameId, SystemClock, SystemRng, TxnId};
    use apiary_faults::mutate::{drive, drive_some};

    use arrow::datatypes::{Field, Schema};

    use super::*;
    use crate::{FrameSpec, delta_schema, header::Place, registry_entry::Change};

    fn frame_schema() -> Schema {
        Schema::new(vec![
            Field::new("region", DataType::Utf8, true),
            Field::new("temp", DataType::Float64, true),
            Field::new("at", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), true),
            Field::new("n", DataType::UInt64, false),
        ])
    }

    fn version_zero() -> Vec<u8> {
        let place = Place::after(None, None, 1_750_000_000_000);
        let spec = FrameSpec { schema: Arc::new(frame_schema()), partition_by: vec!["region".into()] };
        let (txn, frame) = (TxnId::new(&SystemClock, &SystemRng), FrameId::random(&SystemRng));
        entry::create(&place, txn, "pi-1", &frame, &spec).unwrap().to_vec()
    }

    #[test]
    fn any_bytes_as_an_entry_are_an_entry_or_an_error() {
        let zero = version_zero();
        let id = TxnId::new(&SystemClock, &SystemRng);
        let add = format!(
            r#"{{"add":{{"path":"cells/{id}-00.parquet","partitionValues":{{"region":"EU"}},"size":4711,"modificationTime":1750000000000,"dataChange":true,"stats":"{{\"numRecords\":2,\"minValues\":{{\"temp\":-1.5,\"n\":1}},\"maxValues\":{{\"temp\":7.25,\"n\":18446744073709551615}},\"nullCount\":{{\"temp\":0,\"n\":0}}}}","tags":{{"apiary.sha256":"{}"}}}}}}"#,
            "cd".repeat(32)
        );
        let remove = format!(
            r#"{{"remove":{{"path":"cells/{id}-00.parquet","deletionTimestamp":1,"dataChange":true,"size":4711}}}}"#
        );
        let text = String::from_utf8(zero.clone()).unwrap();
        let samples = [zero, format!("{text}{add}\n").into_bytes(), format!("{text}{add}\n{remove}\n").into_bytes()];
        drive("ledger_entry", &samples, entry);
    }

    #[test]
    fn any_bytes_as_a_registry_entry_are_one_or_an_error() {
        let changes = [
            r#"{"create":{"hive":{"hive":"Wetter"}}}"#,
            r#"{"create":{"frame":{"hive":"h","box":"b","frame":"f","id":"0123abcd","folder":"h/b/f-0123abcd"}}}"#,
            r#"{"rename":{"frame":{"hive":"h","box":"b","frame":"f","id":"0123abcd","folder":"h/b/f-0123abcd","to":{"hive":"h","box":"b","frame":"g"}}}}"#,
            r#"{"drop":{"box":{"hive":"h","box":"b"}}}"#,
        ];
        let changes: Vec<Change> = changes.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
        assert!(changes.len() >= 3, "{changes:?}");
        let (place, id) = (Place::after(None, None, 1_750_000_000_000), TxnId::new(&SystemClock, &SystemRng));
        let sample = registry_entry::encode(&place, id, "pi-1", &changes, None).unwrap().to_vec();
        drive("registry_entry", &[sample], registry);
    }

    #[test]
    fn any_bytes_as_a_checkpoint_a_checksum_or_a_hint_are_one_or_an_error() {
        let zero = version_zero();
        let decoded = entry::decode(OBJECT, &zero).unwrap();
        let head = Head { version: Version(0), sha256: "00".repeat(32), timestamp_ms: decoded.timestamp_ms };
        let mut replay = Replay::new("folder");
        replay.take(OBJECT, &crate::log::Read { entry: decoded, head, bytes: zero.len() as u64 }).unwrap();
        let samples = checkpoint::samples(&replay.finish().unwrap(), &zero);
        drive_some("checkpoint", &samples[..1], 200, checkpoint);
        drive("checkpoint_hint", &samples[1..], hint);
    }

    #[test]
    fn a_partition_value_that_reads_is_written_as_one_that_reads_the_same() {
        let texts = [
            "-128",
            "2026-11-20",
            "2026-11-20 10:11:12.123456",
            "2026-11-20 10:11:12.9223372036854775807",
            "2026-11-20T10:11:12Z",
            "1.5e300",
            "-0.0",
            "NaN",
            "true",
            "12345678901234567890.0123456789",
            "süd",
        ];
        let samples: Vec<Vec<u8>> =
            (0..10u8).flat_map(|kind| texts.map(|text| [&[kind], text.as_bytes()].concat())).collect();
        drive("partition_value", &samples, partition);
    }

    #[test]
    fn any_text_as_a_schema_is_one_or_an_error() {
        let sample = delta_schema::exact_to_text(&frame_schema()).unwrap();
        drive("schema", &[sample.into_bytes()], schema);
    }
}
