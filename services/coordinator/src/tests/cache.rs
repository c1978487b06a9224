//! The cell cache as a client sees it: in the figures under a result.

use apiary_bucket::DiskSpace;
use apiary_proto::v1::QueryStats;

use super::*;

const SQL: &str = "SELECT region, avg(celsius) FROM demo.sensors.temperature GROUP BY region ORDER BY region";

async fn asked(colony: &Colony) -> (String, QueryStats) {
    let mut query = colony.client.execute(SQL, &Session::default()).await.unwrap();
    let batches = query.collect().await.unwrap();
    (pretty_format_batches(&batches).unwrap().to_string(), query.stats().unwrap().clone())
}

#[tokio::test]
async fn the_second_run_of_a_query_makes_no_gets_nor_the_first_after_a_restart() {
    let writer = Colony::with_rows().await;
    let told = |folder| Colony::told(&writer.node.bucket, folder, Some(64 << 20));
    let mut colony = told(tempfile::tempdir().unwrap()).await;
    let (rows, first) = asked(&colony).await;
    assert!(first.get_requests >= 3 && first.bytes_cached < first.bytes_read * 3, "{first:?}");
    let (again, second) = asked(&colony).await;
    assert_eq!((second.get_requests, second.bytes_read, &again), (0, 0, &rows));
    assert!(second.bytes_cached > 0, "{second:?}");
    colony.node.cells.as_ref().unwrap().settled().await;
    let digest = colony.node.cells.as_ref().unwrap().digest();
    let keys = writer.node.bucket.list("demo", None, 100).await.unwrap();
    let cells: Vec<_> = keys.iter().filter(|object| object.key.ends_with("-00.parquet")).collect();
    assert!(!cells.is_empty() && cells.iter().all(|cell| digest.holds(&cell.key)));

    let folder = std::mem::replace(&mut colony._folder, tempfile::tempdir().unwrap());
    // The last tenth of a disk is not the cache's: where it is reached, a restart forgets.
    let has_room = DiskSpace::of(folder.path()).is_none_or(|disk| disk.free_bytes > disk.floor_bytes() + (256 << 20));
    drop(colony);
    let after = restarted(told, folder).await;
    let (again, third) = asked(&after).await;
    assert_eq!(&again, &rows);
    if !has_room {
        return;
    }
    assert_eq!(third.get_requests, 0, "{third:?}");
    let explained = after.table(&format!("EXPLAIN ANALYZE {SQL}")).await;
    assert!(explained.contains(" 0 GETs · 0 B · ") && explained.contains(" cached"), "{explained}");
}

/// The next life of a node on `folder`, once the last one has let go of it.
async fn restarted<F: Future<Output = Colony>>(told: impl Fn(TempDir) -> F, folder: TempDir) -> Colony {
    while std::fs::File::open(folder.path().join("lock")).unwrap().try_lock().is_err() {
        tokio::task::yield_now().await;
    }
    told(folder).await
}

#[tokio::test]
async fn cells_that_a_node_wrote_are_not_fetched_by_it() {
    let bucket = Bucket::in_memory();
    let colony = Colony::told(&bucket, tempfile::tempdir().unwrap(), Some(64 << 20)).await;
    colony.client.create_hive("demo").await.unwrap();
    colony.client.create_box("demo", "sensors").await.unwrap();
    assert!(colony.client.create_frame(&path(), &rows().schema(), &[]).await.unwrap());
    colony.append(&[rows()], None).await.unwrap();
    let (_, stats) = asked(&colony).await;
    assert_eq!((stats.get_requests, stats.cells_read), (0, 1), "{stats:?}");
}

#[tokio::test]
async fn a_folder_has_no_cache_unless_one_is_asked_for() {
    let colony = Colony::with_rows().await;
    assert!(colony.node.cells.is_none());
    let none = Colony::told(&colony.node.bucket, tempfile::tempdir().unwrap(), Some(0)).await;
    assert!(none.node.cells.is_none());
}
