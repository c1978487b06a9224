//! Whole writes over a bucket in memory.

use std::{collections::BTreeMap, sync::Arc};

use apiary_bucket::{Bucket, layout};
use apiary_cell::read_cell;
use apiary_core::{BoxName, ErrorKind, FramePath, HiveName};
use apiary_ledger::{FrameSpec, Frames, Registry, Snapshot};
use arrow::{
    array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array},
    datatypes::{DataType, Field, Float64Type, Schema, SchemaRef},
};
use futures::stream;

use crate::{AppendOptions, Ingest, IngestError, IngestSettings, OverwriteOptions, Replaced, Result, WriteReport};

struct Colony {
    bucket: Bucket,
    ingest: Ingest,
    frame: FramePath,
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("region", DataType::Utf8, true),
        Field::new("temp", DataType::Float64, true),
        Field::new("serial", DataType::UInt64, true),
    ]))
}

impl Colony {
    async fn new(partition_by: &[&str]) -> Self {
        let bucket = Bucket::in_memory();
        let registry = Registry::new(bucket.clone());
        let frame = FramePath::new("analytics", "sensors", "temperature").unwrap();
        registry.create_hive(&HiveName::new("analytics").unwrap()).await.unwrap();
        registry.create_box(&frame.hive, &BoxName::new("sensors").unwrap()).await.unwrap();
        let partition_by = partition_by.iter().map(|name| (*name).to_owned()).collect();
        registry.create_frame(&frame, &FrameSpec { schema: schema(), partition_by }).await.unwrap();
        let settings = IngestSettings { chamber_bytes: 64 << 20, node: "pi-1".to_owned() };
        let ingest = Ingest::new(bucket.clone(), registry, Frames::new(bucket.clone()), settings);
        Self { bucket, ingest, frame }
    }

    async fn append(&self, batches: Vec<Result<RecordBatch>>, key: Option<&str>) -> Result<WriteReport> {
        let options = AppendOptions { idempotency_key: key.map(str::to_owned), principal: "me".to_owned() };
        self.ingest.append(&self.frame, schema(), stream::iter(batches), options).await
    }

    async fn snapshot(&self) -> Arc<Snapshot> {
        self.ingest.newest(&self.frame).await.unwrap().1
    }

    /// Cells in the bucket, whether the ledger names them or not.
    async fn cells_stored(&self) -> usize {
        let prefix = layout::cells_prefix(self.snapshot().await.folder());
        self.bucket.list(&prefix, None, 1_000).await.unwrap().len()
    }

    /// How often each temperature of each region is in the frame, cell by cell as the ledger names them.
    async fn rows(&self) -> BTreeMap<(String, i64), usize> {
        let mut rows = BTreeMap::new();
        for cell in &self.snapshot().await.cells {
            let bytes = self.bucket.get(&cell.key()).await.unwrap().unwrap();
            assert_eq!((bytes.len() as u64, apiary_cell::sha256_hex(&bytes)), (cell.size_bytes, cell.sha256()));
            for batch in read_cell(bytes, 100).unwrap().1 {
                let batch = batch.unwrap();
                let (regions, temps) =
                    (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Float64Type>());
                for row in 0..batch.num_rows() {
                    *rows.entry((regions.value(row).to_owned(), temps.value(row) as i64)).or_default() += 1;
                }
            }
        }
        rows
    }
}

fn batch(regions: &[Option<&str>], from: i64) -> RecordBatch {
    let temps = Float64Array::from_iter_values((from..).take(regions.len()).map(|t| t as f64));
    let serials = UInt64Array::from_iter_values((0..regions.len()).map(|i| u64::MAX - i as u64));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(regions.to_vec())), Arc::new(temps), Arc::new(serials)];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn good(from: i64) -> Result<RecordBatch> {
    Ok(batch(&[Some("north"), Some("south"), Some("north")], from))
}

