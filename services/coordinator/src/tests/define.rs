//! Creating, dropping and renaming in SQL and over the calls: one after the other in one session, and what is said
//! when it cannot be.

use super::*;

impl Colony {
    /// Runs statements in one session; the session after them.
    async fn script(&self, session: &Session, statements: &[&str]) -> Session {
        let mut session = session.clone();
        for sql in statements {
            session = self.sql_in(&session, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).1;
        }
        session
    }

    async fn column(&self, session: &Session, sql: &str) -> Vec<String> {
        let (batches, _) = self.sql_in(session, sql).await.unwrap();
        let texts = |batch: &RecordBatch| {
            let last = batch.column(batch.num_columns() - 1);
            let last = arrow::compute::cast(last, &arrow::datatypes::DataType::Utf8).unwrap();
            let last = last.as_any().downcast_ref::<StringArray>().unwrap().clone();
            last.iter().map(|text| text.unwrap_or("NULL").to_owned()).collect::<Vec<_>>()
        };
        batches.iter().flat_map(texts).collect()
    }

    async fn fails(&self, session: &Session, sql: &str) -> (ErrorKind, String) {
        let error = self.sql_in(session, sql).await.expect_err(sql);
        (error.kind, format!("{} / {}", error.message, error.hint.unwrap_or_default()))
    }
}

#[tokio::test]
async fn a_colony_is_made_renamed_and_dropped_in_sql() {
    let colony = Colony::new().await;
    let none = Session::default();
    let session = colony
        .script(
            &none,
            &[
                "CREATE HIVE Lab",
                "CREATE DATABASE IF NOT EXISTS lab",
                "USE lab",
                "CREATE BOX \"Büro 2\"",
                "USE BOX \"büro 2\"",
                "CREATE FRAME t (id BIGINT NOT NULL, \"Region\" TEXT, at TIMESTAMP) PARTITIONED BY (region)",
                "CREATE TABLE IF NOT EXISTS T (whatever INT)",
            ],
        )
        .await;
    assert_eq!(colony.column(&session, "SHOW FRAMES").await, ["t"]);
    assert_eq!(colony.column(&session, "SELECT count(*) FROM t").await, ["0"]);
    let (described, _) = colony.sql_in(&session, "DESCRIBE t").await.unwrap();
    assert_eq!(
        pretty_format_batches(&described).unwrap().to_string(),
        "+--------+---------------+----------+-----------+\n\
         | column | type          | nullable | partition |\n\
         +--------+---------------+----------+-----------+\n\
         | id     | Int64         | false    | false     |\n\
         | Region | Utf8          | true     | true      |\n\
         | at     | Timestamp(µs) | true     | false     |\n\
         +--------+---------------+----------+-----------+"
    );
    let session =
        colony.script(&session, &["ALTER FRAME t RENAME TO \"My Frame\"", "ALTER BOX \"Büro 2\" RENAME TO b"]).await;
    // The session goes along.
    assert_eq!((session.hive.as_str(), session.box_name.as_str()), ("Lab", "b"));
    let session = colony.script(&session, &["ALTER HIVE lab RENAME TO LAB"]).await;
    assert_eq!(colony.column(&session, "SELECT count(*) FROM LaB.B.\"my frame\"").await, ["0"]);
    assert_eq!(colony.column(&session, "SELECT count(*) FROM \"MY FRAME\"").await, ["0"]);
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'b'";
    assert_eq!(colony.column(&session, tables).await, ["My Frame"]);
    let session = colony.script(&session, &["DROP FRAME \"my frame\"", "DROP TABLE IF EXISTS \"my frame\""]).await;
    assert!(colony.column(&session, "SHOW FRAMES").await.is_empty());
    assert!(colony.column(&session, tables).await.is_empty());
    colony.script(&session, &["CREATE TABLE t (a INT)", "DROP DATABASE lab CASCADE"]).await;
    assert!(colony.column(&none, "SHOW HIVES").await.is_empty());
}

