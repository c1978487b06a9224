//! Doors for fuzzing: each takes any bytes to a decoder of this crate, and must not panic. Nobody else goes through.

use std::sync::Arc;

use apiary_core::Version;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use bytes::Bytes;

use crate::{
    Pin, checkpoint,
    entry::{self, Add, BorrowedAdd, CellReader, Scratch, Told},
    header::Head,
    packed, partition_text, registry_entry,
    replay::Replay,
    sum,
    value::ValueClass,
};

const OBJECT: &str = "the object";

/// A frame's entry. What decodes is replayed as the first of a frame, too, and its cells are read as a frame's of some
/// columns: those that are some can be packed into a checkpoint.
pub fn entry(data: &[u8]) {
    let _ = sum::is_whole(data);
    let _ = sum::summed(data.to_vec());
    let Ok(decoded) = entry::decode(OBJECT, data) else { return };
    decoded.adds.iter().for_each(cell);
    let head = Head { version: decoded.header.v, sha256: String::new(), timestamp_ms: decoded.timestamp_ms };
    let read = crate::log::Read { entry: decoded, head, bytes: data.len() as u64 };
    let mut replay = Replay::new("folder");
    let _ = replay.take(OBJECT, &read).map(|()| replay.finish());
}

fn cell(add: &Add) {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns = [("region", DataType::Utf8), ("temp", DataType::Float64), ("at", utc), ("n", DataType::UInt64)];
    let schema = Schema::new(columns.map(|(name, kind)| Field::new(name, kind, true)).to_vec());
    let reader = CellReader::new("folder", &Arc::new(schema), &["region".to_owned()]);
    let Ok(cell) = reader.read(add) else { return };
    let stats = reader.packed(&cell);
    let packed = BorrowedAdd {
        path: &add.path,
        partition_values: add.partition_values.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect(),
        size: add.size,
        modification_time: add.modification_time,
        told: Told::Packed { rows: cell.rows, stats: &stats, sha256: &cell.sha256 },
    };
    assert_eq!(reader.read_borrowed(&packed, &mut Scratch::default()), Ok(cell), "{add:?}");
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

/// Statistics as a checkpoint packs them: what is believed unpacks to its end, and as what was checked.
pub fn packed_stats(data: &[u8]) {
    let classes = [Some(ValueClass::Timestamp { utc: true }), Some(ValueClass::UInt), None, Some(ValueClass::Float)];
    if packed::check(data, &classes, 7).is_err() {
        return;
    }
    let mut again = packed::Packer::new(&[]);
    for (at, column) in packed::columns(data, 0) {
        assert_eq!(packed::column(data, 0, at).as_ref(), Some(&column), "{data:?}");
        assert!(column.null_count.is_none_or(|nulls| nulls <= 7), "{data:?}");
        again.column(at, &column);
    }
    assert!(packed::check(&again.finish(), &classes, 7).is_ok(), "{data:?}");
}

/// A checkpoint's checksum, and the hint.
pub fn hint(data: &[u8]) {
    checkpoint::any_hint(data);
}

/// A pin.
pub fn pin(data: &[u8]) {
    Pin::any(data);
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
    use apiary_core::{QueryId, SystemClock, SystemRng, TxnId};
    use apiary_faults::mutate::{drive, drive_some};

    use super::*;
    use crate::{
        PinnedVersion, delta_schema,
        header::Place,
        registry_entry::Change,
        samples::{entries, frame_schema, snapshot},
    };

    #[test]
    fn any_bytes_as_an_entry_are_an_entry_or_an_error() {
        drive("ledger_entry", &entries().map(|entry| entry.to_vec()), entry);
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
        let entries = entries();
        let samples = [1, 2].map(|upto| checkpoint::samples(&snapshot(&entries[..upto]), &entries[upto - 1]));
        let checkpoints: Vec<_> = samples.iter().map(|samples| samples[0].clone()).collect();
        drive_some("checkpoint", &checkpoints, 200, checkpoint);
        let samples: Vec<_> = samples.iter().flat_map(|samples| samples[1..].to_vec()).collect();
        drive("checkpoint_hint", &samples, hint);
    }

    #[test]
    fn any_bytes_as_a_pin_are_one_or_an_error() {
        let held = PinnedVersion { folder: "h/b/f-0123abcd".into(), version: Version(7) };
        let sample = Pin::new(QueryId::new(&SystemClock, &SystemRng), "pi-1".into(), vec![held.clone(), held]);
        drive("pin", &[serde_json::to_vec(&sample).unwrap()], pin);
    }

    #[test]
    fn any_bytes_as_packed_statistics_are_some_that_unpack_or_an_error() {
        let cell = snapshot(&entries()[..2]).cells.first().unwrap().packed.clone();
        drive("packed_stats", &[packed::stats(&cell, 1).to_vec()], packed_stats);
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
