//! What is told of queries: while they run, afterwards, and after their coordinator has left.

use std::time::Duration;

use apiary_core::Clock;

use super::*;

/// How long another coordinator may take to hear of one that left.
const HEARD_MAX: Duration = Duration::from_secs(20);

#[tokio::test]
async fn queries_are_told_of_while_they_run_and_when_they_have_ended() {
    let colony = Colony::with_rows().await;
    colony.table("SELECT sensor FROM demo.sensors.temperature WHERE region = 'north'").await;
    colony.error("SELECT nothing FROM demo.sensors.temperature").await;
    colony.table("SHOW HIVES").await;
    let told =
        colony.table("SELECT state, rows, execution, error, statement FROM apiary.queries ORDER BY started").await;
    let lines: Vec<_> = told.lines().skip(3).collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert!(lines[0].starts_with("| finished | 3    | local ") && lines[0].contains("WHERE region"), "{told}");
    assert!(lines[1].starts_with("| failed   | 0 ") && lines[1].contains("NOT_FOUND: there is no column"), "{told}");
    assert!(lines[2].starts_with("| running  | 0 ") && lines[2].contains("apiary.queries"), "{told}");
    let shown = colony.table("SHOW QUERIES").await;
    assert_eq!((shown.matches("| finished |").count(), shown.matches("| failed ").count()), (2, 1), "{shown}");
    assert!(!shown.contains("SHOW"), "{shown}");
}

#[tokio::test]
async fn what_a_coordinator_ran_is_told_of_after_it_has_left_and_swept_after_a_day() {
    let colony = Colony::with_rows().await;
    let bucket = colony.node.bucket.clone();
    let (node, client) = (colony.node.id.clone(), Colony::on(&bucket).await);
    assert!(!client.table("SHOW QUERIES").await.contains("SELECT 42"));
    colony.table("SELECT 42").await;
    drop(colony);
    let sql = format!("SELECT state, statement FROM apiary.queries WHERE node = '{node}'");
    let heard = async {
        loop {
            let told = client.table(&sql).await;
            if told.contains("SELECT 42") {
                return told;
            }
            SystemClock.sleep(Duration::from_millis(50)).await;
        }
    };
    let told = tokio::time::timeout(HEARD_MAX, heard).await.unwrap();
    assert!(told.contains("| finished | SELECT 42 |"), "{told}");
    assert_eq!(apiary_swarm::query_log::sweep(&bucket).await.unwrap(), 0, "it is not a day old");
}

#[tokio::test]
async fn system_frames_are_read_by_plain_sql_and_always_here() {
    let colony = Colony::with_rows().await;
    let sql = "SELECT c.frame, count(*) AS cells FROM apiary.cells c LEFT JOIN apiary.nodes n ON false GROUP BY ALL";
    let told = colony.table(sql).await;
    assert!(told.contains("| temperature | 3     |"), "{told}");
    let explained = colony.table("EXPLAIN SELECT * FROM apiary.ledger WHERE frame = 'temperature'").await;
    assert!(explained.contains("local "), "{explained}");
    let error = colony.error("CREATE BOX demo.apiary").await;
    assert_eq!(error.kind, ErrorKind::InvalidInput);
    assert!(error.message.contains("the system frames are in it"), "{error:?}");
}

#[tokio::test]
async fn a_query_is_cancelled_by_a_statement() {
    let colony = Colony::new().await;
    let id = QueryId::new(&SystemClock, &SystemRng);
    let mut query = colony.client.execute_as(id, LONG, &Session::default()).await.unwrap();
    assert!(query.next().await.unwrap().is_some());
    let told =
        colony.table("SELECT query FROM apiary.queries WHERE state = 'running' AND statement LIKE '%1000000%'").await;
    assert!(told.contains(&id.to_string()), "{told}");
    colony.table(&format!("CANCEL QUERY '{id}'")).await;
    assert_eq!(query.collect().await.unwrap_err().kind, ErrorKind::Cancelled);
    let ended = colony.error(&format!("CANCEL QUERY '{id}'")).await;
    assert_eq!(
        (ended.kind, ended.message),
        (ErrorKind::InvalidInput, format!("query {id} runs no longer: it is cancelled"))
    );
    let unknown = QueryId::new(&SystemClock, &SystemRng);
    let unknown = colony.error(&format!("CANCEL QUERY '{unknown}'")).await;
    assert_eq!(unknown.kind, ErrorKind::NotFound);
    assert!(unknown.hint.is_some_and(|hint| hint.contains("SHOW QUERIES")));
}