#[tokio::test]
async fn an_append_lands_once_split_by_partition() {
    let colony = Colony::new(&["region"]).await;
    let report = colony.append(vec![good(0), good(3)], None).await.unwrap();
    assert_eq!((report.rows, report.cells, report.retries, report.already_applied), (6, 2, 0, false));
    let snapshot = colony.snapshot().await;
    assert_eq!((snapshot.version, snapshot.rows(), snapshot.bytes()), (report.version, 6, report.bytes));
    let values: Vec<_> = snapshot.cells.iter().map(|cell| cell.partition_values()[0].1.clone().unwrap()).collect();
    assert_eq!(values, ["north", "south"]);
    let rows = colony.rows().await;
    let wanted = [("north", 0), ("north", 2), ("north", 3), ("north", 5), ("south", 1), ("south", 4)];
    assert_eq!(rows, wanted.map(|(region, temp)| ((region.to_owned(), temp), 1)).into());
}

#[tokio::test]
async fn two_appends_at_once_both_land() {
    let colony = Colony::new(&[]).await;
    let (a, b) = tokio::join!(colony.append(vec![good(0)], None), colony.append(vec![good(3)], None));
    // In one entry or in two.
    let versions = [a.unwrap().version, b.unwrap().version];
    assert_eq!(versions.into_iter().max(), Some(colony.snapshot().await.version));
    assert_eq!(colony.rows().await.len(), 6);
}

#[tokio::test]
async fn an_error_in_mid_stream_leaves_nothing() {
    let colony = Colony::new(&["region"]).await;
    let before = colony.snapshot().await.version;
    let lost = || IngestError::Source { kind: ErrorKind::Cancelled, message: "the client went away".to_owned() };
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["warm"]));
    let failures = [
        (Err(lost()), ErrorKind::Cancelled),
        (Ok(batch(&[Some("north"), None], 9)), ErrorKind::SchemaMismatch),
        (Ok(batch(&[Some("")], 9)), ErrorKind::SchemaMismatch),
        (Ok(RecordBatch::try_from_iter([("nope", number)]).unwrap()), ErrorKind::SchemaMismatch),
        (Ok(RecordBatch::try_from_iter([("temp", text)]).unwrap()), ErrorKind::SchemaMismatch),
    ];
    for (failure, kind) in failures {
        // Large enough that cells are on their way before the failure comes.
        let many: Vec<_> = (0..40).map(|i| Ok(batch(&[Some("north"); 20_000], i))).collect();
        let error = colony.append(many.into_iter().chain([failure]).collect(), None).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!((colony.snapshot().await.version, colony.cells_stored().await), (before, 0), "{error}");
    }
}

#[tokio::test]
async fn cells_already_uploaded_are_deleted_when_the_write_fails() {
    let colony = Colony::new(&[]).await;
    let (_, base) = colony.ingest.newest(&colony.frame).await.unwrap();
    let mut pipeline = colony.ingest.pipeline(&base, colony.ingest.new_txn()).unwrap();
    pipeline.push(Vec::new(), batch(&[Some("north")], 0)).await.unwrap();
    assert_eq!(pipeline.finish().await.unwrap().len(), 1);
    assert_eq!(colony.cells_stored().await, 1);
    pipeline.delete_own().await;
    assert_eq!(colony.cells_stored().await, 0);
}