#[tokio::test]
async fn names_without_a_hive_or_a_box_are_in_main() {
    let colony = Colony::new().await;
    let none = Session::default();
    colony.script(&none, &["CREATE TABLE t (a INT)", "CREATE SCHEMA s", "CREATE TABLE s.u (a INT)"]).await;
    let listed = colony.client.list(None, None).await.unwrap();
    let frames: Vec<String> =
        listed.frames.iter().map(|path| format!("{}.{}.{}", path.hive, path.box_name, path.frame)).collect();
    assert_eq!(frames, ["main.main.t", "main.s.u"]);
    for sql in [
        "SELECT count(*) FROM t",
        "SELECT count(*) FROM main.t",
        "SELECT count(*) FROM main.main.t",
        "SELECT count(*) FROM s.u",
        "SELECT count(*) FROM t JOIN s.u USING (a)",
    ] {
        assert_eq!(colony.column(&none, sql).await, ["0"], "{sql}");
    }
    assert_eq!(colony.column(&none, "SHOW FRAMES IN main.main").await, ["t"]);
    let described = "SELECT column_name FROM information_schema.columns WHERE table_name = 't'";
    assert_eq!(colony.column(&none, described).await, ["a"]);
    // In a hive that is used, too, the box main needs no making; and the default can be used before it is there.
    let session = colony.script(&none, &["CREATE HIVE h", "USE h", "CREATE FRAME v (a INT)"]).await;
    assert_eq!(colony.column(&session, "SELECT count(*) FROM h.main.v").await, ["0"]);
    let fresh = Colony::new().await;
    let session = fresh.script(&none, &["USE main.main"]).await;
    assert!(fresh.column(&session, "SHOW FRAMES").await.is_empty());
    assert!(fresh.column(&session, "SHOW BOXES").await.is_empty());
    fresh.script(&session, &["CREATE FRAME v (a INT)", "DROP FRAME v", "DROP BOX main", "DROP HIVE main"]).await;
    assert!(fresh.column(&none, "SHOW HIVES").await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_is_said_with_its_place_and_what_to_do() {
    let colony = Colony::with_rows().await;
    let none = Session::default();
    for (sql, kind, text) in [
        ("CREATE HIVE demo", ErrorKind::AlreadyExists, "the hive 'demo' exists already\n1 | CREATE HIVE demo\n"),
        ("CREATE HIVE DEMO", ErrorKind::AlreadyExists, "it is spelled 'demo'"),
        ("CREATE BOX none.b", ErrorKind::NotFound, "there is no hive 'none'"),
        ("CREATE FRAME demo.none.t (a INT)", ErrorKind::NotFound, "there is no box 'demo.none'"),
        ("CREATE FRAME demo.sensors.temperature (a INT)", ErrorKind::AlreadyExists, "it has no column 'a'"),
        ("CREATE FRAME demo.sensors.t (a INT, A INT)", ErrorKind::InvalidInput, "'A' twice"),
        ("CREATE FRAME demo.sensors.t (a INT, b INT) PARTITIONED BY (c)", ErrorKind::InvalidInput, "'c' is not among"),
        ("CREATE FRAME demo.sensors.\"a/b\" (a INT)", ErrorKind::SqlSyntax, "holds '/'"),
        ("CREATE FRAME demo.sensors.\"..\" (a INT)", ErrorKind::SqlSyntax, "holds '.'"),
        ("CREATE HIVE \"_queries\"", ErrorKind::SqlSyntax, "cannot begin with '_'"),
        ("CREATE BOX demo.information_schema", ErrorKind::SqlSyntax, "SQL keeps that name"),
        ("DROP FRAME demo.sensors.temprature", ErrorKind::NotFound, "did you mean 'temperature'?"),
        ("DROP BOX demo.sensors", ErrorKind::InvalidInput, "the box 'demo.sensors' is not empty: it holds 1 frame"),
        ("DROP HIVE demo RESTRICT", ErrorKind::InvalidInput, "it holds 1 box, 1 frame"),
        ("DROP HIVE none", ErrorKind::NotFound, "there is no hive 'none'"),
        ("ALTER HIVE none RENAME TO x", ErrorKind::NotFound, "there is no hive 'none'"),
        ("ALTER HIVE IF EXISTS demo RENAME TO \"a.b\"", ErrorKind::SqlSyntax, "holds '.'"),
        ("ALTER FRAME IF EXISTS demo.sensors.temperature RENAME TO none.t", ErrorKind::NotFound, "no box 'demo.none'"),
    ] {
        let (found, message) = colony.fails(&none, sql).await;
        assert!(message.contains(text), "{sql}: {message}");
        assert_eq!(found, kind, "{sql}: {message}");
    }
    let message = colony.fails(&none, "DROP BOX demo.sensors").await.1;
    assert!(message.contains("1 | DROP BOX demo.sensors\n                  ^"), "{message}");
    colony.script(&none, &["DROP HIVE IF EXISTS none", "ALTER FRAME IF EXISTS a.b.c RENAME TO d"]).await;
    assert!(colony.table("SELECT count(*) AS n FROM demo.sensors.temperature").await.contains("| 6 |"));
}

#[tokio::test]
async fn a_session_whose_hive_is_gone_is_told_so() {
    let colony = Colony::with_rows().await;
    let none = Session::default();
    let session = colony.script(&none, &["USE demo.sensors"]).await;
    colony.script(&none, &["ALTER BOX demo.sensors RENAME TO probes"]).await;
    let (kind, message) = colony.fails(&session, "SELECT * FROM temperature").await;
    assert_eq!(kind, ErrorKind::NotFound);
    assert_eq!(
        message,
        "there is no box demo.sensors any more, which this session uses / it was renamed: USE demo.probes"
    );
    colony.script(&none, &["ALTER HIVE demo RENAME TO lab"]).await;
    for sql in
        ["SELECT * FROM temperature", "SELECT * FROM probes.temperature", "SHOW FRAMES", "SHOW BOXES", "USE BOX x"]
    {
        let (kind, message) = colony.fails(&session, sql).await;
        assert_eq!(kind, ErrorKind::NotFound);
        assert_eq!(
            message, "there is no hive demo any more, which this session uses / it was renamed: USE lab",
            "{sql}"
        );
    }
    assert!(colony.table("SELECT count(*) AS n FROM lab.probes.temperature").await.contains("| 6 |"));
    let (_, message) = colony.fails(&none, "SELECT * FROM demo.sensors.temperature").await;
    assert!(message.ends_with("it was renamed to lab"), "{message}");
    colony.script(&none, &["DROP HIVE lab CASCADE"]).await;
    let (_, message) = colony.fails(&session, "SELECT * FROM temperature").await;
    assert!(message.contains("any more, which this session uses / USE another"), "{message}");
    // Whole names and what needs no name go on.
    colony.script(&session, &["SELECT 1", "SHOW HIVES", "CREATE HIVE demo", "SHOW BOXES"]).await;
}

#[tokio::test]
async fn the_calls_drop_and_rename_as_sql_does() {
    let colony = Colony::with_rows().await;
    let client = &colony.client;
    let to = FramePath::new("demo", "sensors", "warmth").unwrap();
    client.rename_frame(&path(), &to).await.unwrap();
    client.rename_box("demo", "sensors", "probes").await.unwrap();
    client.rename_hive("DEMO", "lab").await.unwrap();
    let now = FramePath::new("lab", "probes", "warmth").unwrap();
    let info = client.describe_frame(&now).await.unwrap();
    assert_eq!((info.rows, info.version, info.path.to_string().as_str()), (6, 1, "lab.probes.warmth"));
    assert!(info.folder.starts_with("demo/sensors/temperature-"), "the folder stays: {}", info.folder);
    assert_eq!(client.drop_box("lab", "probes", false, false).await.unwrap_err().kind, ErrorKind::InvalidInput);
    assert_eq!(client.drop_frame_at(&now, 0).await.unwrap_err().kind, ErrorKind::Conflict);
    assert!(client.drop_frame_at(&now, 1).await.unwrap());
    assert_eq!(client.drop_frame(&now, false).await.unwrap_err().kind, ErrorKind::NotFound);
    assert!(!client.drop_frame(&now, true).await.unwrap());
    assert!(client.drop_box("lab", "probes", false, false).await.unwrap());
    assert!(!client.drop_box("lab", "probes", true, true).await.unwrap());
    assert!(client.drop_hive("lab", true, false).await.unwrap());
    assert!(client.list(None, None).await.unwrap().hives.is_empty());
}

#[tokio::test]
async fn a_frame_that_another_drops_is_gone_for_writers_and_readers() {
    let colony = Colony::with_rows().await;
    colony.script(&Session::default(), &["DROP FRAME demo.sensors.temperature"]).await;
    let error = colony.append(&[rows()], None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert_eq!(colony.error("SELECT * FROM demo.sensors.temperature").await.kind, ErrorKind::NotFound);
    // Another of that name has nothing of it.
    colony.script(&Session::default(), &["CREATE FRAME demo.sensors.temperature (region TEXT, celsius DOUBLE)"]).await;
    assert!(colony.table("SELECT count(*) AS n FROM demo.sensors.temperature").await.contains("| 0 |"));
}

#[tokio::test]
async fn a_frame_whose_ledger_is_missing_is_dropped_in_sql_and_the_answer_says_what_was_found() {
    let bucket = Bucket::in_memory();
    let colony = Colony::on(&bucket).await;
    let none = Session::default();
    let session = colony.script(&none, &["CREATE HIVE lab", "USE lab", "CREATE FRAME t (id BIGINT)"]).await;
    let names = apiary_ledger::Registry::new(bucket.clone()).namespace().await.unwrap();
    let record = names.frame("lab", "main", "t").unwrap();
    let first = apiary_bucket::layout::ledger_entry(&record.folder, apiary_core::Version(0));
    bucket.delete(&first).await.unwrap();
    let told = colony.column(&session, "DROP FRAME t").await;
    assert!(told.len() == 1 && told[0].starts_with("nothing was left of the ledger of 'lab.main.t'"), "{told:?}");
    let session = colony.script(&session, &["CREATE FRAME t (id BIGINT)"]).await;
    let (whole, _) = colony.sql_in(&session, "DROP FRAME t").await.unwrap();
    assert_eq!((whole[0].num_columns(), whole[0].num_rows()), (0, 0), "nothing is said of one that is whole");
}
