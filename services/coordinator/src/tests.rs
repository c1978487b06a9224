//! A coordinator from its client's side: over a channel inside the process, on a bucket in memory.

use std::sync::Arc;

use apiary_bucket::Bucket;
use apiary_core::{ErrorKind, FramePath, QueryId, SystemClock, SystemRng};
use apiary_node::{Listener, Node, NodeSettings, Role};
use apiary_proto::{Client, ClientError, Session};
use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray},
    datatypes::Schema,
    util::pretty::pretty_format_batches,
};
use futures::stream;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

mod cache;
mod define;
mod memory;
mod queries;

struct Colony {
    client: Client,
    node: Arc<Node>,
    _stops: DropGuard,
    _folder: TempDir,
}

impl Colony {
    async fn on(bucket: &Bucket) -> Self {
        Self::told(bucket, tempfile::tempdir().unwrap(), None).await
    }

    /// One with a cell cache of at most so many bytes.
    async fn told(bucket: &Bucket, folder: TempDir, cache_bytes: Option<u64>) -> Self {
        let settings = NodeSettings {
            roles: vec![Role::Coordinator],
            cores: 2,
            memory_bytes: 1 << 30,
            cache_bytes,
            ..NodeSettings::new(bucket.uri(), folder.path())
        };
        Self::with(bucket, folder, settings).await
    }

    async fn with(bucket: &Bucket, folder: TempDir, settings: NodeSettings) -> Self {
        let node = Node::join(bucket.clone(), settings).await.unwrap();
        let (listener, channel) = Listener::memory();
        let shutdown = CancellationToken::new();
        tokio::spawn(crate::run(Arc::clone(&node), listener, shutdown.clone()));
        Self { client: Client::over(channel), node, _stops: shutdown.drop_guard(), _folder: folder }
    }

    async fn new() -> Self {
        Self::on(&Bucket::in_memory()).await
    }

    /// One with `demo.sensors.temperature` and six rows in it.
    async fn with_rows() -> Self {
        let colony = Self::new().await;
        colony.client.create_hive("demo").await.unwrap();
        colony.client.create_box("demo", "sensors").await.unwrap();
        let by = ["region".to_owned()];
        assert!(colony.client.create_frame(&path(), &rows().schema(), &by).await.unwrap());
        colony.append(&[rows()], None).await.unwrap();
        colony
    }

    async fn append(&self, batches: &[RecordBatch], key: Option<&str>) -> Result<(u64, bool), ClientError> {
        let schema = batches[0].schema();
        let batches: Vec<_> = batches.iter().cloned().map(Ok).collect();
        let written = self.client.append(&path(), &schema, stream::iter(batches), key).await?;
        Ok((written.rows, written.already_applied))
    }

    async fn sql_in(&self, session: &Session, sql: &str) -> Result<(Vec<RecordBatch>, Session), ClientError> {
        let mut query = self.client.execute(sql, session).await?;
        let schema = query.schema().await?;
        let mut batches = query.collect().await?;
        if batches.is_empty() {
            batches.push(RecordBatch::new_empty(schema));
        }
        assert_eq!(query.stats().unwrap().rows, batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>());
        Ok((batches, query.session_after().cloned().unwrap_or_default()))
    }

    async fn table(&self, sql: &str) -> String {
        let (batches, _) = self.sql_in(&Session::default(), sql).await.unwrap();
        pretty_format_batches(&batches).unwrap().to_string()
    }

    async fn error(&self, sql: &str) -> ClientError {
        self.sql_in(&Session::default(), sql).await.unwrap_err()
    }
}

fn path() -> FramePath {
    FramePath::new("demo", "sensors", "temperature").unwrap()
}

fn rows() -> RecordBatch {
    let region = StringArray::from(vec!["north", "south", "north", "east", "south", "north"]);
    let sensor = Int64Array::from_iter_values(1..=6);
    let celsius = Float64Array::from(vec![1.0, 20.0, 3.0, 10.0, 22.0, 2.0]);
    let columns: [(&str, ArrayRef); 3] =
        [("region", Arc::new(region)), ("sensor", Arc::new(sensor)), ("celsius", Arc::new(celsius))];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
}

#[tokio::test]
async fn rows_that_were_appended_are_selected() {
    let colony = Colony::with_rows().await;
    let sql = "SELECT region, count(*) AS n, avg(celsius) AS mean FROM demo.sensors.temperature GROUP BY region ORDER BY region";
    let table = colony.table(sql).await;
    assert_eq!(
        table,
        "+--------+---+------+\n\
         | region | n | mean |\n\
         +--------+---+------+\n\
         | east   | 1 | 10.0 |\n\
         | north  | 3 | 2.0  |\n\
         | south  | 2 | 21.0 |\n\
         +--------+---+------+"
    );
}