#[tokio::test]
async fn the_same_key_twice_writes_once_and_with_other_rows_is_refused() {
    let colony = Colony::new(&["region"]).await;
    let first = colony.append(vec![good(0), good(3)], Some("k")).await.unwrap();
    let parts = [good(0).unwrap(), good(3).unwrap()];
    let recut = arrow::compute::concat_batches(&schema(), &parts).unwrap();
    let again = colony.append(vec![Ok(recut)], Some("k")).await.unwrap();
    assert_eq!((again.already_applied, again.version, again.rows, again.cells), (true, first.version, 6, 0));
    let other = colony.append(vec![good(7)], Some("k")).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::KeyReused, "{other}");
    assert_eq!((colony.rows().await.len(), colony.cells_stored().await), (6, 2));
    colony.append(vec![good(7)], Some("another")).await.unwrap();
    assert_eq!(colony.rows().await.len(), 9);
    let long = colony.append(vec![good(0)], Some(&"x".repeat(257))).await.unwrap_err();
    assert_eq!(long.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_payload_without_rows_makes_no_version() {
    let colony = Colony::new(&["region"]).await;
    let before = colony.snapshot().await.version;
    let report = colony.append(vec![Ok(batch(&[], 0))], None).await.unwrap();
    assert_eq!((report.version, report.rows, report.cells), (before, 0, 0));
    assert_eq!(colony.snapshot().await.version, before);
}

#[tokio::test]
async fn an_unknown_frame_comes_with_a_suggestion() {
    let colony = Colony::new(&[]).await;
    let near = FramePath::new("analytics", "sensors", "temprature").unwrap();
    let error = colony.ingest.append(&near, schema(), stream::iter([good(0)]), AppendOptions::default()).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.hint().is_some_and(|hint| hint.contains("temperature")), "{:?}", error.hint());
}

#[tokio::test]
async fn compaction_makes_one_cell_of_many_and_changes_no_row() {
    let colony = Colony::new(&["region"]).await;
    for i in 0..6 {
        colony.append(vec![good(3 * i)], None).await.unwrap();
    }
    let rows = colony.rows().await;
    let report = colony.ingest.compact(&colony.frame).await.unwrap();
    assert_eq!((report.cells_before, report.cells_after, report.groups_skipped), (12, 2, 0));
    let snapshot = colony.snapshot().await;
    assert_eq!((snapshot.version, snapshot.cells.len(), colony.rows().await), (report.version, 2, rows));
    assert!(snapshot.cells.iter().all(|cell| cell.stats().columns["temp"].max.is_some()));
    let again = colony.ingest.compact(&colony.frame).await.unwrap();
    assert_eq!((again.version, again.cells_after, again.bytes_written), (report.version, 2, 0));
}

#[tokio::test]
async fn a_damaged_cell_stops_a_compaction_by_name_and_changes_nothing() {
    let colony = Colony::new(&[]).await;
    for i in 0..2 {
        colony.append(vec![good(3 * i)], None).await.unwrap();
    }
    let before = colony.snapshot().await;
    let victim = &before.cells[1];
    let mut bytes = colony.bucket.get(&victim.key()).await.unwrap().unwrap().to_vec();
    bytes[10] ^= 1;
    colony.bucket.put(&victim.key(), bytes.into()).await.unwrap();
    let error = colony.ingest.compact(&colony.frame).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains(victim.key().as_str()), "{error}");
    assert_eq!((colony.snapshot().await.version, colony.cells_stored().await), (before.version, 2));
}

#[tokio::test]
async fn a_deep_check_opens_every_cell_and_names_the_one_that_was_changed() {
    let colony = Colony::new(&["region"]).await;
    colony.append(vec![good(0)], None).await.unwrap();
    let clean = colony.ingest.verify(&colony.frame, true).await.unwrap();
    assert!(clean.is_clean() && clean.cells_opened == clean.cells && clean.cells > 0, "{clean:?}");
    assert_eq!(colony.ingest.verify_registry().await.unwrap().0.entries, 3);

    let cell = Arc::clone(&colony.snapshot().await.cells[0]);
    let mut body = colony.bucket.get(&cell.key()).await.unwrap().unwrap().to_vec();
    body[20] ^= 1;
    colony.bucket.put(&cell.key(), body.into()).await.unwrap();
    assert!(colony.ingest.verify(&colony.frame, false).await.unwrap().is_clean(), "its size is right");
    let deep = colony.ingest.verify(&colony.frame, true).await.unwrap();
    assert_eq!((deep.problems_total, deep.problems[0].object.as_str()), (1, cell.key().as_str()), "{deep:?}");
}

