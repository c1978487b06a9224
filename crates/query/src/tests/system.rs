//! The system frames, by plain SQL.

use std::sync::Arc;

use apiary_core::ErrorKind;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};

use super::{
    kit::{Colony, lines, query, session},
    plans::sensors,
};
use crate::{ColonyRows, FrameRef, NodeRow, Place, QueryRow, Session, SystemFrame, local_config};

async fn people(colony: &Colony, path: &str) {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![7, 8, 9]));
    colony.frame(path, &[], &[RecordBatch::try_from_iter([("ID", ids)]).unwrap()]).await;
}

fn told() -> ColonyRows {
    let node = |name: &str, bees_total| NodeRow { node: name.to_owned(), bees_total, ..NodeRow::default() };
    let query = |node: &str, rows| QueryRow { node: node.to_owned(), rows, ..QueryRow::default() };
    ColonyRows {
        nodes: vec![node("pi-1", 2), node("pi-2", 4)],
        queries: vec![query("pi-1", 5), query("pi-2", 7), query("pi-2", 1)],
    }
}

/// The rows of a statement that is told of a colony.
async fn rows(colony: &Colony, sql: &str) -> Vec<String> {
    let pinned = colony.planner.pin(&query(sql).unwrap(), &Session::default()).await.unwrap().with_colony(told());
    let planned = pinned.plan(local_config(2), colony.planner.runtime()).await.unwrap();
    let batches: Vec<_> = futures::TryStreamExt::try_collect(super::kit::run(&planned).unwrap()).await.unwrap();
    lines(&batches)
}

#[tokio::test]
async fn queries_and_nodes_are_joined_like_any_frame() {
    let colony = sensors().await;
    let sql = "SELECT n.node, n.bees_total, sum(q.rows) FROM apiary.queries q JOIN Apiary.Nodes n ON q.Node = n.node \
               WHERE q.rows > 2 GROUP BY ALL";
    assert_eq!(rows(&colony, sql).await, ["| pi-1 | 2 | 5 |", "| pi-2 | 4 | 7 |"]);
    let sql = "SELECT count(*) FROM demo.apiary.queries, demo.sensors.temperature WHERE hour = 1";
    assert_eq!(rows(&colony, sql).await, ["| 9 |"]);
}

#[tokio::test]
async fn cells_tell_what_the_ledger_knows_of_each() {
    let colony = sensors().await;
    people(&colony, "Demo.Sensors.People").await;
    let sql =
        "SELECT frame, partition, count(*), sum(rows), min(bytes) > 0, max(version) FROM apiary.cells GROUP BY ALL";
    let expected = [
        "| People | | 1 | 3 | true | 1 |",
        "| temperature | region=east | 10 | 10 | true | 1 |",
        "| temperature | region=north | 10 | 10 | true | 1 |",
        "| temperature | region=south | 10 | 10 | true | 1 |",
    ];
    assert_eq!(rows(&colony, sql).await, expected);
    let sql = "SELECT frame, version, operation, rows_added FROM apiary.ledger WHERE hive = 'Demo' AND version > 0";
    assert_eq!(rows(&colony, sql).await, ["| People | 1 | append | 3 |", "| temperature | 1 | append | 30 |"]);
    let sql = "SELECT count(*) FROM apiary.cells c JOIN apiary.ledger l USING (hive, box, frame, version) LIMIT 9";
    assert_eq!(rows(&colony, sql).await, ["| 31 |"]);
}

#[tokio::test]
async fn a_condition_on_names_chooses_the_frames_that_are_walked_through() {
    let colony = sensors().await;
    people(&colony, "Demo.Sensors.People").await;
    people(&colony, "Other.B.People").await;
    let gets = async |sql: &str| {
        let before = colony.bucket.counters().snapshot().gets;
        let found = rows(&colony, sql).await;
        (found, colony.bucket.counters().snapshot().gets - before)
    };
    let all = "SELECT count(*) FROM apiary.cells";
    gets(all).await;
    let (found, whole) = gets(all).await;
    assert_eq!(found, ["| 32 |"]);
    for condition in ["frame LIKE 'temp%'", "hive = 'Demo' AND frame IN ('temperature', 'x')", "lower(box) = 'b'"] {
        let (_, some) = gets(&format!("{all} WHERE {condition}")).await;
        assert_eq!(some + 2, whole, "{condition}");
    }
    let (found, _) = gets("SELECT count(*) FROM apiary.cells WHERE frame = 'People' OR rows < 2").await;
    assert_eq!(found, ["| 32 |"]);
}

#[tokio::test]
async fn a_frame_of_the_user_goes_before_a_system_frame() {
    let colony = sensors().await;
    people(&colony, "Demo.Apiary.Cells").await;
    assert_eq!(rows(&colony, "SELECT count(*) FROM demo.apiary.cells").await, ["| 3 |"]);
    assert_eq!(rows(&colony, "SELECT count(*) FROM demo.apiary.queries, demo.apiary.cells").await, ["| 9 |"]);
    // Of another hive nothing is hidden.
    assert_eq!(rows(&colony, "SELECT count(*) FROM apiary.cells").await, ["| 31 |"]);
}

#[tokio::test]
async fn system_frames_are_described_and_not_listed_and_their_box_is_nobodys() {
    let colony = sensors().await;
    for system in SystemFrame::ALL {
        let name = FrameRef(vec!["apiary".to_owned(), system.name().to_owned()]);
        let described = colony.planner.describe(&name, &Session::default()).await.unwrap();
        assert!(described.num_rows() >= 10, "{}", system.name());
    }
    let listed = colony.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'apiary'").await;
    assert_eq!(listed, Vec::<String>::new());
    let error = colony.error("SELECT * FROM apiary.cell", &session("demo", "")).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.hint().unwrap().contains("apiary.cells"), "{error:?}");
    let place = Place::Box("demo".parse().unwrap(), "Apiary".parse().unwrap());
    assert_eq!(place.may_be_new().unwrap_err().kind(), ErrorKind::InvalidInput);
}
