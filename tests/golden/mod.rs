//! Buckets of every format that was ever released, read by the program of today.
//!
//! `tests/fixtures/format-1/bucket` was written once by [`make`] and is never written again; what it holds stands in
//! `expected.txt` beside it, as [`tell`] puts it in words: rows, statistics, keys, history. A program that tells it
//! otherwise cannot read what its users have. Before a format is released its folder may be made anew:
//!
//! ```text
//! APIARY_MAKE_FIXTURE=tests/fixtures/format-1 cargo test -p apiary-tests --test apiary golden::make
//! ```

mod make;
mod rows;
mod tell;

use std::{
    fs,
    path::{Path, PathBuf},
};

use apiary_bucket::Bucket;
use apiary_core::{ErrorKind, FramePath};
use apiary_ingest::{AppendOptions, Ingest, IngestSettings};
use apiary_ledger::{FrameRecord, Frames, Registry};
use std::sync::Arc;

/// What a colony needs to read and write a bucket.
struct Colony {
    bucket: Bucket,
    registry: Registry,
    frames: Frames,
    ingest: Ingest,
}

impl Colony {
    fn over(bucket: Bucket) -> Self {
        let (registry, frames) = (Registry::new(bucket.clone()), Frames::new(bucket.clone()));
        let settings = IngestSettings { chamber_bytes: 64 << 20, node: "golden".to_owned() };
        let ingest = Ingest::new(bucket.clone(), registry.clone(), frames.clone(), settings);
        Self { bucket, registry, frames, ingest }
    }

    async fn record(&self, path: &str) -> Arc<FrameRecord> {
        let path: FramePath = path.parse().unwrap();
        let names = self.registry.namespace().await.unwrap();
        names.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str()).unwrap()
    }

    /// Appends some rows, under a key if there is one.
    async fn append(
        &self,
        path: &str,
        part: rows::Part,
        key: Option<&str>,
    ) -> apiary_ingest::Result<apiary_ingest::WriteReport> {
        let batch = part.batch();
        let options = AppendOptions { idempotency_key: key.map(str::to_owned), principal: "keeper".to_owned() };
        let (path, schema) = (path.parse().unwrap(), batch.schema());
        let batches = futures::stream::iter([Ok(batch)]);
        self.ingest.append(&path, schema, batches, options).await
    }
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/format-1")
}

/// Every file below a folder, by its path in there.
fn files(folder: &Path, below: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            files(folder, &path, found);
        } else {
            found.push(path);
        }
    }
}

/// A copy of the bucket, because reading is not all that must go on.
fn copy() -> (tempfile::TempDir, Colony) {
    let (from, to) = (fixture().join("bucket"), tempfile::tempdir().unwrap());
    let mut found = Vec::new();
    files(&from, Path::new(""), &mut found);
    assert!(!found.is_empty(), "{} is empty", from.display());
    for path in found {
        fs::create_dir_all(to.path().join(&path).parent().unwrap()).unwrap();
        fs::copy(from.join(&path), to.path().join(&path)).unwrap();
    }
    let colony = Colony::over(Bucket::open(&format!("file://{}", to.path().display())).unwrap());
    (to, colony)
}

#[tokio::test]
async fn a_bucket_of_format_1_is_read_to_the_last_row() {
    let (_folder, colony) = copy();
    let told = tell::bucket(&colony).await;
    let expected = fs::read_to_string(fixture().join("expected.txt")).unwrap();
    for (n, (told, expected)) in told.lines().zip(expected.lines()).enumerate() {
        assert_eq!(told, expected, "line {} of expected.txt", n + 1);
    }
    assert_eq!(told.lines().count(), expected.lines().count());
}

#[tokio::test]
async fn keys_of_format_1_are_still_known() {
    let (_folder, colony) = copy();
    for (path, part, key, version) in make::KEYS {
        let again = colony.append(path, part, Some(key)).await.unwrap();
        assert_eq!((again.already_applied, again.version.0), (true, version), "{key}");
        let other = colony.append(path, rows::Part { from: 999, ..part }, Some(key)).await.unwrap_err();
        assert_eq!(other.kind(), ErrorKind::KeyReused, "{key}");
    }
}

#[tokio::test]
async fn a_bucket_of_format_1_goes_on() {
    let (_folder, colony) = copy();
    for path in [make::TYPES, make::PLAIN] {
        let frame = colony.record(path).await;
        let before = colony.frames.snapshot(&frame).await.unwrap();
        colony.append(path, rows::Part { from: 500, count: 7 }, None).await.unwrap();
        colony.append(path, rows::Part { from: 600, count: 5 }, None).await.unwrap();
        colony.ingest.compact(&path.parse().unwrap()).await.unwrap();
        colony.frames.checkpoint(&frame).await.unwrap();
        let after = Frames::new(colony.bucket.clone()).snapshot(&frame).await.unwrap();
        assert_eq!((after.rows(), after.tail().checkpoint), (before.rows() + 12, Some(after.version)), "{path}");
        let report = colony.ingest.verify(&path.parse().unwrap(), true).await.unwrap();
        assert!(report.is_clean() && report.cells_opened == report.cells, "{report:?}");
    }
}

/// Makes the folder anew, if asked to.
#[tokio::test]
async fn make() {
    let Ok(folder) = std::env::var("APIARY_MAKE_FIXTURE") else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(folder);
    let memory = make::bucket().await;
    fs::remove_dir_all(&folder).ok();
    for key in memory.keys("") {
        let path = folder.join("bucket").join(&key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, memory.body(&key).unwrap()).unwrap();
    }
    let colony = Colony::over(Bucket::open(&format!("file://{}", folder.join("bucket").display())).unwrap());
    fs::write(folder.join("expected.txt"), tell::bucket(&colony).await).unwrap();
}