impl Colony {
    async fn overwrite(&self, batches: Vec<Result<RecordBatch>>, options: OverwriteOptions) -> Result<WriteReport> {
        self.ingest.overwrite(&self.frame, schema(), stream::iter(batches), options).await
    }

    /// The same bucket and another process.
    fn elsewhere(&self) -> Self {
        let (bucket, registry) = (self.bucket.clone(), Registry::new(self.bucket.clone()));
        let settings = IngestSettings { chamber_bytes: 64 << 20, node: "pi-2".to_owned() };
        let ingest = Ingest::new(bucket.clone(), registry, Frames::new(bucket.clone()), settings);
        Self { bucket, ingest, frame: self.frame.clone() }
    }

    async fn temps(&self) -> Vec<(String, i64)> {
        self.rows().await.into_keys().collect()
    }
}

fn region(value: &str) -> Vec<(String, Option<String>)> {
    vec![("region".to_owned(), Some(value.to_owned()))]
}

#[tokio::test]
async fn an_overwrite_replaces_the_frame_the_partitions_of_its_rows_or_those_that_it_names() {
    let colony = Colony::new(&["region"]).await;
    colony.append(vec![good(0)], None).await.unwrap();
    let only = |replaces| OverwriteOptions { replaces, ..OverwriteOptions::default() };
    let north = || vec![Ok(batch(&[Some("north")], 50))];
    let named = |rows: &[(&str, i64)]| rows.iter().map(|(r, t)| ((*r).to_owned(), *t)).collect::<Vec<_>>();

    colony.overwrite(north(), only(Replaced::PayloadPartitions)).await.unwrap();
    assert_eq!(colony.temps().await, named(&[("north", 50), ("south", 1)]));
    let south = Replaced::Partitions(vec![region("south")]);
    let outside = colony.overwrite(north(), only(south.clone())).await.unwrap_err();
    assert_eq!(outside.kind(), ErrorKind::InvalidInput, "{outside}");
    // Named and without a row: empty afterwards.
    colony.overwrite(vec![], only(south)).await.unwrap();
    assert_eq!(colony.temps().await, named(&[("north", 50)]));
    let before = colony.snapshot().await.version;
    let nothing = colony.overwrite(vec![], only(Replaced::PayloadPartitions)).await.unwrap();
    assert_eq!(nothing.version, before);
    colony.overwrite(vec![good(7)], only(Replaced::Frame)).await.unwrap();
    assert_eq!(colony.temps().await, named(&[("north", 7), ("north", 9), ("south", 8)]));
    colony.overwrite(vec![], only(Replaced::Frame)).await.unwrap();
    assert_eq!((colony.snapshot().await.rows(), colony.snapshot().await.cells.len()), (0, 0));
    let unknown = Replaced::Partitions(vec![vec![("temp".to_owned(), Some("1".to_owned()))]]);
    assert_eq!(colony.overwrite(vec![], only(unknown)).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn an_overwrite_of_a_version_fails_once_rows_have_changed_and_passes_a_compaction() {
    let colony = Colony::new(&[]).await;
    for n in 0..3 {
        colony.append(vec![good(n)], None).await.unwrap();
    }
    let seen = colony.snapshot().await.version;
    let expecting = || OverwriteOptions { expected_version: Some(seen), ..OverwriteOptions::default() };
    colony.ingest.compact(&colony.frame).await.unwrap();
    colony.overwrite(vec![good(10)], expecting()).await.unwrap();
    let late = colony.overwrite(vec![good(20)], expecting()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict, "{late}");
    let early = OverwriteOptions { expected_version: Some(apiary_core::Version(99)), ..OverwriteOptions::default() };
    assert_eq!(colony.overwrite(vec![good(20)], early).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(colony.snapshot().await.rows(), 3);
    assert_eq!(colony.temps().await.iter().map(|(_, temp)| *temp).min(), Some(10));
}

#[tokio::test]
async fn an_overwrite_under_a_key_is_done_once_and_another_part_is_another_request() {
    let colony = Colony::new(&["region"]).await;
    let keyed = |replaces| OverwriteOptions {
        replaces,
        idempotency_key: Some("k".to_owned()),
        principal: "me".to_owned(),
        ..OverwriteOptions::default()
    };
    let first = colony.overwrite(vec![good(0)], keyed(Replaced::Frame)).await.unwrap();
    colony.append(vec![good(3)], None).await.unwrap();
    let stored = colony.cells_stored().await;
    let again = colony.overwrite(vec![good(0)], keyed(Replaced::Frame)).await.unwrap();
    assert_eq!((again.already_applied, again.version), (true, first.version));
    assert_eq!((colony.rows().await.len(), colony.cells_stored().await), (6, stored));
    let other = colony.overwrite(vec![good(0)], keyed(Replaced::PayloadPartitions)).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::KeyReused);
}

#[tokio::test]
async fn a_retry_whose_key_is_known_uploads_nothing() {
    let colony = Colony::new(&[]).await;
    let first = colony.append(vec![good(0)], Some("k")).await.unwrap();
    let before = colony.bucket.counters().snapshot();
    let again = colony.append(vec![good(0)], Some("k")).await.unwrap();
    assert_eq!((again.already_applied, again.version, again.rows), (true, first.version, 3));
    let other = colony.append(vec![good(1)], Some("k")).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::KeyReused);
    assert_eq!(colony.bucket.counters().snapshot().puts, before.puts);
}

#[tokio::test]
async fn two_coordinators_that_retry_one_key_at_once_write_one_set_of_rows_and_leave_each_others_cells() {
    for _ in 0..20 {
        let here = Colony::new(&[]).await;
        let there = here.elsewhere();
        here.append(vec![good(100)], None).await.unwrap();
        there.append(vec![good(200)], None).await.unwrap();
        let (a, b) = tokio::join!(here.append(vec![good(0)], Some("k")), there.append(vec![good(0)], Some("k")));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!(a.version, b.version);
        assert!(a.already_applied != b.already_applied);
        // Reading opens every cell that the ledger names.
        assert_eq!((here.rows().await.len(), here.cells_stored().await), (9, 3));
    }
}

#[tokio::test]
async fn a_frame_that_was_dropped_and_made_again_elsewhere_takes_the_rows_of_who_did_not_know() {
    let here = Colony::new(&[]).await;
    here.append(vec![good(0)], None).await.unwrap();
    let there = Registry::new(here.bucket.clone());
    there.drop_frame(&here.frame, None).await.unwrap();
    let gone = here.append(vec![good(3)], None).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
    there.create_frame(&here.frame, &FrameSpec { schema: schema(), partition_by: vec![] }).await.unwrap();
    here.append(vec![good(5), good(9)], None).await.unwrap();
    assert_eq!(here.rows().await.len(), 6);
    // And once more while this process knows the frame that is gone.
    there.drop_frame(&here.frame, None).await.unwrap();
    there.create_frame(&here.frame, &FrameSpec { schema: schema(), partition_by: vec![] }).await.unwrap();
    let report = here.append(vec![good(5), good(9)], None).await.unwrap();
    assert_eq!((report.rows, here.rows().await.len(), here.cells_stored().await), (6, 6, 1));
}

#[tokio::test]
async fn a_warm_append_asks_nothing_before_its_upload() {
    let colony = Colony::new(&[]).await;
    colony.append(vec![good(0)], None).await.unwrap();
    let before = colony.bucket.counters().snapshot();
    colony.append(vec![good(3)], None).await.unwrap();
    let after = colony.bucket.counters().snapshot();
    // The cell and the entry; the name at the same time as the cell, and the fence.
    assert_eq!((after.puts - before.puts, after.gets - before.gets, after.lists - before.lists), (2, 2, 0));
}