#[tokio::test]
async fn the_stats_tell_what_a_query_read_and_why_it_ran_here() {
    let colony = Colony::with_rows().await;
    let sql = "SELECT sensor FROM demo.sensors.temperature WHERE region = 'north'";
    let mut query = colony.client.execute(sql, &Session::default()).await.unwrap();
    assert_eq!(query.collect().await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    assert_eq!(query.started().unwrap().execution, "local");
    let stats = query.stats().unwrap();
    assert_eq!((stats.rows, stats.cells_read, stats.cells_total, stats.nodes), (3, 1, 3, 1));
    assert!(stats.get_requests >= 1 && stats.bytes_read > 0, "{stats:?}");
    assert!(stats.execution_reason.contains("to scan"), "{stats:?}");
}

#[tokio::test]
async fn a_session_goes_through_use_and_set_and_comes_back() {
    let colony = Colony::with_rows().await;
    let (batches, session) = colony.sql_in(&Session::default(), "USE demo.sensors").await.unwrap();
    assert_eq!((session.hive.as_str(), session.box_name.as_str()), ("demo", "sensors"));
    assert_eq!(batches[0].schema().as_ref(), &Schema::empty());
    let (_, session) = colony.sql_in(&session, "SET execution = local").await.unwrap();
    assert_eq!(session.settings.get("execution").map(String::as_str), Some("local"));
    let (batches, after) = colony.sql_in(&session, "SELECT count(*) FROM temperature").await.unwrap();
    assert_eq!((batches[0].num_rows(), after), (1, session));
}

#[tokio::test]
async fn show_and_describe_answer_from_names() {
    let colony = Colony::with_rows().await;
    assert!(colony.table("SHOW HIVES").await.contains("| demo |"));
    assert!(colony.table("SHOW FRAMES").await.contains("temperature"));
    let described = colony.table("DESCRIBE demo.sensors.temperature").await;
    assert!(described.contains("celsius") && described.contains("Float64"), "{described}");
    let explained = colony.table("EXPLAIN ANALYZE SELECT * FROM demo.sensors.temperature WHERE region = 'east'").await;
    assert!(explained.contains("cells 3 → 1") && explained.contains("1 row"), "{explained}");
}

#[tokio::test]
async fn the_catalog_lists_and_describes() {
    let colony = Colony::with_rows().await;
    let listed = colony.client.list(None, None).await.unwrap();
    assert_eq!((listed.hives.len(), listed.boxes.len(), listed.frames.len()), (1, 1, 1));
    let info = colony.client.describe_frame(&path()).await.unwrap();
    assert_eq!((info.rows, info.cells, info.partition_by.as_slice()), (6, 3, ["region".to_owned()].as_slice()));
    assert_eq!(info.schema.field(2).name(), "celsius");
    assert!(!colony.client.create_hive("demo").await.unwrap());
    let other = Schema::new(vec![rows().schema().field(1).clone()]);
    let error = colony.client.create_frame(&path(), &other, &[]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn an_error_says_what_and_what_to_type_next() {
    let colony = Colony::with_rows().await;
    let slip = colony.error("SELECT * FROM demo.sensors.temperatur").await;
    assert_eq!(slip.kind, ErrorKind::NotFound);
    assert!(slip.hint.as_ref().is_some_and(|hint| hint.contains("temperature")), "{slip:?}");
    assert!(slip.query_id.is_some());
    let syntax = colony.error("SELEC 1").await;
    assert_eq!(syntax.kind, ErrorKind::SqlSyntax, "{syntax:?}");
    let writing = colony.error("DELETE FROM demo.sensors.temperature").await;
    assert!(writing.hint.is_some(), "{writing:?}");
    let hive = colony.client.create_hive("a/b").await.unwrap_err();
    assert_eq!(hive.kind, ErrorKind::InvalidInput);
    let compact = colony.client.compact(&path()).await.unwrap_err();
    assert_eq!(compact.kind, ErrorKind::Unavailable);
    assert!(compact.hint.is_some_and(|hint| hint.contains("--roles compactor")));
}

#[tokio::test]
async fn a_key_writes_once_however_often_it_is_sent() {
    let colony = Colony::with_rows().await;
    assert_eq!(colony.append(&[rows()], Some("k")).await.unwrap(), (6, false));
    assert!(colony.append(&[rows()], Some("k")).await.unwrap().1);
    assert!(colony.table("SELECT count(*) AS n FROM demo.sensors.temperature").await.contains("| 12 |"));
}

#[tokio::test]
async fn a_source_that_fails_in_the_middle_writes_nothing() {
    let colony = Colony::with_rows().await;
    let broken = ClientError::new(ErrorKind::InvalidInput, "line 7 is not a number");
    let source = stream::iter([Ok(rows()), Err(broken.clone())]);
    let error = colony.client.append(&path(), &rows().schema(), source, None).await.unwrap_err();
    assert_eq!(error, broken);
    assert!(colony.table("SELECT count(*) AS n FROM demo.sensors.temperature").await.contains("| 6 |"));
}

#[tokio::test]
async fn a_wrong_type_is_refused_and_names_the_column() {
    let colony = Colony::with_rows().await;
    let wrong: ArrayRef = Arc::new(StringArray::from(vec!["warm"]));
    let region: ArrayRef = Arc::new(StringArray::from(vec!["north"]));
    let batch = RecordBatch::try_from_iter([("region", region), ("celsius", wrong)]).unwrap();
    let error = colony.append(&[batch], None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::SchemaMismatch);
    assert!(error.message.contains("celsius"), "{error:?}");
}

/// Rows without end, as far as a test is concerned.
const LONG: &str = "SELECT a.value, b.value FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b";

#[tokio::test]
async fn a_query_is_cancelled_by_its_id() {
    let colony = Colony::new().await;
    let id = QueryId::new(&SystemClock, &SystemRng);
    let mut query = colony.client.execute_as(id, LONG, &Session::default()).await.unwrap();
    assert!(query.next().await.unwrap().is_some());
    let twice = colony.client.execute_as(id, "SELECT 1", &Session::default()).await.unwrap_err();
    assert_eq!(twice.kind, ErrorKind::AlreadyExists);
    assert!(colony.client.cancel(id).await.unwrap());
    let error = query.collect().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert_eq!(error.query_id, Some(id.to_string()));
    assert!(!colony.client.cancel(id).await.unwrap());
}

#[tokio::test]
async fn a_query_ends_with_the_stream_that_is_dropped() {
    let colony = Colony::new().await;
    let id = QueryId::new(&SystemClock, &SystemRng);
    let mut query = colony.client.execute_as(id, LONG, &Session::default()).await.unwrap();
    assert!(query.next().await.unwrap().is_some());
    drop(query);
    // Its id is free again once it has ended.
    loop {
        match colony.client.execute_as(id, "SELECT 1", &Session::default()).await {
            Ok(mut again) => break assert_eq!(again.collect().await.unwrap().len(), 1),
            Err(error) => assert_eq!(error.kind, ErrorKind::AlreadyExists),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_query_that_runs_too_long_is_stopped() {
    let colony = Colony::new().await;
    let settings = [("query_timeout".to_owned(), "200 ms".to_owned())].into();
    let error = colony.sql_in(&Session { settings, ..Session::default() }, LONG).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(error.hint.is_some_and(|hint| hint.contains("query_timeout")));
}

#[tokio::test]
async fn another_coordinator_serves_the_same_bucket() {
    let bucket = Bucket::in_memory();
    let (one, two) = (Colony::on(&bucket).await, Colony::on(&bucket).await);
    one.client.create_hive("demo").await.unwrap();
    one.client.create_box("demo", "sensors").await.unwrap();
    one.client.create_frame(&path(), &rows().schema(), &[]).await.unwrap();
    two.append(&[rows()], None).await.unwrap();
    assert!(one.table("SELECT max(sensor) AS m FROM demo.sensors.temperature").await.contains("| 6 |"));
    let status = two.client.status().await.unwrap();
    assert_eq!(status.regime, "cold");
}

#[tokio::test]
async fn a_query_is_cancelled_through_another_coordinator() {
    let bucket = Bucket::in_memory();
    let (one, two) = (Colony::on(&bucket).await, Colony::on(&bucket).await);
    let end = CancellationToken::new();
    let _ends = end.clone().drop_guard();
    one.node.start_pulse(end.clone());
    two.node.start_pulse(end);
    // Both have beaten once both are seen.
    while one.node.look().await.unwrap().len() < 2 || two.node.look().await.unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    let id = QueryId::new(&SystemClock, &SystemRng);
    let mut query = one.client.execute_as(id, LONG, &Session::default()).await.unwrap();
    assert!(query.next().await.unwrap().is_some());
    two.client.cancel(id).await.unwrap();
    assert_eq!(query.collect().await.unwrap_err().kind, ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_warm_query_asks_the_bucket_for_names_once_and_for_each_frame_once() {
    let bucket = Bucket::in_memory();
    let colony = Colony::on(&bucket).await;
    colony.client.create_hive("demo").await.unwrap();
    colony.client.create_box("demo", "sensors").await.unwrap();
    colony.client.create_frame(&path(), &rows().schema(), &[]).await.unwrap();
    colony.append(&[rows()], None).await.unwrap();
    let sql = "SELECT count(*) AS n FROM demo.sensors.temperature";
    colony.table(sql).await;
    let before = bucket.counters().snapshot();
    colony.table(sql).await;
    let after = bucket.counters().snapshot();
    assert_eq!((after.gets - before.gets, after.lists - before.lists, after.puts - before.puts), (2, 0, 0));
    colony.table("SELECT 1").await;
    assert_eq!(bucket.counters().snapshot(), after);
}
